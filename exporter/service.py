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
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from exporter import __version__, config_audit
from exporter.collector import Board
from exporter.config import ConfigError, Loaded, load
from exporter.consistency import not_computed
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.retrain.desk import Desk
from exporter.retrain.worker import Worker
from exporter.scheduler import Scheduler, interval, unusable
from exporter.segments import ALL
from exporter.settings import Model, Retention
from exporter.shards import Shard
from exporter.store import Store, StoreError

log = logging.getLogger("exporter.service")


class Service:
    """Everything that `serve` runs, but for HTTP."""

    def __init__(self, loaded: Loaded, shard: Shard | None = None):
        self.shard = shard or Shard()
        self.loaded = loaded
        self._lock_file = _only_one(loaded.config.store.url)
        self.store = Store(loaded.config.store.url)
        self.board = Board(loaded.config.series_limit)
        self.board.own(self._readings)
        self.monitors: dict[str, Monitor] = {}  # never changed, only replaced: other threads read it
        self._shown: WeakSet[Monitor] = WeakSet()
        self._turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._scheduler = Scheduler(self._skipped)
        self.desk = Desk(self.store)
        self._retraining = Worker(self.store, self.board, self.desk, self._mature_labels)
        self._reload_lock = threading.Lock()
        self._stopping = False
        self._reloaded = time.time()
        self._reload_good = True
        self.reload_error = ""
        self._store_bytes = self.store.bytes()

    def start(self) -> None:
        """Run every model at once and then on its schedule."""
        self._scheduler.start()
        self._adopt(self.loaded)
        self._retraining.start()

    def stop(self, seconds: float = 5.0) -> bool:
        """Stop in good order: no new run, a while for the running ones; return whether all have ended."""
        self._stopping = True
        ended = self._retraining.stop(seconds)
        if not self._scheduler.stop(seconds) or not ended:
            return False
        self.store.close()
        if self._lock_file is not None:
            self._lock_file.close()
        return True

    def reload(self) -> bool:
        """Read the configuration again; a bad file changes nothing but the series that says so."""
        with self._reload_lock:
            try:
                loaded = load(self.loaded.path)
                if loaded.config.store.url != self.loaded.config.store.url:
                    raise StoreError("store.url was changed: restart the exporter to use another store")
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

    def _adopt(self, loaded: Loaded) -> None:
        config = loaded.config
        models = [model for model in config.models if self.shard.owns(model.name)]
        if wrong := unusable(config):
            raise ConfigError([loaded.lines.mistake(one, of_model=True) for one in wrong])
        config_audit.loaded(self.store, loaded, time.time())
        for key in not_computed(config):
            log.warning("%s is read, but this version does not compute it", key)
        old, retention = self.monitors, config.store.retention
        same = retention == self.loaded.config.store.retention
        kept = {m.name: old[m.name] for m in models if same and m.name in old and old[m.name].model == m}
        new = {m.name: self._monitor(m, retention) for m in models if m.name not in kept}
        for name in set(old) - set(kept):
            self._scheduler.remove(name)
        self.monitors = {m.name: kept.get(m.name) or new[m.name] for m in models}
        for name in set(old) - set(self.monitors):
            self.board.remove(name)
        self.board.limit = config.series_limit
        self.loaded = loaded
        self.desk.configure(config.models, loaded.path.resolve().parent)
        for name, monitor in new.items():
            self._scheduler.set(name, monitor.model.schedule, partial(self._run, monitor))

    def _monitor(self, model: Model, retention: Retention) -> Monitor:
        every = interval(model.schedule)
        return Monitor(model, self.store, self.board, retention.profiles, every, results=retention.results)

    def _mature_labels(self, name: str) -> int | None:
        """Return the labelled rows that performance is judged on, of the longest window; None before the first run."""
        monitor = self.monitors.get(name)
        rows = monitor.results().get("model_window_rows", []) if monitor is not None else []
        own = [one.value for one in rows if one.labels[3:] == (ALL, "labelled")]
        return int(max(own)) if own else None

    def _run(self, monitor: Monitor) -> None:
        name = monitor.model.name
        with self._turns[name]:  # after a reload the run before it may not have ended
            try:
                if self.monitors.get(name) is monitor and not self._stopping:
                    monitor.run(time.time())
                    self._store_bytes = self.store.bytes()
                    self._shown.add(monitor)
            except Exception:
                log.exception("model %s: run failed", name)
            if name not in self.monitors:
                self.board.remove(name)  # it was removed while it ran

    def _skipped(self, model: str, reason: str) -> None:
        if model in self.monitors:
            self.monitors[model].skipped(reason)

    def unready(self) -> list[str]:
        """Return why the page is not complete yet; nothing when every model has run once."""
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
        out.put("model_exporter_config_last_reload_successful", value=self._reload_good)
        out.put("model_exporter_config_last_reload_success_timestamp_seconds", value=self._reloaded)
        if self.board.published:
            out.put("model_exporter_snapshot_timestamp_seconds", value=self.board.published)
        out.put("model_exporter_snapshot_series", value=self.board.series)
        out.put("model_exporter_series_limit", value=self.board.limit)
        for reason, count in self.board.dropped.items():
            out.put("model_exporter_series_dropped_total", reason, value=count)
        out.put("model_exporter_store_bytes", value=self._store_bytes)
        out.put("model_exporter_leader", value=1)
        return out

    def status(self) -> dict[str, Any]:
        """Return what a person or a script wants to know of this process."""
        return {
            "version": __version__,
            "config": {
                "file": str(self.loaded.path),
                "hash": self.loaded.hash,
                "last_reload_successful": self._reload_good,
                "last_reload_error": self.reload_error,
            },
            "shard": asdict(self.shard),
            "not_computed": not_computed(self.loaded.config),
            "models": [self.model_status(name) for name in self.monitors],
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
    path = url.removeprefix("sqlite:///")
    if not url.startswith("sqlite:///") or path in {"", ":memory:"}:
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
