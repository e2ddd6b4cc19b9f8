"""One column's rows -> its counts, by groups: what `place` and `gather` give, many times faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.profile.categorical import CategoryBins
from exporter.profile.categorical import fit as fit_categories
from exporter.profile.categorical import place as place_categories
from exporter.profile.columns import Column, Pieces
from exporter.profile.counts import Counts, Placed, gather, keep_rows, sparse
from exporter.profile.numeric import NumericBins, place
from exporter.profile.ordered import count_numbers
from exporter.rows import (
    Bools,
    CategoryColumn,
    Floats,
    Ints,
    NumericColumn,
    categorical,
    coded,
    fill,
    is_number,
    numeric,
)
from exporter.threads import scratch

_FEW = 500  # rows a group below which all groups are counted together


class Cut(NamedTuple):
    """Rows cut into groups: group g has the rows order[bounds[g]:bounds[g + 1]] of a batch.

    order: None where it is all rows as they are.
    """

    order: Ints | None
    bounds: Ints

    @property
    def groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def rows(self) -> int:
        return int(self.bounds[-1])


def cut(key: Ints, kept: Bools) -> tuple[Ints, Cut]:
    """Cut the kept rows by key; return the keys that they have, increasing, and the groups, rows in their order."""
    rows = None if kept.all() else np.flatnonzero(kept)
    own = key if rows is None else key[rows]
    if (own[1:] < own[:-1]).any():
        keys = np.unique(own)
        small = np.searchsorted(keys, own).astype(np.uint16 if len(keys) <= 2**16 else np.int64)
        order = np.argsort(small, kind="stable")  # of 16 bits by radix: one pass
        own, rows = own[order], order if rows is None else rows[order]
    starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]])) if len(own) else np.empty(0, np.int64)
    return own[starts], Cut(rows, np.append(starts, len(own)).astype(np.int64))


def learn_categories(array: pa.ChunkedArray) -> tuple[CategoryBins, Counts]:
    """Fix the bins on a column of categories, as `categorical.fit`, and count it."""
    column = categorical(array)
    bins = fit_categories(column.names, column.codes)
    names, codes = _coded(column)
    return bins, count_categories(bins, names, np.bincount(codes, minlength=len(names)))


def count_categories(bins: CategoryBins, names: Sequence[str | None], rows: Ints) -> Counts:
    """Count categories. rows: how many are of each of the names; None is missing; a name may come twice."""
    index = {name: i for i, name in enumerate(bins.categories)}
    place = [bins.missing if name is None else index.get(name, bins.unseen) for name in names]
    vector = np.zeros(bins.size, np.int64)
    np.add.at(vector, np.array(place, np.int64), rows)
    return sparse(vector)


def groups_of(cut: Cut, rows: int) -> Ints:
    """Return each row's group, -1 where it has none."""
    own = np.repeat(np.arange(cut.groups), np.diff(cut.bounds))
    if cut.order is None:
        return own
    found = np.full(rows, -1, np.int64)
    found[cut.order] = own
    return found


def place_column(bins: NumericBins | CategoryBins, column: Column) -> list[Placed]:
    """Place one column's rows one by one; raises TypeError where it does not fit its bins."""
    if isinstance(bins, NumericBins) and isinstance(column, NumericColumn):
        placed = place(bins, column.values, column.valid)
        return placed if column.counted is None else [keep_rows(part, column.counted) for part in placed]
    if isinstance(bins, CategoryBins) and isinstance(column, CategoryColumn):
        return place_categories(bins, column.names, column.codes)
    raise TypeError(f"{type(column).__name__} does not fit {type(bins).__name__}")


def count_column(bins: NumericBins | CategoryBins, column: Column | Pieces, cuts: Sequence[Cut]) -> list[list[Counts]]:
    """Count one column's rows by groups, for each cut; places are the column's own.

    Raises TypeError where a column does not fit its bins.
    """
    if isinstance(bins, CategoryBins):
        if isinstance(column, Pieces) and all(cut.order is None and cut.groups == 1 for cut in cuts):
            counted = _count_pieces(bins, column)
            return [[counted] for _ in cuts]
        names, codes = _coded(column)
        return [_categories(bins, names, codes, cut) for cut in cuts]
    read = _read_numbers(column) if isinstance(column, Pieces) else column
    if isinstance(read, CategoryColumn):
        raise TypeError(f"{type(read).__name__} does not fit {type(bins).__name__}")
    if isinstance(read, NumericColumn):
        return [_numbers(bins, read.values, read, cut, last=False) for cut in cuts]
    return [_numbers(bins, read, None, cut, last=len(cuts) == 1) for cut in cuts]


def _read_numbers(column: Pieces) -> Floats | NumericColumn:
    """Return the values of a column of numbers, in this thread's own memory, or a column of another type as numbers."""
    values, end = scratch("values", column.rows), 0
    parts = iter(column.parts)
    for part in parts:
        if not is_number(part.type):
            return numeric(pa.chunked_array([chunk for one in (part, *parts) for chunk in one.chunks]))
        fill(part, values[end : end + len(part)])
        end += len(part)
    return values


def _coded(column: Column | Pieces) -> tuple[list[str | None], Ints]:
    """Return names and codes; the last name is for what is missing."""
    if isinstance(column, Pieces):
        names, codes = coded(column.whole())
        return [*names, None], codes
    if not isinstance(column, CategoryColumn):
        raise TypeError(f"{type(column).__name__} does not fit {CategoryBins.__name__}")
    return [*column.names, None], np.where(column.codes < 0, len(column.names), column.codes)


def _count_pieces(bins: CategoryBins, column: Pieces) -> Counts:
    """Count all rows of a column of categories, each chunk by its own codes."""
    names: list[str | None] = []
    rows = [np.empty(0, np.int64)]
    for part in column.parts:
        for chunk in part.chunks:
            own, codes = coded(pa.chunked_array([chunk]))
            names += [*own, None]
            rows.append(np.bincount(codes, minlength=len(own) + 1))
    return count_categories(bins, names, np.concatenate(rows))


def _categories(bins: CategoryBins, names: list[str | None], codes: Ints, cut: Cut) -> list[Counts]:
    own = codes if cut.order is None else codes[cut.order]
    return [count_categories(bins, names, np.bincount(own[part], minlength=len(names))) for part in slices(cut)]


def _numbers(bins: NumericBins, values: Floats, column: NumericColumn | None, cut: Cut, last: bool) -> list[Counts]:
    """Count numbers by groups.

    column: says which are valid and counted; None: all but infinite ones. last: the values are not needed any more.
    """
    if cut.groups > 1 and cut.rows < _FEW * cut.groups:
        valid = ~np.isinf(values) if column is None else column.valid
        group = groups_of(cut, len(values))
        kept = group >= 0 if column is None or column.counted is None else (group >= 0) & column.counted
        placed = [keep_rows(part, kept) for part in place(bins, values, valid)]
        return gather(placed, group, cut.groups, bins.size)
    found = []
    for part in slices(cut):
        rows = part if cut.order is None else cut.order[part]
        own, invalid = values[rows], 0
        if column is not None:
            valid = column.valid[rows]
            if column.counted is not None:
                valid, own = valid[column.counted[rows]], own[column.counted[rows]]
            invalid = int((~valid).sum())
            own = own[valid]
        if not last:
            work = scratch("values" if column is not None else "sorted", len(own))
            work[:] = own
            own = work
        found.append(count_numbers(bins, own, invalid))
    return found


def slices(cut: Cut) -> Iterator[slice]:
    """Return where each group's rows are, once they are in order."""
    return (slice(*ends) for ends in pairwise(cut.bounds.tolist()))
