"""What can be read and changed at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from exporter.profile.coding import decode, encode
from exporter.profile.counts import Counts, add
from exporter.store import rollup
from exporter.store.statements import (
    CHANGED_DAYS,
    COUNTERS,
    COUNTS,
    DUE_LABELS,
    EXPIRE,
    FINGERPRINT,
    FORGET_DAYS,
    NEWEST_TIMES,
    Change,
    added,
    larger,
    new,
    upsert,
)
from exporter.store.tables import (
    BASELINE,
    BUCKET,
    COUNTER,
    DAY,
    INBOX,
    LIKE_NOW,
    META,
    NEW_COLUMNS,
    NEWEST,
    OF_A_MODEL,
    PENDING,
    POSITION,
    PREDICTION,
    ROLLUP,
    SAMPLE,
    SCHEMA_VERSION,
    Bucket,
    Due,
    Key,
    Member,
    Pending,
    Prediction,
    StoreError,
)

_CHUNK = 5_000


class Transaction:
    """What can be read and changed at once."""

    def __init__(self, connection: sa.Connection, insert: Any):
        self.connection = connection
        self._insert = insert

    def insert(self, table: sa.Table) -> Any:
        """Begin an INSERT of this database, which knows ON CONFLICT."""
        return self._insert(table)

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]], *columns: str, change: Change = new) -> None:
        """Insert rows; where the key is there already, change some columns."""
        if rows:
            self.connection.execute(upsert(self._insert, table, columns, change), rows)

    def check_schema(self) -> None:
        """Raise StoreError where another version of the exporter made the tables."""
        found = self.connection.execute(sa.select(META.c.value).where(META.c.key == "schema")).scalar()
        if found is None:
            self.connection.execute(sa.insert(META), [{"key": "schema", "value": SCHEMA_VERSION}])
        elif found in LIKE_NOW:
            for column in NEW_COLUMNS:
                plain = sa.schema.CreateColumn(column).compile(dialect=self.connection.dialect)
                self.connection.execute(sa.text(f"ALTER TABLE {PREDICTION.name} ADD COLUMN {plain}"))
            for index in PREDICTION.indexes:
                index.create(self.connection, checkfirst=True)
            self.connection.execute(sa.update(META).where(META.c.key == "schema").values(value=SCHEMA_VERSION))
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"the store has schema {found}, this version needs {SCHEMA_VERSION}: "
                f"move the store away; the next start reads the log again"
            )

    def fingerprint(self, model: str) -> str | None:
        """Return which settings and files the stored baseline was made of; None where there is none."""
        found: str | None = self.connection.execute(FINGERPRINT, {"model": model}).scalar()
        return found

    def baseline(self, model: str) -> tuple[str, bytes]:
        """Return text and counts of the stored baseline."""
        row = self.connection.execute(sa.select(BASELINE).where(BASELINE.c.model == model)).one()
        return row.text, row.counts

    def set_baseline(self, model: str, fingerprint: str, text: str, counts: bytes) -> None:
        """Store a baseline."""
        self.connection.execute(sa.delete(BASELINE).where(BASELINE.c.model == model))
        row = {"model": model, "fingerprint": fingerprint, "text": text, "counts": counts}
        self.connection.execute(sa.insert(BASELINE), [row])

    def forget(self, model: str) -> None:
        """Drop all that is stored of a model."""
        for table in OF_A_MODEL:
            self.connection.execute(sa.delete(table).where(table.c.model == model))
        # What was sent cannot be sent again: it is counted from its start, as files are.
        self.connection.execute(sa.update(INBOX).where(INBOX.c.model == model).values(done=False))

    def buckets(self, model: str, start: int, end: int, segment: str | None = None) -> list[Bucket]:
        """Return the buckets with start <= bucket < end in order; of one segment, or of each."""
        query = sa.select(BUCKET).where(BUCKET.c.model == model, BUCKET.c.start >= start, BUCKET.c.start < end)
        if segment is not None:
            query = query.where(BUCKET.c.segment == segment)
        rows = self.connection.execute(query.order_by(BUCKET.c.version, BUCKET.c.segment, BUCKET.c.start))
        return [Bucket(row.version, row.segment, row.start, decode(row.counts)) for row in rows]

    def add_to_buckets(self, model: str, deltas: Mapping[Key, Counts]) -> None:
        """Add counts to their buckets."""
        old: dict[Key, bytes] = {}
        for version, segment in {(version, segment) for version, segment, _ in deltas}:
            for starts in _chunks([start for *own, start in deltas if own == [version, segment]]):
                own = {"model": model, "version": version, "segment": segment, "starts": starts}
                stored = self.connection.execute(COUNTS, own)
                old |= {(version, segment, start): counts for start, counts in stored}
        rows = []
        for key, delta in deltas.items():
            total = delta if key not in old else add(decode(old[key]), delta)
            version, segment, start = key
            row = {"model": model, "version": version, "segment": segment, "start": start}
            rows.append(row | {"counts": encode(total)})
        self._upsert(BUCKET, rows, "counts")
        rollup.change(self.connection, self.set_rollups, model, deltas)

    def set_rollups(self, rows: list[dict[str, Any]]) -> None:
        """Replace sums of hours and days (`store.rollup`)."""
        self._upsert(ROLLUP, rows, "counts")

    def samples(self, model: str, start: int, end: int) -> list[tuple[str, int, bytes]]:
        """Return (version, start, sample) of the buckets with start <= bucket < end."""
        query = sa.select(SAMPLE).where(SAMPLE.c.model == model, SAMPLE.c.start >= start, SAMPLE.c.start < end)
        return [(row.version, row.start, row.blob) for row in self.connection.execute(query)]

    def samples_of(self, model: str, keys: list[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """Return the samples of some buckets (version, start)."""
        found = {}
        for version in {version for version, _ in keys}:
            for starts in _chunks([start for own, start in keys if own == version]):
                own = (SAMPLE.c.model == model) & (SAMPLE.c.version == version) & SAMPLE.c.start.in_(starts)
                rows = self.connection.execute(sa.select(SAMPLE.c.start, SAMPLE.c.blob).where(own))
                found.update({(version, row.start): row.blob for row in rows})
        return found

    def set_samples(self, model: str, samples: Mapping[tuple[str, int], bytes]) -> None:
        """Store the row samples of buckets (version, start)."""
        rows = [{"model": model, "version": v, "start": start, "blob": own} for (v, start), own in samples.items()]
        self._upsert(SAMPLE, rows, "blob")

    def mark_days(self, model: str, days: Iterable[tuple[str, int]]) -> None:
        """Note that days (version, number) have changed."""
        rows = [{"model": model, "version": version, "number": day, "changed": True} for version, day in set(days)]
        self._upsert(DAY, rows, "changed")

    def changed_days(self, model: str, before: int, most: int) -> list[tuple[str, int]]:
        """Return the newest days (version, number) before a day that changed since they were described."""
        rows = self.connection.execute(CHANGED_DAYS, {"model": model, "before": before, "most": most})
        return [(row.version, row.number) for row in rows]

    def describe_day(self, model: str, version: str, day: int, text: str) -> None:
        """Store what is known of a day."""
        row = {"model": model, "version": version, "number": day, "changed": False, "text": text}
        self._upsert(DAY, [row], "changed", "text")

    def days(self, model: str) -> list[tuple[str, int, str]]:
        """Return (version, number, text) of all days that were described, in order."""
        query = sa.select(DAY.c.version, DAY.c.number, DAY.c.text).where(DAY.c.model == model, DAY.c.text.is_not(None))
        return [(r.version, r.number, r.text) for r in self.connection.execute(query.order_by(DAY.c.number))]

    def known_ids(self, model: str, ids: list[str]) -> set[str]:
        """Return which of the ids are in the ledger."""
        found: set[str] = set()
        for chunk in _chunks(ids):
            query = sa.select(PREDICTION.c.id).where(PREDICTION.c.model == model, PREDICTION.c.id.in_(chunk))
            found.update(self.connection.execute(query).scalars())
        return found

    def add_predictions(self, model: str, rows: Iterable[Prediction]) -> None:
        """Put predictions into the ledger."""
        plain = [{"model": model, **row._asdict()} for row in rows]
        if plain:
            self.connection.execute(sa.insert(PREDICTION), plain)

    def members(self, model: str, groups: Iterable[str]) -> list[Member]:
        """Return all rows of some groups, of every version."""
        found: list[Member] = []
        for chunk in _chunks(sorted(set(groups))):
            query = sa.select(*(PREDICTION.c[name] for name in Member._fields))
            rows = self.connection.execute(query.where(PREDICTION.c.model == model, PREDICTION.c.group_name.in_(chunk)))
            found += [Member._make(row) for row in rows]
        return found

    def start_groups(self, model: str, starts: Mapping[str, int]) -> None:
        """Set the bucket of the earliest row of the group that predictions (by id) belong to."""
        if not starts:
            return
        statement = sa.update(PREDICTION).where(PREDICTION.c.model == model, PREDICTION.c.id == sa.bindparam("key"))
        rows = [{"key": name, "at": start} for name, start in starts.items()]
        self.connection.execute(statement.values(group_start=sa.bindparam("at")), rows)

    def add_pending(self, model: str, rows: Iterable[Pending]) -> None:
        """Remember labels; of two for one id the later one stays, or else the larger label, or the larger outcome."""
        plain = [{"model": model, **row._asdict()} for row in rows]
        if not plain:
            return
        statement = self._insert(PENDING)
        new, old = statement.excluded, PENDING.c
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["model", "id"],
                set_={"label": new.label, "label_time": new.label_time, "outcome": new.outcome},
                where=(new.label_time > old.label_time)
                | (
                    (new.label_time == old.label_time)
                    & (
                        (new.label > old.label)
                        | (
                            (new.label == old.label)
                            & (sa.func.coalesce(new.outcome, "") > sa.func.coalesce(old.outcome, ""))
                        )
                    )
                ),
            ),
            plain,
        )

    def due_labels(self, model: str, now: int, most: int) -> list[Due]:
        """Return up to `most` remembered labels that are known by `now` and whose prediction is there."""
        rows = self.connection.execute(DUE_LABELS, {"model": model, "now": now, "most": most})
        return [Due._make(row) for row in rows]

    def settle(self, model: str, done: list[str], labels: list[Pending]) -> None:
        """Take labels out of memory, and write those that changed something to the ledger."""
        for chunk in _chunks(done):
            self.connection.execute(sa.delete(PENDING).where(PENDING.c.model == model, PENDING.c.id.in_(chunk)))
        if labels:
            statement = (
                sa.update(PREDICTION)
                .where(PREDICTION.c.model == model, PREDICTION.c.id == sa.bindparam("key"))
                .values(label=sa.bindparam("new"), label_time=sa.bindparam("at"), outcome=sa.bindparam("with"))
            )
            self.connection.execute(
                statement,
                [{"key": one.id, "new": one.label, "at": one.label_time, "with": one.outcome} for one in labels],
            )

    def positions(self, model: str, source: str) -> dict[str, str]:
        """Return what was read of a source, by path."""
        of_source = (POSITION.c.model == model) & (POSITION.c.source == source)
        query = sa.select(POSITION.c.path, POSITION.c.value).where(of_source)
        return {row.path: row.value for row in self.connection.execute(query)}

    def set_position(self, model: str, source: str, path: str, value: str) -> None:
        """Remember how far a path was read."""
        row = {"model": model, "source": source, "path": path, "value": value}
        self._upsert(POSITION, [row], "value")

    def count(self, model: str, version: str, amounts: Mapping[tuple[str, str], int]) -> None:
        """Add to the counters (name, reason)."""
        rows = [
            {"model": model, "version": version, "name": name, "reason": reason, "value": int(amount)}
            for (name, reason), amount in amounts.items()
            if amount
        ]
        self._upsert(COUNTER, rows, "value", change=added)

    def counters(self, model: str) -> list[tuple[str, str, str, int]]:
        """Return (version, name, reason, value)."""
        return [(*row,) for row in self.connection.execute(COUNTERS, {"model": model})]

    def raise_newest(self, model: str, newest: Mapping[str, int]) -> None:
        """Move the newest event time per version (microseconds) forward, never back."""
        rows = [{"model": model, "version": v, "timestamp": t} for v, t in newest.items()]
        self._upsert(NEWEST, rows, "timestamp", change=larger)

    def newest(self, model: str) -> dict[str, int]:
        """Return the newest event time per version, in microseconds."""
        rows = self.connection.execute(NEWEST_TIMES, {"model": model})
        return {row.version: row.timestamp for row in rows}

    def drop_before(self, model: str, start: int) -> None:
        """Keep the retention: drop buckets, ledger rows and orphaned labels that are older (seconds)."""
        for statement in EXPIRE:
            self.connection.execute(statement, {"model": model, "before": start, "micro": start * 1_000_000})

    def put_batch(self, model: str, source: str, rows: int, newest: int, body: bytes) -> None:
        """Keep rows that were sent until they are counted, and then for the retention; newest: in seconds."""
        row = {"model": model, "source": source, "done": False, "rows": rows, "newest": newest, "body": body}
        self.connection.execute(sa.insert(INBOX), [row])

    def waiting_rows(self, model: str, source: str) -> int:
        """Return how many rows that were sent are not counted yet."""
        own = (INBOX.c.model == model) & (INBOX.c.source == source) & sa.not_(INBOX.c.done)
        found = self.connection.execute(sa.select(sa.func.coalesce(sa.func.sum(INBOX.c.rows), 0)).where(own))
        return int(found.scalar_one())

    def next_batch(self, model: str, source: str, after: int) -> tuple[int, bytes] | None:
        """Return number and body of the first batch after a number that waits; None where there is none."""
        own = (INBOX.c.model == model) & (INBOX.c.source == source) & sa.not_(INBOX.c.done) & (INBOX.c.number > after)
        query = sa.select(INBOX.c.number, INBOX.c.body).where(own).order_by(INBOX.c.number).limit(1)
        row = self.connection.execute(query).one_or_none()
        return (row.number, row.body) if row is not None else None

    def batch_done(self, number: int) -> None:
        """Note that a batch was counted."""
        self.connection.execute(sa.update(INBOX).where(INBOX.c.number == number).values(done=True))

    def forget_days(self, model: str, before: int) -> None:
        """Keep the retention of results: drop the days before a day number."""
        self.connection.execute(FORGET_DAYS, {"model": model, "before": before})


def _chunks(ids: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]
