"""Thresholds that keep a budget: learned from the reference's own days, blind where they cannot tell."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import baseline, check
from exporter.baseline import Baseline
from exporter.calibrate import calibrations
from exporter.collector import Board
from exporter.drift.calibration import UNLEARNED, Null, spread_threshold, threshold
from exporter.drift.thresholds import judge
from exporter.drift.univariate import METHODS, Sample
from exporter.drift.windows import windows_of
from exporter.evaluate.drift import drift
from exporter.evaluate.views import View
from exporter.monitor import Monitor
from exporter.parts import bins_of, sample
from exporter.profile.batch import read_batch
from exporter.profile.counts import Counts, add_into, gather
from exporter.reference import fit
from exporter.segments import ALL
from exporter.settings import Model
from exporter.store import Store

DAY = 86_400
START = 1_700_006_400  # a midnight in UTC


def model(drift: dict[str, Any] | None = None, **more: Any) -> Model:
    """Return a regression model with windows of a day and a week."""
    return Model.model_validate(
        {
            "name": "m",
            "task": "regression",
            "columns": {"id": "id", "timestamp": "t", "prediction": "p"},
            "reference": {"files": "r"},
            "predictions": {"files": "p"},
            "drift": drift or {},
            **more,
        }
    )


def files_in(folder: Path) -> dict[str, Any]:
    """Return the sources of a model whose files are r.parquet and p.parquet."""
    return {"reference": {"files": str(folder / "r.parquet")}, "predictions": {"files": str(folder / "p.parquet")}}


def rows(seed: int, days: int, each: int = 240, shift: float = 0.0, features: int = 4) -> pa.Table:
    """Return days of normal features; each day has a level of its own, as real days have."""
    random = np.random.default_rng(seed)
    count = days * each
    day = np.repeat(np.arange(days), each)
    level = random.normal(0, 0.1, (features, days))
    columns: dict[str, Any] = {
        "id": [f"{seed}-{i}" for i in range(count)],
        "t": START + day * DAY + np.tile(np.arange(each) * (DAY // each), days),
        "p": random.normal(0, 1, count),
    }
    for number in range(features):
        moved = shift if number == 0 else 0.0
        columns[f"x{number}"] = random.normal(0, 1, count) + level[number][day] + moved
    return pa.table(columns)


def vector(made: Baseline, own: Model, table: pa.Table) -> np.ndarray:
    """Count a table's rows."""
    dense = np.zeros(made.bins.size, np.int64)
    placed = made.bins.place_rows(read_batch(own, made.schema, table))
    add_into(dense, gather(placed, np.zeros(len(table), np.int64), 1, made.bins.size)[0])
    return dense


def detected(made: Baseline, own: Model, table: pa.Table, window: str) -> dict[str, bool]:
    """Judge a table as if it were a window; what is blind is not in the answer."""
    found = drift(own, made, [View("1", window, 0, DAY, vector(made, own, table))]).readings
    features = {r.labels[-1]: bool(r.value) for r in found.get("model_feature_drift_detected", [])}
    outputs = {r.labels[-1]: bool(r.value) for r in found.get("model_prediction_drift_detected", [])}
    return features | outputs


@pytest.fixture(scope="module")
def learned() -> tuple[Baseline, Model]:
    """Return a baseline that was learned from 60 days."""
    own = model()
    return fit(own, rows(1, 60)), own


def test_a_year_without_change_keeps_the_budget(learned: tuple[Baseline, Model]) -> None:
    """One alarm in 30 days is allowed, half of it to each window; new days from the same source stay within twice."""
    made, own = learned
    year = rows(2, 300)
    day = (np.asarray(year["t"]) - START) // DAY
    over = [any(detected(made, own, year.filter(pa.array(day == d)), "24h").values()) for d in range(300)]
    episodes = sum(b and not a for a, b in zip([False, *over], over, strict=False))
    assert episodes / 300 * 30 <= 1.0
    weeks = [any(detected(made, own, year.filter(pa.array(day // 7 == w)), "7d").values()) for w in range(42)]
    assert sum(weeks) / 42 / 7 * 30 <= 1.0


@pytest.mark.parametrize("shift", [0.7, -0.7])
def test_a_real_shift_is_found_in_one_day(learned: tuple[Baseline, Model], shift: float) -> None:
    """Thresholds that never alarm would keep every budget."""
    made, own = learned
    found = [detected(made, own, rows(100 + seed, 1, shift=shift), "24h") for seed in range(10)]
    assert sum(one["x0"] for one in found) >= 9
    assert sum(one[name] for one in found for name in ("x1", "x2", "x3", "prediction")) <= 1


def test_learning_is_repeatable(learned: tuple[Baseline, Model]) -> None:
    """The same reference gives the same thresholds, to the last bit."""
    made, own = learned
    assert fit(own, rows(1, 60)).calibrations == made.calibrations


def test_the_store_gives_back_the_same_thresholds(learned: tuple[Baseline, Model]) -> None:
    """What was learned is stored with the baseline."""
    made, _ = learned
    again = baseline.restore(*baseline.dump(made))
    assert again.learned == made.learned
    assert again.hash == made.hash


def test_a_tighter_budget_has_higher_thresholds() -> None:
    """Fewer alarms allowed, higher thresholds; a second severity is higher still."""
    table = rows(1, 60)
    heights = [
        fit(model({"threshold": {"false_alarms": budget}}), table).calibrations["24h"].heights
        for budget in ("10 per 30d", "1 per 30d", {"warning": "1 per 30d", "critical": "1 per 1y"})
    ]
    assert heights[0]["warning"] < heights[1]["warning"] == heights[2]["warning"] < heights[2]["critical"]


def test_what_changes_every_day_is_blind() -> None:
    """A feature whose days have nothing in common cannot be judged by the day: no verdict, and never a silent 0."""
    table = rows(3, 60)
    day = (np.asarray(table["t"]) - START) // DAY
    table = table.append_column("date", pa.array(day.astype(float) + np.random.default_rng(0).random(len(day)) / 10))
    own = model({"numeric": ["ks", "jensen_shannon"]})
    made = fit(own, table)
    last = table.filter(pa.array(day == 59))
    assert "date" not in detected(made, own, last, "24h")
    assert "x0" in detected(made, own, last, "24h")
    found = drift(own, made, [View("1", "24h", 0, DAY, vector(made, own, last))]).readings
    scores = [r for r in found["model_feature_drift_score"] if r.labels[4] == "date"]
    assert scores
    assert not [r for r in found["model_feature_drift_threshold"] if r.labels[4] == "date"]


GAPS = {
    "every day": lambda day: True,
    "every second day": lambda day: day % 2 == 0,
    "no weekends": lambda day: day % 7 < 5,
    "days at random": lambda day: np.random.default_rng(day).random() < 0.6,
}


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("weeks", [1, 2])
def test_resampled_weeks_have_each_weekday_once(gaps: str, weeks: int) -> None:
    """Whatever days the reference lacks; a weekday that it never has is left out. All its days are drawn."""
    days = np.array([day for day in range(700, 820) if GAPS[gaps](day)])
    known = np.unique(days % 7)
    windows = windows_of(7 * weeks, days)
    assert (np.sort(days[windows] % 7, axis=1) == np.repeat(known, weeks)).all()
    assert (np.diff(days[windows[:, : len(known)]] % 7, axis=1) != 0).all()
    assert len(np.unique(windows)) == len(days)
    assert (windows == windows_of(7 * weeks, days)).all()


def test_a_resampled_week_is_of_neighbouring_days() -> None:
    """Seven days in a row between the seams; with every second day, the others are of the week before or after."""
    for step, most in ((1, 6), (2, 20)):
        days = np.arange(0, 210, step)
        spans = np.ptp(days[windows_of(7, days)], axis=1)
        assert any((spans[start::7] <= most).all() for start in range(7))
        assert spans.max() > most


@given(st.lists(st.integers(0, 400), min_size=14, max_size=60, unique=True), st.integers(1, 7))
def test_windows_are_of_units_that_there_are(days: list[int], steps: int) -> None:
    """Any days at all: windows of at most so many units, in a table without holes."""
    windows = windows_of(steps, np.array(sorted(days)))
    assert windows.shape[1] in (steps, *range(1, steps))
    assert windows.min() >= 0
    assert windows.max() < len(days)
    assert len(windows) > 200


def test_four_weeks_are_needed_for_weekdays() -> None:
    """Of three weeks there are too few weeks to draw: runs from anywhere, as without days."""
    assert (windows_of(7, np.arange(100, 121)) == windows_of(7, np.arange(21))).all()
    assert not (windows_of(7, np.arange(100, 128)) == windows_of(7, np.arange(28))).all()


@pytest.mark.parametrize("step", [1, 2])
def test_a_weekday_is_silent_by_the_week_and_not_deaf(step: int) -> None:
    """Whole weeks are silent, also of a reference with every second day; a lost or stuck weekday is found."""
    table = rows(5, 120)
    weekday = ((np.asarray(table["t"]) - START) // DAY) % 7
    names = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    table = table.append_column("weekday", pa.array(names[weekday]))
    day = (np.asarray(table["t"]) - START) // DAY
    own = model(columns={"id": "id", "timestamp": "t", "prediction": "p", "features": {"weekday": {"windows": ["7d"]}}})
    made = fit(own, table.filter(pa.array(day % step == 0)))
    week = rows(6, 7).append_column("weekday", pa.array(np.repeat(names, 240)))
    assert not detected(made, own, week, "7d")["weekday"]
    lost = week.filter(pa.array(np.repeat(np.arange(7) < 5, 240)))
    assert detected(made, own, lost, "7d")["weekday"]
    stuck = week.set_column(week.column_names.index("weekday"), "weekday", pa.array(["Wed"] * len(week)))
    assert detected(made, own, stuck, "7d")["weekday"]


def test_a_category_that_could_only_be_unseen_is_blind(tmp_path: Path) -> None:
    """One category and nothing else: drift has no verdict, the check of unseen values has; `check` names it."""
    one = pa.array(["a"] * 60 * 240)
    pq.write_table(rows(1, 60).append_column("one", one), tmp_path / "r.parquet")
    pq.write_table(rows(2, 1).append_column("one", one[:240]), tmp_path / "p.parquet")
    own = model(**files_in(tmp_path))
    made = fit(own, pq.read_table(tmp_path / "r.parquet"))
    assert "one" not in detected(made, own, rows(2, 1).append_column("one", pa.array(["b"] * 240)), "24h")
    assert "x0" in detected(made, own, rows(2, 1).append_column("one", one[:240]), "24h")
    report, _ = check.check(own)
    lines = [line for line in check.show(report) if "24h" in line and "blind: one" in line]
    assert {line.split()[1].rstrip(":") for line in lines} == set(own.drift.categorical)


def test_a_category_of_one_day_counts_as_unseen_when_that_day_is_left_out() -> None:
    """Each day has its own category: in the future each day's is unseen, which must not be a surprise."""
    table = rows(4, 60)
    day = (np.asarray(table["t"]) - START) // DAY
    names = [f"day {d}" if i % 4 == 0 else "every day" for i, d in enumerate(day)]
    own = model({"categorical": ["l_infinity"]})
    made = fit(own, table.append_column("name", pa.array(names)))
    future = rows(5, 1)
    future = future.append_column("name", pa.array(["new" if i % 4 == 0 else "every day" for i in range(len(future))]))
    assert detected(made, own, future, "24h")["name"] is False


@pytest.mark.parametrize("days", [3, 13])
def test_too_few_days_fall_back_to_the_default_effects(days: int) -> None:
    """Nothing is learned from less than two weeks; the report says so."""
    own = model()
    made = fit(own, rows(6, days))
    assert made.calibrations == {}
    found = drift(own, made, [View("1", "24h", 0, DAY, vector(made, own, rows(7, 1, each=5000)))]).readings
    limits = {r.labels[4:6]: r.value for r in found["model_feature_drift_threshold"]}
    assert limits["x0", "wasserstein"] == METHODS["wasserstein"].warning


def test_a_reference_without_times_falls_back() -> None:
    """Days cannot be told apart without a timestamp."""
    assert fit(model(), rows(6, 60).drop_columns("t")).calibrations == {}


def test_days_cut_short_are_left_out() -> None:
    """A reference that starts in the evening has one day of a few rows: no example of a day."""
    table = rows(8, 40)
    assert fit(model(), table.slice(230)).calibrations["24h"].units == 39


def test_a_day_is_the_models_local_day() -> None:
    """The flights' reference holds whole days of New York; in UTC they would be 60 and more pieces."""
    folder = Path(__file__).parents[2] / "examples" / "flights"
    reference = pq.read_table(folder / "reference.parquet")
    columns = {"id": "request_id", "timestamp": "timestamp", "prediction": "prediction", "features": ["distance"]}
    local = model(columns=columns, task="binary", timezone="America/New_York")
    assert fit(local, reference).calibrations["24h"].units == 44


def test_spread_rule_is_mean_plus_deviations() -> None:
    """`std: 3` is the mean over the reference's windows plus three standard deviations."""
    own = model({"numeric": ["ks"], "threshold": {"ks": {"std": 3}}})
    made = fit(own, rows(1, 60))
    null = made.calibrations["24h"].nulls["feature:x0", "ks"]
    assert spread_threshold(null, 3.0, "ks", Sample(np.array([1])), Sample(np.array([1]))) == null.mean + 3 * null.std
    found = drift(own, made, [View("1", "24h", 0, DAY, vector(made, own, rows(9, 1)))]).readings
    limits = {r.labels[4]: r.value for r in found["model_feature_drift_threshold"]}
    assert limits["x0"] >= null.mean + 3 * null.std


def test_fewer_rows_have_a_higher_threshold_and_more_rows_not_a_lower_one() -> None:
    """Noise grows as rows get fewer; what differs from day to day stays however many they are."""
    null = Null(center=0.4, spread=0.1, rows=1000.0, mean=0.1, std=0.05)
    reference = Sample(np.array([10**12, 10**12]))
    at = {n: threshold(null, 3.0, "ks", reference, Sample(np.array([n // 2, n // 2]))) for n in (250, 1000, 100_000)}
    assert at[250] == pytest.approx(2 * at[1000])
    assert at[100_000] == pytest.approx(at[1000]) == pytest.approx((0.4 + 0.3) ** 3)
    half = Sample(np.array([250, 250]))  # a moving baseline of 500 rows against 500: as 250 against very many
    assert threshold(null, 3.0, "ks", half, half) == pytest.approx(at[250])


def test_a_new_budget_learns_again_and_keeps_the_counts(tmp_path: Path) -> None:
    """Thresholds are learned anew from the reference; the log is not read again."""
    pq.write_table(rows(1, 60), tmp_path / "r.parquet")
    pq.write_table(rows(2, 10), tmp_path / "p.parquet")
    store, heights = Store(f"sqlite:///{tmp_path}/s.db"), []
    for budget in ("1 per 30d", "5 per 30d"):
        own = model({"threshold": {"false_alarms": budget}})
        files = {
            "reference": {"files": str(tmp_path / "r.parquet")},
            "predictions": {"files": str(tmp_path / "p.parquet")},
        }
        own = Model.model_validate(
            own.model_dump(exclude_unset=True, exclude={"drift"})
            | files
            | {"drift": {"threshold": {"false_alarms": budget}}}
        )
        monitor = Monitor(own, store, Board(), 10 * 365 * DAY, 60.0)
        assert monitor.run(START + 10 * DAY), monitor.notes
        assert monitor.baseline is not None
        heights.append(monitor.baseline.calibrations["24h"].heights["warning"])
        if budget == "5 per 30d":
            assert monitor.sources["predictions"].rows == 0
    assert heights[1] < heights[0]


def test_check_says_where_thresholds_come_from(tmp_path: Path) -> None:
    """Days learned from, or why not."""
    for days, sentence in ((60, "thresholds learned from 60 days"), (5, "too few days")):
        pq.write_table(rows(1, days), tmp_path / "r.parquet")
        pq.write_table(rows(2, 10), tmp_path / "p.parquet")
        files = {
            "reference": {"files": str(tmp_path / "r.parquet")},
            "predictions": {"files": str(tmp_path / "p.parquet")},
        }
        report, _ = check.check(model(**files))
        assert any(sentence in line for line in check.show(report))


def days_of(made: Baseline, own: Model, table: pa.Table) -> list[np.ndarray]:
    """Count a table's rows, each day for itself."""
    day = (np.asarray(table["t"]) - START) // DAY
    return [vector(made, own, table.filter(pa.array(day == d))) for d in np.unique(day)]


def verdicts(made: Baseline, own: Model, baseline_: np.ndarray, window: np.ndarray, against: str) -> dict[str, bool]:
    """Judge a day against another day, or against the reference; what has no threshold is not in the answer."""
    found = {}
    learned = made.learned.get((ALL, against), {}).get("24h", UNLEARNED)
    for name, bins in bins_of(made.bins).items():
        reference, *pair = (sample(bins, made.bins.part(side, name)) for side in (made.vector, baseline_, window))
        one = judge(name, pair[0].measured_by(reference), pair[1], own.drift.numeric, own.drift.threshold, learned)
        if one.thresholds:
            found[name] = one.detected
    return found


def season(days: int, seed: int = 21, step_at: int | None = None) -> pa.Table:
    """Return days whose level climbs by a tenth of a standard deviation a day, and jumps by 1.5 at one day."""
    table = rows(seed, days)
    day = (np.asarray(table["t"]) - START) // DAY
    moved = np.asarray(table["x1"]) + 0.1 * day + (0.0 if step_at is None else 1.5 * (day >= step_at))
    return table.set_column(table.column_names.index("x1"), "x1", pa.array(moved))


def test_a_ramp_is_silent_against_the_day_before_and_a_step_is_found() -> None:
    """A season goes on beyond the reference: its last days are far from it, and near to their yesterdays."""
    own = model({"baselines": ["reference", "previous", "week_ago"]})
    made = fit(own, season(60))
    later = days_of(made, own, season(100, seed=22, step_at=95))[60:]
    for against, lag in (("previous", 1), ("week_ago", 7)):
        found = [verdicts(made, own, later[d - lag], later[d], against) for d in range(7, 40)]
        assert all("feature:x1" in one for one in found)
        alarms = [d for d, one in enumerate(found, 7) if one["feature:x1"]]
        assert alarms == list(range(35, 35 + lag))[: 40 - 35]


def test_baselines_that_are_learned() -> None:
    """A week has no week ago but the previous one; 14 pairs and four weeks of them are needed."""
    own = model({"baselines": ["reference", "previous", "week_ago"]})
    found = {
        days: {key[1]: set(one) for key, one in fit(own, rows(1, days)).learned.items()}
        for days in (14, 15, 21, 40, 41)
    }
    assert found[14] == {"reference": {"24h", "7d"}}
    assert found[15] == found[14] | {"previous": {"24h"}}
    assert found[21] == found[40] == found[15] | {"week_ago": {"24h"}}
    assert found[41] == found[21] | {"previous": {"24h", "7d"}}


def test_a_window_without_learned_thresholds_has_scores_and_no_verdict() -> None:
    """What nobody learned is not silently within its bounds."""
    own = model()
    made = fit(own, rows(1, 20))
    one, other = days_of(made, own, rows(2, 2))
    assert verdicts(made, own, one, other, "nothing like it") == {}


def test_more_baselines_share_the_budget() -> None:
    """Each (window, baseline) in force has its part, so the reference's thresholds are higher with more of them."""
    table = rows(1, 60)
    alone = fit(model({"baselines": ["reference"]}), table).calibrations
    shared = fit(model({"baselines": ["reference", "previous", "week_ago"]}), table).calibrations
    for window in ("24h", "7d"):
        assert shared[window].nulls == alone[window].nulls
        assert shared[window].heights["warning"] > alone[window].heights["warning"]


def units_by(made: Baseline, own: Model, table: pa.Table, chosen: np.ndarray, days: int) -> list[Counts]:
    """Return the profiles of some rows, day by day; empty where there is none."""
    table = table.filter(pa.array(chosen))
    placed = made.bins.place_rows(read_batch(own, made.schema, table))
    return gather(placed, (np.asarray(table["t"]) - START) // DAY, days, made.bins.size)


def test_segments_have_nulls_of_their_own_and_one_height() -> None:
    """Half of the budget is theirs; a segment that is hardly ever there learns nothing."""
    table = rows(1, 60, each=1200)
    own = model({"threshold": {"false_alarms": "10 per 30d"}})
    made = fit(own, table)
    number = np.arange(len(table))
    day = (np.asarray(table["t"]) - START) // DAY
    chosen = {"even": number % 2 == 0, "odd": number % 2 == 1, "rare": (day < 5) & (number % 3 == 0)}
    units = {DAY: units_by(made, own, table, np.ones(len(table), np.bool_), 60)}
    segments = {name: {DAY: units_by(made, own, table, rows_, 60)} for name, rows_ in chosen.items()}
    found = calibrations(own, made.bins, units, segments)
    assert set(found) == {(ALL, against) for against in own.drift.baselines} | {
        ("even", "reference"),
        ("odd", "reference"),
    }
    even, odd, every = (found[name, "reference"]["24h"] for name in ("even", "odd", ALL))
    assert even.heights == odd.heights != every.heights
    assert even.nulls != odd.nulls
    assert even.nulls.keys() == every.nulls.keys()
    assert even.nulls["feature:x0", "ks"].rows == pytest.approx(600, rel=0.03)
    assert every.nulls == calibrations(own, made.bins, units)[ALL, "reference"]["24h"].nulls
    assert every.heights["warning"] > calibrations(own, made.bins, units)[ALL, "reference"]["24h"].heights["warning"]


def test_a_year_without_change_keeps_the_budget_against_moving_baselines(learned: tuple[Baseline, Model]) -> None:
    """Half of the budget is the reference's; what is allowed in all is not exceeded by the day before alone."""
    made, own = learned
    year = days_of(made, own, rows(31, 200))
    found = [any(verdicts(made, own, one, other, "previous").values()) for one, other in itertools.pairwise(year)]
    episodes = sum(b and not a for a, b in zip([False, *found], found, strict=False))
    assert episodes / 199 * 30 <= 1.0
