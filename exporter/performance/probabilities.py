"""How far probabilities can be taken at their word: calibration error, and the parts of Brier's score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from exporter.performance.intervals import Interval, Z, wilson
from exporter.performance.resampling import basic, draws
from exporter.performance.tables import ClassOutcomes

Floats = NDArray[np.float64]
# Takes rows, hits and the sum of the confidence with tenths on the last axis.
Formula = Callable[[Floats, Floats, Floats], Floats]


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(part / np.where(whole > 0, whole, 1.0))


def error_of(rows: Floats, hits: Floats, total: Floats) -> Floats:
    """Return the mean distance of confidence and hits over tenths, weighted by rows."""
    return _share(np.abs(total - hits).sum(-1), rows.sum(-1))


def reliability_of(rows: Floats, hits: Floats, total: Floats) -> Floats:
    """Return the mean squared distance of confidence and hits over tenths."""
    return _share(_share((total - hits) ** 2, rows).sum(-1), rows.sum(-1))


def resolution_of(rows: Floats, hits: Floats, total: Floats) -> Floats:
    """Return the variance of the share of hits between tenths."""
    share = _share(hits.sum(-1), rows.sum(-1))
    return _share((rows * (_share(hits, rows) - share[..., None]) ** 2).sum(-1), rows.sum(-1))


def _value(formula: Formula, counts: ClassOutcomes) -> float | None:
    rows, hits, total = (np.asarray(own, np.float64) for own in counts.calibration)
    return float(formula(rows, hits, total)) if rows.sum() else None


def calibration_error(counts: ClassOutcomes) -> float | None:
    """Return the expected calibration error: mean distance of confidence and hits over tenths, weighted by rows.

    Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017 for many classes.
    """
    return _value(error_of, counts)


def reliability(counts: ClassOutcomes) -> float | None:
    """Return the mean squared distance of confidence and hits over tenths (Murphy 1973): 0 is calibrated."""
    return _value(reliability_of, counts)


def resolution(counts: ClassOutcomes) -> float | None:
    """Return the variance of the share of hits between tenths (Murphy 1973): what the scores tell apart."""
    return _value(resolution_of, counts)


def uncertainty(counts: ClassOutcomes) -> float | None:
    """Return the variance of the label (Murphy 1973): Brier's score of a constant that is right on average."""
    rows, hits, _ = counts.calibration
    share = float(hits.sum() / rows.sum()) if rows.sum() else 0.0
    return share * (1 - share) if rows.sum() else None


def interval(formula: Formula, counts: ClassOutcomes) -> Interval | None:
    """Return the interval of what follows from tenths, by resampling their rows (basic bootstrap), at least 0.

    Confidence is taken for its mean within a tenth.
    """
    rows, hits, total = (np.asarray(own, np.float64) for own in counts.calibration)
    if rows.sum() < 2:
        return None
    low, high = basic(float(formula(rows, hits, total)), _drawn(formula, rows, hits, total))
    return max(low, 0.0), max(high, 0.0)


def _drawn(formula: Formula, rows: Floats, hits: Floats, total: Floats) -> Floats:
    """Draw rows again, a tenth's hits as likely as given; return what follows."""
    cells = draws(np.concatenate([hits, np.maximum(rows - hits, 0.0)]))
    again, came = cells[:, : len(rows)] + cells[:, len(rows) :], cells[:, : len(rows)]
    return formula(again, came, again * _share(total, rows))


def calibration_error_interval(counts: ClassOutcomes) -> Interval | None:
    """Return the interval of the calibration error, which is above 0 also of a calibrated model.

    Down to 0 where a calibrated model of as many rows would have as much in 2.5 % of cases; else the basic bootstrap's
    lower end. Its upper end has no correction for bias: 1.96 standard errors above.
    """
    rows, hits, total = (np.asarray(own, np.float64) for own in counts.calibration)
    if rows.sum() < 2:
        return None
    value, drawn = float(error_of(rows, hits, total)), _drawn(error_of, rows, hits, total)
    by_chance = float(np.quantile(_drawn(error_of, rows, total, total), 0.975))
    low = 0.0 if value <= by_chance else min(max(basic(value, drawn)[0], 0.0), value)
    return low, value + Z * float(drawn.std())


def uncertainty_interval(counts: ClassOutcomes) -> Interval | None:
    """Return the interval that follows from that of the share of positives."""
    rows, hits, _ = counts.calibration
    found = wilson(float(hits.sum()), float(rows.sum()))
    if found is None:
        return None
    ends = [share * (1 - share) for share in found]
    return min(ends), 0.25 if found[0] < 0.5 < found[1] else max(ends)
