"""Which buckets have changed in a cluster -> their counts in the store, in the place of what was there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.baseline import Baseline, dense
from exporter.buckets import Deltas
from exporter.cluster.direct import Files, Memory
from exporter.cluster.plan import Facts, Rows, size_of
from exporter.profile.counts import ZERO, Counts
from exporter.rows import SECOND, local_days
from exporter.segments import ALL
from exporter.settings import Model
from exporter.sources import spark
from exporter.sources.settings import Spark
from exporter.store import Store, Transaction
from exporter.store.replace import differences, digest_name, forget_digests, replace_buckets
from exporter.store.tables import Key
from exporter.tasks import SourceRecord, Task, TaskError, warn_absent

log = logging.getLogger("exporter.cluster")
SOURCE = "predictions"
_AT_ONCE = 6_000_000  # numbers of one job's profiles, which are in memory together; 16 bytes each
_TIMELESS = "rows without a time"  # kept beside the digests of buckets, whose names are digits


class Reach(NamedTuple):
    """Unix seconds. oldest: where the retention begins; since: where the windows that are in force begin.

    over: says that there is no more time; then what is not counted yet stays.
    """

    now: float
    oldest: float
    since: float
    over: Callable[[], bool] = lambda: False


class Job(NamedTuple):
    """What to bring up to date; apply: told of each change once it is stored; memory: kept from run to run."""

    model: Model
    store: Store
    baseline: Baseline
    spec: Spark
    reach: Reach
    apply: Callable[[Deltas], None]
    memory: Memory


def read(job: Job, record: SourceRecord, task: Task) -> bool:
    """Have what changed counted, and note how that went; return whether there was no time for all of it."""
    started, name, unread = time.perf_counter(), job.model.name, False
    record.errors = {}
    try:
        rows, absent, unread = refresh(job)
    except (spark.SparkError, TaskError) as error:
        record.errors = {job.spec.name: str(error)}
        task.failures[error.reason if isinstance(error, TaskError) else "source"] += 1
        log.error("model %s: %s %s: %s", name, SOURCE, job.spec.name, error)
    else:
        record.rows += rows
        warn_absent(task, name, absent)
    if unread:
        task.failures["timeout"] += 1
        log.warning("model %s: %s: this turn has no time left: not all buckets are counted", name, SOURCE)
    record.up = not record.errors
    record.seconds = time.perf_counter() - started
    return unread


def refresh(job: Job) -> tuple[int, list[str], bool]:
    """Bring the buckets up to date, some at least; return the number of new rows, absent columns, what of `read`.

    A bucket is profiled once it is over, and again when its digest changes. Raises SparkError, TaskError; what was
    stored by then stays.
    """
    model, store, baseline, spec, reach, apply, memory = job
    bucket = model.bucket_seconds
    with store.transaction() as tx:
        noted = tx.positions(model.name, SOURCE)
    timeless = int(noted.pop(_TIMELESS, 0))
    seen = {int(path): text for path, text in noted.items()}
    first = min(reach.since, max(seen)) if seen else reach.oldest
    start, end = (int(at // bucket * bucket) for at in (max(first, reach.oldest), reach.now))
    rows = Files(Rows(model, baseline, spark.frame(spec), reach.now), spec, memory)
    facts, without = rows.facts((start, end + bucket))
    new = {at: _text(own) for at, own in facts.items() if at < end}
    old = {at: json.loads(text)[0] for at, text in seen.items() if at >= start}
    changed = sorted(at for at in {*new, *old} if new.get(at) != old.get(at))
    taken, unread = 0, False
    for number, (some, amount) in enumerate(_together(changed, facts, baseline)):
        if unread := number > 0 and reach.over():
            break
        found = rows.profiles([at for at in some if at in facts], amount) if amount else None
        with store.transaction() as tx:
            deltas, rose = _replace(tx, model, baseline, some, found, {at: facts.get(at, {}) for at in some}, seen)
        apply(deltas)
        taken += rose
    newest: dict[str, int] = {}
    for versions in facts.values():
        for version, own in versions.items():
            newest[version] = max(newest.get(version, 0), own.newest)
    with store.transaction() as tx:
        tx.raise_newest(model.name, newest)
        if without != timeless:
            version = max(
                newest, key=lambda one: newest[one], default=str(model.version) * isinstance(model.version, str)
            )
            tx.count(model.name, version, {("rejected", "timestamp"): max(0, without - timeless)})
            tx.set_position(model.name, SOURCE, _TIMELESS, str(without))
        forget_digests(tx, model.name, SOURCE, int(reach.oldest // bucket * bucket))
    return taken, rows.absent if changed else [], unread


def _together(
    changed: Iterable[int], facts: Mapping[int, Mapping[str, Facts]], baseline: Baseline
) -> Iterator[tuple[list[int], int]]:
    """Cut the changed buckets into jobs whose profiles fit into memory; with the number of rows of each job."""
    some: list[int] = []
    size = amount = 0
    for at in changed:
        own = facts.get(at, {})
        rows = sum(one.rows for one in own.values())
        more = sum(size_of(baseline, one.rows) for one in own.values())
        if some and size + more > _AT_ONCE:
            yield some, amount
            some, size, amount = [], 0, 0
        some, size, amount = [*some, at], size + more, amount + rows
    if some:
        yield some, amount


def _text(facts: Mapping[str, Facts]) -> list[list[object]]:
    """Return facts as they are kept; the newest time adds nothing to the hashes."""
    return [[version, *own[:-1]] for version, own in sorted(facts.items())]


def _replace(
    tx: Transaction,
    model: Model,
    baseline: Baseline,
    starts: list[int],
    found: pa.Table | None,
    facts: Mapping[int, Mapping[str, Facts]],
    seen: Mapping[int, str],
) -> tuple[Deltas, int]:
    """Store the new counts of some buckets; return what changes, and how many rows are new."""
    columns = found.to_pydict() if found is not None else {}
    keys: list[Key] = list(zip(*(columns.get(name, ()) for name in ("version", "segment", "start")), strict=True))
    packed: dict[Key, bytes] = dict(zip(keys, columns.get("counts", ()), strict=True))
    refused: dict[Key, int] = dict(zip(keys, columns.get("refused", ()), strict=True))
    old, new = replace_buckets(tx, model.name, starts, packed)
    taken = 0
    kept: dict[int, int] = dict.fromkeys(starts, 0)
    for key in {key for key in {*old, *new} if key[1] == ALL}:
        rows, labels = _sizes(baseline, new.get(key, ZERO))
        rows_before, labels_before = _sizes(baseline, old.get(key, ZERO))
        kept[key[2]] += rows
        taken += max(0, rows - rows_before)
        rose = {("predictions", ""): rows - rows_before, ("labels", ""): labels - labels_before}
        tx.count(model.name, key[0], {name: amount for name, amount in rose.items() if amount > 0})
    for start in starts:
        _note(
            tx, model, start, facts[start], kept[start], sum(n for key, n in refused.items() if key[2] == start), seen
        )
    _mark_days(tx, model, [key for key in {*old, *new} if key[1] == ALL])
    return differences(old, new), taken


def _sizes(baseline: Baseline, counts: Counts) -> tuple[int, int]:
    """Return how many rows, and how many with a label, were counted."""
    vector = dense(baseline.bins, counts)
    return int(vector[0]), baseline.bins.labelled_rows(vector)


def _note(
    tx: Transaction,
    model: Model,
    start: int,
    facts: Mapping[str, Facts],
    kept: int,
    labels: int,
    seen: Mapping[int, str],
) -> None:
    """Remember what a bucket is known by, and count what was left out of it since the last time."""
    named, rows = sum(own.named for own in facts.values()), sum(own.rows for own in facts.values())
    # Rows may have come between the digest and the profile: they are of the next time.
    out = {"id": rows - named, "duplicate": max(0, named - kept), "label": labels}
    before: dict[str, int] = json.loads(seen[start])[1] if start in seen else {}
    risen = {("rejected", name): amount - before.get(name, 0) for name, amount in out.items()}
    most = max(facts, key=lambda version: facts[version].rows, default="")
    tx.count(model.name, most, {name: amount for name, amount in risen.items() if amount > 0})
    tx.set_position(model.name, SOURCE, digest_name(start), json.dumps([_text(facts), out]))


def _mark_days(tx: Transaction, model: Model, keys: Iterable[Key]) -> None:
    """Note which local days change with the buckets."""
    whole = [(version, start) for version, _, start in keys]
    starts = np.array([start for _, start in whole], np.int64)
    days = local_days(starts * SECOND, np.ones(len(starts), np.bool_), model.timezone).tolist()
    tx.mark_days(model.name, [(version, day) for (version, _), day in zip(whole, days, strict=True)])
