"""Metrics of classifiers from counts; each equals scikit-learn's on the same rows.

A metric that has no value (one class only, nothing predicted positive) is None and is left out.
"""

from __future__ import annotations

import numpy as np

from exporter.performance.tables import ClassOutcomes, ScoreTable


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _cells(counts: ClassOutcomes) -> tuple[int, int, int, int]:
    """Return TN, FP, FN, TP; a prediction that names neither class is not positive."""
    (tn, fp, none_0), (fn, tp, none_1) = counts.confusion.tolist()
    return tn + none_0, fp, fn + none_1, tp


def accuracy(counts: ClassOutcomes) -> float | None:
    """Return the share of right predictions."""
    return _share(np.trace(counts.confusion), counts.rows)


def precision(counts: ClassOutcomes) -> float | None:
    """Return TP / (TP + FP)."""
    _, fp, _, tp = _cells(counts)
    return _share(tp, tp + fp)


def recall(counts: ClassOutcomes) -> float | None:
    """Return TP / (TP + FN)."""
    _, _, fn, tp = _cells(counts)
    return _share(tp, tp + fn)


def specificity(counts: ClassOutcomes) -> float | None:
    """Return TN / (TN + FP)."""
    tn, fp, _, _ = _cells(counts)
    return _share(tn, tn + fp)


def f1(counts: ClassOutcomes) -> float | None:
    """Return the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
    _, fp, fn, tp = _cells(counts)
    return _share(2 * tp, 2 * tp + fp + fn)


def balanced_accuracy(counts: ClassOutcomes) -> float | None:
    """Return the mean recall of the classes that occur; with one class only there is none."""
    actual = counts.confusion.sum(axis=1)
    if (actual > 0).sum() < 2:
        return None
    return float((np.diag(counts.confusion)[actual > 0] / actual[actual > 0]).mean())


def matthews(counts: ClassOutcomes) -> float | None:
    """Return Matthews' correlation (Gorodkin's form for many classes); 0 where a side has one class only."""
    table = counts.confusion.astype(np.float64)
    total = table.sum()
    actual, predicted = table.sum(axis=1), table.sum(axis=0)
    covariance = np.trace(table) * total - actual @ predicted[:-1]
    spread = np.sqrt(total**2 - predicted @ predicted) * np.sqrt(total**2 - actual @ actual)
    return float(covariance / spread) if spread else 0.0 if total else None


def _area(table: ScoreTable) -> float | None:
    """Return the area under the ROC curve; rows in one cell count as ties.

    Exact where every score is at a knot; else off by at most half the sum over the cells between knots of positive x
    negative shares.
    """
    positive, negative = table.positive.astype(np.float64), table.negative.astype(np.float64)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return _share(float(positive @ (below + negative / 2)), pairs)


def roc_auc(counts: ClassOutcomes) -> float | None:
    """Return the area under the ROC curve of the positive class."""
    return _area(counts.scores[0])


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


def log_loss(counts: ClassOutcomes) -> float | None:
    """Return the mean of -ln(probability given to the actual class)."""
    return _share(counts.log_loss, counts.scored)


def brier(counts: ClassOutcomes) -> float | None:
    """Return the mean squared error of the probabilities; with many classes summed over them."""
    return _share(counts.squared, counts.scored)


def _per_class(counts: ClassOutcomes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hits = np.diag(counts.confusion).astype(np.float64)
    return hits, counts.confusion.sum(axis=1), counts.confusion[:, :-1].sum(axis=0)


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; a class without any row counts as 0, as with zero_division=0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0))


def _mean_share(part: np.ndarray, whole: np.ndarray, rows: float) -> float | None:
    return float(_shares(part, whole).mean()) if rows else None


def precision_macro(counts: ClassOutcomes) -> float | None:
    """Return the mean precision of the classes."""
    hits, _, predicted = _per_class(counts)
    return _mean_share(hits, predicted, counts.rows)


def recall_macro(counts: ClassOutcomes) -> float | None:
    """Return the mean recall of the classes."""
    hits, actual, _ = _per_class(counts)
    return _mean_share(hits, actual, counts.rows)


def f1_macro(counts: ClassOutcomes) -> float | None:
    """Return the mean F1 of the classes."""
    hits, actual, predicted = _per_class(counts)
    return _mean_share(2 * hits, actual + predicted, counts.rows)


def f1_weighted(counts: ClassOutcomes) -> float | None:
    """Return the mean F1 of the classes, weighted by their actual rows."""
    hits, actual, predicted = _per_class(counts)
    return _share(float(_shares(2 * hits, actual + predicted) @ actual), counts.rows)


def roc_auc_ovr_macro(counts: ClassOutcomes) -> float | None:
    """Return the mean area under the ROC curve, each class against the rest; none if a class has no row."""
    areas = [_area(table) for table in counts.scores]
    return float(np.mean([a for a in areas if a is not None])) if None not in areas else None
