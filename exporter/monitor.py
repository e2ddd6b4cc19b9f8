"""One model's run: ingest -> windows -> evaluate -> publish.

The only module that catches broadly, but for single files: each failure becomes a state and a counter, for this model
and this task alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from exporter import problems, tasks
from exporter.account import account
from exporter.baseline import Baseline
from exporter.catalogue.family import TASKS
from exporter.collector import Board
from exporter.days import Days
from exporter.evaluate.business import business
from exporter.evaluate.drift import drift
from exporter.evaluate.estimation import estimation
from exporter.evaluate.history import history
from exporter.evaluate.performance import performance
from exporter.evaluate.serving import serving
from exporter.evaluate.trend import trend
from exporter.evaluate.views import Found, View
from exporter.ingest import Feed, Ingest
from exporter.quality import quality
from exporter.readings import Readings
from exporter.settings import Model
from exporter.store import Store, StoreError
from exporter.tasks import SourceRecord, Task, TaskError
from exporter.whole_rows import WholeRows

log = logging.getLogger("exporter.monitor")
STATES = ("ok", "insufficient", "immature", "failed", "stale")
STATES_OF_ROWS = tuple(name for name in STATES if name != "immature")
EVALUATIONS: Mapping[str, Callable[[Model, Baseline, list[View]], Found]] = {
    "drift": drift,
    "quality": quality,
    "performance": performance,
    "estimation": estimation,
    "business": business,
    "serving": serving,
}
# Tasks that a model has only where its settings ask for them.
OPTIONAL: Mapping[str, Callable[[Model], bool]] = {
    "multivariate": lambda model: model.judges_rows,
    "estimation": lambda model: model.performance.estimate,
    "business": lambda model: bool(model.business),
    "serving": lambda model: model.serves,
}


class Monitor:
    """Everything that is done for one model."""

    def __init__(
        self,
        model: Model,
        store: Store,
        board: Board,
        retention: float,
        interval: float,
        replay: bool = False,
        results: float = 400 * 86_400.0,
        feed: Feed | None = None,
    ):
        self.model = model
        self._board = board
        self._store = store
        self.interval = interval
        self.tasks = {name: Task() for name in TASKS if name not in OPTIONAL or OPTIONAL[name](model)}
        self._ingest = Ingest(model, store, retention, self.tasks["ingest"], replay, feed)
        self._days = Days(model, store, results)
        self._rows = WholeRows(store, always=replay)
        self._told = Readings()  # of the days
        self._told_of: tuple[object, ...] = ()
        self.states: dict[tuple[str, str, str], str] = {}
        self.notes: dict[str, str] = {}
        self._results: dict[tuple[str, str], Readings] = {}
        self.since: dict[problems.Key, problems.Seen] | None = None  # what is wrong, since when; None before a run

    @property
    def baseline(self) -> Baseline | None:
        """What the windows are compared against; None before the first run that could make it."""
        return self._ingest.baseline

    @property
    def sources(self) -> dict[str, SourceRecord]:
        """The record of each source."""
        return self._ingest.sources

    @property
    def unread(self) -> bool:
        """Whether the last run had no time to read everything: then it published nothing, and is to go on."""
        return self._ingest.unread

    def run(self, now: float, over: Callable[[], bool] = lambda: False) -> bool:
        """Run every task as of `now` (Unix seconds) and publish what was found; return whether all succeeded.

        over: says that there is no more time to read.
        """
        if not self._results:  # other settings of before may have had tasks that these have not
            gone = {(self.model.name, name): Readings() for name in OPTIONAL if name not in self.tasks}
            self._board.publish(gone | self._of_tasks(), fresh=False)
        fresh = self._attempt("ingest", now, lambda: self._ingest.run(now, over))
        if self.unread:
            self._board.publish(self._of_tasks(), fresh=False)
            return False
        views = self._ingest.views()
        results: dict[tuple[str, str], Readings] = {}
        states: dict[tuple[str, str, str], str] = {}
        judges = {**EVALUATIONS, "multivariate": self._rows.judge}
        for name, judge in ((name, judges[name]) for name in self.tasks if name in judges):
            found = self._evaluate(name, now, judge, views)
            results[self.model.name, name] = found.readings if found else Readings()
            for key in self._keys(views, fresh):
                state = "failed" if found is None else found.states[key] if fresh else "stale"
                states[*key, name] = state
        self.states = states
        told = self._attempt("history", now, lambda: self._remember(now, fresh, views))
        results[self.model.name, "history"] = self._told if told else Readings()
        results[self.model.name, "ingest"] = account(self.model, self._store, self.baseline, views)
        results[self.model.name, "states"] = self._of_states()
        self._results = results | self._of_tasks()
        self.since = problems.since(self.since, problems.find(self.results(), now), now)
        self._board.publish(self._results)
        return all(task.success for task in self.tasks.values())

    def rest(self) -> None:
        """Take less memory until the next run, which takes a little longer for it."""
        self._ingest.rest()

    def _keys(self, views: list[View], fresh: bool) -> list[tuple[str, str]]:
        """Return the (version, window) of each state; where the rows are not known, those of the run before."""
        if views or fresh:
            return [(view.version, view.window) for view in views]
        version = self._ingest.version
        before = list(dict.fromkeys((version, window) for version, window, _ in self.states))
        return before or [(version, w.name) for w in self.model.windows if version is not None]

    def _remember(self, now: float, fresh: bool, views: list[View]) -> None:
        """Describe the days that are over, tell of those of the versions that are alive, and forget what is too old."""
        baseline = self._known_baseline()
        mature = self._days.number(now - (baseline.label_delay(self.model) or 0.0))
        versions = {view.version for view in views}
        told_of = (baseline, mature, versions)
        if self._days.refresh(baseline, now) or told_of != self._told_of:
            known = {version: own for version, own in self._days.known().items() if version in versions}
            told = history(self.model, baseline, known, mature)
            told.extend(trend(self.model, known, mature))
            self._told, self._told_of = told, told_of
        if fresh:
            self._ingest.forget(now)

    def _known_baseline(self) -> Baseline:
        if self.baseline is None:
            raise TaskError("data", "there is no baseline yet")
        return self.baseline

    def _of_states(self) -> Readings:
        out = Readings()
        for (version, window, task), state in self.states.items():
            for name in STATES if task == "performance" else STATES_OF_ROWS:
                out.put("model_window_state", self.model.name, version, window, task, name, value=name == state)
        return out

    def _of_tasks(self) -> dict[tuple[str, str], Readings]:
        name = self.model.name
        return {(name, "tasks"): tasks.readings(name, self.interval, self.tasks, self.sources)}

    def announce(self) -> None:
        """Show which tasks there are, and nothing of their results: another exporter runs them."""
        name = self.model.name
        self._board.publish({(name, "tasks"): tasks.intervals(name, self.interval, self.tasks)}, fresh=False)

    def failures(self, reason: str) -> int:
        """Return how often tasks failed for a reason."""
        return sum(task.failures[reason] for task in self.tasks.values())

    def results(self) -> Readings:
        """Return what the last run found, all tasks together."""
        out = Readings()
        for found in self._results.values():
            out.extend(found)
        return out

    def skipped(self, reason: str) -> None:
        """Count a run that the scheduler left out."""
        for task in self.tasks.values():
            task.skipped[reason] += 1

    def _attempt(self, name: str, now: float, work: Callable[[], None]) -> bool:
        """Do a task's work and note how it went; return whether it came to its end, single failures or not."""
        task = self.tasks[name]
        task.running = True
        self._board.show((self.model.name, "tasks"), tasks.running(self.model.name, self.tasks))
        started = time.perf_counter()
        failures = task.failures.total()
        ended = False
        try:
            work()
            ended = True
        except TaskError as error:
            task.failures[error.reason] += 1
            self.notes[name] = str(error)
            log.error("model %s: task %s: %s", self.model.name, name, error)
        except StoreError as error:
            task.failures["store"] += 1
            self.notes[name] = str(error)
            log.error("model %s: task %s: %s", self.model.name, name, error)
        except Exception as error:
            task.failures["compute"] += 1
            self.notes[name] = f"{type(error).__name__}: {error}"
            log.exception("model %s: task %s failed", self.model.name, name)
        if ended:
            self.notes.pop(name, None)
        task.ended(now, time.perf_counter() - started, task.failures.total() == failures)
        return ended

    def _evaluate(
        self, name: str, now: float, judge: Callable[[Model, Baseline, list[View]], Found], views: list[View]
    ) -> Found | None:
        found: list[Found] = []

        def work() -> None:
            found.append(judge(self.model, self._known_baseline(), views))
            self._board.dropped["max_features"] += found[0].dropped
            for column, reason in found[0].failed.items():
                self.tasks[name].failures["compute"] += 1
                log.error("model %s: task %s: %s: %s", self.model.name, name, column, reason)

        self._attempt(name, now, work)
        return found[0] if found else None
