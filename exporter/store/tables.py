"""The store's tables, and the rows that go in and out."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from exporter.profile.counts import Counts

TABLES = sa.MetaData()
SCHEMA_VERSION = "5"
# Versions whose tables are as they are now, but for tables and columns that came since: they are made.
LIKE_NOW = frozenset({"3", "4"})


class Text(sa.TypeDecorator[str]):
    """Text of any characters, ordered by code points, as Python orders it.

    PostgreSQL would order it by a locale, and takes no zero character: there 0 and 1 are written as 1 1 and 1 2, which
    keeps the order.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Text(collation="C") if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        return value.replace("\1", "\1\2").replace("\0", "\1\1")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or dialect.name != "postgresql" or "\1" not in value:
            return value
        return value.replace("\1\1", "\0").replace("\1\2", "\1")


def _key(name: str, kind: Any = Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


META = sa.Table("meta", TABLES, _key("key"), sa.Column("value", Text, nullable=False))
BASELINE = sa.Table(
    "baseline",
    TABLES,
    _key("model"),
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("text", Text, nullable=False),
    sa.Column("counts", sa.LargeBinary, nullable=False),
)
BUCKET = sa.Table(
    "bucket",
    TABLES,
    _key("model"),
    _key("version"),
    _key("segment"),
    _key("start", sa.BigInteger),
    sa.Column("counts", sa.LargeBinary, nullable=False),
)
ROLLUP = sa.Table(
    "rollup",
    TABLES,
    _key("model"),
    _key("seconds", sa.BigInteger),
    _key("version"),
    _key("segment"),
    _key("start", sa.BigInteger),
    sa.Column("counts", sa.LargeBinary, nullable=False),
)
SAMPLE = sa.Table(
    "sample",
    TABLES,
    _key("model"),
    _key("version"),
    _key("start", sa.BigInteger),
    sa.Column("blob", sa.LargeBinary, nullable=False),
)
DAY = sa.Table(
    "day",
    TABLES,
    _key("model"),
    _key("version"),
    _key("number", sa.BigInteger),
    sa.Column("changed", sa.Boolean, nullable=False),
    sa.Column("text", Text),
)
PREDICTION = sa.Table(
    "prediction",
    TABLES,
    _key("model"),
    _key("id"),
    sa.Column("version", Text, nullable=False),
    sa.Column("bucket", sa.BigInteger, nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Column("output", sa.LargeBinary, nullable=False),
    sa.Column("slices", sa.LargeBinary, nullable=False),
    sa.Column("label", sa.Float(53)),
    sa.Column("label_time", sa.BigInteger),
    sa.Column("columns", Text),
    sa.Column("outcome", Text),
    sa.Column("group_name", Text),
    sa.Column("group_start", sa.BigInteger),
    sa.Index("prediction_age", "model", "bucket"),
    sa.Index(
        "prediction_group",
        "model",
        "group_name",
        sqlite_where=sa.text("group_name IS NOT NULL"),
        postgresql_where=sa.text("group_name IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
NEW_COLUMNS = (PREDICTION.c.group_name, PREDICTION.c.group_start)  # since version 4
PENDING = sa.Table(
    "pending_label",
    TABLES,
    _key("model"),
    _key("id"),
    sa.Column("label", sa.Float(53), nullable=False),
    sa.Column("label_time", sa.BigInteger, nullable=False),
    sa.Column("outcome", Text),
    sqlite_with_rowid=False,
)
POSITION = sa.Table(
    "position",
    TABLES,
    _key("model"),
    _key("source"),
    _key("path"),
    sa.Column("value", Text, nullable=False),
)
COUNTER = sa.Table(
    "counter",
    TABLES,
    _key("model"),
    _key("version"),
    _key("name"),
    _key("reason"),
    sa.Column("value", sa.BigInteger, nullable=False),
)
NEWEST = sa.Table(
    "newest", TABLES, _key("model"), _key("version"), sa.Column("timestamp", sa.BigInteger, nullable=False)
)
LEASE = sa.Table(
    "lease",
    TABLES,
    _key("name"),
    sa.Column("holder", Text, nullable=False),
    sa.Column("config", Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Float(53), nullable=False),
)
INBOX = sa.Table(
    "inbox",
    TABLES,
    _key("number", sa.BigInteger().with_variant(sa.Integer, "sqlite")),
    sa.Column("model", Text, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("newest", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("inbox_waiting", "model", "source", "done", "number"),
)
OF_A_MODEL = (BASELINE, BUCKET, ROLLUP, SAMPLE, DAY, PREDICTION, PENDING, POSITION, COUNTER, NEWEST)


class StoreError(Exception):
    """A store that cannot be used; one sentence with the mend."""


class StoreBusy(Exception):
    """A store that others write to for now: come again."""


class LeaseLost(StoreError):
    """Another exporter computes now: what this one wanted to change is left as it is."""


Key = tuple[str, str, int]  # version, segment, start of the bucket


class Bucket(NamedTuple):
    """The counts of one version, segment and bucket; start in Unix seconds."""

    version: str
    segment: str
    start: int
    counts: Counts


class Prediction(NamedTuple):
    """A row of the ledger; label None while unknown.

    timestamp, label_time: microseconds; -1 is a label that was known at once. output: prediction, scores and weight as
    packed float64. slices: numbers of its segments as packed int16. columns, outcome: what business indicators need of
    log and label, as JSON lists; None where they need nothing. group_name: the rows that it was ranked with;
    group_start: the bucket of the earliest of them that ever was here.
    """

    id: str
    version: str
    bucket: int
    timestamp: int
    output: bytes
    slices: bytes
    label: float | None
    label_time: int | None
    columns: str | None = None
    outcome: str | None = None
    group_name: str | None = None
    group_start: int | None = None


class Member(NamedTuple):
    """A row of a group that was ranked together; fields as in Prediction."""

    id: str
    version: str
    group_name: str
    group_start: int
    bucket: int
    timestamp: int
    output: bytes
    slices: bytes
    label: float | None


class Pending(NamedTuple):
    """A label that waits: for its time, for its prediction, or to be counted."""

    id: str
    label: float
    label_time: int
    outcome: str | None = None


class Due(NamedTuple):
    """A label that became known, beside the prediction that it belongs to."""

    id: str
    version: str
    bucket: int
    timestamp: int
    output: bytes
    slices: bytes
    columns: str | None
    group_name: str | None
    old: float | None
    old_time: int | None
    old_outcome: str | None
    label: float
    label_time: int
    outcome: str | None

    @property
    def is_news(self) -> bool:
        """Whether the label is later than the one that was counted; of one time the larger counts."""
        before = (self.old_time, self.old, self.old_outcome or "")
        return self.old is None or (self.label_time, self.label, self.outcome or "") > before
