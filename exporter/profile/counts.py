"""A profile's numbers: a sparse vector of whole numbers.

Everything that a profile keeps, sums included, is an integer at a fixed place. So merging is addition and leaving a
window is subtraction, both exact and in any order, on any machine.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.rows import Bools, Floats, Ints

FRACTION = 2**32  # a real number is kept as whole units plus this many parts of one
_MOST_DENSE = 2**22
_DENSE = 8  # one place in so many used: then adding up a vector with all places takes less time than a sort
_HEAD = struct.Struct("<III")
_WIDE = 255  # stands for a number that a byte cannot hold
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
    placed = sum(len(part.row) for part in parts)
    if not placed:
        return [ZERO] * groups
    if groups * size <= min(placed, _MOST_DENSE):
        return _gather_dense(parts, group, groups, size)
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


def _gather_dense(parts: list[Placed], group: Ints, groups: int, size: int) -> list[Counts]:
    """Add up into a vector with all places: without a sort, which pays where most places are used."""
    vector = np.zeros(groups * size, np.int64)
    for part in parts:
        if groups == 1 and len(part.place) and (part.place == part.place[0]).all():
            vector[part.place[0]] += part.amount.sum()
            continue
        key = group[part.row] * size + part.place
        if (part.amount == 1).all():
            vector += np.bincount(key, minlength=len(vector))
        else:
            np.add.at(vector, key, part.amount)
    return [sparse(own) for own in vector.reshape(groups, size)]


def sparse(vector: Ints) -> Counts:
    """Return a vector with a number at each place as one of those that are not 0."""
    place = np.flatnonzero(vector)
    return Counts(place, vector[place])


def moved(counts: Counts, start: int) -> Counts:
    """Return the same numbers `start` places on."""
    return Counts(counts.place + start, counts.amount)


def joined(many: Sequence[Counts], starts: Sequence[int] | None = None) -> Counts:
    """Return the sum of numbers whose places follow each other; starts: by how far each is to be moved on."""
    place = np.concatenate([own.place for own in many])
    end = 0
    for own, start in zip(many, starts or (), strict=False):
        place[end : (end := end + len(own.place))] += start
    return Counts(place, np.concatenate([own.amount for own in many]))


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
    many = tuple(own for own in many if len(own.place))
    if len(many) < 2:
        return many[0] if many else ZERO
    size = max(int(own.place[-1]) for own in many) + 1
    if _DENSE * sum(len(own.place) for own in many) > size:
        vector = np.zeros(size, np.int64)
        for own in many:
            add_into(vector, own)
        return sparse(vector)
    return _sum_by_key(np.concatenate([c.place for c in many]), np.concatenate([c.amount for c in many]))


def negative(counts: Counts) -> Counts:
    """Return what takes `counts` away when added."""
    return Counts(counts.place, -counts.amount)


def add_into(vector: Ints, counts: Counts) -> None:
    """Add to a dense vector in place."""
    vector[counts.place] += counts.amount


def encode(counts: Counts) -> bytes:
    """Pack for the store: steps between places and amounts a byte each, and apart what a byte cannot hold.

    Nearly all steps and amounts of an hour's rows are small: Huffman's code makes one or two bits of them.
    """
    (steps, far), (amounts, large) = _bytes_of(np.diff(counts.place, prepend=0)), _bytes_of(counts.amount)
    wide = _planes(np.concatenate([far, large]))
    packed = _deflated(steps, zlib.Z_HUFFMAN_ONLY), _deflated(amounts, zlib.Z_HUFFMAN_ONLY), wide
    return _HEAD.pack(len(counts.place), len(packed[0]), len(packed[1])) + b"".join(packed)


def decode(blob: bytes) -> Counts:
    """Unpack what `encode` packed."""
    length, first, second = _HEAD.unpack_from(blob)
    ends = _HEAD.size + first, _HEAD.size + first + second
    steps, amounts = (
        np.frombuffer(zlib.decompress(part, -15), np.uint8) if length else np.empty(0, np.uint8)
        for part in (blob[_HEAD.size : ends[0]], blob[ends[0] : ends[1]])
    )
    wide = _from_planes(blob[ends[1] :])
    far = int((steps == _WIDE).sum())
    return Counts(np.cumsum(_from_bytes(steps, wide[:far])), _from_bytes(amounts, wide[far:]))


def _deflated(raw: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
    return packer.compress(raw) + packer.flush()


def _bytes_of(values: Ints) -> tuple[bytes, Ints]:
    """Return each value in a byte, and those that do not fit."""
    small = (values >= 0) & (values < _WIDE)
    return np.where(small, values, _WIDE).astype(np.uint8).tobytes(), values[~small]


def _from_bytes(small: NDArray[np.uint8], wide: Ints) -> Ints:
    values = small.astype(np.int64)
    values[small == _WIDE] = wide
    return values


def _planes(values: Ints) -> bytes:
    """Pack whole numbers: how many bytes each needs, then all first bytes, all second bytes, ..."""
    extremes = (int(values.min()), int(values.max())) if len(values) else ()
    most = max((value.bit_length() // 8 + 1 for value in extremes), default=0)
    raw = values.astype("<i8").view(np.uint8).reshape(-1, 8).T[:most].tobytes()
    return bytes([most]) + _deflated(raw, zlib.Z_DEFAULT_STRATEGY)


def _from_planes(blob: bytes) -> Ints:
    most = blob[0]
    if not most:
        return np.empty(0, np.int64)
    planes = np.frombuffer(zlib.decompress(blob[1:], -15), np.uint8).reshape(most, -1)
    whole = np.empty((planes.shape[1], 8), np.uint8)
    whole[:, :most] = planes.T
    whole[:, most:] = np.where(planes[-1] >= 128, 255, 0)[:, None]  # the sign
    return whole.view("<i8").ravel().astype(np.int64)


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
