"""Rows that are sent: what was sent as a table, and what waits in the store as the chunks of a source.

Any exporter on the store may take rows; the one that computes counts them. Each batch is an Arrow stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa

from exporter.sources.files import Chunk, read_json_lines, table_of
from exporter.store import Store


class Unreadable(ValueError):
    """What was sent cannot be read; one sentence."""


def waiting(store: Store, model: str, source: str) -> Iterator[Chunk]:
    """Return what was sent and is not counted yet, in the order of its coming."""
    number = 0
    while True:
        with store.transaction() as tx:
            found = tx.next_batch(model, source, number)
        if found is None:
            return
        number, body = found
        try:
            yield Chunk(f"push {number}", unpack(body), "", batch=number)
        except pa.ArrowException as error:
            yield Chunk(f"push {number}", None, "", str(error).splitlines()[0])


def pack(table: pa.Table) -> bytes:
    """Write a table as it waits in the store."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def unpack(body: bytes) -> pa.Table:
    """Read what `pack` wrote."""
    return pa.ipc.open_stream(body).read_all()


def parse(body: bytes, kind: str) -> tuple[pa.Table, int]:
    """Read what was sent as a media type; return the rows, and how many things in it are no row.

    Raises Unreadable where nothing can be read.
    """
    if kind not in FORMATS:
        raise Unreadable(f"the content type {kind or 'of the request'} is not known: send {', '.join(FORMATS)}")
    try:
        return FORMATS[kind](body)
    except (pa.ArrowException, ValueError, RecursionError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable(f"the body is no {kind}: {reason}") from error


def _json(body: bytes) -> tuple[pa.Table, int]:
    found = json.loads(body)
    return table_of(found if isinstance(found, list) else [found])


def _arrow(body: bytes) -> tuple[pa.Table, int]:
    table = pa.ipc.open_stream(body).read_all()
    table.validate(full=True)  # it comes from strangers: no offset may point outside
    if len(set(table.column_names)) < len(table.column_names):
        raise ValueError("a column stands in it twice")
    return table, 0


FORMATS: Mapping[str, Callable[[bytes], tuple[pa.Table, int]]] = {
    "application/json": _json,
    "application/x-ndjson": read_json_lines,
    "application/jsonl": read_json_lines,
    "application/vnd.apache.arrow.stream": _arrow,
}
