"""Which Parquet files a DataFrame is made of, where it is nothing but such files, and how tasks share them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from exporter.cluster.reader import Part
from exporter.sources.spark import DataFrame, told

_SOURCES = "org.apache.spark.sql.execution.datasources"  # Delta and Iceberg have others, of the same parents
_STATUS = re.compile(r".*?\bpath=(.*); isDirectory=false; length=(\d+);.*?; modification_time=(\d+);")
_OTHER_TIMES = "spark.sql.parquet.int96TimestampConversion"
_DEFAULT = "EXISTS_DEFAULT"
_FIXED = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_LIST = re.compile(r"array<(\w+)>")


class File(NamedTuple):
    """A file by its URI; bytes, and its last change in milliseconds."""

    path: str
    size: int
    changed: int


class Slots(NamedTuple):
    """How Spark cuts files: most bytes a task, what opening a file costs in bytes, and how many tasks run at once."""

    most: int
    opening: int
    tasks: int


class Otherwise(Exception):
    """Files that only Spark can read; says why."""


def kinds(frame: DataFrame, names: Iterable[str]) -> dict[str, pa.DataType]:
    """Return the types of some columns as Spark hands them over; raises Otherwise for others than those of rows."""
    known = dict(frame.dtypes)
    return {name: _kind(name, known[name]) for name in names}


def _kind(name: str, text: str) -> pa.DataType:
    if text in _FIXED:
        return _FIXED[text]
    if decimal := _DECIMAL.fullmatch(text):
        return pa.decimal128(*map(int, decimal.groups()))
    if (entries := _LIST.fullmatch(text)) and entries[1] in _FIXED:
        return pa.list_(_FIXED[entries[1]])
    raise Otherwise(f"column {name!r} is {text}")


def files(frame: DataFrame, names: Iterable[str]) -> list[File]:
    """Return the files as Spark has just listed them; raises Otherwise, SparkError.

    names: columns that are read; none of them may be one of folders.
    """
    if not hasattr(frame, "_jdf"):
        raise Otherwise("Spark Connect does not say which files there are")
    with told():
        if frame.sparkSession.conf.get(_OTHER_TIMES, "false").lower() == "true":
            raise Otherwise(f"{_OTHER_TIMES} is set")
        plan = frame._jdf.queryExecution().optimizedPlan()  # with filters of rows and masks of columns, if there are
        relation = _of(_of(plan, "LogicalRelation").relation(), "HadoopFsRelation")
        _of(relation.fileFormat(), "parquet.ParquetFileFormat")
        index = _of(relation.location(), "InMemoryFileIndex")
        if folders := {*relation.partitionSchema().fieldNames()} & {*names}:
            raise Otherwise(f"column {min(folders)!r} is one of folders, not of files")
        if _DEFAULT in relation.dataSchema().json():
            raise Otherwise("a column has its default where files do not have it")
        listed = index.allFiles()
        found = parsed(listed.mkString("\n"))
        if len(found) != listed.size():
            raise Otherwise("the file system tells of files in words that are not known")
    return [file for file in found if file.size]


def _of(found: Any, name: str) -> Any:
    """Return what is of a class; raises Otherwise."""
    own = found.getClass().getName()
    if own != f"{_SOURCES}.{name}":
        raise Otherwise(f"the rows are not just Parquet files ({own.rpartition('.')[2]})")
    return found


def parsed(text: str) -> list[File]:
    """Read what Hadoop writes of files, one a line; lines that say something else are left out."""
    matches = filter(None, map(_STATUS.match, text.split("\n")))
    return [File(_uri(path), int(size), int(changed)) for path, size, changed in (own.groups() for own in matches)]


def _uri(path: str) -> str:
    return f"file://{path.removeprefix('file:')}" if path.startswith("file:/") and path[6:7] != "/" else path


def slots(frame: DataFrame) -> Slots:
    """Return how Spark would cut files; raises SparkError."""
    with told():
        session = frame.sparkSession
        conf = session._jsparkSession.sessionState().conf()
        found = conf.filesMaxPartitionBytes(), conf.filesOpenCostInBytes(), session.sparkContext.defaultParallelism
        return Slots(*map(int, found))


def cut(own: Iterable[File], by: Slots) -> list[list[Part]]:
    """Cut files into the parts of each task, as many as Spark has by its own rule."""
    whole = sorted(own, key=lambda file: (-file.size, file.path))
    most = min(by.most, max(by.opening, sum(file.size + by.opening for file in whole) // by.tasks), 2**62)
    parts = [
        Part(*file, start, min(start + most, file.size))
        for file in whole
        for start in range(0, file.size, max(1, most))
    ]
    tasks: list[list[Part]] = []
    room = 0
    for part in sorted(parts, key=lambda one: (one.start - one.end, one)):
        length = part.end - part.start
        if not tasks or length > room:
            tasks.append([])
            room = most
        tasks[-1].append(part)
        room -= length + by.opening
    return tasks
