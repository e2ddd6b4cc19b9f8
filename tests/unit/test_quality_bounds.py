"""Learned bounds of bad shares: quiet where the reference's own days are, and a failed feed is seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.drift.windows import windows_of
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts
from exporter.profile.model import ModelBins
from exporter.quality_bounds import EFFECT, bound, from_plain, learn, least, resampled, to_plain
from tests.unit.helpers.profiles import numeric_bins, numeric_vector

T, UNITS, ROWS = 240, 60, np.full(240, 1000.0)
ALLOWED = 0.5 / 30


def steady(seed: int, share: float = 0.15, spread: float = 0.1, days: int = T) -> np.ndarray:
    """Return a share that goes up and down a little from day to day."""
    random = np.random.default_rng(seed)
    true = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + spread * random.normal(size=days))))
    return random.binomial(1000, true) / 1000


def spikes(size: float, every: int = 20) -> np.ndarray:
    return np.where(np.arange(T) % every == 7, size, 0.0)


@given(st.integers(1, 100_000), st.floats(0, 0.8))
def test_chance_is_the_binomial_one(rows, reference):
    found = least(rows, reference) * rows
    assert found == pytest.approx(
        stats.binom.isf(0.001, rows, max(reference + EFFECT, 1.2 * reference)), abs=1e-6 * rows
    )


def test_a_whole_new_failure_is_seen():
    """Never missing in the reference: 30 % of the rows of a day are far above the bound, one row is not."""
    learned = learn({("x", "missing"): np.zeros(T)}, ROWS, ALLOWED, UNITS)
    assert learned.limits == {}
    assert bound(learned, "x", "missing", 1000, 0.0) == least(1000, 0.0) < 0.03
    assert 1 / 24 < (bound(learned, "x", "missing", 24, 0.0) or 0) < 0.2


def test_the_budget_is_kept_on_new_days():
    """20 features with steady shares, bounds from 60 days: 4,000 new days of them alarm within the budget."""
    many = {(f"f{i}", "missing"): steady(i)[np.arange(T) % UNITS] for i in range(20)}
    learned = learn(many, ROWS, ALLOWED, UNITS)
    limits = [bound(learned, f"f{i}", "missing", 1000, 0.15) for i in range(20)]
    over = [steady(100 + i, days=4000) > limit for i, limit in enumerate(limits)]
    assert np.any(over, axis=0).mean() < ALLOWED
    assert max(limits) < 0.3


def test_a_feed_that_fails_now_and_then_may_do_so():
    learned = learn({("x", "missing"): spikes(0.02), ("y", "missing"): np.zeros(T)}, ROWS, ALLOWED, UNITS)
    assert 0.02 < (bound(learned, "x", "missing", 1000, 0.001) or 0) < 0.3
    assert bound(learned, "y", "missing", 1000, 0.0) == least(1000, 0.0)


def test_features_missing_together_share_one_budget():
    one = learn({("x", "missing"): spikes(0.02)}, ROWS, ALLOWED, UNITS)
    many = learn({(f"f{i}", "missing"): spikes(0.02) for i in range(9)}, ROWS, ALLOWED, UNITS)
    assert set(many.limits.values()) == set(one.limits.values())


def test_extremes_of_one_feature_teach_the_others():
    learned = learn({("x", "out_of_range"): spikes(0.05), ("y", "out_of_range"): np.zeros(T)}, ROWS, ALLOWED, UNITS)
    assert learned.limits["x", "out_of_range"] == learned.limits["y", "out_of_range"] > 0.05


def test_what_cannot_be_told_is_blind():
    learned = learn({("x", "missing"): steady(1, 0.5, 3.0)}, ROWS, ALLOWED, UNITS)
    assert learned.blind == {("x", "missing")}
    assert bound(learned, "x", "missing", 1000, 0.5) is None


@given(st.floats(0.01, 0.5), st.floats(1e-4, 0.1), st.floats(1.1, 20))
def test_a_smaller_budget_never_lowers_a_bound(share, allowed, factor):
    pairs = {("x", "missing"): steady(3, share), ("y", "missing"): spikes(share)}
    more, fewer = learn(pairs, ROWS, allowed, UNITS), learn(pairs, ROWS, allowed / factor, UNITS)
    assert all(fewer.limits[key] >= more.limits[key] - 1e-12 for key in pairs)


def test_bounds_come_back_from_the_store():
    learned = learn({("x", "missing"): steady(1), ("y", "invalid"): spikes(0.1)}, ROWS, ALLOWED, UNITS)
    assert from_plain(json.loads(json.dumps(to_plain(learned)))) == learned


def units(days: list[tuple[list[float], list[int]]]) -> tuple[ModelBins, list[Counts], np.ndarray]:
    """Return profiles of days with a number and a category (index; 2 is unseen, 3 missing); and the days as columns."""
    bins = numeric_bins([value for values, _ in days for value in values])
    model = ModelBins({"x": bins, "c": CategoryBins(("a", "b"))}, CategoryBins(("yes",)), (), None, None)
    found = []
    for values, codes in days:
        vector = np.zeros(model.size, np.int64)
        vector[0] = len(values)
        model.part(vector, "feature:x")[:] = numeric_vector(bins, values)
        np.add.at(model.part(vector, "feature:c"), codes, 1)
        place = np.flatnonzero(vector)
        found.append(Counts(place, vector[place]))
    return model, found, np.array([len(values) for values, _ in days])


@pytest.mark.parametrize("steps", [1, 3])
def test_a_window_is_compared_with_the_other_days(steps):
    """Against a plain count over rows: what only the window's own days had is out of range, or unseen."""
    random = np.random.default_rng(8)
    days = []
    for day in range(20):
        values = random.normal(size=9).round(1).tolist() + [float("nan")] * (day % 3)
        days.append((values, random.choice([0, 3], len(values)).tolist()))
    days[4][1][:2] = [1, 1]
    model, profiles, _ = units(days)
    windows = windows_of(steps, np.arange(20))
    shares, rows = resampled(model, profiles, windows, 1)
    for number, window in enumerate(windows.tolist()):
        inside = np.concatenate([days[d][0] for d in window])
        others = np.concatenate([days[d][0] for d in range(20) if d not in window])
        codes = np.concatenate([days[d][1] for d in window])
        known = {code for d in range(20) if d not in window for code in days[d][1]}
        outside = (inside < np.nanmin(others)) | (inside > np.nanmax(others))
        assert rows[number] == len(inside)
        assert shares["x", "out_of_range"][number] == pytest.approx(outside.mean())
        assert shares["x", "missing"][number] == pytest.approx(np.isnan(inside).mean())
        assert shares["c", "missing"][number] == pytest.approx((codes == 3).mean())
        assert shares["c", "unseen"][number] == pytest.approx(
            sum(c == 1 and 1 not in known for c in codes) / len(codes)
        )


def test_windows_with_few_rows_are_not_judged():
    model, profiles, rows = units([([1.0] * (5 + day), [0] * (5 + day)) for day in range(15)])
    shares, found = resampled(model, profiles, windows_of(1, np.arange(15)), 12)
    assert np.isnan(shares["x", "missing"][found < 12]).all()
    assert (shares["x", "missing"][found >= 12] == 0).all()
    assert rows.min() < 12
