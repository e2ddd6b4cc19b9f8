"""Metrics that follow from a confusion table's margins: hits, actual and predicted rows of each class.

Each takes arrays with the classes on the last axis, so that one call gives the value of a table, or the values of all
tables with one row less: their spread is the standard error (the jackknife: Efron and Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from exporter.performance.intervals import Interval, bounded
from exporter.performance.tables import ClassOutcomes, Ints

Floats = NDArray[np.float64]
Formula = Callable[[Floats, Floats, Floats], Floats]
_AT_ONCE = 1_000_000  # numbers: cells times classes


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; where there is no whole, and so no part, the ratio is 0."""
    return np.asarray(part / np.where(whole > 0, whole, 1.0))


def precision_macro(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean precision of the classes."""
    return np.asarray(_ratio(hits, predicted).mean(-1))


def recall_macro(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean recall of the classes."""
    return np.asarray(_ratio(hits, actual).mean(-1))


def f1_macro(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean F1 of the classes."""
    return np.asarray(_ratio(2 * hits, actual + predicted).mean(-1))


def precision_weighted(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean precision of the classes, weighted by their actual rows."""
    return _ratio((_ratio(hits, predicted) * actual).sum(-1), actual.sum(-1))


def f1_weighted(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean F1 of the classes, weighted by their actual rows."""
    return _ratio((_ratio(2 * hits, actual + predicted) * actual).sum(-1), actual.sum(-1))


def precision_micro(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the share of right ones among the predictions that name a class."""
    return _ratio(hits.sum(-1), predicted.sum(-1))


def f1_micro(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the harmonic mean of micro precision and recall."""
    return _ratio(2 * hits.sum(-1), actual.sum(-1) + predicted.sum(-1))


def balanced_accuracy(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return the mean recall of the classes that occur."""
    return _ratio(_ratio(hits, actual).sum(-1), (actual > 0).sum(-1))


def kappa(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return Cohen's kappa: the agreement beyond that of independent margins, of what is possible."""
    rows = actual.sum(-1)
    chance = _ratio((actual * predicted).sum(-1), rows**2)
    return np.asarray((_ratio(hits.sum(-1), rows) - chance) / np.where(chance < 1, 1 - chance, 1.0))


def matthews(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    """Return Matthews' correlation (Gorodkin's form for many classes); 0 where a side has one class only."""
    rows = actual.sum(-1)
    other = rows - predicted.sum(-1)
    covariance = hits.sum(-1) * rows - (actual * predicted).sum(-1)
    spread = (rows**2 - (predicted**2).sum(-1) - other**2) * (rows**2 - (actual**2).sum(-1))
    return np.asarray(covariance / np.sqrt(np.where(spread > 0, spread, 1.0)) * (spread > 0))


def _of(counts: ClassOutcomes) -> tuple[Floats, Floats, Floats]:
    table = counts.confusion.astype(np.float64)
    return np.diag(table), table.sum(axis=1), table[:, :-1].sum(axis=0)


def value(formula: Formula, counts: ClassOutcomes) -> float | None:
    """Return a metric of a confusion table; none without rows."""
    return float(formula(*_of(counts))) if counts.rows else None


def error(formula: Formula, counts: ClassOutcomes) -> float | None:
    """Return the jackknife's standard error of a metric of a confusion table; none below two rows."""
    rows = counts.rows
    if rows < 2:
        return None
    actual, predicted = np.nonzero(counts.confusion)
    times = counts.confusion[actual, predicted]
    most = max(_AT_ONCE // len(counts.confusion), 1)
    starts = range(0, len(times), most)
    without = np.concatenate([_without(formula, counts, actual[a : a + most], predicted[a : a + most]) for a in starts])
    mean = float(times @ without) / rows
    return math.sqrt((rows - 1) / rows * float(times @ (without - mean) ** 2))


def _without(formula: Formula, counts: ClassOutcomes, actual: Ints, predicted: Ints) -> Floats:
    """Return the metric without one row of each of the cells."""
    hits, of_actual, of_predicted = (np.tile(margin, (len(actual), 1)) for margin in _of(counts))
    every, named, right = np.arange(len(actual)), predicted < len(counts.confusion), actual == predicted
    one = np.minimum(counts.confusion[actual, predicted], 1)  # weighted rows may be worth less
    of_actual[every, actual] -= one
    of_predicted[every[named], predicted[named]] -= one[named]
    hits[every[right], actual[right]] -= one[right]
    return formula(hits, of_actual, of_predicted)


def interval(formula: Formula, counts: ClassOutcomes, low: float = 0.0) -> Interval | None:
    """Return the interval of a metric of a confusion table, between `low` and 1."""
    found, spread = value(formula, counts), error(formula, counts)
    if found is None or spread is None:
        return None
    actual = counts.confusion.sum(axis=1)
    return bounded(found, spread, float(actual[actual > 0].min()), low)
