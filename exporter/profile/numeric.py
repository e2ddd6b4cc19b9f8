"""Numeric columns: where a value falls between knots of the reference, and back from counts to a sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from exporter.drift.sample import Between
from exporter.drift.univariate import Sample
from exporter.profile.counts import Placed, ones, place_sum, read_sum
from exporter.rows import Bools, Floats, Ints
from exporter.threads import scratch

_PARTS = 2**30  # a position within a span is kept to this part of the span's width
_MOST_SPANS = 128
_ROUNDING = 1.5 * 2.0**52  # added to a float below 2**51 it leaves the nearest whole number in the last bits


class _NumericBins(NamedTuple):
    knots: Floats
    starts: Ints
    exact: bool
    spans: Ints


class NumericBins(_NumericBins):
    """Places for one numeric column with K knots.

    Layout: 2K + 1 cells (even: between knots, odd: at a knot), missing, invalid, S sums of positions within the spans,
    and the excess below knot 0 and above the last as whole units and parts of the range.
    starts: first cell of each of the reference's deciles. exact: every reference value is a knot. spans: the knots at
    which the S spans start, from knot 0 on; the last ends at the last knot. Rows between knots have a position in
    their span, rows at a knot have none.
    """

    @cached_property
    def size(self) -> int:
        return self.tails + 4

    @cached_property
    def missing(self) -> int:
        return 2 * len(self.knots) + 1

    @property
    def invalid(self) -> int:
        return self.missing + 1

    @cached_property
    def inner(self) -> int:
        """Place of the first span's sum."""
        return self.missing + 2

    @cached_property
    def tails(self) -> int:
        """Place of the first of the four numbers beyond the knots."""
        return self.inner + len(self.spans)

    @cached_property
    def range(self) -> float:
        """Unit of the excess: the distance between the outer knots, where there is one."""
        width = float(self.knots[-1]) - float(self.knots[0])
        return width if 0 < width < np.inf else max(abs(float(self.knots[0])), 1.0)

    def rest(self) -> None:
        """Forget what follows from the rest and is long."""
        for name in ("gaps", "offsets"):
            self.__dict__.pop(name, None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The decile bins' names in order: `02 [3, 7.5)`; a value that has a bin of its own is `02 = 3`."""
        low, names = "(-inf", list[str]()
        for number, start in enumerate([*self.starts[1:].tolist(), None]):
            if start is None:
                high, after = "inf)", ""
            elif start % 2:  # the cut is just below a knot
                knot = f"{self.knots[start // 2]:.6g}"
                high, after = f"{knot})", f"[{knot}"
            else:  # just above
                knot = f"{self.knots[start // 2 - 1]:.6g}"
                high, after = f"{knot}]", f"({knot}"
            alone = low.startswith("[") and high == f"{low[1:]}]"
            names.append(f"{number + 1:02d} " + (f"= {low[1:]}" if alone else f"{low}, {high}"))
            low = after
        return tuple(names)

    def settle(self) -> None:
        """Forget what is as long as the knots and can be worked out again."""
        for name in ("gaps", "offsets"):
            self.__dict__.pop(name, None)

    @cached_property
    def gaps(self) -> Floats:
        """Width of each cell between two knots."""
        return np.minimum(np.diff(self.knots), np.finfo(np.float64).max)

    @cached_property
    def offsets(self) -> Floats:
        """How far the low knot of each such cell is from the start of its span."""
        cells = np.diff(self.spans, append=len(self.knots) - 1)
        return np.asarray(self.knots[:-1] - np.repeat(self.ends.low, cells))

    @cached_property
    def cuts(self) -> Ints:
        """The knots at which the spans start and, behind the last span, end."""
        return np.append(self.spans, len(self.knots) - 1)

    @cached_property
    def ends(self) -> Spans:
        """What turns values into positions."""
        low = self.knots[self.spans]
        with np.errstate(over="ignore", divide="ignore"):
            width = self.knots[self.cuts[1:]] - low
            scale = _PARTS / width
        known = np.isfinite(width) & np.isfinite(scale)
        return Spans(np.where(known, low, 0.0), np.where(known, width, 0.0), np.where(known, scale, 0.0))


class Spans(NamedTuple):
    """For each span its low end, its width, and what a distance from the low end is multiplied with.

    Positions of a span that is too wide or too narrow for a float are 0.
    """

    low: Floats
    width: Floats
    scale: Floats


def spans_of(bins: NumericBins) -> Spans:
    """Return what turns values into positions."""
    return bins.ends


def positions(values: Floats, low: Floats, scale: Floats, out: Floats | None = None) -> Ints:
    """Return each value's position in its span as a whole number of parts, plus the bits of `_ROUNDING`.

    out: where to work, overwritten. So one pass serves rounding and conversion; `ROUNDED` is to be taken away a row.
    """
    away = np.subtract(values, low, out=out)
    np.multiply(away, scale, out=away)
    np.add(away, _ROUNDING, out=away)
    return away.view(np.int64)


ROUNDED = int(np.array(_ROUNDING).view(np.int64))


def fit(values: Floats, most: int) -> NumericBins:
    """Fix the bins on reference values without NaN; raise ValueError if there are none.

    Knots are all distinct values where there are at most `most`, else that many quantiles, and the deciles.
    """
    return fit_sorted(np.sort(values + 0.0), most)  # -0.0 is 0.0, whichever comes first


def fit_sorted(ordered: Floats, most: int) -> NumericBins:
    """Fix the bins as `fit` does on increasing values, none of them -0.0."""
    if not len(ordered):
        raise ValueError("no valid value in the reference")
    distinct, tenths = _different(ordered), deciles(ordered)
    exact = len(distinct) <= most
    if not exact:
        distinct = _different(ordered[np.linspace(0, len(ordered) - 1, most).round().astype(np.int64)])
    lacking = np.unique(tenths[distinct[np.minimum(distinct.searchsorted(tenths), len(distinct) - 1)] != tenths])
    knots = np.insert(distinct, distinct.searchsorted(lacking), lacking)
    return NumericBins(knots, _decile_starts(knots, tenths), exact, cut_spans(knots))


def _different(ordered: Floats) -> Floats:
    """Return the distinct ones of increasing values."""
    found: Floats = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return found


def deciles(ordered: Floats) -> Floats:
    """Return minimum, deciles and maximum of increasing values, to the last bit as `np.quantile`, which would sort."""
    at = np.linspace(0, 1, 11) * (len(ordered) - 1)
    below = np.floor(at).astype(np.int64)
    low, high, part = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)], at - below
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
    return found


def cut_spans(knots: Floats) -> Ints:
    """Cut the knots into at most 128 spans: a wide cell is one of its own, many narrow ones share one.

    Shares of the sum of the roots of the widths: as narrow cells lose little by sharing, and wide ones much.
    """
    cells = len(knots) - 1
    if cells <= _MOST_SPANS:
        return np.arange(cells, dtype=np.int64)
    work = scratch("cells", 2 * len(knots))
    half = np.divide(knots, 2, out=work[len(knots) :])
    root = np.subtract(half[1:], half[:-1], out=work[:cells])
    share = half[:-1]
    np.sqrt(root, out=root)
    total = max(root.sum(), np.finfo(np.float64).tiny)
    np.cumsum(root, out=share)
    root /= 2
    share -= root
    share /= total
    share *= _MOST_SPANS
    np.floor(share, out=share)
    return np.append(0, np.flatnonzero(share[1:] != share[:-1]) + 1).astype(np.int64)


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
    knots = np.concatenate([below, bins.knots, above])
    return NumericBins(knots, starts, bins.exact, cut_spans(knots))


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
    row, spans = between[inner], spans_of(bins)
    span = np.searchsorted(bins.spans, left[inner], side="right") - 1
    part = positions(values[row], spans.low[span], spans.scale[span]) - ROUNDED
    below, above = between[left < 0], between[left == len(bins.knots) - 1]
    return [
        ones(rows, where.astype(np.int64)),
        Placed(row, bins.inner + span, part),
        *place_sum(below, bins.tails, (bins.knots[0] - values[below]) / bins.range),
        *place_sum(above, bins.tails + 2, (values[above] - bins.knots[-1]) / bins.range),
    ]


def sample(bins: NumericBins, vector: Ints, again: Callable[[], Ints] | None = None) -> Sample:
    """Turn a column's slice of a profile into what the drift statistics read. again: reads that slice anew."""
    knots, tails = bins.knots, bins.tails
    cells = vector[: bins.missing]
    share, inner = _inside(bins, cells[2:-1:2], vector[bins.inner : tails])
    below = float(knots[0] * cells[0] - read_sum(vector, tails) * bins.range)
    above = float(knots[-1] * cells[-1] + read_sum(vector, tails + 2) * bins.range)
    between = Between(bins.spans, lambda: bins.gaps, share, inner, below, above)
    anew = None if again is None else lambda: again()[: bins.missing]
    return Sample(np.add.reduceat(cells, bins.starts), cells, None, knots, between, anew)


def _inside(bins: NumericBins, rows: Ints, parts: Ints) -> tuple[Floats, float]:
    """Return how far in between the knots the rows of each span are, and the sum of the values of all.

    In all cells of a span the mean is as far in: so a cell that is a span of its own has the sum of its rows, and a
    span has it whatever its cells.
    """
    if not rows.any():
        return np.zeros(len(bins.spans)), 0.0
    ends, real = bins.ends, rows.astype(np.float64)
    own, away, room = (np.add.reduceat(one, bins.spans) for one in (real, real * bins.offsets, real * bins.gaps))
    share = np.zeros(len(room))
    np.divide(parts / _PARTS * ends.width - away, room, out=share, where=room > 0)
    np.clip(share, 0, 1, out=share)
    return share, float((own * ends.low + away + room * share).sum())
