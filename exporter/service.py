"""The service: configuration, store, monitors and scheduler of one process, and what it says of itself."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from exporter import __version__, config_audit
from exporter.collector import Board
from exporter.config import ConfigError, Loaded, load
from exporter.consistency import not_computed
from exporter.election import Election
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.retrain.desk import Desk
from exporter.retrain.worker import Worker
from exporter.runs import AGAIN
from exporter.scheduler import Scheduler, interval, timeout, unusable, usual_threads
from exporter.segments import ALL
from exporter.settings import Model, Retention
from exporter.shards import Shard
from exporter.store import Store, StoreError
from exporter.store.connect import read_url
from exporter.store.lease import Lease, application, own_name

log = logging.getLogger("exporter.service")
_MANY = 8  # models from which on each takes less memory between its runs
_AGAIN_SECONDS = 10.0  # after a run that the store's trouble has spoilt


class Service:
    """Everything that `serve` runs, but for HTTP."""

    def __init__(
        self,
        loaded: Loaded,
        shard: Shard | None = None,
        web_trouble: Callable[[], str] = str,
        concurrency: int | None = None,
    ):
        self._web_trouble = web_trouble  # what is wrong with a changed --web.config.file, if anything
        self.shard = shard or Shard()
        one = self.shard.count == 1
        self._lease = "models" if one else f"models, shard {self.shard.index} of {self.shard.count}"
        self.loaded = loaded
        self._lock_file = _only_one(loaded.config.store.url)
        self.name = own_name()
        self.store = Store(loaded.config.store.url, application(self.name))
        self._board, self._nothing = self._new_board(loaded), self._new_board(loaded)
        self._term: Store | None = None if self.store.shared else self.store  # what this exporter may change, if any
        self._election = self._candidate(loaded) if self.store.shared else None
        self.monitors: dict[str, Monitor] = {}  # never changed, only replaced: other threads read it
        self._shown: WeakSet[Monitor] = WeakSet()
        self._turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._scheduler = Scheduler(self._skipped, concurrency or usual_threads(), self._overdue)
        self.desk = Desk(self.store)
        self._retraining = Worker(self.store, lambda: self.board, self.desk, self._mature_labels)
        self._reload_lock = threading.RLock()
        self._stopping = False
        self._reloaded = time.time()
        self._reload_good = True
        self.reload_error = ""
        self._store_bytes = self.store.bytes()

    def start(self) -> None:
        """Run every model at once and then on its schedule."""
        self._scheduler.start()
        with self._reload_lock:
            self._adopt(self.loaded)
        if self._election is not None:
            self._election.start()
        self._retraining.start()

    def stop(self, seconds: float = 5.0) -> bool:
        """Stop in good order: no new run, a while for the running ones; return whether all have ended."""
        self._stopping = True
        if self._election is not None:
            self._election.stop()
        ended = self._retraining.stop(seconds) & self._scheduler.stop(seconds)
        if self._election is not None:  # what has not ended is undone as soon as another one begins
            self._election.release()
        if not ended:
            return False
        self.store.close()
        if self._lock_file is not None:
            self._lock_file.close()
        return True

    @property
    def leads(self) -> bool:
        """Whether this exporter computes; where it may not, it shows no results, as another one's are newer."""
        return self._election is None or self._election.leads

    @property
    def board(self) -> Board:
        """What is shown now."""
        return self._board if self.leads else self._nothing

    def _new_board(self, loaded: Loaded) -> Board:
        board = Board(loaded.config.series_limit)
        board.own(self._readings)
        return board

    def _candidate(self, loaded: Loaded) -> Election:
        lease = Lease(self.store.url, self._lease, self.name, loaded.config.store.lease)
        return Election(lease, lambda: self.loaded.hash, self._begin, self._end)

    def _begin(self, epoch: int) -> None:
        """Compute, in place of nobody or of another exporter: with what the store knows, and nothing from before."""
        with self._reload_lock:
            self._board, self._term = self._new_board(self.loaded), self.store.fenced(self._lease, epoch)
            self._adopt(self.loaded, anew=True)

    def _end(self) -> None:
        """Compute no more; a run that has not ended changes neither the store nor what is shown."""
        with self._reload_lock:
            self._term = None
            self._adopt(self.loaded, anew=True)

    def reload(self) -> bool:
        """Read the configuration again; a bad file changes nothing but the series that says so."""
        with self._reload_lock:
            try:
                loaded = load(self.loaded.path)
                for key in ("url", "lease"):
                    if getattr(loaded.config.store, key) != getattr(self.loaded.config.store, key):
                        raise StoreError(f"store.{key} was changed: restart the exporter for that")
                self._adopt(loaded)
            except (ConfigError, StoreError, ValueError) as error:
                self._reload_good, self.reload_error = False, str(error)
                log.error("reload: the running configuration stays: %s", error)
                config_audit.refused(self.store, self.loaded.path, time.time())
            else:
                self._reload_good, self.reload_error, self._reloaded = True, "", time.time()
                log.info("reload: configuration %s is in force", loaded.hash)
            self.board.renew()
            return self._reload_good

    def _adopt(self, loaded: Loaded, anew: bool = False) -> None:
        config = loaded.config
        models = [model for model in config.models if self.shard.owns(model.name)]
        if wrong := unusable(config):
            raise ConfigError([loaded.lines.mistake(one, of_model=True) for one in wrong])
        if not anew:
            config_audit.loaded(self.store, loaded, time.time())
        for key in not_computed(config):
            log.warning("%s is read, but this version does not compute it", key)
        old, retention = self.monitors, config.store.retention
        same = retention == self.loaded.config.store.retention and not anew
        kept = {m.name: old[m.name] for m in models if same and m.name in old and old[m.name].model == m}
        new = {m.name: self._monitor(m, retention) for m in models if m.name not in kept}
        for name in set(old) - set(kept):
            self._scheduler.remove(name)
        self.monitors = {m.name: kept.get(m.name) or new[m.name] for m in models}
        for board in (self._board, self._nothing):
            for name in set(old) - set(self.monitors):
                board.remove(name)
            board.limit = config.series_limit
        self.loaded = loaded
        self.desk.configure(models, loaded.path.resolve().parent)
        for name, monitor in new.items():
            if self._term is not None:
                self._scheduler.set(name, monitor.model.schedule, partial(self._run, monitor))
            else:
                monitor.announce()

    def _monitor(self, model: Model, retention: Retention) -> Monitor:
        every = interval(model.schedule)
        store, board = (self._term, self._board) if self._term is not None else (self.store, self._nothing)
        return Monitor(model, store, board, retention.profiles, every, results=retention.results)

    def _mature_labels(self, name: str) -> int | None:
        """Return the labelled rows that performance is judged on, of the longest window; None before the first run."""
        monitor = self.monitors.get(name)
        rows = monitor.results().get("model_window_rows", []) if monitor is not None else []
        own = [one.value for one in rows if one.labels[3:] == (ALL, "labelled")]
        return int(max(own)) if own else None

    def _run(self, monitor: Monitor) -> object:
        """Run a model; return AGAIN where it had no time to read everything."""
        name = monitor.model.name
        ends = time.monotonic() + timeout(monitor.model.schedule)
        with self._turns[name]:  # after a reload the run before it may not have ended
            try:
                if self.monitors.get(name) is monitor and not self._stopping and self.leads:
                    before = monitor.failures("store")
                    monitor.run(time.time(), lambda: time.monotonic() >= ends)
                    if len(self.monitors) >= _MANY:
                        monitor.rest()
                    if monitor.unread:
                        return AGAIN
                    if monitor.failures("store") > before:
                        self._scheduler.soon(name, _AGAIN_SECONDS)
                    self._store_bytes = self.store.bytes()
                    self._shown.add(monitor)
            except StoreError as error:
                log.error("model %s: %s", name, error)
            except Exception:
                log.exception("model %s: run failed", name)
            if name not in self.monitors:
                self.board.remove(name)  # it was removed while it ran
        return None

    def _overdue(self, model: str) -> None:
        log.error(
            "model %s: its run takes more than twice its timeout: another thread runs the other models; if a file or a "
            "disk does not answer, the run ends when it does",
            model,
        )

    def _skipped(self, model: str, reason: str) -> None:
        if model in self.monitors:
            self.monitors[model].skipped(reason)

    def unready(self) -> list[str]:
        """Return why the page is not complete yet; nothing when every model has run once."""
        if not self.leads:
            assert self._election is not None
            return [trouble] if (trouble := self._election.trouble) else []
        reasons = []
        for name, monitor in self.monitors.items():
            waiting = [task for task, record in monitor.tasks.items() if not record.runs]
            reasons += [f"model {name}: task {task} has not run yet" for task in waiting]
            if not waiting and monitor not in self._shown:
                reasons.append(f"model {name}: its first results are not on the page yet")
        return reasons

    def _readings(self) -> Readings:
        out = Readings()
        revision = os.environ.get("MODEL_EXPORTER_REVISION", "")
        out.put("model_exporter_build_info", __version__, revision, platform.python_version(), value=1)
        good = self._reload_good and not self._web_trouble()
        out.put("model_exporter_config_last_reload_successful", value=good)
        out.put("model_exporter_config_last_reload_success_timestamp_seconds", value=self._reloaded)
        if self.board.published:
            out.put("model_exporter_snapshot_timestamp_seconds", value=self.board.published)
        out.put("model_exporter_snapshot_series", value=self.board.series)
        out.put("model_exporter_series_limit", value=self.board.limit)
        for reason, count in self.board.dropped.items():
            out.put("model_exporter_series_dropped_total", reason, value=count)
        out.put("model_exporter_store_bytes", value=self._store_bytes)
        runs = self._scheduler.state
        out.put("model_exporter_run_concurrency", value=runs.threads)
        out.put("model_exporter_runs_waiting", value=runs.waiting)
        out.put("model_exporter_runs_overdue", value=runs.overdue)
        out.put("model_exporter_run_lag_seconds", value=runs.late)
        out.put("model_exporter_leader", str(self.shard.index), value=self.leads)
        return out

    def status(self) -> dict[str, Any]:
        """Return what a person or a script wants to know of this process."""
        return {
            "version": __version__,
            "config": {
                "file": str(self.loaded.path),
                "hash": self.loaded.hash,
                "last_reload_successful": self._reload_good and not self._web_trouble(),
                "last_reload_error": "\n".join(filter(None, (self.reload_error, self._web_trouble()))),
            },
            "shard": asdict(self.shard),
            **self.role(),
            "not_computed": not_computed(self.loaded.config),
            "models": [self.model_status(name) for name in self.monitors],
        }

    def role(self) -> dict[str, Any]:
        """Return whether this exporter computes, or waits for which one, and what stands in the way of knowing."""
        seen = self._election.seen if self._election is not None else None
        return {
            "role": "leader" if self.leads else "standby",
            "name": self.name,
            "leader": self.name if self.leads else seen.holder if seen is not None and seen.epoch is None else None,
            "leader_config_hash": self.loaded.hash if self.leads or seen is None else seen.config,
            "election_error": self._election.trouble if self._election is not None else "",
        }

    def model_status(self, name: str) -> dict[str, Any]:
        """Return one model's tasks, sources and states; raises KeyError for an unknown one."""
        monitor = self.monitors[name]
        return {
            "model": name,
            "task": monitor.model.task,
            "baseline": monitor.baseline.hash if monitor.baseline else None,
            "retrain": monitor.model.retrain.mode if monitor.model.retrain else None,
            "next_run": self._scheduler.next_run(name),
            "tasks": {
                task: {
                    "runs": record.runs,
                    "success": record.success,
                    "last_run": record.last_run,
                    "last_success": record.last_success,
                    "duration_seconds": record.last_duration,
                    "failures": dict(record.failures),
                    "error": monitor.notes.get(task),
                }
                for task, record in monitor.tasks.items()
            },
            "sources": {
                source: {"up": record.up, "rows": record.rows, "errors": record.errors}
                for source, record in monitor.sources.items()
            },
            "states": [
                {"version": version, "window": window, "task": task, "state": state}
                for (version, window, task), state in sorted(monitor.states.items())
            ],
        }


def _only_one(url: str) -> IO[str] | None:
    """Refuse a second exporter on one SQLite file: both would count the same rows."""
    own = read_url(url)
    path = own.database
    if own.get_backend_name() != "sqlite" or path in {None, "", ":memory:"}:
        return None
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = Path(f"{path}.lock").open("w")  # noqa: SIM115 - held until the end
    except OSError as error:
        raise StoreError(f"store.url: {path} cannot be written: {error.strerror or error}") from error
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    file.close()
    raise StoreError(f"store.url: {path} is in use by another exporter: stop that one, or give this one its own")
