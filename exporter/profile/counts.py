"""A profile's numbers: a sparse vector of whole numbers.

Everything that a profile keeps, sums included, is an integer at a fixed place. So merging is addition and leaving a
window is subtraction, both exact and in any order, on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.rows import Bools, Floats, Ints

FRACTION = 2**32  # a real number is kept as whole units plus this many parts of one
_MOST_DENSE = 2**22
DENSE = 8  # one place in so many used: then adding up a vector with all places takes less time than a sort
_MANY = 2**15  # places from which on those that are mostly used are kept as a stretch
MOST_WIDE = 32  # one number in so many may be kept apart, in 16 bytes
_KINDS = (np.uint8, np.uint16, np.uint32)
LARGEST = 2.0**36  # whole units of one value; 2**27 such rows fit into 64 bits


class Placed(NamedTuple):
    """What a batch adds: for each entry its row in the batch, its place in the vector, and how much."""

    row: Ints
    place: Ints
    amount: Ints


class Stretch(NamedTuple):
    """Numbers of places that follow each other, from `start` on, in few bytes each."""

    start: int
    small: NDArray[np.unsignedinteger]

    @property
    def end(self) -> int:
        return self.start + len(self.small)


class Counts:
    """A sparse vector: increasing places, and the non-zero number at each; it does not change.

    Of very many places of which most are used a stretch is kept, in order and apart from each other; what is no small
    number there is among the rest, and 0 in the stretch. Then `place` and `amount` are worked out whenever they are
    asked for.
    """

    __slots__ = ("_amount", "_place", "stretches")

    def __init__(self, place: Ints, amount: Ints, stretches: tuple[Stretch, ...] = ()):
        self._place, self._amount, self.stretches = place, amount, stretches

    @property
    def place(self) -> Ints:
        return self.plain()._place

    @property
    def amount(self) -> Ints:
        return self.plain()._amount

    @property
    def rest(self) -> Counts:
        """What is in no stretch."""
        return Counts(self._place, self._amount) if self.stretches else self

    def __bool__(self) -> bool:
        """Say whether any number is not 0."""
        return len(self._place) > 0 or any(own.small.any() for own in self.stretches)

    def __iter__(self) -> Iterator[Ints]:
        own = self.plain()
        return iter((own._place, own._amount))

    def plain(self) -> Counts:
        """Return the same numbers without stretches."""
        if not self.stretches:
            return self
        pieces = list(self.pieces())
        return Counts(np.concatenate([p._place for p in pieces]), np.concatenate([p._amount for p in pieces]))

    def pieces(self) -> Iterator[Counts]:
        """Return the same numbers piece by piece, none with a stretch; the amounts may be of a narrower type."""
        place, amount, done = self._place, self._amount, 0
        for own in self.stretches:
            first, last = place.searchsorted((own.start, own.end)).tolist()
            yield Counts(place[done:first], amount[done:first])
            if first == last:
                used = np.flatnonzero(own.small != 0)
                yield Counts(used + own.start, own.small[used])  # type: ignore[arg-type]
            else:
                vector = own.small.astype(np.int64)
                vector[place[first:last] - own.start] = amount[first:last]
                yield moved(sparse(vector), own.start)
            done = last
        yield Counts(place[done:], amount[done:])


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


def short(vector: Ints) -> Counts:
    """Return a vector as `sparse` does; where it is long and mostly used, as a stretch."""
    if len(vector) < _MANY or DENSE * np.count_nonzero(vector) < len(vector):
        return sparse(vector)
    small, wide = narrow(vector)
    return Counts(wide, vector[wide], (Stretch(0, small),)) if small is not None else sparse(vector)


def at_odd_places(vector: Ints) -> Counts:
    """Return a vector's numbers at the places 1, 3, 5, ..., as `short` does."""
    small, wide = narrow(vector) if 2 * len(vector) >= _MANY else (None, ZERO.place)
    if small is None:
        found = sparse(vector)
        return Counts(2 * found.place + 1, found.amount)
    spread = np.zeros(2 * len(vector) + 1, small.dtype)
    spread[1::2] = small
    return Counts(2 * wide + 1, vector[wide], (Stretch(0, spread),))


def narrow(vector: Ints) -> tuple[NDArray[np.unsignedinteger] | None, Ints]:
    """Return a vector in as few bytes a number as most need, 0 at those that do not fit, and the places of these.

    None where too many would not fit.
    """
    seen = vector.view(np.uint64)  # so what is below 0 is large
    for kind in _KINDS:
        most = np.iinfo(kind).max
        wide = np.flatnonzero(seen > most) if len(seen) and seen.max() > most else ZERO.place
        if len(wide) * MOST_WIDE <= len(vector):
            small: NDArray[np.unsignedinteger] = vector.astype(kind)
            small[wide] = 0
            return small, wide
    return None, ZERO.place


def moved(counts: Counts, start: int) -> Counts:
    """Return the same numbers `start` places on."""
    rest, stretches = counts.rest, counts.stretches
    return Counts(rest.place + start, rest.amount, tuple(own._replace(start=own.start + start) for own in stretches))


def joined(many: Sequence[Counts], starts: Sequence[int] | None = None) -> Counts:
    """Return the sum of numbers whose places follow each other; starts: by how far each is to be moved on."""
    rests = [own.rest for own in many]
    place = np.concatenate([own.place for own in rests])
    end = 0
    for own, start in zip(rests, starts or (), strict=False):
        place[end : (end := end + len(own.place))] += start
    stretches = tuple(
        one._replace(start=one.start + start)
        for own, start in zip(many, starts or (0,) * len(many), strict=True)
        for one in own.stretches
    )
    return Counts(place, np.concatenate([own.amount for own in rests]), stretches)


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
    many = tuple(own for own in many if own)
    if len(many) < 2:
        return many[0] if many else ZERO
    many = tuple(own.plain() for own in many)
    size = max(int(own.place[-1]) for own in many) + 1
    if DENSE * sum(len(own.place) for own in many) > size:
        vector = np.zeros(size, np.int64)
        for own in many:
            add_into(vector, own)
        return sparse(vector)
    return _sum_by_key(np.concatenate([c.place for c in many]), np.concatenate([c.amount for c in many]))


def negative(counts: Counts) -> Counts:
    """Return what takes `counts` away when added."""
    own = counts.plain()
    return Counts(own.place, -own.amount)


def add_into(vector: Ints, counts: Counts) -> None:
    """Add to a dense vector in place."""
    for own in counts.stretches:
        vector[own.start : own.end] += own.small
    rest = counts.rest
    vector[rest.place] += rest.amount


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
