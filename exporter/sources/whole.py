"""A source that is read whole, as a reference is: of files, or of a cluster."""

from __future__ import annotations

import pyarrow as pa

from exporter.sources import files, spark
from exporter.sources.parquet import Table
from exporter.sources.settings import Source

_FEW = 100_000  # rows of a cluster to look at


def parts(source: Source) -> list[str]:
    """Return what a source is made of; raises FileNotFoundError where there is nothing."""
    if source.spark is not None:
        return [source.spark.name]
    found = files.paths(source.files)
    if not found:
        raise FileNotFoundError(f"no file matches {', '.join(source.files)}")
    return found


def fingerprint(source: Source, found: list[str]) -> str:
    """Return what changes when any of its rows may have; found: its parts. Raises ValueError, OSError."""
    return spark.fingerprint(source.spark) if source.spark is not None else files.fingerprint(found)


def read(source: Source) -> pa.Table:
    """Read all rows; raises ValueError, OSError."""
    return spark.read(source.spark) if source.spark is not None else files.read_all(source.files)


def read_reference(source: Source) -> Table:
    """Read all rows as `read`; one Parquet file is read by column, when it is asked for."""
    return spark.read(source.spark) if source.spark is not None else files.read_reference(source.files)


def newest(source: Source, text: tuple[str, ...]) -> tuple[pa.Table, str]:
    """Read the last file, or some rows of a cluster, and say which; text: columns that stay text. Raises as `read`."""
    if source.spark is not None:
        return spark.read(source.spark, _FEW), source.spark.name
    last = parts(source)[-1]
    return files.read_all((last,), text), last
