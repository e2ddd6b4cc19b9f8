"""Where the reference's days begin: at local midnight, unless that would tear them in two. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from exporter.rows import NO_TIME, Bools, Ints, local_hours

_HOURS = 24
_ALIKE = 0.95  # of the best hour's wholeness is as good
_NEAREST = sorted(range(-11, 13), key=lambda hour: (abs(hour), hour))


class ReferenceDays(NamedTuple):
    """begins: hours after local midnight at which days begin, -11 to 12. number: each row's day, or NO_TIME."""

    begins: int
    number: Ints


def cut(timestamp: Ints, zone: str) -> ReferenceDays:
    """Number each row's day; a day is named by the local date that most of it lies on. timestamp: microseconds."""
    known = timestamp != NO_TIME
    hours = local_hours(timestamp, known, zone)
    begins = _begins(hours, known)
    return ReferenceDays(begins, np.where(known, (hours - begins) // _HOURS, NO_TIME))


def told(begins: int, zone: str) -> Iterator[str]:
    """Say when the days begin, if not at midnight."""
    if begins:
        yield f"the reference's days are cut at {begins % _HOURS:02d}:00 {zone}: midnight would tear them (timezone?)"


def _begins(hours: Ints, known: Bools) -> int:
    """Return the hour nearest to midnight at which days are nearly as whole as they can be.

    A reference may have gaps (every second day, nights, a batch a day): what lies together between two of them is to
    be in one day. How whole they are is told by Simpson's index: the chance that two rows are of the same day.
    """
    hour, rows = np.unique(hours[known], return_counts=True)
    if not len(hour):
        return 0
    whole = {begins: _simpson((hour - begins) // _HOURS, rows) for begins in _NEAREST}
    return next(begins for begins in _NEAREST if whole[begins] >= _ALIKE * max(whole.values()))


def _simpson(day: Ints, rows: Ints) -> float:
    """Return how many pairs of rows are of the same day."""
    number = np.unique(day, return_inverse=True)[1]
    total = np.bincount(number, rows)
    return float((total * (total - 1)).sum())
