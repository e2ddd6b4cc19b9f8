"""Past alerts: kept as Prometheus keeps them, loaded beside the history, and seen by a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.backfill import blocks
from exporter.backfill.feed import Grid
from exporter.backfill.incidents import Rule, levels, read, states
from tests.integration.small import (
    DAY,
    HOUR,
    NOON,
    labels,
    model,
    predictions,
    rows,
    write,
    write_config,
    write_reference,
)
from tests.unit.test_cli import cli, one_line

RULES = sorted((Path(__file__).parents[2] / "prometheus" / "rules").glob("*.yml"))


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_states_are_those_of_prometheus(tmp_path: Path, active: list[bool], hold: int, keep: int) -> None:
    """promtool agrees at every minute about which alert fires."""
    rule = {"alert": "A", "expr": "x == 1", "for": f"{hold}m", "keep_firing_for": f"{keep}m"}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    end = 60 * (len(active) - 1 + 6)
    true = [60 * n for n, own in enumerate(active) if own]
    told = {at: state for at, state, _ in states(Rule("A", "", {}, hold * 60.0, keep * 60.0), true, Grid(0, end, 60))}
    firing = [{"exp_labels": {}, "exp_annotations": {}}]
    cases = [
        {"eval_time": f"{at}s", "alertname": "A", "exp_alerts": firing if told.get(at) == "firing" else []}
        for at in range(0, end + 1, 60)
    ]
    series = [{"series": "x", "values": " ".join("1" if own else "0" for own in [*active, *[False] * 6])}]
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": series, "alert_rule_test": cases}]}  # fmt: skip
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    found = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_shipped_rules_are_in_order() -> None:
    """Each recording rule after those that it reads; rules on the target itself are not asked of a replay."""
    rules = read(RULES)
    *recording, alerts = levels(rules)
    seen: set[str] = set()
    for level in recording:
        for rule in level:
            missing = {other.name for other in rules if other.hold is None} - seen - {rule.name}
            assert not [name for name in missing if name in rule.expr]
        seen |= {rule.name for rule in level}
    names = {rule.name for rule in alerts}
    assert {"ModelFeatureDriftHigh", "ModelPerformanceLow", "ModelDataStale"} <= names
    assert not {"ModelExporterDown", "ModelExporterAbsent"} & names


def ask(url: str, query: str, at: float) -> list[dict[str, Any]]:
    asked = f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": query, "time": at})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with four days, in the third of which a feature is off."""
    folder = tmp_path_factory.mktemp("incident")
    write_reference(folder, "credit", NOON - 5 * DAY)
    days = [
        rows("credit", NOON - (5 - n) * DAY, NOON - (4 - n) * DAY, 480, seed=n + 2, shift=60.0 * (n == 2))
        for n in range(5)
    ]
    for n, day in enumerate(days):
        write(predictions(day), folder / "credit" / "predictions" / f"{n}.parquet")
        write(labels(day), folder / "credit" / "labels" / f"{n}.parquet")
    config = write_config(folder, model("credit", windows=["1d"]))
    text = [f"{at}" for at in ("2026-03-05T12:00:00", "2026-03-09T12:00:00")]
    found = cli(
        "backfill", "--config.file", config, "--from", text[0], "--to", text[1], "--step", "1h",
        "--output", folder / "history.om", "--blocks", folder / "data", *(f"--rules={path}" for path in RULES),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return folder / "data"


def test_only_blocks_are_left(loaded: Path) -> None:
    """Nothing of the work is."""
    assert loaded.is_dir()
    assert all((path / "meta.json").exists() for path in loaded.iterdir())


def test_prometheus_sees_the_incident(loaded: Path, tmp_path: Path) -> None:
    """Series with the labels of a scrape, what the rules record, and the alert while it lasted."""
    with blocks._prometheus(tmp_path, loaded) as url:
        found = ask(url, 'model_info{job="model-exporter",instance="127.0.0.1:9877"}', NOON)
        assert [one["metric"]["model"] for one in found] == ["credit"]
        (ratio,) = ask(
            url, 'max(feature:model_feature_drift_score_per_threshold:ratio{feature="amount"})', NOON - 2 * DAY
        )
        assert float(ratio["value"][1]) > 1
        firing = 'ALERTS{alertname="ModelFeatureDriftHigh",alertstate="firing",feature="amount"}'
        assert not ask(url, firing, NOON - 3 * DAY - HOUR)
        (one,) = ask(url, f"count({firing})", NOON - 2 * DAY + 1234)  # between two moments, too
        assert float(one["value"][1]) >= 1
        assert not ask(url, firing, NOON)
        (since, *_) = ask(url, 'ALERTS_FOR_STATE{alertname="ModelFeatureDriftHigh",feature="amount"}', NOON - 2 * DAY)
        assert NOON - 3 * DAY < float(since["value"][1]) < NOON - 2 * DAY
        assert ask(url, 'ALERTS{alertname="Watchdog",alertstate="firing"}', NOON - DAY)
        assert not ask(url, "ALERTS{alertname=~'ModelExporter.*|ModelTaskStale'}", NOON - DAY)


def test_rules_without_blocks(tmp_path: Path) -> None:
    """A sentence."""
    config = write_config(tmp_path, model("credit"))
    found = cli(
        "backfill", "--config.file", config, "--from", "2026-01-01", "--to", "2026-01-02",
        "--output", tmp_path / "x", "--rules=*.yml",
    )  # fmt: skip
    assert "--rules needs --blocks" in one_line(found)


def test_file_that_holds_no_rules(tmp_path: Path) -> None:
    """Named."""
    path = tmp_path / "x.yml"
    path.write_text("- a\n")
    with pytest.raises(ValueError, match=r"x\.yml is no file of Prometheus rules"):
        read([path])
