"""Row groups that are older than the retention are counted as expired without being read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.settings import Model
from exporter.sources import parquet
from exporter.sources.files import MANY
from exporter.store import Store

DAY, NOW = 86_400, 1_700_000_000 // 86_400 * 86_400
ROWS, STEP = 1_400_000, 18  # 291 days; three pieces of a file: expired, some of it, none of it
RANDOM = np.random.default_rng(3)


def log(kind: pa.DataType, missing: int | None = None) -> pa.Table:
    """Return rows of 291 days up to now; missing: a row without a time."""
    at = NOW - STEP * (ROWS - np.arange(ROWS, dtype=np.int64))
    known = np.arange(ROWS) != missing
    values = RANDOM.normal(size=ROWS)
    times = pa.array(at, mask=~known).cast(pa.timestamp("s")).cast(kind)
    return pa.table({"at": times, "prediction": pa.array(values), "x": pa.array(values + 1)})


def settings(folder: Path) -> Model:
    own = {
        "name": "m",
        "task": "regression",
        "version": "1",
        "columns": {"timestamp": "at", "timezone": "America/New_York", "prediction": "prediction", "features": ["x"]},
        "reference": {"files": f"{folder}/reference.parquet"},
        "predictions": {"files": f"{folder}/log.parquet"},
        "windows": ["30d"],
        "bucket": "1d",
    }
    path = folder / "m.yml"
    path.write_text(json.dumps({"models": [own]}))
    return load(path).config.models[0]


def counted(folder: Path) -> tuple[dict, dict]:
    """Run a model; return its counters, and its buckets."""
    store = Store("sqlite:///:memory:")
    assert Monitor(settings(folder), store, Board(), 90.0 * DAY, 60.0).run(float(NOW))
    with store.transaction() as tx:
        counters = {(name, reason): value for _, name, reason, value in tx.counters("m")}
        buckets = {
            one.start: (one.counts.place.tolist(), one.counts.amount.tolist()) for one in tx.buckets("m", 0, NOW)
        }
    store.close()
    return counters, buckets


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us", "UTC"), pa.timestamp("ms"), pa.timestamp("ns", "Asia/Tokyo")], ids=str
)
def test_what_is_expired_is_counted_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    table = log(kind)
    pq.write_table(table.slice(ROWS - 2_000), tmp_path / "reference.parquet")
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=50_000)
    read: list[int] = []
    real = parquet.Rows.pieces
    monkeypatch.setattr(parquet.Rows, "pieces", lambda own, name: (read.append(len(own)), real(own, name))[1])
    pruned = counted(tmp_path)
    assert 0 < ROWS - MANY // 50_000 * 50_000 == sum(set(read)) < ROWS
    monkeypatch.setattr(parquet.Rows, "span", lambda *_: None)
    read.clear()
    assert counted(tmp_path) == pruned
    assert sum(set(read)) > ROWS - MANY
    assert pruned[0]["rejected", "expired"] == pytest.approx(ROWS - 90 * DAY / STEP, abs=DAY / STEP)


WHY = "a row without a time", "no statistics", "a time as text", "some of the rows", "a far year"


@pytest.mark.parametrize("why", WHY)
def test_what_the_statistics_do_not_tell_is_read(tmp_path: Path, why: str) -> None:
    table = log(pa.timestamp("us", "UTC"), 7 if why == "a row without a time" else None)
    if why == "a time as text":
        table = table.set_column(0, "at", table["at"].cast(pa.string()))
    if why == "a far year":
        far = pa.array(np.full(ROWS, 2**50)).cast(pa.timestamp("ms"))
        table = table.set_column(0, "at", far)
    path = tmp_path / "log.parquet"
    pq.write_table(table, path, row_group_size=50_000, write_statistics=why != "no statistics")
    rows = parquet.File(str(path)).whole()
    if why == "some of the rows":
        rows = rows.filter(pa.array(np.arange(ROWS) % 2 == 0))
    assert rows.span("at") is None
    assert rows.span("x") is None
