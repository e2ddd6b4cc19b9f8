"""The thread that judges, calls and ends; what it does is in the store, so that another exporter's may go on."""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from exporter.collector import Board
from exporter.readings import Readings
from exporter.retrain import action
from exporter.retrain.action import Result, backoff
from exporter.retrain.decision import CALLED, OUTCOMES, WAITING
from exporter.retrain.desk import Desk
from exporter.retrain.settings import Retrain
from exporter.store import Store
from exporter.store import retraining as table
from exporter.store.retraining import Run

log = logging.getLogger("exporter.retrain")
TICK = 5.0
KEEP_ALERTS = 400 * 86_400.0
_INTERRUPTIONS = 3
_HOUR = 3600.0
_SETTLING = (1.0, 2.0, 4.0, 8.0, 0.0)  # waits for a store that does not answer; then the lease ends, and it is repeated
Labels = Callable[[str], int | None]


def readings(store: Store, desk: Desk) -> dict[str, Readings]:
    """Return what each model with retraining shows, from the store: the same at each exporter, also after a restart."""
    shown = [name for name in desk.models if desk.settings(name) is not None]
    if not shown:
        return {}
    with store.transaction() as tx:
        counts, called = table.counts(tx), table.last_called(tx)
        flying = table.in_state(tx, *CALLED, *WAITING)
    found = {}
    for name in shown:
        out = found[name] = Readings()
        states = {run.state for run in flying if run.model == name}
        for outcome in OUTCOMES:
            out.put("model_retrain_decisions_total", name, outcome, value=counts.get(name, {}).get(outcome, 0))
        out.put("model_retrain_last_trigger_timestamp_seconds", name, value=called.get(name))
        out.put("model_retrain_in_progress", name, value=bool(states & CALLED))
        out.put("model_retrain_awaiting_approval", name, value=bool(states & WAITING))
    return found


class Worker:
    """One exporter's part in retraining; `labels(model)` says how many mature labels it knows of, None for unknown."""

    def __init__(self, store: Store, board: Callable[[], Board], desk: Desk, labels: Labels):
        self._store = store
        self._board = board
        self._desk = desk
        self._labels = labels
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid4().hex[:8]}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._calls: dict[str, threading.Thread] = {}
        self._shown: dict[str, Readings] = {}
        self._shown_on: Board | None = None
        self._random = random.Random()
        self._forgot = 0.0

    def start(self) -> None:
        """Begin; until `stop`."""
        self._thread = threading.Thread(target=self._run, name="retrain", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End, commands too; return whether all of it has ended within so many seconds."""
        self._stop.set()
        self._desk.woken.set()
        threads = [*([self._thread] if self._thread is not None else []), *list(self._calls.values())]
        for thread in threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._desk.woken.clear()
            try:
                self.step()
            except Exception:
                log.exception("retraining: a step failed; it is tried again")
            self._desk.woken.wait(TICK)

    def step(self) -> None:
        """Do all that is due: end what is late, judge, call, show."""
        if not self._shown and not any(own.retrain for own in self._desk.models.values()):
            return
        self._desk.end_late()
        for name in self._desk.alarmed():
            try:
                self._desk.judge(name, self._labels(name))
            except Exception:
                log.exception("model %s: retraining: no decision; it is tried again", name)
        self._call()
        now = self._desk.clock()
        if not 0 <= now - self._forgot < _HOUR:
            self._desk.forget(now - KEEP_ALERTS)
            self._forgot = now
        self.show()

    def show(self) -> None:
        """Publish what changed."""
        found, board = readings(self._store, self._desk), self._board()
        if board is not self._shown_on:  # a standby that took over, or the other way round
            self._shown, self._shown_on = {}, board
        news = {name: own for name, own in found.items() if self._shown.get(name) != own}
        for name in set(self._shown) - set(found):
            if name in self._desk.models:
                news[name] = Readings()
            else:
                board.remove(name)
        if news:
            board.publish({(name, "retrain"): own for name, own in news.items()}, fresh=False)
        self._shown = found

    def _call(self) -> None:
        """Start a thread for each run that is due and that this exporter can claim."""
        self._calls = {identity: thread for identity, thread in self._calls.items() if thread.is_alive()}
        with self._store.transaction() as tx:
            due = table.in_state(tx, "calling")
        for run in due:
            settings, now = self._desk.settings(run.model), self._desk.clock()
            if settings is None or not settings.acts or run.id in self._calls or run.next_attempt > now:
                continue
            if run.lease is not None and run.lease > now:
                continue
            if run.attempts > _retries(settings):
                self._desk.end(run, "failed", f"{run.message or 'what came of the last attempt is not known'}")
                continue
            with self._store.lasting() as tx:
                until = now + _lease(settings)
                mine = table.claim(tx, run.id, self._owner, now, until, until + settings.timeout)
            if mine:
                work = partial(self._attempt, settings, run, run.attempts + 1)
                thread = self._calls[run.id] = threading.Thread(target=work, name=f"retrain-{run.id}", daemon=True)
                thread.start()

    def _attempt(self, settings: Retrain, run: Run, attempt: int) -> None:
        try:
            result = self._perform(settings, run, attempt)
        except Exception as error:
            log.exception("model %s: retraining %s: attempt %d failed", run.model, run.id, attempt)
            result = Result("again", type(error).__name__)
        for wait in _SETTLING:
            try:
                self._settle(settings, run, attempt, result)
            except Exception:
                log.exception("model %s: retraining %s: attempt %d could not be noted", run.model, run.id, attempt)
                self._stop.wait(wait)
            else:
                break
        self._desk.woken.set()

    def _perform(self, settings: Retrain, run: Run, attempt: int) -> Result:
        told, folder = json.loads(run.event), self._desk.folder
        assert settings.action is not None
        if settings.action.http is not None:
            return action.call(settings.action.http, folder, told, self._desk.clock)
        assert settings.action.command is not None

        def hold() -> bool:
            try:
                with self._store.transaction() as tx:
                    return table.extend(tx, run.id, self._owner, attempt, self._desk.clock() + action.HOLD)
            except Exception:  # a store that does not answer gives the run to nobody else either
                log.exception("model %s: retraining %s: the lease could not be renewed", run.model, run.id)
                return True

        return action.run(settings.action.command, folder, told, settings.timeout, self._stop, hold)

    def _settle(self, settings: Retrain, run: Run, attempt: int, result: Result) -> None:
        """Note what came of an attempt; where the process ends before, the lease ends, and the run is called again."""
        now = self._desk.clock()
        log.info("model %s: retraining %s: attempt %d: %s", run.model, run.id, attempt, result.message)
        if result.kind == "again" and (attempt <= _retries(settings) or self._stop.is_set()):
            wait = backoff(attempt, self._random.random(), result.retry_after)
            with self._store.lasting() as tx:
                changed = {"next_attempt": now + wait, "message": result.message}
                table.settle(tx, run.id, self._owner, attempt, **changed)
            return
        if result.kind == "accepted" and settings.reports == "callback":
            with self._store.lasting() as tx:
                changed = {"state": "running", "deadline": now + settings.timeout, "message": result.message}
                table.settle(tx, run.id, self._owner, attempt, **changed)
            return
        state = "succeeded" if result.kind == "accepted" else "failed"
        text = f"{result.message}, attempt {attempt}" if attempt > 1 else result.message
        self._desk.settle(run, self._owner, attempt, state, text)


def _retries(settings: Retrain) -> int:
    """Return how often a call is repeated; a command is so only where its exporter ended before it did."""
    http = settings.action.http if settings.action is not None else None
    return http.retries if http is not None else _INTERRUPTIONS


def _lease(settings: Retrain) -> float:
    """Return for how many seconds an attempt is its exporter's own."""
    http = settings.action.http if settings.action is not None else None
    return http.timeout + action.MARGIN if http is not None else action.HOLD
