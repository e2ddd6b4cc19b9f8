"""What runs on the executors: rows -> counts by version, segment and bucket, and the sum of such counts. Pure.

It is the code that counts rows of files, on batches that Spark hands over.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.baseline import Baseline, dump, restore
from exporter.buckets import Deltas, Where, counted, merged
from exporter.business.columns import read
from exporter.profile.batch import Log, delays, read_log
from exporter.profile.coding import decode, encode
from exporter.profile.counts import ZERO, add
from exporter.profile.kpi import needed
from exporter.profile.labelled import Labelled
from exporter.profile.outcome import Outcomes
from exporter.reference import select, usable
from exporter.rows import SECOND, categorical, numeric
from exporter.segments import ALL
from exporter.settings import Model
from exporter.store.tables import Key

AT_ONCE = 131_072  # rows that are counted together
FIELDS = pa.schema(
    [
        ("version", pa.string()),
        ("segment", pa.string()),
        ("start", pa.int64()),
        ("counts", pa.binary()),
        ("refused", pa.int64()),
    ]
)
SPARK_FIELDS = "version string, segment string, start bigint, counts binary, refused bigint"


class Job(NamedTuple):
    """What rows are counted by."""

    model: Model
    baseline: Baseline


def pack(model: Model, baseline: Baseline) -> bytes:
    """Write a job for the executors: the bins, nothing of what the reference taught, and no ids, which stay behind."""
    bins = replace(
        baseline,
        packed=encode(ZERO),
        slices={},
        learned={},
        quality={},
        days={},
        importance=None,
        sequential=(),
        rows=None,
        label_delays={},
        misses={},
    )
    unnamed = model.model_copy(update={"columns": model.columns.model_copy(update={"id": None})})
    return pickle.dumps((unnamed, *dump(bins)))


@lru_cache(maxsize=8)
def unpack(packed: bytes) -> Job:
    """Read what `pack` wrote; a worker that lives on has it already."""
    model, text, counts = pickle.loads(packed)
    return Job(model, restore(text, counts))


def profile(packed: bytes, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count the rows of one partition; one row per version, segment and bucket comes out.

    The columns of times are whole microseconds UTC, null where there is none.
    """
    job = unpack(packed)
    total: Deltas = {}
    refused: Counter[Key] = Counter()
    for table in _pieces(batches):
        found, wrong = count(job, _with_times(job.model, table))
        total = merged(total, found)
        refused.update(wrong)
    rows = [(*key, encode(add(counts)), refused[key]) for key, counts in total.items()]
    if rows:
        yield pa.RecordBatch.from_arrays(
            [pa.array(own, f.type) for own, f in zip(zip(*rows, strict=True), FIELDS, strict=True)], schema=FIELDS
        )


def merge(table: pa.Table) -> pa.Table:
    """Add up the rows of one version, segment and bucket."""
    packed = table["counts"].to_pylist()
    counts = encode(add(*map(decode, packed))) if len(packed) > 1 else packed[0]
    first = table.slice(0, 1).to_pylist()[0]
    total = first | {"counts": counts, "refused": sum(table["refused"].to_pylist())}
    return pa.Table.from_pylist([total], schema=FIELDS)


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= AT_ONCE:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def count(job: Job, table: pa.Table) -> tuple[Deltas, Counter[Key]]:
    """Count rows; return also how many labels of each bucket are none."""
    if not len(table):
        return {}, Counter()
    model, baseline = job
    log = read_log(model, baseline.schema, table, baseline.segments)
    bucket = log.timestamp // SECOND // model.bucket_seconds * model.bucket_seconds
    label = np.full(len(bucket), np.nan) if log.label is None else log.label
    assert log.batch.table is not None
    values = read(log.batch.table, tuple(name for names in needed(baseline.bins.kpis) for name in names))
    delay = delays(log.timestamp, log.label_time)
    outcomes = Outcomes(log.prediction, label, log.scores, values, delay, log.weight)
    chosen = usable(baseline.bins, outcomes)
    where = Where(log.version, bucket, log.slices, np.arange(len(bucket)))
    labelled = Labelled(np.flatnonzero(chosen), select(outcomes, chosen))
    return counted(baseline, log.batch, where, labelled), _refused(model, log, bucket)


def _with_times(model: Model, table: pa.Table) -> pa.Table:
    for name in (model.columns.timestamp, model.columns.label_timestamp):
        if name in table.column_names:
            exact = table[name].cast(pa.timestamp("us", "UTC"))
            table = table.set_column(table.column_names.index(name), name, exact)
    return table


def _refused(model: Model, log: Log, bucket: np.ndarray) -> Counter[Key]:
    """Count the labels that are no class, or no number."""
    name, table = model.columns.label, log.batch.table
    if log.label is None or name is None or table is None:
        return Counter()
    if model.task == "regression":
        wrong = ~numeric(table[name]).valid
    else:
        wrong = (categorical(table[name]).codes >= 0) & np.isnan(log.label)
    versions = log.version.names
    return Counter((versions[log.version.codes[row]], ALL, int(bucket[row])) for row in np.flatnonzero(wrong).tolist())
