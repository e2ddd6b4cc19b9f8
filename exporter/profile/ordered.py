"""Numbers -> counts of one group of them, by sorting: what `place` and `gather` give, many times faster.

Sorting first and then searching the knots in the rows beats every other way (docs/performance.md); all of it is NumPy's
own code, which lets other threads run.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from exporter.profile.counts import Counts, at_odd_places, joined, short, sparse, whole_and_parts
from exporter.profile.numeric import ROUNDED, NumericBins, deciles, fit_sorted, positions
from exporter.rows import Floats, Ints, fill, is_number, numeric
from exporter.threads import scratch

_BLOCK = 65_536  # values whose positions are worked out at once: they stay in the processor's cache


def count_numbers(bins: NumericBins, values: Floats, invalid: int = 0) -> Counts:
    """Count values, NaN missing and infinite ones invalid; they are sorted in place. invalid: more such rows."""
    values.sort()
    first, last, known = _finite(values)
    others = len(values) - known, invalid + first + known - last
    own = values[first:last]
    return (_by_rows if 4 * len(own) < len(bins.knots) else _by_knots)(bins, own, others)


def _finite(values: Floats) -> tuple[int, int, int]:
    """Return where finite ones of increasing values start and end, and where NaN starts."""
    if len(values) and values[0] > -np.inf and values[-1] < np.inf:
        return 0, len(values), len(values)
    first, last, known = values.searchsorted(-np.inf, "right"), values.searchsorted(np.inf), values.searchsorted(np.nan)
    return int(first), int(last), int(known)


def _behind(bins: NumericBins, own: Floats, sums: Ints, others: tuple[int, int]) -> Ints:
    """Return the part of the counts of increasing values that is behind the cells.

    sums: of the positions of each span. others: missing and invalid rows.
    """
    found = np.zeros(bins.size - bins.missing, np.int64)
    found[:2] = others
    found[2:-4] = sums
    if len(own) and (own[0] < bins.knots[0] or own[-1] > bins.knots[-1]):
        found[-4:] = _beyond(bins, own)
    return found


def learn_numbers(array: pa.ChunkedArray, most: int) -> tuple[NumericBins, Counts]:
    """Fix the bins on a column of numbers, as `numeric.fit`, and count it; it is sorted once for both.

    Raises ValueError where it has no value.
    """
    values, invalid = scratch("values", len(array)), 0
    if is_number(array.type):
        fill(array, values)
    else:
        column = numeric(array)
        values = column.values[column.valid]
        invalid = len(array) - len(values)
    np.add(values, 0.0, out=values)  # -0.0 is 0.0, whichever comes first
    values.sort()
    first, last, known = _finite(values)
    others = len(values) - known, invalid + first + known - last
    own = values[first:last]
    bins = fit_sorted(own, most)
    return bins, (_by_runs if bins.exact else _by_knots)(bins, own, others)


def _by_knots(bins: NumericBins, own: Floats, others: tuple[int, int]) -> Counts:
    """Count increasing values by searching the knots in them. others: as of `_behind`."""
    left, at, rows_at = _found(bins.knots, own)
    vector = scratch("cells", bins.size).view(np.int64)
    _cells(left, at, rows_at, len(own), vector[: bins.missing])
    sums = _sums(bins, own, left[bins.cuts])
    if len(at):  # rows at a knot have no position
        sums -= _sums(bins, bins.knots[at], at.searchsorted(bins.cuts), rows_at)
    vector[bins.missing :] = _behind(bins, own, sums, others)
    return short(vector)


def _sums(bins: NumericBins, values: Floats, bounds: Ints, weight: Ints | None = None) -> Ints:
    """Return the sums of the positions of increasing values: those of span s are from bounds[s] up to bounds[s + 1].

    weight: how many rows have each value; None: one.
    """
    total = np.zeros(len(bins.spans), np.int64)
    first, last = int(bounds[0]), int(bounds[-1])
    for start in range(first, last, _BLOCK):
        end = min(start + _BLOCK, last)
        upto = (np.clip(bounds, start, end) if last - first > _BLOCK else bounds) - start
        rows = upto[1:] - upto[:-1]
        low, scale = np.repeat(bins.ends.low, rows), np.repeat(bins.ends.scale, rows)
        work = scratch("positions", end - start + 1)
        parts = positions(values[start:end], low, scale, work[:-1])
        if weight is not None:
            parts -= ROUNDED
            parts *= weight[start:end]
        work[-1] = 0.0  # so that spans behind all of these may start here
        total += np.where(rows > 0, np.add.reduceat(work.view(np.int64), upto[:-1]), 0)
    if weight is None:
        total -= (bounds[1:] - bounds[:-1]) * ROUNDED  # both may have gone around 2**64; their difference is right
    return total


def sorted_cells(knots: Floats, own: Floats) -> tuple[Ints, Ints]:
    """Return the rows per cell of increasing values, at least one, and how many are below each knot."""
    left, at, rows_at = _found(knots, own)
    return _cells(left, at, rows_at, len(own), np.empty(2 * len(knots) + 1, np.int64)), left


def _found(knots: Floats, own: Floats) -> tuple[Ints, Ints, Ints]:
    """Return how many increasing values are below each knot; the knots that some are at, and how many are."""
    left = own.searchsorted(knots)
    upto = int(left.searchsorted(len(own)))  # knots from here on are above all values
    at = np.flatnonzero(own[left[:upto]] == knots[:upto])
    return left, at, own.searchsorted(knots[at], "right") - left[at]


def _cells(left: Ints, at: Ints, rows_at: Ints, rows: int, cells: Ints) -> Ints:
    """Fill in the rows per cell: left are below each knot, rows_at are at the knots `at`."""
    cells[1::2] = 0
    cells[0], cells[-1] = left[0], rows - left[-1]
    np.subtract(left[1:], left[:-1], out=cells[2:-1:2])
    cells[2 * at + 1] = rows_at
    cells[2 * at + 2] -= rows_at
    return cells


def _by_runs(bins: NumericBins, own: Floats, others: tuple[int, int]) -> Counts:
    """Count increasing values that the bins were fitted on, each of them a knot; the other knots are deciles."""
    new = own[1:] != own[:-1]
    if new.all():
        amount = np.ones(len(own), np.int64)
    else:
        ends = np.append(np.flatnonzero(new) + 1, len(own))
        amount = ends.copy()
        amount[1:] -= ends[:-1]
    if len(amount) < len(bins.knots):
        found = own[np.minimum(own.searchsorted(between := deciles(own)), len(own) - 1)]
        at = bins.knots.searchsorted(np.unique(between[found != between]))
        amount = np.insert(amount, at - np.arange(len(at)), 0)
    behind = _behind(bins, own, np.zeros(len(bins.spans), np.int64), others)
    return joined([at_odd_places(amount), sparse(behind)], (0, bins.missing))


def _by_rows(bins: NumericBins, own: Floats, others: tuple[int, int]) -> Counts:
    """Count few increasing values by searching them in the knots; result as `_by_knots`."""
    index = bins.knots.searchsorted(own)
    at = bins.knots[np.minimum(index, len(bins.knots) - 1)] == own
    place = 2 * index + at
    starts = _starts(place)
    cells = Counts(place[starts], np.diff(starts, append=len(own)))
    between = np.flatnonzero(~at)
    index = index[between] - 1  # of the knot below; -1 has none
    sums = _sums(bins, own[between], index.searchsorted(bins.cuts))
    return joined([cells, sparse(_behind(bins, own, sums, others))], (0, bins.missing))


def _starts(ordered: Floats | Ints) -> Ints:
    """Return where runs of equal numbers start."""
    if not len(ordered):
        return np.empty(0, np.int64)
    found = np.flatnonzero(ordered[1:] != ordered[:-1])
    found += 1
    return np.concatenate([[0], found])


def _beyond(bins: NumericBins, own: Floats) -> Ints:
    """Return the excess below the first knot and above the last, as whole units and parts."""
    knots = bins.knots
    below = own[: own.searchsorted(knots[0])] if len(own) and own[0] < knots[0] else own[:0]
    above = own[own.searchsorted(knots[-1], "right") :] if len(own) and own[-1] > knots[-1] else own[:0]
    with np.errstate(over="ignore"):
        pairs = (knots[0] - below) / bins.range, (above - knots[-1]) / bins.range
    return np.array([int(part.sum()) for pair in pairs for part in whole_and_parts(pair)], np.int64)
