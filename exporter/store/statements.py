"""The statements of every run, built once: to build one takes several times as long as to execute it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy as sa

from exporter.store.tables import (
    BASELINE,
    BUCKET,
    COUNTER,
    DAY,
    INBOX,
    NEWEST,
    PENDING,
    PREDICTION,
    ROLLUP,
    SAMPLE,
)

Change = Callable[[Any, Any], Any]  # the stored value and the new one -> what is stored then


def new(_old: Any, new: Any) -> Any:
    """Replace what is stored."""
    return new


def added(old: Any, new: Any) -> Any:
    """Add to what is stored."""
    return old + new


def larger(old: Any, new: Any) -> Any:
    """Store the larger one."""
    return sa.case((new > old, new), else_=old)


@cache
def upsert(insert: Callable[[sa.Table], Any], table: sa.Table, columns: tuple[str, ...], change: Change) -> Any:
    """Return an INSERT that changes some columns where the key is there already; insert: of the database."""
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changes = {name: change(table.c[name], statement.excluded[name]) for name in columns}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def _is(*columns: sa.Column[Any]) -> list[sa.ColumnElement[bool]]:
    return [column == sa.bindparam(column.name) for column in columns]


def _within(column: sa.Column[Any]) -> list[sa.ColumnElement[bool]]:
    return [column >= sa.bindparam("first"), column < sa.bindparam("last")]


FINGERPRINT = sa.select(BASELINE.c.fingerprint).where(*_is(BASELINE.c.model))
COUNTERS = (
    sa.select(COUNTER.c.version, COUNTER.c.name, COUNTER.c.reason, COUNTER.c.value)
    .where(*_is(COUNTER.c.model))
    .order_by(COUNTER.c.version, COUNTER.c.name, COUNTER.c.reason)
)
NEWEST_TIMES = sa.select(NEWEST.c.version, NEWEST.c.timestamp).where(*_is(NEWEST.c.model))
COUNTS = sa.select(BUCKET.c.start, BUCKET.c.counts).where(
    *_is(BUCKET.c.model, BUCKET.c.version, BUCKET.c.segment),
    BUCKET.c.start.in_(sa.bindparam("starts", expanding=True)),
)
CHANGED_DAYS = (
    sa.select(DAY.c.version, DAY.c.number)
    .where(*_is(DAY.c.model), DAY.c.changed, DAY.c.number < sa.bindparam("before"))
    .order_by(DAY.c.number.desc(), DAY.c.version)
    .limit(sa.bindparam("most"))
)
FORGET_DAYS = sa.delete(DAY).where(*_is(DAY.c.model), DAY.c.number < sa.bindparam("before"))
# Of one segment, and of each: buckets, hours or days with first <= start < last.
_BUCKETS = sa.select(BUCKET.c.version, BUCKET.c.segment, BUCKET.c.start, BUCKET.c.counts).where(
    *_is(BUCKET.c.model), *_within(BUCKET.c.start)
)
BUCKETS = {True: _BUCKETS.where(*_is(BUCKET.c.segment)), False: _BUCKETS}
_ROLLUPS = sa.select(ROLLUP.c.version, ROLLUP.c.segment, ROLLUP.c.start, ROLLUP.c.counts).where(
    *_is(ROLLUP.c.model, ROLLUP.c.seconds),
    ROLLUP.c.start.in_(sa.bindparam("starts", expanding=True)),
    ROLLUP.c.segment != "",
)
ROLLUPS = {True: _ROLLUPS.where(*_is(ROLLUP.c.segment)), False: _ROLLUPS}
ROLLED = sa.select(ROLLUP.c.seconds, ROLLUP.c.start).where(
    *_is(ROLLUP.c.model),
    ROLLUP.c.version == "",
    ROLLUP.c.segment == "",
    ROLLUP.c.start >= sa.bindparam("first"),
    ROLLUP.c.start + ROLLUP.c.seconds <= sa.bindparam("last"),
)
# What is older than a moment (seconds; micro: the same in microseconds).
_EXPIRED = (
    *(table.c.start for table in (BUCKET, ROLLUP, SAMPLE)),
    PREDICTION.c.bucket,
    INBOX.c.newest,
)
EXPIRE = (
    *(sa.delete(age.table).where(*_is(age.table.c.model), age < sa.bindparam("before")) for age in _EXPIRED),
    sa.delete(PENDING).where(
        *_is(PENDING.c.model), PENDING.c.label_time < sa.bindparam("micro"), PENDING.c.label_time >= 0
    ),
)
DUE_LABELS = (
    sa.select(
        PREDICTION.c.id,
        PREDICTION.c.version,
        PREDICTION.c.bucket,
        PREDICTION.c.timestamp,
        PREDICTION.c.output,
        PREDICTION.c.slices,
        PREDICTION.c.columns,
        PREDICTION.c.group_name,
        PREDICTION.c.label,
        PREDICTION.c.label_time,
        PREDICTION.c.outcome,
        PENDING.c.label,
        PENDING.c.label_time,
        PENDING.c.outcome,
    )
    .select_from(PENDING.join(PREDICTION, (PENDING.c.model == PREDICTION.c.model) & (PENDING.c.id == PREDICTION.c.id)))
    .where(*_is(PENDING.c.model), PENDING.c.label_time <= sa.bindparam("now"))
    .limit(sa.bindparam("most"))
)
