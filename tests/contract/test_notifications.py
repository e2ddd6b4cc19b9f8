"""Routes, inhibition and messages: valid for the tools, and in agreement with the rules."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exporter.drill import TEST_ALERT
from tests.contract.rules_reading import (
    ALERTMANAGER,
    ALERTS,
    FIRED,
    PROMETHEUS,
    RUNBOOK,
    Labels,
    Tool,
    fixed,
    load,
    succeeds,
)

ROUTES = ("alertmanager.yml", "alertmanager.compose.yml")
EXAMPLE = "examples/teams.yml"
TEMPLATES = [("model.email.text", "text"), ("model.email.html", "html"), ("model.slack.text", "text")]
RECEIVERS = {"critical": "page", "warning": "team", "info": "null"}


# --- routes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ROUTES, EXAMPLE])
def test_amtool_accepts_the_configuration(need_tool: Tool, name: str) -> None:
    succeeds(need_tool("amtool"), "check-config", ALERTMANAGER / name)


@pytest.mark.parametrize("name", [*ROUTES, EXAMPLE])
def test_amlint_finds_nothing(need_tool: Tool, name: str) -> None:
    rules = PROMETHEUS / "rules" / "*.yml"
    succeeds(need_tool("amlint"), "check", "--strict", "--rules", str(rules), ALERTMANAGER / name)


def goes_to(need_tool: Tool, name: str, receivers: list[str], labels: Labels) -> None:
    """Fail unless an alert with these labels goes to these receivers."""
    own = [f"{key}={value}" for key, value in labels.items()]
    file = f"--config.file={ALERTMANAGER / name}"
    succeeds(need_tool("amtool"), "config", "routes", "test", file, f"--verify.receivers={','.join(receivers)}", *own)


def hears(rule: dict[str, Any]) -> bool:
    """Whether the exporter is told of an alert, to decide on retraining."""
    return "team" in rule["labels"] and not rule["alert"].startswith("ModelRetrain")


def labels_of(rule: dict[str, Any], team: str = "none") -> Labels:
    of_model = {"model": "m", "team": team} if "team" in rule["labels"] else {}
    return {"alertname": rule["alert"], **fixed(rule), **of_model}


@pytest.mark.parametrize("name", ROUTES)
def test_every_alert_reaches_its_receiver(need_tool: Tool, name: str) -> None:
    for rule in ALERTS:
        receiver = RECEIVERS.get(rule["labels"]["severity"])
        if rule["alert"] == "Watchdog":
            receiver = "heartbeat" if name == "alertmanager.yml" else "null"
        assert receiver is not None, rule["alert"]
        first = ["retrain"] if hears(rule) and name == "alertmanager.yml" else []
        goes_to(need_tool, name, [*first, receiver], labels_of(rule))


TEAMS = {
    "none": RECEIVERS,
    "growth": {"critical": "page-growth", "warning": "team-growth", "info": "null"},
    "risk": {"critical": "page-risk", "warning": "team", "info": "null"},
}


@pytest.mark.parametrize("team", TEAMS)
def test_every_alert_reaches_its_team(need_tool: Tool, team: str) -> None:
    for rule in ALERTS:
        of_model = "team" in rule["labels"]
        receiver = TEAMS[team if of_model else "none"].get(rule["labels"]["severity"], "heartbeat")
        if rule["alert"] == "ModelBusinessKpiUnusual" and team == "growth":
            receiver = "team-growth"
        first = ["retrain"] if hears(rule) else []
        goes_to(need_tool, EXAMPLE, [*first, receiver], labels_of(rule, team))


def test_a_page_knows_no_office_hours() -> None:
    (page,) = [route for route in load(ALERTMANAGER / EXAMPLE)["route"]["routes"] if route["receiver"] == "page"]
    for route in (page, *page["routes"]):
        assert not {"active_time_intervals", "mute_time_intervals"} & set(route)
        assert 'severity="warning"' not in route["matchers"]


def test_a_test_alert_starts_no_retraining(need_tool: Tool) -> None:
    for name in (*ROUTES, EXAMPLE):
        labels = {"alertname": TEST_ALERT, "severity": "critical", "model": "m", "team": "none"}
        goes_to(need_tool, name, ["page"], labels)


# --- the runbook's table ------------------------------------------------------------------------------------------

ROW = r"^\|[^|]*\| `(severity=[^`]*)` \|[^|]*\| (`[^|]*`) \|[^|]*\| *(\w*) *\| *(\w*) *\|$"
TOLD = re.findall(ROW, RUNBOOK, re.MULTILINE)


def test_the_table_says_who_is_told(need_tool: Tool) -> None:
    """Every row's receivers, first message and repetition are those of the routes."""
    routes = {route["receiver"]: route for route in load(ALERTMANAGER / "alertmanager.yml")["route"]["routes"]}
    top = load(ALERTMANAGER / "alertmanager.yml")["route"]
    assert len(TOLD) == 8
    for labels, told, first, again in TOLD:
        receivers = re.findall(r"`([\w-]+)`", told)
        goes_to(need_tool, "alertmanager.yml", receivers, dict(one.split("=") for one in labels.split()))
        route = {**top, **routes[receivers[-1]]}
        if receivers[-1] != "null":
            assert (first, again) == (route["group_wait"], route["repeat_interval"]), labels


def test_the_table_has_every_severity() -> None:
    severities = {dict(one.split("=") for one in labels.split())["severity"] for labels, *_ in TOLD}
    assert severities == {rule["labels"]["severity"] for rule in ALERTS}


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
DATASET = {"alertname": "ModelDatasetDriftHigh", "severity": "warning", **OF_WINDOW}
ROWS = {"alertname": "ModelMultivariateDriftHigh", "severity": "warning", **OF_WINDOW}
FEATURE = {
    "alertname": "ModelFeatureDriftHigh",
    "severity": "warning",
    **OF_WINDOW,
    "segment": "all",
    "baseline": "reference",
    "feature": "a",
}
SEGMENT = {**FEATURE, "segment": "origin=EWR"}
MOVING = {**FEATURE, "baseline": "previous"}
OUTPUT = {"alertname": "ModelPredictionDriftHigh", "severity": "warning", **OF_WINDOW, "output": "score"}
STATIC, EARLIER = {**OUTPUT, "baseline": "reference"}, {**OUTPUT, "baseline": "week_ago"}
STALE = {"alertname": "ModelDataStale", "severity": "warning", **OF_MODEL}
UNREAD = {"alertname": "ModelSourceDown", "severity": "warning", **OF_MODEL, "source": "predictions"}
MEASURED = {"alertname": "ModelPerformanceLow", "severity": "critical", **OF_WINDOW, "metric": "f1"}
ESTIMATED = {"alertname": "ModelEstimatedPerformanceLow", "severity": "warning", **OF_WINDOW, "metric": "f1"}
NO_LEADER = {"alertname": "ModelExporterNoLeader", "severity": "critical", "job": "j"}
CONCEPT = {"alertname": "ModelConceptDriftDetected", "severity": "warning", **OF_MODEL, "model_version": "1"}


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
        (FEATURE, SEGMENT, True),
        (FEATURE, MOVING, True),
        (FEATURE, FEATURE, False),
        (FEATURE, {**SEGMENT, "feature": "b"}, False),
        (FEATURE, {**SEGMENT, "severity": "critical"}, False),
        ({**SEGMENT, "severity": "critical"}, FEATURE, True),
        (SEGMENT, FEATURE, False),
        (SEGMENT, {**SEGMENT, "segment": "origin=JFK"}, False),
        (MOVING, FEATURE, False),
        (STATIC, EARLIER, True),
        (EARLIER, STATIC, False),
        (STATIC, {**EARLIER, "output": "prediction"}, False),
        (DATASET, FEATURE, True),
        (DATASET, SEGMENT, True),
        (DATASET, MOVING, True),
        (DATASET, ROWS, True),
        (DATASET, {**ROWS, "window": "7d"}, False),
        (DATASET, {**ROWS, "severity": "critical"}, False),
        ({**DATASET, "severity": "critical"}, ROWS, True),
        (ROWS, DATASET, False),
        (ROWS, FEATURE, False),
        ({**ROWS, "severity": "critical"}, ROWS, True),
        ({**ROWS, "severity": "critical"}, DATASET, False),
        ({**DATASET, "severity": "critical"}, {**CONCEPT, "signal": "error"}, False),
        (STALE, FEATURE, True),
        (STALE, {**FEATURE, "severity": "critical"}, False),
        (STALE, {**FEATURE, "model": "other"}, False),
        (STALE, {"alertname": "ModelWindowTooSmall", "severity": "info", **OF_WINDOW, "dataset": "current"}, True),
        (STALE, MEASURED, False),
        (UNREAD, FEATURE, True),
        ({**UNREAD, "source": "labels"}, FEATURE, False),
        ({**UNREAD, "source": "labels"}, {"alertname": "ModelLabelsDelayed", "severity": "warning", **OF_WINDOW}, True),
        (UNREAD, {"alertname": "ModelLabelsDelayed", "severity": "warning", **OF_WINDOW}, False),
        (MEASURED, ESTIMATED, True),
        (MEASURED, {**ESTIMATED, "metric": "auc"}, False),
        (ESTIMATED, MEASURED, False),
        ({**NO_LEADER, "scope": "job"}, FEATURE, True),
        ({**NO_LEADER, "scope": "shard", "shard": "1"}, FEATURE, False),
        ({**NO_LEADER, "scope": "job"}, {**NO_LEADER, "scope": "shard", "shard": "1"}, True),
        ({**NO_LEADER, "scope": "shard", "shard": "1"}, {**NO_LEADER, "scope": "job"}, False),
    ],
)  # fmt: skip
def test_cause_mutes_consequence_and_nothing_else(source: Labels, target: Labels, muted: bool) -> None:
    assert any(mutes(rule, source, target) for rule in INHIBITS) == muted


def test_compose_routes_and_mutes_alike() -> None:
    here, compose = (load(ALERTMANAGER / name) for name in ROUTES)
    assert here["inhibit_rules"] == compose["inhibit_rules"]
    (_, retrain, *routes), (_, *others) = here["route"].pop("routes"), compose["route"].pop("routes")
    assert retrain["receiver"] == "retrain"
    assert (here["route"], routes) == (compose["route"], others)


def test_the_example_mutes_alike() -> None:
    assert load(ALERTMANAGER / EXAMPLE)["inhibit_rules"] == INHIBITS


# --- messages ------------------------------------------------------------------------------------------------------


def message(firing: int, resolved: int) -> dict[str, Any]:
    """What Alertmanager hands to a template."""
    labels = {"alertname": "ModelFeatureMissingHigh", "severity": "warning", **OF_WINDOW, "team": "growth"}
    alerts = [
        {
            "status": "firing" if number < firing else "resolved",
            "labels": {**labels, "feature": f"f{number}"},
            "annotations": {
                "summary": "Too many values of a feature are missing.",
                "description": f"50% of the values of feature f{number} are < & missing (threshold 5%).",
                "runbook_url": "http://runbook",
                "report_url": "http://exporter/models/m",
                "top_features": f"f{number} (impact 0.5, 2.0 x threshold)",
                "performance": "roc_auc: realised 0.625 (24h), estimated 0.650 (24h), reference 0.750",
                "dashboard_url": f"http://dashboard?var-feature=f{number}",
            },
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": "2026-01-02T04:05:06Z",
        }
        for number in range(firing + resolved)
    ]
    common = {"receiver": "team", "status": "firing" if firing else "resolved", "groupLabels": {"model": "m"}}
    shared = {"report_url": "http://exporter/models/m"}
    return {
        **common,
        "alerts": alerts,
        "commonLabels": labels,
        "commonAnnotations": shared,
        "externalURL": "http://alerts:9093",
    }


@pytest.mark.parametrize(("template", "kind"), TEMPLATES)
def test_message_has_what_a_person_needs(need_tool: Tool, tmp_path: Path, template: str, kind: str) -> None:
    text = render(need_tool, tmp_path, template, kind, message(firing=2, resolved=1))
    for part in ("f0", "f1", "f2", "50%", "threshold 5%", "2026-01-02 03:04 UTC", "2026-01-02 04:05 UTC"):
        assert part in text
    assert "Features, highest impact first: f0 (impact 0.5, 2.0 x threshold)." in text
    assert text.count("Performance: roc_auc: realised 0.625 (24h), estimated 0.650 (24h), reference 0.750.") == 1
    for link in (
        "http://exporter/models/m",
        "http://runbook",
        "http://dashboard?var-feature=f0",
        "http://alerts:9093/#/silences/new",
    ):
        assert link in text
    assert ("&lt; &amp; missing" in text) == (template != "model.email.text"), "escaped for HTML and Slack only"
    assert "<no value>" not in text


@pytest.mark.parametrize(
    ("impacts", "said"),
    [
        ({"a": ["0.125"], "b": ["1.250", "0.500"], "c": ["0.250"], "d": ["0.500"], "e": [""]},
         "Features, highest impact first: b (1.250), d (0.500), c (0.250)."),
        ({"a": ["0.125", "0.250"], "b": [""], "c": ["0.000"], "d": ["0.001"]},
         "Features, highest impact first: a (0.250), d (0.001)."),
        ({"a": ["0.125", "0.250"], "b": [""], "c": ["0.000"]}, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("template", "kind"), TEMPLATES)
def test_message_names_three_features_with_the_highest_impact(
    need_tool: Tool, tmp_path: Path, template: str, kind: str, impacts: dict[str, list[str]], said: str
) -> None:
    data = message(firing=sum(map(len, impacts.values())), resolved=0)
    pairs = [(feature, impact) for feature, own in impacts.items() for impact in own]
    for alert, (feature, impact) in zip(data["alerts"], pairs, strict=True):
        del alert["annotations"]["top_features"]
        alert["labels"] |= {"feature": feature}
        alert["annotations"] |= {"impact": impact} if impact else {}
    text = render(need_tool, tmp_path, template, kind, data)
    assert text.count("highest impact") == bool(said)
    assert said in text


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


def test_message_for_a_telephone_is_short(need_tool: Tool, tmp_path: Path) -> None:
    data = message(firing=30, resolved=0)
    data["alerts"][0]["annotations"]["description"] = "x" * 5000
    text = render(need_tool, tmp_path, "model.sms", "text", data)
    assert text.startswith("[WARNING x30] m: ModelFeatureMissingHigh. xxx")
    assert text.endswith("Since 03:04 UTC http://runbook")
    assert len(text) < 320


def test_message_names_the_team_that_there_is(need_tool: Tool, tmp_path: Path) -> None:
    data = message(firing=1, resolved=0)
    assert "Team: growth" in render(need_tool, tmp_path, "model.email.text", "text", data)
    assert "team growth" in render(need_tool, tmp_path, "model.email.html", "html", data)
    data["commonLabels"]["team"] = "none"
    assert "eam" not in render(need_tool, tmp_path, "model.email.text", "text", data).replace("receiver=team", "")


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
