"""Labels that need time: learned delays, windows that are old enough, and what is not told before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.baseline import dump, restore
from exporter.check import check, show
from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.profile import delay
from exporter.readings import Readings
from exporter.reference import fit
from exporter.settings import Model
from exporter.store import Store
from tests.unit.helpers.profiles import counted, settings

HOUR, DAY = 3600, 86_400
START = 1_600_000_000 // DAY * DAY
NEED = 30 * DAY


def bought(days: int, first: int = 0, each: int = 40, seed: int = 3) -> pa.Table:
    """Return a shop's log: a buyer is known within 30 days, one who does not buy after 30 days."""
    rng = np.random.default_rng(seed + abs(first))
    count = days * each
    time = START + first * DAY + np.sort(rng.random(count)) * days * DAY
    score = rng.random(count).round(3)
    label = (rng.random(count) < score).astype(np.int64)
    known = time + np.where(label == 1, rng.random(count) * NEED, NEED)
    stamps = {
        name: pa.array((own * 1e6).astype(np.int64), pa.timestamp("us", "UTC"))
        for name, own in (("time", time), ("label_time", known))
    }
    columns = {"id": [f"{first}-{row}" for row in range(count)], "amount": rng.normal(size=count).round(2)}
    return pa.table({**columns, "score": score, "prediction": (score > 0.5).astype(np.int64), "label": label, **stamps})


def shop(folder: Path, **changes: object) -> Model:
    """Return the settings of a model whose reference, log and labels are in a folder."""
    names = ("reference", "predictions", "labels")
    files = {name: {"files": str(folder / f"{name}.parquet")} for name in names}
    plain = {"windows": ["1d", "7d"], "bucket": "1d", "performance": {"min_rows": 20}}
    return settings(**{**plain, **files, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 days of reference, then 50 days of log with their labels."""
    found = tmp_path_factory.mktemp("shop")
    pq.write_table(bought(60, -100), found / "reference.parquet")
    log = bought(50)
    pq.write_table(log.drop_columns(["label", "label_time"]), found / "predictions.parquet")
    pq.write_table(log.select(["id", "label", "label_time"]), found / "labels.parquet")
    return found


def told(model: Model, day: float) -> tuple[Readings, dict[tuple[str, str], str]]:
    """Return what a replay of the log says as of a day of it, and the states of performance."""
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(50_000), 400 * DAY, 60, replay=True)
    assert monitor.run(START + day * DAY), monitor.notes
    return monitor.results(), {key[:2]: state for key, state in monitor.states.items() if key[2] == "performance"}


def values(found: Readings, name: str, *labels: str) -> list[float]:
    return [one.value for one in found.get(name, []) if set(labels) <= set(one.labels)]


def test_the_slowest_label_value_says_what_is_needed(folder):
    """Buyers are known early; those who do not buy say that a window needs 30 days."""
    model = shop(folder)
    baseline = fit(model, pq.read_table(folder / "reference.parquet"))
    assert baseline.label_delays["0"] == pytest.approx(NEED)
    assert 28 * DAY < baseline.label_delays["1"] < NEED
    assert baseline.label_delay(model) == pytest.approx(NEED)
    assert baseline.label_delay(shop(folder, label_delay="45d")) == 45 * DAY
    assert baseline.label_delay(shop(folder, label_delay="0s")) == 0
    assert restore(*dump(baseline)).label_delays == baseline.label_delays


def test_known_labels_that_are_all_positive_are_not_told(folder):
    """Each label that is known on day 10 is a 1: no perfect and no broken model, but `immature`."""
    found, states = told(shop(folder), 10)
    assert states == {("1", "1d"): "insufficient", ("1", "7d"): "immature"}
    assert "model_performance_score" not in found
    assert not values(found, "model_window_rows", "labelled", "all", "7d")[0]
    assert values(found, "model_window_state", "7d", "performance", "immature") == [1]
    assert not values(found, "model_window_state", "drift", "immature")
    assert values(found, "model_labels_coverage_ratio", "7d")[0] > 0.05
    assert not values(found, "model_label_drift_detected", "7d")


def test_performance_is_that_of_rows_that_are_old_enough(folder):
    """Of day 45: the rows of days 8 to 15, all of whose labels are known."""
    found, states = told(shop(folder), 45)
    assert set(states.values()) == {"ok"}
    log = bought(50).to_pandas()
    log = log[(log.time >= "1970") & log.time.astype("int64").floordiv(10**6).between(*bounds(8, 15))]
    right = float((log.prediction == log.label).mean())
    assert values(found, "model_performance_score", "7d", "accuracy", "all") == [pytest.approx(right)]
    assert values(found, "model_performance_window_end_timestamp_seconds", "7d") == [START + 15 * DAY]
    assert values(found, "model_labels_mature_coverage_ratio", "7d") == [1]
    assert values(found, "model_labels_coverage_ratio", "7d")[0] < 0.2
    assert values(found, "model_label_delay_threshold_seconds") == [pytest.approx(NEED)]
    assert NEED <= values(found, "model_label_delay_seconds", "7d", "0.99")[0] <= 1.1 * NEED
    assert values(found, "model_label_drift_detected", "7d") == [0]


def bounds(first: int, last: int) -> tuple[float, float]:
    return START + first * DAY, START + last * DAY - 1e-6


def test_without_a_delay_the_window_itself_is_judged(folder):
    """As configured: what a model whose labels come at once needs, and a replay of what was known by then."""
    found, states = told(shop(folder, label_delay="0s"), 10)
    assert states["1", "7d"] == "ok"
    assert values(found, "model_performance_score", "7d", "precision", "all") == [1]  # and that is the danger
    assert values(found, "model_performance_window_end_timestamp_seconds", "7d") == [START + 10 * DAY]


def test_nearly_all_labels_known_is_enough(folder, tmp_path):
    """Where labels turn out to come at once, a new version need not wait for the delay of the reference."""
    log = bought(50)
    at_once = log.set_column(log.column_names.index("label_time"), "label_time", log["time"])
    for name, own in (("predictions", ["label", "label_time"]), ("labels", ["amount", "score", "prediction", "time"])):
        pq.write_table(at_once.drop_columns(own), tmp_path / f"{name}.parquet")
    model = shop(folder, **{name: {"files": str(tmp_path / f"{name}.parquet")} for name in ("predictions", "labels")})
    found, states = told(model, 10)
    assert states["1", "7d"] == "ok"
    assert values(found, "model_performance_window_end_timestamp_seconds", "7d") == [START + 10 * DAY]


def test_a_reference_without_times_of_labels_is_complete_and_check_says_so(folder, tmp_path):
    reference = pq.read_table(folder / "reference.parquet").drop_columns(["label_time"])
    pq.write_table(reference, tmp_path / "reference.parquet")
    model = shop(folder, reference={"files": str(tmp_path / "reference.parquet")})
    _, states = told(model, 10)
    assert states["1", "7d"] == "ok"
    report, _ = check(model)
    assert any("not known" in line and "label_delay" in line for line in show(report))
    report, _ = check(shop(folder))
    assert any("complete after 30d" in line for line in show(report))


@given(st.lists(st.floats(0, 1e8), min_size=1, max_size=60), st.floats(0.01, 1))
def test_quantiles_of_delays_are_at_most_a_cell_too_long(seconds, q):
    table = counted(delay.place(np.array([*seconds, np.nan])), len(seconds) + 1, delay.SIZE)
    found = delay.quantile(table, q)
    exact = max(float(np.quantile(seconds, q, method="inverted_cdf")), 1.0)
    assert found is not None
    assert exact * (1 - 1e-9) <= found <= exact * 2 ** (1 / delay.STEPS) * (1 + 1e-9)


def test_few_delays_tell_only_where_there_are_no_more():
    times = np.array([*range(100), 9999.0])
    rare, common = np.arange(101) == 100, np.arange(101) < 100
    assert set(delay.learn(times, {"rare": rare, "common": common})) == {"common"}
    assert delay.learn(times, {"rare": rare}) == {"rare": 9999.0}
    assert delay.learn(np.full(101, np.nan), {"rare": rare}) == {}


def test_labels_that_must_be_there_are_half_of_the_references_or_as_configured(folder):
    (half,) = values(told(shop(folder), 45)[0], "model_labels_coverage_threshold_ratio")
    assert half == 0.5  # each row of the reference has a label
    (own,) = values(told(shop(folder, label_coverage=0.25), 45)[0], "model_labels_coverage_threshold_ratio")
    assert own == 0.25


def test_a_team_is_told_where_there_is_one(folder):
    assert values(told(shop(folder, team="growth"), 45)[0], "model_owner_info") == [1]
    assert values(told(shop(folder), 45)[0], "model_owner_info") == []
