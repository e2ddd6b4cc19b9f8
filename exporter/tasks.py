"""What is known of a model's tasks and sources: runs, failures, durations; plain numbers and their readings."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.readings import Readings

log = logging.getLogger("exporter.tasks")
REASONS = ("source", "data", "store", "compute", "timeout")
SKIPS = ("overlap", "waiting", "misfire")
DURATIONS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class TaskError(Exception):
    """A task that could not do its work; `reason` is the label of the counter."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass
class Task:
    """The record of one task since the start of the exporter."""

    runs: int = 0
    running: bool = False
    success: bool = False
    last_run: float | None = None
    last_success: float | None = None
    last_duration: float | None = None
    total_duration: float = 0.0
    failures: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REASONS, 0)))
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SKIPS, 0)))
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))

    def ended(self, now: float, seconds: float, success: bool) -> None:
        """Note the end of a run."""
        self.runs += 1
        self.running = False
        self.success = success
        self.last_run = now
        self.last_duration = seconds
        self.total_duration += seconds
        self.durations[bisect_left(DURATIONS, seconds)] += 1
        if success:
            self.last_success = now


@dataclass
class SourceRecord:
    """The record of one source since the start of the exporter."""

    up: bool = True
    rows: int = 0
    seconds: float = 0.0
    errors: dict[str, str] = field(default_factory=dict)


def intervals(model: str, interval: float, tasks: dict[str, Task]) -> Readings:
    """Return what is known of tasks that another exporter runs."""
    out = Readings()
    for name in tasks:
        out.put("model_task_interval_seconds", model, name, value=interval)
    return out


def running(model: str, tasks: dict[str, Task]) -> Readings:
    """Return which tasks run now: all that changes when one starts."""
    out = Readings()
    for name, task in tasks.items():
        out.put("model_task_running", model, name, value=task.running)
    return out


def readings(model: str, interval: float, tasks: dict[str, Task], sources: dict[str, SourceRecord]) -> Readings:
    """Return the readings of all tasks and sources of a model."""
    out = Readings()
    for name, task in tasks.items():
        out.put("model_task_interval_seconds", model, name, value=interval)
        out.put("model_task_last_run_timestamp_seconds", model, name, value=task.last_run)
        out.put("model_task_last_success_timestamp_seconds", model, name, value=task.last_success)
        if task.runs:
            out.put("model_task_last_run_success", model, name, value=task.success)
        out.put("model_task_running", model, name, value=task.running)
        out.put("model_task_last_duration_seconds", model, name, value=task.last_duration)
        out.put("model_task_runs_total", model, name, value=task.runs)
        for reason, count in task.failures.items():
            out.put("model_task_failures_total", model, name, reason, value=count)
        for reason, count in task.skipped.items():
            out.put("model_task_skipped_total", model, name, reason, value=count)
        out.put_histogram(
            "model_task_duration_seconds",
            model,
            name,
            bounds=DURATIONS,
            counts=task.durations,
            total=task.total_duration,
        )
    for name, source in sources.items():
        out.put("model_source_up", model, name, value=source.up)
        out.put("model_source_rows_total", model, name, value=source.rows)
        out.put("model_source_read_seconds", model, name, value=source.seconds)
    return out


def warn_absent(task: Task, model: str, columns: Iterable[str]) -> None:
    """Count and tell the columns that the rows do not have."""
    for column in columns:
        task.failures["data"] += 1
        log.warning("model %s: column %s is missing in the log: all its values count as missing", model, column)
