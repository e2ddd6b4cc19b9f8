"""What holds for every dashboard: the rules of grafana/dashboard-linter, restated, and some of our own.

To add a rule, write a function that yields what is wrong with a dashboard, and name it in `RULES`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser
from dashboard_reading import (
    BOARDS,
    KNOWN,
    Board,
    all_queries,
    everything,
    expand,
    matchers,
    panel_queries,
    panels,
    selectors,
    urls,
    variable_query,
    variables,
)

UNITS = {"none", "short", "locale", "percentunit", "s", "bytes", "dateTimeFromNow", "string"}
COUNTS = {"rate", "irate", "increase"}
TIME_WORDS = {"s": 1, "m": 60, "h": 3600}


def template_datasource(board: Board) -> Iterator[str]:
    """template-datasource-rule: one data source variable, named `datasource`."""
    found = [(each["name"], each.get("label")) for each in variables(board, "datasource")]
    if found != [("datasource", "Data source")]:
        yield f"data source variables are {found}"


def template_job(board: Board) -> Iterator[str]:
    """template-job-rule: a variable `job` of several values, asked of the chosen data source; All: see `EXCLUDED`."""
    job = next((each for each in variables(board) if each["name"] == "job"), None)
    if job is None:
        yield "no variable job"
        return
    wanted = {"label": "job", "multi": True, "includeAll": True, "allValue": None}
    yield from (f"job: {key} is {job.get(key)!r}" for key, value in wanted.items() if job.get(key) != value)


def template_refresh(board: Board) -> Iterator[str]:
    """template-on-time-change-reload-rule: query variables ask again when the time range changes."""
    for each in variables(board):
        if each["refresh"] != 2:
            yield f"variable {each['name']} does not refresh with the time range"
        if each["datasource"]["uid"] != "${datasource}":
            yield f"variable {each['name']} does not use the chosen data source"


def template_labels(board: Board) -> Iterator[str]:
    """template-label-promql-rule, and the label asked for exists."""
    for each in variables(board):
        series, label = variable_query(each)
        name = promql_parser.parse(expand(series)).name
        if label not in (KNOWN[name] or set()):
            yield f"variable {each['name']}: {name} has no label {label}"


def panel_datasource(board: Board) -> Iterator[str]:
    """panel-datasource-rule: panels and queries use the data source variable."""
    for panel in panels(board):
        for each in (panel, *panel["targets"]):
            if each["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{panel['title']}: data source is {each['datasource']}"


def panel_words(board: Board) -> Iterator[str]:
    """panel-title-description-rule, and words for no data."""
    for panel in panels(board):
        empty = panel["fieldConfig"]["defaults"].get("noValue", "")
        for what, text in (
            ("title", panel["title"]),
            ("description", panel["description"]),
            ("noValue", empty),
        ):
            if not text.strip():
                yield f"panel {panel['id']} has no {what}"


def panel_units(board: Board) -> Iterator[str]:
    """panel-units-rule, waived where values are mapped to words; `suffix:` is Grafana's unit of free text."""
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        columns = [
            value["value"]
            for override in panel["fieldConfig"]["overrides"]
            for value in override["properties"]
            if value["id"] == "unit"
        ]
        if panel["type"] == "heatmap":
            columns.append(panel["options"]["cellValues"]["unit"])
        if not (defaults.get("unit") or defaults.get("mappings") or columns):
            yield f"{panel['title']}: no unit"
        for unit in [defaults.get("unit", "none"), *columns]:
            if unit not in UNITS and not unit.startswith("suffix:"):
                yield f"{panel['title']}: unit {unit}"


def panel_targets(board: Board) -> Iterator[str]:
    """panel-no-targets-rule, and each query has its own letter."""
    for panel in panels(board):
        refs = [target["refId"] for target in panel["targets"]]
        if not refs or len(refs) != len(set(refs)):
            yield f"{panel['title']}: queries {refs}"


def target_promql(board: Board) -> Iterator[str]:
    """target-promql-rule: every query parses."""
    for where, expr in all_queries(board):
        try:
            promql_parser.parse(expand(expr))
        except ValueError as error:
            yield f"{where}: {error}"


def target_job(board: Board) -> Iterator[str]:
    """target-job-rule: every query chooses by job."""
    for where, expr in all_queries(board):
        if where == "variable 'job'":
            continue  # it is what the others choose by
        for selector, _ in selectors(expr):
            if selector.name.startswith("ALERTS"):
                continue  # a rule may drop the label: an alert about an absent exporter has no job
            if "job" not in matchers(selector):
                yield f"{where}: {selector.name} does not choose by job"


def target_rates(board: Board) -> Iterator[str]:
    """target-rate-interval-rule and target-counter-agg-rule."""
    for where, expr in all_queries(board):
        if re.search(r"\b(rate|irate)\(.*\[(?!\$__rate_interval)", expr):
            yield f"{where}: a rate over a fixed time"
        # A table counts what happened in the time range that is shown; it has no steps to fit an interval to.
        if re.search(r"\bincrease\(.*\[(?!\$__range\])", expr):
            yield f"{where}: an increase over a fixed time"
        for selector, function in selectors(expr):
            if selector.name.endswith("_total") and function not in COUNTS:
                yield f"{where}: {selector.name} without a rate"


def series_exist(board: Board) -> Iterator[str]:
    """Queries ask for series of the catalogue, of Prometheus or of recording rules, by labels they have."""
    for where, expr in all_queries(board):
        for selector, _ in selectors(expr):
            if selector.name not in KNOWN:
                yield f"{where}: no series {selector.name}"
                continue
            labels = KNOWN[selector.name]
            strange = set() if labels is None else matchers(selector).keys() - labels
            if strange:
                yield f"{where}: {selector.name} has no label {sorted(strange)}"


def variables_exist(board: Board) -> Iterator[str]:
    """Queries and titles use only variables that the dashboard has."""
    own = {each["name"] for each in board["templating"]["list"]}
    texts = [
        *all_queries(board),
        *((f"title {panel['title']!r}", panel["title"]) for panel in everything(board)),
    ]
    for where, text in texts:
        used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
        if used - own:
            yield f"{where}: no variable {sorted(used - own)}"


def replicas_once(board: Board) -> Iterator[str]:
    """Each query aggregates, so that two replicas of an exporter draw one line; see `EXCLUDED`."""
    for where, expr in panel_queries(board):
        if not re.search(r"\b(max|min|sum|count|topk|bottomk|vector)\b", expr):
            yield f"{where}: shows each replica"


def light(board: Board) -> Iterator[str]:
    """What opens on many models asks over time only for series that a model has few of; see bench/dashboards.py."""
    if not any(each["name"] == "model" and each.get("multi") for each in variables(board)):
        return
    for panel in panels(board):
        for target in panel["targets"]:
            for selector, _ in selectors(target["expr"]) if target.get("range") else ():
                if "feature" in (KNOWN[selector.name] or set()) and not selector.name.startswith("ALERTS"):
                    yield f"{panel['title']}: {selector.name} of every feature of every model, over time"


def answers_explained(board: Board) -> Iterator[str]:
    """Numbers that are 0 or 1 are words; states are told in a word beside the colour."""
    words = re.compile(r"_(detected|degraded|success|successful|up|leader|in_progress)\b")
    for panel in panels(board):
        if panel["type"] in ("stat", "state-timeline"):
            shown = [target["expr"] for target in panel["targets"]]
            mapped = panel["fieldConfig"]["defaults"].get("mappings")
            counts = all(re.match(r"(count|sum)\(", expr) for expr in shown)
            if any(words.search(expr) for expr in shown) and not mapped and not counts:
                yield f"{panel['title']}: shows 0 or 1"


def provisioning(board: Board) -> Iterator[str]:
    """uneditable-dashboard, and what file provisioning needs: classic JSON, no id, a uid, a tag."""
    wanted = {"id": None, "editable": False, "schemaVersion": 42, "tags": ["model-exporter"]}
    yield from (f"{key} is {board.get(key)!r}" for key, value in wanted.items() if board.get(key) != value)
    yield from (f"has {key}" for key in ("__inputs", "__requires", "spec", "dashboard") if key in board)
    if not re.fullmatch(r"[a-z-]{8,40}", board["uid"]):
        yield f"uid {board['uid']}"
    if not board["description"]:
        yield "no description"


def panel_ids(board: Board) -> Iterator[str]:
    """Panel ids are unique and not 0 (Grafana renumbers those), and titles are unique."""
    for what in ("id", "title"):
        counts = Counter(panel[what] for panel in everything(board) if panel["type"] != "row" or what == "id")
        yield from (f"{count} panels with {what} {value!r}" for value, count in counts.items() if count > 1)
    if any(not panel["id"] for panel in everything(board)):
        yield "a panel without an id"


def panel_places(board: Board) -> Iterator[str]:
    """Panels stay on the grid of 24 columns and do not overlap; a closed row's panels lie below it."""
    yield from _overlaps(board["panels"])
    for row in board["panels"]:
        yield from _overlaps(row.get("panels", []))
        above = [each for each in row.get("panels", []) if each["gridPos"]["y"] <= row["gridPos"]["y"]]
        yield from (f"{panel['title']}: above its row" for panel in above)


def _overlaps(beside: list[dict[str, Any]]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in beside:
        place = panel["gridPos"]
        x, y, w, h = (place.get(key, 0) for key in "xywh")
        if x + w > 24:
            yield f"{panel['title']}: beyond the right edge"
        for cell in ((column, line) for column in range(x, x + w) for line in range(y, y + h)):
            if cell in taken:
                yield f"{panel['title']} lies on {taken[cell]}"
                break
            taken[cell] = panel["title"]


def closed_rows(board: Board) -> Iterator[str]:
    """A row's own panels are shown by Grafana only while it is closed; panels below an open row are its neighbours."""
    for row in board["panels"]:
        if row["type"] == "row" and bool(row.get("panels")) != row.get("collapsed", False):
            yield f"{row['title']}: collapsed is {row.get('collapsed')}, with {len(row.get('panels') or [])} panels"


def refresh(board: Board) -> Iterator[str]:
    """Refresh no faster than the data: tasks run every minute at most often, by default."""
    number, unit = re.fullmatch(r"(\d+)([smh])", board["refresh"]).groups()  # type: ignore[union-attr]
    if int(number) * TIME_WORDS[unit] < 60:
        yield f"refreshes every {board['refresh']}"


def links_lead_somewhere(board: Board) -> Iterator[str]:
    """Data links go to our dashboards, with variables those have, and carry the time range."""
    own = {each["name"] for each in board["templating"]["list"]}
    for url in urls(board["panels"]):
        target = BOARDS.get(url.removeprefix("/d/").split("?")[0])
        if target is None:
            yield f"link to nowhere: {url}"
            continue
        lost = set(re.findall(r"\$\{(\w+)(?::queryparam)?\}", url)) - own
        lost = {name for name in lost if not name.startswith("__")}
        if lost:
            yield f"{url}: no variable {sorted(lost)} to carry"
        names = {each["name"] for each in target["templating"]["list"]}
        used = set(re.findall(r"var-(\w+)=", url)) | set(re.findall(r"\$\{(\w+):queryparam\}", url))
        if used - names:
            yield f"{url}: {target['uid']} has no variable {sorted(used - names)}"
        if "${__url_time_range}" not in url:
            yield f"{url}: loses the time range"


def navigation(board: Board) -> Iterator[str]:
    """All our dashboards are one click away, with variables and time, and the runbook is another."""
    links = {link["type"]: link for link in board["links"]}
    ours = links.get("dashboards", {})
    wanted = {"tags": ["model-exporter"], "includeVars": True, "keepTime": True, "asDropdown": False}
    yield from (f"link to dashboards: {key} is {ours.get(key)!r}" for key, to in wanted.items() if ours.get(key) != to)
    if not links.get("link", {}).get("url", "").endswith("docs/runbook.md"):
        yield "no link to the runbook"


Rule = Callable[[Board], Iterator[str]]
RULES: tuple[Rule, ...] = (
    template_datasource,
    template_job,
    template_refresh,
    template_labels,
    panel_datasource,
    panel_words,
    panel_units,
    panel_targets,
    target_promql,
    target_job,
    target_rates,
    series_exist,
    variables_exist,
    replicas_once,
    light,
    answers_explained,
    provisioning,
    panel_ids,
    panel_places,
    closed_rows,
    refresh,
    links_lead_somewhere,
    navigation,
)
# Rules of dashboard-linter that are left out, and why.
EXCLUDED = {
    "template-instance-rule": "a model has no instance: replicas show the same, queries take the maximum",
    "template-job-rule, in that All is `.+`": "`up` and `process_*` of every other job would be the exporter's",
    "target-instance-rule": "as above; `replicas_once` demands the aggregation instead",
}
