"""A profile's numbers as bytes, for the store."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.profile.counts import DENSE, MOST_WIDE, ZERO, Counts, Stretch
from exporter.rows import Ints

_HEAD = struct.Struct("<III")
_PIECE = 2**16  # numbers that are packed at once: they stay in the processor's cache
WIDE = 255  # stands for a number that a byte cannot hold


def encode(counts: Counts) -> bytes:
    """Pack for the store: steps between places and amounts a byte each, and apart what a byte cannot hold.

    Nearly all steps and amounts of an hour's rows are small: Huffman's code makes one or two bits of them, and of many
    equal ones in a row hardly anything.
    """
    steps, amounts, far, large = bytearray(), bytearray(), list[Ints](), list[Ints]()
    last = 0
    for piece in counts.pieces():
        for start in range(0, len(piece.place), _PIECE):
            place, amount = piece.place[start : start + _PIECE], piece.amount[start : start + _PIECE]
            _to_bytes(np.diff(place, prepend=last), steps, far)
            _to_bytes(amount, amounts, large)
            last = int(place[-1])
    return _together(steps, amounts, *far, *large)


def renewed(blob: bytes) -> bytes:
    """Return what `encode` packed as this version of zlib packs it."""
    own = inflated(blob)
    return _together(own.steps.tobytes(), own.amounts.tobytes(), own.far, own.large)


def _together(steps: bytes | bytearray, amounts: bytes | bytearray, *wide: Ints) -> bytes:
    packed = _squeezed(steps), _squeezed(amounts), _planes(np.concatenate([ZERO.place, *wide]))
    return _HEAD.pack(len(steps), len(packed[0]), len(packed[1])) + b"".join(packed)


class Coded(NamedTuple):
    """What `encode` packed: steps between places and amounts a byte each, 255 for one of those apart."""

    steps: NDArray[np.uint8]
    amounts: NDArray[np.uint8]
    far: Ints
    large: Ints

    def pieces(self) -> Iterator[tuple[Ints, NDArray[np.uint8]]]:
        """Return places, and amounts in a byte, piece by piece."""
        last = done = 0
        for start in range(0, len(self.steps), _PIECE):
            steps = self.steps[start : start + _PIECE].astype(np.int64)
            at = np.flatnonzero(steps == WIDE)
            steps[at] = self.far[done : done + len(at)]
            done += len(at)
            steps[0] += last
            place = np.cumsum(steps, out=steps)
            last = int(place[-1])
            yield place, self.amounts[start : start + _PIECE]


def inflated(blob: bytes) -> Coded:
    """Unpack what `encode` packed as far as its bytes."""
    length, first, second = _HEAD.unpack_from(blob)
    ends = _HEAD.size + first, _HEAD.size + first + second
    steps, amounts = (
        np.frombuffer(zlib.decompress(part, -15, length), np.uint8) if length else np.empty(0, np.uint8)
        for part in (blob[_HEAD.size : ends[0]], blob[ends[0] : ends[1]])
    )
    wide = _from_planes(blob[ends[1] :])
    far = int(np.count_nonzero(steps == WIDE))
    return Coded(steps, amounts, wide[:far], wide[far:])


def decode(blob: bytes) -> Counts:
    """Unpack what `encode` packed; where most of very many places are used, as stretches."""
    own = inflated(blob)
    places, amounts, stretches, done = [ZERO.place], [ZERO.amount], list[Stretch](), 0
    for place, amount in own.pieces():
        wide = np.flatnonzero(amount == WIDE)
        large = own.large[done : (done := done + len(wide))]
        start, end = int(place[0]), int(place[-1]) + 1
        if len(place) == _PIECE and end - start <= DENSE * _PIECE and len(wide) * MOST_WIDE <= _PIECE:
            small = np.zeros(end - start, np.uint8)
            small[place - start] = amount
            place = place[wide]
            small[place - start] = 0
            stretches.append(Stretch(start, small))
        else:
            values = amount.astype(np.int64)
            values[wide] = large
            large = values
        places.append(place)
        amounts.append(large)
    return Counts(np.concatenate(places), np.concatenate(amounts), tuple(stretches))


def _squeezed(raw: bytes | bytearray) -> bytes:
    found = np.frombuffer(raw, np.uint8)
    runs = 4 * np.count_nonzero(found[1:] == found[:-1]) > 3 * len(found)  # as where every value is a knot
    return _deflated(raw, zlib.Z_RLE if runs else zlib.Z_HUFFMAN_ONLY)


def _deflated(raw: bytes | bytearray, strategy: int) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
    return packer.compress(raw) + packer.flush()


def _to_bytes(values: Ints, small: bytearray, wide: list[Ints]) -> None:
    """Append each value in a byte, and those that do not fit."""
    seen = values.view(np.uint64) if values.dtype == np.int64 else values  # so what is below 0 is large
    found = np.minimum(seen, WIDE).astype(np.uint8)
    small += found.tobytes()
    wide.append(values[found == WIDE].astype(np.int64))


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
