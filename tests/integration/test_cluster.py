"""Rows that are counted on a cluster's executors: the same numbers as from files, whatever happens meanwhile.

One session for all tests, as it takes a third of the time: two executors, each a process with a Python worker of its
own. They must count by the package that the driver sends: another one lies in their way.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exporter.check import check
from exporter.cli import main
from exporter.cluster import direct, listing, plan, refresh
from exporter.cluster.reader import Part
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.profile.counts import Counts
from exporter.settings import Model
from exporter.sources import spark
from exporter.sources.settings import Spark
from exporter.store import Store
from tests.integration.executors import executors, one_is_killed
from tests.integration.small import DAY, HOUR, NOON, labels, model, predictions, rows, write_config, write_reference

pytestmark = pytest.mark.xdist_group("spark")
# What only single rows can tell, or how long it took.
OTHER = ("model_task_", "model_source_")
FAST = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # small jobs: compiling well takes longer than it gains


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """Return how the session is opened by the first test that needs it; close it."""
    need_tool("java")
    if os.environ.get("ALLOW_SKIPS") == "1":
        pytest.importorskip("pyspark")
    folder = tmp_path_factory.mktemp("spark")
    other = folder / "other" / "exporter" / "__init__.py"
    other.parent.mkdir(parents=True)
    other.write_text("raise ImportError('this is not the package that the driver has')\n")
    conf = {
        "spark.executorEnv.PYTHONPATH": str(folder / "other"),
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.files.maxPartitionBytes": 20_000,
        "spark.sql.files.openCostInBytes": 0,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **quick(),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        yield {"master": "local-cluster[2,1,1024]", "conf": conf}
        spark.close()
    assert executors(os.getpid()) == []


def quick() -> dict[str, str]:
    """Return settings of a session that soon starts, and listens on this machine only."""
    own = {f"spark.{who}.extraJavaOptions": FAST for who in ("driver", "executor")}
    own |= {"spark.locality.wait": "0", "spark.ui.enabled": "false"}
    own["spark.shuffle.io.retryWait"] = "200ms"  # what a killed executor had is not asked for again and again
    return own | {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


def settings(folder: Path, **sources: Any) -> Model:
    """Return the settings of a model with slices, an indicator and estimates."""
    return load(write_config(folder, plain(**sources))).config.models[0]


def plain(**sources: Any) -> dict[str, Any]:
    """Return such settings as they are written."""
    own = model("credit", performance={"min_rows": 50, "estimate": True}, **sources)
    own["columns"] |= {"segments": ["city"]}
    own["business"] = [{"name": "granted", "sum": "amount * prediction * label", "unit": "EUR"}]
    return {key: value for key, value in own.items() if value is not None}


class One:
    """One model and its store."""

    def __init__(self, own: Model):
        self.store = Store("sqlite:///:memory:")
        self.monitor = Monitor(own, self.store, Board(), 90.0 * DAY, 60.0, replay=True)

    def run(self, now: float) -> bool:
        return self.monitor.run(now)

    def buckets(self) -> dict[tuple[str, str, int], Counts]:
        with self.store.transaction() as tx:
            return {(own.version, own.segment, own.start): own.counts for own in tx.buckets("credit", 0, 2**40)}

    def readings(self) -> dict[str, Any]:
        found = self.monitor.results()
        return {family: own for family, own in found.items() if not family.startswith(OTHER)}

    def rejected(self, reason: str) -> float:
        found = self.monitor.results()["model_rows_rejected_total"]
        return sum(one.value for one in found if one.labels[-1] == reason)

    def refused(self) -> str | None:
        """Say why Spark reads the rows; None: the executors read the files."""
        return self.monitor._ingest._memory.refused

    def told(self) -> str:
        (sentence,) = self.monitor.sources["predictions"].errors.values()
        return sentence


def alike(first: One, second: One) -> bool:
    """Say whether each bucket of each segment holds the same numbers."""
    one, other = first.buckets(), second.buckets()
    return set(one) == set(other) and all(
        np.array_equal(a, b) for key in one for a, b in zip(one[key], other[key], strict=True)
    )


class Log(NamedTuple):
    """A log of two days with its labels, and where it lies as files."""

    folder: Path
    table: pa.Table

    @property
    def path(self) -> Path:
        return self.folder / "credit" / "predictions"

    def put(self, table: pa.Table, name: str = "0") -> None:
        self.path.mkdir(exist_ok=True)
        pq.write_table(table, self.path / f"{name}.parquet", row_group_size=200)

    def files(self) -> One:
        return One(settings(self.folder, predictions={"files": "credit/predictions/*"}, labels=None))

    def cluster(self, session: dict[str, Any], **source: str) -> One:
        source = source or {"path": str(self.path)}
        return One(settings(self.folder, predictions={"spark": {**source, **session}}, labels=None))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Return a log that lies in its folder, beside a reference."""
    write_reference(tmp_path, "credit", NOON - 2 * DAY)
    found = Log(tmp_path, rows("credit", NOON - 2 * DAY, NOON, 960, seed=2))
    found.put(found.table)
    return found


def test_counts_are_those_of_files_also_where_an_executor_is_killed(
    log: Log, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last number, in each bucket and slice, and in all that is said of them."""
    files, cluster = log.files(), log.cluster(session, path=str(log.path), reader="arrow")
    assert files.run(NOON)
    counting, before = threading.Event(), direct.Files.profiles
    monkeypatch.setattr(direct.Files, "profiles", lambda *given: counting.set() or before(*given))
    with one_is_killed(counting) as killed:
        assert cluster.run(NOON), cluster.monitor.sources
    assert len(killed) == 1
    assert alike(files, cluster)
    assert files.readings() == cluster.readings()
    assert {segment for _, segment, _ in cluster.buckets()} >= {"all", "city=Oslo"}


def test_what_changed_is_counted_again_and_nothing_else(
    log: Log, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Spark reads: labels that come, copies, values written anew, rows that go; and an executor that goes."""
    counted: list[list[int]] = []
    before, counting = plan.Rows.profiles, threading.Event()

    def profiles(own: plan.Rows, at: list[int], rows: int) -> pa.Table:
        counted.append([*at])
        counting.set()
        return before(own, at, rows)

    monkeypatch.setattr(plan.Rows, "profiles", profiles)
    monkeypatch.setattr(refresh, "_AT_ONCE", 15_000)
    monkeypatch.setattr(plan, "_DEEP", 100)
    files, cluster = log.files(), log.cluster(session, path=str(log.path), reader="spark")
    assert files.run(NOON)
    with one_is_killed(counting) as killed:
        assert cluster.run(NOON)
    assert len(killed) == 1
    assert 1 < len(counted) < 48, "some buckets together"
    assert sorted(at for job in counted for at in job) == list(range(NOON - 2 * DAY, NOON, HOUR))
    assert alike(files, cluster)
    counted.clear()
    assert cluster.run(NOON)
    assert counted == []
    later = NOON + HOUR
    assert files.run(later)
    assert cluster.run(later)
    assert counted == [[NOON - 2 * HOUR]], "the labels of one hour became known"
    assert files.readings() == cluster.readings()

    log.put(pa.concat_tables([log.table, log.table.slice(950, 3), log.table.slice(950, 1)]))
    assert cluster.run(later)
    assert alike(files, cluster)
    assert cluster.rejected("duplicate") == 4

    amount = pc.if_else(pc.equal(log.table["id"], "credit-2-951"), 1e6, log.table["amount"])
    log.put(log.table.set_column(log.table.column_names.index("amount"), "amount", amount).slice(0, 955))
    assert cluster.run(later)
    afresh = log.files()
    assert afresh.run(later)
    assert alike(afresh, cluster)
    assert not alike(files, cluster)
    assert [len(job) for job in counted[1:]] == [1, 1]


def test_files_that_changed_are_counted_again_and_no_others_are_opened(
    log: Log, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that come, a file written anew, copies in another file, rows without an id, files that come and go."""
    counted: list[list[int]] = []
    opened: list[set[str]] = []
    before, run = direct.Files.profiles, direct.Files._run

    def profiles(own: direct.Files, at: list[int], rows: int) -> pa.Table:
        counted.append([*at])
        return before(own, at, rows)

    def jobs(own: direct.Files, parts: list[list[Part]], *how: Any) -> list[Any]:
        opened.append({Path(part.path).stem for task in parts for part in task})
        return run(own, parts, *how)

    monkeypatch.setattr(direct.Files, "profiles", profiles)
    monkeypatch.setattr(direct.Files, "_run", jobs)
    monkeypatch.setattr(direct, "_AT_ONCE", 1_000)
    monkeypatch.setattr(direct, "_IDS_AT_ONCE", 300)
    for number in range(4):
        log.put(log.table.slice(240 * number, 240), str(number))
        os.utime(log.path / f"{number}.parquet", (NOON, NOON))
    files, cluster = log.files(), log.cluster(session, path=str(log.path), reader="arrow")
    assert files.run(NOON)
    assert cluster.run(NOON)
    assert [at for job in counted for at in job] == [*range(NOON - 2 * DAY, NOON, HOUR)]
    assert alike(files, cluster)
    for now in (NOON, NOON + HOUR):
        counted.clear()
        opened.clear()
        assert files.run(now)
        assert cluster.run(now)
        assert opened[0] == {"3"}, "of which not all labels were known"
        assert counted == ([] if now == NOON else [[NOON - 2 * HOUR]]), "the labels of one hour became known"
        assert files.readings() == cluster.readings()

    later = NOON + HOUR
    extra = log.table.slice(250, 4)
    unnamed = extra.slice(0, 1).set_column(0, "id", pa.array([None], pa.string()))
    log.put(pa.concat_tables([extra, unnamed]), "4")
    assert cluster.run(later)
    assert counted.pop() == [NOON - 36 * HOUR]
    assert alike(files, cluster)
    assert (cluster.rejected("duplicate"), cluster.rejected("id")) == (4, 1)

    second = log.table.slice(240, 240)
    log.put(second.set_column(2, "amount", pc.multiply(second["amount"], 2.0)), "1")
    (log.path / "0.parquet").rename(log.path / "5.parquet")
    (log.path / "4.parquet").unlink()
    (log.path / "3.parquet").unlink()
    opened.clear()
    assert cluster.run(later)
    assert counted.pop() == [*range(NOON - 2 * DAY, NOON - DAY, HOUR)], "what is gone needs no counting"
    assert {"1", "5"} <= opened[0] <= {"1", "3", "5"}
    afresh = log.files()
    assert afresh.run(later)
    assert alike(afresh, cluster)
    assert not alike(files, cluster)


def test_what_executors_cannot_read_themselves_spark_reads(log: Log, session: dict[str, Any]) -> None:
    """Columns of folders, columns with a default, rows that are chosen; files that are broken, and may be."""
    own = spark.session(Spark.model_validate({"table": "x", **session}))
    files, written = log.files(), log.folder / "written"
    assert files.run(NOON)
    rows = own.read.parquet(str(log.path))
    rows.withColumn("day", rows["timestamp"].cast("date")).write.partitionBy("day").parquet(str(written))
    some = sorted(written.glob("day=*/*.parquet"))
    assert pq.ParquetFile(some[0]).schema.column(1).physical_type == "INT96"
    cluster = log.cluster(session, path=str(written))
    assert cluster.run(NOON)
    assert cluster.refused() is None
    assert alike(files, cluster)

    assert {Path(file.path[7:]) for file in listing.files(own.read.parquet(str(written)), ["id"])} == {*some}
    own.sql(f"CREATE TABLE defaults USING parquet LOCATION '{log.path}'")
    own.sql("ALTER TABLE defaults ADD COLUMN tier INT DEFAULT 3")
    for frame, why in (
        (own.read.parquet(str(written)), "column 'day' is one of folders"),
        (own.table("defaults"), "a column has its default"),
        (own.read.parquet(str(log.path)).where("amount > 3"), r"not just Parquet files \(Filter\)"),
    ):
        with pytest.raises(listing.Otherwise, match=why):
            listing.files(frame, ["id", "day"])
    own.sql(f"CREATE VIEW chosen AS SELECT * FROM parquet.`{log.path}` WHERE amount > 0")
    cluster = log.cluster(session, table="chosen", reader="arrow")
    assert not cluster.run(NOON)
    assert (
        cluster.told() == "reader: arrow is for plain Parquet files only: the rows are not just Parquet files (Filter)"
    )

    (log.path / "1.parquet").write_bytes(b"PAR1 this is none PAR1")
    os.utime(log.path / "1.parquet", (NOON, NOON))
    own.conf.set("spark.sql.files.ignoreCorruptFiles", "true")
    try:
        cluster = log.cluster(session)
        assert cluster.run(NOON), "what Spark passes by is no error"
    finally:
        own.conf.unset("spark.sql.files.ignoreCorruptFiles")
    assert "1.parquet: " in str(cluster.refused())
    assert alike(files, cluster)


def test_tables_and_queries_with_labels_and_the_reference_in_the_cluster(log: Log, session: dict[str, Any]) -> None:
    """Labels are joined there; files that others add to a table are seen, by its name and in a query."""
    shutil.rmtree(log.path)
    first, rest = log.table.slice(0, 500), log.table.slice(500)
    log.put(first)
    of_labels = log.folder / "credit" / "labels"
    of_labels.mkdir()
    pq.write_table(labels(log.table), of_labels / "0.parquet")
    (log.folder / "bare").mkdir()
    pq.write_table(predictions(first), log.folder / "bare" / "0.parquet")
    own = spark.session(Spark.model_validate({"table": "x", **session}))
    for name, folder in (("whole", log.path), ("bare", log.folder / "bare"), ("labels", of_labels)):
        own.sql(f"CREATE TABLE {name} USING parquet LOCATION '{folder}'")
    join = "SELECT p.*, l.label, l.label_timestamp FROM bare p LEFT JOIN labels l ON p.id = l.id"
    reference = {"spark": {"path": str(log.folder / "credit" / "reference.parquet"), **session}}
    files, table = log.files(), log.cluster(session, table="whole")
    query = One(settings(log.folder, predictions={"spark": {"sql": join, **session}}, reference=reference, labels=None))
    for number in range(2):
        if number:
            log.put(rest, "1")
            pq.write_table(predictions(rest), log.folder / "bare" / "1.parquet")
        assert files.run(NOON)
        assert table.run(NOON), table.monitor.sources
        assert query.run(NOON), query.monitor.sources
        assert alike(files, table)
        assert alike(files, query)
    assert table.refused() is None
    assert query.refused() == "the rows are not just Parquet files (Project)"
    assert query.monitor.baseline is not None
    assert query.readings() == files.readings()
    with pytest.raises(spark.SparkError, match="restart the exporter"):
        spark.session(Spark(table="whole", master="local[1]"))


def test_what_cannot_be_counted_is_told_and_what_is_known_stays(log: Log, session: dict[str, Any]) -> None:
    """A column that is missing, a time that is none, rows without a time, a broken file, no file, no rows."""
    one = log.cluster(session)
    gone = log.table.drop_columns(["prediction"])
    log.put(gone)
    assert not one.run(NOON)
    assert one.told() == "column 'prediction' is missing"
    text = log.table["timestamp"].cast(pa.string())
    log.put(log.table.set_column(1, "timestamp", text))
    assert not one.run(NOON)
    assert "column 'timestamp' is string, no time: cast it" in one.told()
    assert [wrong.message for wrong in check(one.monitor.model)[1]] == [one.told()]
    assert one.buckets() == {}

    times = log.table["timestamp"].to_pylist()
    log.put(log.table.set_column(1, "timestamp", pa.array([*times[:-7], *[None] * 7], pa.timestamp("us", "UTC"))))
    assert one.run(NOON)
    assert one.rejected("timestamp") == 7
    assert one.run(NOON)
    assert one.rejected("timestamp") == 7
    known = one.buckets()
    assert known

    (log.path / "1.parquet").write_bytes(b"PAR1 this is none PAR1")
    assert not one.run(NOON)
    assert one.monitor.sources["predictions"].up is False
    shutil.rmtree(log.path)
    assert not one.run(NOON)
    assert "PATH_NOT_FOUND" in one.told()
    assert set(one.buckets()) == set(known)
    log.put(log.table.slice(0, 0))
    assert one.run(NOON)
    assert one.buckets() == {}, "the rows are gone"
    found = one.monitor.results()["model_window_state"]
    assert {own.labels[-1] for own in found if own.value and own.labels[-2] == "drift"} == {"insufficient"}


def test_the_command_line_after_a_session_died(
    log: Log, session: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver's Java process is killed: the next run has another one, and says the same as of files."""
    from pyspark import SparkContext

    spark.session(Spark.model_validate({"table": "x", **session}))
    java = SparkContext._gateway.proc
    os.kill(java.pid, signal.SIGKILL)
    java.wait()
    sources = {"spark": {"path": str(log.path), "master": "local[1]", "conf": quick()}}, {"files": f"{log.path}/*"}
    pages = []
    for source in sources:
        config = write_config(log.folder, plain(predictions=source, labels=None))
        assert main(["run", f"--config.file={config}", "--at=2026-03-09T12:00:00Z"]) == 0
        lines = capsys.readouterr().out.splitlines()
        pages.append([line for line in lines if line.startswith("model_") and not line.startswith(OTHER)])
    assert pages[0] == pages[1]
    assert any(line.startswith("model_feature_drift_score{") for line in pages[0])
