"""A model's rows in plain Parquet files that the executors read themselves: what a bucket is known by, its profile.

Spark lists the files, and runs the tasks; no row goes through it.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from exporter.cluster import listing, reader, worker
from exporter.cluster.listing import File, Otherwise
from exporter.cluster.plan import Facts, Known, Rows, Span, size_of, spans
from exporter.cluster.reader import Cell, Found, Part, Reading
from exporter.profile.coding import decode, encode
from exporter.profile.counts import add
from exporter.rows import SECOND
from exporter.sources.settings import Spark
from exporter.sources.spark import SparkError, told
from exporter.store.tables import Key

log = logging.getLogger("exporter.cluster")
_STILL = 2_000  # milliseconds since its last change, after which a file that changes again has another time
_AT_ONCE = 64_000_000  # bytes of counts that come back as they are; more are added up in the cluster
_IDS_AT_ONCE = 4_000_000  # hashes of ids that one task compares; 8 bytes each
_SURE = {"file", "s3", "s3a", "s3n"}  # without credentials others wait for minutes, or end the process
Work = Callable[[Iterator[list[Part]]], Iterator[Any]]
_looked: set[tuple[str, str]] = set()  # sessions, and file systems whose files their executors can open


class Memory:
    """What is known of a model's files, so that those that did not change need not be opened again.

    files: what was found in them, and since when in seconds, event time. refused: why Spark has to read; None: it is
    not known to have to.
    """

    def __init__(self) -> None:
        self.files: dict[File, tuple[int, Found]] = {}
        self.refused: str | None = None


class Tasks(NamedTuple):
    """What some buckets are counted by; size: bytes of the counts that come of it, at most."""

    reading: Reading
    stretches: list[Span]
    parts: list[list[Part]]
    size: int


class Files:
    """As `plan.Rows`, by the files; where these turn out to be such that only Spark can read them, by Spark.

    Raises SparkError.
    """

    def __init__(self, rows: Rows, spec: Spark, memory: Memory):
        self._rows = rows
        self._spec = spec
        self._memory = memory
        self.absent = rows.absent
        self._reading: Reading | None = None
        self._wrong: SparkError | None = None
        self._listed: list[File] = []
        self._found: dict[File, Found] = {}
        if spec.reader == "spark" or spec.format != "parquet" or memory.refused is not None:
            return
        try:
            used = rows.used()
            reading = Reading(rows.model, listing.kinds(rows.frame, used), rows.now)
            self._listed = listing.files(rows.frame, used)
            self._look()
            self._reading = reading
        except Otherwise as error:
            self._give_up(str(error))
        except SparkError as error:
            if spec.reader == "arrow":
                raise
            self._wrong = error

    def facts(self, span: Span) -> Known:
        """Return what each bucket with rows is known by: the files that it has rows of, and how many."""
        if self._reading is not None:
            try:
                return self._facts(self._reading, span)
            except SparkError as error:
                self._fail(error)
        found = self._rows.facts(span)
        self._read_by_spark()
        return found

    def profiles(self, starts: Iterable[int], amount: int) -> pa.Table:
        """Count as `plan.Rows.profiles`; copies of rows are left out by Spark."""
        starts = [*starts]
        if self._reading is not None:
            try:
                tasks = self._tasks(self._reading, starts)
                if self._rows.model.columns.id is None or not self._has_copies(tasks, starts, amount):
                    return self._profiles(tasks)
            except SparkError as error:
                self._fail(error)
        found = self._rows.profiles(starts, amount)
        self._read_by_spark()
        return found

    def _fail(self, error: SparkError) -> None:
        if self._spec.reader == "arrow":
            raise error
        self._reading, self._wrong = None, error

    def _read_by_spark(self) -> None:
        """Leave reading to Spark from now on, if it could read what the executors could not."""
        if self._wrong is not None:
            self._give_up(str(self._wrong))

    def _give_up(self, why: str) -> None:
        if self._spec.reader == "arrow":
            raise SparkError(f"reader: arrow is for plain Parquet files only: {why}")
        self._reading, self._wrong, self._memory.refused = None, None, why
        self._memory.files.clear()
        log.info("model %s: Spark reads %s, not the executors: %s", self._rows.model.name, self._spec.name, why)

    def _look(self) -> None:
        """Open one file on an executor, once a session and file system; raises Otherwise, SparkError."""
        if not self._listed:
            return
        newest = max(self._listed, key=lambda file: file.changed)
        with told():
            session = self._rows.frame.sparkSession.sparkContext.applicationId
        place, _ = reader.root(newest.path)
        if self._spec.reader == "auto" and place.partition("://")[0] not in _SURE:
            raise Otherwise(f"files of {place} are only opened with reader: arrow")
        if (session, place) in _looked:
            return
        (why,) = self._run([[Part(*newest, 0, newest.size)]], _looks)
        if why is not None:
            raise SparkError(why)
        _looked.add((session, place))

    def _run(self, tasks: list[list[Part]], work: Work, then: Callable[[Any], Any] | None = None) -> list[Any]:
        """Run tasks on the executors; then: what is to be done there with what they give."""
        with told():
            context = self._rows.frame.sparkSession.sparkContext
            found = context.parallelize(tasks, len(tasks)).mapPartitions(work)
            rows: list[Any] = (found if then is None else then(found)).collect()
            return rows

    def _facts(self, reading: Reading, span: Span) -> Known:
        limits = span[0] * SECOND, min(span[1] * SECOND, self._rows.now)
        listed_at = time.time() * 1000
        before = {file: own for file, own in self._memory.files.items() if own[0] <= span[0]}
        found = {file: before[file][1] for file in self._listed if file in before}
        if unread := [file for file in self._listed if file not in found]:
            tasks = listing.cut(unread, listing.slots(self._rows.frame))
            for part, own in self._run(tasks, partial(_facts, reading, limits)):
                file = File(*part[:3])
                found[file] = found[file].plus(own) if file in found else own
        still = {file: own for file, own in found.items() if own.settled and file.changed < listed_at - _STILL}
        self._memory.files = {file: before.get(file, (span[0], own)) for file, own in still.items()}
        self._found = found
        known: dict[int, dict[str, Facts]] = {}
        for file, whole in found.items():
            for (start, version), cell in whole.cells.items():
                if start >= span[0]:
                    facts, versions = _by_file(file, whole.mark, start, version, cell), known.setdefault(start, {})
                    versions[version] = facts.plus(versions[version]) if version in versions else facts
        return Known(known, sum(own.timeless for own in found.values()))

    def _tasks(self, reading: Reading, starts: list[int]) -> Tasks:
        """Cut the files that have rows of some buckets."""
        model, wanted = self._rows.model, {*starts}
        touched = {
            file: sum(size_of(self._rows.baseline, own.rows) for (at, _), own in found.cells.items() if at in wanted)
            for file, found in self._found.items()
        }
        parts = listing.cut([file for file, size in touched.items() if size], listing.slots(self._rows.frame))
        stretches = [
            (start * SECOND, min(end * SECOND, self._rows.now)) for start, end in spans(starts, model.bucket_seconds)
        ]
        return Tasks(reading, stretches, parts, 16 * sum(touched.values()))

    def _has_copies(self, tasks: Tasks, starts: list[int], amount: int) -> bool:
        """Say whether rows of one bucket may share an id."""
        kind = tasks.reading.kinds[str(self._rows.model.columns.id)]
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind)):
            return self._rows.has_copies(starts)
        shares = 1 + amount // _IDS_AT_ONCE
        work = partial(_hashes, tasks.reading, tasks.stretches, shares)
        return any(self._run(tasks.parts, work, lambda found: found.groupByKey(shares).map(_repeats)))

    def _profiles(self, tasks: Tasks) -> pa.Table:
        work = partial(_profiles, worker.pack(self._rows.model, self._rows.baseline), tasks.reading, tasks.stretches)
        much = tasks.size > _AT_ONCE
        found = self._run(tasks.parts, work, (lambda found: found.reduceByKey(_added)) if much else None)
        several: dict[Key, list[tuple[bytes, int]]] = defaultdict(list)
        for key, own in found:
            several[key].append(own)
        rows = [(*key, *_added(*own)) for key, own in several.items()]
        values = zip(*rows, strict=True) if rows else [()] * len(worker.FIELDS)
        return pa.table([pa.array(own, f.type) for own, f in zip(values, worker.FIELDS, strict=True)], worker.FIELDS)


@cache
def _settle() -> None:
    """Keep the garbage collection that Spark has after each task from looking at all that was imported."""
    gc.freeze()


def _looks(tasks: Iterator[list[Part]]) -> Iterator[str | None]:
    for task in tasks:
        yield from map(reader.look, task)


def _facts(reading: Reading, span: Span, tasks: Iterator[list[Part]]) -> Iterator[tuple[Part, Found]]:
    _settle()
    for task in tasks:
        for part in task:
            yield part, reader.facts(reading, span, part)


def _hashes(
    reading: Reading, stretches: list[Span], shares: int, tasks: Iterator[list[Part]]
) -> Iterator[tuple[int, bytes]]:
    _settle()
    for task in tasks:
        yield from reader.hashes(reading, stretches, shares, task)


def _repeats(share: tuple[int, Iterable[bytes]]) -> bool:
    """Say whether a hash is there twice."""
    found = np.sort(np.concatenate([np.frombuffer(own, np.uint64) for own in share[1]]))
    return bool((found[1:] == found[:-1]).any())


def _profiles(
    packed: bytes, reading: Reading, stretches: list[Span], tasks: Iterator[list[Part]]
) -> Iterator[tuple[Key, tuple[bytes, int]]]:
    _settle()
    for task in tasks:
        yield from reader.profile(packed, reading, stretches, task)


def _added(*several: tuple[bytes, int]) -> tuple[bytes, int]:
    counts, refused = zip(*several, strict=True)
    return (encode(add(*map(decode, counts))) if len(counts) > 1 else counts[0]), sum(refused)


def _by_file(file: File, mark: str, start: int, version: str, cell: Cell) -> Facts:
    """Return what a bucket is known by of one file; low, high: halves of a hash of what the file and its rows are."""
    text = repr((*file, mark, start, version, *cell)).encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return Facts(*cell[:3], number & 0xFFFFFFFF, number >> 32, cell.newest)
