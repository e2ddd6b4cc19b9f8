"""The columns of rows that are read when they are counted, one at a time: many columns need no more memory than one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.rows import CategoryColumn, NumericColumn, categorical, numeric
from exporter.schema import Kind

Column = NumericColumn | CategoryColumn


class Pieces(NamedTuple):
    """A column that is read as it is gone through, once. rows: of all of its parts, which are of one type."""

    rows: int
    parts: Iterable[pa.ChunkedArray]

    def whole(self) -> pa.ChunkedArray:
        """Return all parts."""
        return pa.chunked_array([chunk for part in self.parts for chunk in part.chunks])


class Unread(Mapping[str, Column]):
    """Columns by name, each read of its table whenever it is asked for, and not kept.

    derived: columns that are not the table's own. A column that the table does not have is missing in every row.
    """

    def __init__(self, table: pa.Table, kinds: Mapping[str, Kind], derived: Mapping[str, NumericColumn]):
        self._table = table
        self._kinds = kinds
        self._derived = derived
        self._names = frozenset(table.column_names)

    def pieces(self, name: str) -> Pieces | None:
        """Return a column as the table has it; None for a derived one, and one that it does not have."""
        if name not in self._names or name in self._derived:
            return None
        parts = (self._table[name],) if isinstance(self._table, pa.Table) else self._table.pieces(name)
        return Pieces(len(self._table), parts)

    def only(self, kinds: Mapping[str, Kind]) -> Unread:
        """Return some of the columns."""
        return Unread(self._table, kinds, self._derived)

    def __getitem__(self, name: str) -> Column:
        return self._derived[name] if name in self._derived else typed(self._table, name, self._kinds[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def typed(table: pa.Table, name: str, kind: Kind) -> Column:
    """Read one column of a table."""
    if kind == "numeric":
        return numbers(table, name)
    if name not in table.column_names:
        return CategoryColumn((), np.full(len(table), -1, np.int64))
    return categorical(table[name])


def numbers(table: pa.Table, name: str) -> NumericColumn:
    """Read one column of a table as numbers."""
    if name not in table.column_names:
        return NumericColumn(np.full(len(table), np.nan), np.ones(len(table), np.bool_))
    return numeric(table[name])
