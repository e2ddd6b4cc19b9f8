"""The steps of a replay, and the checkpoints from which a killed one goes on to the same bytes."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from exporter import __version__
from exporter.backfill.feed import Feed, Grid
from exporter.backfill.spool import Spool
from exporter.collector import Board, Owner
from exporter.monitor import OPTIONAL, Monitor
from exporter.readings import Readings
from exporter.scheduler import interval
from exporter.settings import Model, Retention
from exporter.sources import whole
from exporter.store import Store

log = logging.getLogger("exporter.backfill")


class Plan(NamedTuple):
    """What is replayed: models, moments, labels that a scrape would add, optional tasks that are left out."""

    models: tuple[Model, ...]
    grid: Grid
    labels: Mapping[str, str]
    retention: Retention
    without: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """Number of evaluations."""
        return len(self.models) * self.grid.moments

    def fingerprint(self) -> str:
        """Return what changes when the result could."""
        parts: list[Any] = [__version__, list(self.grid), sorted(self.labels.items()), sorted(self.without)]
        parts += [self.retention.model_dump_json(), [model.model_dump_json() for model in self.models]]
        parts += [whole.fingerprint(model.reference, whole.parts(model.reference)) for model in self.models]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass
class Progress:
    """A checkpoint: what is done, and the state that goes on from there."""

    model: int = 0
    step: int = 0
    store: str = ""
    failed: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    successes: dict[str, float | None] = field(default_factory=dict)


class _NoPage(Board):
    """A board that nobody looks at."""

    def publish(self, results: Mapping[Owner, Readings], fresh: bool = True) -> None:
        pass


class Replay:
    """One replay in a working folder, which is gone when the output is there."""

    def __init__(self, plan: Plan, folder: Path, checkpoint_seconds: float = 20.0):
        self.plan = plan
        self._folder = folder
        self._seconds = checkpoint_seconds
        self._at = folder / "progress.json"
        self.progress = self._resume()
        self._spool = Spool(folder / "families", plan.labels, self.progress.lengths)

    @property
    def done(self) -> int:
        """Number of evaluations that are behind."""
        return self.progress.model * self.plan.grid.moments + self.progress.step

    def run(self, output: Path, tell: Callable[[int], None]) -> int:
        """Replay what is left and write the file; return the number of samples. `tell` is given the steps done.

        Raises ValueError where the reference or a file of the log cannot be read.
        """
        while self.progress.model < len(self.plan.models):
            self._replay(self.plan.models[self.progress.model], tell)
            self.progress.model, self.progress.step, self.progress.store = self.progress.model + 1, 0, ""
            self.progress.successes = {}
            self._write_progress()
        samples = self._spool.join(output)
        shutil.rmtree(self._folder)
        return samples

    def _replay(self, model: Model, tell: Callable[[int], None]) -> None:
        grid, retention, progress = self.plan.grid, self.plan.retention, self.progress
        store = Store(f"sqlite:///{self._working_store()}")
        feed = Feed(model, self._folder / f"log-{progress.model}", grid, grid.start - retention.profiles)
        every = interval(model.schedule)
        monitor = Monitor(
            model, store, _NoPage(), retention.profiles, every, replay=True, results=retention.results, feed=feed
        )
        for name in self.plan.without & OPTIONAL.keys() & monitor.tasks.keys():
            del monitor.tasks[name]
        for name, moment in progress.successes.items():
            monitor.tasks[name].last_success = moment
        last = time.monotonic()
        try:
            while progress.step < grid.moments:
                feed.now = progress.step
                now = grid.moment(progress.step)
                progress.failed += not monitor.run(now)
                _stop_at_bad_input(monitor)
                self._spool.add(monitor.results(), now)
                progress.step += 1
                tell(self.done)
                if time.monotonic() - last >= self._seconds and progress.step < grid.moments:
                    self._checkpoint(monitor)
                    last = time.monotonic()
        finally:
            store.close()
            self._spool.close()
        shutil.rmtree(self._folder / f"log-{progress.model}", ignore_errors=True)

    def _resume(self) -> Progress:
        """Take up the last checkpoint of the same replay, or begin."""
        try:
            found = json.loads(self._at.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        if found.pop("fingerprint", None) == self.plan.fingerprint():
            log.info("going on from step %d", found["model"] * self.plan.grid.moments + found["step"])
            return Progress(**found)
        if found:
            log.info("configuration, reference or range have changed: the replay begins anew")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return Progress()

    def _working_store(self) -> Path:
        """Return a store as it was at the checkpoint."""
        path = self._folder / "working.db"
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        if self.progress.store:
            shutil.copyfile(self._folder / self.progress.store, path)
        return path

    def _checkpoint(self, monitor: Monitor) -> None:
        """Copy the store, and then replace the word of how far it is: killed at any moment, one of both holds."""
        copy = f"store-{self.done}.db"
        with (
            closing(sqlite3.connect(self._folder / "working.db")) as source,
            closing(sqlite3.connect(self._folder / copy)) as target,
        ):
            source.backup(target)
        self.progress.store = copy
        self.progress.successes = {name: task.last_success for name, task in monitor.tasks.items()}
        self._write_progress()

    def _write_progress(self) -> None:
        progress = self.progress
        progress.lengths = self._spool.lengths()
        text = json.dumps({"fingerprint": self.plan.fingerprint(), **vars(progress)})
        unfinished = self._at.with_suffix(".tmp")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self._at)
        for old in self._folder.glob("store-*.db"):
            if old.name != progress.store:
                old.unlink()


def _stop_at_bad_input(monitor: Monitor) -> None:
    """Raise ValueError with the first thing that cannot be read: a past with holes would read as one without rows."""
    for source, record in monitor.sources.items():
        for path, reason in record.errors.items():
            raise ValueError(f"model {monitor.model.name}: {source}: {path}: {reason}")
    if "ingest" in monitor.notes:
        raise ValueError(f"model {monitor.model.name}: {monitor.notes['ingest']}")
