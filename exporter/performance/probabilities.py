"""How far probabilities can be taken at their word: calibration error, and the parts of Brier's score."""

from __future__ import annotations

import numpy as np

from exporter.performance.tables import CalibrationTable, ClassOutcomes


def _used(table: CalibrationTable) -> CalibrationTable:
    used = table.rows > 0
    return CalibrationTable(table.rows[used], table.hits[used], table.total[used])


def calibration_error(counts: ClassOutcomes) -> float | None:
    """Return the expected calibration error: mean distance of confidence and hits over tenths, weighted by rows.

    Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017 for many classes.
    """
    rows, hits, total = _used(counts.calibration)
    return float(np.abs(total - hits).sum() / rows.sum()) if len(rows) else None


def reliability(counts: ClassOutcomes) -> float | None:
    """Return the mean squared distance of confidence and hits over tenths (Murphy 1973): 0 is calibrated."""
    rows, hits, total = _used(counts.calibration)
    return float(((total - hits) ** 2 / rows).sum() / rows.sum()) if len(rows) else None


def resolution(counts: ClassOutcomes) -> float | None:
    """Return the variance of the share of hits between tenths (Murphy 1973): what the scores tell apart."""
    rows, hits, _ = _used(counts.calibration)
    return float((rows * (hits / rows - hits.sum() / rows.sum()) ** 2).sum() / rows.sum()) if len(rows) else None


def uncertainty(counts: ClassOutcomes) -> float | None:
    """Return the variance of the label (Murphy 1973): Brier's score of a constant that is right on average."""
    rows, hits, _ = _used(counts.calibration)
    share = float(hits.sum() / rows.sum()) if len(rows) else 0.0
    return share * (1 - share) if len(rows) else None
