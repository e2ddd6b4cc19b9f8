"""When each model runs: APScheduler with settings that are safe for slow work.

A late run still runs (no misfire limit), many late runs are one, and a model never runs twice at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from exporter.settings import Schedule

logging.getLogger("apscheduler").setLevel(logging.ERROR)
_THREADS = 2


def trigger(schedule: Schedule) -> BaseTrigger:
    """Turn a schedule into a trigger; raises ValueError for a cron line that cannot be read."""
    if schedule.cron is not None:
        return CronTrigger.from_crontab(schedule.cron, timezone=UTC)
    return IntervalTrigger(seconds=schedule.every or 60.0, timezone=UTC)


def interval(schedule: Schedule) -> float:
    """Return the seconds between two runs; of a cron line, the longest between its next ones."""
    if schedule.every is not None:
        return schedule.every
    own = trigger(schedule)
    moments = [datetime.now(UTC)]
    while len(moments) < 32 and (following := own.get_next_fire_time(moments[-1], moments[-1] + timedelta(seconds=1))):
        moments.append(following)
    gaps = [(b - a).total_seconds() for a, b in pairwise(moments[1:])]
    return max(gaps, default=86400.0)


class Scheduler:
    """Runs one job a model, the first time at once."""

    def __init__(self, on_skipped: Callable[[str, str], None]):
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._on_skipped = on_skipped
        self._scheduler.add_listener(self._listen, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)

    def _listen(self, event: JobExecutionEvent) -> None:
        self._on_skipped(event.job_id, "misfire" if event.code == EVENT_JOB_MISSED else "overlap")

    def start(self) -> None:
        """Begin to run jobs."""
        self._scheduler.start()

    def set(self, name: str, schedule: Schedule, work: Callable[[], object]) -> None:
        """Run `work` now, then on schedule, in place of what ran under this name."""
        self._scheduler.add_job(
            work, trigger(schedule), id=name, replace_existing=True, next_run_time=datetime.now(UTC)
        )

    def remove(self, name: str) -> None:
        """Run it no more."""
        self._scheduler.remove_job(name)

    def next_run(self, name: str) -> float | None:
        """Return when a job runs next, in Unix seconds."""
        job = self._scheduler.get_job(name)
        return job.next_run_time.timestamp() if job is not None and job.next_run_time else None

    def stop(self, seconds: float) -> None:
        """Run nothing more, and wait a while for what is running."""
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()
        deadline = time.monotonic() + seconds
        pool = self._scheduler._lookup_executor("default")
        while pool._instances and any(pool._instances.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._scheduler.shutdown(wait=False)
