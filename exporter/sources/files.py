"""Rows from files: Parquet, CSV, JSON lines; only what is new since the last time.

A position says how far a file was read. Text files that grow are read on from their last whole line; a line without
its end waits until the file has rested for a minute; a line that cannot be read is left out and counted. A Parquet
file that changed is read again (the ledger knows the ids that it has seen), and so is text that was written anew.
"""

from __future__ import annotations

import io
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from exporter.rows import canonical
from exporter.sources import parquet
from exporter.sources.listing import Watch, fingerprint, paths
from exporter.sources.parquet import Table, Unreadable
from exporter.sources.position import Position, mark, moved

__all__ = [
    "FEW",
    "MANY",
    "Chunk",
    "Unreadable",
    "Watch",
    "fingerprint",
    "paths",
    "read_all",
    "read_new",
    "read_reference",
]

FEW, MANY = 131_072, 524_288  # rows to read together: where each is remembered, and where they are only counted
_REST_SECONDS = 60


class Chunk(NamedTuple):
    """Rows of one path: a table, or the error that stood in the way.

    position: what to remember once the rows are stored; batch: the number of rows that were sent, in its place.
    changed: rows before these were read from an earlier state of the file. unread: lines that are no row.
    """

    path: str
    table: Table | None
    position: str
    error: str | None = None
    changed: bool = False
    unread: int = 0
    batch: int | None = None


class Part(NamedTuple):
    """What to read of a file: from byte `start` of a text file on; `whole`: a last line without its end, too.

    text: columns of a CSV file that stay text. at_once: rows of a Parquet file to read together; None: all, in memory.
    """

    start: int
    whole: bool
    text: tuple[str, ...]
    at_once: int | None = None


def read_all(patterns: tuple[str, ...], text: tuple[str, ...] = ()) -> pa.Table:
    """Read all files as one table; raises FileNotFoundError without any, ValueError where one cannot be read."""
    found = paths(patterns)
    if not found:
        raise FileNotFoundError(f"no file matches {', '.join(patterns)}")
    tables = []
    for path in found:
        try:
            tables += [table for table, _, _ in _reader(path)(path, Part(0, True, text))]
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path}: {_first_line(error)}") from error
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except pa.ArrowException as error:
        raise ValueError(f"{', '.join(patterns)}: the files do not fit together: {_first_line(error)}") from error


def read_reference(patterns: tuple[str, ...]) -> Table:
    """Read all files as `read_all`; one Parquet file is read by column, when it is asked for."""
    found = paths(patterns)
    if len(found) != 1 or _is_text(found[0]):
        return read_all(patterns)
    try:
        return parquet.File(found[0], encoded=False).whole()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{found[0]}: {_first_line(error)}") from error


def read_new(
    patterns: tuple[str, ...],
    seen: Mapping[str, str],
    text: tuple[str, ...] = (),
    at_once: int = FEW,
    watch: Watch | None = None,
) -> Iterator[Chunk]:
    """Read what is new; an unreadable file gives one chunk with the error and is tried again the next time.

    watch: knows which files need no look; None: each is looked at.
    """
    watch = watch or Watch()
    before = dict(seen)  # the caller notes what was read meanwhile
    for path in watch.look(patterns, seen):
        try:
            own = os.stat(path)  # noqa: PTH116 - of very many files
            if not stat.S_ISREG(own.st_mode):
                continue
            watch.any = True
            now = Position(own.st_size, own.st_mtime_ns, own.st_ino, 0)
            if watch.is_still(path, now):
                continue
            rests = time.time() - own.st_mtime > _REST_SECONDS
            old = Position.parse(seen[path]) if path in seen else moved(path, now, before, _is_text(path))
            if old is not None and old[:3] == now[:3] and (old.read >= now.size or not rests):
                if path not in seen:
                    yield Chunk(path, None, old.text())
                    continue
                watch.settle(path, seen[path] if old.read >= now.size else None, own.st_mtime)
                continue
            grown = old is not None and _is_text(path) and old.goes_on(path, now)
        except OSError as error:
            watch.settle(path, None)
            if not (isinstance(error, FileNotFoundError) and Path(path).is_symlink()):  # a link to nowhere is no file
                yield Chunk(path, None, "", _first_line(error))
            continue
        watch.settle(path, None)
        part = Part(old.read if grown and old is not None else 0, rests, text, at_once)
        yield from _chunks(path, now, part, changed=old is not None and not grown)


def _chunks(path: str, now: Position, part: Part, changed: bool) -> Iterator[Chunk]:
    """Only the last chunk of a file carries its new position."""
    pending: Table | None = None
    end = part.start
    unread = 0
    try:
        for table, offset, lines in _reader(path)(path, part):
            if pending is not None:
                yield Chunk(path, pending, "", None, changed, unread)
            pending, end, unread = table, offset, lines
        known = mark(path, end) if _is_text(path) else None
    except (OSError, pa.ArrowException) as error:
        yield Chunk(path, None, "", _first_line(error))
        return
    yield Chunk(path, pending, now._replace(read=end, mark=known).text(), None, changed, unread)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


Read = Iterator[tuple[Table, int, int]]  # rows, where in the file they end, lines among them that are no row


def _read_parquet(path: str, part: Part) -> Read:
    size = Path(path).stat().st_size
    if part.at_once is None:
        yield pq.ParquetFile(path).read(), size, 0
        return
    for rows in parquet.File(path).pieces(part.at_once):
        yield rows, size, 0


def _read_csv(path: str, part: Part) -> Read:
    header, body, end = _lines(path, part, has_header=True)
    unread = []

    def leave_out(row: object) -> str:
        unread.append(row)
        return "skip"

    if body:
        types = {name: pa.string() for name in part.text}
        convert = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=leave_out)
        table = pyarrow.csv.read_csv(io.BytesIO(header + body), convert_options=convert, parse_options=parse)
        yield table, end, len(unread)


def _read_json(path: str, part: Part) -> Read:
    _, body, end = _lines(path, part, has_header=False)
    if body.strip():
        table, unread = read_json_lines(body)
        yield table, end, unread


def read_json_lines(body: bytes) -> tuple[pa.Table, int]:
    """Read lines of JSON; return the rows, and how many lines are none. Raises ArrowInvalid where no line is one."""
    try:
        return _json_at_once(body), 0
    except pa.ArrowInvalid:
        table, unread = _json_line_by_line(body)
        if not len(table):
            raise
        return table, unread


def _json_at_once(body: bytes) -> pa.Table:
    """Read all lines, fast; times stay text, as Arrow would forget their zone."""
    table = pyarrow.json.read_json(io.BytesIO(body))
    if times := [field.name for field in table.schema if pa.types.is_timestamp(field.type)]:
        schema = pa.schema([(name, pa.string()) for name in times])
        options = pyarrow.json.ParseOptions(explicit_schema=schema)
        table = pyarrow.json.read_json(io.BytesIO(body), parse_options=options)
    return table


def _json_line_by_line(body: bytes) -> tuple[pa.Table, int]:
    """Read what can be read; return the number of other lines, too."""
    rows: list[object] = []
    for line in body.splitlines():
        try:
            rows.append(json.loads(line) if line.strip() else {})
        except ValueError:
            rows.append(None)
    return table_of(rows)


def table_of(values: list[object]) -> tuple[pa.Table, int]:
    """Make a table of JSON objects; a column of several types becomes text. Return the number of other values, too."""
    rows, unread = [], 0
    for row in values:
        if isinstance(row, dict):
            rows += [row] if row else []
        else:
            unread += 1
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _json_column([row.get(name) for row in rows]) for name in names}), unread


def _json_column(values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, OverflowError):
        texts = [canonical(value) for value in values]
        return pa.array([None if text is None else text.encode("utf-8", "replace").decode() for text in texts])


def _lines(path: str, part: Part, has_header: bool) -> tuple[bytes, bytes, int]:
    """Return header, the lines from `part.start` on, and where they end."""
    with Path(path).open("rb") as file:
        header = file.readline() if has_header else b""
        start = max(part.start, len(header))
        file.seek(start)
        body = file.read()
    if not part.whole:
        body = body[: body.rfind(b"\n") + 1]
    end = start + len(body)
    return _utf8(header), _utf8(body), end


def _utf8(text: bytes) -> bytes:
    """Replace what is not UTF-8: one bad byte is one odd value, not a file that cannot be read."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode()
    return text


def _is_text(path: str) -> bool:
    return _reader(path) is not _read_parquet


_READERS: dict[str, Callable[[str, Part], Read]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
}


def _reader(path: str) -> Callable[[str, Part], Read]:
    return _READERS.get(Path(path).suffix.lower(), _read_parquet)
