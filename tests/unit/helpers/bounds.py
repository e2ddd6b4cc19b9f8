"""How far a statistic that is computed from cells may be from that of the rows: the bounds of `docs/statistics.md`."""

from __future__ import annotations

import numpy as np

from exporter.drift.univariate import Sample
from exporter.performance.tables import ScoreTable


def ks_bound(reference: Sample) -> float:
    """Return the largest share of the reference between two neighbouring knots: by so much KS may be too small."""
    return float(reference.cells[::2].max(initial=0) / reference.rows)


def _moved(side: Sample) -> np.ndarray:
    """Return, per cell, how far W1 may move when the cell's rows are taken for their mean: share x width / 2."""
    width = np.zeros(len(side.cells))
    width[2:-1:2] = np.diff(side.knots)
    return np.where(side.cells > 1, side.cells / side.rows * width / 2, 0.0)


def wasserstein_interval(reference: Sample, current: Sample, score: float) -> tuple[float, float]:
    """Return between what the exact value lies, given the score from cells.

    A cell with rows of one side only in which F - G keeps its sign, or with at most one row a side, adds nothing.
    The standard deviation from cells is too small by at most the reference's rows' way to their cell's mean.
    """
    after = reference.cumulative / reference.rows - current.cumulative / current.rows
    before = np.concatenate([[0.0], after[:-1]])
    one_side = ((reference.cells == 0) | (current.cells == 0)) & (before * after >= 0)
    error = float(np.where(one_side, 0.0, _moved(reference) + _moved(current)).sum())
    width = np.zeros(len(reference.cells))
    width[2:-1:2] = np.diff(reference.knots)
    within = np.where(reference.cells > 1, reference.cells / reference.rows * width**2 / 4, 0.0).sum()
    widest = float(np.sqrt(reference.std**2 + within))
    distance = score * reference.std
    return max(distance - error, 0.0) / widest, (distance + error) / reference.std


def roc_auc_bound(table: ScoreTable) -> float | None:
    """Return half the sum over the cells between knots of positive share x negative share; None for one class only."""
    pairs = float(table.positive.sum()) * float(table.negative.sum())
    return float((table.positive[::2] * table.negative[::2]).sum()) / 2 / pairs if pairs else None


def average_precision_interval(table: ScoreTable) -> tuple[float, float]:
    """Return the least and the largest average precision of rows that lie somehow in their cell.

    Worst, a cell's negatives come first and its positives one by one; best, its positives come first and at once.
    """
    low = high = hits = named = 0.0
    for cell in range(len(table.positive) - 1, -1, -1):
        positive, negative = int(table.positive[cell]), int(table.negative[cell])
        after = np.arange(1, positive + 1)
        if cell % 2:  # at a knot: ties
            both = positive * (hits + positive) / (named + positive + negative) if positive else 0.0
            low, high = low + both, high + both
        else:
            low += float(((hits + after) / (named + negative + after)).sum())
            high += positive * (hits + positive) / (named + positive) if positive else 0.0
        hits, named = hits + positive, named + positive + negative
    return low / hits, high / hits
