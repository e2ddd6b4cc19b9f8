"""What is new in a model's sources -> store and windows; the baseline that they are counted by.

One broken file is noted and leaves the others as they are; what is wrong with all of it is raised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby

import pyarrow as pa

from exporter import ledger, reference_days
from exporter.baseline import Baseline, dump, learning_hash, restore, settings_hash
from exporter.buckets import Deltas, merged
from exporter.calibrate import told
from exporter.cluster.direct import Memory
from exporter.cluster.refresh import Job, Reach
from exporter.cluster.refresh import read as cluster
from exporter.evaluate.views import View
from exporter.ledger import Limits
from exporter.profile.batch import known_by, read_labels, read_log
from exporter.reference import fit
from exporter.rows import NO_TIME, SECOND, times
from exporter.schema import SchemaError, text_in_csv
from exporter.settings import Model
from exporter.sources import files, push, whole
from exporter.sources.files import Chunk, Unreadable
from exporter.sources.parquet import Table
from exporter.sources.settings import Source
from exporter.store import Store, StoreError, Transaction, audit, rollup
from exporter.tasks import SourceRecord, Task, TaskError, warn_absent
from exporter.windows import Frame, Windows, frames

log = logging.getLogger("exporter.ingest")
Groups = Iterable[tuple[str, Iterator[Chunk]]]  # chunks by path
_ROLLED_AT_ONCE = 24
_DAY = 86_400  # more than times without a zone can be out of order
_MANY_PLACES = 50_000
# Source, its patterns, how far each of its paths was read, columns that stay text, rows at once -> what is new.
Feed = Callable[[str, tuple[str, ...], Mapping[str, str], tuple[str, ...], int], Iterator[Chunk]]


class Ingest:
    """The rows of one model, up to now."""

    def __init__(
        self, model: Model, store: Store, retention: float, task: Task, replay: bool = False, feed: Feed | None = None
    ):
        self.model = model
        self._hashes = settings_hash(model), learning_hash(model)
        self._feed = feed or self._new
        self.version = model.version if isinstance(model.version, str) else None
        self.sources = {name: SourceRecord() for name, _ in _sources(model)}
        self.baseline: Baseline | None = None
        self._store = store
        self._task = task
        self._replay = replay
        self._least = retention
        self._retention = retention
        self._windows: Windows | None = None
        self._frames: list[Frame] = []
        self._forgotten: int | None = None  # the time before which nothing is stored
        self._rolled_up: int | None = None  # the hour up to which hours and days are added up
        self.unread = False  # there is more to read than the last run had time for
        self._watches: dict[str, files.Watch] = {}
        self._memory = Memory()
        self._forget_known()

    def _forget_known(self) -> None:
        """Forget what the store holds, so that it is asked again: after any failure, and for a new baseline.

        Nobody else changes it: one exporter computes, and its term begins with a new object of this.
        """
        self._seen: dict[str, dict[str, str]] = {}  # source -> path -> how far it was read

    def _new(
        self, source: str, patterns: tuple[str, ...], seen: Mapping[str, str], text: tuple[str, ...], at_once: int
    ) -> Iterator[Chunk]:
        return files.read_new(patterns, seen, text, at_once, self._watches.setdefault(source, files.Watch()))

    def run(self, now: float, over: Callable[[], bool] = lambda: False) -> None:
        """Read what is new as of `now` (Unix seconds), and move the windows there.

        over: says that there is no more time; then what is not read yet stays, and the windows are where they were.
        """
        self.unread = False
        baseline = self._load_baseline()
        bucket = self.model.bucket_seconds
        if self._windows is None:
            delay = baseline.label_delay(self.model) or 0.0
            own = frames(self.model.windows, bucket, self.model.drift.baselines, delay)
            self._retention = max([self._least, *(frame.behind + frame.seconds for frame in own)])
            self._windows = Windows(own, baseline.bins.size)
            self._frames, self._rolled_up = own, None
        try:
            late = self._late_limit(now)
            limits = Limits(now, bucket, now - self._retention, late, self._replay, self.model.timezone)
            for source, spec in _sources(self.model)[1:]:
                if spec.spark is not None:
                    longest = max(frame.behind + frame.seconds for frame in self._frames)
                    reach = Reach(now, limits.oldest, now - longest - bucket, over)
                    job = Job(self.model, self._store, baseline, spec.spark, reach, self._windows.change, self._memory)
                    self.unread = cluster(job, self.sources[source], self._task)
                else:
                    self._read_source(baseline, source, spec, limits, over)
                if self.unread:
                    return
            end = int(now) // bucket * bucket
            with self._store.transaction() as tx:
                if self.model.columns.label is not None:
                    self._windows.change(ledger.settle_labels(tx, self.model.name, baseline, now, self.model.timezone))
                self._windows.move(end, partial(rollup.read, tx.connection, self.model.name))
                self._roll_up(tx, end)
        except BaseException:
            self._windows = None  # it may have missed a change: the next run sums afresh
            self._forget_known()
            raise

    def rest(self) -> None:
        """Take less memory until the next run."""
        if self._windows is not None:
            self._windows.rest()
        if self.baseline is not None:
            self.baseline.rest()

    def _roll_up(self, tx: Transaction, end: int) -> None:
        """Add up hours and days that are over, so that the next start need not read each bucket."""
        bucket = self.model.bucket_seconds
        hour = end // rollup.LEVELS[-1]
        if hour != self._rolled_up and rollup.levels(bucket):
            start = int(end - self._retention) // bucket * bucket
            start = max(start, end - max(frame.behind + frame.seconds for frame in self._frames))
            if rollup.roll_up(tx.connection, tx.set_rollups, self.model.name, bucket, start, end, _ROLLED_AT_ONCE):
                self._rolled_up = hour

    def forget(self, now: float) -> None:
        """Keep the retention, to a hundredth; not before windows and days have read the oldest buckets."""
        bucket = self.model.bucket_seconds
        start = int(now - self._retention) // bucket * bucket
        if self._forgotten is None or not 0 <= start - self._forgotten < self._retention / 100:
            with self._store.transaction() as tx:
                tx.drop_before(self.model.name, start)
            self._forgotten = start

    def views(self) -> list[View]:
        """Return the windows; none where the rows are not known."""
        if self._windows is None:
            return []
        return self._windows.views(self.version)

    def _load_baseline(self) -> Baseline:
        model, record = self.model, self.sources["reference"]
        started = time.perf_counter()
        settings, learning = self._hashes
        with self._store.transaction() as tx:  # asked in each run: a store that fails leaves the windows as they are
            stored = tx.fingerprint(model.name)
        if stored is not None and not stored.startswith(settings):
            stored = None
        try:
            found = whole.parts(model.reference)
            fingerprint = f"{settings} {learning} {whole.fingerprint(model.reference, found)}"
            if stored == fingerprint:
                record.up, record.errors = True, {}
                return self._use(self.baseline or self._stored())
            table = whole.read_reference(model.reference)
            made = fit(model, table)
        except (OSError, ValueError, SchemaError, Unreadable) as error:
            record.up, record.errors = False, {"reference": str(error)}
            if stored is None:
                raise TaskError(
                    "data" if isinstance(error, SchemaError) else "source", f"reference: {error}"
                ) from error
            log.error("model %s: reference: %s; the stored baseline stays in force", model.name, error)
            self._task.failures["source"] += 1
            return self._use(self.baseline or self._stored())
        record.up, record.errors = True, {}
        record.rows += len(table)
        record.seconds = time.perf_counter() - started
        text, counts = dump(made)
        self._forget_known()
        with self._store.transaction() as tx:
            new = stored is None or restore(*tx.baseline(model.name)).hash != made.hash
            if new:
                tx.forget(model.name)
                self._windows = None
                log.info("model %s: new baseline %s: the log is read from its start", model.name, made.hash)
            tx.set_baseline(model.name, fingerprint, text, counts)
            adopted = {"baseline": made.hash, "rows": len(table), "files": found, "version": self.version}
            kind = "baseline.adopted" if new else "baseline.relearned"  # new bins, or new thresholds on the same
            audit.append(tx, time.time(), kind, adopted, model.name, "exporter")
        for column, reason in made.schema.skipped.items():
            log.warning("model %s: column %s is not monitored: %s", model.name, column, reason)
        for sentence in told(model, made.learned)[1]:
            log.info("model %s: %s", model.name, sentence)
        for sentence in reference_days.told(made.day_begins, model.timezone):
            log.warning("model %s: %s", model.name, sentence)
        return self._use(made)

    def _stored(self) -> Baseline:
        with self._store.transaction() as tx:
            return restore(*tx.baseline(self.model.name))

    def _use(self, baseline: Baseline) -> Baseline:
        if self.baseline is not None and self.baseline.hash != baseline.hash:
            self._windows = None
        self.baseline = baseline
        return baseline

    def _late_limit(self, now: float) -> float | None:
        if self.model.lateness is None:
            return None
        with self._store.transaction() as tx:
            newest = tx.newest(self.model.name).values()
        return min(max(newest) / SECOND, now) - self.model.lateness if newest else None

    def _read_source(
        self, baseline: Baseline, source: str, spec: Source, limits: Limits, over: Callable[[], bool]
    ) -> None:
        """Read what is new in a source, one path at least; each path is one transaction."""
        record = self.sources[source]
        started = time.perf_counter()
        errors: dict[str, str] = {}
        if spec.push is not None:
            sent = push.waiting(self._store, self.model.name, source)
            groups: Groups = ((chunk.path, iter((chunk,))) for chunk in sent)
        else:
            if source not in self._seen:
                with self._store.transaction() as tx:
                    self._seen[source] = tx.positions(self.model.name, source)
            text = text_in_csv(self.model, baseline.schema)
            chunks = self._feed(source, spec.files, self._seen[source], text, rows_at_once(self.model, baseline))
            groups = groupby(chunks, key=lambda chunk: chunk.path)
        read = 0
        for path, group in groups:
            if read and over():
                self.unread = True
                self._task.failures["timeout"] += 1
                sentence = "model %s: %s: this turn has no time left: %d files are read, %s is next"
                log.warning(sentence, self.model.name, source, read, path)
                break
            try:
                changed = self._read_path(baseline, source, path, group, limits)
            except StoreError:  # no fault of this file, and the next ones would fare no better
                raise
            except Exception as error:
                self._seen.pop(source, None)
                error = TaskError("source", f"cannot be read: {error}") if isinstance(error, Unreadable) else error
                known = isinstance(error, TaskError)
                errors[path] = str(error) if known else f"{type(error).__name__}: {error}"
                self._task.failures[error.reason if isinstance(error, TaskError) else "compute"] += 1
                log.error("model %s: %s %s: %s", self.model.name, source, path, errors[path], exc_info=not known)
            else:
                assert self._windows is not None
                self._windows.change(changed)
                read += 1
        watch = self._watches.get(source)  # None where the feed is another one
        if spec.push is None and not (watch.any if watch is not None else files.paths(spec.files)):
            errors[", ".join(spec.files)] = "no file matches"
        record.errors = errors
        record.up = not errors
        record.seconds = time.perf_counter() - started

    def _read_path(self, baseline: Baseline, source: str, path: str, chunks: Iterator[Chunk], limits: Limits) -> Deltas:
        total: Deltas = {}
        position = ""
        with self._store.transaction() as tx:
            for chunk in chunks:
                if chunk.error is not None:
                    raise TaskError("source", f"cannot be read: {chunk.error}")
                if chunk.changed and self.model.columns.id is None:
                    sentence = "was changed after it was read, and without columns.id new rows cannot be told from old"
                    raise TaskError("data", sentence)
                if chunk.unread:
                    tx.count(self.model.name, self.version or "", {("rejected", "line"): chunk.unread})
                if chunk.table is not None:
                    self.sources[source].rows += len(chunk.table)
                    total = merged(total, self._take(tx, baseline, source, chunk.table, limits))
                if chunk.batch is not None:
                    tx.batch_done(chunk.batch)
                if chunk.position:
                    position = chunk.position
                    tx.set_position(self.model.name, source, path, position)
        if position and source in self._seen:
            self._seen[source][path] = position
        return total

    def _take(self, tx: Transaction, baseline: Baseline, source: str, table: pa.Table, limits: Limits) -> Deltas:
        model = self.model
        try:
            if source == "labels":
                labels = read_labels(model, baseline.schema, table)
                if limits.replay:
                    labels = known_by(labels, limits.now)
                ledger.add_labels(tx, model.name, self.version or "", baseline, labels)
                return {}
            if _is_expired(model, table, limits.oldest):
                tx.count(model.name, self.version or "", {("rejected", "expired"): len(table)})
                return {}
            log_rows = read_log(model, baseline.schema, table, baseline.segments)
        except KeyError as error:
            raise TaskError("data", str(error.args[0])) from error
        warn_absent(self._task, model.name, log_rows.absent)
        return ledger.add_log(tx, model.name, baseline, log_rows, limits)


def _sources(model: Model) -> list[tuple[str, Source]]:
    named = [("reference", model.reference), ("predictions", model.predictions)]
    return [*named, ("labels", model.labels)] if model.labels is not None else named


def _is_expired(model: Model, table: Table, oldest: float) -> bool:
    """Say whether the statistics of row groups tell that all rows are older than `oldest` (Unix seconds).

    Of rows with ids each is looked at: an expired one may bring the label of another.
    """
    columns = model.columns
    if columns.id is not None or isinstance(table, pa.Table) or columns.timestamp not in table.column_names:
        return False
    span = table.span(columns.timestamp)
    if span is None:
        return False
    moments = times(span, columns.timezone)
    return bool(NO_TIME not in moments and moments.max() < (oldest - _DAY) * SECOND)


def rows_at_once(model: Model, baseline: Baseline) -> int:
    """Return how many rows of a file to read together: fewer where something of each is kept, more for many knots.

    To search many knots in few rows takes longer than to sort these.
    """
    if model.columns.id or baseline.schema.derived or baseline.rows:
        return files.FEW
    return files.MANY * (1 + any(own.size > _MANY_PLACES for own in baseline.bins.features.values()))
