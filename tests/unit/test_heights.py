"""The height of a budget: how many tests there are in effect, how badly spreads are known, and what tails show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.drift.calibration import Calibration, Examples, Sizes, calibrate, root_of, threshold
from exporter.drift.tails import LEVEL, rarer, without
from exporter.drift.univariate import METHODS, Sample

DAYS = 60


def learn(sizes: np.ndarray, method: str = "ks", rate: float = 0.01, apart: bool = False) -> Calibration:
    """Learn from T x K sizes of as many columns, all windows with 1,000 rows, every day an example.

    apart: the windows' own tail counts, too.
    """
    rows = np.full(len(sizes), 1000.0)
    sharing = np.eye(DAYS, dtype=bool) if apart else None
    series = {"all": {(str(number), method): Sizes(own, rows) for number, own in enumerate(sizes.T)}}
    return calibrate(series, {"warning": rate}, Examples(DAYS, DAYS, DAYS, 1 / (DAYS - 1), DAYS, sharing))["all"]


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
        "a": {("x", "ks"): Sizes(sizes[:, 0], rows), ("y", "ks"): Sizes(sizes[:, 1], rows)},
        "b": {("x", "ks"): Sizes(sizes[:, 2], rows), ("y", "ks"): Sizes(rare, rows)},
        "c": {("x", "ks"): Sizes(np.full(DAYS, np.nan), rows)},
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


@given(st.lists(st.floats(1e-12, 1), min_size=14, max_size=300), st.floats(1e-5, 0.09))
def test_a_tail_is_never_taken_for_lighter_than_theory(smallest: list[float], rate: float) -> None:
    """And the rarer the windows may be, the smaller the p-value."""
    found = rarer(np.array(smallest), rate, len(smallest))
    assert 0 <= found <= rate
    assert rarer(np.array(smallest), rate / 2, len(smallest)) <= found


def test_the_p_value_of_a_rate_is_found_in_a_known_tail() -> None:
    """P(p < a) = a ** shape: of very many windows, as Hill says; of none, theory's."""
    even = (np.arange(100_000) + 0.5) / 100_000
    for shape in (1.0, 0.5, 0.25):
        assert rarer(even ** (1 / shape), 0.005, len(even)) == pytest.approx(0.005 ** (1 / shape), rel=0.03)
    assert rarer(np.empty(0), 0.005, 0) == pytest.approx(0.005)
    assert rarer(np.ones(20), 0.005, 20) == 0.005
    assert LEVEL > 0.05


@pytest.mark.parametrize("reach", [0, 3])
def test_without_a_window_is_what_is_left_of_those_that_share_nothing(reach: int) -> None:
    """Against numpy, with values unknown here and there."""
    roots = np.random.default_rng(4).normal(size=(20, 6))
    roots[np.random.default_rng(5).random(roots.shape) < 0.3] = np.nan
    place = np.arange(20)
    sharing = np.abs(place[:, None] - place) <= reach
    found = without(roots, sharing)
    for row in range(20):
        left = roots[~sharing[row]]
        expected = np.nanmean(left, axis=0), np.nanstd(left, axis=0, ddof=1), np.nanmax(left, axis=0)
        for part, own in zip(found, expected, strict=True):
            assert part[row] == pytest.approx(own)


def test_few_windows_say_little_about_their_tail() -> None:
    """Overlapping windows count for as many as there is room for."""
    smallest = np.repeat([1e-6, 0.5], [20, 180])
    found = [rarer(smallest, 0.005, room) for room in (0, 8, 50, 200)]
    assert found[0] == 0.005
    assert found == sorted(found, reverse=True)
    assert found[3] < found[1] / 3


def heavy(seed: int, days: int, columns: int = 60) -> np.ndarray:
    """Return sizes whose cube root has Student's t with 4 degrees of freedom."""
    return np.maximum(0.5 + 0.03 * np.random.default_rng(seed).standard_t(4, (days, columns)), 0) ** 3


def test_windows_judged_without_themselves_say_how_heavy_the_tail_is() -> None:
    """A year of heavy-tailed columns: less than half of the alarms that theory's height gives."""
    over: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(6):
        sizes = heavy(seed, DAYS + 400)
        for apart, shares in over.items():
            found = learn(sizes[:DAYS], apart=apart)
            limits = [max((null.center + null.spread * height(found)) ** 3, 0.08) for null in found.nulls.values()]
            shares.append(float((sizes[DAYS:] > limits).any(axis=1).mean()))
    assert np.mean(over[True]) < np.mean(over[False]) / 2
    assert np.mean(over[True]) > 0


@pytest.mark.parametrize("columns", [1, 10, 60])
def test_normal_columns_keep_theorys_height(columns: int) -> None:
    """What has no heavy tail is judged as before: within a twentieth."""
    sizes = normal(7, columns)
    assert height(learn(sizes)) <= height(learn(sizes, apart=True)) <= 1.06 * height(learn(sizes))


def test_what_is_below_chance_or_deaf_does_not_raise_the_height() -> None:
    """Jumps that no threshold would have told anything of, or that chance explains, count for nothing."""
    sizes = heavy(3, DAYS)
    rows = np.full(DAYS, 1000.0)
    examples = Examples(DAYS, DAYS, DAYS, 1 / (DAYS - 1), DAYS, np.eye(DAYS, dtype=bool))
    heights = {}
    for name, bounds in {"heard": {}, "chance": {"floor": 0.9}, "deaf": {"blind": 0.05}}.items():
        series = {"all": {(str(n), "ks"): Sizes(own, rows, **bounds) for n, own in enumerate(sizes.T)}}
        heights[name] = height(calibrate(series, {"warning": 0.01}, examples)["all"])
    assert heights["chance"] == pytest.approx(heights["deaf"]) == pytest.approx(height(learn(sizes)))
    assert heights["heard"] > 1.1 * heights["chance"]
