"""What runs on the executors where they read Parquet files themselves: parts of files -> facts, and counts. Pure.

Columns have the types that Spark gives them; rows are read and counted by the code that does so on one machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from exporter import arrow
from exporter.buckets import Deltas, merged
from exporter.cluster.typed import Typed, conform, named
from exporter.cluster.worker import count, unpack
from exporter.profile.batch import versions_of
from exporter.profile.coding import encode
from exporter.profile.counts import add
from exporter.rows import NO_TIME, SECOND, Bools, Ints, times
from exporter.settings import Model
from exporter.sources.parquet import File, Unreadable
from exporter.store.tables import Key

AT_ONCE = 524_288  # rows that are counted together: counting sorts, and many rows at once are cheaper than few
_SLACK = 86_400 * SECOND  # times without a zone are out of order by less
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MANY_CELLS = 1_000_000
_TAIL = 8  # bytes of a file after its footer: the footer's length, and PAR1


class Part(NamedTuple):
    """What one task reads of a file: row groups that begin from byte `start` on, before `end`.

    path: a URI. size: bytes of the whole file. changed: its last change, in milliseconds.
    """

    path: str
    size: int
    changed: int
    start: int
    end: int


class Reading(NamedTuple):
    """How rows are read. kinds: columns of use, by the types that Spark gives them; now: microseconds."""

    model: Model
    kinds: dict[str, pa.DataType]
    now: int


class Cell(NamedTuple):
    """Rows of one bucket and version: how many, labels, rows with an id, rows whose label_timestamp is over.

    newest: their latest event time in microseconds.
    """

    rows: int
    labels: int
    named: int
    known: int
    newest: int

    def plus(self, other: Cell) -> Cell:
        """Return both together."""
        added = Cell(*(own + more for own, more in zip(self, other, strict=True)))
        return added._replace(newest=max(self.newest, other.newest))


class Found(NamedTuple):
    """What a file, or a part of it, holds in a stretch of time, by start of bucket in seconds and version.

    mark: what its footer is known by. timeless: rows without an event time, whenever. settled: time alone changes
    nothing.
    """

    mark: str
    timeless: int
    settled: bool
    cells: dict[tuple[int, str], Cell]

    def plus(self, other: Found) -> Found:
        """Return two parts of a file together."""
        cells = dict(self.cells)
        for key, own in other.cells.items():
            cells[key] = cells[key].plus(own) if key in cells else own
        return Found(self.mark, self.timeless + other.timeless, self.settled and other.settled, cells)


Span = tuple[int, int]  # microseconds: first, and the first one after


def root(path: str) -> tuple[str, str]:
    """Return the file system of a URI, and the path in it."""
    scheme, _, rest = path.partition("://")
    place, _, inside = rest.partition("/")
    return f"{scheme}://{place}", f"/{inside}"


def source(path: str) -> pa.NativeFile:
    """Open a file by its URI; raises OSError, ArrowException."""
    place, inside = root(path)
    if place == "file://":
        return pa.OSFile(inside)
    system, first = _system(place)
    return system.open_input_file(f"{first.rstrip('/')}{inside}")


@lru_cache
def _system(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return a file system, and where in it paths begin; what is s3a:// in a cluster is s3:// here."""
    scheme, _, rest = place.partition("://")
    found: tuple[pyarrow.fs.FileSystem, str] = pyarrow.fs.FileSystem.from_uri(
        f"{'s3' if scheme in {'s3a', 's3n'} else scheme}://{rest}"
    )
    return found


def look(part: Part) -> str | None:
    """Say why a file cannot be read here; None where it can be, and is the one that Spark sees."""
    try:
        with source(part.path) as file:
            if file.size() != part.size:
                return f"{part.path} is another file here: {file.size()} bytes, not {part.size}"
            File(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        return f"{part.path}: {_first_line(error)}"
    return None


@contextmanager
def _opened(part: Part) -> Iterator[pa.NativeFile]:
    """Open a file; what goes wrong with it names it. Raises OSError."""
    try:
        with source(part.path) as file:
            yield file
    except (OSError, Unreadable, pa.ArrowException) as error:
        raise OSError(f"{part.path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def facts(reading: Reading, span: Span, part: Part) -> Found:
    """Return what a part of a file holds; raises OSError."""
    with _opened(part) as file:
        total = Found(_mark(file), 0, True, {})
        for rows, moments in _tables(reading, file, part, [span], timeless=True):
            kept = _within(moments, [span])
            settled, timeless = not bool((moments >= span[1]).any()), int((moments == NO_TIME).sum())
            cells: dict[tuple[int, str], Cell] = {}
            if kept.any():
                whole = bool(kept.all())
                own, times_of = (rows, moments) if whole else (rows.filter(arrow.mask(kept)), moments[kept])
                own, known = _known(reading, own)
                settled &= known is None or bool(known.all())
                cells = _cells(reading, own, times_of, known)
            total = total.plus(Found(total.mark, timeless, settled, cells))
        return total


def _cells(reading: Reading, rows: Typed, moments: Ints, known: Bools | None) -> dict[tuple[int, str], Cell]:
    """Return what there is of each bucket and version."""
    model, every = reading.model, np.ones(len(rows), np.bool_)
    label = rows.present(model.columns.label) if model.columns.label in reading.kinds else ~every
    named = rows.present(model.columns.id) if model.columns.id is not None else every
    versions = versions_of(model, rows)
    many = len(versions.names)
    number = moments // (model.bucket_seconds * SECOND) * many + versions.codes
    if np.ptp(number) < _MANY_CELLS:
        numbers, place = np.arange(number.min(), number.max() + 1), number - number.min()
    else:
        numbers, place = np.unique(number, return_inverse=True)
    newest = np.full(len(numbers), NO_TIME)
    np.maximum.at(newest, place, moments)
    kinds = (every, label, named, every if known is None else known)
    amounts = [np.bincount(place if own.all() else place[own], minlength=len(numbers)) for own in kinds]
    found: dict[tuple[int, str], Cell] = {}
    for at in np.flatnonzero(amounts[0]).tolist():
        start, version = divmod(int(numbers[at]), many)
        own = Cell(*(int(one[at]) for one in (*amounts, newest)))
        found[start * model.bucket_seconds, versions.names[version]] = own
    return found


def profile(
    packed: bytes, reading: Reading, spans: list[Span], parts: Iterable[Part]
) -> Iterator[tuple[Key, tuple[bytes, int]]]:
    """Count the rows of some parts in stretches of time; raises OSError.

    Gives version, segment and bucket, with the counts and how many labels are none. Rows without an id are left out.
    """
    job = unpack(packed)
    total: Deltas = {}
    refused: Counter[Key] = Counter()
    for part in parts:
        with _opened(part) as file:
            for rows, _ in _rows(reading, file, part, spans):
                found, wrong = count(job, _known(reading, rows)[0])
                total = merged(total, found)
                refused.update(wrong)
    for key, counts in total.items():
        yield key, (encode(add(counts)), refused[key])


def hashes(reading: Reading, spans: list[Span], shares: int, parts: Iterable[Part]) -> Iterator[tuple[int, bytes]]:
    """Return 64-bit hashes of bucket and id of the rows of some parts in stretches of time; raises OSError.

    By share: equal hashes are in the same one of `shares`.
    """
    from pandas.util import hash_array

    name, width = str(reading.model.columns.id), reading.model.bucket_seconds * SECOND
    for part in parts:
        with _opened(part) as file:
            for rows, moments in _rows(reading, file, part, spans):
                start = 0
                for piece in rows.pieces(name):
                    own = moments[start : (start := start + len(piece))] // width
                    found = hash_array(own) * _ODD + hash_array(_values(piece), categorize=False)
                    share = found % np.uint64(shares)
                    for number in range(shares):
                        yield number, found[share == number].tobytes()


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """Return whole numbers, or text as bytes, none of which is missing."""
    if pa.types.is_integer(column.type):
        return arrow.numbers(arrow.one(column.cast(pa.int64())), "i8")
    return np.array(column.cast(pa.string()).cast(pa.binary()).to_pylist(), np.object_)  # not all may be UTF-8


def _rows(reading: Reading, file: pa.NativeFile, part: Part, spans: list[Span]) -> Iterator[tuple[Typed, Ints]]:
    """Read the rows of a part in stretches of time, and their times; rows without an id are left out."""
    name = reading.model.columns.id
    for rows, moments in _tables(reading, file, part, spans):
        kept = _within(moments, spans)
        if name is not None:
            kept &= rows.present(name)
        if kept.all() and len(kept):
            yield rows, moments
        elif kept.any():
            yield rows.filter(arrow.mask(kept)), moments[kept]


def _tables(
    reading: Reading, file: pa.NativeFile, part: Part, spans: list[Span], timeless: bool = False
) -> Iterator[tuple[Typed, Ints]]:
    """Read the row groups of a part that may have rows in some stretches of time, with the times of all their rows.

    timeless: also those that may have rows without a time.
    """
    columns = reading.model.columns
    own = File(file)
    names = {name: found for name in reading.kinds if (found := named(name, own.schema.names)) is not None}
    own.select({*names.values()})
    time = names.get(columns.timestamp)
    groups = [
        number
        for number in range(own.metadata.num_row_groups)
        if part.start <= _begin(own.metadata.row_group(number)) < part.end
        and (time is None or _may_have(own, number, time, reading, spans, timeless))
    ]
    for table in own.pieces(AT_ONCE, groups):
        rows = Typed(table, reading.kinds, names)
        yield rows, times(rows[columns.timestamp], columns.timezone)


def _begin(group: pq.RowGroupMetaData) -> int:
    """Return the byte from which on a row group lies in its file."""
    first = group.column(0)
    return first.dictionary_page_offset or first.data_page_offset if group.num_columns else 0


def _may_have(file: File, group: int, time: str, reading: Reading, spans: list[Span], timeless: bool) -> bool:
    """Say whether a row group may have rows in some stretches of time, by its statistics."""
    columns = reading.model.columns
    if timeless and not file.complete([group], time):
        return True
    span = file.span([group], time)
    if span is None:
        return True
    first, last = times(conform(span, reading.kinds[columns.timestamp]), columns.timezone).tolist()
    if timeless and last >= max(end for _, end in spans):
        return True
    return any(start - _SLACK <= last and first < end + _SLACK for start, end in spans)


def _within(moments: Ints, spans: list[Span]) -> Bools:
    """Return which moments are in one of the stretches, which are in order."""
    starts, ends = (np.array(own, np.int64) for own in zip(*spans, strict=True))
    if len(spans) == 1:
        only: Bools = (moments >= starts[0]) & (moments < ends[0])
        return only
    before = np.searchsorted(starts, moments, side="right") - 1
    found: Bools = (before >= 0) & (moments < ends[before])
    return found


def _known(reading: Reading, rows: Typed) -> tuple[Typed, Bools | None]:
    """Leave out labels that become known later; return also which are known, None where labels have no times."""
    columns = reading.model.columns
    known_at = columns.label_timestamp
    if known_at is None or known_at not in reading.kinds:
        return rows, None
    known = times(rows[known_at], columns.timezone) <= reading.now  # NO_TIME is before all times
    names = tuple(name for name in (columns.label, known_at) if name in reading.kinds)
    return rows.hide(names, known), known


def _mark(file: pa.NativeFile) -> str:
    """Return what is another one when a file is written anew, be it in the same second and of the same size."""
    size = file.size()
    length = int.from_bytes(file.read_at(4, size - _TAIL), "little")
    return hashlib.blake2b(file.read_at(length, max(0, size - _TAIL - length)), digest_size=8).hexdigest()
