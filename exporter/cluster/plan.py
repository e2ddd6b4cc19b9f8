"""A model's rows in a cluster as DataFrames: what a bucket is known by, and its profile."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from exporter.baseline import Baseline
from exporter.cluster import worker
from exporter.profile.kpi import needed
from exporter.rows import SECOND, canonical
from exporter.schema import origin
from exporter.settings import Model
from exporter.sources.spark import DataFrame, column, hashable, sums, told
from exporter.tasks import TaskError

_BUCKET = "__bucket"
_FIRST = "__first"
_KEY = ("version", "segment", "start")
_NUMBERS = {"tinyint", "smallint", "int", "bigint", "float", "double"}
_MOST = 1e11  # seconds; larger numbers are no Unix seconds
_ZONES = SECOND * 86_400  # at most so far is a time without a zone from the same in UTC
_DEEP = 100_000_000  # rows from which on counts are added up in two steps: so many partitions have counts of one bucket
_BRANCHES = 64


class Facts(NamedTuple):
    """What a bucket of one version is known by: rows, labels, rows with an id, and two sums over hashes of its rows.

    newest: its latest event time in microseconds.
    """

    rows: int
    labels: int
    named: int
    low: int
    high: int
    newest: int

    def plus(self, other: Facts) -> Facts:
        """Return what both are known by together."""
        added = Facts(*(own + more for own, more in zip(self, other, strict=True)))
        return added._replace(newest=max(self.newest, other.newest))


class Known(NamedTuple):
    """What is known of a stretch of time: start of a bucket in seconds -> version -> facts.

    timeless: rows without an event time, of all of the table.
    """

    buckets: dict[int, dict[str, Facts]]
    timeless: int


Span = tuple[int, int]  # first second, and the first one after


class Rows:
    """The rows of one model as of `now` (Unix seconds; kept in microseconds): labels known later are not there yet.

    Raises TaskError where a column is missing that must be there, or a time is none.
    """

    def __init__(self, model: Model, baseline: Baseline, frame: DataFrame, now: float):
        self.model = model
        self.baseline = baseline
        self.frame = frame
        self.now = int(now * SECOND)
        with told():
            kinds = dict(frame.dtypes)
        self._known = set(kinds)
        columns, zone = model.columns, model.columns.timezone
        self._version = model.version["column"] if isinstance(model.version, dict) else None
        for name in (columns.timestamp, columns.prediction, columns.id, self._version):
            if name is not None and name not in self._known:
                raise TaskError("data", f"column {name!r} is missing")
        self._kind = kinds[columns.timestamp]
        timed = self._there([columns.timestamp, columns.label_timestamp])
        self._exact = {name: _micros(name, kinds[name], zone) for name in timed}

    @property
    def absent(self) -> list[str]:
        """Columns that the model reads and that are not there."""
        return [name for name in self._of_use() if name not in self._known]

    def used(self) -> list[str]:
        """Return the columns that are there and read."""
        return self._there([*self._of_use(), self.model.columns.id])

    def facts(self, span: Span) -> Known:
        """Return what each bucket with rows is known by, all columns that are counted included."""
        from pyspark.sql import functions as F

        columns = self.model.columns
        rows = self._between([span], self.used(), timeless=True)
        version = column(self._version) if self._version is not None else F.lit("")
        label = column(columns.label) if columns.label in self._known else F.lit(None)
        name = column(columns.id) if columns.id is not None else F.lit(1)
        amounts = [F.count(F.lit(1)), F.count(label), F.count(name)]
        with told():
            found = (
                rows.groupBy(self._bucket().alias("start"), version.alias("version"))
                .agg(
                    *(amount.alias(own) for amount, own in zip(amounts, Facts._fields, strict=False)),
                    *sums(hashable(rows)),
                    F.max(column(columns.timestamp)).alias("newest"),
                )
                .collect()
            )
        known, timeless = dict[int, dict[str, Facts]](), 0
        for start, own, *numbers in found:
            if start is None:
                timeless += numbers[0]
                continue
            version = (canonical(own) or "") if self._version is not None else str(self.model.version)
            facts, versions = Facts(*map(int, numbers)), known.setdefault(start // SECOND, {})
            versions[version] = facts.plus(versions[version]) if version in versions else facts
        return Known(known, timeless)

    def profiles(self, starts: Iterable[int], amount: int) -> pa.Table:
        """Count the rows of some buckets where they are; one row per version, segment and bucket comes back.

        amount: how many rows there are, about. Rows without an id are left out. Of rows with one id in one bucket one
        counts: that whose label became known last, else the first.
        """
        from pyspark.sql import functions as F

        rows = self._between(spans(starts, self.model.bucket_seconds), self.used())
        with told():
            if self.model.columns.id is not None:
                rows = self._without_copies(rows.where(column(self.model.columns.id).isNotNull()))
            packed = worker.pack(self.model, self.baseline)
            counted = rows.mapInArrow(partial(worker.profile, packed), worker.SPARK_FIELDS)
            if amount > _DEEP:
                branch = (F.spark_partition_id() % _BRANCHES).alias("branch")
                counted = counted.groupBy(*_KEY, branch).applyInArrow(worker.merge, worker.SPARK_FIELDS)
            return counted.groupBy(*_KEY).applyInArrow(worker.merge, worker.SPARK_FIELDS).toArrow()

    def has_copies(self, starts: Iterable[int]) -> bool:
        """Say whether rows of one bucket share an id."""
        columns = self.model.columns
        rows = self._between(spans(starts, self.model.bucket_seconds), self._there([columns.timestamp, columns.id]))
        with told():
            return self._repeated(rows.where(column(columns.id).isNotNull()))

    def _repeated(self, rows: DataFrame) -> bool:
        found = rows.groupBy(self._bucket().alias(_BUCKET), column(self.model.columns.id)).count().where("count > 1")
        return not found.isEmpty()

    def _without_copies(self, rows: DataFrame) -> DataFrame:
        """Leave one row per id and bucket; whole rows are only sorted where narrow ones show that there are copies."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        columns, bucket = self.model.columns, self._bucket()
        name = column(columns.id)
        if not self._repeated(rows):
            return rows.drop(columns.id)
        label, known_at = columns.label, columns.label_timestamp
        order = [column(label).isNotNull().desc()] if label in self._known else []
        order += [column(known_at).desc_nulls_last()] if known_at in self._known else []
        order += [column(label).desc_nulls_last()] if label in self._known else []
        hashed = F.xxhash64(*map(column, hashable(rows)))
        window = Window.partitionBy(bucket, name).orderBy(*order, column(columns.timestamp), hashed)
        numbered = rows.withColumn(_FIRST, F.row_number().over(window))
        return numbered.where(F.col(_FIRST) == 1).drop(_FIRST, columns.id)

    def _there(self, names: Iterable[str | None]) -> list[str]:
        return [name for name in dict.fromkeys(names) if name is not None and name in self._known]

    def _of_use(self) -> list[str]:
        """Return the columns that are counted."""
        columns, baseline = self.model.columns, self.baseline
        names: list[str | None] = [columns.timestamp, columns.prediction, *baseline.schema.scores]
        names += [columns.label, columns.label_timestamp, self._version, columns.error, columns.weight]
        names += [columns.latency.column if columns.latency else None, *baseline.segments.shown, *columns.outcomes]
        names += [name for own in needed(baseline.bins.kpis) for name in own]
        names += [name for own in baseline.bins.kpis for name in own.columns]
        names += [origin(baseline.schema, name) for name in baseline.bins.features]
        return [name for name in dict.fromkeys(names) if name is not None]

    def _between(self, spans: list[Span], names: list[str], timeless: bool = False) -> DataFrame:
        """Return the rows of some stretches of time, times as whole microseconds, labels only where they are known.

        timeless: with the rows that have no time.
        """
        from pyspark.sql import functions as F

        columns = self.model.columns
        name, known_at = columns.timestamp, columns.label_timestamp
        ends = [(start * SECOND, min(end * SECOND, self.now)) for start, end in spans]
        with told():
            rough = [_roughly(name, self._kind, start, end) for start, end in ends]
            rough += [_no_time(name, self._kind)] if timeless else []
            rows = self.frame.where(_any(rough)).select(*map(column, names))
            if known_at in names:
                rows = rows.withColumn(known_at, self._exact[known_at])
                known = column(known_at).isNull() | (column(known_at) <= self.now)
                for own in self._there([columns.label, known_at]):
                    rows = rows.withColumn(own, F.when(known, column(own)))
            rows = rows.withColumn(name, self._exact[name])
            within = [(column(name) >= start) & (column(name) < end) for start, end in ends]
            return rows.where(_any([*within, *([column(name).isNull()] if timeless else [])]))

    def _bucket(self) -> Any:
        """Return the start of each row's bucket, in microseconds."""
        from pyspark.sql import functions as F

        time = column(self.model.columns.timestamp)
        return time - F.pmod(time, F.lit(self.model.bucket_seconds * SECOND))


def size_of(baseline: Baseline, rows: int) -> int:
    """Return how many numbers a profile of some rows has, at most: a row is counted so often, about, in the whole."""
    bins, segments = baseline.bins, baseline.segments
    columns = len(bins.features) + len(bins.scores) + 10
    return min(rows * columns * (1 + len(segments.shown)), bins.size * (1 + len(segments.names)))


def _any(conditions: list[Any]) -> Any:
    found = conditions[0]
    for one in conditions[1:]:
        found = found | one
    return found


def spans(starts: Iterable[int], bucket: int) -> list[Span]:
    """Return the stretches that buckets fill; those that follow each other are one."""
    found: list[Span] = []
    for start in sorted(starts):
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], start + bucket
        else:
            found.append((start, start + bucket))
    return found


def _micros(name: str, kind: str, zone: str) -> Any:
    """Return times as microseconds UTC, as `rows.times` reads them; raises TaskError for what is no time."""
    from pyspark.sql import functions as F

    time = column(name)
    if kind == "timestamp":
        return F.unix_micros(time)
    if kind in {"timestamp_ntz", "date"}:
        return F.unix_micros(F.to_utc_timestamp(time.cast("timestamp"), zone))  # the session's zone is UTC
    if kind in _NUMBERS or kind.startswith("decimal"):
        seconds = time.cast("double")
        is_time = F.abs(seconds) < _MOST  # NaN is larger than any number
        return F.when(is_time, F.rint(seconds * SECOND).cast("bigint"))
    raise TaskError("data", f"column {name!r} is {kind}, no time: cast it, with sql: SELECT CAST(... AS TIMESTAMP)")


def _roughly(name: str, kind: str, start: int, end: int) -> Any:
    """Return a condition that holds for all times between two, in terms by which Spark skips files and row groups."""
    from pyspark.sql import functions as F

    time = column(name)
    if kind == "timestamp":
        return (time >= F.timestamp_micros(F.lit(start))) & (time < F.timestamp_micros(F.lit(end)))
    if kind in {"timestamp_ntz", "date"}:
        first, last = (F.timestamp_micros(F.lit(at)).cast(kind) for at in (start - 2 * _ZONES, end + 2 * _ZONES))
        return (time >= first) & (time <= last)
    return (time >= F.lit(start // SECOND - 1)) & (time <= F.lit(end // SECOND + 1))


def _no_time(name: str, kind: str) -> Any:
    """Return a condition that holds for all rows without a time, in terms as in `_roughly`."""
    from pyspark.sql import functions as F

    time = column(name)
    if kind in _NUMBERS or kind.startswith("decimal"):
        return time.isNull() | (time >= F.lit(int(_MOST))) | (time <= F.lit(-int(_MOST)))
    return time.isNull()
