"""What the drift statistics read: counts of one column over the places that the reference fixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FACTS = ("mean", "std", "spread", "quantiles", "only_at_knots")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHARES = np.array(QUANTILES)


class Between(NamedTuple):
    """Where rows stand that are not at a knot: in all cells of a span as far in between the knots.

    starts: of each span the first of its cells, which are counted from knot 0 on. widths: gives the width of each of
    the K - 1 cells. share: of each span how far in its rows are, 0 to 1. inner, below, above: sums of the values
    between the knots, and beyond them.
    """

    starts: Ints
    widths: Callable[[], Floats]
    share: Floats
    inner: float
    below: float
    above: float

    @property
    def gaps(self) -> Floats:
        """Width of each of the K - 1 cells."""
        return self.widths()


class Sample:
    """Counts of one column's values that are neither missing nor invalid. They never change.

    bins: rows per bin (numeric: the reference's deciles; categorical: its categories, then unseen), length B.
    cells: numeric only, rows per cell, length 2K + 1: below knot 0, at knot 0, between knots 0 and 1, ...
    sums: numeric only, sum of the values per cell, in the column's unit; or `between`, which says the same.
    knots: numeric only, the K increasing knots. again: reads the cells anew; then they need not be kept.
    """

    def __init__(
        self,
        bins: Ints,
        cells: Ints | None = None,
        sums: Floats | None = None,
        knots: Floats | None = None,
        between: Between | None = None,
        again: Callable[[], Ints] | None = None,
    ):
        empty = np.empty(0)
        self.bins = bins
        self.__dict__["cells"] = empty.astype(np.int64) if cells is None else cells
        self._again = again
        self.knots = empty if knots is None else knots
        self.between = between
        self.rows = int(np.add.reduce(bins))
        self._apart: tuple[Sample, Floats, Floats] | None = None
        if between is None:
            self.__dict__["sums"] = empty if sums is None else sums

    def measured_by(self, reference: Sample) -> Sample:
        """Return the same counts, with distances in the reference's standard deviations instead of their own."""
        sums = self.sums if self.between is None else None
        same = Sample(self.bins, self.cells, sums, self.knots, self.between, self._again)
        if len(reference.cells) and reference.rows:
            same.__dict__["std"] = reference.std
        return same

    def facts(self) -> dict[str, Any]:
        """Return what is known of it by now and takes no room, to be given to the same counts later on."""
        return {name: self.__dict__[name] for name in _FACTS if name in self.__dict__}

    def settle(self) -> None:
        """Work out mean and quantiles, and forget what is as long as the cells."""
        if self.rows:
            _ = self.mean, self.quantiles
        self._apart = None
        long = ("cumulative", "at_knots", "at_gaps", "middle", "places")
        for name in (*long, *(("sums",) if self.between else ()), *(("cells",) if self._again else ())):
            self.__dict__.pop(name, None)

    @cached_property
    def cells(self) -> Ints:
        """Rows per cell."""
        assert self._again is not None
        return self._again()

    @cached_property
    def sums(self) -> Floats:
        """Sum of the values per cell."""
        return self._sums()

    def _sums(self) -> Floats:
        assert self.between is not None
        own, sums = self.between, np.empty(len(self.cells))
        sums[1::2] = self.knots * self.cells[1::2]
        if len(own.gaps):
            rows = self.cells[2:-1:2]
            share = np.repeat(own.share, np.diff(own.starts, append=len(rows)))
            sums[2:-1:2] = rows * self.knots[:-1] + rows * own.gaps * share
        sums[0], sums[-1] = own.below, own.above
        return sums

    @cached_property
    def weights(self) -> Floats:
        """Rows per bin, as floats."""
        return self.bins.astype(np.float64)

    @cached_property
    def has_unseen(self) -> bool:
        """Whether the last bin is for categories that this sample, a reference, never saw."""
        return not self.cells.size and self.bins.size > 1 and not self.bins[-1]

    @cached_property
    def once(self) -> int:
        """Rows whose category this sample, a reference, saw once: what the unseen share is estimated from.

        Good and Turing (Good 1953): the share of all categories that were not seen is about this many over its rows.
        """
        return int((self.bins == 1).sum()) if self.has_unseen else 0

    @cached_property
    def shares(self) -> Floats:
        """Share of the rows per bin; zeros where there are no rows."""
        return self.bins / max(self.rows, 1)

    @cached_property
    def cumulative(self) -> Ints:
        """Rows up to and with each cell."""
        return np.cumsum(self.cells)

    @cached_property
    def at_knots(self) -> Floats:
        """Share of the rows up to and with each knot, length K."""
        return self.cumulative[1::2] / self.rows

    @cached_property
    def at_gaps(self) -> Floats:
        """Share of the rows up to and with the cell after each knot but the last, length K - 1."""
        return self.at_knots[:-1] if self.only_at_knots else self.cumulative[2:-1:2] / self.rows

    def apart(self, reference: Sample) -> tuple[Floats, Floats]:
        """Return how far shares below are from those of a reference at each knot, and in the cells after them.

        Several statistics read it: it is kept for the reference that was asked for last.
        """
        if self._apart is None or self._apart[0] is not reference:
            at_knots = np.abs(reference.at_knots - self.at_knots)
            at_gaps = at_knots[:-1]
            if not (reference.only_at_knots and self.only_at_knots):
                at_gaps = np.abs(reference.at_gaps - self.at_gaps)
            self._apart = (reference, at_knots, at_gaps)
        return self._apart[1:]

    @cached_property
    def middle(self) -> Floats:
        """Share of the rows below the middle of the rows between two knots, length K - 1."""
        if self.only_at_knots:
            return self.at_knots[:-1]
        below = self.cumulative[:-1:2] / self.rows  # just left of each knot
        upto = self.cumulative[1::2] / self.rows
        return np.asarray((upto[:-1] + below[1:]) / 2)

    @cached_property
    def spread(self) -> float:
        """Integral of the root of F (1 - F), F being `middle`: of one row's share of what is below a value."""
        found = 1 - self.middle
        found *= self.middle
        np.sqrt(found, out=found)
        found *= np.diff(self.knots)
        return float(found.sum())

    @cached_property
    def only_at_knots(self) -> bool:
        """Whether no row is anywhere else."""
        return not self.cells[::2].any()

    @cached_property
    def mean(self) -> float:
        """Mean of the values, exact but for the rounding of sums."""
        if not self.rows:
            return float("nan")
        own = self.between
        if own is None:
            return float(self.sums.sum() / self.rows)
        return (float((self.knots * self.cells[1::2]).sum()) + own.inner + own.below + own.above) / self.rows

    @cached_property
    def quantiles(self) -> list[float]:
        """For each of `QUANTILES` the smallest value with so many rows at or below it, to within its cell."""
        ranks = np.maximum(_SHARES * self.rows, 1)
        return [self.place(cell) for cell in self.cumulative.searchsorted(ranks).tolist()]

    def place(self, cell: int) -> float:
        """Return the mean of the values of a cell that has rows, as `places` has it."""
        own, rows = self.between, self.cells[cell]
        if own is None:
            return float(self.places[cell])
        if cell % 2:
            return float(self.knots[cell // 2])
        if cell in (0, len(self.cells) - 1):
            return float((own.below if cell == 0 else own.above) / rows)
        left = cell // 2 - 1
        share = own.share[np.searchsorted(own.starts, left, side="right") - 1]
        return float((rows * self.knots[left] + rows * own.gaps[left] * share) / rows)

    @cached_property
    def places(self) -> Floats:
        """Mean of the values per cell; NaN where a cell has none."""
        return self._places(self.sums)

    def _places(self, sums: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(self.cells > 0, sums / self.cells, np.nan)
        at_knots = np.arange(len(self.cells)) % 2 == 1
        means[at_knots] = np.where(self.cells[at_knots] > 0, self.knots, np.nan)
        return means

    @cached_property
    def std(self) -> float:
        """Standard deviation (ddof 0), each value taken for the mean of its cell; 0 where all are in one cell."""
        if not self.rows:
            return float("nan")
        used = self.cells > 0
        if np.count_nonzero(used) == 1:
            return 0.0
        if self.between is not None:
            return float(np.sqrt(self._squares(self.between) / self.rows))
        return float(np.sqrt(np.average((self.places[used] - self.mean) ** 2, weights=self.cells[used])))

    def _squares(self, own: Between) -> float:
        """Return the sum of the squared distances from the mean."""
        away = np.subtract(self.knots, self.mean)
        away *= away
        away *= self.cells[1::2]
        total = float(away.sum())
        if not self.only_at_knots:
            rows = self.cells[2:-1:2]
            place = np.repeat(own.share, np.diff(own.starts, append=len(rows)))
            place *= own.gaps
            place += self.knots[:-1]
            place -= self.mean
            place *= place
            place *= rows
            total += float(place.sum())
            total += sum(
                float(self.cells[at]) * (self.place(at) - self.mean) ** 2
                for at in (0, len(self.cells) - 1)
                if self.cells[at]
            )
        return total


def inverse_size(reference: Sample, current: Sample) -> float:
    """Return 1/n + 1/m: the variance of a difference of shares grows with it."""
    return 1 / reference.rows + 1 / current.rows
