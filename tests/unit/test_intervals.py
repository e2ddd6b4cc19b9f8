"""95 % intervals: how often they hold the truth, in seeded samples of models whose truth is known."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.performance import intervals, margins
from exporter.performance.intervals import Estimate, difference, wilson
from exporter.performance.metrics import METRICS, estimates
from exporter.performance.tables import ScoreTable
from exporter.profile.outcome import (
    ClassBins,
    Outcomes,
    RegressionBins,
    place_classes,
    place_regression,
    read_classes,
    read_regression,
)
from tests.unit.helpers.profiles import counted, numeric_bins

GRID = numeric_bins(np.linspace(0, 1, 201))
ROWS, SAMPLES = 400, 1500
# Wider than they need be, as their docstrings say; and what is known by chance of a coverage of 0.95.
WIDE = {"roc_auc_ovr_macro", "roc_auc_ovr_weighted", "f1_micro", "top_3_accuracy", "top_5_accuracy"}
LEAST, MOST = 0.93, 0.972
BIASED = {"average_precision": 0.915, "brier_resolution": 0.91}  # too high of few positives: here about 70


def draw(task: str, rng: np.random.Generator, rows: int) -> Outcomes:
    """Return rows of a model that is wrong now and then, is not calibrated, and has a class in seven."""
    if task == "regression":
        label = rng.gamma(4, 25, rows)
        return Outcomes(label * 0.9 + 8 + rng.normal(0, 12 + label / 10, rows), label, np.empty((rows, 0)))
    if task == "binary":
        true = rng.beta(0.9, 4, rows)
        score = np.round(np.clip(true**0.8 + rng.normal(0, 0.06, rows), 0.005, 0.995) * 200) / 200
        return Outcomes((score > 0.35) * 1.0, (rng.random(rows) < true) * 1.0, score[:, None])
    true = rng.dirichlet([3, 1.5, 0.8], rows)
    label = (true.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(0, 2)
    scores = np.floor((0.8 * true + 0.2 * rng.dirichlet([2, 2, 2], rows)) * 200) / 200
    return Outcomes(scores.argmax(axis=1) * 1.0, label * 1.0, scores)


def read(task: str, rows: Outcomes):  # type: ignore[no-untyped-def]
    """Return what the counts of the rows say."""
    if task == "regression":
        bins = RegressionBins(100.0, 50.0)
        return read_regression(bins, counted(place_regression(bins, rows), len(rows.label), bins.size))
    known = ClassBins(("0", "1"), (GRID,)) if task == "binary" else ClassBins(("0", "1", "2"), (GRID,) * 3)
    return read_classes(known, counted(place_classes(known, rows), len(rows.label), known.size))


def metrics_of(task: str) -> tuple[str, ...]:
    own = ("recall:2", "precision:2", "f1:2", "roc_auc:2") if task == "multiclass" else ()
    return (*METRICS[task], *own)


@cache
def coverage(task: str) -> dict[str, float]:
    """Return how many of the intervals hold the value over 400,000 rows."""
    rng = np.random.default_rng(20)
    wanted, classes = metrics_of(task), tuple("012") if task == "multiclass" else ()
    truth = estimates(task, read(task, draw(task, rng, 400_000)), wanted, True, classes)
    held: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for _ in range(SAMPLES):
        for name, one in estimates(task, read(task, draw(task, rng, ROWS)), wanted, True, classes).items():
            if one.lower is not None:
                known[name] += 1
                held[name] += one.lower <= truth[name].value <= one.upper
    return {name: held[name] / known[name] for name in known}


NONE = {name for table in METRICS.values() for name, one in table.items() if one.interval is None}


@pytest.mark.parametrize(
    ("task", "metric"), [(task, name) for task in METRICS for name in metrics_of(task) if name not in NONE]
)
def test_95_of_100_intervals_hold_the_truth(task, metric):
    found = coverage(task)[metric]
    assert BIASED.get(metric, LEAST) <= found <= (1 if metric in WIDE else MOST)


@given(st.integers(0, 40), st.integers(0, 40))
def test_shares_are_as_scipys(hits, misses):
    if hits + misses:
        oracle = stats.binomtest(hits, hits + misses).proportion_ci(method="wilson")
        assert wilson(hits, hits + misses) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    else:
        assert wilson(hits, misses) is None


def test_the_error_of_an_area_is_delongs():
    """Against the definition by pairs of rows."""
    rng = np.random.default_rng(4)
    positive, negative = rng.integers(3, 12, 40), rng.integers(0, 10, 70)
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    of_positive, of_negative = wins.mean(axis=1), wins.mean(axis=0)
    expected = np.sqrt(of_positive.var(ddof=1) / 40 + of_negative.var(ddof=1) / 70)
    table = ScoreTable(np.bincount(negative, minlength=12), np.bincount(positive, minlength=12))
    assert intervals.area_error(table) == pytest.approx(expected)


@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(1, 10**6))
def test_a_bounded_metric_keeps_its_bounds_and_holds_its_value(value, error, rows):
    low, high = intervals.bounded(2 * value - 1, error, rows, -1.0)
    assert -1 <= low <= 2 * value - 1 + 1e-9
    assert 2 * value - 1 - 1e-9 <= high <= 1


@pytest.mark.parametrize("name", ["f1_macro", "mcc", "kappa", "balanced_accuracy", "precision_weighted"])
def test_the_jackknife_leaves_out_each_row(name, monkeypatch):
    """Over cells, in parts, as over rows one by one."""
    rng = np.random.default_rng(6)
    rows = draw("multiclass", rng, 60)
    formula = {"mcc": margins.matthews, "kappa": margins.kappa}.get(name) or getattr(margins, name)
    value = METRICS["multiclass"][name].value
    without = []
    for row in range(60):
        kept = np.arange(60) != row
        without.append(value(read("multiclass", Outcomes(rows.prediction[kept], rows.label[kept], rows.scores[kept]))))
    expected = np.sqrt(59 * np.var(without))
    whole = read("multiclass", rows)
    assert margins.error(formula, whole) == pytest.approx(expected)
    monkeypatch.setattr(margins, "_AT_ONCE", 6)
    assert margins.error(formula, whole) == pytest.approx(expected)


def test_a_perfect_metric_is_not_certain():
    """With 20 rows of the rarest class right there may well be errors."""
    actual = np.arange(60) % 3
    perfect = read("multiclass", Outcomes(actual * 1.0, actual * 1.0, np.eye(3)[actual]))
    for name in ("f1_macro", "mcc", "kappa", "roc_auc_ovr_macro"):
        one = estimates("multiclass", perfect, (name,), True)[name]
        assert one.value == one.upper == 1
        assert 0.5 < one.lower < 0.9


def calibrated(rng: np.random.Generator, rows: int) -> Outcomes:
    """Return rows of a binary model whose scores are what comes true."""
    score = np.round(rng.beta(0.9, 3, rows) * 200) / 200
    return Outcomes((score > 0.35) * 1.0, (rng.random(rows) < score) * 1.0, score[:, None])


def test_the_calibration_error_of_a_calibrated_model_may_be_0():
    """It never is 0 of a few rows; its interval says so, and not more often than one in twenty that it is not."""
    rng, metric, zero = np.random.default_rng(3), METRICS["binary"]["calibration_error"], 0
    assert metric.interval is not None
    for _ in range(400):
        outcomes = read("binary", calibrated(rng, ROWS))
        low, high = metric.interval(outcomes)
        assert low <= metric.value(outcomes) <= high
        zero += low == 0
    assert 0.95 <= zero / 400 < 1


@pytest.mark.parametrize("name", ["ks_statistic", "calibration_error", "brier_reliability", "brier_resolution"])
def test_seeded_intervals_are_the_same_again(name):
    """So a number that did not change does not move."""
    outcomes = read("binary", draw("binary", np.random.default_rng(1), ROWS))
    first, second = (estimates("binary", outcomes, (name,), True)[name] for _ in range(2))
    assert first == second
    assert first.lower < first.value < first.upper


def test_differences_are_as_wide_as_both_sides_are_uncertain():
    """Half the width is the root of the sum of squares; a side that is certain adds nothing."""
    one, other = Estimate(0.8, 0.76, 0.83), Estimate(0.7, 0.7, 0.7)
    assert difference(one, other) == pytest.approx((0.06, 0.13))
    assert difference(other, one) == pytest.approx((-0.13, -0.06))
    low, high = difference(one, Estimate(0.7, 0.67, 0.74))
    assert (low, high) == pytest.approx((0.1 - np.hypot(0.04, 0.04), 0.1 + np.hypot(0.03, 0.03)))
    assert difference(one, Estimate(0.7)) is None
