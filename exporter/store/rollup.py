"""Hours and days of buckets added up, so that a long window of short buckets is read in few rows.

An hour or day that is rolled up has a row of its own kind (version and segment empty), and one of each version and
segment that has rows in it. What is added to buckets later is added to these, too, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from exporter.profile.coding import decode, encode
from exporter.profile.counts import ZERO, Counts, add
from exporter.store.statements import BUCKETS, ROLLED, ROLLUPS
from exporter.store.tables import ROLLUP, Bucket, Key

LEVELS = (86_400, 3_600)  # seconds, the longest first
_AT_ONCE = 64  # rows in memory: a month of minutes is 43,200 of them
Upsert = Callable[[list[dict[str, Any]]], None]


def levels(bucket: int) -> list[int]:
    """Return the lengths that buckets are rolled up to, the shortest first: several whole buckets each."""
    return [seconds for seconds in LEVELS[::-1] if seconds > bucket and seconds % bucket == 0]


def rolled(connection: sa.Connection, model: str, start: int, end: int) -> set[tuple[int, int]]:
    """Return (seconds, start) of what is rolled up and within start and end."""
    rows = connection.execute(ROLLED, {"model": model, "first": start, "last": end})
    return {(seconds, own) for seconds, own in rows}


def change(connection: sa.Connection, upsert: Upsert, model: str, deltas: Mapping[Key, Counts]) -> None:
    """Add to what is rolled up already."""
    starts = [start for _, _, start in deltas]
    if not starts:
        return
    known = rolled(connection, model, min(starts) // LEVELS[0] * LEVELS[0], max(starts) + LEVELS[0])
    total: dict[tuple[int, str, str, int], Counts] = {}
    for (version, segment, start), counts in deltas.items():
        for seconds in LEVELS:
            own = start // seconds * seconds
            if (seconds, own) in known:
                key = (seconds, version, segment, own)
                total[key] = add(total[key], counts) if key in total else counts
    for key, counts in total.items():
        old = connection.execute(sa.select(ROLLUP.c.counts).where(*_is(model, *key))).scalar()
        upsert([_row(model, *key, counts if old is None else add(decode(old), counts))])


def build(connection: sa.Connection, upsert: Upsert, model: str, seconds: int, start: int) -> None:
    """Roll up the buckets of an hour or day."""
    total: dict[tuple[str, str], list[Counts]] = {}
    for one in read(connection, model, start, start + seconds, None):
        total.setdefault((one.version, one.segment), []).append(one.counts)
    rows = [_row(model, seconds, *key, start, add(*many)) for key, many in total.items()]
    upsert([*rows, _row(model, seconds, "", "", start, ZERO)])


def roll_up(
    connection: sa.Connection, upsert: Upsert, model: str, bucket: int, start: int, end: int, most: int
) -> bool:
    """Roll up at most so many hours and days between start and end, the newest first; return whether all are."""
    for seconds in levels(bucket):
        known = rolled(connection, model, start, end)
        first = -(-start // seconds) * seconds
        wanted = [own for own in range(first, end - seconds + 1, seconds) if (seconds, own) not in known]
        for own in wanted[::-1][:most]:
            build(connection, upsert, model, seconds, own)
        if len(wanted) > most:
            return False
    return True


def read(connection: sa.Connection, model: str, start: int, end: int, segment: str | None) -> Iterator[Bucket]:
    """Return buckets that add up to those with start <= bucket < end, of one segment or of each; a few at a time."""
    chosen: list[tuple[int, int]] = []
    if end - start > LEVELS[-1]:
        whole = rolled(connection, model, start, end)
        days = {first for seconds, first in whole if seconds == LEVELS[0]}
        chosen = [one for one in whole if one[0] == LEVELS[0] or one[1] // LEVELS[0] * LEVELS[0] not in days]
    for seconds in LEVELS:
        starts = [own for length, own in chosen if length == seconds]
        if starts:
            yield from _buckets(connection, ROLLUPS, model, segment, seconds=seconds, starts=starts)
    for first, last in _gaps(start, end, chosen):
        yield from _buckets(connection, BUCKETS, model, segment, first=first, last=last)


def _gaps(start: int, end: int, chosen: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a stretch without those that are rolled up."""
    found = []
    for seconds, own in sorted(chosen, key=lambda one: one[1]):
        if own > start:
            found.append((start, own))
        start = own + seconds
    return [*found, (start, end)] if start < end else found


def _buckets(
    connection: sa.Connection, queries: Mapping[bool, Any], model: str, segment: str | None, **where: Any
) -> Iterator[Bucket]:
    own = {"model": model, **where} | ({"segment": segment} if segment is not None else {})
    few = {"yield_per": _AT_ONCE}
    for version, name, start, counts in connection.execute(queries[segment is not None], own, execution_options=few):
        yield Bucket(version, name, start, decode(counts))


def _is(model: str, seconds: int, version: str, segment: str, start: int) -> tuple[Any, ...]:
    key = {"model": model, "seconds": seconds, "version": version, "segment": segment, "start": start}
    return tuple(ROLLUP.c[name] == value for name, value in key.items())


def _row(model: str, seconds: int, version: str, segment: str, start: int, counts: Counts) -> dict[str, Any]:
    key = {"model": model, "seconds": seconds, "version": version, "segment": segment, "start": start}
    return key | {"counts": encode(counts)}
