"""Rows in a cluster: the process's one Spark session, and the tables, paths and queries that it reads."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from exporter.sources.settings import Spark

DataFrame = Any
_RAISED = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")
_lock = threading.Lock()
_open: list[tuple[tuple[object, ...], Any]] = []  # how it was asked for, and the session; one at most


class SparkError(ValueError):
    """Rows that Spark cannot give; one sentence."""


def session(spec: Spark) -> Any:
    """Return the process's session, opened where there is none; raises SparkError."""
    wanted = (spec.master, spec.remote, tuple(sorted(spec.conf.items())))
    with _lock:
        if _open and not _alive(_open[0][1]):
            _close()
        if not _open:
            _open.append((wanted, _start(spec)))
        elif _open[0][0] != wanted:
            raise SparkError("one process has one Spark session: give all spark sources the same master, remote, conf")
        return _open[0][1]


def close() -> None:
    """End the session, if there is one."""
    with _lock:
        _close()


def _close() -> None:
    while _open:
        with suppress(Exception):
            _open.pop()[1].stop()


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
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # another Python would not have this package
    builder: Any = SparkSession.builder.appName("model-exporter")
    if spec.remote is not None:
        builder = builder.remote(spec.remote)
    else:
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        builder = builder.master(spec.master) if spec.master is not None else builder
    for key, value in spec.conf.items():
        builder = builder.config(key, value)
    with told():
        found = builder.getOrCreate()
        found.conf.set("spark.sql.session.timeZone", "UTC")
        return found


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
    return (lines or [type(error).__name__])[0]


def frame(spec: Spark) -> DataFrame:
    """Return the rows as a DataFrame, nothing of them read yet; raises SparkError."""
    own = session(spec)
    with told():
        if spec.sql is not None:
            return own.sql(spec.sql)
        if spec.table is not None:
            own.catalog.refreshTable(spec.table)  # files that others added
            return own.table(spec.table)
        return own.read.format(spec.format).load(spec.path)


def read(spec: Spark, most: int | None = None) -> pa.Table:
    """Read rows into memory: all, or the first `most` that come; raises SparkError."""
    found = frame(spec)
    with told():
        return (found if most is None else found.limit(most)).toArrow()


def fingerprint(spec: Spark) -> str:
    """Return what changes when any of the rows does: how many they are, and the sum of their hashes."""
    found = frame(spec)
    with told():
        return " ".join(map(str, digest(found, [name for name, kind in found.dtypes if "map<" not in kind])))


def digest(rows: DataFrame, columns: list[str]) -> tuple[int, ...]:
    """Return the number of rows and two sums over their hashes, in which order plays no part."""
    from pyspark.sql import functions as F

    row = rows.agg(F.count(F.lit(1)).alias("rows"), *sums(columns)).collect()[0]
    return tuple(int(value or 0) for value in row)


def sums(columns: list[str]) -> list[Any]:
    """Return aggregates: the lower and the upper half of each row's hash, summed: 64 bits would overflow."""
    from pyspark.sql import functions as F

    whole = F.xxhash64(*(F.col(f"`{name}`") for name in columns))
    halves = whole.bitwiseAND(F.lit(0xFFFFFFFF)), F.shiftrightunsigned(whole, 32)
    return [F.sum(half).alias(name) for half, name in zip(halves, ("low", "high"), strict=True)]
