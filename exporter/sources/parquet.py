"""Rows of a Parquet file, read one column at a time when it is asked for, by any thread."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exporter import arrow
from exporter.rows import Bools

_FEW = 500_000  # values that are read at once, in less time than column by column
_AT_ONCE = 131_072  # rows of a column that are read together
_TIMES = {"coerce_int96_timestamp_unit": "us"}  # nanoseconds end in the year 2262
Table = Any  # a pyarrow.Table, or what is read as one


class Unreadable(Exception):
    """A file that cannot be read; one sentence."""


class File:
    """An open Parquet file; encoded: its text comes as dictionaries.

    Each thread has its own reader; all read the same file, whatever its path is by now.
    """

    def __init__(self, path: str | pa.NativeFile, encoded: bool = True):
        self._source = pa.OSFile(path) if isinstance(path, str) else path
        self._readers = threading.local()
        first = pq.ParquetFile(self._source, **_TIMES)
        self.metadata = first.metadata
        self.schema = first.schema_arrow
        self._names: list[str] | None = None
        self._texts = [field.name for field in self.schema if encoded and pa.types.is_string(field.type)]

    def select(self, names: Collection[str]) -> None:
        """Read these columns only, from now on."""
        self.schema = pa.schema([field for field in self.schema if field.name in names])
        self._names = self.schema.names

    def read(self, groups: list[int], name: str) -> Iterator[pa.ChunkedArray]:
        """Read one column of some row groups, a few at a time: so little memory is used, and that again and again."""
        some: list[int] = []
        rows = 0
        for group in groups:
            some.append(group)
            rows += self.metadata.row_group(group).num_rows
            if rows >= _AT_ONCE or group == groups[-1]:
                yield self._reader().read_row_groups(some, columns=[name], use_threads=False).column(name)
                some, rows = [], 0

    def span(self, groups: list[int], name: str) -> pa.ChunkedArray | None:
        """Return the least and the largest time of a column, by the statistics; None where these do not tell."""
        kind = self.schema.field(name).type
        found = [self._statistics(group, name) for group in groups]
        if not pa.types.is_timestamp(kind) or not all(
            one is not None and one.has_min_max and one.has_null_count and not one.null_count for one in found
        ):
            return None
        raw = np.array([min(one.min_raw for one in found), max(one.max_raw for one in found)], np.int64)
        return pa.chunked_array([arrow.array(raw, kind)])

    def complete(self, groups: list[int], name: str) -> bool:
        """Say whether the statistics tell that a column has a value in each row."""
        found = [self._statistics(group, name) for group in groups]
        return all(one is not None and one.has_null_count and not one.null_count for one in found)

    def _statistics(self, group: int, name: str) -> Any:
        own = self.metadata.row_group(group)
        columns = [own.column(number) for number in range(own.num_columns)]
        return next((one.statistics for one in columns if one.path_in_schema == name), None)

    def _reader(self) -> pq.ParquetFile:
        if not hasattr(self._readers, "own"):
            texts = {"read_dictionary": self._texts}
            self._readers.own = pq.ParquetFile(
                self._source, metadata=self.metadata, pre_buffer=False, **texts, **_TIMES
            )
        return self._readers.own

    def pieces(self, most: int, groups: Iterable[int] | None = None) -> Iterator[Table]:
        """Cut row groups, all by default, into several together up to `most` rows; a larger one is read in batches."""
        some: list[int] = []
        rows = 0
        for number in range(self.metadata.num_row_groups) if groups is None else groups:
            length = self.metadata.row_group(number).num_rows
            if some and rows + length > most:
                yield self._rows(some, rows)
                some, rows = [], 0
            if length > 2 * most:
                large = pq.ParquetFile(
                    self._source, metadata=self.metadata, buffer_size=2**20, pre_buffer=False, **_TIMES
                )
                batches = large.iter_batches(most, row_groups=[number], columns=self._names)
                yield from (pa.Table.from_batches([one]) for one in batches)
            else:
                some, rows = [*some, number], rows + length
        if some:
            yield self._rows(some, rows)

    def whole(self) -> Table:
        """Return all rows, to be read as needed."""
        return self._rows(list(range(self.metadata.num_row_groups)), self.metadata.num_rows)

    def _rows(self, groups: list[int], rows: int) -> Table:
        """Return row groups to be read as needed; few values at once, which takes less time than column by column."""
        return (
            self._reader().read_row_groups(groups, columns=self._names, use_threads=False)
            if rows * len(self.schema) < _FEW
            else Rows(self, groups, rows)
        )


class Rows:
    """Some row groups of a file, read as far as needed; what is used of a `pyarrow.Table` here, and no more of it."""

    def __init__(self, file: File, groups: list[int], rows: int, kept: Bools | None = None):
        self._file = file
        self._groups = groups
        self._rows = rows
        self._kept = kept
        self.schema: pa.Schema = file.schema  # text that comes as dictionaries is text here
        self.column_names: list[str] = file.schema.names

    def __len__(self) -> int:
        return self._rows if self._kept is None else int(self._kept.sum())

    def span(self, name: str) -> pa.ChunkedArray | None:
        """Return the least and the largest time of a column without reading it; None where that cannot be told."""
        return self._file.span(self._groups, name) if self._kept is None else None

    def complete(self, name: str) -> bool:
        """Say whether it is known without reading that a column has a value in each row."""
        return self._file.complete(self._groups, name)

    def pieces(self, name: str) -> Iterator[pa.ChunkedArray]:
        """Read a column piece by piece; raises Unreadable."""
        start = 0
        try:
            for found in self._file.read(self._groups, name):
                end = start + len(found)
                yield found if self._kept is None else found.filter(arrow.mask(self._kept[start:end]))
                start = end
        except (OSError, pa.ArrowException) as error:
            raise Unreadable((str(error).splitlines() or [type(error).__name__])[0]) from error

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Read a column; raises Unreadable."""
        return pa.chunked_array([chunk for piece in self.pieces(name) for chunk in piece.chunks])

    def filter(self, kept: pa.Array) -> Rows:
        """Return some of the rows."""
        chosen = arrow.bools(kept).copy()
        if self._kept is not None:
            whole = self._kept.copy()
            whole[whole] = chosen
            chosen = whole
        return Rows(self._file, self._groups, self._rows, chosen)


def whole(rows: Table) -> pa.Table:
    """Return all columns at once."""
    return rows if isinstance(rows, pa.Table) else pa.table({name: rows[name] for name in rows.column_names})
