"""A dense profile that rests, or is read part by part: in as few bytes a number as most of its numbers need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.profile.coding import WIDE, decode, inflated
from exporter.profile.counts import MOST_WIDE, ZERO, Counts, Stretch, add_into, narrow, negative
from exporter.rows import Ints

_MANY = 2**22  # places from which on a profile is kept packed
_NEXT: dict[int, type[np.unsignedinteger]] = {1: np.uint16, 2: np.uint32}


class Packed:
    """Numbers in few bytes each, and apart by increasing place those that do not fit, which are 0 among the others."""

    __slots__ = ("small", "wide")

    def __init__(self, small: NDArray[np.integer], wide: Counts):
        self.small, self.wide = small, wide

    def __len__(self) -> int:
        return len(self.small)

    def part(self, start: int, end: int) -> Ints:
        """Return a new vector of the numbers of some places."""
        found = self.small[start:end].astype(np.int64)
        first, last = self.wide.place.searchsorted((start, end)).tolist()
        found[self.wide.place[first:last] - start] = self.wide.amount[first:last]
        return found

    def put(self, start: int, vector: Ints) -> None:
        """Replace the numbers from a place on."""
        end, fits = start + len(vector), self._fits(vector)
        self.small[start:end] = vector if fits.all() else np.where(fits, vector, 0)
        old, new = self.wide, np.flatnonzero(~fits)
        first, last = old.place.searchsorted((start, end)).tolist()
        if last > first or len(new):
            place = np.concatenate([old.place[:first], new + start, old.place[last:]])
            self.wide = Counts(place, np.concatenate([old.amount[:first], vector[new], old.amount[last:]]))

    def copy(self) -> Packed:
        """Return the same numbers apart from these."""
        return Packed(self.small.copy(), self.wide)

    def add(self, counts: Counts, times: int = 1) -> None:
        """Add to the numbers in place, or take away: so often."""
        for own in counts.stretches:
            self._add_stretch(own, times)
        rest = counts.rest
        found = self.small[rest.place].astype(np.int64)
        at = self.wide.place.searchsorted(rest.place)
        known = at < len(self.wide.place)
        known[known] = self.wide.place[at[known]] == rest.place[known]
        found[known] = self.wide.amount[at[known]]
        self._put(rest.place, found + times * rest.amount)
        while len(self.wide.place) * MOST_WIDE > len(self.small) and self.small.itemsize in _NEXT:
            self._widen(_NEXT[self.small.itemsize])

    def _add_stretch(self, own: Stretch, times: int) -> None:
        first, last = self.wide.place.searchsorted((own.start, own.end)).tolist()
        before = self.small[own.start : own.end]
        if times == 1 and first == last and own.small.itemsize <= before.itemsize and not before.any():
            before[:] = own.small
        else:
            self.put(own.start, self.part(own.start, own.end) + times * own.small.astype(np.int64))

    def _fits(self, amount: Ints) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = amount.view(np.uint64) <= np.iinfo(self.small.dtype).max  # below 0 is large
        return found

    def _put(self, place: Ints, amount: Ints) -> None:
        """Replace the numbers of some increasing places."""
        fits = self._fits(amount)
        self.small[place] = np.where(fits, amount, 0)
        old, new = self.wide, place[~fits]
        kept = ~_among(old.place, place)
        if kept.all() and not len(new):
            return
        places = np.concatenate([old.place[kept], new])
        amounts = np.concatenate([old.amount[kept], amount[~fits]])
        order = np.argsort(places, kind="stable")
        self.wide = Counts(places[order], amounts[order])

    def _widen(self, kind: type[np.unsignedinteger]) -> None:
        """Take more bytes a number."""
        self.small, wide = self.small.astype(kind), self.wide
        self.wide = ZERO
        self._put(wide.place, wide.amount)


Profile = Ints | Packed  # a number at each place


def _among(places: Ints, others: Ints) -> NDArray[np.bool_]:
    """Return which of the places are among others; both increase."""
    at = others.searchsorted(places)
    found = at < len(others)
    found[found] = others[at[found]] == places[found]
    return found


def pack(vector: Ints) -> Packed:
    """Pack a vector; `unpack` gives the same numbers."""
    small, wide = narrow(vector)
    return Packed(vector, ZERO) if small is None else Packed(small, Counts(wide, vector[wide]))


def unpack(packed: Packed) -> Ints:
    """Return the vector."""
    return packed.part(0, len(packed))


def empty(size: int) -> Profile:
    """Return zeros, to be added to."""
    return np.zeros(size, np.int64) if size < _MANY else Packed(np.zeros(size, np.uint8), ZERO)


def add_to(profile: Profile, counts: Counts) -> None:
    """Add to a profile in place."""
    if isinstance(profile, Packed):
        profile.add(counts)
    else:
        add_into(profile, counts)


def put(profile: Profile, start: int, vector: Ints) -> None:
    """Replace the numbers of a profile from a place on."""
    if isinstance(profile, Packed):
        profile.put(start, vector)
    else:
        profile[start : start + len(vector)] = vector


def take_from(profile: Profile, counts: Counts) -> None:
    """Take away from a profile in place."""
    if isinstance(profile, Packed):
        profile.add(counts, -1)
    else:
        add_into(profile, negative(counts))


def first(profile: Profile) -> int:
    """Return the number at the first place."""
    return int(profile.part(0, 1)[0] if isinstance(profile, Packed) else profile[0])


def spread(blob: bytes, size: int) -> Profile:
    """Return what `encode` packed with a number at each place; packed where there are very many places."""
    coded = inflated(blob)
    if size < _MANY or len(coded.large) * MOST_WIDE > size:
        vector = np.zeros(size, np.int64)
        add_into(vector, decode(blob))
        return vector
    small, wide = np.zeros(size, np.uint8), [ZERO.place]
    for place, amount in coded.pieces():
        small[place] = amount
        wide.append(place[amount == WIDE])
    apart = np.concatenate(wide)
    small[apart] = 0
    return Packed(small, Counts(apart, coded.large))
