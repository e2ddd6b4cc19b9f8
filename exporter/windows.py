"""Windows that slide: the sum of a window's buckets, kept up to date by what enters, leaves and changes.

All counts are whole numbers, so a window that slid is equal to one summed afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from exporter.evaluate import View
from exporter.profile.counts import Counts, add_into, negative
from exporter.rows import Ints
from exporter.settings import Window

Buckets = Callable[[int, int], Iterable[tuple[str, int, Counts]]]


class Windows:
    """The windows of one model, per version; `buckets(start, end)` reads stored buckets."""

    def __init__(self, windows: Iterable[Window], size: int, buckets: Buckets):
        self._windows = tuple(windows)
        self._size = size
        self._buckets = buckets
        self._end: int | None = None
        self._sums: dict[tuple[str, str], Ints] = {}

    def change(self, deltas: Mapping[tuple[str, int], Counts]) -> None:
        """Take up what was added to stored buckets that are inside."""
        for (version, start), counts in deltas.items():
            for window in self._windows:
                if self._end is not None and self._end - window.seconds <= start < self._end:
                    add_into(self._sum(version, window.name), counts)

    def move(self, end: int) -> None:
        """Let the windows end at `end` (seconds, included in none)."""
        for window in self._windows:
            old = end - window.seconds if self._end is None or self._end > end else self._end
            old = max(old, end - window.seconds)
            fresh = self._end is None or self._end > end or self._end <= end - window.seconds
            if fresh:
                for version, name in list(self._sums):
                    if name == window.name:
                        del self._sums[version, name]
            else:
                for version, _, counts in self._buckets(old - window.seconds, end - window.seconds):
                    add_into(self._sum(version, window.name), negative(counts))
            for version, _, counts in self._buckets(old, end):
                add_into(self._sum(version, window.name), counts)
        self._end = end

    def views(self, always: str | None) -> list[View]:
        """Return the windows of each version that has rows in one, and of version `always`."""
        end = self._end or 0
        alive = {version for (version, _), vector in self._sums.items() if vector[0]}
        for key in [key for key in self._sums if key[0] not in alive]:
            del self._sums[key]
        versions = sorted(alive | ({always} if always is not None else set()))
        return [
            View(version, window.name, end - window.seconds, end, self._sum(version, window.name))
            for version in versions
            for window in self._windows
        ]

    def _sum(self, version: str, window: str) -> Ints:
        return self._sums.setdefault((version, window), np.zeros(self._size, np.int64))
