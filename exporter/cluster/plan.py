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
from exporter.sources.spark import DataFrame, sums, told
from exporter.tasks import TaskError

_BUCKET = "__bucket"
_FIRST = "__first"
_NUMBERS = {"tinyint", "smallint", "int", "bigint", "float", "double"}
_MOST = 1e11  # seconds; larger numbers are no Unix seconds
_ZONES = SECOND * 86_400  # at most so far is a time without a zone from the same in UTC


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


Span = tuple[int, int]  # first second, and the first one after


class Rows:
    """The rows of one model as of `now` (Unix seconds): labels that are known later are not there yet."""

    def __init__(self, model: Model, baseline: Baseline, frame: DataFrame, now: float):
        self._model = model
        self._baseline = baseline
        self._frame = frame
        self._now = int(now * SECOND)
        self._known = set(frame.columns)
        columns = model.columns
        self._version = model.version["column"] if isinstance(model.version, dict) else None
        for name in (columns.timestamp, columns.prediction, columns.id, self._version):
            if name is not None and name not in self._known:
                raise TaskError("data", f"column {name!r} is missing")

    @property
    def absent(self) -> list[str]:
        """Columns that the model reads and that are not there."""
        return [name for name in self._of_use() if name not in self._known]

    def facts(self, span: Span) -> dict[int, dict[str, Facts]]:
        """Return what each bucket with rows is known by: start in seconds -> version -> facts."""
        from pyspark.sql import functions as F

        columns = self._model.columns
        told_by = (columns.timestamp, columns.id, columns.label, columns.label_timestamp, columns.prediction)
        names = self._there([*told_by, self._version, columns.weight, *self._baseline.schema.scores])
        rows = self._between([span], names)
        version = _column(self._version) if self._version is not None else F.lit("")
        label = _column(columns.label) if columns.label in self._known else F.lit(None)
        name = _column(columns.id) if columns.id is not None else F.lit(1)
        amounts = [F.count(F.lit(1)), F.count(label), F.count(name)]
        with told():
            found = (
                rows.groupBy(self._bucket().alias("start"), version.alias("version"))
                .agg(
                    *(amount.alias(own) for amount, own in zip(amounts, Facts._fields, strict=False)),
                    *sums(names),
                    F.max(_column(columns.timestamp)).alias("newest"),
                )
                .collect()
            )
        facts: dict[int, dict[str, Facts]] = {}
        for start, own, *amounts in found:
            version = (canonical(own) or "") if self._version is not None else str(self._model.version)
            facts.setdefault(start // SECOND, {})[version] = Facts(*map(int, amounts))
        return facts

    def profiles(self, starts: Iterable[int]) -> pa.Table:
        """Count the rows of some buckets where they are; one row per version, segment and bucket comes back.

        Rows without an id are left out. Of rows with one id in one bucket one counts: that whose label became known
        last, else the first.
        """
        names = self._there([*self._of_use(), self._model.columns.id])
        rows = self._between(_spans(starts, self._model.bucket_seconds), names)
        with told():
            if self._model.columns.id is not None:
                rows = self._without_copies(rows.where(_column(self._model.columns.id).isNotNull()))
            packed = worker.pack(self._model, self._baseline)
            counted = rows.mapInArrow(partial(worker.profile, packed), worker.SPARK_FIELDS)
            summed = counted.groupBy("version", "segment", "start").applyInArrow(worker.merge, worker.SPARK_FIELDS)
            return summed.toArrow()

    def _without_copies(self, rows: DataFrame) -> DataFrame:
        """Leave one row per id and bucket; whole rows are only sorted where narrow ones show that there are copies."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        columns, bucket = self._model.columns, self._bucket()
        name = _column(columns.id)
        if rows.groupBy(bucket.alias(_BUCKET), name).count().where("count > 1").isEmpty():
            return rows.drop(columns.id)
        label, known_at = columns.label, columns.label_timestamp
        order = [_column(label).isNotNull().desc()] if label in self._known else []
        order += [_column(known_at).desc_nulls_last()] if known_at in self._known else []
        order += [_column(label).desc_nulls_last()] if label in self._known else []
        hashed = F.xxhash64(*(_column(one) for one, kind in rows.dtypes if "map<" not in kind))
        window = Window.partitionBy(bucket, name).orderBy(*order, _column(columns.timestamp), hashed)
        numbered = rows.withColumn(_FIRST, F.row_number().over(window))
        return numbered.where(F.col(_FIRST) == 1).drop(_FIRST, columns.id)

    def _there(self, names: Iterable[str | None]) -> list[str]:
        return [name for name in dict.fromkeys(names) if name is not None and name in self._known]

    def _of_use(self) -> list[str]:
        """Return the columns that are counted."""
        columns, baseline = self._model.columns, self._baseline
        names: list[str | None] = [columns.timestamp, columns.prediction, *baseline.schema.scores]
        names += [columns.label, columns.label_timestamp, self._version, columns.error, columns.weight]
        names += [columns.latency.column if columns.latency else None, *baseline.segments.shown, *columns.outcomes]
        names += [name for own in needed(baseline.bins.kpis) for name in own]
        names += [name for own in baseline.bins.kpis for name in own.columns]
        names += [origin(baseline.schema, name) for name in baseline.bins.features]
        return [name for name in dict.fromkeys(names) if name is not None]

    def _between(self, spans: list[Span], names: list[str]) -> DataFrame:
        """Return the rows of some stretches of time, times as whole microseconds, labels only where they are known."""
        from pyspark.sql import functions as F

        columns, zone = self._model.columns, self._model.columns.timezone
        kinds = dict(self._frame.dtypes)
        name, known_at = columns.timestamp, columns.label_timestamp
        exact = _micros(name, kinds[name], zone)
        ends = [(start * SECOND, min(end * SECOND, self._now)) for start, end in spans]
        with told():
            rough = [_roughly(name, kinds[name], start, end) for start, end in ends]
            rows = self._frame.where(_any(rough)).select(*(_column(own) for own in names))
            if known_at in names:
                rows = rows.withColumn(known_at, _micros(known_at, kinds[known_at], zone))
                known = _column(known_at).isNull() | (_column(known_at) <= self._now)
                for own in self._there([columns.label, known_at]):
                    rows = rows.withColumn(own, F.when(known, _column(own)))
            rows = rows.withColumn(name, exact)
            return rows.where(_any([(_column(name) >= start) & (_column(name) < end) for start, end in ends]))

    def _bucket(self) -> Any:
        """Return the start of each row's bucket, in microseconds."""
        from pyspark.sql import functions as F

        time = _column(self._model.columns.timestamp)
        return time - F.pmod(time, F.lit(self._model.bucket_seconds * SECOND))


def _column(name: str | None) -> Any:
    from pyspark.sql import functions as F

    return F.col("`{}`".format((name or "").replace("`", "``")))


def _any(conditions: list[Any]) -> Any:
    found = conditions[0]
    for one in conditions[1:]:
        found = found | one
    return found


def _spans(starts: Iterable[int], bucket: int) -> list[Span]:
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

    column = _column(name)
    if kind == "timestamp":
        return F.unix_micros(column)
    if kind in {"timestamp_ntz", "date"}:
        return F.unix_micros(F.to_utc_timestamp(column.cast("timestamp"), zone))  # the session's zone is UTC
    if kind in _NUMBERS or kind.startswith("decimal"):
        seconds = column.cast("double")
        is_time = F.abs(seconds) < _MOST  # NaN is larger than any number
        return F.when(is_time, F.rint(seconds * SECOND).cast("bigint"))
    raise TaskError("data", f"column {name!r} is {kind}, no time: cast it, with sql: SELECT CAST(... AS TIMESTAMP)")


def _roughly(name: str, kind: str, start: int, end: int) -> Any:
    """Return a condition that holds for all times between two, in terms by which Spark skips files and row groups."""
    from pyspark.sql import functions as F

    column = _column(name)
    if kind == "timestamp":
        return (column >= F.timestamp_micros(F.lit(start))) & (column < F.timestamp_micros(F.lit(end)))
    if kind in {"timestamp_ntz", "date"}:
        first, last = (F.timestamp_micros(F.lit(at)).cast(kind) for at in (start - 2 * _ZONES, end + 2 * _ZONES))
        return (column >= first) & (column <= last)
    return (column >= F.lit(start // SECOND - 1)) & (column <= F.lit(end // SECOND + 1))
