"""Runs that are due, on a bounded number of threads: the one that has waited longest is next.

A thread cannot be stopped from outside. So a run that takes longer than it may is left to itself, another thread takes
its place, and the run's own thread ends with it.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import NamedTuple

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job

AGAIN = object()  # what work returns that has more to do: it is due again at once, behind all that wait
_MOST_LEFT = 32  # threads that are left to runs that do not end; from then on a slot is lost with each


class State(NamedTuple):
    """threads: most runs at a time. waiting: runs that are due. late: seconds that the first of them is late."""

    threads: int
    running: int
    waiting: int
    overdue: int
    late: float


class _Waiting(NamedTuple):
    due: float  # Unix seconds
    number: int
    job: Job
    times: list[datetime]


class _Running(NamedTuple):
    job: str
    until: float  # of the monotonic clock


class Queue(BaseExecutor):  # type: ignore[misc]
    """An executor of APScheduler. limits: job -> seconds that a run may take."""

    def __init__(self, threads: int, on_overdue: Callable[[str], None]):
        super().__init__()
        self.limits: dict[str, float] = {}
        self._threads = threads
        self._on_overdue = on_overdue
        self._changed = threading.Condition()
        self._numbers = count()
        self._waiting: list[_Waiting] = []
        self._running: dict[int, _Running] = {}  # by thread
        self._left: set[int] = set()  # threads whose place another one has taken
        self._closed = False

    def start(self, scheduler: object, alias: str) -> None:
        """Start the threads."""
        super().start(scheduler, alias)
        threading.Thread(target=self._watch, name="runs", daemon=True).start()
        for _ in range(self._threads):
            self._add_thread()

    def shutdown(self, wait: bool = True) -> None:
        """Start nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def state(self) -> State:
        """Return what waits and what runs."""
        with self._changed:
            late = max(time.time() - self._waiting[0].due, 0.0) if self._waiting else 0.0
            return State(self._threads, len(self._running), len(self._waiting), len(self._left), late)

    def waits(self, job: str) -> bool:
        """Say whether a run of a job is due and has not begun."""
        with self._changed:
            return any(one.job.id == job for one in self._waiting)

    def forget(self, job: str) -> None:
        """Do not begin a run of a job that waits."""
        with self._changed:
            own = [one for one in self._waiting if one.job.id == job]
            self._waiting = [one for one in self._waiting if one.job.id != job]
            heapq.heapify(self._waiting)
        for _ in own:
            self._run_job_success(job, [])
        self.limits.pop(job, None)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._put(run_times[-1].timestamp(), job, run_times)

    def _put(self, due: float, job: Job, times: list[datetime]) -> None:
        with self._changed:
            heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), job, times))
            self._changed.notify_all()

    def _add_thread(self) -> None:
        threading.Thread(target=self._work, args=(next(self._numbers),), name="run", daemon=True).start()

    def _work(self, thread: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job, times = heapq.heappop(self._waiting)[2:]
                limit = self.limits.get(job.id, float("inf"))
                self._running[thread] = _Running(job.id, time.monotonic() + limit)
                self._changed.notify_all()
            events = run_job(job, job._jobstore_alias, times, self._logger.name)
            with self._changed:
                del self._running[thread]
                left = thread in self._left
                self._left.discard(thread)
                again = any(getattr(event, "retval", None) is AGAIN for event in events)
                if again := again and not self._closed and job.id in self.limits:
                    self._put(time.time(), job, times)
            if not again:
                self._run_job_success(job.id, events)
            if left:
                return

    def _watch(self) -> None:
        """Give the place of a run that takes too long to another thread."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                ends = {thread: own.until for thread, own in self._running.items() if thread not in self._left}
                for thread in [one for one, until in ends.items() if until <= now][: _MOST_LEFT - len(self._left)]:
                    self._left.add(thread)
                    self._on_overdue(self._running[thread].job)
                    self._add_thread()
                coming = min((until for until in ends.values() if until > now), default=now + 3600.0)
                self._changed.wait(min(coming - now, 3600.0))
