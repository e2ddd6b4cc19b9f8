"""Samples of many steps -> one OpenMetrics file, with little memory.

A replay goes through time, the format through families and series. So each family has a file to which every step
appends; at the end its lines are sorted by series in portions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from exporter.catalogue import FAMILIES
from exporter.exposition import escape, header
from exporter.readings import Readings

_PORTION_BYTES = 32 << 20  # of a family's file that is sorted in memory at once
_MOST_KEYS = 200_000
# What tells of this process and not of the model: how long its work took, how often it was done.
_OF_THE_PROCESS = frozenset(
    {
        "model_task_running",
        "model_task_last_duration_seconds",
        "model_task_runs_total",
        "model_task_failures_total",
        "model_task_skipped_total",
        "model_task_duration_seconds",
        "model_source_rows_total",
        "model_source_read_seconds",
    }
)


class Spool:
    """One growing file a family in `folder`; `labels` are put in front of each series' own."""

    def __init__(self, folder: Path, labels: Mapping[str, str], lengths: Mapping[str, int] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._added = ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())
        self._files: dict[str, IO[bytes]] = {}
        self._keys: dict[tuple[str, tuple[str, ...]], str] = {}
        for path in folder.iterdir():  # what was written after the last checkpoint is written again
            length = (lengths or {}).get(path.name, 0)
            os.truncate(path, length) if length else path.unlink()

    def add(self, readings: Readings, at: int) -> None:
        """Append what was found as of a moment (Unix seconds)."""
        for name, own in readings.items():
            if name in _OF_THE_PROCESS:
                continue
            lines = [f"{self._key(name, one.labels)} {one.value!r} {at}\n" for one in own]
            self._file(name).write("".join(lines).encode())

    def lengths(self) -> dict[str, int]:
        """Bring everything to the disk; return the length of each file."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {path.name: path.stat().st_size for path in sorted(self._folder.iterdir())}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def join(self, output: Path) -> int:
        """Write all families into one file, whole or not at all; return the number of samples."""
        self.close()
        samples = 0
        unfinished = output.with_name(output.name + ".tmp")
        with unfinished.open("wb") as file:
            for name, family in FAMILIES.items():
                path = self._folder / name
                if path.exists():
                    file.write(header(family, openmetrics=True).encode())
                    for lines in by_series(path):
                        samples += len(lines)
                        file.writelines(lines)
            file.write(b"# EOF\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
        return samples

    def _file(self, name: str) -> IO[bytes]:
        if name not in self._files:
            self._files[name] = (self._folder / name).open("ab", buffering=1 << 16)
        return self._files[name]

    def _key(self, name: str, labels: tuple[str, ...]) -> str:
        found = self._keys.get((name, labels))
        if found is None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            own = ",".join(f'{n}="{escape(text)}"' for n, text in zip(FAMILIES[name].labels, labels, strict=True))
            pairs = ",".join(part for part in (self._added, own) if part)
            found = self._keys[name, labels] = f"{name}{{{pairs}}}" if pairs else name
        return found


def by_series(path: Path, portion: int = _PORTION_BYTES) -> Iterator[list[bytes]]:
    """Yield a family's lines series by series, each in the order of the file; about `portion` bytes at once."""
    sizes: dict[bytes, int] = {}
    with path.open("rb") as file:
        for line in file:
            key = _series(line)
            sizes[key] = sizes.get(key, 0) + len(line)
    shares: dict[bytes, int] = {}
    share = used = 0
    for key, size in sizes.items():
        if used and used + size > portion:
            share, used = share + 1, 0
        shares[key] = share
        used += size
    if not share:
        yield _sorted(path)
        return
    parts = [path.with_name(f"{path.name}.{number}") for number in range(share + 1)]
    try:
        _split(path, shares, parts)
        for part in parts:
            yield _sorted(part)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _split(path: Path, shares: Mapping[bytes, int], parts: list[Path]) -> None:
    """Deal the lines out; files are opened for a batch of lines, because there may be many."""
    batch: list[list[bytes]] = [[] for _ in parts]

    def write() -> None:
        for part, lines in zip(parts, batch, strict=True):
            with part.open("ab") as file:
                file.writelines(lines)
            lines.clear()

    size = 0
    with path.open("rb") as file:
        for line in file:
            batch[shares[_series(line)]].append(line)
            size += len(line)
            if size > _PORTION_BYTES:
                write()
                size = 0
    write()


def _sorted(path: Path) -> list[bytes]:
    lines: dict[bytes, list[bytes]] = {}
    with path.open("rb") as file:
        for line in file:
            lines.setdefault(_series(line), []).append(line)
    return [line for own in lines.values() for line in own]


def _series(line: bytes) -> bytes:
    """Return the part of a line before value and time; labels may hold spaces, value and time do not."""
    return line.rsplit(b" ", 2)[0]
