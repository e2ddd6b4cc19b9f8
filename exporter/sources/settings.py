"""Where rows come from: the shape of `reference`, `predictions` and `labels`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from exporter.fields import Settings


def _patterns(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError(f"a path or pattern, or a list of them, is expected, not {value!r}")
    return (value,) if isinstance(value, str) else value


def _plain_text(value: object) -> object:
    """Let `true` and numbers stand for the text that Spark expects."""
    if not isinstance(value, dict):
        return value
    return {key: str(own).lower() if isinstance(own, bool) else own for key, own in value.items()}


class Push(Settings):
    """Rows are sent to the exporter; most_rows: how many may wait to be counted."""

    most_rows: int = Field(default=1_000_000, ge=1)


class Spark(Settings):
    """Rows of a Spark session: a table, a path or a query; the session by its master, or by Spark Connect's address.

    Without master and remote, what the environment and spark-defaults.conf say. conf: settings of the session. reader:
    arrow, executors open plain Parquet files themselves; spark, Spark reads; auto, the first where it can be.
    """

    table: str | None = None
    path: str | None = None
    sql: str | None = None
    format: Literal["parquet", "delta", "iceberg"] = "parquet"
    reader: Literal["auto", "arrow", "spark"] = "auto"
    master: str | None = None
    remote: str | None = None
    conf: Annotated[dict[str, str], BeforeValidator(_plain_text)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Spark:
        if sum(own is not None for own in (self.table, self.path, self.sql)) != 1:
            raise ValueError("give one of table, path and sql")
        if "format" in self.model_fields_set and self.path is None:
            raise ValueError("format is of a path: a table knows its own, a query names it")
        if self.reader == "arrow" and (self.format != "parquet" or self.sql is not None or self.remote is not None):
            raise ValueError("reader: arrow is for plain Parquet files of a classic session: leave it out")
        if self.master is not None and self.remote is not None:
            raise ValueError("give master, or remote for Spark Connect, not both")
        if self.path is not None and not re.match(r"/|[A-Za-z][\w+.-]*:", self.path):
            raise ValueError(
                f"path {self.path!r} is relative to nothing that a cluster knows: begin it with / or s3a://"
            )
        return self

    @property
    def session(self) -> tuple[object, ...]:
        """What the session is opened with; equal ones can be shared."""
        return self.master, self.remote, tuple(sorted(self.conf.items()))

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.table or self.path or "the query"


class Source(Settings):
    """Where rows come from; one key."""

    files: Annotated[tuple[str, ...], BeforeValidator(_patterns), Field(min_length=1)] = ()
    push: Push | None = None
    spark: Spark | None = None

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        given = set(value) if isinstance(value, dict) else set()
        if later := sorted({"sql", "mlflow"} & given):
            raise ValueError(f"source {later[0]} is not in this version: use files")
        known = {"files", "push", "spark"}
        if isinstance(value, dict) and len(known & given) != 1 and not given - known:
            raise ValueError("give one of files, a pattern or a list of them, push: {} and spark: {table: ...}")
        return value
