"""Samples of whole rows: what their columns are, how they are drawn and packed, and what a method says of two."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Features(NamedTuple):
    """What the columns of a sample are. categories: C of a categorical feature, whose codes are 0 to C + 1; 0: numeric.

    Code C is unseen, C + 1 is missing; in a numeric column NaN is missing.
    """

    names: tuple[str, ...]
    categories: tuple[int, ...]

    def places(self, names: Sequence[str]) -> list[int]:
        """Return the columns of some features; raises ValueError for a name that is not there."""
        return [self.names.index(name) for name in names]

    def only(self, names: Sequence[str]) -> Features:
        """Return some of the features, in the order given: those of `rows[:, features.places(names)]`."""
        return Features(tuple(names), tuple(self.categories[at] for at in self.places(names)))


class Result(NamedTuple):
    """What one method says of a window.

    score: never negative, larger is more drift. size: the score on a scale where noise is about normal, with its sign
    where it has one. noise: standard deviation of the size by chance alone, rows independent. chance: score that
    chance alone exceeds once in a thousand windows. p_value: None where the method has none. contributions: by
    feature, the largest first, never negative; unit by method; all features 0 where it was not asked for.
    """

    score: float
    size: float
    noise: float
    chance: float
    p_value: float | None
    contributions: dict[str, float]


def ranked(features: Features, by_name: dict[str, float]) -> dict[str, float]:
    """Return all features' contributions, the largest first; 0 for a feature that takes no part."""
    every = {name: by_name.get(name, 0.0) for name in features.names}
    return dict(sorted(every.items(), key=lambda item: -item[1]))


def draw(count: int, most: int, random: np.random.Generator) -> Ints:
    """Return the places of at most `most` of `count` rows, in order, each as likely."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.sort(random.choice(count, most, replace=False)).astype(np.int64)


def pack(rows: Rows) -> bytes:
    """Pack rows: the columns' bytes by significance, which zlib packs well."""
    count, columns = rows.shape
    planes = np.ascontiguousarray(rows.T, "<f4").view(np.uint8).reshape(columns, count, 4).transpose(0, 2, 1)
    return zlib.compress(planes.tobytes(), 1)


def unpack(packed: bytes, count: int, columns: int) -> Rows:
    """Unpack what `pack` packed, to the last bit; raises ValueError where it is not of that shape."""
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(columns, 4, count).transpose(0, 2, 1)
    rows = np.ascontiguousarray(planes).view("<f4").reshape(columns, count).T
    return np.ascontiguousarray(rows, np.float32)
