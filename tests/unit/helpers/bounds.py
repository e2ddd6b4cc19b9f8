"""How far a statistic that is computed from cells may be from that of the rows: the bounds of `docs/statistics.md`."""

from __future__ import annotations

import numpy as np

from exporter.drift.univariate import Sample
from exporter.performance.tables import ScoreTable
from exporter.profile.numeric import cut_spans


def ks_bound(reference: Sample) -> float:
    """Return the largest share of the reference between two neighbouring knots: by so much KS may be too small."""
    return float(reference.cells[::2].max(initial=0) / reference.rows)


def _widths(side: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the width of each cell, and which cells share a span with others."""
    width, shared = np.zeros(len(side.cells)), np.zeros(len(side.cells), np.bool_)
    cells = np.diff(cut_spans(side.knots), append=len(side.knots) - 1)
    width[2:-1:2], shared[2:-1:2] = np.diff(side.knots), np.repeat(cells > 1, cells)
    return width, shared


def _moved(side: Sample) -> np.ndarray:
    """Return, per cell, how far W1 may move when the cell's rows are taken for one place.

    Share x width / 2 where that is their mean; share x width where it is the mean of a span's other cells, too.
    """
    width, shared = _widths(side)
    share = side.cells / side.rows
    return np.where(shared, share * width, np.where(side.cells > 1, share * width / 2, 0.0))


def wasserstein_interval(reference: Sample, current: Sample, score: float) -> tuple[float, float]:
    """Return between what the exact value lies, given the score from cells.

    A cell that is a span of its own, with rows of one side only in which F - G keeps its sign, or with at most one row
    a side, adds nothing. The standard deviation from cells is too small by at most the reference's rows' way to their
    cell's mean, and off by as much as that may be from where it is taken to be.
    """
    after = reference.cumulative / reference.rows - current.cumulative / current.rows
    before = np.concatenate([[0.0], after[:-1]])
    one_side = ((reference.cells == 0) | (current.cells == 0)) & (before * after >= 0)
    width, shared = _widths(reference)
    error = float(np.where(one_side & ~shared, 0.0, _moved(reference) + _moved(current)).sum())
    share = reference.cells / reference.rows
    within = np.where(reference.cells > 1, share * width**2 / 4, 0.0).sum()
    away = float(np.sqrt(np.where(shared, share * width**2, 0.0).sum()))
    widest = float(np.sqrt(reference.std**2 + within)) + away
    distance = score * reference.std
    narrowest = max(reference.std - away, np.finfo(np.float64).tiny)
    return max(distance - error, 0.0) / widest, (distance + error) / narrowest


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
