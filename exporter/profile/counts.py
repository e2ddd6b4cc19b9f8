"""A profile's numbers: a sparse vector of whole numbers.

Everything that a profile keeps, sums included, is an integer at a fixed place. So merging is addition and leaving a
window is subtraction, both exact and in any order, on any machine.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from exporter.rows import Bools, Floats, Ints

FRACTION = 2**32  # a real number is kept as whole units plus this many parts of one
LARGEST = 2.0**36  # whole units of one value; 2**27 such rows fit into 64 bits


class Placed(NamedTuple):
    """What a batch adds: for each entry its row in the batch, its place in the vector, and how much."""

    row: Ints
    place: Ints
    amount: Ints


class Counts(NamedTuple):
    """A sparse vector: increasing places, and the non-zero number at each."""

    place: Ints
    amount: Ints


ZERO = Counts(np.empty(0, np.int64), np.empty(0, np.int64))


def ones(row: Ints, place: Ints) -> Placed:
    """Count each row once at its place."""
    return Placed(row, place, np.ones(len(row), np.int64))


def keep_rows(part: Placed, kept: Bools) -> Placed:
    """Return what was placed of the rows that are kept."""
    if kept.all():
        return part
    chosen = kept[part.row]
    return Placed(part.row[chosen], part.place[chosen], part.amount[chosen])


def gather(parts: list[Placed], group: Ints, groups: int, size: int) -> list[Counts]:
    """Add up what was placed, per group of rows: `group` has each row's group, 0 to `groups` - 1."""
    keys = [group[part.row] * size + part.place for part in parts]
    merged = _sum_by_key(np.concatenate(keys), np.concatenate([part.amount for part in parts]))
    if groups == 1:
        return [merged]
    ends = np.searchsorted(merged.place, np.arange(1, groups + 1) * size)
    starts = np.concatenate([[0], ends[:-1]])
    return [
        Counts(merged.place[a:b] - g * size, merged.amount[a:b])
        for g, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]


def _sum_by_key(key: Ints, amount: Ints) -> Counts:
    if not len(key):
        return ZERO
    order = np.argsort(key, kind="stable")
    key, amount = key[order], amount[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    total = np.add.reduceat(amount, first)
    kept = total != 0
    return Counts(key[first][kept], total[kept])


def add(*many: Counts) -> Counts:
    """Return the sum; associative, commutative, and ZERO changes nothing."""
    return _sum_by_key(np.concatenate([c.place for c in many]), np.concatenate([c.amount for c in many]))


def negative(counts: Counts) -> Counts:
    """Return what takes `counts` away when added."""
    return Counts(counts.place, -counts.amount)


def add_into(vector: Ints, counts: Counts) -> None:
    """Add to a dense vector in place."""
    vector[counts.place] += counts.amount


def encode(counts: Counts) -> bytes:
    """Pack for the store."""
    steps = np.diff(counts.place, prepend=0).astype("<i4")
    wide = np.abs(counts.amount).max(initial=0) >= 2**31
    amount = counts.amount.astype("<i8" if wide else "<i4")
    return (b"8" if wide else b"4") + zlib.compress(steps.tobytes() + amount.tobytes(), 1)


def decode(blob: bytes) -> Counts:
    """Unpack what `encode` packed."""
    width = int(blob[:1])
    raw = zlib.decompress(blob[1:])
    length = len(raw) // (4 + width)
    place = np.cumsum(np.frombuffer(raw, "<i4", length), dtype=np.int64)
    return Counts(place, np.frombuffer(raw, f"<i{width}", length, 4 * length).astype(np.int64))


def whole_and_parts(values: Floats) -> tuple[Ints, Ints]:
    """Split real numbers into whole units and 2**-32 parts; what is beyond 2**36 units counts as 2**36."""
    clipped = np.clip(values, -LARGEST, LARGEST)
    whole = np.floor(clipped)
    return whole.astype(np.int64), np.rint((clipped - whole) * FRACTION).astype(np.int64)


def place_sum(row: Ints, place: int, values: Floats) -> list[Placed]:
    """Add real numbers up at two places: whole units at `place`, parts at `place` + 1."""
    whole, parts = whole_and_parts(values)
    at = np.full(len(row), place, np.int64)
    return [Placed(row, at, whole), Placed(row, at + 1, parts)]


def read_sum(vector: Ints, place: int) -> float:
    """Return a sum that `place_sum` added up."""
    return float(int(vector[place]) + int(vector[place + 1]) / FRACTION)
