"""Windows that slide: the sum of a window's buckets, kept up to date by what enters, leaves and changes.

All counts are whole numbers, so a window that slid is equal to one summed afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import NamedTuple

from exporter.evaluate.views import Mature, View
from exporter.profile.counts import Counts, add
from exporter.profile.packed import Packed, Profile, add_to, empty, first, pack, take_from, unpack
from exporter.segments import ALL
from exporter.settings import Window
from exporter.store.tables import Bucket, Key

WEEK = 7 * 86_400
REFERENCE, MATURE = "reference", "mature"
Buckets = Callable[[int, int, str | None], Iterable[Bucket]]
_FAR = 2**62
_MOST_AHEAD = 64  # buckets of rows that are newer than the windows, of which is remembered what was added
_FEW = 8


class Frame(NamedTuple):
    """A stretch of time that moves along: `seconds` long, its end `behind` seconds before now.

    against: `reference` for a window that is judged, `mature` for the same long ago enough for its labels, else the
    moving baseline that it serves.
    """

    window: str
    against: str
    seconds: int
    behind: int

    @property
    def sliced(self) -> bool:
        """Whether segments are kept apart."""
        return self.against in (REFERENCE, MATURE)


def frames(windows: Iterable[Window], bucket: int, baselines: Iterable[str], label_delay: float = 0.0) -> list[Frame]:
    """Return every stretch to sum: the windows, each a label delay (seconds) ago, and for moving baselines before it.

    A week ago of a week is the previous window; and a week that is no multiple of the bucket cannot be cut out.
    """
    found = []
    for window in windows:
        found.append(Frame(window.name, REFERENCE, window.seconds, 0))
        if label_delay > 0:
            found.append(Frame(window.name, MATURE, window.seconds, -int(-label_delay // bucket) * bucket))
        if "previous" in baselines:
            found.append(Frame(window.name, "previous", window.seconds, window.seconds))
        if "week_ago" in baselines and window.seconds < WEEK and WEEK % bucket == 0:
            found.append(Frame(window.name, "week_ago", window.seconds, WEEK))
    return found


class Windows:
    """The windows of one model, per version."""

    def __init__(self, frames: Iterable[Frame], size: int):
        self._frames = tuple(frames)
        self._size = size
        self._end: int | None = None
        self._sums: dict[tuple[Frame, str, str], Profile] = {}  # frame, version, segment
        self._packed: dict[tuple[Frame, str, str], Packed] = {}  # the same while it rests
        self._ahead: dict[Key, list[Counts]] = {}  # what was added to buckets that are to enter,
        self._ahead_from = _FAR  # and the start from which on it is all that is stored of them

    def rest(self) -> None:
        """Take less memory until the next use."""
        self._packed |= {key: v if isinstance(v, Packed) else pack(v) for key, v in self._sums.items()}
        self._sums = {}
        self._forget_ahead()

    def _forget_ahead(self) -> None:
        self._ahead_from = max([self._ahead_from, *(start + 1 for _, _, start in self._ahead)])
        self._ahead = {}

    def _wake(self) -> None:
        kept = isinstance(empty(self._size), Packed)  # so it is added to as it is
        self._sums |= {key: packed if kept else unpack(packed) for key, packed in self._packed.items()}
        self._packed = {}

    def change(self, deltas: Mapping[Key, Counts]) -> None:
        """Take up what was added to stored buckets that are inside."""
        if self._end is None or not deltas:
            return
        self._wake()
        for (version, segment, start), counts in deltas.items():
            if start >= self._end:
                self._note(version, segment, start, counts)
            for frame in self._frames:
                end = self._end - frame.behind
                if end - frame.seconds <= start < end and (frame.sliced or segment == ALL):
                    add_to(self._sum(frame, version, segment), counts)

    def _note(self, version: str, segment: str, start: int, counts: Counts) -> None:
        """Remember what was added to a bucket that is to enter: so it need not be read when it does."""
        own = self._ahead.setdefault((version, segment, start), [])
        own.append(counts)
        if len(own) >= _FEW:
            own[:] = [add(*own)]
        if len(self._ahead) > _MOST_AHEAD:
            self._forget_ahead()

    def move(self, end: int, buckets: Buckets) -> None:
        """Let the windows end at `end` (seconds, included in none); buckets(start, end, segment) reads stored ones."""
        self._wake()
        old = self._end
        if end == old:
            return
        if old is None:
            self._ahead_from = max((own.start + 1 for own in buckets(end, _FAR, None)), default=end)
        elif end < old:
            self._ahead_from = max(self._ahead_from, old)
        known: dict[tuple[int, int, str | None], list[Bucket]] = {}

        def read(start: int, stop: int, segment: str | None) -> Iterable[Bucket]:
            """Read buckets; few of them once, as what leaves one frame may enter another."""
            if start >= self._ahead_from:
                return self._entering(start, stop, segment)
            if (start, stop, segment) not in known:
                found = iter(buckets(start, stop, segment))
                some = [*islice(found, _FEW + 1)]
                if len(some) > _FEW:
                    return chain(some, found)
                known[start, stop, segment] = some
            return known[start, stop, segment]

        for frame in self._frames:
            self._move(frame, end - frame.behind, None if old is None else old - frame.behind, read)
        self._end, self._ahead_from = end, max(self._ahead_from, end)
        self._ahead = {key: own for key, own in self._ahead.items() if key[2] >= end}

    def _entering(self, start: int, end: int, segment: str | None) -> list[Bucket]:
        return [
            Bucket(*key, counts)
            for key, own in self._ahead.items()
            if start <= key[2] < end and segment in {None, key[1]}
            for counts in own
        ]

    def _move(self, frame: Frame, end: int, old: int | None, buckets: Buckets) -> None:
        segment = None if frame.sliced else ALL
        if old is None or old > end or old <= end - frame.seconds:
            for key in [key for key in self._sums if key[0] == frame]:
                del self._sums[key]
            old = end - frame.seconds
        else:
            for left in buckets(old - frame.seconds, end - frame.seconds, segment):
                take_from(self._sum(frame, left.version, left.segment), left.counts)
        for entered in buckets(old, end, segment):
            add_to(self._sum(frame, entered.version, entered.segment), entered.counts)

    def views(self, always: str | None) -> list[View]:
        """Return the windows of each version that has rows in one, and of version `always`."""
        self._wake()
        judged = [frame for frame in self._frames if frame.against == REFERENCE]
        with_rows = {
            (frame.against != REFERENCE, version) for (frame, version, _), vector in self._sums.items() if first(vector)
        }
        alive = {version for _, version in with_rows}
        for key in [key for key in self._sums if key[1] not in alive]:
            del self._sums[key]
        shown = {version for earlier, version in with_rows if not earlier}
        versions = sorted(shown | ({always} if always is not None else set()))
        return [self._view(frame, version) for version in versions for frame in judged]

    def _view(self, frame: Frame, version: str) -> View:
        end = self._end or 0
        whole = self._sum(frame, version, ALL)
        earlier = {
            other.against: vector
            for (other, own, _), vector in self._sums.items()
            if own == version and other.window == frame.window and not other.sliced and first(vector)
        }
        slices = self._slices(frame, version)
        mature = [self._mature(own, version) for own in self._frames if own[:2] == (frame.window, MATURE)]
        return View(version, frame.window, end - frame.seconds, end, whole, slices, earlier, *mature)

    def _slices(self, frame: Frame, version: str) -> dict[str, Profile]:
        sums = self._sums.items()
        return {own[2]: vector for own, vector in sums if own[:2] == (frame, version) and own[2] != ALL}

    def _mature(self, frame: Frame, version: str) -> Mature:
        end = (self._end or 0) - frame.behind
        whole = self._sum(frame, version, ALL)
        return Mature(end - frame.seconds, end, whole, self._slices(frame, version))

    def _sum(self, frame: Frame, version: str, segment: str) -> Profile:
        key = frame, version, segment
        if key not in self._sums:
            self._sums[key] = empty(self._size)
        return self._sums[key]
