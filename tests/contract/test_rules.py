"""Rules, their tests, routes, messages and runbook: valid for the tools, and in agreement with each other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.catalogue import FAMILIES

ROOT = Path(__file__).parents[2]
PROMETHEUS, ALERTMANAGER = ROOT / "prometheus", ROOT / "alertmanager"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
CONFIGS = ("prometheus.yml", "prometheus.compose.yml")
ROUTES = ("alertmanager.yml", "alertmanager.compose.yml")
RECEIVERS = {"critical": "page", "warning": "team", "info": "null"}
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
RUNBOOK_URL = "https://github.com/model-exporter/model-exporter/blob/main/docs/runbook.md#"

Labels = dict[str, str]
Tool = Callable[[str], str]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


RULES: list[dict[str, Any]] = [rule for path in RULE_FILES for group in load(path)["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
CASES = [
    (test, case) for path in TEST_FILES for test in load(path)["tests"] for case in test.get("alert_rule_test", [])
]
FIRED: list[Labels] = [
    {"alertname": case["alertname"], **alert["exp_labels"]} for _, case in CASES for alert in case.get("exp_alerts", [])
]
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")


def succeeds(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the tools ---------------------------------------------------------------------------------------------------


def test_promtool_finds_nothing_in_the_rules(need_tool: Tool) -> None:
    succeeds(need_tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("name", CONFIGS)
def test_promtool_accepts_the_configuration(need_tool: Tool, name: str) -> None:
    succeeds(need_tool("promtool"), "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / name)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_pass_their_tests(need_tool: Tool, path: Path) -> None:
    succeeds(need_tool("promtool"), "test", "rules", path)


@pytest.mark.parametrize("name", ROUTES)
def test_amtool_accepts_the_configuration(need_tool: Tool, name: str) -> None:
    succeeds(need_tool("amtool"), "check-config", ALERTMANAGER / name)


@pytest.mark.parametrize("name", ROUTES)
def test_amlint_finds_nothing(need_tool: Tool, name: str) -> None:
    rules = PROMETHEUS / "rules" / "*.yml"
    succeeds(need_tool("amlint"), "check", "--strict", "--rules", str(rules), ALERTMANAGER / name)


@pytest.mark.parametrize("name", ROUTES)
def test_every_alert_reaches_its_receiver(need_tool: Tool, name: str) -> None:
    for rule in ALERTS:
        receiver = RECEIVERS.get(rule["labels"]["severity"])
        if rule["alert"] == "Watchdog":
            receiver = "heartbeat" if name == "alertmanager.yml" else "null"
        assert receiver is not None, rule["alert"]
        labels = [f"{key}={value}" for key, value in {"alertname": rule["alert"], **rule["labels"]}.items()]
        file = f"--config.file={ALERTMANAGER / name}"
        succeeds(need_tool("amtool"), "config", "routes", "test", file, f"--verify.receivers={receiver}", *labels)


# --- Prometheus' configuration -------------------------------------------------------------------------------------


def test_both_configurations_scrape_the_same_jobs_alike() -> None:
    here, compose = (load(PROMETHEUS / name) for name in CONFIGS)
    assert here["global"] == compose["global"]
    for one, other in zip(here["scrape_configs"], compose["scrape_configs"], strict=True):
        assert one.keys() == other.keys()
        assert one["job_name"] == other["job_name"]
    exporter = here["scrape_configs"][0]
    assert exporter["job_name"] == "model-exporter"
    assert exporter["sample_limit"] > 50_000, "the exporter trims at 50,000 series before Prometheus rejects the page"


# --- what every alert has ------------------------------------------------------------------------------------------


@each_alert
def test_alert_says_what_a_person_needs(rule: dict[str, Any]) -> None:
    name, notes = rule["alert"], rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"} or name == "Watchdog"
    assert set(notes) == ANNOTATIONS
    assert "{{" not in notes["summary"], "one sentence for all alerts of a group"
    assert notes["summary"][0].isupper() and notes["summary"].endswith(".")
    assert notes["runbook_url"] == RUNBOOK_URL + name.lower()
    assert re.match(r"http://localhost:3000/d/model-[a-z]+(\?var-model=|$)", notes["dashboard_url"])
    assert "for" in rule or name == "Watchdog"


@each_alert
def test_alert_is_in_the_runbook(rule: dict[str, Any]) -> None:
    section = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section, "no heading"
    for part in ("Meaning", "Impact", "Diagnosis", "Mitigation", "Escalation"):
        assert f"**{part}.**" in section[1], part
    assert rule["alert"] in RUNBOOK.split("\n## ")[1] or rule["alert"].startswith("ModelFeature"), "not in the table"


def test_runbook_has_no_alert_that_does_not_exist() -> None:
    headings = set(re.findall(r"^## (Model\w+|Watchdog)$", RUNBOOK, re.MULTILINE))
    assert headings == {rule["alert"] for rule in ALERTS}


@each_alert
def test_alert_has_a_case_that_fires_with_all_it_says(rule: dict[str, Any]) -> None:
    found = [
        alert
        for _, case in CASES
        for alert in case.get("exp_alerts", [])
        if case["alertname"] == rule["alert"] and rule["labels"].items() <= alert["exp_labels"].items()
    ]
    assert found
    assert all(set(alert["exp_annotations"]) == ANNOTATIONS for alert in found)


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in ALERTS} - {"Watchdog"}))
def test_alert_has_a_test_in_which_it_is_silent_then_fires_then_resolves(name: str) -> None:
    stories: dict[str, list[tuple[int, str]]] = {}
    for test, case in CASES:
        if case["alertname"] == name:
            fires = "!" if case.get("exp_alerts") else "-"
            stories.setdefault(test["name"], []).append((minutes(case["eval_time"]), fires))
    assert any(re.search("-!+-", "".join(fires for _, fires in sorted(story))) for story in stories.values())


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration[:-1])


# --- names ---------------------------------------------------------------------------------------------------------


def selectors(expr: str) -> Iterator[Any]:
    """Every series selector of a query."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expr), visit)
    yield from found


def template_queries(text: str) -> Iterator[str]:
    """The queries that an annotation runs, with values in place of its verbs."""
    for query in re.findall(r'query \(printf "((?:[^"\\]|\\.)*)"', text):
        yield query.replace('\\"', '"').replace("%q", '"x"').replace("%s", 'job="x"')


def all_queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        where = rule.get("alert") or rule["record"]
        yield where, rule["expr"]
        for text in rule.get("annotations", {}).values():
            yield from ((where, query) for query in template_queries(text))
    for block in re.findall(r"(?:^    .+\n)+", RUNBOOK, re.MULTILINE):
        yield from (("runbook", line.strip()) for line in block.splitlines())


def unknown(selector: Any) -> Iterator[str]:
    """What of a selector the exporter does not have: its name, or a label."""
    name = selector.name or ""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    family = FAMILIES.get(name) or FAMILIES.get(base)
    if family is not None:
        labels = {*family.labels, "job", "instance", "le"}
        yield from (
            f"{name} has no label {each.name}" for each in selector.matchers.matchers if each.name not in labels
        )
    elif name not in {*RECORDED, "up", "ALERTS"}:
        yield f"{name} is not in the catalogue"


def test_rules_and_runbook_ask_only_for_what_exists() -> None:
    known_elsewhere = re.compile(r"(prometheus|alertmanager|process|scrape)_\w+")
    problems = [
        f"{where}: {problem}"
        for where, query in all_queries()
        for selector in selectors(query)
        for problem in unknown(selector)
        if selector.name and not (where == "runbook" and known_elsewhere.fullmatch(selector.name))
    ]
    assert problems == []


def test_rules_bridge_failed_scrapes_and_judge_the_whole() -> None:
    """Every series of the exporter is read over minutes, and of its segments only "all"."""
    problems = []
    for rule in RULES:
        texts = rule.get("annotations", {}).values()
        for query in (rule["expr"], *(query for text in texts for query in template_queries(text))):
            where = rule.get("alert") or rule["record"]
            own = [each for each in selectors(query) if each.name in FAMILIES]
            over_minutes = re.findall(r"(?:last_over_time|increase)\(model_\w+(?:{[^}]*})?\[\d+[mh]\]\)", query)
            if len(own) != len(over_minutes):
                problems.append(f"{where}: a series is read at one moment: {query}")
            problems += [
                f"{where}: {each} is not the whole"
                for each in own
                if ('segment="all"' in str(each)) != ("segment" in FAMILIES[each.name].labels)
            ]
    assert problems == []


@each_alert
def test_alert_on_a_window_does_not_flap(rule: dict[str, Any]) -> None:
    of_window = re.search(r"Drift|Performance|Feature", rule["alert"])
    assert rule.get("keep_firing_for") == ("15m" if of_window else None)


def test_a_pair_of_exporters_is_one_alert() -> None:
    own = {labels["alertname"] for labels in FIRED if "instance" in labels}
    assert own == {"ModelExporterDown", "ModelExporterConfigReloadFailed"}


def test_tests_feed_the_rules_with_series_that_exist() -> None:
    names = {
        next(selectors(series["series"])).name
        for path in TEST_FILES
        for test in load(path)["tests"]
        for series in test["input_series"]
    }
    assert names - FAMILIES.keys() - {"up"} == set()


# --- who mutes whom ------------------------------------------------------------------------------------------------

INHIBITS = load(ALERTMANAGER / "alertmanager.yml")["inhibit_rules"]


def matches(matchers: list[str], labels: Labels) -> bool:
    for matcher in matchers:
        label, operator, value = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher).groups()  # type: ignore[union-attr]
        own = labels.get(label, "")
        equal = re.fullmatch(value, own) is not None if "~" in operator else own == value
        if equal == operator.startswith("!"):
            return False
    return True


def mutes(rule: dict[str, Any], source: Labels, target: Labels) -> bool:
    both = matches(rule["source_matchers"], target) and matches(rule["target_matchers"], source)
    return (
        not both
        and matches(rule["source_matchers"], source)
        and matches(rule["target_matchers"], target)
        and all(source.get(label, "") == target.get(label, "") for label in rule["equal"])
    )


@pytest.mark.parametrize("rule", INHIBITS, ids=lambda rule: " ".join(rule["source_matchers"]))
def test_labels_that_must_be_equal_are_on_both_sides(rule: dict[str, Any]) -> None:
    sources = [labels for labels in FIRED if matches(rule["source_matchers"], labels)]
    targets = [labels for labels in FIRED if matches(rule["target_matchers"], labels)]
    assert sources and targets
    assert [labels for labels in sources + targets if not set(rule["equal"]) <= labels.keys()] == []


def test_a_page_is_muted_only_by_a_page() -> None:
    lost = [
        (source, target)
        for rule in INHIBITS
        for source in FIRED
        for target in FIRED
        if target["severity"] == "critical" and source["severity"] != "critical" and mutes(rule, source, target)
    ]
    assert lost == []


OF_MODEL = {"job": "j", "model": "m"}
OF_WINDOW = {**OF_MODEL, "model_version": "1", "window": "24h"}


@pytest.mark.parametrize(
    ("source", "target", "muted"),
    [
        ({"alertname": "ModelFeatureMissingHigh", "severity": "warning", **OF_WINDOW, "feature": "a"},
         {"alertname": "ModelFeatureDriftHigh", "severity": "warning", **OF_WINDOW, "feature": "a"}, True),
        ({"alertname": "ModelFeatureMissingHigh", "severity": "warning", **OF_WINDOW, "feature": "a"},
         {"alertname": "ModelFeatureDriftHigh", "severity": "warning", **OF_WINDOW, "feature": "b"}, False),
        ({"alertname": "ModelFeatureDriftHigh", "severity": "critical", **OF_WINDOW, "feature": "a"},
         {"alertname": "ModelFeatureDriftHigh", "severity": "warning", **OF_WINDOW, "feature": "b"}, False),
        ({"alertname": "ModelDatasetDriftHigh", "severity": "warning", **OF_WINDOW},
         {"alertname": "ModelFeatureDriftHigh", "severity": "critical", **OF_WINDOW, "feature": "a"}, False),
        ({"alertname": "ModelDatasetDriftHigh", "severity": "warning", **OF_WINDOW},
         {"alertname": "ModelFeatureDriftHigh", "severity": "warning", **OF_WINDOW, "window": "7d"}, False),
        ({"alertname": "ModelSourceDown", "severity": "warning", **OF_MODEL, "source": "labels"},
         {"alertname": "ModelDataStale", "severity": "warning", **OF_MODEL}, False),
        ({"alertname": "ModelSourceDown", "severity": "warning", **OF_MODEL, "source": "predictions"},
         {"alertname": "ModelDataStale", "severity": "warning", "job": "j", "model": "other"}, False),
        ({"alertname": "ModelExporterDown", "severity": "critical", "scope": "job", "job": "j"},
         {"alertname": "ModelPerformanceLow", "severity": "critical", **OF_WINDOW, "metric": "f1"}, True),
        ({"alertname": "ModelExporterDown", "severity": "critical", "scope": "instance", "job": "j", "instance": "a"},
         {"alertname": "ModelPerformanceLow", "severity": "critical", **OF_WINDOW, "metric": "f1"}, False),
        ({"alertname": "ModelExporterDown", "severity": "critical", "scope": "job", "job": "other"},
         {"alertname": "ModelPerformanceLow", "severity": "critical", **OF_WINDOW, "metric": "f1"}, False),
    ],
)  # fmt: skip
def test_cause_mutes_consequence_and_nothing_else(source: Labels, target: Labels, muted: bool) -> None:
    assert any(mutes(rule, source, target) for rule in INHIBITS) == muted


def test_compose_routes_and_mutes_alike() -> None:
    here, compose = (load(ALERTMANAGER / name) for name in ROUTES)
    assert here["inhibit_rules"] == compose["inhibit_rules"]
    (_, *routes), (_, *others) = here["route"].pop("routes"), compose["route"].pop("routes")
    assert (here["route"], routes) == (compose["route"], others)


# --- messages ------------------------------------------------------------------------------------------------------


def message(firing: int, resolved: int) -> dict[str, Any]:
    """What Alertmanager hands to a template."""
    labels = {"alertname": "ModelFeatureMissingHigh", "severity": "warning", **OF_WINDOW}
    alerts = [
        {
            "status": "firing" if number < firing else "resolved",
            "labels": {**labels, "feature": f"f{number}"},
            "annotations": {
                "summary": "Too many values of a feature are missing.",
                "description": f"50% of the values of feature f{number} are < & missing (threshold 5%).",
                "runbook_url": "http://runbook",
                "dashboard_url": f"http://dashboard?var-feature=f{number}",
            },
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": "2026-01-02T04:05:06Z",
        }
        for number in range(firing + resolved)
    ]
    common = {"receiver": "team", "status": "firing" if firing else "resolved", "groupLabels": {"model": "m"}}
    return {**common, "alerts": alerts, "commonLabels": labels, "externalURL": "http://alerts:9093"}


@pytest.mark.parametrize(
    ("template", "kind"),
    [("model.email.text", "text"), ("model.email.html", "html"), ("model.slack.text", "text")],
)
def test_message_has_what_a_person_needs(need_tool: Tool, tmp_path: Path, template: str, kind: str) -> None:
    text = render(need_tool, tmp_path, template, kind, message(firing=2, resolved=1))
    for part in ("f0", "f1", "f2", "50%", "threshold 5%", "2026-01-02 03:04 UTC", "2026-01-02 04:05 UTC"):
        assert part in text
    for link in ("http://runbook", "http://dashboard?var-feature=f0", "http://alerts:9093/#/silences/new"):
        assert link in text
    assert ("&lt; &amp; missing" in text) == (template != "model.email.text"), "escaped for HTML and Slack only"
    assert "<no value>" not in text


@pytest.mark.parametrize(
    ("firing", "resolved", "subject"),
    [
        (1, 0, "[WARNING] m: ModelFeatureMissingHigh"),
        (5, 1, "[WARNING x5] m: ModelFeatureMissingHigh"),
        (0, 2, "[RESOLVED] m: ModelFeatureMissingHigh"),
    ],
)
def test_subject(need_tool: Tool, tmp_path: Path, firing: int, resolved: int, subject: str) -> None:
    assert render(need_tool, tmp_path, "model.subject", "text", message(firing, resolved)) == subject


def render(need_tool: Tool, folder: Path, template: str, kind: str, data: dict[str, Any]) -> str:
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    done = subprocess.run(
        [
            *(need_tool("amtool"), "template", "render", f"--template.type={kind}"),
            f"--template.glob={ALERTMANAGER / 'templates' / '*.tmpl'}",
            f'--template.text={{{{ template "{template}" . }}}}',
            f"--template.data={folder / 'data.json'}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip("\n")
