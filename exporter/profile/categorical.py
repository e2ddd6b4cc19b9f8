"""Categorical columns: one place a category of the reference, one for what it never saw, one for missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exporter.drift.univariate import Sample
from exporter.profile.counts import Placed, ones
from exporter.rows import MISSING, Ints

MOST_CATEGORIES = 10_000


class CategoryBins(NamedTuple):
    """Places for one categorical column: C categories, unseen, missing.

    complete: all of the reference's categories have a place; else unseen also holds its rare ones.
    """

    categories: tuple[str, ...]
    complete: bool = True

    @property
    def size(self) -> int:
        return len(self.categories) + 2

    @property
    def unseen(self) -> int:
        return len(self.categories)

    @property
    def missing(self) -> int:
        return len(self.categories) + 1


def fit(names: Sequence[str], codes: Ints) -> CategoryBins:
    """Fix the categories on the reference: `codes` index `names`, MISSING is none.

    Raises ValueError if there is no category at all.
    """
    counts = np.bincount(codes[codes != MISSING], minlength=len(names))
    present = [names[i] for i in np.flatnonzero(counts).tolist()]
    if not present:
        raise ValueError("no value in the reference")
    if len(present) > MOST_CATEGORIES:
        common = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))[:MOST_CATEGORIES]
        return CategoryBins(tuple(sorted(names[i] for i in common)), complete=False)
    return CategoryBins(tuple(sorted(present)))


def place(bins: CategoryBins, names: Sequence[str], codes: Ints) -> list[Placed]:
    """Place the categories of all rows: `codes` index `names`, MISSING is none."""
    index = {name: i for i, name in enumerate(bins.categories)}
    table = np.array([*(index.get(name, bins.unseen) for name in names), bins.missing], np.int64)
    return [ones(np.arange(len(codes), dtype=np.int64), table[codes])]


def sample(bins: CategoryBins, vector: Ints) -> Sample:
    """Turn a column's slice of a profile into what the drift statistics read."""
    return Sample(vector[: bins.unseen + 1])


def bin_shares(bins: CategoryBins, reference: Ints, current: Ints, most: int) -> list[tuple[str, int, int]]:
    """Return (bin, reference rows, current rows): the `most` - 2 commonest, the others together, and unseen."""
    rows = [(name, int(reference[i]), int(current[i])) for i, name in enumerate(bins.categories)]
    rows.sort(key=lambda row: (-row[1] - row[2], row[0]))
    shown, rest = (rows, []) if len(rows) <= most - 1 else (rows[: most - 2], rows[most - 2 :])
    if rest:
        shown = [*shown, ("(other)", sum(row[1] for row in rest), sum(row[2] for row in rest))]
    return [*shown, ("(unseen)", int(reference[bins.unseen]), int(current[bins.unseen]))]
