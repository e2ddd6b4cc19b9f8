"""The log cut by the step at which each row is first seen, so that a replay reads every row once.

A prediction is seen at the first step after its time, a label at the first step at or after the time that it became
known; what has no time is seen at the first step. The pieces of about a day stand in one folder, and in the order of
the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.rows import NO_TIME, SECOND, Ints, times
from exporter.settings import Model
from exporter.sources.files import Chunk, read_new
from exporter.sources.parquet import whole

_SLICE_SECONDS = 86_400
_STEP = "model_exporter_step"
_PATH = b"model_exporter_path"


class Grid(NamedTuple):
    """The moments of a replay, in whole Unix seconds: `start`, then every `step` up to and with `end`."""

    start: int
    end: int
    step: int

    @property
    def moments(self) -> int:
        """Number of moments."""
        return (self.end - self.start) // self.step + 1

    @property
    def a_slice(self) -> int:
        """Number of moments whose rows stand in one folder."""
        return max(_SLICE_SECONDS // self.step, 1)

    def moment(self, number: int) -> int:
        """Return a moment by its number, from 0 on."""
        return self.start + number * self.step


class Feed:
    """Gives a model's log step by step; cuts it in `folder` when it is asked for the first time.

    Raises ValueError for a model whose rows are sent, or stay in a cluster.
    """

    def __init__(self, model: Model, folder: Path, grid: Grid, oldest: float):
        if model.predictions.push is not None or (model.labels is not None and model.labels.push is not None):
            raise ValueError(
                f"model {model.name}: its rows are sent, so there is no log to read again; the running service "
                f"has its report at /models/{model.name}"
            )
        if model.predictions.spark is not None:
            raise ValueError(
                f"model {model.name}: its rows are in a cluster, and the past is replayed of files only; the running "
                f"service has its report at /models/{model.name}"
            )
        self._model = model
        self._folder = folder
        self._grid = grid
        self._oldest = oldest
        self._kept: dict[str, tuple[int, list[pa.Table]]] = {}  # one slice of each source
        self.now = 0

    def __call__(
        self, source: str, patterns: tuple[str, ...], _seen: Mapping[str, str], text: tuple[str, ...], at_once: int
    ) -> Iterator[Chunk]:
        """Yield the rows of a source that are first seen at step `now`, in the order of the log."""
        folder = self._folder / source
        cut = folder / "cut.json"
        if not cut.exists():
            yield from self._cut(source, patterns, text, at_once)
            if not cut.exists():
                return
        if self.now == 0:
            unread: dict[str, int] = json.loads(cut.read_text(encoding="utf-8"))
            yield from (Chunk(path, None, "", unread=lines) for path, lines in unread.items())
            tables = _pieces(folder / "first")
        else:
            tables = iter(self._of_slice(source, (self.now - 1) // self._grid.a_slice))
        for table in tables:
            path = (table.schema.metadata or {}).get(_PATH, b"").decode()
            own = table.filter(pc.equal(table[_STEP], self.now)) if self.now else table
            if len(own):
                yield Chunk(path, own.drop_columns([_STEP]), "")

    def _of_slice(self, source: str, number: int) -> list[pa.Table]:
        """Keep a slice in memory: the steps of a day ask for it one after the other."""
        if source not in self._kept or self._kept[source][0] != number:
            self._kept[source] = number, list(_pieces(self._folder / source / f"{number:08d}"))
        return self._kept[source][1]

    def _cut(self, source: str, patterns: tuple[str, ...], text: tuple[str, ...], at_once: int) -> Iterator[Chunk]:
        """Write the pieces; yield a chunk for each file that cannot be read, and then there is no cut."""
        folder = self._folder / source
        folder.mkdir(parents=True, exist_ok=True)
        unread: dict[str, int] = {}
        good = True
        for number, chunk in enumerate(read_new(patterns, {}, text, at_once)):
            if chunk.error is not None:
                good = False
                yield chunk
            if chunk.unread:
                unread[chunk.path] = unread.get(chunk.path, 0) + chunk.unread
            if chunk.table is not None and len(chunk.table) and good:
                table = whole(chunk.table)
                self._write(folder, number, chunk.path, table, self._steps(source, table))
        if good:
            (folder / "cut.json").write_text(json.dumps(unread), encoding="utf-8")

    def _steps(self, source: str, table: pa.Table) -> Ints:
        """Return the step at which each row is first seen; -1 for one that none of them counts."""
        columns = self._model.columns
        of_labels = source == "labels"
        name = columns.label_timestamp if of_labels else columns.timestamp
        if name is None or name not in table.column_names:
            return np.zeros(len(table), np.int64)
        at = times(table[name], columns.timezone)
        known = at != NO_TIME
        since = np.where(known, at, self._grid.start * SECOND) - self._grid.start * SECOND
        step = self._grid.step * SECOND
        seen = -(-since // step) if of_labels else since // step + 1
        seen = np.where(known, np.maximum(seen, 0), 0)
        too_old = known & (at < self._oldest * SECOND) & (not of_labels)
        return np.where(too_old | (seen >= self._grid.moments), -1, seen)

    def _write(self, folder: Path, number: int, path: str, table: pa.Table, steps: Ints) -> None:
        table = table.append_column(_STEP, pa.array(steps)).replace_schema_metadata({_PATH: path.encode()})
        slices = np.where(steps > 0, (steps - 1) // self._grid.a_slice, -1)
        for one in np.unique(slices[steps >= 0]).tolist():
            part = folder / ("first" if one < 0 else f"{one:08d}")
            part.mkdir(exist_ok=True)
            with pa.OSFile(str(part / f"{number:08d}.arrow"), "wb") as file:
                rows = table.filter(pa.array((slices == one) & (steps >= 0)))
                with pa.ipc.new_file(file, rows.schema) as writer:
                    writer.write_table(rows)


def _pieces(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("*.arrow")):
        with pa.OSFile(str(path), "rb") as file:
            yield pa.ipc.open_file(file).read_all()
