"""A dense profile that is not in use: in as few bytes a number as most of its numbers need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.profile.counts import Counts
from exporter.rows import Ints

_KINDS = (np.uint8, np.uint16, np.uint32)
_MOST_WIDE = 32  # one number in so many may be kept apart, in 16 bytes


class Packed(NamedTuple):
    """Numbers in few bytes each, and apart those that do not fit."""

    small: NDArray[np.integer]
    wide: Counts


def pack(vector: Ints) -> Packed:
    """Pack a vector; `unpack` gives the same numbers."""
    for kind in _KINDS:
        wide = np.flatnonzero(vector.view(np.uint64) > np.iinfo(kind).max)  # seen so, what is below 0 is large
        if len(wide) * _MOST_WIDE <= len(vector):
            small: NDArray[np.integer] = vector.astype(kind)
            small[wide] = 0
            return Packed(small, Counts(wide, vector[wide]))
    return Packed(vector, Counts(np.empty(0, np.int64), np.empty(0, np.int64)))


def unpack(packed: Packed) -> Ints:
    """Return the vector."""
    vector = packed.small.astype(np.int64)
    vector[packed.wide.place] = packed.wide.amount
    return vector
