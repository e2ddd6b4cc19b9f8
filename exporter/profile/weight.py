"""Sample weights in whole units, a 4,096th of the reference's mean: so weighted counts and sums are exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.profile.counts import Placed
from exporter.rows import Floats, Ints

_PER_MEAN = 2**12
_MOST = 2**22  # units: 1,024 times the mean


class WeightBins(NamedTuple):
    """Where weights stand, and how much one whole unit is. One place: the sum of their squares, in units."""

    column: str
    unit: float

    @property
    def size(self) -> int:
        return 1


def fit(column: str, weights: Floats) -> WeightBins:
    """Fix the unit on the reference's weights; raises ValueError where none of them is above 0."""
    known = weights[weights > 0]
    if not len(known):
        raise ValueError(f"column {column!r} has no weight above 0 in the reference")
    return WeightBins(column, float(known.mean()) / _PER_MEAN)


def units(bins: WeightBins, weights: Floats) -> Ints:
    """Return weights in whole units; 0 where there is none, and of one below 0."""
    known = np.where(weights > 0, weights, 0.0) / bins.unit
    return np.rint(np.minimum(known, _MOST)).astype(np.int64)


def place(own: Ints) -> list[Placed]:
    """Add up the squares of the weights (in units) of rows."""
    row = np.arange(len(own), dtype=np.int64)
    return [Placed(row, np.zeros(len(own), np.int64), own**2)]
