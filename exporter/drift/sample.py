"""What the drift statistics read: counts of one column over the places that the reference fixed."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Sample:
    """Counts of one column's values that are neither missing nor invalid.

    bins: rows per bin (numeric: the reference's deciles; categorical: its categories, then unseen), length B.
    cells: numeric only, rows per cell, length 2K + 1: below knot 0, at knot 0, between knots 0 and 1, ...
    sums: numeric only, sum of the values per cell, in the column's unit.
    knots: numeric only, the K increasing knots.
    """

    def __init__(self, bins: Ints, cells: Ints | None = None, sums: Floats | None = None, knots: Floats | None = None):
        empty = np.empty(0)
        self.bins = bins
        self.cells = empty.astype(np.int64) if cells is None else cells
        self.sums = empty if sums is None else sums
        self.knots = empty if knots is None else knots
        self.rows = int(bins.sum())

    def measured_by(self, reference: Sample) -> Sample:
        """Return the same counts, with distances in the reference's standard deviations instead of their own."""
        same = Sample(self.bins, self.cells, self.sums, self.knots)
        if len(reference.cells) and reference.rows:
            same.__dict__["std"] = reference.std
        return same

    @cached_property
    def shares(self) -> Floats:
        """Share of the rows per bin; zeros where there are no rows."""
        return self.bins / max(self.rows, 1)

    @cached_property
    def cumulative(self) -> Ints:
        """Rows up to and with each cell."""
        return np.cumsum(self.cells)

    @property
    def mean(self) -> float:
        """Mean of the values, exact but for the rounding of sums."""
        return float(self.sums.sum() / self.rows) if self.rows else float("nan")

    @cached_property
    def places(self) -> Floats:
        """Mean of the values per cell; NaN where a cell has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(self.cells > 0, self.sums / self.cells, np.nan)
        at_knots = np.arange(len(self.cells)) % 2 == 1
        means[at_knots] = np.where(self.cells[at_knots] > 0, self.knots, np.nan)
        return means

    @cached_property
    def std(self) -> float:
        """Standard deviation (ddof 0), each value taken for the mean of its cell; 0 where all are in one cell."""
        if not self.rows:
            return float("nan")
        used = self.cells > 0
        if used.sum() == 1:
            return 0.0
        return float(np.sqrt(np.average((self.places[used] - self.mean) ** 2, weights=self.cells[used])))


def inverse_size(reference: Sample, current: Sample) -> float:
    """Return 1/n + 1/m: the variance of a difference of shares grows with it."""
    return 1 / reference.rows + 1 / current.rows
