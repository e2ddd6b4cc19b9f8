"""When each model runs: APScheduler with settings that are safe for slow work.

A late run still runs (no misfire limit), many late runs are one, and a model never runs twice at a time. Of those that
wait for a thread, the one that was due first is next (`runs`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from exporter.mistakes import Wrong
from exporter.runs import Queue, State
from exporter.settings import Config, Schedule
from exporter.shards import number

logging.getLogger("apscheduler").setLevel(logging.ERROR)
_LEAST_TIMEOUT, _MOST_TIMEOUT = 60.0, 900.0
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def trigger(schedule: Schedule, model: str = "") -> BaseTrigger:
    """Turn a schedule into a trigger; raises ValueError for a cron line that cannot be read or never comes.

    The models of one interval run spread over it, each at moments of its own, the same after a restart.
    """
    if schedule.cron is not None:
        minute, hour, day, month, weekday = schedule.cron.split()
        found = CronTrigger(None, month, day, None, _weekdays(weekday), hour, minute, timezone=UTC)
        if found.get_next_fire_time(None, datetime.now(UTC)) is None:
            raise ValueError(f"{schedule.cron!r} never comes: no such month has such a day")
        return found
    every = schedule.every or 60.0
    phase = every * (number(model) / 2**64)
    return IntervalTrigger(seconds=every, start_date=datetime.fromtimestamp(phase, UTC), timezone=UTC)


def _weekdays(field: str) -> str:
    """Write a cron line's weekdays by name: cron counts them from Sunday, APScheduler from Monday."""
    numbers = {str(number): number for number in range(8)} | {name: number for number, name in enumerate(_DAYS)}
    days: set[int] = set()
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0-6" if span == "*" else span).partition("-")
        last = last if dash else "6" if slash else first
        known = first in numbers and last in numbers and numbers[first] <= numbers[last]
        if not known or (slash and (not step.isdecimal() or int(step) == 0)):
            raise ValueError(f"{field!r} is no day of the week: write 1-5, or mon-fri")
        days.update(number % 7 for number in range(numbers[first], numbers[last] + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def unusable(config: Config) -> list[Wrong]:
    """Find the cron lines that cannot be read."""
    wrong = []
    for place, model in enumerate(config.models):
        try:
            trigger(model.schedule)
        except ValueError as error:
            wrong.append(Wrong(("models", place, "schedule", "cron"), f"no cron line: {error}"))
    return wrong


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


def timeout(schedule: Schedule) -> float:
    """Return after how many seconds a run leaves what is not read yet to its next turn."""
    return schedule.timeout or min(max(interval(schedule), _LEAST_TIMEOUT), _MOST_TIMEOUT)


def usual_threads() -> int:
    """Return how many models run at a time unless it is said: as many as there are processors to use, 2 to 16."""
    return min(max(len(os.sched_getaffinity(0)), 2), 16)


class Scheduler:
    """Runs one job a model, the first time at once.

    Work that returns AGAIN has more to do. on_skipped: told of a model
    and why a run of it was left out; on_overdue: of a model whose run another thread does not wait for any more.
    """

    def __init__(
        self,
        on_skipped: Callable[[str, str], None],
        threads: int = 2,
        on_overdue: Callable[[str], None] = lambda _: None,
    ):
        self._queue = Queue(threads, lambda job: on_overdue(job.partition(" ")[2]))
        self._scheduler = BackgroundScheduler(
            executors={"default": self._queue},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._on_skipped = on_skipped
        self._ids: dict[str, str] = {}
        self._numbers = count()
        self._scheduler.add_listener(self._listen, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)

    def _listen(self, event: JobExecutionEvent) -> None:
        name = event.job_id.partition(" ")[2]
        if self._ids.get(name) == event.job_id:
            why = "waiting" if self._queue.waits(event.job_id) else "overlap"
            self._on_skipped(name, "misfire" if event.code == EVENT_JOB_MISSED else why)

    @property
    def state(self) -> State:
        """What waits and what runs."""
        return self._queue.state()

    def start(self) -> None:
        """Begin to run jobs."""
        self._scheduler.start()

    def set(self, name: str, schedule: Schedule, work: Callable[[], object]) -> None:
        """Run `work` now, then on schedule, in place of what ran under this name."""
        self.remove(name)
        self._ids[name] = f"{next(self._numbers)} {name}"  # its own: what ran before does not stand in its way
        self._queue.limits[self._ids[name]] = 2 * timeout(schedule)
        self._scheduler.add_job(work, trigger(schedule, name), id=self._ids[name], next_run_time=datetime.now(UTC))

    def soon(self, name: str, seconds: float) -> None:
        """Run it once more in so many seconds, unless it runs before that anyway."""
        again = datetime.now(UTC) + timedelta(seconds=seconds)
        job = self._scheduler.get_job(self._ids.get(name, ""))
        if job is not None and job.next_run_time is not None and job.next_run_time > again:
            job.modify(next_run_time=again)

    def remove(self, name: str) -> None:
        """Run it no more."""
        if name in self._ids:
            self._scheduler.remove_job(own := self._ids.pop(name))
            self._queue.forget(own)

    def next_run(self, name: str) -> float | None:
        """Return when a job runs next, in Unix seconds."""
        job = self._scheduler.get_job(self._ids.get(name, ""))
        return job.next_run_time.timestamp() if job is not None and job.next_run_time else None

    def stop(self, seconds: float) -> bool:
        """Run nothing more, and wait a while for what is running; return whether it has ended."""
        if not self._scheduler.running:
            return True
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()
        for own in self._ids.values():
            self._queue.forget(own)
        deadline = time.monotonic() + seconds
        while (running := self._queue.state().running) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._scheduler.shutdown(wait=False)
        return not running
