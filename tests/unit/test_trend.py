"""Trends of daily scores, and two versions side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from exporter.evaluate.trend import trend
from exporter.history import Day
from exporter.performance.trends import mean
from exporter.performance.trends import trend as trend_of
from tests.unit.helpers.profiles import settings

FIRST = 18_000
series = st.lists(st.integers(-50, 50), min_size=5, max_size=40).map(lambda own: np.array(own) / 7)


def autoregressive(rng: np.random.Generator, count: int, memory: float) -> np.ndarray:
    values = np.empty(count)
    values[0] = rng.normal()
    for day in range(1, count):
        values[day] = memory * values[day - 1] + np.sqrt(1 - memory**2) * rng.normal()
    return values


@given(series)
def test_the_slope_is_scipys(values):
    days = np.arange(len(values), dtype=float)
    found = trend_of(days, values)
    assert found is not None
    assert found.slope == pytest.approx(stats.theilslopes(values, days).slope, abs=1e-12)
    assert 0 <= found.p_value <= 1


def test_without_autocorrelation_the_p_value_is_kendalls():
    """scipy's, but for the step of 1 that the normal approximation takes off (Kendall's correction for continuity)."""
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(30):
        values = rng.permutation(60) * 1.0
        found, oracle = trend_of(np.arange(60.0), values), stats.kendalltau(np.arange(60), values, method="asymptotic")
        assert found is not None
        variance = 60 * 59 * 125 / 18
        score = abs(oracle.statistic) * 60 * 59 / 2
        plain = 2 * stats.norm.sf(max(score - 1, 0) / np.sqrt(variance))
        assert oracle.pvalue == pytest.approx(2 * stats.norm.sf(score / np.sqrt(variance)))
        assert found.p_value >= plain - 1e-12  # an autocorrelation by chance only makes it more careful
        compared += found.p_value == pytest.approx(plain)
    assert compared > 3


@given(series, st.integers(-50, 50))
@hypothesis_settings(max_examples=50)
def test_a_shift_changes_nothing_and_the_mirror_turns_the_sign(values, shift):
    days = np.arange(len(values), dtype=float)
    one, other, mirrored = (trend_of(days, own) for own in (values, values + shift / 7, -values))
    assert one is not None
    assert other is not None
    assert mirrored is not None
    assert other.slope == pytest.approx(one.slope, abs=1e-9)
    assert mirrored.slope == pytest.approx(-one.slope, abs=1e-12)
    assert mirrored.p_value == pytest.approx(one.p_value)


@pytest.mark.parametrize(("memory", "most"), [(0.0, 0.05), (0.3, 0.1), (0.6, 0.12)])
@pytest.mark.parametrize("count", [30, 90])
def test_days_that_hang_together_have_no_trend(memory, most, count):
    """Of series without one 3 to 9 % have p below 0.05; without the correction it is up to a third."""
    rng = np.random.default_rng(11)
    p = [trend_of(np.arange(count * 1.0), autoregressive(rng, count, memory)).p_value for _ in range(400)]
    assert 0.005 < np.mean(np.array(p) < 0.05) < most
    if memory == 0.6:
        plain = [stats.kendalltau(np.arange(count), autoregressive(rng, count, memory)).pvalue for _ in range(400)]
        assert np.mean(np.array(plain) < 0.05) > 0.25


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.94), (0.5, 0.91)])
def test_intervals_of_means_of_days_hold_the_truth(memory, least):
    rng = np.random.default_rng(12)
    found = [mean(autoregressive(rng, 40, memory)) for _ in range(600)]
    assert least < np.mean([one.lower <= 0 <= one.upper for one in found if one is not None]) < 0.985


# --- readings -----------------------------------------------------------------------------------------------------


def days(values: np.ndarray, metric: str = "accuracy", first: int = FIRST, labelled: int = 300) -> dict[int, Day]:
    return {first + n: Day(labelled, labelled, {}, {}, {metric: float(v)}) for n, v in enumerate(values)}


def told(found, name: str) -> dict[tuple[str, ...], float]:
    return {one.labels[1:]: one.value for one in found.get(name, [])}


RNG = np.random.default_rng(13)
NOISE = RNG.normal(0, 0.01, 40)


def test_a_decline_is_told_of_the_days_that_are_old_enough():
    """The newest ten days have early labels only, and look perfect: they do not count."""
    values = np.where(np.arange(40) < 30, 0.9 - 0.004 * np.arange(40) + NOISE, 1.0)
    found = trend(settings(), {"1": days(values)}, FIRST + 30)
    assert told(found, "model_performance_trend_per_day")["1", "accuracy"] == pytest.approx(-0.004, abs=0.0008)
    assert told(found, "model_performance_trend_p_value")["1", "accuracy"] < 0.001
    assert set(told(found, "model_performance_trend_per_day")) == {("1", "accuracy")}


def test_fewer_than_14_days_tell_no_trend_and_days_of_few_labels_do_not_count():
    assert not trend(settings(), {"1": days(NOISE[:13])}, FIRST + 40)
    sparse = days(NOISE[:13]) | days(NOISE[13:20], first=FIRST + 13, labelled=60)
    assert not trend(settings(), {"1": sparse}, FIRST + 40)


@pytest.mark.parametrize(
    ("metric", "shift", "verdict"),
    [
        ("accuracy", 0.03, "better"),
        ("accuracy", -0.03, "worse"),
        ("accuracy", 0.0, "undecided"),
        ("log_loss", 0.03, "worse"),
        ("log_loss", -0.03, "better"),
    ],
)
def test_a_challenger_is_compared_on_the_days_that_both_had(metric, shift, verdict):
    """What moves both, as a bad day does, is no difference; earlier days of the champion do not count."""
    bad_days = np.where(np.arange(40) % 7 == 0, -0.2, 0.0) + 0.8
    old = days(bad_days, metric)
    new = days((bad_days + shift + NOISE)[20:], metric, FIRST + 20)
    found = trend(settings(), {"2": new, "1": old}, FIRST + 40)
    key = ("1", "2", metric)
    difference = told(found, "model_version_comparison_score_difference")[key]
    low, high = (told(found, f"model_version_comparison_score_difference_{end}")[key] for end in ("lower", "upper"))
    assert difference == pytest.approx(shift + NOISE[20:].mean())
    assert low < difference < high
    states = told(found, "model_version_comparison_state")
    assert {state for (*_, state), holds in states.items() if holds} == {verdict}
    assert set(states) == {(*key, state) for state in ("better", "worse", "undecided")}


def test_a_bias_nearer_to_0_is_better():
    old, new = days(np.full(20, -3.0) + NOISE[:20], "mean_error"), days(np.full(20, 1.0), "mean_error", FIRST + 5)
    found = trend(settings("regression"), {"1": old, "2": new}, FIRST + 40)
    assert told(found, "model_version_comparison_state")["1", "2", "mean_error", "better"] == 1


def test_too_few_common_days_are_not_compared():
    found = trend(settings(), {"1": days(NOISE[:20]), "2": days(NOISE[20:], first=FIRST + 14)}, FIRST + 40)
    assert "model_version_comparison_state" not in found
