"""Drift detection method: an error rate that rises above its lowest value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.rows import Floats

LARGEST = 1e6


class Ddm(NamedTuple):
    """Settings: threshold in standard deviations of the error rate; min_rows: judged when there are more rows."""

    threshold: float = 3.0
    min_rows: float = 30.0


class Memory(NamedTuple):
    """rows: so far. rate: errors / rows. lowest, spread: rate and its standard deviation where their sum was least.

    lowest is NaN until the first day is judged.
    """

    rows: Floats
    rate: Floats
    lowest: Floats
    spread: Floats


def begin(settings: Ddm) -> Memory:
    """Return an empty memory."""
    return Memory(np.zeros(()), np.zeros(()), np.full((), np.nan), np.zeros(()))


def after(settings: Ddm, values: Floats, weights: Floats) -> Memory:
    """Return a memory whose rate, and lowest rate, is that of all rows of the reference."""
    rows, rate = np.asarray(weights.sum()), np.asarray(np.average(values, weights=weights))
    return Memory(rows, rate, rate, _spread(rate, rows))


def update(settings: Ddm, memory: Memory, x: Floats, weight: Floats) -> tuple[Memory, Floats]:
    """Add a day's error rate and rows; only a rise is drift (Gama et al. 2004).

    Score: (rate + its standard deviation - lowest rate) / standard deviation at the lowest. With days of one row what
    river's DDM does. The rate after a larger day is exact, and judged once, not per row.
    """
    rows = memory.rows + weight
    rate = memory.rate + weight / rows * (x - memory.rate)
    spread = _spread(rate, rows)
    judged = rows > settings.min_rows
    better = judged & ~(rate + spread > memory.lowest + memory.spread)
    lowest, least = np.where(better, rate, memory.lowest), np.where(better, spread, memory.spread)
    rise = rate + spread - lowest
    ratio = rise / np.where(least > 0, least, 1.0)
    score = np.where(least > 0, np.minimum(ratio, LARGEST), np.where(rise > 0, LARGEST, 0.0))
    return Memory(rows, rate, lowest, least), np.where(judged, score, np.nan)


def _spread(rate: Floats, rows: Floats) -> Floats:
    spread: Floats = np.sqrt(np.maximum(rate * (1 - rate), 0) / rows)
    return spread
