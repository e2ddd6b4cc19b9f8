"""The service: configuration, store, monitors and scheduler of one process, and what it says of itself."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import threading
import time
from pathlib import Path
from typing import IO, Any

from exporter import __version__
from exporter.collector import Board
from exporter.config import ConfigError, Loaded, load
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.scheduler import Scheduler, interval
from exporter.settings import Model, not_computed
from exporter.store import Store, StoreError

log = logging.getLogger("exporter.service")


class Service:
    """Everything that `serve` runs, but for HTTP."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self._lock_file = _only_one(loaded.config.store.url)
        self.store = Store(loaded.config.store.url)
        self.board = Board(loaded.config.series_limit)
        self.board.own(self._readings)
        self.monitors: dict[str, Monitor] = {}
        self._scheduler = Scheduler(self._skipped)
        self._reload_lock = threading.Lock()
        self._reloaded = time.time()
        self._reload_good = True
        self.reload_error = ""
        self._store_bytes = self.store.bytes()

    def start(self) -> None:
        """Run every model at once and then on its schedule."""
        self._scheduler.start()
        self._adopt(self.loaded)

    def stop(self, seconds: float = 10.0) -> None:
        """Stop in good order: no new run, a while for the running ones."""
        self._scheduler.stop(seconds)
        self.store.close()
        if self._lock_file is not None:
            self._lock_file.close()

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
                return False
            self._reload_good, self.reload_error, self._reloaded = True, "", time.time()
            log.info("reload: configuration %s is in force", loaded.hash)
            return True

    def _adopt(self, loaded: Loaded) -> None:
        config = loaded.config
        for key in not_computed(config):
            log.warning("%s is read, but this version does not compute it", key)
        wanted = {model.name: model for model in config.models}
        for name in [name for name, monitor in self.monitors.items() if wanted.get(name) != monitor.model]:
            self._scheduler.remove(name)
            del self.monitors[name]
            if name not in wanted:
                self.board.remove(name)
        for name, model in wanted.items():
            if name not in self.monitors:
                self._add(model, config.store.retention.profiles)
        self.board.limit = config.series_limit
        self.loaded = loaded

    def _add(self, model: Model, retention: float) -> None:
        monitor = Monitor(model, self.store, self.board, retention, interval(model.schedule))
        self.monitors[model.name] = monitor
        self._scheduler.set(model.name, model.schedule, lambda: self._run(monitor))

    def _run(self, monitor: Monitor) -> None:
        try:
            monitor.run(time.time())
            self._store_bytes = self.store.bytes()
        except Exception:
            log.exception("model %s: run failed", monitor.model.name)
        if self.monitors.get(monitor.model.name) is None:
            self.board.remove(monitor.model.name)  # it was removed while it ran

    def _skipped(self, model: str, reason: str) -> None:
        if model in self.monitors:
            self.monitors[model].skipped(reason)

    def unready(self) -> list[str]:
        """Return why the page is not complete yet; nothing when every model has run once."""
        return [
            f"model {name}: task {task} has not run yet"
            for name, monitor in self.monitors.items()
            for task, record in monitor.tasks.items()
            if not record.runs
        ]

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
