"""Trends and differences over days that may hang together: slopes, p-values and intervals. Pure.

Slope: Theil and Sen (Sen 1968). P-value: Mann and Kendall's, with the variance that autocorrelated ranks have (Hamed
and Rao 1998). Interval of a mean: Student's t with as many days as the autocorrelated ones are worth (Bartlett 1946).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.special import special

Floats = NDArray[np.float64]
_SIGNIFICANT = 1.645  # standard errors from which an autocorrelation counts, one-sided 5 %: as Hamed and Rao's 10 %


class Trend(NamedTuple):
    """Change a day, and the two-sided p-value of there being none."""

    slope: float
    p_value: float


class Mean(NamedTuple):
    """A mean with its 95 % interval."""

    value: float
    lower: float
    upper: float


def trend(days: Floats, values: Floats) -> Trend | None:
    """Return the trend of a series (days increasing); None of fewer than three days."""
    count = len(values)
    if count < 3:
        return None
    first, second = np.triu_indices(count, 1)
    steps = values[second] - values[first]
    slope = float(np.median(steps / (days[second] - days[first])))
    agreement = float(np.sign(steps).sum())
    _, ties = np.unique(values, return_counts=True)
    variance = count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())
    variance *= _inflation(values - slope * days) / 18
    if variance <= 0:
        return Trend(slope, 1.0)
    distance = max(abs(agreement) - 1, 0.0) / math.sqrt(variance)
    return Trend(slope, float(2 * special.ndtr(-distance)))


def _autocorrelations(values: Floats, most: int, fitted: int) -> tuple[Floats, Floats]:
    """Return those at lags 1 to `most`, where they are beyond chance, and those of an AR(1) process.

    fitted: parameters taken from the values before (a mean: 1, a line: 2), which make the first autocorrelation too
    small by about (fitted + 4 r) / n (Marriott and Pope 1954); below 0 it counts as 0.
    """
    count, apart = len(values), values - values.mean()
    total = float(apart @ apart)
    if not total or count < 6:
        return np.zeros(most), np.zeros(most)
    found = np.array([float(apart[lag:] @ apart[:-lag]) / total for lag in range(1, most + 1)])
    first = min(max((count * float(found[0]) + fitted) / (count - 4), 0.0), 0.98)
    seen = np.where(np.abs(found) > _SIGNIFICANT / math.sqrt(count), found, 0.0)
    return seen, first ** np.arange(1.0, most + 1)


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, which, ties = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(ties) - (ties - 1) / 2)[which])


def _inflation(values: Floats) -> float:
    """Return how much more Kendall's sum varies than of independent values: n / n* of Hamed and Rao.

    With the autocorrelations that are seen or with those of an AR(1) process, whichever says more; at least 1.
    """
    count = len(values)
    lags = np.arange(1, count)
    weights = (count - lags) * (count - lags - 1.0) * (count - lags - 2.0)
    own = _autocorrelations(_ranks(values), len(lags), fitted=2)
    near = lags <= max(count // 4, 1)
    sums = (float(weights[near] @ own[0][near]), float(weights @ own[1]))
    return max(1 + 2 * max(sums) / (count * (count - 1) * (count - 2)), 1.0)


def mean(values: Floats) -> Mean | None:
    """Return the mean of a series of days with its interval; None of fewer than three days."""
    count = len(values)
    if count < 3:
        return None
    lags = np.arange(1, count)
    own, near = _autocorrelations(values, len(lags), fitted=1), lags <= max(count // 4, 1)
    weights = 1 - lags / count
    worth = count / max(1 + 2 * max(float(weights[near] @ own[0][near]), float(weights @ own[1])), 1.0)
    center = float(values.mean())
    half = float(-special.stdtrit(max(worth - 1, 1.0), 0.025)) * float(values.std(ddof=1)) / math.sqrt(worth)
    return Mean(center, center - half, center + half)
