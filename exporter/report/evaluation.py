"""The evaluations that a report is made of: of a running monitor, or of the last days of a log."""

from __future__ import annotations

from pathlib import Path

from exporter.backfill.feed import Feed, Grid
from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.report.build import Facts
from exporter.scheduler import interval
from exporter.settings import Model, Retention
from exporter.store import Store

_DAY = 86_400


def replayed(model: Model, retention: Retention, at: float, days: int, folder: Path) -> tuple[Monitor, bool]:
    """Return a monitor that ran at the same time of each of the last days, and whether its last run succeeded."""
    grid = Grid(int(at) - days * _DAY, int(at), _DAY)
    store = Store(f"sqlite:///{folder / 'store.db'}")
    feed = Feed(model, folder / "log", grid, grid.start - retention.profiles)
    every, keep = interval(model.schedule), retention.results
    monitor = Monitor(model, store, Board(), retention.profiles, every, replay=True, results=keep, feed=feed)
    good = False
    for feed.now in range(grid.moments):
        good = monitor.run(grid.moment(feed.now))
    store.close()
    return monitor, good


def facts(monitor: Monitor) -> Facts:
    """Return what a monitor's last run found, and what it remembers."""
    ran = [task.last_run for task in monitor.tasks.values() if task.last_run is not None]
    broken = {f"{name}, {path}": text for name, one in monitor.sources.items() for path, text in one.errors.items()}
    return Facts(
        model=monitor.model,
        at=max(ran, default=0.0),
        readings=monitor.results(),
        since=monitor.since or {},
        reference=monitor.baseline.hash if monitor.baseline else None,
        errors={f"task {name}": text for name, text in monitor.notes.items()} | broken,
    )
