"""How far a file was read, and what it looked like then."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_MARK = 4_096  # bytes


class Position(NamedTuple):
    """Size, last change and inode of a file as it was, and how many of its bytes were read.

    mark: of a text file, the CRC-32 of the last bytes that were read; None where it is not known.
    """

    size: int
    mtime: int
    inode: int
    read: int
    mark: int | None = None

    @classmethod
    def parse(cls, text: str) -> Position:
        return cls(*json.loads(text))

    def text(self) -> str:
        return json.dumps(list(self))

    def goes_on(self, path: str, now: Position) -> bool:
        """Say whether a text file still has what was read of it, so that only what follows is new; raises OSError."""
        if self.inode != now.inode or now.size < self.read:
            return False
        return self.mark is None or self.mark == mark(path, self.read)


def mark(path: str, end: int) -> int:
    """Return the CRC-32 of the last bytes before `end`."""
    start = max(end - _MARK, 0)
    with Path(path).open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(end - start))


def moved(path: str, now: Position, seen: Mapping[str, str], is_text: bool) -> Position | None:
    """Return how far a file was read under another name, which it has no more; raises OSError.

    seen: how far each path was read.
    """
    for other, text in seen.items():
        if f" {now.inode}, " in text:
            old = Position.parse(text)
            same = old[:3] == now[:3] or (is_text and old.mark is not None and old.goes_on(path, now))
            if same and not _has(other, now.inode):
                return old
    return None


def _has(path: str, inode: int) -> bool:
    try:
        return Path(path).stat().st_ino == inode
    except OSError:
        return False
