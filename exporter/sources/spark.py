"""Rows in a cluster: the process's one Spark session, and the tables, paths and queries that it reads."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from exporter.sources import ship
from exporter.sources.settings import Spark

DataFrame = Any
# Counting sorts: many rows at once are cheaper than few. Looking for times in Parquet's dictionaries takes two fifths
# of a job and finds what minimum and maximum have told already.
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.hadoop.parquet.filter.dictionary.enabled": "false",
}
_RAISED = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")
_NOT_THERE = "ModuleNotFoundError"
_lock = threading.Lock()
_open: list[tuple[tuple[object, ...], Any]] = []  # how it was asked for, and the session; one at most


class SparkError(ValueError):
    """Rows that Spark cannot give; one sentence."""


def session(spec: Spark) -> Any:
    """Return the process's session, opened where there is none, or none any more; raises SparkError."""
    with _lock:
        if _open and not _alive(_open[0][1]):
            _close()
        if not _open:
            _open.append((spec.session, _start(spec)))
            atexit.register(close)  # before Java's own end, or executors are started again while it ends
        elif _open[0][0] != spec.session:
            raise SparkError("the Spark session has another master, remote or conf: restart the exporter for new ones")
        return _open[0][1]


def close() -> None:
    """End the session, if there is one."""
    atexit.unregister(close)
    with _lock:
        _close()


def _close() -> None:
    while _open:
        with suppress(Exception):
            _open.pop()[1].stop()
    _bury()


def _bury() -> None:
    """Forget a driver whose Java process has ended, as PySpark does not: each new session would ask it."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway = getattr(SparkContext, "_gateway", None)
    if gateway is not None and gateway.proc.poll() is not None:
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = SparkSession._activeSession = None


def _alive(found: Any) -> bool:
    """Say whether a session can still be asked: its master may have stopped it."""
    try:
        context = getattr(found, "_jsparkSession", None)
        return not (context.sparkContext().isStopped() if context is not None else found.is_stopped)
    except Exception:
        return False


def _start(spec: Spark) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SparkError(f"Spark is not installed ({error}): pip install 'model-exporter[spark]'") from error
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of each connection
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # another Python would not have what this one has
    builder: Any = SparkSession.builder.appName("model-exporter")
    if spec.remote is not None:
        builder = builder.remote(spec.remote)
    elif spec.master is not None:
        builder = builder.master(spec.master)
    for key, value in ({} if spec.remote is not None else _SETTINGS | spec.conf).items():
        builder = builder.config(key, value)
    with told():
        found = builder.getOrCreate()
        if spec.remote is not None:
            for key, value in spec.conf.items():
                found.conf.set(key, value)
        found.conf.set("spark.sql.session.timeZone", "UTC")
        if hasattr(found, "_jsparkSession"):
            found.sparkContext.addPyFile(ship.package())
        else:
            _give_up_sooner(found)
            found.addArtifacts(ship.package(), pyfile=True)
        return found


def _give_up_sooner(found: Any) -> None:
    """Let a server that does not answer be asked for a minute, not for ten: the run is to say so."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    found.client.set_retry_policies([DefaultPolicy(max_retries=6)])


@contextmanager
def told() -> Iterator[None]:
    """Turn what Spark raises into one sentence; raises SparkError."""
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
    except ImportError as error:
        raise SparkError(f"Spark is not installed ({error}): pip install 'model-exporter[spark]'") from error
    try:
        yield
    except (PySparkException, Py4JError, OSError, RuntimeError) as error:
        raise SparkError(f"Spark: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
    """Return the line that names the cause: the last one of a worker's Python trace, else the first."""
    text = str(error)
    own = getattr(error, "java_exception", None)
    if own is not None:
        with suppress(Exception):
            text = str(own.getMessage()) or text
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        lines = [line for line in lines if _RAISED.match(line)][-1:] or lines
    found = (lines or [type(error).__name__])[0]
    if _NOT_THERE in found:
        found += ": the executors need what the exporter needs (docs/scaling.md, Installing)"
    return found


def frame(spec: Spark) -> DataFrame:
    """Return the rows as a DataFrame, nothing of them read yet; raises SparkError."""
    own = session(spec)
    with told():
        if spec.path is not None:
            return own.read.format(spec.format).load(spec.path)
        query = spec.sql if spec.sql is not None else f"SELECT * FROM {spec.table}"
        # Spark remembers the files of a table: those that others added or took away are seen by refreshing all below.
        view = f"model_exporter_{hashlib.sha256(query.encode()).hexdigest()[:16]}"
        own.sql(query).createOrReplaceTempView(view)
        own.catalog.refreshTable(view)
        return own.sql(query)


def read(spec: Spark, most: int | None = None) -> pa.Table:
    """Read rows into memory: all, or the first `most` that come; raises SparkError."""
    found = frame(spec)
    with told():
        return (found if most is None else found.limit(most)).toArrow()


def fingerprint(spec: Spark) -> str:
    """Return what changes when any of the rows does: how many they are, and the sum of their hashes."""
    from pyspark.sql import functions as F

    found = frame(spec)
    with told():
        row = found.agg(F.count(F.lit(1)).alias("rows"), *sums(hashable(found))).collect()[0]
        return " ".join(str(int(value or 0)) for value in row)


def hashable(rows: DataFrame) -> list[str]:
    """Return the columns that have a hash; maps, and what has no fixed type, are no features."""
    return [name for name, kind in rows.dtypes if "map<" not in kind and "variant" not in kind]


def sums(columns: list[str]) -> list[Any]:
    """Return aggregates: the lower and the upper half of each row's hash, summed: 64 bits would overflow."""
    from pyspark.sql import functions as F

    whole = F.xxhash64(*(column(name) for name in columns))
    halves = whole.bitwiseAND(F.lit(0xFFFFFFFF)), F.shiftrightunsigned(whole, 32)
    return [F.sum(half).alias(name) for half, name in zip(halves, ("low", "high"), strict=True)]


def column(name: str | None) -> Any:
    """Return a column by its exact name, whatever is in it."""
    from pyspark.sql import functions as F

    return F.col("`{}`".format((name or "").replace("`", "``")))
