"""Days that differ raise no alarm beyond the budget, a broken relation does, and verdicts come back from the store."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.drift import multivariate_calibration as mc
from exporter.drift import verdicts as v
from exporter.drift.features import Features, pack, unpack
from exporter.drift.multivariate import METHODS, Result, compare

FEATURES = Features(("a", "b", "c", "d"), (0, 0, 0, 0))
DAYS, ROWS = 30, 220
RATE = 0.1  # alarms a day


@cache
def year(seed: int, days: int, rows: int = ROWS, effect: float = 0.3, correlation: float = 0.6) -> v.Reference:
    """Days whose means follow an AR(1) series and whose spreads differ; the first two columns are correlated."""
    random = np.random.default_rng(seed)
    state, parts = np.zeros(4), []
    for _ in range(days):
        state = 0.6 * state + 0.8 * random.normal(size=4)
        x = random.normal(size=(rows, 4))
        x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
        parts.append(effect * state + np.exp(0.3 * effect * random.normal()) * x)
    return v.Reference(np.concatenate(parts).astype(np.float32), np.repeat(np.arange(days), rows), FEATURES)


@cache
def learned(method: str, steps: int = 1, seed: int = 0, effect: float = 0.3) -> mc.Null:
    """What a reference of thirty days teaches."""
    rows, day, features = year(seed, 80, effect=effect)
    found = mc.learn(method, rows[day < DAYS], day[day < DAYS], steps, features, {"warning": RATE, "critical": 1e-3}, 0)
    assert found is not None
    return found


def judge(method: str, seed: int, days: range, effect: float = 0.3) -> list[v.Verdict]:
    """One verdict a day, of days that the reference does not have."""
    rows, day, features = year(seed, 80, effect=effect)
    reference = v.thin(v.Reference(rows[day < DAYS], day[day < DAYS], features), 0)
    nulls = {method: learned(method, 1, seed, effect)}
    return [v.evaluate([method], reference, rows[day == one], nulls, 0)[method] for one in days]


@pytest.mark.parametrize(("method", "seeds"), [("domain_classifier", 1), ("pca_reconstruction", 5), ("mean_shift", 5)])
def test_no_change_days_keep_the_budget_although_no_null_of_independent_rows_does(method: str, seeds: int) -> None:
    """New days of the same AR(1) world: alarms in a tenth of them are allowed, so many are at the 1 % limit."""
    verdicts = [one for seed in range(seeds) for one in judge(method, seed, range(DAYS, DAYS + 30))]
    alarms = sum(bool(one.detected) for one in verdicts)
    assert all(one.detected is not None for one in verdicts)
    assert alarms <= stats.binom.isf(0.01, len(verdicts), RATE)
    naive = sum(one.p_value < RATE for one in verdicts if one.p_value is not None)
    assert naive > 2 * RATE * len(verdicts)


@pytest.mark.parametrize("method", ["domain_classifier", "pca_reconstruction"])
def test_broken_correlation_is_found_and_its_columns_named_where_each_column_is_silent(method: str) -> None:
    """Marginals stay as they were: Kolmogorov and Smirnov say nothing of any column."""
    rows, day, features = year(1, 40, effect=0.05, correlation=0.8)
    null = mc.learn(method, rows, day, 1, features, {"warning": 1 / 30}, 0)
    assert null is not None
    broken = year(2, 40, effect=0.05, correlation=-0.8).rows[: 4 * ROWS]
    reference = v.thin(v.Reference(rows, day, features), 0)
    assert min(stats.ks_2samp(reference.rows[:, i], broken[:, i]).pvalue for i in range(4)) > 0.01
    own = v.evaluate([method], reference, broken, {method: null}, 0)[method]
    assert own.detected
    assert set(list(own.contributions)[:2]) == {"a", "b"}
    assert own.contributions["a"] + own.contributions["b"] > 0.7
    assert sum(own.contributions.values()) == pytest.approx(1)
    still = v.evaluate([method], reference, year(3, 40, effect=0.05, correlation=0.8).rows[:ROWS], {method: null}, 0)
    assert still[method].detected is False


def test_thresholds_grow_where_rows_are_few_and_never_fall_below_chance() -> None:
    """A stricter budget is a higher threshold; more rows than were learned from change nothing."""
    null = learned("pca_reconstruction")
    at = Result(0.0, 0.0, null.noise, 0.0, None, {})
    usual, few, many = (
        mc.thresholds("pca_reconstruction", null, at._replace(noise=k * null.noise)) for k in (1, 3, 0.5)
    )
    assert usual["warning"] < usual["critical"]
    assert few["warning"] > usual["warning"]
    assert many == usual
    high = mc.thresholds("pca_reconstruction", null, at._replace(chance=1.0))
    assert high["warning"] == 1.0
    assert mc.thresholds("pca_reconstruction", null, at._replace(chance=2.0)) == {}  # blind


def test_height_is_students_prediction() -> None:
    """The quantile of a new value: simulated, from 12 windows, 6 % of new ones are above at a rate of 10 %."""
    random = np.random.default_rng(5)
    x = random.normal(size=(20_000, 13))
    results = mc._height(0.1, 11)
    above = x[:, 12] > x[:, :12].mean(axis=1) + results * x[:, :12].std(axis=1, ddof=1)
    assert above.mean() == pytest.approx(0.06, abs=0.006)


def test_columns_that_are_the_days_own_make_the_classifier_blind() -> None:
    """Each day has a place of its own, far from others: a score near 1, no threshold and no verdict."""
    for one in judge("domain_classifier", 7, range(DAYS, DAYS + 2), effect=30.0):
        assert one.score > 0.99
        assert one.thresholds == {}
        assert one.detected is None


@pytest.mark.parametrize("steps", [1, 7])
def test_learns_only_where_there_are_days_enough(steps: int) -> None:
    """14 days, or twice the window; days of less than a quarter of the median rows are none."""

    def learn(days: int, rows: int = ROWS) -> mc.Null | None:
        own = year(9, 20, rows)
        inside = own.day < days
        return mc.learn("mean_shift", own.rows[inside], own.day[inside], steps, FEATURES, {"warning": RATE}, 0)

    assert learn(13) is None
    found = learn(14)
    assert found is not None
    assert found.rows == (1_500, min(steps * ROWS, 1_500))
    if steps == 7:
        small = learn(14, 160)
        assert small is not None
        assert small.rows == (1_120, 1_120)
    assert learn(0) is None
    assert learn(20, 20) is None  # too few rows to judge, even in a week
    own = year(9, 20)
    short = own.day < 14
    short[: ROWS - ROWS // 5] = False
    assert mc.learn("mean_shift", own.rows[short], own.day[short], steps, FEATURES, {"warning": RATE}, 0) is None


@pytest.mark.parametrize("count", [5, 24, 25, 168, 1_000])
def test_windows_are_few_in_order_and_not_of_one_weekday(count: int) -> None:
    """At most 24, increasing, from all over the reference."""
    starts = mc._starts(count, np.random.default_rng(0))
    assert len(starts) == min(count, mc.MOST_WINDOWS)
    assert starts == sorted(set(starts))
    assert starts[0] >= 0 and starts[-1] < count
    assert starts[-1] - starts[0] >= 0.8 * (count - 1)
    if count >= 168:
        assert len({start % 7 for start in starts}) >= 5


def test_evaluation_compares_no_more_rows_than_were_learned_from() -> None:
    """A classifier learns more from more rows: a window of a week is cut to what a day had."""
    null = learned("domain_classifier")
    assert null.rows == (1_500, ROWS)
    own = year(0, 80)
    reference = v.thin(v.Reference(own.rows[own.day < DAYS], own.day[own.day < DAYS], FEATURES), 0)
    window = own.rows[own.day >= 70]
    found = v.evaluate(["domain_classifier"], reference, window, {"domain_classifier": null}, 0)["domain_classifier"]
    cut = compare("domain_classifier", reference.rows, window, FEATURES, 0, reference.day, null.rows)
    whole = compare("domain_classifier", reference.rows, window, FEATURES, 0, reference.day)
    assert cut is not None and whole is not None
    assert found.score == cut.score != whole.score


def test_without_a_null_there_is_a_score_and_no_verdict() -> None:
    """And a method without a value is left out."""
    own = year(4, 8)
    found = v.evaluate(tuple(METHODS), own, own.rows[:400], {}, 0)
    assert set(found) == set(METHODS)
    assert all(one.detected is None and one.thresholds == {} for one in found.values())
    assert v.evaluate(tuple(METHODS), own, own.rows[:199], {}, 0) == {}
    one = v.only(own, ["c"])
    assert set(v.evaluate(tuple(METHODS), one, one.rows[:400], {}, 0)) == {"domain_classifier", "mean_shift"}


def test_only_takes_columns_by_name() -> None:
    """In the order given; an unknown name is refused."""
    own = year(4, 8)
    some = v.only(own, ["d", "a"])
    assert some.features == Features(("d", "a"), (0, 0))
    np.testing.assert_array_equal(some.rows, own.rows[:, [3, 0]])
    with pytest.raises(ValueError, match="not in tuple"):
        v.only(own, ["nobody"])


def test_comes_back_from_the_store() -> None:
    """Reference to the last bit, nulls through JSON; another form is refused."""
    own = v.thin(year(4, 8), 3, 700)
    own.rows[::5, 1] = np.nan
    back = v.decode(v.encode(own))
    assert back.features == own.features
    assert back.day.tolist() == own.day.tolist()
    assert back.rows.tobytes() == own.rows.tobytes()
    nulls = {"mean_shift": learned("mean_shift"), "pca_reconstruction": learned("pca_reconstruction")}
    assert mc.from_plain(json.loads(json.dumps(mc.to_plain(nulls)))) == nulls
    with pytest.raises(ValueError, match="form 9"):
        v.decode(b"\x09" + v.encode(own)[1:])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 1_000))
def test_rows_are_packed_to_the_last_bit(count: int, columns: int, seed: int) -> None:
    """Any shape, any bits."""
    rows = np.random.default_rng(seed).integers(0, 2**32, (count, columns), np.uint32).view(np.float32)
    assert unpack(pack(rows), count, columns).tobytes() == rows.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_shares_sum_to_one_or_are_nothing(parts: list[float]) -> None:
    """Each between 0 and 1."""
    shares = v._shares({str(i): part for i, part in enumerate(parts)})
    assert all(0 <= share <= 1 for share in shares.values())
    assert sum(shares.values()) == (pytest.approx(1) if sum(parts) else 0)
