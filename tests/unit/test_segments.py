"""Slices of the rows: fixed on the reference, counted, judged and measured each on its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from exporter import segments
from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.reference import fit
from exporter.settings import Model
from exporter.store import Store
from tests.unit.helpers.profiles import settings

START = datetime(2024, 1, 1, tzinfo=UTC)
EACH = 600
SHOPS = np.array(["north", "south", "east", "kiosk"])


def table(seed: int, first: int, days: int, moved: str = "", lost: str = "", renamed: str = "") -> pa.Table:
    """Return rows of four shops; x moves in one of them, one has no rows, one has a name that nobody knew."""
    rng = np.random.default_rng(seed)
    count = days * EACH
    shop = rng.choice(SHOPS, count, p=[0.4, 0.3, 0.25, 0.05])
    if lost:
        shop[shop == lost] = "north"
    x = rng.normal(size=count) + np.repeat(rng.normal(0, 0.05, days), EACH) + np.where(shop == moved, 1.0, 0)
    shop = np.where(shop == renamed, "new shop", shop)
    score = rng.random(count)
    return pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(count)],
            "time": [START + timedelta(days=first, seconds=86_400 / EACH * row) for row in range(count)],
            "shop": shop,
            "x": x,
            "score": score,
            "prediction": (score > 0.5).astype(np.int64),
            "label": (rng.random(count) < np.where(shop == "south", 0.5, score)).astype(np.int64),
        }
    )


def model(folder: Path, **changes: object) -> Model:
    return settings(
        reference={"files": str(folder / "reference.parquet")},
        predictions={"files": str(folder / "log.parquet")},
        labels=None,
        columns={"label_timestamp": None, "segments": ["shop"]},
        windows=["24h"],
        bucket="1h",
        drift={"min_rows": 20, "baselines": ["reference"]},
        **changes,
    )


def found(folder: Path, log: pa.Table, **changes: object) -> Readings:
    """Evaluate the last day of a log."""
    pq.write_table(table(1, 0, 30), folder / "reference.parquet")
    pq.write_table(log, folder / "log.parquet")
    store = Store("sqlite:///:memory:")
    monitor = Monitor(model(folder, **changes), store, Board(), 90 * 86400.0, 60.0)
    assert monitor.run((START + timedelta(days=31)).timestamp())
    store.close()
    return monitor.results()


def of(readings: Readings, family: str) -> dict[tuple[str, ...], float]:
    return {one.labels[3:]: one.value for one in readings.get(family, [])}


def test_a_shift_in_one_slice_is_seen_there_and_it_is_the_worst(tmp_path: Path) -> None:
    """A fifth of a slice that is a quarter of the rows is too little for the whole, and plain in the slice."""
    readings = found(tmp_path, table(2, 30, 1, moved="east"))
    detected = of(readings, "model_feature_drift_detected")
    assert detected["shop=east", "x"] == 1
    assert detected["shop=north", "x"] == detected["shop=south", "x"] == 0
    assert of(readings, "model_segment_worst_info")["shop=east", "drift"] == 1
    assert [by for _, by in of(readings, "model_segment_worst_info")].count("drift") == 1
    scores = of(readings, "model_segment_drift_score")
    assert max(scores, key=lambda key: scores[key]) == ("shop=east",)
    assert scores["shop=east",] > 1 > scores["shop=north",]
    of_whole = {key: value for key, value in of(readings, "model_feature_drift_score").items() if key[0] == "all"}
    limits = of(readings, "model_feature_drift_threshold")
    assert scores["all",] == max(value / limits[*key, "warning"] for key, value in of_whole.items())
    thresholds = of(readings, "model_feature_drift_threshold")
    assert thresholds["shop=kiosk", "x", "ks", "warning"] > thresholds["all", "x", "ks", "warning"]


def test_nothing_moves_and_nothing_is_seen(tmp_path: Path) -> None:
    readings = found(tmp_path, table(3, 30, 1))
    assert not any(of(readings, "model_feature_drift_detected").values())
    states = of(readings, "model_segment_state")
    assert {segment for (segment, state), value in states.items() if state == "ok" and value} == {
        f"shop={name}" for name in SHOPS
    }


def test_rows_and_performance_of_a_slice_are_those_of_its_rows(tmp_path: Path) -> None:
    log = table(4, 30, 1)
    readings = found(tmp_path, log)
    frame = log.to_pandas()
    for name in SHOPS:
        own = frame[frame.shop == name]
        assert of(readings, "model_window_rows")[f"shop={name}", "current"] == len(own)
        f1 = of(readings, "model_performance_score")[f"shop={name}", "f1"]
        assert f1 == pytest.approx(f1_score(own.label, own.prediction), abs=1e-12)
    base = {one.labels[2:]: one.value for one in readings["model_performance_score_baseline"]}
    south = table(1, 0, 30).to_pandas().query("shop == 'south'")
    assert base["shop=south", "f1"] == pytest.approx(f1_score(south.label, south.prediction), abs=1e-12)


def test_slices_that_vanish_and_appear_are_told(tmp_path: Path) -> None:
    states = of(found(tmp_path, table(5, 30, 1, lost="east", renamed="south")), "model_segment_state")
    assert states["shop=east", "vanished"] == states["shop=south", "vanished"] == 1
    assert states["shop=(new)", "appeared"] == 1
    assert states["shop=north", "ok"] == 1
    assert sum(states.values()) == len({segment for segment, _ in states})


def test_the_budget_of_slices_shows_the_commonest_and_their_worst_features(tmp_path: Path) -> None:
    readings = found(tmp_path, table(6, 30, 1, moved="east"), max_segments=2, max_features=3)
    names = {segment for segment, _ in of(readings, "model_window_rows")}
    assert names == {"all", "shop=north", "shop=south", "shop=(other)"}
    shown = {key[:2] for key in of(readings, "model_feature_drift_score")}
    assert {segment for segment, _ in shown} == names
    assert {feature for segment, feature in shown if segment == "shop=(other)"} == {"x"}  # 3 // 3: one each


def test_fixed_on_the_reference() -> None:
    """Common values have a slice, the other ones share one, and what comes later is new."""
    reference = pa.table({"a": ["x"] * 5 + ["y"] * 3 + ["z"], "b": [1, 1, 2, None, 2, 2, 2, 2, 2]})
    own = segments.fit(["a", "b"], reference, 3)
    assert own.shown == {"a": ("x", "y"), "b": ("2",)}
    assert own.rare == {"a": ("z",), "b": ("1",)}
    rows = pa.table({"a": ["y", "z", "w", None], "b": [2.0, 1.0, 3.0, None]})
    assert [[own.names[i] for i in row] for row in own.members(rows).tolist()] == [
        ["a=y", "b=2"],
        ["a=(other)", "b=(other)"],
        ["a=(new)", "b=(new)"],
        ["a=(missing)", "b=(missing)"],
    ]
    assert (own.members(rows.select(["b"]))[:, 0] == own.names.index("a=(missing)")).all()
    again = segments.from_json(segments.to_json(own))
    assert (again.names, again.rare) == (own.names, own.rare)
    assert len(set(own.names)) == len(own.names)


def test_a_segment_column_that_the_reference_does_not_have(tmp_path: Path) -> None:
    """All of it is missing: no slice is made of it, and nothing breaks."""
    reference = table(1, 0, 30).drop_columns(["shop"])
    baseline = fit(model(tmp_path), reference)
    assert set(baseline.slices) == {"shop=(missing)"}
