"""One model's run: new rows -> profile -> store -> windows -> evaluate -> publish.

The only module that catches broadly: each failure becomes a state and a counter, for this model and this task alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

import pyarrow as pa

from exporter import ledger, tasks
from exporter.baseline import Baseline, dump, fit, learning_hash, restore, settings_hash
from exporter.collector import Board
from exporter.evaluate.drift import drift
from exporter.evaluate.performance import bounds, performance
from exporter.evaluate.views import Found, View, rows
from exporter.ledger import Deltas, Limits
from exporter.profile.batch import read_labels, read_log
from exporter.quality import quality
from exporter.readings import Readings
from exporter.rows import SECOND
from exporter.schema import SchemaError
from exporter.settings import Model, Source
from exporter.sources import files
from exporter.sources.files import Chunk
from exporter.store import Store, Transaction
from exporter.store.tables import Bucket
from exporter.tasks import SourceRecord, Task
from exporter.windows import Windows, frames

log = logging.getLogger("exporter.monitor")
STATES = ("ok", "insufficient", "failed", "stale")
EVALUATIONS: Mapping[str, Callable[[Model, Baseline, list[View]], Found]] = {
    "drift": drift,
    "quality": quality,
    "performance": performance,
}


class TaskError(Exception):
    """A task that could not do its work; `reason` is the label of the counter."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Monitor:
    """Everything that is done for one model."""

    def __init__(
        self,
        model: Model,
        store: Store,
        board: Board,
        retention: float,
        interval: float,
        replay: bool = False,
    ):
        self.model = model
        self._version = model.version if isinstance(model.version, str) else None
        self._replay = replay
        self._store = store
        self._board = board
        self._frames = frames(model.windows, model.bucket_seconds, model.drift.baselines)
        self._retention = max([retention, *(frame.behind + frame.seconds for frame in self._frames)])
        self.interval = interval
        self.tasks = {name: Task() for name in tasks.TASKS}
        self.sources = {name: SourceRecord() for name, _ in _sources(model)}
        self.baseline: Baseline | None = None
        self._windows: Windows | None = None
        self.states: dict[tuple[str, str, str], str] = {}
        self.notes: dict[str, str] = {}
        self._results: dict[tuple[str, str], Readings] = {}

    def run(self, now: float) -> bool:
        """Run every task as of `now` (Unix seconds) and publish what was found; return whether all succeeded."""
        fresh = self._attempt("ingest", now, lambda: self._ingest(now))
        views = self._views()
        results: dict[tuple[str, str], Readings] = {}
        states: dict[tuple[str, str, str], str] = {}
        for name, judge in EVALUATIONS.items():
            found = self._evaluate(name, now, judge, views)
            results[self.model.name, name] = found.readings if found else Readings()
            for key in self._keys(views):
                state = "failed" if found is None else found.states[key] if fresh else "stale"
                states[*key, name] = state
        self.states = states
        results[self.model.name, "ingest"] = self._describe(views)
        self._results = results | self._of_tasks()
        self._board.publish(self._results)
        return all(task.success for task in self.tasks.values())

    def _keys(self, views: list[View]) -> list[tuple[str, str]]:
        """Return the (version, window) of each state; where the rows are not known, those of the run before."""
        if views:
            return [(view.version, view.window) for view in views]
        before = list(dict.fromkeys((version, window) for version, window, _ in self.states))
        return before or [(self._version, w.name) for w in self.model.windows if self._version is not None]

    def _of_tasks(self) -> dict[tuple[str, str], Readings]:
        name = self.model.name
        return {(name, "tasks"): tasks.readings(name, self.interval, self.tasks, self.sources)}

    def results(self) -> Readings:
        """Return what the last run found, all tasks together."""
        out = Readings()
        for found in self._results.values():
            out.extend(found)
        return out

    def skipped(self, reason: str) -> None:
        """Count a run that the scheduler left out."""
        for task in self.tasks.values():
            task.skipped[reason] += 1

    def _attempt(self, name: str, now: float, work: Callable[[], None]) -> bool:
        """Do a task's work and note how it went; return whether it came to its end, single failures or not."""
        task = self.tasks[name]
        task.running = True
        self._board.publish(self._of_tasks(), fresh=False)
        started = time.perf_counter()
        failures = task.failures.total()
        ended = False
        try:
            work()
            ended = True
        except TaskError as error:
            task.failures[error.reason] += 1
            self.notes[name] = str(error)
            log.error("model %s: task %s: %s", self.model.name, name, error)
        except Exception as error:
            task.failures["compute"] += 1
            self.notes[name] = f"{type(error).__name__}: {error}"
            log.exception("model %s: task %s failed", self.model.name, name)
        if ended:
            self.notes.pop(name, None)
        task.ended(now, time.perf_counter() - started, task.failures.total() == failures)
        return ended

    def _evaluate(
        self, name: str, now: float, judge: Callable[[Model, Baseline, list[View]], Found], views: list[View]
    ) -> Found | None:
        found: list[Found] = []

        def work() -> None:
            if self.baseline is None:
                raise TaskError("data", "there is no baseline yet")
            found.append(judge(self.model, self.baseline, views))
            self._board.dropped["max_features"] += found[0].dropped
            for column, reason in found[0].failed.items():
                self.tasks[name].failures["compute"] += 1
                log.error("model %s: task %s: column %s: %s", self.model.name, name, column, reason)

        self._attempt(name, now, work)
        return found[0] if found else None

    def _ingest(self, now: float) -> None:
        baseline = self._load_baseline()
        bucket = self.model.bucket_seconds
        if self._windows is None:
            self._windows = Windows(self._frames, baseline.bins.size, self._buckets)
        try:
            late = self._late_limit(now)
            limits = Limits(now, bucket, now - self._retention, late, self._replay, self.model.timezone)
            for source, spec in _sources(self.model)[1:]:
                self._read_source(baseline, source, spec, limits)
            with self._store.transaction() as tx:
                changed = ledger.settle_labels(tx, self.model.name, baseline, now, self.model.timezone)
            self._windows.change(changed)
            self._windows.move(int(now) // bucket * bucket)
            with self._store.transaction() as tx:  # not before the windows have taken leave of the oldest buckets
                tx.drop_before(self.model.name, int(now - self._retention) // bucket * bucket)
        except BaseException:
            self._windows = None  # it may have missed a change: the next run sums afresh
            raise

    def _load_baseline(self) -> Baseline:
        model, record = self.model, self.sources["reference"]
        started = time.perf_counter()
        settings = settings_hash(model)
        with self._store.transaction() as tx:
            stored = tx.baseline(model.name)
        if stored is not None and not stored[0].startswith(settings):
            stored = None
        try:
            found = files.paths(model.reference.files)
            if not found:
                raise FileNotFoundError(f"no file matches {', '.join(model.reference.files)}")
            fingerprint = f"{settings} {learning_hash(model)} {files.fingerprint(model.reference.files)}"
            if stored is not None and stored[0] == fingerprint:
                record.up, record.errors = True, {}
                return self._use(self.baseline or restore(stored[1], stored[2]))
            table = files.read_all(model.reference.files)
            made = fit(model, table)
        except (OSError, ValueError, SchemaError) as error:
            record.up, record.errors = False, {"reference": str(error)}
            if stored is None:
                raise TaskError(
                    "data" if isinstance(error, SchemaError) else "source", f"reference: {error}"
                ) from error
            log.error("model %s: reference: %s; the stored baseline stays in force", model.name, error)
            self.tasks["ingest"].failures["source"] += 1
            return self._use(self.baseline or restore(stored[1], stored[2]))
        record.up, record.errors = True, {}
        record.rows += len(table)
        record.seconds = time.perf_counter() - started
        text, counts = dump(made)
        with self._store.transaction() as tx:
            if stored is None or restore(stored[1], stored[2]).hash != made.hash:
                tx.forget(model.name)
                self._windows = None
                log.info("model %s: new baseline %s: the log is read from its start", model.name, made.hash)
            tx.set_baseline(model.name, fingerprint, text, counts)
        for column, reason in made.schema.skipped.items():
            log.warning("model %s: column %s is not monitored: %s", model.name, column, reason)
        return self._use(made)

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

    def _read_source(self, baseline: Baseline, source: str, spec: Source, limits: Limits) -> None:
        """Read what is new in a source; each path is one transaction."""
        record = self.sources[source]
        started = time.perf_counter()
        with self._store.transaction() as tx:
            seen = tx.positions(self.model.name, source)
        errors: dict[str, str] = {}
        if not files.paths(spec.files):
            errors[", ".join(spec.files)] = "no file matches"
        chunks = files.read_new(spec.files, seen, baseline.schema.text)
        for path, group in groupby(chunks, key=lambda chunk: chunk.path):
            try:
                changed = self._read_path(baseline, source, path, group, limits)
            except Exception as error:
                known = isinstance(error, TaskError)
                errors[path] = str(error) if known else f"{type(error).__name__}: {error}"
                self.tasks["ingest"].failures[error.reason if isinstance(error, TaskError) else "compute"] += 1
                log.error("model %s: %s %s: %s", self.model.name, source, path, errors[path], exc_info=not known)
            else:
                assert self._windows is not None
                self._windows.change(changed)
        record.errors = errors
        record.up = not errors
        record.seconds = time.perf_counter() - started

    def _read_path(self, baseline: Baseline, source: str, path: str, chunks: Iterator[Chunk], limits: Limits) -> Deltas:
        total: Deltas = {}
        with self._store.transaction() as tx:
            for chunk in chunks:
                if chunk.error is not None:
                    raise TaskError("source", f"cannot be read: {chunk.error}")
                if chunk.changed and self.model.columns.id is None:
                    sentence = "was changed after it was read, and without columns.id new rows cannot be told from old"
                    raise TaskError("data", sentence)
                if chunk.unread:
                    tx.count(self.model.name, self._version or "", {("rejected", "line"): chunk.unread})
                if chunk.table is not None:
                    self.sources[source].rows += len(chunk.table)
                    total = ledger.merge(total, self._take(tx, baseline, source, chunk.table, limits))
                if chunk.position:
                    tx.set_position(self.model.name, source, path, chunk.position)
        return total

    def _take(self, tx: Transaction, baseline: Baseline, source: str, table: pa.Table, limits: Limits) -> Deltas:
        model = self.model
        try:
            if source == "labels":
                ledger.add_labels(tx, model.name, self._version or "", read_labels(model, baseline.schema, table))
                return {}
            log_rows = read_log(model, baseline.schema, table, baseline.segments)
        except KeyError as error:
            raise TaskError("data", str(error.args[0])) from error
        for column in log_rows.absent:
            self.tasks["ingest"].failures["data"] += 1
            log.warning(
                "model %s: column %s is missing in the log: all its values count as missing",
                model.name,
                column,
            )
        return ledger.add_log(tx, model.name, baseline, log_rows, limits)

    def _buckets(self, start: int, end: int, segment: str | None) -> list[Bucket]:
        with self._store.transaction() as tx:
            return tx.buckets(self.model.name, start, end, segment)

    def _views(self) -> list[View]:
        if self._windows is None:
            return []
        return self._windows.views(self._version)

    def _describe(self, views: list[View]) -> Readings:
        model, out = self.model, Readings()
        versions = list(dict.fromkeys(view.version for view in views))
        for (version, window, task), state in self.states.items():
            for name in STATES:
                out.put("model_window_state", model.name, version, window, task, name, value=name == state)
        for version in versions or ([self._version] if self._version is not None else []):
            out.put("model_info", model.name, version, model.task, model.framework, value=1)
        try:
            with self._store.transaction() as tx:
                stored, newest = tx.counters(model.name), tx.newest(model.name)
            counters = {(version, *kind): 0 for version in versions for kind in ledger.COUNTERS}
            counters |= {(version, name, reason): value for version, name, reason, value in stored}
        except Exception:
            log.exception("model %s: the store cannot be read", model.name)
            counters, newest = {}, {}
        for (version, name, reason), value in counters.items():
            if versions and version not in {*versions, ""}:
                continue  # a version without rows in any window is gone
            if name == "rejected":
                out.put("model_rows_rejected_total", model.name, version, reason, value=value)
            else:
                out.put(f"model_{name}_total", model.name, version, value=value)
        for version, at in newest.items():
            if version in versions:
                out.put("model_newest_row_timestamp_seconds", model.name, version, value=at / SECOND)
        if self.baseline is not None:
            for version in versions:
                out.put("model_reference_info", model.name, version, self.baseline.hash, value=1)
                out.put("model_reference_timestamp_seconds", model.name, version, value=self.baseline.newest)
                out.put("model_monitored_features", model.name, version, value=len(self.baseline.bins.features))
            out.extend(rows(model, self.baseline, views))
            out.extend(bounds(model, self.baseline, versions))
        return out


def _sources(model: Model) -> list[tuple[str, Source]]:
    named = [("reference", model.reference), ("predictions", model.predictions)]
    return [*named, ("labels", model.labels)] if model.labels is not None else named
