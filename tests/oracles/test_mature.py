"""A shop whose labels need 30 days: performance is told once they are there, and equals the oracle's of all labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.settings import Model
from exporter.store import Store
from tests.oracles.conftest import DATA, FAR, WEEK, _settings

NEED = 30 * 86400


def _model(folder: Path) -> Model:
    """Return the settings of the replay, but with what the reference teaches of its labels."""
    for kind in ("predictions", "labels"):
        (folder / kind).mkdir()
        pq.write_table(pq.read_table(DATA / "retail" / f"{kind}.parquet"), folder / kind / "log.parquet")
    pq.write_table(pq.read_table(DATA / "retail" / "reference.parquet"), folder / "reference.parquet")
    return _settings("retail", folder).model_copy(update={"label_delay": None})


def _run(model: Model, now: float) -> Monitor:
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(50_000), retention=FAR, interval=60, replay=True)
    assert monitor.run(now), monitor.notes
    return monitor


def _one(readings: Readings, name: str) -> float:
    (found,) = readings[name]
    return found.value


def test_a_shop_is_judged_when_its_labels_are_there(tmp_path):
    """In the first 30 days every known label is a 1, and nothing is told; then each week is as the oracle has it."""
    model = _model(tmp_path)
    oracle = pd.read_csv(DATA / "oracles" / "retail_performance.csv")
    complete, early = (oracle[oracle.labels_as_of == as_of].set_index("week") for as_of in ("all", "week_end"))
    assert (early["label_rate"] == 1).sum() > 60
    for week in ("2010-08-30", "2010-09-13"):
        monitor = _run(model, pd.Timestamp(week, tz="UTC").timestamp() + WEEK)
        assert monitor.baseline is not None
        assert monitor.baseline.label_delay(model) == NEED
        assert monitor.states["1", "7d", "performance"] == "immature"
        names = {name for name in monitor.results() if name.startswith("model_performance_score")}
        assert names == {"model_performance_score_baseline"}
    for week in ("2010-08-30", "2010-11-22", "2011-06-06"):
        end = pd.Timestamp(week, tz="UTC").timestamp() + WEEK
        monitor = _run(model, end + NEED)
        assert monitor.states["1", "7d", "performance"] == "ok"
        found, expected = monitor.results(), complete.loc[week]
        assert _one(found, "model_performance_window_end_timestamp_seconds") == end
        assert _one(found, "model_labels_mature_coverage_ratio") == pytest.approx(expected["label_coverage"])
        scores = {one.labels[-1]: one.value for one in found["model_performance_score"]}
        for metric in ("accuracy", "precision", "recall", "mcc", "log_loss", "brier"):
            assert scores[metric] == pytest.approx(expected[metric], rel=1e-8), f"{week}: {metric}"
        median = {one.labels[-1]: one.value for one in found["model_label_delay_seconds"]}["0.5"]
        assert 1 <= median / (3600 * expected["label_delay_hours_median"]) < 1.1
