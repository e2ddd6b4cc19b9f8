"""What the dashboards have in common: variables, annotations, links, rows and the JSON they become."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as dm

from grafana.panels import BLUE, GREEN, PINK, RED, SOURCE
from grafana.queries import alerts

TAG = "model-exporter"
RUNBOOK = "https://github.com/model-exporter/model-exporter/blob/main/docs/runbook.md"


class Row(NamedTuple):
    """A row: its title (a question) and its panels. `folded`: closed until one opens it, for what not all have."""

    title: str
    panels: Sequence[Any]
    folded: bool = False


def _all() -> dm.VariableOption:
    return dm.VariableOption(text="All", value="$__all", selected=True)


def variable(
    name: str,
    label: str,
    query: str,
    *,
    many: bool = False,
    newest: bool = False,
    hidden: bool = False,
    listed: bool = False,
    first: str = "",
) -> dashboard.QueryVariable:
    """Make a variable from `label_values(...)`.

    many: several values, and All. listed: All are the values that are listed, no others. newest: highest first. first:
    chosen at first.
    """
    sort = dm.VariableSort.NATURAL_DESC if newest else dm.VariableSort.ALPHABETICAL_ASC
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).definition(query)
    made = made.query({"qryType": 1, "query": query, "refId": "v"}).sort(sort)
    made = made.refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED).regex("")
    # A value that does not exist here, such as All from the fleet, gives way to the first that does.
    made = made.allow_custom_value(False)
    if hidden:
        made = made.hide(dm.VariableHide.HIDE_VARIABLE)
    if many:
        made = made.multi(True).include_all(True).current(_all())
        return made if listed else made.all_value(".+")
    if first:
        made = made.current(dm.VariableOption(text=first, value=first, selected=True))
    return made.multi(False).include_all(False)


def sources(series: str) -> list[Any]:
    """What every dashboard is chosen by: the data source, and the jobs that have `series`."""
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").regex("")
    # Not `.+` for All: series that every job has, such as `up`, would be those of Prometheus itself, too.
    return [source, variable("job", "job", f"label_values({series}, job)", many=True, listed=True)]


def variables(many: bool) -> list[Any]:
    """What dashboards of models are chosen by, from the data source to the window; `many`: several models."""
    match = "=~" if many else "="
    info = f'model_info{{job=~"$job", model{match}"$model"}}'
    state = f'model_window_state{{job=~"$job", model{match}"$model"}}'
    return [
        *sources("model_info"),
        variable("model", "Model", 'label_values(model_info{job=~"$job"}, model)', many=many),
        variable("version", "Version", f"label_values({info}, model_version)", many=many, newest=True),
        variable("window", "Window", f"label_values({state}, window)"),
    ]


def _annotation(name: str, color: str, expr: str, *, title: str, text: str, tags: str) -> dashboard.AnnotationQuery:
    made = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)
    return made.step("60s").title_format(title).text_format(text).tag_keys(tags)


def _begins(now: str, before: str) -> str:
    """Where `now` has series that `before` has not: each result is an event, not a state."""
    return f"{now} unless {before}"


def events() -> list[Any]:
    """Mark when an alert began, a model's version or reference changed, and it was retrained."""
    by = "alertname, severity, model"
    firing = alerts(alertstate="firing", severity="!=none")
    info, reference = (
        'model_info{job=~"$job", model=~"$model"}',
        'model_reference_info{job=~"$job", model=~"$model"}',
    )
    return [
        _annotation(
            "Alerts",
            RED,
            _begins(f"count by ({by}) ({firing})", f"count by ({by}) ({firing} offset $__interval)"),
            title="{{alertname}}",
            text="{{model}}: began to fire",
            tags="severity",
        ),
        _annotation(
            "Versions",
            BLUE,
            _changed("model_version", info),
            title="{{model}} {{model_version}}",
            text="new version",
            tags="",
        ),
        _annotation(
            "References",
            PINK,
            _changed("hash", reference),
            title="{{model}} {{hash}}",
            text="new reference data",
            tags="",
        ),
        _annotation("Retraining", GREEN, _retrained(), title="{{model}}", text="retraining was triggered", tags=""),
    ]


def _changed(label: str, series: str) -> str:
    """Where a known model shows a value of `label` that it did not show in the day before."""
    day = f"last_over_time({series}[1d] offset $__interval)"
    new = _begins(f"count by (model, {label}) ({series})", f"count by (model, {label}) ({day})")
    return f"{new} and on (model) count by (model) ({day})"


def _retrained() -> str:
    """Where the newest trigger of retraining is another one than before; a series that comes back is no event."""
    last = 'model_retrain_last_trigger_timestamp_seconds{job=~"$job", model=~"$model"}'
    now, before = f"max by (model) ({last})", f"max by (model) ({last} offset $__interval)"
    return f"{now} > {before} or ({_begins(now, before)}) > time() - 3600"


def _links() -> list[Any]:
    made = dashboard.DashboardLink("Model dashboards").type(dm.DashboardLinkType.DASHBOARDS).tags([TAG])
    runbook = dashboard.DashboardLink("Runbook").type(dm.DashboardLinkType.LINK).url(RUNBOOK).icon("doc")
    runbook = runbook.tooltip("What to do about each alert").target_blank(True)
    return [made.as_dropdown(False).include_vars(True).keep_time(True).target_blank(False), runbook]


def assemble(uid: str, title: str, description: str, choices: Sequence[Any], parts: Sequence[Row]) -> dict[str, Any]:
    """Put a dashboard together; panel ids count from 1 in reading order."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
        .refresh("1m")
        .time("now-24h", "now")
        .version(1)
        .variables(list(choices))
        .annotations(events())
        .links(_links())
    )
    for part in parts:
        made = made.with_row(dashboard.Row(part.title))
        for panel in part.panels:
            made = made.with_panel(panel)
    board: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for shown in board["links"]:
        del shown["placement"]  # the builder would hide them in a menu
    for number, panel in enumerate(board["panels"], start=1):
        panel["id"] = number
    board["panels"] = _fold(board["panels"], {part.title for part in parts if part.folded})
    return {"id": None, **board}


def _fold(panels: Sequence[dict[str, Any]], closed: Collection[str]) -> list[dict[str, Any]]:
    """Move the panels of closed rows into their row; what follows moves up."""
    shown: list[dict[str, Any]] = []
    up, row = 0, {}
    for panel in panels:
        panel["gridPos"]["y"] = panel["gridPos"].get("y", 0) - up
        if panel["type"] == "row":
            if row.get("panels"):
                gone = panel["gridPos"]["y"] - row["gridPos"]["y"] - 1
                panel["gridPos"]["y"] -= gone
                up += gone
            row = panel
            row["collapsed"] = row["title"] in closed
        elif row.get("collapsed"):
            row["panels"].append(panel)
            continue
        shown.append(panel)
    return shown
