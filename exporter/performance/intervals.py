"""95 % intervals of metrics from counts; rows count as independent.

Wilson's for shares; for other bounded metrics Wilson's with the rows that their standard error is worth (Korn and
Graubard 1998); DeLong's variance for areas; the normal approximation for means.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from exporter.performance.tables import ScoreTable

Z = 1.959963984540054  # of the normal distribution at 97.5 %
Interval = tuple[float, float]


class Estimate(NamedTuple):
    """A metric's value with its interval; both ends None where none is known."""

    value: float
    lower: float | None = None
    upper: float | None = None

    @property
    def error(self) -> float | None:
        """The standard error that the interval stands for."""
        return None if self.lower is None or self.upper is None else (self.upper - self.lower) / (2 * Z)


def wilson(part: float, whole: float) -> Interval | None:
    """Return Wilson's score interval (1927) of a share of independent rows; none without rows."""
    if whole <= 0:
        return None
    share, spread = part / whole, Z**2 / whole
    center = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(max(share * (1 - share) / whole + spread / (4 * whole), 0.0))
    return (max(center - half, 0.0) if part > 0 else 0.0, min(center + half, 1.0) if part < whole else 1.0)


def bounded(value: float, error: float, rows: float, low: float = 0.0, high: float = 1.0) -> Interval | None:
    """Return the interval of a metric between `low` and `high` with a standard error.

    It is Wilson's of as many rows as make a share with this value and error, at most `rows` where the error is 0.
    """
    width = high - low
    share = min(max((value - low) / width, 0.0), 1.0)
    variance = (error / width) ** 2
    worth = share * (1 - share) / variance if variance > 0 else rows
    found = wilson(share * min(worth, 1e15), min(worth, 1e15)) if worth > 0 else wilson(share * rows, rows)
    return (low + width * found[0], low + width * found[1]) if found is not None else None


def mean(total: float, squares: float, rows: float) -> Interval | None:
    """Return the interval of a mean, from the sum of the values and of their squares; none below two rows."""
    if rows < 2:
        return None
    center = total / rows
    variance = max(squares / rows - center**2, 0.0) * rows / (rows - 1)
    half = Z * math.sqrt(variance / rows)
    return center - half, center + half


def jaccard(hits: float, misses: float) -> Interval | None:
    """Return the interval of 2 h / (2 h + m), which grows with the share h / (h + m)."""
    found = wilson(hits, hits + misses)
    return None if found is None else (2 * found[0] / (1 + found[0]), 2 * found[1] / (1 + found[1]))


def area_error(table: ScoreTable) -> float | None:
    """Return the standard error of the area under the ROC curve (DeLong, DeLong and Clarke-Pearson 1988)."""
    positive, negative = (side.astype(float) for side in (table.positive, table.negative))
    p, n = float(positive.sum()), float(negative.sum())
    if p < 2 or n < 2:
        return None
    below = (negative.cumsum() - negative / 2) / n  # of a positive in the cell: the negatives that it beats
    above = (positive.sum() - positive.cumsum() + positive / 2) / p
    area = float(positive @ below) / p
    of_positive = float(positive @ (below - area) ** 2) / (p - 1)
    of_negative = float(negative @ (above - area) ** 2) / (n - 1)
    return math.sqrt(of_positive / p + of_negative / n)


def area(value: float, table: ScoreTable) -> Interval | None:
    """Return the interval of the area under a ROC curve."""
    error = area_error(table)
    least = float(min(table.positive.sum(), table.negative.sum()))
    return None if error is None else bounded(value, error, least)


def difference(current: Estimate, base: Estimate) -> Interval | None:
    """Return the interval of current - base, both from rows of their own (MOVER: Zou and Donner 2008)."""
    if current.lower is None or current.upper is None or base.lower is None or base.upper is None:
        return None
    apart = current.value - base.value
    low = math.hypot(current.value - current.lower, base.upper - base.value)
    high = math.hypot(current.upper - current.value, base.value - base.lower)
    return apart - low, apart + high
