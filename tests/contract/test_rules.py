"""Rules, their tests and the runbook: valid for the tools, and in agreement with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from exporter.catalogue import FAMILIES
from tests.contract.dashboard_reading import BOARDS
from tests.contract.rules_reading import (
    ALERTS,
    CASES,
    FIRED,
    PROMETHEUS,
    RECORDED,
    RULE_FILES,
    RULES,
    RUNBOOK,
    TEST_FILES,
    Tool,
    all_queries,
    fixed,
    load,
    minutes,
    selectors,
    succeeds,
    template_queries,
)

CONFIGS = ("prometheus.yml", "prometheus.compose.yml")
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
# Annotations beside those that every alert has: of one model; and of a window, what else is known of the model.
OF_MODEL, OF_WINDOW = {"report_url"}, {"report_url", "top_features", "performance"}
CONTEXT = re.compile(r"Drift|Performance|Feature|Business|Serving")
MORE = {"ModelFeatureDriftHigh": {"impact"}}
TEAM = "{{ range query (printf "
RUNBOOK_URL = "https://github.com/model-exporter/model-exporter/blob/main/docs/runbook.md#"
# Read of every segment, too; of what else has the label, only of the whole.
OF_SEGMENTS = {
    "model_feature_drift_score",
    "model_feature_drift_threshold",
    "model_segment_drift_score",
    "model_segment_state",
}
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")


# --- the tools ---------------------------------------------------------------------------------------------------


def test_promtool_finds_nothing_in_the_rules(need_tool: Tool) -> None:
    succeeds(need_tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("name", CONFIGS)
def test_promtool_accepts_the_configuration(need_tool: Tool, name: str) -> None:
    succeeds(need_tool("promtool"), "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / name)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_pass_their_tests(need_tool: Tool, path: Path) -> None:
    succeeds(need_tool("promtool"), "test", "rules", path)


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
    of_model = not name.startswith("ModelExporter") and name != "Watchdog"
    more = OF_WINDOW if CONTEXT.search(name) else OF_MODEL if of_model else set()
    assert set(notes) == ANNOTATIONS | more | MORE.get(name, set())
    assert rule["labels"].get("team", "").startswith(TEAM) == of_model, "who is told of a model is a label"
    assert "{{" not in notes["summary"], "one sentence for all alerts of a group"
    assert notes["summary"][0].isupper() and notes["summary"].endswith(".")
    assert notes["runbook_url"] == RUNBOOK_URL + name.lower()
    assert "for" in rule or name == "Watchdog"


# Where an alert leads to, by its name; what is not here leads to the dashboard of its model.
BOARD_OF = {
    r"ModelExporter\w+|Watchdog|ModelTask\w+|ModelSourceDown": "model-exporter",
    r"ModelDataStale": "model-quality",
    r"ModelFeature\w+": "model-feature",
    r"ModelBusinessKpi\w+": "model-business",
}
# Variables of dashboards that are labels of alerts.
VARIABLES = {"model": "model", "model_version": "version", "window": "window", "feature": "feature"}
VARIABLES |= {"segment": "segment", "kpi": "kpi", "metric": "metric"}


@each_alert
def test_alert_opens_the_dashboard_on_what_it_is_about(rule: dict[str, Any]) -> None:
    """Every label that the dashboard can choose by is chosen, and nothing else."""
    name = rule["alert"]
    uid = next((board for pattern, board in BOARD_OF.items() if re.fullmatch(pattern, name)), "model-detail")
    chosen = {each["name"] for each in BOARDS[uid]["templating"]["list"]}
    fired = [
        (alert["exp_labels"], urlsplit(alert["exp_annotations"]["dashboard_url"]))
        for _, case in CASES
        for alert in case.get("exp_alerts", [])
        if case["alertname"] == name and fixed(rule).items() <= alert["exp_labels"].items()
    ]
    assert fired
    for labels, url in fired:
        assert url.path == f"/d/{uid}"
        wanted = {f"var-{VARIABLES[key]}": [value] for key, value in labels.items() if VARIABLES.get(key) in chosen}
        assert parse_qs(url.query) == wanted


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
        if case["alertname"] == rule["alert"] and fixed(rule).items() <= alert["exp_labels"].items()
    ]
    assert found
    assert all(set(alert["exp_annotations"]) == set(rule["annotations"]) for alert in found)


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in ALERTS} - {"Watchdog"}))
def test_alert_has_a_test_in_which_it_is_silent_then_fires_then_resolves(name: str) -> None:
    stories: dict[str, list[tuple[int, str]]] = {}
    for test, case in CASES:
        if case["alertname"] == name:
            fires = "!" if case.get("exp_alerts") else "-"
            stories.setdefault(test["name"], []).append((minutes(case["eval_time"]), fires))
    assert any(re.search("-!+-", "".join(fires for _, fires in sorted(story))) for story in stories.values())


# --- names ---------------------------------------------------------------------------------------------------------


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
    """Every series of the exporter is read over minutes, and of most only segment "all"."""
    problems = []
    for rule in RULES:
        texts = (*rule.get("annotations", {}).values(), *rule.get("labels", {}).values())
        for query in (rule["expr"], *(query for text in texts for query in template_queries(text))):
            where = rule.get("alert") or rule["record"]
            own = [each for each in selectors(query) if each.name in FAMILIES]
            over_minutes = re.findall(r"(?:last_over_time|increase)\(model_\w+(?:{[^}]*})?\[\d+[mh]\]\)", query)
            if len(own) != len(over_minutes):
                problems.append(f"{where}: a series is read at one moment: {query}")
            problems += [
                f"{where}: {each} is not the whole"
                for each in own
                if each.name not in OF_SEGMENTS
                and ('segment="all"' in str(each)) != ("segment" in FAMILIES[each.name].labels)
            ]
    assert problems == []


@each_alert
def test_alert_on_a_window_does_not_flap(rule: dict[str, Any]) -> None:
    of_window = CONTEXT.search(rule["alert"])
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
