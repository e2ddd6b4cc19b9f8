"""How far a file was read, and what it looked like then."""

from __future__ import annotations

import json
import zlib
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
