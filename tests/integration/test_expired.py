"""Row groups that are older than the retention are counted as expired without being read."""

from __future__ import annotations

import json
import subprocess
import sys
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


WHY = "a row without a time", "no statistics", "a time as text", "some of the rows"


@pytest.mark.parametrize("why", WHY)
def test_what_the_statistics_do_not_tell_is_read(tmp_path: Path, why: str) -> None:
    table = log(pa.timestamp("us", "UTC"), 7 if why == "a row without a time" else None)
    if why == "a time as text":
        table = table.set_column(0, "at", table["at"].cast(pa.string()))
    path = tmp_path / "log.parquet"
    pq.write_table(table, path, row_group_size=50_000, write_statistics=why != "no statistics")
    rows = parquet.File(str(path)).whole()
    if why == "some of the rows":
        rows = rows.filter(pa.array(np.arange(ROWS) % 2 == 0))
    assert rows.span("at") is None
    assert rows.span("x") is None


def test_a_row_of_a_far_year_does_not_make_the_others_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = log(pa.timestamp("ms"))
    pq.write_table(table.slice(ROWS - 2_000), tmp_path / "reference.parquet")
    at = np.array(table["at"].cast(pa.int64())).copy()
    at[::50_000] = 2**60
    table = table.set_column(0, "at", pa.array(at).cast(pa.timestamp("ms")))
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=50_000)
    found = counted(tmp_path)
    assert found[0]["rejected", "timestamp"] == ROWS // 50_000
    monkeypatch.setattr(parquet.Rows, "span", lambda *_: None)
    assert counted(tmp_path) == found


def test_statistics_are_read_without_pandas(tmp_path: Path) -> None:
    pq.write_table(log(pa.timestamp("ns", "UTC")), tmp_path / "log.parquet")
    code = (
        "import sys; from exporter.sources.parquet import File; "
        f"print(File({str(tmp_path / 'log.parquet')!r}).whole().span('at') is None, 'pandas' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
