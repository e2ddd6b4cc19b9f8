"""The height of a budget: how many tests there are in effect, how badly spreads are known, and what tails show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.drift.calibration import Calibration, Examples, calibrate, root_of, threshold
from exporter.drift.univariate import METHODS, Sample

DAYS = 60


def learn(sizes: np.ndarray, method: str = "ks", rate: float = 0.01) -> Calibration:
    """Learn from T x K sizes of as many columns, all windows with 1,000 rows, every day an example."""
    rows = np.full(len(sizes), 1000.0)
    series = {"all": {(str(number), method): (own, rows) for number, own in enumerate(sizes.T)}}
    return calibrate(series, {"warning": rate}, Examples(DAYS, DAYS, DAYS, 1 / (DAYS - 1)))["all"]


def normal(seed: int, columns: int, days: int = DAYS) -> np.ndarray:
    """Return sizes whose cube root is normal."""
    return np.maximum(np.random.default_rng(seed).normal(0.5, 0.05, (days, columns)), 0) ** 3


def height(found: Calibration) -> float:
    return found.heights["warning"]


def test_one_column_has_the_height_of_a_prediction_by_students_t() -> None:
    """59 degrees of freedom and 5 of the prior."""
    expected = stats.t.isf(0.01, 64) * np.sqrt(1 + 1 / 65)
    assert height(learn(normal(1, 1))) == pytest.approx(expected)


def test_copies_of_a_column_count_once_and_independent_ones_each() -> None:
    """The effective number of tests is between 1 and their number."""
    one = normal(1, 1)
    assert height(learn(np.repeat(one, 30, axis=1))) == pytest.approx(height(learn(one)))
    expected = stats.t.isf(0.01 / 30, 64) * np.sqrt(1 + 1 / 65)
    assert height(learn(normal(2, 30))) == pytest.approx(expected, rel=0.03)


@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(0, 1))
def test_more_columns_never_lower_the_height_below_one_columns(seed: int, columns: int, alike: float) -> None:
    """Whatever they have in common."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(DAYS, 1)) * alike
    sizes = np.abs(0.5 + 0.05 * (shared + random.normal(size=(DAYS, columns)))) ** 3
    low, high = (stats.t.isf(0.01 / count, 64) * np.sqrt(1 + 1 / 65) for count in (1, columns))
    assert low - 1e-9 <= height(learn(sizes)) <= high + 1e-9


def test_a_new_year_keeps_the_rate() -> None:
    """Independent normal columns: the share of days with any alarm is the budget's, within three standard errors."""
    over = []
    for seed in range(40):
        both = normal(seed, 10, DAYS + 500)
        found = learn(both[:DAYS], rate=0.02)
        limits = [(null.center + null.spread * height(found)) ** 3 for null in found.nulls.values()]
        over.append((both[DAYS:] > limits).any(axis=1).mean())
    assert np.mean(over) <= 0.02 + 3 * np.std(over, ddof=1) / 40**0.5
    assert np.mean(over) >= 0.01


def test_a_heavy_tail_widens_its_own_spread_and_nobody_elses() -> None:
    """One column with rare jumps must not make the others blind."""
    calm = normal(3, 8)
    wild = calm.copy()
    wild[::20, 0] = 0.9**3
    before, after = learn(calm), learn(wild)
    assert after.nulls["0", "ks"].spread > 2 * before.nulls["0", "ks"].spread
    assert after.nulls["0", "ks"].center + 2.14 * after.nulls["0", "ks"].spread >= 0.9 - 1e-9
    for number in range(1, 8):
        assert after.nulls[str(number), "ks"].spread == pytest.approx(before.nulls[str(number), "ks"].spread, rel=0.05)
    assert height(after) == pytest.approx(height(before), rel=0.05)


def test_a_column_that_hardly_varies_takes_from_the_others_spread() -> None:
    """A few days cannot show that a spread is 0."""
    sizes = normal(4, 9)
    sizes[:, 0] = 0.1
    found = learn(sizes)
    assert 0 < found.nulls["0", "ks"].spread < found.nulls["1", "ks"].spread


@pytest.mark.parametrize("method", list(METHODS))
def test_the_root_of_a_distance_and_of_its_square_are_the_same(method: str) -> None:
    """What shrinks as 1/n is a squared distance: its sixth root is the distance's cube root."""
    assert root_of(method) * METHODS[method].rate == pytest.approx(1 / 6)


def test_segments_share_a_height_and_only_what_is_known_counts() -> None:
    """A column that was judged in less than a quarter of the windows is not named, so it has no threshold."""
    sizes, rows = normal(5, 4), np.full(DAYS, 1000.0)
    rare = np.where(np.arange(DAYS) < 14, sizes[:, 3], np.nan)
    series = {
        "a": {("x", "ks"): (sizes[:, 0], rows), ("y", "ks"): (sizes[:, 1], rows)},
        "b": {("x", "ks"): (sizes[:, 2], rows), ("y", "ks"): (rare, rows)},
        "c": {("x", "ks"): (np.full(DAYS, np.nan), rows)},
    }
    found = calibrate(series, {"warning": 0.01}, Examples(DAYS, DAYS, DAYS, 1 / (DAYS - 1)))
    assert found["a"].heights == found["b"].heights
    assert set(found["a"].nulls) == {("x", "ks"), ("y", "ks")}
    assert set(found["b"].nulls) == {("x", "ks")}
    assert set(found) == {"a", "b"}
    assert calibrate({}, {"warning": 0.01}, Examples(DAYS, DAYS, DAYS, 1 / (DAYS - 1))) == {}


def test_the_learned_threshold_is_not_below_the_least_effect() -> None:
    """A column that never moves alarms from a small effect on, not from the next row on."""
    found = learn(np.full((DAYS, 3), 1e-9))
    many = Sample(np.array([500_000, 500_000]))
    assert threshold(found.nulls["0", "ks"], height(found), "ks", many, many) == METHODS["ks"].least
