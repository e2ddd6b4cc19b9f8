"""Whole rows of each window -> verdicts; no more often than a window can have changed by much."""

from __future__ import annotations

from exporter.baseline import Baseline
from exporter.drift.features import Rows
from exporter.evaluate.multivariate import multivariate
from exporter.evaluate.views import Found, View
from exporter.profile.sample import decode, merge
from exporter.readings import Readings
from exporter.settings import Model
from exporter.store import Store

_STEPS = 24  # times that a window is judged while it moves by its own length


class WholeRows:
    """Judges samples of rows, which takes a second or so, and remembers what it said.

    always: judges at each call, so that what it says does not depend on earlier calls.
    """

    def __init__(self, store: Store, always: bool = False):
        self._store = store
        self._always = always
        self._said: dict[tuple[str, str], tuple[str, int, Found]] = {}  # version, window -> baseline, end, result

    def judge(self, model: Model, baseline: Baseline, views: list[View]) -> Found:
        """Judge each window that has moved by a 24th of its length since it was judged."""
        found = Found(Readings(), {}, {})
        for view in views:
            key = (view.version, view.window)
            said = self._said.get(key)
            step = (view.end - view.start) // _STEPS
            if self._always or said is None or said[0] != baseline.hash or not 0 <= view.end - said[1] < max(step, 1):
                said = (baseline.hash, view.end, multivariate(model, baseline, view, self._sample(model, view)))
            self._said[key] = said
            found.readings.extend(said[2].readings)
            found.states.update(said[2].states)
        self._said = {key: self._said[key] for key in found.states}
        return found

    def _sample(self, model: Model, view: View) -> Rows | None:
        with self._store.transaction() as tx:
            stored = tx.samples(model.name, view.start, view.end)
        own = [decode(blob) for version, _, blob in stored if version == view.version]
        return merge(own).rows if own else None
