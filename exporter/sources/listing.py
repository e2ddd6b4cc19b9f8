"""Which files there are, and which of them need a look.

Of thousands of files each costs microseconds in every run: what is done to each is little, and by its path as text.
"""

# ruff: noqa: PTH113, PTH116, PTH208

from __future__ import annotations

import fnmatch
import glob
import heapq
import json
import os
import time
from collections.abc import Iterable, Mapping

from exporter.sources.position import Position

_STILL_SECONDS = 3_600  # since its last change, after which a file is not expected to change any more
_TURNS = 10
_LATEST = 50  # files, the last by name, that are looked at each time
_BEING_WRITTEN = (".tmp", ".part")


def paths(patterns: tuple[str, ...]) -> list[str]:
    """Return the files that match, sorted; hidden files and those being written (.tmp, .part) are left out."""
    return sorted(path for path in _matching(patterns) if os.path.isfile(path))


def _matching(patterns: tuple[str, ...]) -> set[str]:
    """Return what matches, files or not. Of a folder with many files only their names are looked at."""
    found: set[str] = set()
    for pattern in patterns:
        folder, name = os.path.split(pattern)
        if "**" in name or glob.has_magic(folder) or not glob.has_magic(name):
            own = glob.glob(pattern, recursive=True)
        else:
            try:
                names = fnmatch.filter(os.listdir(folder or os.curdir), name)
            except OSError:  # no folder
                continue
            start, hidden = pattern[: len(pattern) - len(name)], name.startswith(".")
            own = [start + one for one in names if hidden or one[0] != "."]
        found.update(path for path in own if not path.endswith(_BEING_WRITTEN))
    return found


def fingerprint(found: Iterable[str]) -> str:
    """Return what changes when any of the files changes."""
    stats = [(path, os.stat(path)) for path in found]
    return json.dumps([[path, s.st_size, s.st_mtime_ns] for path, s in stats])


class Watch:
    """Which of a source's files lie still: of those all but the latest are looked at in every tenth call only.

    So that a call costs little however many files there are. The latest are the last 50 by name. A file lies still once
    it was found as it was read, to its end, and was changed last more than an hour before; for as long as it is known
    to be read so far. Of one that is changed nevertheless that is known within ten calls, and from then on it is looked
    at in each. any: whether a file matched in the last call.
    """

    def __init__(self) -> None:
        self._still: dict[str, str] = {}  # path -> how far it was read
        self._was: dict[str, Position] = {}  # the same, to compare with
        self._calls = 0
        self.any = False

    def look(self, patterns: tuple[str, ...], seen: Mapping[str, str]) -> list[str]:
        """Return what matches and is to be looked at, sorted; seen: how far each file was read."""
        found = _matching(patterns)
        self._calls += 1
        turn = self._calls % _TURNS
        if not (self._still.keys() <= found and self._still.items() <= seen.items()):
            self._still = {path: text for path, text in self._still.items() if path in found and seen.get(path) == text}
            self._was = {path: self._was[path] for path in self._still}
        chosen = found - self._still.keys()
        chosen.update(heapq.nlargest(_LATEST, found), (path for path in self._still if hash(path) % _TURNS == turn))
        self.any = len(chosen) < len(found)
        return sorted(chosen)

    def is_still(self, path: str, now: Position) -> bool:
        """Say whether a file that lies still is as it was."""
        was = self._was.get(path)
        return was is not None and was[:3] == now[:3]

    def settle(self, path: str, text: str | None, changed: float = 0.0) -> None:
        """Note how far a file was read, and when it was changed last, in Unix seconds; None: it is not as it was."""
        self._still.pop(path, None)
        self._was.pop(path, None)
        if text is not None and time.time() - changed > _STILL_SECONDS:
            self._still[path] = text
            self._was[path] = Position.parse(text)
