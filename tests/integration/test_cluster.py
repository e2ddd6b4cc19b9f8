"""Rows that are counted on a cluster's executors: the same numbers as from files, also where a worker is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.cluster import refresh
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.profile.counts import Counts
from exporter.settings import Model
from exporter.sources import spark
from exporter.sources.settings import Spark
from exporter.store import Store
from tests.integration.small import DAY, HOUR, NOON, model, rows, write, write_config, write_reference

ROOT = str(Path(__file__).parents[2])
CLUSTER = {
    "master": "local-cluster[2,1,1024]",
    "conf": {
        "spark.executorEnv.PYTHONPATH": ROOT,
        "spark.sql.shuffle.partitions": 2,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.files.maxPartitionBytes": 20_000,
        "spark.sql.files.openCostInBytes": 0,
    },
}
# What only single rows can tell, or how long it took.
OTHER = ("model_task_", "model_source_")


@pytest.fixture
def _cluster(monkeypatch: pytest.MonkeyPatch, need_tool: Callable[[str], str]) -> Iterator[None]:
    """Let a session be opened, whose workers run this Python; and close it."""
    need_tool("java")
    if os.environ.get("ALLOW_SKIPS") == "1":
        pytest.importorskip("pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    yield
    spark.close()


class Twin(NamedTuple):
    """One model twice: its log read from files, and counted in the cluster."""

    path: Path
    files: Monitor
    cluster: Monitor
    stores: tuple[Store, Store]

    def buckets(self) -> list[dict[tuple[str, str, int], Counts]]:
        found = []
        for store in self.stores:
            with store.transaction() as tx:
                own = tx.buckets("credit", 0, 2**40)
            found.append({(one.version, one.segment, one.start): one.counts for one in own})
        return found

    def readings(self) -> list[dict[str, Any]]:
        return [
            {family: own for family, own in monitor.results().items() if not family.startswith(OTHER)}
            for monitor in (self.files, self.cluster)
        ]

    def alike(self) -> bool:
        """Say whether each bucket of each segment holds the same numbers."""
        first, second = self.buckets()
        return set(first) == set(second) and all(
            np.array_equal(own, other) for key in first for own, other in zip(first[key], second[key], strict=True)
        )


def settings(folder: Path, predictions: dict[str, Any]) -> Model:
    """Return the settings of a model with slices, an indicator and estimates."""
    own = model("credit", predictions=predictions, performance={"min_rows": 50, "estimate": True})
    own["columns"] |= {"segments": ["city"]}
    own["business"] = [{"name": "granted", "sum": "amount * prediction * label", "unit": "EUR"}]
    del own["labels"]
    return load(write_config(folder, own)).config.models[0]


def twin(folder: Path, log: pa.Table) -> Twin:
    """Write reference and log, and return both monitors."""
    write_reference(folder, "credit", NOON - 2 * DAY)
    path = folder / "credit" / "predictions" / "0.parquet"
    path.parent.mkdir()
    pq.write_table(log, path, row_group_size=200)
    own = settings(folder, {"files": "credit/predictions/*"})
    far = settings(folder, {"spark": {"path": str(path.parent), **CLUSTER}})
    stores = Store("sqlite:///:memory:"), Store(f"sqlite:///{folder / 'far.db'}")
    monitors = [
        Monitor(one, store, Board(), 90.0 * DAY, 60.0, replay=True)
        for one, store in zip((own, far), stores, strict=True)
    ]
    return Twin(path, monitors[0], monitors[1], stores)


def executors(of: int) -> list[int]:
    """Return the processes of executors among the offspring of a process."""
    found = []
    for own in Path("/proc").glob("[0-9]*"):
        try:
            command = (own / "cmdline").read_bytes()
        except OSError:
            continue
        if b"CoarseGrainedExecutorBackend" in command and of in _ancestors(int(own.name)):
            found.append(int(own.name))
    return found


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        try:
            text = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return
        process = int(text.rpartition(")")[2].split()[1])
        yield process


def kill_one(killed: list[int], done: threading.Event) -> None:
    """Kill an executor as soon as rows are counted: when a Python worker runs below one."""
    while not done.is_set() and not killed:
        for executor in executors(os.getpid()):
            if any(b"pyspark" in line for line in _below(executor)):
                os.kill(executor, signal.SIGKILL)
                killed.append(executor)
                return
        time.sleep(0.02)


def _below(process: int) -> Iterator[bytes]:
    for own in Path("/proc").glob("[0-9]*"):
        try:
            if process in _ancestors(int(own.name)):
                yield (own / "cmdline").read_bytes()
        except OSError:
            continue


@pytest.mark.usefixtures("_cluster")
@pytest.mark.timeout(600)
def test_a_cluster_counts_as_files_are_counted(tmp_path: Path) -> None:  # noqa: PLR0915 - one session
    """On real worker processes, of which one is killed; then labels come, rows are added, copied and deleted.

    One test, as the session takes most of its time.
    """
    log = rows("credit", NOON - 2 * DAY, NOON, 960, seed=2)
    both = twin(tmp_path, log)
    assert both.files.run(NOON)

    killed: list[int] = []
    done = threading.Event()
    killer = threading.Thread(target=kill_one, args=(killed, done))
    killer.start()
    try:
        assert both.cluster.run(NOON), both.cluster.sources
    finally:
        done.set()
        killer.join()
    assert len(killed) == 1
    assert both.alike()
    first, second = both.readings()
    assert first == second
    assert {key[1] for key in both.buckets()[1]} >= {"all", "city=Oslo"}

    counted: list[list[int]] = []
    before = refresh.Rows.profiles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refresh.Rows, "profiles", lambda own, at: counted.append(list(at)) or before(own, list(at)))
        assert both.cluster.run(NOON)
        assert counted == []  # nothing has changed
        later = NOON + HOUR
        assert both.files.run(later)
        assert both.cluster.run(later)
        # The labels of one hour became known.
        assert [len(at) for at in counted] == [1]
    assert both.alike()
    first, second = both.readings()
    assert first == second

    # Copies of rows count once, and rows that are gone leave their buckets.
    copied = pa.concat_tables([log, log.slice(100, 30), log.slice(100, 5)])
    write(copied, both.path)
    assert both.cluster.run(later)
    assert both.alike()
    counters = {one.labels[-1]: one.value for one in both.cluster.results()["model_rows_rejected_total"]}
    assert counters["duplicate"] == 35
    write(log.slice(0, 940), both.path)
    assert both.cluster.run(later)
    start = NOON - HOUR
    assert ("1", "all", start) in both.buckets()[0]
    assert ("1", "all", start) not in both.buckets()[1]

    # What cannot be read is told, and what is known stays.
    known = both.buckets()[1]
    shutil.rmtree(both.path.parent)
    assert not both.cluster.run(later)
    (told,) = both.cluster.sources["predictions"].errors.values()
    assert "PATH_NOT_FOUND" in told
    assert set(both.buckets()[1]) == set(known)

    # A reference in the cluster is what it is in files.
    at = tmp_path / "credit" / "reference.parquet"
    table = spark.read(Spark.model_validate({"path": str(at), **CLUSTER}))
    assert table.num_rows == 1500
    with pytest.raises(spark.SparkError, match="one process has one Spark session"):
        spark.session(Spark(table="x", master="local[1]"))
