"""The dashboards: committed as built, keep the rules, and fit the provisioning and the alerts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from dashboard_reading import BOARDS, panels
from dashboard_rules import (
    RULES,
    Rule,
    answers_explained,
    closed_rows,
    light,
    links_lead_somewhere,
    panel_places,
    replicas_once,
    series_exist,
    target_job,
    target_promql,
    target_rates,
    variables_exist,
)

from grafana.build import FOLDER, dashboards, stale

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("uid", BOARDS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Rule, uid: str) -> None:
    assert list(rule(BOARDS[uid])) == []


def test_committed_json_equals_the_build() -> None:
    assert stale() == [], "run python -m grafana.build"


def test_uids_are_the_file_names_and_titles_are_unique() -> None:
    assert {f"{uid}.json" for uid in BOARDS} == {path.name for path in FOLDER.glob("*.json")}
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


def test_alerts_link_to_dashboards_that_exist() -> None:
    for path in (ROOT / "prometheus" / "rules").glob("*.yml"):
        for uid, choices in re.findall(r"/d/([a-z-]+)(\S*.*)", path.read_text(encoding="utf-8")):
            known = {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}
            assert set(re.findall(r"\bvar-(\w+)=", choices)) <= known


def test_provisioning_matches_the_dashboards() -> None:
    folder = ROOT / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    prometheus, alertmanager = sources
    scrape = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert (prometheus["uid"], prometheus["editable"]) == ("prometheus", False)
    assert prometheus["jsonData"]["alertmanagerUid"] == alertmanager["uid"]
    assert prometheus["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    provider = yaml.safe_load((folder / "dashboards" / "model-exporter.yml").read_text(encoding="utf-8"))["providers"][
        0
    ]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert not provider["allowUiUpdates"]


@pytest.mark.parametrize(
    ("rule", "expr"),
    [
        (target_promql, "max by (model) (model_info"),
        (target_job, "max(model_info)"),
        (target_rates, 'sum(model_task_runs_total{job=~"$job"})'),
        (target_rates, 'sum(rate(model_task_runs_total{job=~"$job"}[5m]))'),
        (series_exist, 'max(model_accuracy{job=~"$job"})'),
        (series_exist, 'max(model_info{job=~"$job", feature="$feature"})'),
        (variables_exist, 'max(model_info{job=~"$job", model="$modell"})'),
        (replicas_once, 'model_info{job=~"$job"}'),
        (answers_explained, 'max(model_exporter_leader{job=~"$job"})'),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_rules_find_a_bad_query(rule: Rule, expr: str) -> None:
    board = dashboards()["model-fleet.json"]
    panels(board)[0]["targets"][0]["expr"] = expr
    assert list(rule(board)) != []


def test_rules_find_what_is_heavy() -> None:
    board = dashboards()["model-fleet.json"]
    assert list(light(board)) == []
    panel = next(each for each in panels(board) if each["type"] == "state-timeline")
    panel["targets"][0]["expr"] = 'max by (model) (model_feature_drift_score{job=~"$job"})'
    assert list(light(board)) != []


def test_rules_find_a_row_that_grafana_would_strip() -> None:
    board = dashboards()["model-detail.json"]
    row = next(panel for panel in board["panels"] if panel.get("panels"))
    assert list(closed_rows(board)) == []
    row["collapsed"] = False
    assert list(closed_rows(board)) != []


def test_rules_find_what_overlaps_within_a_closed_row() -> None:
    board = dashboards()["model-detail.json"]
    first, second, *_ = next(panel for panel in board["panels"] if panel.get("panels"))["panels"]
    second["gridPos"] = first["gridPos"]
    assert list(panel_places(board)) != []


def test_rules_find_a_link_that_carries_what_the_dashboard_does_not_have() -> None:
    board = dashboards()["model-detail.json"]
    board["templating"]["list"] = [each for each in board["templating"]["list"] if each["name"] != "window"]
    assert list(links_lead_somewhere(board)) != []
