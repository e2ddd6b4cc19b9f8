"""Predictions and labels that arrive in any order, twice, late or corrected -> what changes in which bucket.

Each function works inside one transaction, so a process that is killed loses nothing and counts nothing twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter import rankings
from exporter.baseline import Baseline
from exporter.buckets import Deltas, Where, by_bucket, counted, keys_of, merged
from exporter.business.columns import Columns, from_plain, plain, read
from exporter.profile.batch import Labels, Log, delays
from exporter.profile.counts import Placed, negative
from exporter.profile.kpi import needed
from exporter.profile.labelled import Labelled
from exporter.profile.outcome import Outcomes
from exporter.profile.sample import decode, encode, merge, take_batch
from exporter.profile.tally import groups_of
from exporter.reference import select, usable
from exporter.rows import NO_TIME, SECOND, CategoryColumn, Ints, local_days
from exporter.segments import ALL
from exporter.store import Due, Pending, Prediction, Transaction

REASONS = ("timestamp", "id", "duplicate", "late", "expired", "label", "label_id", "line")
# What is counted of a log: name and reason; each is shown from the start, so that its first increase is one.
COUNTERS = (("predictions", ""), ("labels", ""), *(("rejected", reason) for reason in REASONS))
_LABELS_AT_ONCE = 50_000


class Limits(NamedTuple):
    """Times in seconds: the clock; the bucket's length; rows older than `oldest` are expired, than `late` late.

    replay: rows that are newer than the clock have not happened yet. zone: where a day is a local day.
    """

    now: float
    bucket: int
    oldest: float
    late: float | None = None
    replay: bool = False
    zone: str = "UTC"


def add_log(tx: Transaction, model: str, baseline: Baseline, log: Log, limits: Limits) -> Deltas:
    """Count new predictions; rows whose id is known, or whose time is out of bounds, are rejected and counted.

    A row that comes again may bring its label: that is remembered for `settle_labels`.
    """
    happened = log.timestamp < limits.now * SECOND if limits.replay else np.ones(len(log.timestamp), np.bool_)
    kept = _new_rows(tx, model, log, happened)
    rejected = Counter(log.rejected)
    rejected["duplicate"] = int((happened & ~kept).sum())
    notes = _notes(baseline, log)
    tx.add_pending(model, _own_labels(log, notes, np.flatnonzero(happened & ~kept)))
    kept = _in_time(log.timestamp, limits, kept, rejected)
    _count_rejected(tx, model, log.version, rejected)
    rows = np.flatnonzero(kept)
    if not len(rows):
        return {}
    bucket = log.timestamp // (SECOND * limits.bucket) * limits.bucket
    now = limits.now * SECOND
    labelled, of_labels = np.broadcast_to(np.False_, len(kept)), None
    if log.label is not None:
        delay = delays(log.timestamp, log.label_time)
        outcomes = Outcomes(log.prediction, log.label, log.scores, notes.values, delay, log.weight)
        in_time = (log.label_time == NO_TIME) | (log.label_time <= now)
        labelled = usable(baseline.bins, outcomes) & kept & in_time
        of_labels = Labelled(np.flatnonzero(labelled), select(outcomes, labelled))
    deltas = counted(baseline, log.batch, Where(log.version, bucket, log.slices, rows), of_labels)
    ranked = () if log.group is None else (log.group[row] for row in rows.tolist())
    groups = {name for name in ranked if name is not None}
    before = rankings.counted(tx, model, baseline, groups)
    _remember(tx, model, log, notes, rows, bucket, labelled)
    rankings.note_starts(tx, model, groups)
    deltas = merged(deltas, rankings.difference(rankings.counted(tx, model, baseline, groups), before))
    _store(tx, model, deltas, limits.zone)
    _keep_sample(tx, model, baseline, log, rows, bucket)
    newest: dict[str, int] = {}
    codes = log.version.codes[rows]
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        own = rows[codes == code]
        version = log.version.names[code]
        newest[version] = max(0, min(int(log.timestamp[own].max()), int(now)))  # of a clock that is wrong, too
        known = int(labelled[own].sum())
        tx.count(model, version, {("predictions", ""): len(own), ("labels", ""): known})
    tx.raise_newest(model, newest)
    return deltas


def add_labels(tx: Transaction, model: str, version: str, baseline: Baseline, labels: Labels) -> None:
    """Remember labels of a file of their own; `settle_labels` joins them."""
    times = np.where(labels.label_time == NO_TIME, -1, labels.label_time)
    names = needed(baseline.bins.kpis)[1]
    outcomes = _written(read(labels.table, names), names, len(labels.ids))
    rows = zip(labels.ids, labels.label.tolist(), times.tolist(), outcomes, strict=True)
    tx.add_pending(model, (Pending(*row) for row in rows))
    tx.count(model, version, {("rejected", reason): n for reason, n in labels.rejected.items()})


def settle_labels(tx: Transaction, model: str, baseline: Baseline, now: float, zone: str = "UTC") -> Deltas:
    """Join the labels known by `now` to their predictions; a later label for the same id corrects the first."""
    total: Deltas = {}
    while due := tx.due_labels(model, int(now * SECOND), _LABELS_AT_ONCE):
        news = [row for row in due if row.is_news]
        changed = [row for row in news if (row.old, row.old_outcome) != (row.label, row.outcome)]
        moved = [r for r in news if (r.old, r.old_time, r.old_outcome) != (r.label, r.label_time, r.outcome)]
        groups = {row.group_name for row in moved if row.group_name is not None}
        before = rankings.counted(tx, model, baseline, groups)
        known = [Pending(row.id, row.label, row.label_time, row.outcome) for row in news]
        tx.settle(model, [row.id for row in due], known)
        of_groups = rankings.difference(rankings.counted(tx, model, baseline, groups), before)
        deltas = merged(_label_deltas(baseline, moved), of_groups)
        _store(tx, model, deltas, zone)
        for version, count in Counter(row.version for row in changed).items():
            tx.count(model, version, {("labels", ""): count})
        total = merged(total, deltas)
    return total


def _store(tx: Transaction, model: str, deltas: Deltas, zone: str) -> None:
    """Add to the buckets, and note which local days that changes."""
    tx.add_to_buckets(model, deltas)
    whole = [(version, start) for version, segment, start in deltas if segment == ALL]
    starts = np.array([start for _, start in whole], np.int64)
    days = local_days(starts * SECOND, np.ones(len(starts), np.bool_), zone).tolist()
    tx.mark_days(model, [(version, day) for (version, _), day in zip(whole, days, strict=True)])


def _new_rows(tx: Transaction, model: str, log: Log, happened: np.ndarray) -> np.ndarray:
    """Say which of the rows that have happened are the first with their id."""
    kept = happened.copy()
    if log.ids is None:
        return kept
    known = tx.known_ids(model, log.ids)
    for row in np.flatnonzero(happened).tolist():
        name = log.ids[row]
        if name in known:
            kept[row] = False
        known.add(name)
    return kept


def _in_time(timestamp: Ints, limits: Limits, kept: np.ndarray, rejected: Counter[str]) -> np.ndarray:
    expired = kept & (timestamp < limits.oldest * SECOND)
    rejected["expired"] += int(expired.sum())
    kept = kept & ~expired
    if limits.late is not None:
        late = kept & (timestamp < limits.late * SECOND)
        rejected["late"] += int(late.sum())
        kept = kept & ~late
    return kept


def _count_rejected(tx: Transaction, model: str, versions: CategoryColumn, rejected: Counter[str]) -> None:
    """Count what was left out under the version that most rows have; a row without time or id has none of its own."""
    most = int(np.bincount(versions.codes).argmax()) if len(versions.names) > 1 and len(versions.codes) else 0
    version = versions.names[most] if len(versions.codes) else ""
    tx.count(model, version, {("rejected", reason): n for reason, n in rejected.items()})


def _always(placed: list[Placed]) -> Callable[[Ints], list[Placed]]:
    """Return what is placed alike in every segment."""
    return lambda _: placed


def _placed_outcomes(baseline: Baseline, outcomes: Outcomes, chosen: np.ndarray) -> list[Placed]:
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    return [part._replace(row=rows[part.row]) for part in baseline.bins.place_outcomes(select(outcomes, chosen))]


def _keep_sample(tx: Transaction, model: str, baseline: Baseline, log: Log, rows: Ints, bucket: Ints) -> None:
    """Keep some whole rows of each bucket, where they are judged."""
    if baseline.rows is None:
        return
    where = Where(log.version, bucket, log.slices, rows)
    keys, own_rows = keys_of(where, np.full(len(bucket), -1))
    group = groups_of(own_rows, len(bucket))
    group[group < 0] = len(keys)  # what is not in question is a group of its own, and is dropped
    taken = take_batch(
        baseline.bins, log.batch, log.ids, log.timestamp, group, len(keys) + 1, baseline.rows.bucket_rows
    )
    own = {(version, start): sample for (version, _, start), sample in zip(keys, taken[:-1], strict=True)}
    old = tx.samples_of(model, list(own))
    for key, blob in old.items():
        own[key] = merge([decode(blob), own[key]], baseline.rows.bucket_rows)
    tx.set_samples(model, {key: encode(sample) for key, sample in own.items()})


class Notes(NamedTuple):
    """What indicators of labelled rows need of a log: values by column, and per row as JSON, of log and of label."""

    values: Columns
    columns: list[str | None]
    outcome: list[str | None]


def _notes(baseline: Baseline, log: Log) -> Notes:
    names = needed(baseline.bins.kpis)
    assert log.batch.table is not None
    values = read(log.batch.table, names[0] + names[1])
    if log.ids is None:  # none of the rows is remembered
        return Notes(values, [], [])
    return Notes(values, *(_written(values, own, log.batch.rows) for own in names))


def _written(values: Columns, names: tuple[str, ...], rows: int) -> list[str | None]:
    if not names:
        return [None] * rows
    return [json.dumps(row, allow_nan=False) for row in plain(values, names, rows)]


def _remember(
    tx: Transaction, model: str, log: Log, notes: Notes, rows: Ints, bucket: Ints, labelled: np.ndarray
) -> None:
    if log.ids is None:
        return
    outputs = [log.prediction, log.scores, *([log.weight] if log.weight is not None else [])]
    packed = np.ascontiguousarray(np.column_stack(outputs), "<f8")
    labels = np.full(len(labelled), np.nan) if log.label is None else log.label
    slices = log.slices.astype("<i2")
    ledger = []
    for row in rows.tolist():
        known = bool(labelled[row])
        ledger.append(
            Prediction(
                log.ids[row],
                log.version.names[log.version.codes[row]],
                int(bucket[row]),
                int(log.timestamp[row]),
                packed[row].tobytes(),
                slices[row].tobytes(),
                float(labels[row]) if known else None,
                _known_at(log, row) if known else None,
                notes.columns[row],
                notes.outcome[row] if known else None,
                log.group[row] if log.group is not None else None,
                int(bucket[row]) if log.group is not None and log.group[row] is not None else None,
            )
        )
    tx.add_predictions(model, ledger)
    tx.add_pending(model, _own_labels(log, notes, rows[~labelled[rows]]))


def _own_labels(log: Log, notes: Notes, rows: Ints) -> list[Pending]:
    """Return the labels of the rows that have one of their own."""
    if log.ids is None or log.label is None:
        return []
    labelled = rows[~np.isnan(log.label[rows])]
    return [
        Pending(log.ids[row], float(log.label[row]), _known_at(log, row), notes.outcome[row])
        for row in labelled.tolist()
    ]


def _known_at(log: Log, row: int) -> int:
    at = int(log.label_time[row])
    return at if at != NO_TIME else -1


def _label_deltas(baseline: Baseline, changed: list[Due]) -> Deltas:
    if not changed:
        return {}
    outputs = np.frombuffer(b"".join(row.output for row in changed), "<f8").reshape(len(changed), -1)
    scores, weight = outputs[:, 1:], None
    if baseline.bins.weight is not None:
        scores, weight = outputs[:, 1:-1], outputs[:, -1]
    slices = np.frombuffer(b"".join(row.slices for row in changed), "<i2").reshape(len(changed), -1)
    bucket = np.array([row.bucket for row in changed], np.int64)
    codes = {name: code for code, name in enumerate(dict.fromkeys(row.version for row in changed))}
    version = CategoryColumn(tuple(codes), np.array([codes[row.version] for row in changed], np.int64))
    where = Where(version, bucket, slices.astype(np.int64), np.arange(len(changed)))
    old = np.array([np.nan if row.old is None else row.old for row in changed])
    new = np.array([row.label for row in changed])
    timestamp = np.array([row.timestamp for row in changed], np.int64)
    before, after = (
        np.array([NO_TIME if at is None or at == -1 else at for at in times], np.int64)
        for times in ((row.old_time for row in changed), (row.label_time for row in changed))
    )
    total: Deltas = {}
    columns = [row.columns for row in changed]
    outcome, old_outcome = [row.outcome for row in changed], [row.old_outcome for row in changed]
    for label, known, notes_of, sign in ((new, after, outcome, 1), (old, before, old_outcome, -1)):
        values: dict[str, pa.Array] = {}
        for names, notes in zip(needed(baseline.bins.kpis), (columns, notes_of), strict=True):
            values |= from_plain([json.loads(own) if own else [None] * len(names) for own in notes], names)
        outcomes = Outcomes(outputs[:, 0], label, scores, values, delays(timestamp, known), weight)
        placed = _placed_outcomes(baseline, outcomes, usable(baseline.bins, outcomes))
        if placed:
            deltas = by_bucket(baseline, _always(placed), where)
            total = merged(total, deltas if sign > 0 else {k: negative(c) for k, c in deltas.items()})
    return total
