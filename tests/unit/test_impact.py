"""Drift times importance, and its correlation with loss of performance: scipy as the oracle, and simulated chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from exporter.drift.impact import Correlation, Day, correlation, effective_days, impact, rank

SEVERITY = st.floats(0, 1e6)


def days(x, y, feature="a"):
    return [
        Day(at, {feature: float(s)}, None if p is None else float(p))
        for at, (s, p) in enumerate(zip(x, y, strict=True))
    ]


@given(SEVERITY, SEVERITY, st.floats(0, 10))
def test_impact_grows_with_drift_and_with_importance(low, high, importance):
    low, high = sorted((low, high))
    found = impact({"low": low, "high": high}, {"low": importance, "high": importance})
    assert 0 <= found["low"] <= found["high"] <= 10 * importance
    half = impact({"high": high}, {"high": importance / 2})
    assert half["high"] == pytest.approx(found["high"] / 2)


def test_impact_is_the_importance_at_the_threshold_and_grows_slowly_above():
    every = {"none": 0.0, "at": 1.0, "three": 3.0, "forty": 40.0, "infinite": math.inf}
    found = impact(every, dict.fromkeys(every, 0.5))
    assert found == pytest.approx({"none": 0, "at": 0.5, "three": 1, "forty": 2.68, "infinite": 5}, abs=0.01)
    assert impact({"tiny_threshold": 40.0, "matters": 1.0}, {"tiny_threshold": 0.02, "matters": 0.3}) == pytest.approx(
        {"tiny_threshold": 0.107, "matters": 0.3}, abs=0.001
    )


def test_what_is_not_known_has_no_impact():
    assert impact({"a": 2.0, "b": math.nan, "d": 0.0}, {"a": 0.0, "b": 0.5, "c": 0.5}) == {"a": 0.0}


@given(st.integers(0, 2**32), st.integers(14, 40), st.booleans())
def test_rho_is_scipys_and_its_sign_says_worse(seed, count, lower_is_better):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, count).astype(float), rng.normal(size=count)
    assume(np.ptp(x) > 0)
    found = correlation(days(x, y), lower_is_better)["a"]
    expected = stats.spearmanr(x, y if lower_is_better else -y)
    assert found.rho == pytest.approx(expected.statistic, abs=1e-12)
    assert found.days == count
    assert found.p_value >= expected.pvalue - 1e-12  # correction never makes it smaller
    own = effective_days(np.arange(count), stats.rankdata(x), stats.rankdata(y))
    if own == count:
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_drift_on_bad_days_is_positive():
    rng = np.random.default_rng(0)
    drift = rng.random(30)
    accuracy = 0.9 - 0.3 * drift + 0.01 * rng.normal(size=30)
    assert correlation(days(drift, accuracy), False)["a"].rho > 0.9
    assert correlation(days(drift, accuracy), True)["a"].rho < -0.9
    assert correlation(days(drift, accuracy), False)["a"].p_value < 0.001


def test_effective_days_by_the_formula():
    """Against the sum as it is written, and of a seasonal pair whose days say little."""
    rng = np.random.default_rng(1)
    x, y = np.cumsum(rng.normal(size=(2, 30)), axis=1)
    zx, zy = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    total = sum((30 - j) / 30 * (zx[j:] @ zx[:-j] / (30 - j)) * (zy[j:] @ zy[:-j] / (30 - j)) for j in range(1, 7))
    own = effective_days(np.arange(30), x, y)
    assert own == pytest.approx(1 / (1 / 30 + 2 / 30 * total))
    assert own < 12
    alternating = np.tile([1.0, -1.0], 15) + rng.normal(size=30) / 10
    assert effective_days(np.arange(30), alternating, np.arange(30.0)) == 30  # never more than there are


def test_missing_days_are_gaps_not_neighbours():
    """Every second day of a walk is less alike than each day; one day left out changes little."""
    rng = np.random.default_rng(2)
    x, y = np.cumsum(rng.normal(size=(2, 60)), axis=1)
    kept = np.arange(60) != 20
    whole = effective_days(np.arange(60), x, y)
    assert effective_days(np.arange(60)[kept], x[kept], y[kept]) == pytest.approx(whole, rel=0.1)
    white = rng.normal(size=(2, 30))
    spaced = np.arange(30) * 40  # no two days within the lags: nothing to correct
    assert effective_days(spaced, *white) == 30


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_chance_is_significant_as_often_as_it_says(phi):
    """Two unrelated autoregressive series: 5 % at p = 0.05, where plain Spearman has up to 30 %."""
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(2, 400, 80))
    for at in range(1, 80):
        noise[:, :, at] += phi * noise[:, :, at - 1]
    drift, loss = noise[:, :, 50:]
    p_values = [correlation(days(x, y), True)["a"].p_value for x, y in zip(drift, loss, strict=True)]
    plain = [stats.spearmanr(x, y).pvalue for x, y in zip(drift, loss, strict=True)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.085
    assert (np.mean(np.array(plain) < 0.05) > 0.2) == (phi > 0)


def test_p_values_are_corrected_across_features():
    rng = np.random.default_rng(5)
    drift, loss = rng.normal(size=(5, 40)), rng.normal(size=40)
    history = [Day(at, dict(zip("abcde", drift[:, at].tolist(), strict=True)), loss[at]) for at in range(40)]
    together = correlation(history, True)
    alone = {name: correlation(days(drift[i], loss, name), True)[name].p_value for i, name in enumerate("abcde")}
    expected = stats.false_discovery_control(list(alone.values()))
    assert [together[name].p_value for name in "abcde"] == pytest.approx(expected.tolist())
    assert sum(alone.values()) < sum(one.p_value for one in together.values())


def test_left_out_where_it_cannot_be_told():
    rng = np.random.default_rng(6)
    x, y = rng.random(20), rng.random(20)
    assert correlation([], True) == {}
    assert correlation(days(x[:13], y[:13]), True) == {}
    assert correlation(days(x[:14], y[:14]), True)["a"].days == 14
    assert correlation(days(x, [*y[:13], *[None] * 6, math.nan]), True) == {}
    assert correlation(days(np.ones(20), y), True) == {}
    assert correlation(days(x, np.ones(20)), True) == {}
    half = [one if one.day % 2 else one._replace(severity={}) for one in days(x, y)]
    assert correlation(half, True) == {}


def test_order_of_the_history_is_nothing_and_a_day_comes_once():
    rng = np.random.default_rng(9)
    history = days(rng.random(20), rng.random(20))
    assert correlation(history[::-1], True) == correlation(history, True)
    with pytest.raises(ValueError, match="twice"):
        correlation([*history, history[0]], True)


def test_perfect_and_short_is_not_certain():
    """Two straight lines over 14 days: rho is 1, yet they are few independent days."""
    found = correlation(days(np.arange(14.0), np.arange(14.0)), True)["a"]
    assert found.rho == pytest.approx(1)
    assert 0 <= found.p_value <= 1
    assert effective_days(np.arange(14), np.arange(14.0), np.arange(14.0)) < 7


def test_rank_is_by_impact_then_by_significant_correlation_then_by_name():
    impacts = {"a": 0.1, "b": 0.5, "c": 0.1, "d": 0.1, "e": 0.10001}
    correlations = {
        "c": Correlation(0.8, 0.01, 30),
        "d": Correlation(0.9, 0.3, 30),
        "e": Correlation(0.5, 0.05, 30),
        "blind": Correlation(0.9, 0.01, 30),
        "also_blind": Correlation(-0.9, 0.01, 30),
    }
    assert rank(impacts, correlations) == ["b", "c", "e", "a", "d", "blind", "also_blind"]
