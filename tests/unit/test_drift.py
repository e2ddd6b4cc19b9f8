"""Drift statistics against published values, against scipy on random rows, and the traps that others fell into."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from exporter import rows
from exporter.drift import bins
from exporter.drift.univariate import CATEGORICAL, METHODS, NUMERIC, Sample
from exporter.evaluate.drift import drift
from exporter.evaluate.views import View
from exporter.profile import numeric, packed
from exporter.profile.counts import add_into
from exporter.readings import Readings
from exporter.reference import fit
from tests.unit.helpers.bounds import ks_bound, wasserstein_interval
from tests.unit.helpers.by_rows import binned, statistics
from tests.unit.helpers.judging import judge
from tests.unit.helpers.profiles import (
    category_samples,
    chunked,
    counted,
    numeric_bins,
    numeric_samples,
    numeric_vector,
    random_table,
    repeated,
    settings,
    take,
)

NAN = float("nan")

# --- published values ---------------------------------------------------------------------------------------------

DICE = ({"1": 16, "2": 18, "3": 16, "4": 14, "5": 12, "6": 12}, {"1": 16, "2": 16, "3": 16, "4": 16, "5": 16, "6": 8})
THIRDS = ({"a": 50, "b": 30, "c": 20}, {"a": 30, "b": 30, "c": 40})
HALVES = ({"a": 90, "b": 10}, {"a": 50, "b": 50})
NEW = ({"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 2, "d": 1})
SWAPPED = ({"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 1, "c": 1, "e": 1})
FISH = (
    [38.7, 41.5, 43.8, 44.5, 45.5, 46.0, 47.7, 58.0],
    [39.2, 39.3, 39.7, 41.4, 41.8, 42.9, 43.3, 45.8],
)


@pytest.mark.parametrize(
    ("method", "counts", "value"),
    [
        ("chi2", DICE, 1.622409),
        ("l_infinity", DICE, 0.0454545),
        ("psi", DICE, 0.0372184),
        ("jensen_shannon", DICE, 0.0817342),
        ("hellinger", DICE, 0.0681277),
        ("psi", THIRDS, 0.2407946),
        ("psi", HALVES, 0.8788898),
        ("jensen_shannon", SWAPPED, 0.50),
        ("l_infinity", NEW, 1 / 7),
        ("l_infinity", SWAPPED, 0.25),
    ],
)
def test_published_values_of_categories(method, counts, value):
    """Values of textbooks and of other tools, to the digits that are published."""
    samples = category_samples(*(repeated(one) for one in counts))
    assert METHODS[method].score(*samples) == pytest.approx(value, abs=6e-7)


def test_published_values_of_numbers():
    """Eight values against eight: KS is exact, Wasserstein within its bound, as F and G cross between two values."""
    base, window = numeric_samples(*FISH)
    assert METHODS["ks"].score(base, window) == pytest.approx(0.625, abs=1e-12)
    assert base.std == pytest.approx(np.std(FISH[0]), rel=1e-12)
    score = METHODS["wasserstein"].score(base, window)
    low, high = wasserstein_interval(base, window, score)
    assert low <= 0.781236 <= high
    assert score == pytest.approx(0.781236, rel=0.02)
    assert score * base.std == pytest.approx(4.1625, abs=0.06)


def test_published_distance_where_every_value_is_a_knot():
    """The same eight values, among others of the reference, are carried exactly."""
    base, first, second = numeric_samples([*FISH[0], *FISH[1]], *FISH)
    there, back = (METHODS["wasserstein"].score(base, one) * base.std for one in (first, second))
    assert there + back == pytest.approx(4.1625, abs=1e-8)  # the mixture lies half-way


def test_published_p_value_of_chi_square():
    samples = category_samples(*(repeated(one) for one in DICE))
    assert bins.chi_square_p(bins.chi_square(*samples), *samples) == pytest.approx(0.898526, abs=6e-7)


def test_published_effect_is_the_threshold_of_chi_square():
    """Cramer's V of 200/800 against 400/600 is 0.218218: at that effect the statistic is at its threshold."""
    samples = category_samples(repeated({"a": 200, "b": 800}), repeated({"a": 400, "b": 600}))
    threshold = METHODS["chi2"].threshold(0.218218, *samples)
    assert METHODS["chi2"].score(*samples) == pytest.approx(threshold, rel=1e-5)


# --- scipy on random rows -----------------------------------------------------------------------------------------

KINDS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.normal(size=n).round(1),
    "integers": lambda rng, n: rng.integers(0, 7, n).astype(float),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.exponential(size=n)),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "constant": lambda rng, n: np.full(n, 3.25),
    "two values": lambda rng, n: rng.choice([0.0, 1.0], n),
}


@st.composite
def pairs(draw, least: int = 1):
    """Return reference and window: of one kind or of two, moved, with missing, infinite and far values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sides = []
    for moved in (0.0, draw(st.sampled_from([0.0, 0.5, -3.0, 1000.0]))):
        values = KINDS[draw(st.sampled_from([*KINDS]))](rng, draw(st.integers(least, 300))) + moved
        if draw(st.booleans()):
            odd = rng.random(len(values)) < 0.1
            odd[:least] = False
            values = np.where(odd, rng.choice([NAN, np.inf, -np.inf], len(values)), values)
        sides.append(values)
    return sides


def known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


@given(pairs())
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_kolmogorov_smirnov_is_scipys(pair):
    """Each reference value is a knot, so the statistic and its p-value are exact, ties or not."""
    samples = numeric_samples(*pair)
    ours = METHODS["ks"].score(*samples)
    theirs = stats.ks_2samp(*map(known, pair), method="asymp")
    assert ours == pytest.approx(theirs.statistic, abs=1e-12)
    if len(known(pair[0])) > 1 or len(known(pair[1])) > 1:  # scipy has none for one value against one
        assert METHODS["ks"].p_value(ours, *samples) == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)


@given(pairs(), st.integers(16, 64))
@pytest.mark.filterwarnings("ignore:divide by zero")  # scipy's, for one value against one
def test_kolmogorov_smirnov_from_quantile_knots_is_within_its_bound(pair, most):
    samples = numeric_samples(*pair, most=most)
    short = stats.ks_2samp(*map(known, pair), method="asymp").statistic - METHODS["ks"].score(*samples)
    assert -1e-12 <= short <= ks_bound(samples[0]) + 1e-12
    assert ks_bound(samples[0]) <= 1 / (most - 1)


@given(pairs(2), st.sampled_from([16, 64, 4096]))
def test_wasserstein_is_within_its_bound_of_scipys(pair, most):
    reference, current = map(known, pair)
    samples = numeric_samples(*pair, most=most)
    spread = np.std(reference)
    if np.ptp(reference) == 0:
        return
    low, high = wasserstein_interval(*samples, METHODS["wasserstein"].score(*samples))
    exact = stats.wasserstein_distance(reference, current) / spread
    slack = 1e-9 * (exact + np.ptp(reference) / spread)
    assert low - slack <= exact <= high + slack


@given(pairs(2))
def test_wasserstein_is_scipys_where_the_window_has_values_of_the_reference_only(pair):
    reference = known(pair[0])
    current = np.random.default_rng(len(pair[1])).choice(reference, len(pair[1]))
    if np.ptp(reference) == 0:
        return
    score = METHODS["wasserstein"].score(*numeric_samples(reference, current))
    assert score == pytest.approx(
        stats.wasserstein_distance(reference, current) / np.std(reference), rel=1e-9, abs=1e-9
    )


@given(pairs())
def test_statistics_of_deciles_are_those_of_the_rows(pair):
    reference, current = map(known, pair)
    samples = numeric_samples(*pair)
    p, q = binned(reference, reference), binned(reference, current)
    assert samples[0].bins.tolist() == p.tolist()
    assert samples[1].bins.tolist() == q.tolist()
    for method, value in statistics(p, q).items():
        loose = 2e-8 if method == "jensen_shannon" else 1e-12  # near 0 the root of a rounding error
        assert METHODS[method].score(*samples) == pytest.approx(value, rel=1e-9, abs=loose), method


counts = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12)


@given(counts)
@example([(5, 0), (0, 5)])
@example([(1, 1)])
def test_statistics_of_categories_are_those_of_the_counts(pairs_of_counts):
    p, q = (np.array(side, np.int64) for side in zip(*pairs_of_counts, strict=True))
    if not p.sum() or not q.sum():
        return
    samples = (Sample(p), Sample(q))
    for method, value in statistics(p, q).items():
        loose = 2e-8 if method == "jensen_shannon" else 1e-12
        assert METHODS[method].score(*samples) == pytest.approx(value, rel=1e-9, abs=loose), method


@given(counts)
def test_chi_square_p_is_scipys(pairs_of_counts):
    p, q = (np.array(side, np.int64) for side in zip(*pairs_of_counts, strict=True))
    used = (p > 0) | (q > 0)
    if not p.sum() or not q.sum() or used.sum() < 2:
        return
    samples = (Sample(p), Sample(q))
    theirs = stats.chi2_contingency(np.vstack([p, q])[:, used], correction=False).pvalue
    ours = METHODS["chi2"].p_value(METHODS["chi2"].score(*samples), *samples)
    assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-14)


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abcdef"), min_size=1))
def test_unseen_categories_are_one_bin_without_loss(reference, current):
    """Chi-square, JS and Hellinger are as with a bin for each unseen category."""
    samples = category_samples(reference, current)
    every = sorted({*reference, *current})
    p, q = (np.array([side.count(name) for name in every]) for side in (reference, current))
    apart = statistics(p, q)
    for method in ("chi2", "jensen_shannon", "hellinger"):
        assert METHODS[method].score(*samples) == pytest.approx(apart[method], rel=1e-9, abs=2e-8)


@given(pairs(), st.sampled_from([16, 4096]))
def test_every_statistic_is_zero_against_itself(pair, most):
    reference, _ = numeric_samples(*pair, most=most)
    for name in NUMERIC:
        assert METHODS[name].score(reference, reference) == pytest.approx(0, abs=1e-7), name


@given(counts)
def test_statistics_do_not_care_which_side_is_which(pairs_of_counts):
    """All but KL, and those whose unit is the reference's standard deviation."""
    p, q = (Sample(np.array(side, np.int64)) for side in zip(*pairs_of_counts, strict=True))
    if not p.rows or not q.rows:
        return
    for name in set(CATEGORICAL) - {"kl"}:
        assert METHODS[name].score(p, q) == pytest.approx(METHODS[name].score(q, p), rel=1e-12, abs=1e-15), name


@given(pairs(2), st.sampled_from([2.0, 0.25, 1024.0]), st.sampled_from([0.0, 8.0, -64.0]))
def test_numeric_scores_do_not_depend_on_the_unit(pair, scale, offset):
    reference, current = (np.round(known(side) * 1024) for side in pair)
    assume((len(reference) - 1) % 10)  # else a decile is a value, but for rounding, which moves a whole tie
    here = numeric_samples(reference, current)
    there = numeric_samples(reference * scale + offset, current * scale + offset)
    for name in NUMERIC:
        assert METHODS[name].score(*there) == pytest.approx(METHODS[name].score(*here), rel=1e-6, abs=1e-7), name


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_a_window_of_merged_parts_has_the_scores_of_its_rows(seed, cuts):
    rng = np.random.default_rng(seed)
    reference, current = rng.normal(size=250), rng.normal(0.3, 1.2, 200).round(2)
    bins = numeric_bins(reference, 64)
    parts = np.split(current, sorted(cuts))
    merged = sum(numeric_vector(bins, part) for part in parts)
    whole = numeric.sample(bins, numeric_vector(bins, current))
    base = numeric.sample(bins, numeric_vector(bins, reference))
    for name in NUMERIC:
        assert METHODS[name].score(base, numeric.sample(bins, merged)) == METHODS[name].score(base, whole)


# --- the traps ----------------------------------------------------------------------------------------------------


def test_trap_one_outlier_does_not_hide_a_shift():
    """Bins come from the reference alone: edges from both samples took a PSI of 0.27 to 0.00007."""
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=5000), rng.normal(0.5, 1, 5000)
    base, shifted, outlier = numeric_samples(reference, current, [*current, 1e9])
    assert METHODS["psi"].score(base, shifted) > 0.2
    for name in set(NUMERIC) - {"wasserstein", "energy"}:
        assert METHODS[name].score(base, outlier) == pytest.approx(METHODS[name].score(base, shifted), rel=0.01), name


def test_trap_the_reference_is_a_sample_and_not_the_truth():
    """Chi-square of 1,000 against 100 rows with nothing changed is below p = 0.05 one time in twenty, not in 75 %."""
    rng = np.random.default_rng(5)
    shares = np.full(8, 1 / 8)
    hits = 0
    for _ in range(2000):
        samples = (Sample(rng.multinomial(1000, shares)), Sample(rng.multinomial(100, shares)))
        hits += bins.chi_square_p(bins.chi_square(*samples), *samples) < 0.05
    assert 0.03 < hits / 2000 < 0.07


def test_trap_one_new_category_is_no_certainty():
    """One row of a category that the reference never had, among 9,999: chance, not p = 0."""
    samples = category_samples(["a", "b"] * 5000, [*["a", "b"] * 4999, "new"])
    p = bins.chi_square_p(bins.chi_square(*samples), *samples)
    assert 0.3 < p < 1
    assert METHODS["psi"].score(*samples) < 0.001


@pytest.mark.parametrize("method", NUMERIC)
def test_trap_a_shift_down_counts_as_much_as_one_up(method):
    """Statistics are two-sided; Cramer-von Mises looks at F - G just above each tie, which a mirror moves."""
    values = np.arange(-300, 301) / 100
    base, up, down = numeric_samples(values, values + 1, values - 1)
    score = METHODS[method].score
    assert score(base, up) == pytest.approx(score(base, down), rel=0.1 if method == "cramer_von_mises" else 0.02)
    found = judge(base, down, [method], {})
    assert found.detected
    assert found.p_values.get(method, 0) < 0.001


def test_trap_an_empty_bin_has_one_rule():
    """A share of zero is half a row of its side, whatever the other bins are; a bin empty on both sides is nothing."""
    a, b = 0.5 / 100, 0.5 / 200
    first, second = Sample(np.array([100, 0, 0])), Sample(np.array([0, 200, 0]))
    expected = (b - 1) * np.log(b / 1) + (1 - a) * np.log(1 / a)
    assert METHODS["psi"].score(first, second) == pytest.approx(expected, rel=1e-12)
    wider = Sample(np.array([100, 0, 0, 0, 0])), Sample(np.array([0, 200, 0, 0, 0]))
    assert METHODS["psi"].score(*wider) == METHODS["psi"].score(first, second)
    filled = Sample(np.array([60, 40])), Sample(np.array([90, 110]))
    textbook = (0.45 - 0.6) * np.log(0.45 / 0.6) + (0.55 - 0.4) * np.log(0.55 / 0.4)
    assert METHODS["psi"].score(*filled) == pytest.approx(textbook, rel=1e-12)


def window(model, baseline, log: pa.Table) -> View:
    """Return one window with the rows of a log."""
    vector = np.zeros(baseline.bins.size, np.int64)
    add_into(vector, take(model, baseline, log))
    return View("1", "1h", 0, 3600, vector)


def features_of(readings: Readings, family: str = "model_feature_drift_score") -> set[str]:
    return {one.labels[4] for one in readings.get(family, [])}


def test_trap_an_empty_column_is_no_health():
    """Without values there is no score, no verdict, and none of p = 1 or 0.0; the other columns are judged."""
    model = settings()
    base = random_table(1, 400, strange=False)
    baseline = fit(model, base)
    log = random_table(2, 300, strange=False)
    log = log.set_column(log.column_names.index("amount"), "amount", pa.array([None] * 300, pa.float64()))
    found = drift(model, baseline, [window(model, baseline, log)])
    assert features_of(found.readings) == {"colour"}
    assert features_of(found.readings, "model_feature_drift_detected") == {"colour"}
    assert features_of(found.readings, "model_feature_drift_p_value") == {"colour"}
    shown = {one.labels for one in found.readings["model_drifted_features_ratio"]}
    assert len(shown) == 1


def test_trap_a_column_that_fails_is_named_and_stops_no_other(monkeypatch):
    model = settings()
    base = random_table(1, 400, strange=False)
    baseline = fit(model, base)

    def broken(_effect, _reference, current):
        if len(current.knots):
            raise ZeroDivisionError("no spread")
        return 0.1

    monkeypatch.setitem(METHODS, "psi", METHODS["psi"]._replace(threshold=broken))
    found = drift(model, baseline, [window(model, baseline, base)])
    assert found.failed["feature:amount"] == "ZeroDivisionError: no spread"
    assert features_of(found.readings) == {"colour"}


def test_trap_a_score_without_value_is_left_out():
    """A constant reference has no unit for Wasserstein and energy; the other methods speak, and say that it changed."""
    base, same, moved = numeric_samples([2.0] * 50, [2.0] * 40, [5.0] * 40)
    quiet, loud = judge(base, same, NUMERIC, {}), judge(base, moved, NUMERIC, {})
    assert quiet.scores == dict.fromkeys(NUMERIC, 0.0)
    assert not quiet.detected
    assert set(loud.scores) == set(NUMERIC) - {"wasserstein", "energy"}
    assert loud.scores["ks"] == 1
    assert loud.detected


@pytest.mark.parametrize("value", [0.1, 0.3, 87381.562])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 7), (50, 41), (1000, 333)])
def test_trap_a_constant_column_that_stays_is_at_zero(value, before, after):
    """Three times 87381.562 over three is not 87381.562: rounding is no drift, and no reason to be silent."""
    assert judge(*numeric_samples([value] * before, [value] * after), NUMERIC, {}).scores == dict.fromkeys(NUMERIC, 0.0)


def test_trap_the_same_counts_give_the_same_numbers():
    """Nothing is drawn at random, so nothing changes by itself."""
    samples = numeric_samples(np.random.default_rng(0).normal(size=500), np.random.default_rng(1).normal(size=400))
    found = []
    for seed in (1, 2):
        np.random.seed(seed)  # a method that drew from it would show here
        found.append(judge(*samples, NUMERIC, {}))
    assert found[0] == found[1]


@pytest.mark.parametrize("size", [10, 100, 1_000, 100_000])
def test_trap_the_method_does_not_depend_on_the_number_of_rows(size):
    """KS p-values are asymptotic at every size, where others switch to another test."""
    rng = np.random.default_rng(size)
    reference, current = rng.integers(0, 12, size).astype(float), rng.integers(0, 12, size).astype(float)
    samples = numeric_samples(reference, current)
    found = judge(*samples, NUMERIC, {})
    assert set(found.scores) == set(NUMERIC)
    theirs = stats.ks_2samp(reference, current, method="asymp")
    assert found.p_values["ks"] == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(np.array([1, 2, 3, 3], np.float16), id="float16"),
        pytest.param(np.array([1, 2, 3, 3], np.uint8), id="uint8"),
        pytest.param(["1", "2", "3.0", "3"], id="text"),
        pytest.param(pa.array(["1", "2", "3", "3"]).dictionary_encode(), id="dictionary"),
    ],
)
def test_trap_numbers_of_another_type_are_the_same_numbers(log):
    bins = numeric_bins(np.array([1, 2, 3, 3, 4], np.int64))
    column = rows.numeric(chunked(log))
    vector = counted(numeric.place(bins, column.values, column.valid), 4, bins.size)
    assert vector.tolist() == numeric_vector(bins, [1, 2, 3, 3]).tolist()


def test_trap_text_that_is_no_number_is_invalid_and_not_missing():
    bins = numeric_bins([1, 2, 3])
    column = rows.numeric(chunked(["1", "NA", "", None, "2"]))
    vector = counted(numeric.place(bins, column.values, column.valid), 5, bins.size)
    assert (vector[bins.missing], vector[bins.invalid]) == (2, 1)
    assert numeric.sample(bins, vector).rows == 2


def test_trap_columns_without_use_are_skipped_with_a_reason():
    """All NaN, in the type of numbers: no feature, no baseline that fails."""
    base = random_table(1, 50, strange=False).append_column("void", pa.array(np.full(50, NAN)))
    made = fit(settings(), base)
    assert set(made.bins.features) == {"amount", "colour"}
    assert made.schema.skipped == {"void": "no valid value in the reference"}


def test_trap_a_rhythm_of_zeros_has_edges_that_see_it():
    """Nine in ten are 0: collapsed deciles would say PSI 0 for ever."""
    base, drier, wetter = numeric_samples(
        [0.0] * 900 + [*np.linspace(0.1, 5, 100)], [0.0] * 1000, [0.0] * 300 + [*np.linspace(0.1, 5, 700)]
    )
    assert METHODS["psi"].score(base, drier) > 0.1
    assert METHODS["psi"].score(base, wetter) > 1


def test_trap_two_numbers_are_categories():
    base = random_table(1, 50, strange=False).append_column("flag", pa.array([0, 1] * 25))
    made = fit(settings(), base)
    assert made.bins.features["flag"].categories == ("0", "1")


def test_trap_a_tiny_last_window_is_insufficient():
    """Too few rows: a state, no score, and no verdict."""
    model = settings(drift={"min_rows": 200})
    baseline = fit(model, random_table(1, 400))
    found = drift(model, baseline, [window(model, baseline, random_table(2, 199))])
    assert found.states == {("1", "1h"): "insufficient"}
    assert not features_of(found.readings)
    assert "model_drifted_features_ratio" not in found.readings
    assert "model_prediction_drift_score" not in found.readings


@pytest.mark.parametrize("knots", [256, 4096])
def test_packed_profiles_tell_the_same(monkeypatch, knots):
    """A reference and a window of very many places are kept packed; what is read of them is the same."""
    model = settings(drift={"knots": knots})
    reference, log = random_table(1, 3000), random_table(2, 3000)
    baseline = fit(model, reference)
    view = window(model, baseline, log)
    expected = drift(model, baseline, [view])
    monkeypatch.setattr(packed, "_MANY", 1)
    again = fit(model, reference)
    assert isinstance(again.vector, packed.Packed)
    found = drift(model, again, [view._replace(vector=packed.pack(view.vector))])
    assert found.readings == expected.readings
    assert found.states == expected.states
    assert found.failed == expected.failed
