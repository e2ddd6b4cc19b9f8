"""Rows of a Parquet file with the columns and types that Spark would give them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter import arrow
from exporter.rows import Bools
from exporter.sources.parquet import Table


class Typed:
    """Rows of a file with the columns and types that Spark would give them; used as a `pyarrow.Table` is.

    hidden: columns that are not known yet in some rows, and in which ones they are; None: in all.
    """

    def __init__(self, rows: Table, kinds: Mapping[str, pa.DataType], names: Mapping[str, str]):
        self._rows = rows
        self._kinds = kinds
        self._names = names
        self._known: Bools | None = None
        self._hidden: tuple[str, ...] = ()
        self.column_names = [*kinds]

    def __len__(self) -> int:
        return len(self._rows)

    def pieces(self, name: str) -> Iterator[pa.ChunkedArray]:
        """Read a column piece by piece; one that the file does not have has no values. Raises ArrowException."""
        kind, own = self._kinds[name], self._names.get(name)
        if own is None:
            yield pa.chunked_array([pa.nulls(len(self), kind)])
            return
        start = 0
        for piece in (self._rows[own],) if isinstance(self._rows, pa.Table) else self._rows.pieces(own):
            found = conform(piece, kind)
            end = start + len(found)
            if name in self._hidden and self._known is not None:
                kind = found.type.value_type if pa.types.is_dictionary(found.type) else found.type
                found = pc.if_else(arrow.mask(self._known[start:end]), found.cast(kind), pa.scalar(None, kind))
            start = end
            yield found

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        found = [chunk for piece in self.pieces(name) for chunk in piece.chunks]
        return pa.chunked_array(found) if found else pa.chunked_array([], self._kinds[name])

    def filter(self, kept: pa.Array) -> Typed:
        """Return some of the rows."""
        found = Typed(self._rows.filter(kept), self._kinds, self._names)
        found._hidden = self._hidden
        found._known = None if self._known is None else self._known[arrow.bools(kept)]
        return found

    def hide(self, names: tuple[str, ...], known: Bools) -> Typed:
        """Leave out the values of some columns where they are not known."""
        if known.all():
            return self
        found = Typed(self._rows, self._kinds, self._names)
        found._hidden, found._known = names, known
        return found

    def present(self, name: str) -> Bools:
        """Return which rows have a value in a column; it is only read where the file does not tell that all have."""
        own = self._names.get(name)
        if own is None:
            return np.zeros(len(self), np.bool_)
        if name not in self._hidden and not isinstance(self._rows, pa.Table) and self._rows.complete(own):
            return np.ones(len(self), np.bool_)
        return np.concatenate([np.empty(0, np.bool_), *(arrow.valid(chunk) for chunk in self[name].chunks)])


def conform(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column as Spark has it, text as dictionaries, too; raises ArrowException where it is something else."""
    have = column.type
    if have == kind or (pa.types.is_string(kind) and _is_text(have)):
        return column
    if pa.types.is_timestamp(have) and pa.types.is_timestamp(kind):
        if have.tz is None and kind.tz is not None:  # INT96, or what an older Spark has for an instant
            return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
        if (have.tz is None) == (kind.tz is None):
            return column
    if (_is_number(have) and _is_number(kind)) or (pa.types.is_date(have) and pa.types.is_timestamp(kind)):
        return column.cast(kind)
    if pa.types.is_binary(have) and pa.types.is_string(kind):
        return column.cast(kind)
    if pa.types.is_list(have) and pa.types.is_list(kind) and _is_number(have.value_type):
        return column.cast(kind)
    raise pa.ArrowTypeError(f"a column is {have} in a file, and {kind} in Spark's schema")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def named(name: str, names: list[str]) -> str | None:
    """Return how a file names a column: as Spark does, cases of letters are no difference where one name fits."""
    if name in names:
        return name
    alike = [own for own in names if own.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None
