"""Days: described once they are over, described again when a late label changes them, kept over a restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from exporter.baseline import Baseline
from exporter.collector import Board
from exporter.days import Days, bounds
from exporter.evaluate.history import history
from exporter.history import Day, from_text, to_text
from exporter.monitor import Monitor
from exporter.reference import fit
from exporter.rows import local_days
from exporter.settings import Model
from exporter.store import Store
from tests.unit.helpers.profiles import random_table, settings

ZONE = "America/New_York"
START = datetime(2024, 3, 8, 5, tzinfo=UTC)  # midnight there; the clock changes on March 10th
FIRST = 19_790  # March 8th, in days since 1970


def rows(seed: int, days: int) -> pa.Table:
    """Return 200 rows a day, evenly over the hours."""
    base = random_table(seed, 200 * days, strange=False)
    times = [START + timedelta(minutes=7.2 * i) for i in range(200 * days)]
    at = base.column_names.index("time")
    base = base.set_column(at, "time", pa.array(times, pa.timestamp("us", "UTC")))
    return base.drop_columns(["label_time"])


def model(folder: Path, columns: dict[str, Any] | None = None, **more: Any) -> Model:
    return settings(
        reference={"files": str(folder / "reference.parquet")},
        predictions={"files": str(folder / "log.parquet")},
        labels={"files": str(folder / "labels*.parquet")},
        columns={"label_timestamp": "label_time"} | (columns or {}),
        timezone=ZONE,
        bucket="1h",
        windows=["24h"],
        **more,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pq.write_table(rows(0, 3), tmp_path / "reference.parquet")
    log = rows(1, 3)
    pq.write_table(log.drop_columns(["label"]), tmp_path / "log.parquet")
    labels = log.select(["id", "label"]).append_column("label_time", log["time"])
    pq.write_table(labels.slice(0, 150), tmp_path / "labels1.parquet")
    return tmp_path


def at(day: int, hour: float = 1) -> float:
    return bounds(FIRST + day, ZONE)[0] + hour * 3600


def run(own: Model, store: Store, now: float) -> dict[int, Day]:
    assert Monitor(own, store, Board(), 90 * 86400.0, 60.0).run(now)
    return dict(Days(own, store, 400 * 86400.0).known().get("1", {}))


def test_a_day_is_described_once_it_is_over(folder: Path, new_url: Callable[[], str]) -> None:
    """By its local hours: the day on which the clock changes has 23 of them."""
    store, own = Store(new_url()), model(folder)
    assert list(run(own, store, at(0, 23))) == []
    log = rows(1, 3)
    moments = log["time"].to_numpy().astype("datetime64[us]").astype(np.int64)
    numbers = local_days(moments, np.ones(len(log), np.bool_), ZONE)
    assert {day: one.rows for day, one in run(own, store, at(3)).items()} == {
        FIRST + day: int((numbers == FIRST + day).sum()) for day in range(3)
    }
    assert bounds(FIRST + 2, ZONE)[1] - bounds(FIRST + 2, ZONE)[0] == 23 * 3600
    store.close()


def test_a_late_label_changes_its_day_alone(folder: Path, new_url: Callable[[], str]) -> None:
    store, own = Store(new_url()), model(folder)
    before = run(own, store, at(3))
    log = rows(1, 3).to_pandas()
    late = log.iloc[150:200][["id", "label"]].assign(label_time=log["time"].iloc[150:200])
    pq.write_table(pa.Table.from_pandas(late, preserve_index=False), folder / "labels2.parquet")
    after = run(own, store, at(3, 2))
    assert {day for day in after if after[day] != before[day]} == {FIRST}
    day = log.iloc[:200].dropna(subset=["label"])
    assert after[FIRST].labelled == len(day) > before[FIRST].labelled
    assert after[FIRST].signals["error"] == (pytest.approx((day.label != day.prediction).mean()), len(day))
    assert after[FIRST].scores["roc_auc"] == pytest.approx(roc_auc_score(day.label, day.score), abs=2e-3)
    score, count = after[FIRST].signals["score"]
    assert (score, count) == (pytest.approx(log.score.iloc[:200].mean()), 200)
    amount, count = after[FIRST].signals["feature:amount"]
    assert amount == pytest.approx(log.amount.iloc[:200].mean(), abs=1e-9)
    assert set(after[FIRST].drift) == {"amount", "colour"}
    store.close()


def test_days_are_kept_for_as_long_as_results(folder: Path, new_url: Callable[[], str]) -> None:
    """Longer than the buckets that they were described from, and no longer than that."""
    store, own = Store(new_url()), model(folder)
    run(own, store, at(3))
    monitor = Monitor(own, store, Board(), 86400.0, 60.0)
    monitor.run(at(30))
    with store.transaction() as tx:
        assert not tx.buckets("m", 0, 2**40)
        assert [day for _, day, _ in tx.days("m")] == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    Monitor(own, store, Board(), 86400.0, 60.0, results=29 * 86400.0).run(at(30))
    with store.transaction() as tx:
        assert [day for _, day, _ in tx.days("m")] == [FIRST + 1, FIRST + 2, FIRST + 3]
    store.close()


def test_indicators_and_latencies_of_a_day(folder: Path, new_url: Callable[[], str]) -> None:
    """A day has its indicators' values, and they and the latency are signals of it."""
    log = pq.read_table(folder / "log.parquet")
    ms = np.random.default_rng(5).lognormal(3, 0.5, len(log))
    pq.write_table(log.append_column("ms", pa.array(ms)), folder / "log.parquet")
    business = [
        {"name": "amounts", "sum": "amount", "where": "prediction = 1"},
        {"name": "right", "mean": "label = prediction"},
        {"name": "a day", "rate": {"of": "*", "per": "1d"}},
    ]
    own = model(folder, business=business, columns={"latency": {"column": "ms", "unit": "ms"}})
    store = Store(new_url())
    monitor = Monitor(own, store, Board(), 400 * 86_400, 60)
    assert monitor.run(at(1)), monitor.notes
    day = Days(own, store, 1e9).known()["1"][FIRST]
    rows = log.to_pandas()[:200]
    assert day.kpis["amounts"] == pytest.approx(rows.loc[rows["prediction"] == 1, "amount"].sum())
    assert day.signals["kpi:amounts"] == (day.kpis["amounts"], (rows["prediction"] == 1).sum())
    assert day.signals["kpi:a day"] == (200, 200)
    assert {"kpi:right", "latency_p50", "latency_p95"} <= set(day.signals)
    assert day.signals["latency_p95"] == (pytest.approx(np.quantile(ms[:200], 0.95) / 1000, rel=0.01), 200)
    assert from_text(to_text(day)) == day
    assert monitor.baseline is not None
    assert "latency_p50" not in monitor.baseline.days[min(monitor.baseline.days)].signals  # the reference has none


def test_a_day_of_before_there_were_indicators() -> None:
    """Is read as one without any."""
    text = '{"rows": 1, "labelled": 0, "signals": {}, "drift": {}, "scores": {}}'
    assert from_text(text) == Day(1, 0, {}, {}, {}, {})
    assert from_text(to_text(from_text(text))).kpis == {}


def test_a_day_comes_back_as_it_was() -> None:
    day = Day(3, 2, {"error": (0.1 + 0.2, 2)}, {"x": 1 / 3}, {"mae": 1e-300})
    assert from_text(to_text(day)) == day


def test_a_version_that_is_gone_has_no_readings(folder: Path, new_url: Callable[[], str]) -> None:
    """Its days are kept; its series vanish with its rows."""
    store, own = Store(new_url()), model(folder).model_copy(update={"version": {"column": "release"}})
    log = pq.read_table(folder / "log.parquet")
    log = pa.concat_tables([log, *(_moved(log, 3 * n, f"-{n}") for n in range(1, 7))])
    release = ["one"] * (len(log) - 300) + ["two"] * 300
    pq.write_table(log.append_column("release", pa.array(release)), folder / "log.parquet")
    labels = log.select(["id"]).append_column("label", log["prediction"]).append_column("label_time", log["time"])
    pq.write_table(labels, folder / "labels1.parquet")
    monitor = Monitor(own, store, Board(), 90 * 86400.0, 60.0)

    def versions(now: float) -> set[str]:
        assert monitor.run(now)
        return {one.labels[1] for one in monitor.results().get("model_performance_trend_per_day", [])}

    assert versions(at(19, 12)) == {"one"}
    assert versions(at(23)) == set()
    assert {version for version, _, _ in _stored(store)} == {"one", "two"}
    store.close()


def _moved(log: pa.Table, days: int, suffix: str) -> pa.Table:
    times = [moment + timedelta(days=days) for moment in log["time"].to_pylist()]
    names = [f"{name}{suffix}" for name in log["id"].to_pylist()]
    log = log.set_column(log.column_names.index("time"), "time", pa.array(times, pa.timestamp("us", "UTC")))
    return log.set_column(log.column_names.index("id"), "id", pa.array(names))


def _stored(store: Store) -> list[tuple[str, int, str]]:
    with store.transaction() as tx:
        return tx.days("m")


# --- what the days tell -----------------------------------------------------------------------------------------------


def day(error: float, drift: float, labelled: int = 90) -> Day:
    return Day(100, labelled, {"error": (error, labelled), "feature:x": (drift, 100)}, {"x": drift}, {})


@pytest.fixture(scope="module")
def learned() -> tuple[Model, Baseline]:
    """Return a baseline of 40 days on which 30 % of the predictions were wrong, give or take."""
    own = settings(
        columns={"label_timestamp": None}, windows=["24h"], bucket="1h", drift={"sequential": ["page_hinkley", "ddm"]}
    )
    rng = np.random.default_rng(0)
    base = random_table(0, 40 * 100, strange=False)
    times = [START + timedelta(days=i // 100, minutes=i % 100) for i in range(len(base))]
    wrong = rng.random(len(base)) < np.repeat(rng.normal(0.3, 0.04, 40), 100)
    label = np.where(wrong, 1 - base["prediction"].to_numpy(), base["prediction"].to_numpy())
    for name, values in (("time", pa.array(times, pa.timestamp("us", "UTC"))), ("label", pa.array(label))):
        base = base.set_column(base.column_names.index(name), name, values)
    return own, fit(own, base)


def told(learned: tuple[Model, Baseline], days: list[Day], first: int = FIRST + 100) -> dict[tuple[str, ...], float]:
    found = history(*learned, {"1": {first + i: one for i, one in enumerate(days)}}, first + len(days))
    return {(name.removeprefix("model_"), *one.labels[2:]): one.value for name, own in found.items() for one in own}


def test_a_rise_of_the_error_is_seen_and_since_when(learned: tuple[Model, Baseline]) -> None:
    rng = np.random.default_rng(1)
    quiet = [day(error, 0.1) for error in rng.normal(0.3, 0.03, 20)]
    found = told(learned, quiet)
    assert found["sequential_drift_detected", "error", "page_hinkley"] == 0
    found = told(learned, [*quiet, *(day(error, 0.1) for error in rng.normal(0.6, 0.03, 14))])
    for method, latest in (("page_hinkley", 126), ("ddm", 134)):
        assert found["sequential_drift_detected", "error", method] == 1
        since = found["sequential_drift_start_timestamp_seconds", "error", method]
        assert FIRST + 120 <= since / 86400 < FIRST + latest
    assert ("sequential_drift_detected", "score", "ddm") not in found  # it reads error rates alone


def test_days_whose_labels_are_to_come_are_not_judged(learned: tuple[Model, Baseline]) -> None:
    """In shops every label that is known early says the same: the others have not come back yet."""
    early = [day(1.0, 0.1, labelled=20)] * 10
    assert ("sequential_drift_detected", "error", "page_hinkley") not in told(learned, [day(0.3, 0.1), *early]) or (
        told(learned, [*[day(0.3, 0.1)] * 5, *early])["sequential_drift_detected", "error", "page_hinkley"] == 0
    )


def test_drift_that_goes_with_errors_is_ranked(learned: tuple[Model, Baseline]) -> None:
    rng = np.random.default_rng(2)
    drifts = rng.random(40)
    found = told(learned, [day(0.3 + 0.2 * one, one) for one in drifts])
    assert found["feature_drift_performance_correlation", "x"] == pytest.approx(1)
    assert found["feature_drift_performance_correlation_p_value", "x"] < 0.001
    assert not any("correlation" in key[0] for key in told(learned, [day(0.3, one) for one in drifts[:13]]))


def test_days_of_the_reference_itself_are_not_news(learned: tuple[Model, Baseline]) -> None:
    found = told(learned, [day(0.9, 0.1)] * 20, first=FIRST)
    assert "sequential_drift_score" not in {key[0] for key in found}
