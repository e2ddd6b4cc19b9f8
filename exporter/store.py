"""Buckets, ledger, positions and counters in SQLite or PostgreSQL; each change is one transaction."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from exporter.profile.counts import Counts, add, decode, encode

_TABLES = sa.MetaData()
SCHEMA_VERSION = "1"


def _key(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


META = sa.Table("meta", _TABLES, _key("key"), sa.Column("value", sa.Text, nullable=False))
BASELINE = sa.Table(
    "baseline",
    _TABLES,
    _key("model"),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("counts", sa.LargeBinary, nullable=False),
)
BUCKET = sa.Table(
    "bucket",
    _TABLES,
    _key("model"),
    _key("version"),
    _key("start", sa.BigInteger),
    sa.Column("counts", sa.LargeBinary, nullable=False),
)
PREDICTION = sa.Table(
    "prediction",
    _TABLES,
    _key("model"),
    _key("id"),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("bucket", sa.BigInteger, nullable=False),
    sa.Column("output", sa.LargeBinary, nullable=False),
    sa.Column("label", sa.Float(53)),
    sa.Column("label_time", sa.BigInteger),
    sa.Index("prediction_age", "model", "bucket"),
    sqlite_with_rowid=False,
)
PENDING = sa.Table(
    "pending_label",
    _TABLES,
    _key("model"),
    _key("id"),
    sa.Column("label", sa.Float(53), nullable=False),
    sa.Column("label_time", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
POSITION = sa.Table(
    "position",
    _TABLES,
    _key("model"),
    _key("source"),
    _key("path"),
    sa.Column("value", sa.Text, nullable=False),
)
COUNTER = sa.Table(
    "counter",
    _TABLES,
    _key("model"),
    _key("version"),
    _key("name"),
    _key("reason"),
    sa.Column("value", sa.BigInteger, nullable=False),
)
NEWEST = sa.Table(
    "newest", _TABLES, _key("model"), _key("version"), sa.Column("timestamp", sa.BigInteger, nullable=False)
)
_OF_A_MODEL = (BASELINE, BUCKET, PREDICTION, PENDING, POSITION, COUNTER, NEWEST)
_CHUNK = 5_000


class StoreError(Exception):
    """A store that cannot be used; one sentence with the mend."""


class Prediction(NamedTuple):
    """A row of the ledger; output: prediction and scores as packed float64; label None while unknown."""

    id: str
    version: str
    bucket: int
    output: bytes
    label: float | None
    label_time: int | None


class Due(NamedTuple):
    """A label that became known, beside the prediction that it belongs to."""

    id: str
    version: str
    bucket: int
    output: bytes
    old: float | None
    old_time: int | None
    label: float
    label_time: int


class Store:
    """The whole store; safe for threads."""

    def __init__(self, url: str):
        try:
            parsed = sa.make_url(url)
            self._sqlite = parsed.get_backend_name() == "sqlite"
            memory = self._sqlite and parsed.database in {None, "", ":memory:"}
            options: dict[str, Any] = {"poolclass": sa.StaticPool} if memory else {}
            if self._sqlite:
                options["connect_args"] = {"timeout": 60, "check_same_thread": False}
            self._engine = sa.create_engine(parsed, **options)
            self._lock = threading.RLock() if self._sqlite else contextlib.nullcontext()
            if self._sqlite:
                sa.event.listen(self._engine, "connect", _tune_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
            with self.transaction() as tx:
                _TABLES.create_all(tx.connection)
                tx.check_schema()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(f"store.url {_without_password(url)}: cannot be opened: {reason}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Do everything inside or nothing."""
        with self._lock, self._engine.begin() as connection:
            insert: Any = sqlite.insert if self._sqlite else postgresql.insert
            yield Transaction(connection, insert)

    def bytes(self) -> int:
        """Return the size on disk."""
        query = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if self._sqlite
            else "SELECT pg_database_size(current_database())"
        )
        with self._lock, self._engine.begin() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()


def _tune_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _without_password(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "(not a database URL)"


class Transaction:
    """What can be read and changed at once."""

    def __init__(self, connection: sa.Connection, insert: Any):
        self.connection = connection
        self._insert = insert

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]], **update: Any) -> None:
        """Insert rows; where the key is there already, set `update` (given the excluded row's columns)."""
        if not rows:
            return
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        changes = {name: make(table.c[name], statement.excluded[name]) for name, make in update.items()}
        self.connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), rows)

    def check_schema(self) -> None:
        """Raise StoreError where another version of the exporter made the tables."""
        found = self.connection.execute(sa.select(META.c.value).where(META.c.key == "schema")).scalar()
        if found is None:
            self.connection.execute(sa.insert(META), [{"key": "schema", "value": SCHEMA_VERSION}])
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"the store has schema {found}, this version needs {SCHEMA_VERSION}: "
                f"move the store away; the next start reads the log again"
            )

    def baseline(self, model: str) -> tuple[str, str, bytes] | None:
        """Return fingerprint, text and counts of the stored baseline."""
        row = self.connection.execute(sa.select(BASELINE).where(BASELINE.c.model == model)).one_or_none()
        return None if row is None else (row.fingerprint, row.text, row.counts)

    def set_baseline(self, model: str, fingerprint: str, text: str, counts: bytes) -> None:
        """Store a baseline."""
        self.connection.execute(sa.delete(BASELINE).where(BASELINE.c.model == model))
        row = {"model": model, "fingerprint": fingerprint, "text": text, "counts": counts}
        self.connection.execute(sa.insert(BASELINE), [row])

    def forget(self, model: str) -> None:
        """Drop all that is stored of a model."""
        for table in _OF_A_MODEL:
            self.connection.execute(sa.delete(table).where(table.c.model == model))

    def buckets(self, model: str, start: int, end: int) -> list[tuple[str, int, Counts]]:
        """Return (version, start, counts) of the buckets with start <= bucket < end, in order."""
        query = sa.select(BUCKET).where(BUCKET.c.model == model, BUCKET.c.start >= start, BUCKET.c.start < end)
        rows = self.connection.execute(query.order_by(BUCKET.c.version, BUCKET.c.start))
        return [(row.version, row.start, decode(row.counts)) for row in rows]

    def add_to_buckets(self, model: str, deltas: Mapping[tuple[str, int], Counts]) -> None:
        """Add counts to their buckets."""
        old: dict[tuple[str, int], bytes] = {}
        for version in {version for version, _ in deltas}:
            for starts in _chunks([start for other, start in deltas if other == version]):
                query = sa.select(BUCKET.c.start, BUCKET.c.counts).where(
                    BUCKET.c.model == model, BUCKET.c.version == version, BUCKET.c.start.in_(starts)
                )
                old |= {(version, row.start): row.counts for row in self.connection.execute(query)}
        rows = []
        for (version, start), delta in deltas.items():
            stored = old.get((version, start))
            total = delta if stored is None else add(decode(stored), delta)
            rows.append({"model": model, "version": version, "start": start, "counts": encode(total)})
        self._upsert(BUCKET, rows, counts=lambda _old, new: new)

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

    def add_pending(self, model: str, rows: Iterable[tuple[str, float, int]]) -> None:
        """Remember labels (id, label, time); of two for one id the later one stays, or else the larger label."""
        plain = [{"model": model, "id": i, "label": label, "label_time": at} for i, label, at in rows]
        if not plain:
            return
        statement = self._insert(PENDING)
        new, old = statement.excluded, PENDING.c
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["model", "id"],
                set_={"label": new.label, "label_time": new.label_time},
                where=(new.label_time > old.label_time)
                | ((new.label_time == old.label_time) & (new.label > old.label)),
            ),
            plain,
        )

    def due_labels(self, model: str, now: int, most: int) -> list[Due]:
        """Return up to `most` remembered labels that are known by `now` and whose prediction is there."""
        both = PENDING.join(PREDICTION, (PENDING.c.model == PREDICTION.c.model) & (PENDING.c.id == PREDICTION.c.id))
        query = (
            sa.select(
                PREDICTION.c.id,
                PREDICTION.c.version,
                PREDICTION.c.bucket,
                PREDICTION.c.output,
                PREDICTION.c.label,
                PREDICTION.c.label_time,
                PENDING.c.label,
                PENDING.c.label_time,
            )
            .select_from(both)
            .where(PENDING.c.model == model, PENDING.c.label_time <= now)
            .limit(most)
        )
        return [Due(*row) for row in self.connection.execute(query)]

    def settle(self, model: str, done: list[str], labels: list[tuple[str, float, int]]) -> None:
        """Take labels out of memory, and write those that changed something to the ledger."""
        for chunk in _chunks(done):
            self.connection.execute(sa.delete(PENDING).where(PENDING.c.model == model, PENDING.c.id.in_(chunk)))
        if labels:
            statement = (
                sa.update(PREDICTION)
                .where(PREDICTION.c.model == model, PREDICTION.c.id == sa.bindparam("key"))
                .values(label=sa.bindparam("new"), label_time=sa.bindparam("at"))
            )
            self.connection.execute(statement, [{"key": i, "new": v, "at": t} for i, v, t in labels])

    def positions(self, model: str, source: str) -> dict[str, str]:
        """Return what was read of a source, by path."""
        of_source = (POSITION.c.model == model) & (POSITION.c.source == source)
        query = sa.select(POSITION.c.path, POSITION.c.value).where(of_source)
        return {row.path: row.value for row in self.connection.execute(query)}

    def set_position(self, model: str, source: str, path: str, value: str) -> None:
        """Remember how far a path was read."""
        row = {"model": model, "source": source, "path": path, "value": value}
        self._upsert(POSITION, [row], value=lambda _old, new: new)

    def count(self, model: str, version: str, amounts: Mapping[tuple[str, str], int]) -> None:
        """Add to the counters (name, reason)."""
        rows = [
            {"model": model, "version": version, "name": name, "reason": reason, "value": int(amount)}
            for (name, reason), amount in amounts.items()
            if amount
        ]
        self._upsert(COUNTER, rows, value=lambda old, new: old + new)

    def counters(self, model: str) -> list[tuple[str, str, str, int]]:
        """Return (version, name, reason, value)."""
        query = sa.select(COUNTER).where(COUNTER.c.model == model)
        rows = self.connection.execute(query.order_by(COUNTER.c.version, COUNTER.c.name, COUNTER.c.reason))
        return [(row.version, row.name, row.reason, row.value) for row in rows]

    def raise_newest(self, model: str, newest: Mapping[str, int]) -> None:
        """Move the newest event time per version (microseconds) forward, never back."""
        rows = [{"model": model, "version": v, "timestamp": t} for v, t in newest.items()]
        self._upsert(NEWEST, rows, timestamp=lambda old, new: sa.case((new > old, new), else_=old))

    def newest(self, model: str) -> dict[str, int]:
        """Return the newest event time per version, in microseconds."""
        rows = self.connection.execute(sa.select(NEWEST).where(NEWEST.c.model == model))
        return {row.version: row.timestamp for row in rows}

    def drop_before(self, model: str, start: int) -> None:
        """Keep the retention: drop buckets, ledger rows and orphaned labels that are older (seconds)."""
        self.connection.execute(sa.delete(BUCKET).where(BUCKET.c.model == model, BUCKET.c.start < start))
        self.connection.execute(sa.delete(PREDICTION).where(PREDICTION.c.model == model, PREDICTION.c.bucket < start))
        old_label = (PENDING.c.label_time < start * 1_000_000) & (PENDING.c.label_time >= 0)
        self.connection.execute(sa.delete(PENDING).where(PENDING.c.model == model, old_label))


def _chunks(ids: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]
