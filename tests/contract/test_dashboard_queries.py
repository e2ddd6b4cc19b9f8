"""What the dashboards' longer queries answer, asked of Prometheus' own engine (promtool)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import queries

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

MODEL = 'job="j", instance="i", model="m"'
VERSION = f'{MODEL}, model_version="1"'
WINDOW = f'{VERSION}, window="24h"'
SLICE = f'{WINDOW}, segment="all"'
VARIABLES = {"$job": ".+", "$model": "m", "$version": "1", "$window": "24h"}


def window_state(task: str, now: str) -> dict[str, str]:
    """The state set of a task's window."""
    states = ("ok", "insufficient", "immature", "failed", "stale")
    return {f'model_window_state{{{WINDOW}, task="{task}", state="{each}"}}': str(int(each == now)) for each in states}


# Everything is well; a case changes some of it. The time of evaluation is 600.
WELL: dict[str, str] = {
    f"model_info{{{VERSION}}}": "1",
    **window_state("drift", "ok"),
    **window_state("performance", "ok"),
    f"model_newest_row_timestamp_seconds{{{VERSION}}}": "590",
    f"model_data_delay_threshold_seconds{{{MODEL}}}": "60",
    f"model_drifted_features_ratio{{{SLICE}}}": "0",
    f"model_quality_checks_failed{{{WINDOW}}}": "0",
    f'model_performance_score{{{SLICE}, metric="roc_auc"}}': "0.75",
    f'model_performance_score{{{SLICE}, metric="log_loss"}}': "0.25",
    f'model_performance_score_baseline{{{VERSION}, segment="all", metric="log_loss"}}': "0.125",
    f'model_performance_score_min{{{MODEL}, metric="roc_auc", severity="critical"}}': "0.5",
    f'model_performance_score_max{{{MODEL}, metric="log_loss", severity="warning"}}': "0.3125",
}
DRIFT = {f"model_drifted_features_ratio{{{SLICE}}}": "0.125"}
BAD = {f"model_quality_checks_failed{{{WINDOW}}}": "2"}
LOW = {f'model_performance_score{{{SLICE}, metric="roc_auc"}}': "0.25"}
HIGH_LOSS = {f'model_performance_score{{{SLICE}, metric="log_loss"}}': "0.5"}
LATE = {f"model_newest_row_timestamp_seconds{{{VERSION}}}": "500"}
SECOND = {series.replace('"i"', '"second"'): value for series, value in WELL.items()}


def answer(folder: Path, series: dict[str, str], expr: str, expected: list[dict[str, Any]]) -> str:
    """Evaluate a query over constant series; return what promtool has against `expected`."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}+0x10"} for name, value in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": "10m", "exp_samples": expected}],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"tests": [test]}), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("series", "state"),
    [
        (WELL, queries.HEALTHY),
        (WELL | SECOND, queries.HEALTHY),
        (WELL | window_state("performance", "insufficient"), queries.FEW),
        (WELL | DRIFT, queries.DRIFTED),
        (WELL | DRIFT | BAD, queries.BAD),
        (WELL | DRIFT | LOW, queries.LOW),
        (WELL | HIGH_LOSS, queries.LOW),
        (WELL | DRIFT | LATE, queries.LATE),
        (WELL | window_state("drift", "stale"), queries.STALE),
        (WELL | LOW | window_state("drift", "failed"), queries.FAILED),
        ({f"model_info{{{VERSION}}}": "1"}, queries.STALE),
    ],
)
@pytest.mark.parametrize("many", [False, True], ids=["one model", "fleet"])
def test_state(tmp_path: Path, series: dict[str, str], state: int, many: bool) -> None:
    labels = '{model="m", model_version="1"}'
    assert answer(tmp_path, series, queries.state(many), [{"labels": labels, "value": state}]) == ""
    others = f"{queries.state(many)} != {state}"
    assert answer(tmp_path, series, others, []) == ""


def test_headline_is_the_metric_closest_to_its_bound(tmp_path: Path) -> None:
    labels = '{model="m", model_version="1", metric="log_loss"}'
    for expr, value in (
        (queries.headline_score(), 0.25),
        (queries.headline_bound(), 0.3125),
        (queries.headline_baseline(), 0.125),
    ):
        assert answer(tmp_path, WELL, expr, [{"labels": labels, "value": value}]) == ""


def test_headline_without_bounds_is_the_usual_metric(tmp_path: Path) -> None:
    series = {name: value for name, value in WELL.items() if not name.startswith("model_performance_score_m")}
    expected = [{"labels": '{model="m", model_version="1", metric="roc_auc"}', "value": 0.75}]
    assert answer(tmp_path, series, queries.headline_score(), expected) == ""
    assert answer(tmp_path, series, queries.headline_bound(), []) == ""


def test_no_alert_is_nothing_where_no_rule_runs(tmp_path: Path) -> None:
    watchdog = {'ALERTS{alertname="Watchdog", alertstate="firing", severity="none"}': "1"}
    expr = queries.firing("critical")
    assert answer(tmp_path, WELL, expr, []) == ""
    assert answer(tmp_path, WELL | watchdog, expr, [{"labels": "{}", "value": 0}]) == ""
    alert = {f'ALERTS{{alertname="ModelPerformanceLow", alertstate="firing", severity="critical", {VERSION}}}': "1"}
    assert answer(tmp_path, WELL | watchdog | alert, expr, [{"labels": "{}", "value": 1}]) == ""


MISSING = "model_feature_missing"
QUALITY = {
    f'{MISSING}_ratio{{{SLICE}, feature="a"}}': "0.25",
    f'{MISSING}_threshold_ratio{{{SLICE}, feature="a"}}': "0.125",
    f'{MISSING}_ratio{{{SLICE}, feature="blind"}}': "0.75",
    f'model_feature_invalid_ratio{{{SLICE}, feature="a"}}': "0",
    f'model_feature_invalid_threshold_ratio{{{SLICE}, feature="a"}}': "0.125",
}


REPLICA = {name.replace('"i"', '"second"'): value for name, value in QUALITY.items()}


@pytest.mark.parametrize("series", [QUALITY, QUALITY | REPLICA], ids=["one exporter", "a pair"])
def test_quality_is_share_over_bound_and_a_blind_check_has_none(tmp_path: Path, series: dict[str, str]) -> None:
    of_bound = [
        {"labels": '{feature="a", check="missing"}', "value": 2},
        {"labels": '{feature="a", check="invalid"}', "value": 0},
    ]
    assert answer(tmp_path, series, queries.quality_of_bound(), of_bound) == ""
    blind = [{"labels": '{feature="blind", check="missing"}', "value": 0.75}]
    assert answer(tmp_path, series, queries.quality_blind(), blind) == ""


def test_segment_state_is_the_one_that_holds(tmp_path: Path) -> None:
    series = {
        f'model_segment_state{{{WINDOW}, segment="{segment}", state="{each}"}}': str(int(each == now))
        for segment, now in (("a", "ok"), ("b", "vanished"), ("c", "insufficient"))
        for each in queries.SEGMENT_STATES
    }
    expected = [{"labels": f'{{segment="{name}"}}', "value": value} for name, value in (("a", 1), ("b", 3), ("c", 0))]
    assert answer(tmp_path, series, queries.segment_state(), expected) == ""


@pytest.mark.parametrize(
    ("success", "late"),
    [("540", 1), ("0", 9)],
    ids=["since the last success", "never: since the start"],
)
def test_lateness_counts_intervals(tmp_path: Path, success: str, late: int) -> None:
    task = f'{MODEL}, task="drift"'
    series = {
        f"model_task_last_success_timestamp_seconds{{{task}}}": success,
        f"model_task_interval_seconds{{{task}}}": "60",
        'process_start_time_seconds{job="j", instance="i"}': "60",
    }
    expected = [{"labels": '{model="m", task="drift"}', "value": late}]
    assert answer(tmp_path, series, queries.task_lateness(many=True), expected) == ""


def test_drift_against_each_past_is_over_its_own_threshold(tmp_path: Path) -> None:
    def drift(name: str, labels: str, score: str, threshold: str) -> dict[str, str]:
        labels += ', feature="a", method="ks"'
        limit = f'{name}_threshold{{{labels}, severity="warning"}}'
        return {f"{name}_score{{{labels}}}": score, limit: threshold, limit.replace("warning", "critical"): "9"}

    moving = "model_feature_moving_drift"
    series = (
        drift("model_feature_drift", SLICE, "0.5", "0.25")
        | drift("model_feature_drift", SLICE.replace("all", "carrier=UA"), "8", "0.25")
        | drift(moving, f'{WINDOW}, baseline="previous"', "0.5", "1")
        | drift(moving, f'{WINDOW}, baseline="week_ago"', "0.5", "0.125")
    )
    found = queries.per_threshold_against()
    for past, value in (("reference", 2), ("previous", 0.5), ("week_ago", 4)):
        assert answer(tmp_path, series, found[past], [{"labels": '{feature="a"}', "value": value}]) == ""
    reading = [{"labels": '{feature="a"}', "value": 4 + 1}]  # unlike the reference and a week ago
    assert answer(tmp_path, series, queries.season(), reading) == ""
    weekly = {name: value for name, value in series.items() if "week_ago" not in name}  # the window before counts twice
    assert answer(tmp_path, weekly, queries.season(), [{"labels": '{feature="a"}', "value": 4}]) == ""
