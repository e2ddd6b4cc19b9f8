"""Takes rows that are sent for a model: looks at them, and has them in the store before it says so."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.baseline import Baseline, restore
from exporter.profile.batch import read_labels, read_log
from exporter.rows import SECOND
from exporter.settings import Model
from exporter.sources.push import pack
from exporter.store import Store


class Refused(Exception):
    """Rows that are not taken. code: of HTTP. kind: of the error."""

    def __init__(self, code: int, kind: str, message: str):
        super().__init__(message)
        self.code = code
        self.kind = kind


class Taken(NamedTuple):
    """What became of the rows that were sent; waiting: rows that are not counted yet, these among them."""

    accepted: int
    rejected: dict[str, int]
    waiting: int


class Inbox:
    """What is sent for the models of one store; safe for threads."""

    def __init__(self, store: Store):
        self._store = store
        self._baselines: dict[str, tuple[str, Baseline]] = {}

    def take(self, model: Model, source: str, table: pa.Table, unread: int) -> Taken:
        """Keep the rows of a table; unread: what was sent beside them and is no row. Raises Refused."""
        spec = getattr(model, source)
        if spec is None or spec.push is None:
            raise Refused(409, "conflict", f"model {model.name} takes no {source}: configure {source}: {{push: {{}}}}")
        baseline = self._baseline(model)
        try:
            ids, newest, rejected, labelled = _look_at(model, source, baseline, table)
        except KeyError as error:
            raise Refused(400, "bad_data", f"model {model.name}: {error.args[0]}") from error
        rejected["line"] += unread
        with self._store.transaction() as tx:
            known = tx.known_ids(model.name, ids) if source == "predictions" else set()
            fresh = len(set(ids) - known) if source == "predictions" else len(ids)
            rejected["duplicate"] += len(ids) - fresh
            waiting = tx.waiting_rows(model.name, source)
            if (fresh or labelled) and waiting + len(table) > spec.push.most_rows:
                sentence = f"model {model.name}: {waiting} {source} wait to be counted, {spec.push.most_rows} may"
                raise Refused(429, "too_many_requests", f"{sentence}: send them later")
            if fresh or labelled:  # a row that is known may bring its label
                tx.put_batch(model.name, source, len(table), newest, pack(table))
                waiting += len(table)
            if unread:
                own = model.version if isinstance(model.version, str) else ""
                tx.count(model.name, own, {("rejected", "line"): unread})
        return Taken(fresh, {reason: count for reason, count in rejected.items() if count}, waiting)

    def _baseline(self, model: Model) -> Baseline:
        """Return the baseline in force, by which columns and classes are known."""
        with self._store.transaction() as tx:
            fingerprint = tx.fingerprint(model.name)
            kept = self._baselines.get(model.name)
            if fingerprint is None:
                raise Refused(503, "unavailable", f"model {model.name} has no baseline yet: send it later")
            if kept is None or kept[0] != fingerprint:
                kept = fingerprint, restore(*tx.baseline(model.name))
                self._baselines[model.name] = kept
        return kept[1]


def _look_at(
    model: Model, source: str, baseline: Baseline, table: pa.Table
) -> tuple[list[str], int, Counter[str], bool]:
    """Return the ids of the rows that can be counted, the newest time in seconds, and what is wrong with the others.

    The last one says whether any row brings a label.
    They are looked at again when they are counted; what is in the future then was not yet known here.
    """
    if source == "labels":
        labels = read_labels(model, baseline.schema, table)
        return labels.ids, int(time.time()), Counter(labels.rejected), bool(labels.ids)
    log = read_log(model, baseline.schema, table, baseline.segments)
    newest = int(log.timestamp.max()) // SECOND if len(log.timestamp) else 0
    return log.ids or [], newest, Counter(log.rejected), log.label is not None and not np.isnan(log.label).all()
