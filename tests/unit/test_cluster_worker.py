"""What executors count: however rows are cut into partitions, the sum is what one process counts."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import ledger
from exporter.baseline import Baseline
from exporter.cluster import worker
from exporter.cluster.worker import FIELDS
from exporter.config import load
from exporter.ledger import Limits
from exporter.profile.batch import read_log
from exporter.profile.coding import decode
from exporter.profile.counts import add
from exporter.reference import fit
from exporter.settings import Model
from exporter.store import Store
from exporter.store.tables import Key
from tests.integration.small import DAY, KINDS, NOON, model, rows, write_config

ROWS = 400


@cache
def case(name: str) -> tuple[Model, Baseline, pa.Table]:
    """Return a model with slices, its baseline, and a log of which some labels are none."""
    with TemporaryDirectory() as folder:
        own = model(name, labels=None)
        own["columns"]["segments"] = ["city"]
        read = load(write_config(Path(folder), own)).config.models[0]
    log = rows(name, NOON - DAY, NOON, ROWS, seed=2)
    odd = pa.array([value if number % 50 else None for number, value in enumerate(log["label"].to_pylist())])
    log = log.set_column(log.column_names.index("label"), "label", odd)
    return read, fit(read, rows(name, NOON - 30 * DAY, NOON - DAY, 1500, seed=1)), log


def as_sent(log: pa.Table) -> pa.Table:
    """Return a log as the executors get it: no ids, times as whole microseconds."""
    for name in ("timestamp", "label_timestamp"):
        log = log.set_column(log.column_names.index(name), name, log[name].cast(pa.int64()))
    return log.drop_columns(["id"])


def by_key(table: pa.Table) -> dict[Key, list[dict[str, object]]]:
    """Return the rows of a profile, as Spark would group them."""
    found: dict[Key, list[dict[str, object]]] = {}
    for row in table.to_pylist():
        found.setdefault((row["version"], row["segment"], row["start"]), []).append(row)
    return found


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=4), each=st.integers(30, ROWS))
def test_any_partitions_add_up_to_what_the_ledger_counts(name: str, cuts: list[int], each: int) -> None:
    """To the last number: the buckets that a store has after the same rows came from a file."""
    own, baseline, log = case(name)
    packed = worker.pack(own, baseline)
    ends = [0, *sorted(cuts), ROWS]
    parts = [as_sent(log).slice(a, b - a) for a, b in pairwise(ends)]
    batches = [batch for part in parts for batch in worker.profile(packed, part.to_batches(max_chunksize=each))]
    groups = by_key(pa.Table.from_batches(batches))
    merged = {k: worker.merge(pa.Table.from_pylist(v, FIELDS)).to_pylist()[0]["counts"] for k, v in groups.items()}
    with Store("sqlite:///:memory:").transaction() as tx:
        limits = Limits(float(NOON), own.bucket_seconds, 0.0)
        ledger.add_log(tx, own.name, baseline, read_log(own, baseline.schema, log, baseline.segments), limits)
        ledger.settle_labels(tx, own.name, baseline, float(NOON + DAY))
        expected = {found[:3]: add(found.counts) for found in tx.buckets(own.name, 0, 2**40)}
    found = {key: decode(counts) for key, counts in merged.items()}
    assert {key: [part.tolist() for part in counts] for key, counts in found.items()} == {
        key: [part.tolist() for part in counts] for key, counts in expected.items()
    }


def test_a_label_that_is_none_is_counted_where_it_is() -> None:
    """By version, and by the bucket of its row; a missing label is not wrong."""
    own, baseline, log = case("animals")
    labels = log["label"].to_pylist()
    labels[7], labels[8] = "dog", "dog"
    log = log.set_column(log.column_names.index("label"), "label", pa.array(labels))
    (batch,) = worker.profile(worker.pack(own, baseline), as_sent(log).to_batches())
    refused = {(row["segment"], row["start"]): row["refused"] for row in batch.to_pylist() if row["refused"]}
    assert refused == {("all", NOON - DAY): 2}


def test_no_rows_give_nothing() -> None:
    """An empty partition, as Spark has many."""
    own, baseline, log = case("credit")
    assert list(worker.profile(worker.pack(own, baseline), as_sent(log).slice(0, 0).to_batches())) == []
    assert list(worker.profile(worker.pack(own, baseline), [])) == []
