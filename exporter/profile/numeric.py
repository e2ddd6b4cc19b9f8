"""Numeric columns: where a value falls between knots of the reference, and back from counts to a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.drift.univariate import Sample
from exporter.profile.counts import Placed, ones, place_sum, read_sum
from exporter.rows import Bools, Floats, Ints

_CELL_PARTS = 2**30  # a position within a cell is kept to this part of the cell's width


class NumericBins(NamedTuple):
    """Places for one numeric column with K knots.

    Layout: 2K + 1 cells (even: between knots, odd: at a knot), missing, invalid, K - 1 sums of positions within the
    inner cells, and the excess below knot 0 and above the last as whole units and parts of the range.
    starts: first cell of each of the reference's deciles. exact: every reference value is a knot.
    """

    knots: Floats
    starts: Ints
    exact: bool

    @property
    def size(self) -> int:
        return self.missing + 2 + len(self.knots) - 1 + 4

    @property
    def missing(self) -> int:
        return 2 * len(self.knots) + 1

    @property
    def invalid(self) -> int:
        return self.missing + 1

    @property
    def _inner(self) -> int:
        return self.missing + 2

    @property
    def _tails(self) -> int:
        return self.size - 4

    @property
    def _range(self) -> float:
        width = float(self.knots[-1]) - float(self.knots[0])
        return width if 0 < width < np.inf else max(abs(float(self.knots[0])), 1.0)


def fit(values: Floats, most: int) -> NumericBins:
    """Fix the bins on reference values without NaN; raise ValueError if there are none.

    Knots are all distinct values where there are at most `most`, else that many quantiles, and the deciles.
    """
    if not len(values):
        raise ValueError("no valid value in the reference")
    values = values + 0.0  # -0.0 is 0.0, whichever comes first
    distinct = np.unique(values)
    deciles = np.quantile(values, np.linspace(0, 1, 11))
    exact = len(distinct) <= most
    if not exact:
        ranks = np.linspace(0, len(values) - 1, most).round().astype(np.int64)
        distinct = np.sort(values)[ranks]
    knots = np.unique(np.concatenate([distinct, deciles]))
    return NumericBins(knots, _decile_starts(knots, deciles), exact)


def beyond(bins: NumericBins) -> NumericBins:
    """Add knots below and above those of a probability, a step of 1/8 of the logit apart; within they stay.

    So rows with scores that the reference never had keep their order. Knots that reach 0 or 1 have no beyond.
    """
    logits = np.arange(-160, 161) / 8
    steps = 1 / (1 + np.exp(-logits))
    inside = bins.knots[0] > 0 and bins.knots[-1] < 1
    below = steps[inside & (steps < bins.knots[0])]
    above = steps[inside & (steps > bins.knots[-1])]
    starts = np.where(bins.starts > 0, bins.starts + 2 * len(below), 0)
    return NumericBins(np.concatenate([below, bins.knots, above]), starts, bins.exact)


def _decile_starts(knots: Floats, deciles: Floats) -> Ints:
    """Cut below each inner decile; where deciles coincide, below and above, so that the value has its own bin."""
    values, repeats = np.unique(deciles, return_counts=True)
    at = 2 * np.searchsorted(knots, values) + 1
    inner = (repeats > 1) | ((values > deciles[0]) & (values < deciles[-1]))
    return np.unique(np.concatenate([[0], at[inner], at[repeats > 1] + 1])).astype(np.int64)


def place(bins: NumericBins, values: Floats, valid: Bools) -> list[Placed]:
    """Place float values of all rows: NaN is missing; where `valid` is False the value is invalid."""
    rows = np.arange(len(values), dtype=np.int64)
    known = valid & ~np.isnan(values)
    index = np.searchsorted(bins.knots, values).astype(np.int64)
    at_knot = bins.knots[np.minimum(index, len(bins.knots) - 1)] == values
    where = np.where(known, 2 * index + at_knot, np.where(valid, bins.missing, bins.invalid))
    between = rows[known & ~at_knot]
    left = index[between] - 1
    inner = (left >= 0) & (left < len(bins.knots) - 1)
    row, start = between[inner], left[inner]
    low, high = bins.knots[start], bins.knots[start + 1]
    part = np.rint((values[row] - low) / (high - low) * _CELL_PARTS).astype(np.int64)
    tails = bins._tails
    below, above = between[left < 0], between[left == len(bins.knots) - 1]
    return [
        ones(rows, where.astype(np.int64)),
        Placed(row, bins._inner + start, part),
        *place_sum(below, tails, (bins.knots[0] - values[below]) / bins._range),
        *place_sum(above, tails + 2, (values[above] - bins.knots[-1]) / bins._range),
    ]


def sample(bins: NumericBins, vector: Ints) -> Sample:
    """Turn a column's slice of a profile into what the drift statistics read."""
    count = len(bins.knots)
    cells = vector[: 2 * count + 1]
    sums = np.empty(2 * count + 1)
    sums[1::2] = bins.knots * cells[1::2]
    inside = vector[bins._inner : bins._tails] / _CELL_PARTS
    sums[2:-1:2] = bins.knots[:-1] * cells[2:-1:2] + np.diff(bins.knots) * inside
    tails = bins._tails
    sums[0] = bins.knots[0] * cells[0] - read_sum(vector, tails) * bins._range
    sums[-1] = bins.knots[-1] * cells[-1] + read_sum(vector, tails + 2) * bins._range
    return Sample(np.add.reduceat(cells, bins.starts), cells, sums, bins.knots)


def quantile(sample: Sample, q: float) -> float:
    """Return the smallest value with at least the share q of the rows at or below it, to within its cell."""
    cell = int(np.searchsorted(sample.cumulative, max(q * sample.rows, 1)))
    return float(sample.places[cell])


def bin_names(bins: NumericBins) -> list[str]:
    """Name the decile bins in order: `02 [3, 7.5)`; a value that has a bin of its own is `02 = 3`."""
    low, names = "(-inf", []
    for number, start in enumerate([*bins.starts[1:].tolist(), None]):
        if start is None:
            high, after = "inf)", ""
        elif start % 2:  # the cut is just below a knot
            knot = f"{bins.knots[start // 2]:.6g}"
            high, after = f"{knot})", f"[{knot}"
        else:  # just above
            knot = f"{bins.knots[start // 2 - 1]:.6g}"
            high, after = f"{knot}]", f"({knot}"
        alone = low.startswith("[") and high == f"{low[1:]}]"
        names.append(f"{number + 1:02d} " + (f"= {low[1:]}" if alone else f"{low}, {high}"))
        low = after
    return names
