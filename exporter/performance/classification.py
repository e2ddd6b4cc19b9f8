"""Metrics of classifiers from counts; each equals scikit-learn's on the same rows.

A metric that has no value (one class only, nothing predicted positive) is None and is left out.
"""

from __future__ import annotations

import math

import numpy as np

from exporter.performance import intervals, margins
from exporter.performance.intervals import Interval
from exporter.performance.tables import ClassOutcomes, ScoreTable


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def cells(counts: ClassOutcomes, number: int = 1) -> tuple[float, float, float, float]:
    """Return TN, FP, FN, TP of a class against the rest; a prediction that names no class is not positive."""
    own = counts.confusion[number].tolist()  # of few numbers Python's sums are the faster ones
    tp = own[number]
    fp = sum(counts.confusion[:, number].tolist()) - tp
    fn = sum(own) - tp
    return counts.rows - tp - fp - fn, fp, fn, tp


def accuracy(counts: ClassOutcomes) -> float | None:
    """Return the share of right predictions."""
    return _share(np.trace(counts.confusion), counts.rows)


def accuracy_interval(counts: ClassOutcomes) -> Interval | None:
    return intervals.wilson(float(np.trace(counts.confusion)), counts.rows)


def precision(counts: ClassOutcomes, number: int = 1) -> float | None:
    """Return TP / (TP + FP)."""
    _, fp, _, tp = cells(counts, number)
    return _share(tp, tp + fp)


def precision_interval(counts: ClassOutcomes, number: int = 1) -> Interval | None:
    _, fp, _, tp = cells(counts, number)
    return intervals.wilson(tp, tp + fp)


def recall(counts: ClassOutcomes, number: int = 1) -> float | None:
    """Return TP / (TP + FN)."""
    _, _, fn, tp = cells(counts, number)
    return _share(tp, tp + fn)


def recall_interval(counts: ClassOutcomes, number: int = 1) -> Interval | None:
    _, _, fn, tp = cells(counts, number)
    return intervals.wilson(tp, tp + fn)


def specificity(counts: ClassOutcomes) -> float | None:
    """Return TN / (TN + FP)."""
    tn, fp, _, _ = cells(counts)
    return _share(tn, tn + fp)


def specificity_interval(counts: ClassOutcomes) -> Interval | None:
    tn, fp, _, _ = cells(counts)
    return intervals.wilson(tn, tn + fp)


def negative_predictive_value(counts: ClassOutcomes) -> float | None:
    """Return TN / (TN + FN)."""
    tn, _, fn, _ = cells(counts)
    return _share(tn, tn + fn)


def negative_predictive_value_interval(counts: ClassOutcomes) -> Interval | None:
    tn, _, fn, _ = cells(counts)
    return intervals.wilson(tn, tn + fn)


def f1(counts: ClassOutcomes, number: int = 1) -> float | None:
    """Return the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
    _, fp, fn, tp = cells(counts, number)
    return _share(2 * tp, 2 * tp + fp + fn)


def f1_interval(counts: ClassOutcomes, number: int = 1) -> Interval | None:
    _, fp, fn, tp = cells(counts, number)
    return intervals.jaccard(tp, fp + fn)


def balanced_accuracy(counts: ClassOutcomes) -> float | None:
    """Return the mean recall of the classes that occur; with one class only there is none."""
    several = (counts.confusion.sum(axis=1) > 0).sum() > 1
    return margins.value(margins.balanced_accuracy, counts) if several else None


def kappa(counts: ClassOutcomes) -> float | None:
    """Return Cohen's kappa; with one class only there is none."""
    several = (counts.confusion.sum(axis=1) > 0).sum() > 1
    return margins.value(margins.kappa, counts) if several else None


def precision_micro(counts: ClassOutcomes) -> float | None:
    """Return the share of right ones among the predictions that name a class."""
    return _share(np.trace(counts.confusion), counts.confusion[:, :-1].sum())


def precision_micro_interval(counts: ClassOutcomes) -> Interval | None:
    return intervals.wilson(float(np.trace(counts.confusion)), float(counts.confusion[:, :-1].sum()))


def area(table: ScoreTable) -> float | None:
    """Return the area under the ROC curve; rows in one cell count as ties.

    Exact where every score is at a knot; else off by at most half the sum over the cells between knots of positive x
    negative shares.
    """
    positive, until = table.positive.astype(np.float64), table.negative.cumsum()
    pairs = float(positive.sum()) * float(until[-1])
    both = positive @ until.astype(np.float64) - positive @ table.negative.astype(np.float64) / 2
    return _share(float(both), pairs)


def _table(counts: ClassOutcomes, number: int) -> ScoreTable:
    return counts.scores[number if len(counts.scores) > 1 else 0]


def roc_auc(counts: ClassOutcomes, number: int = 1) -> float | None:
    """Return the area under the ROC curve of a class against the rest."""
    return area(_table(counts, number))


def roc_auc_interval(counts: ClassOutcomes, number: int = 1) -> Interval | None:
    value = roc_auc(counts, number)
    return None if value is None else intervals.area(value, _table(counts, number))


def gini(counts: ClassOutcomes) -> float | None:
    """Return 2 x ROC AUC - 1: 0 is chance, 1 is perfect."""
    value = roc_auc(counts)
    return None if value is None else 2 * value - 1


def gini_interval(counts: ClassOutcomes) -> Interval | None:
    found = roc_auc_interval(counts)
    return None if found is None else (2 * found[0] - 1, 2 * found[1] - 1)


def ks_statistic(counts: ClassOutcomes) -> float | None:
    """Return the largest difference between the shares of positives and of negatives above a score.

    Exact where every score is at a knot; else too small by at most the largest share between two knots.
    """
    table = counts.scores[0]
    p, n = table.positive.sum(), table.negative.sum()
    return float(np.abs(table.positive.cumsum() / p - table.negative.cumsum() / n).max()) if p and n else None


def ks_statistic_interval(counts: ClassOutcomes) -> Interval | None:
    """Return the interval of the difference of two shares, at the score where it is largest (Newcombe 1998)."""
    table = counts.scores[0]
    whole = np.array([float(table.positive.sum()), float(table.negative.sum())])
    if not whole.all():
        return None
    below = np.array([table.positive.cumsum(), table.negative.cumsum()], np.float64)
    shares = below / whole[:, None]
    at = int(np.abs(shares[0] - shares[1]).argmax())
    sides = []
    for share, rows in sorted(zip(shares[:, at].tolist(), whole.tolist(), strict=True)):
        low, high = intervals.wilson(min(share, 1.0) * rows, rows) or (0.0, 1.0)
        sides.append(intervals.Estimate(share, low, high))
    found = intervals.difference(sides[1], sides[0])
    return None if found is None else (max(found[0], 0.0), min(found[1], 1.0))


def average_precision(counts: ClassOutcomes) -> float | None:
    """Return sum over thresholds of (recall step) x precision; rows in one cell count as ties.

    Exact where every score is at a knot; else it lies between the values with each cell's negatives above its
    positives, and with its positives above and at once.
    """
    table = counts.scores[0]
    hits = np.cumsum(table.positive[::-1])
    named = np.cumsum((table.positive + table.negative)[::-1])
    if not hits[-1]:
        return None
    used = named > 0
    return float(np.diff(hits, prepend=0)[used] @ (hits[used] / named[used]) / hits[-1])


def average_precision_interval(counts: ClassOutcomes) -> Interval | None:
    """Return the interval by the delta method: what one row more in a cell would change, squared and added up."""
    value, table = average_precision(counts), counts.scores[0]
    if value is None:
        return None
    positive, negative = table.positive.astype(np.float64), table.negative.astype(np.float64)
    hits = np.cumsum(positive[::-1])[::-1]  # with a score in the cell or above
    named = np.maximum(np.cumsum((positive + negative)[::-1])[::-1], 1.0)
    lost = np.cumsum(positive * hits / named**2)  # by each cell at or below that a further row is named in
    won = np.cumsum(positive / named)
    total = positive.sum()
    variance = positive @ (hits / named - value + won - lost) ** 2 + negative @ lost**2
    return intervals.bounded(value, math.sqrt(variance) / total, float(total))


def log_loss(counts: ClassOutcomes) -> float | None:
    """Return the mean of -ln(probability given to the actual class)."""
    return _share(counts.log_loss, counts.scored)


def log_loss_interval(counts: ClassOutcomes) -> Interval | None:
    return intervals.mean(counts.log_loss, counts.log_loss_squares, counts.scored)


def brier(counts: ClassOutcomes) -> float | None:
    """Return the mean squared error of the probabilities; with many classes summed over them."""
    return _share(counts.squared, counts.scored)


def brier_interval(counts: ClassOutcomes) -> Interval | None:
    return intervals.mean(counts.squared, counts.squared_squares, counts.scored)


def roc_auc_ovr_macro(counts: ClassOutcomes) -> float | None:
    """Return the mean area under the ROC curve, each class against the rest; none if a class has no row."""
    areas = [area(table) for table in counts.scores]
    return float(np.mean([a for a in areas if a is not None])) if None not in areas else None


def roc_auc_ovr_macro_interval(counts: ClassOutcomes) -> Interval | None:
    """Return an interval that is too wide where the classes' areas vary apart: the errors are added up."""
    value, errors = roc_auc_ovr_macro(counts), [intervals.area_error(table) for table in counts.scores]
    known = [one for one in errors if one is not None]
    if value is None or len(known) < len(errors):
        return None
    return intervals.bounded(value, math.fsum(known) / len(known), min(float(t.positive.sum()) for t in counts.scores))


def roc_auc_ovr_weighted(counts: ClassOutcomes) -> float | None:
    """Return the mean area under the ROC curve, weighted by the classes' rows; none if a class has no row."""
    areas = [area(table) for table in counts.scores]
    weights = [table.positive.sum().item() for table in counts.scores]
    return float(np.average([a for a in areas if a is not None], weights=weights)) if None not in areas else None


def roc_auc_ovr_weighted_interval(counts: ClassOutcomes) -> Interval | None:
    """Return an interval that is too wide where the classes' areas vary apart: their errors are added up."""
    value, errors = roc_auc_ovr_weighted(counts), [intervals.area_error(table) for table in counts.scores]
    known = [one for one in errors if one is not None]
    if value is None or len(known) < len(errors):
        return None
    rows = np.array([float(table.positive.sum()) for table in counts.scores])
    share, areas = rows / rows.sum(), np.array([area(table) or 0.0 for table in counts.scores])
    of_shares = max(float(share @ areas**2) - value**2, 0.0) / float(rows.sum())
    return intervals.bounded(value, math.hypot(float(share @ known), math.sqrt(of_shares)), float(rows.min()))


def top_k(counts: ClassOutcomes, k: int) -> float | None:
    """Return the share of scored rows whose actual class is among the k highest scores."""
    return _share(counts.ranks[:k].sum(), counts.ranks.sum())


def top_k_interval(counts: ClassOutcomes, k: int) -> Interval | None:
    return intervals.wilson(float(counts.ranks[:k].sum()), float(counts.ranks.sum()))
