"""Groups of rows that were ranked together: what each group adds, counted at its earliest row.

A group that is not whole adds nothing but that it is there; so does one with a relevance below 0, which is none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.performance.ranking import RankingOutcomes, of_groups, ranked
from exporter.profile.counts import Placed, ones, place_sum, read_sum
from exporter.rows import Floats, Ints

_SUMS = 3  # place of the first sum


class RankingBins(NamedTuple):
    """Places for groups: those that count, those without a relevant row, those not whole; then sums of each metric.

    column: of the group's name. metrics: names as in `performance.ranking`; of each the sum and that of its squares.
    """

    column: str
    metrics: tuple[str, ...]

    @property
    def size(self) -> int:
        return _SUMS + 4 * len(self.metrics)


class Answers(NamedTuple):
    """Rows of groups. group: number of each row's group, -1 is none. moment: event time, any unit.

    score, relevance: NaN where not known.
    """

    group: Ints
    moment: Ints
    score: Floats
    relevance: Floats


def place(bins: RankingBins, rows: Answers) -> list[Placed]:
    """Place groups at their earliest rows, of equal ones the first."""
    chosen = np.flatnonzero(rows.group >= 0)
    if not len(chosen):
        return []
    chosen = chosen[np.lexsort((chosen, rows.moment[chosen], rows.group[chosen]))]
    _, start, group = np.unique(rows.group[chosen], return_index=True, return_inverse=True)
    first = chosen[start]
    score, relevance = rows.score[chosen], rows.relevance[chosen]
    known = np.logical_and.reduceat(~np.isnan(score) & (relevance >= 0), start)
    some = np.logical_or.reduceat(relevance > 0, start)
    placed = [ones(first, np.where(known, np.where(some, 0, 1), 2))]
    used = known & some
    if not used.any():
        return placed
    kept = used[group]
    number = np.cumsum(used) - 1
    order = ranked(number[group[kept]], score[kept], relevance[kept])
    for at, name in enumerate(bins.metrics):
        values = of_groups(name, order)
        placed += place_sum(first[used], _SUMS + 4 * at, values)
        placed += place_sum(first[used], _SUMS + 4 * at + 2, values**2)
    return placed


def read(bins: RankingBins, vector: Ints) -> RankingOutcomes:
    """Turn the slice of a profile into what the metrics read."""
    groups, irrelevant, incomplete = vector[:_SUMS].tolist()
    sums = {
        name: (read_sum(vector, _SUMS + 4 * at), read_sum(vector, _SUMS + 4 * at + 2))
        for at, name in enumerate(bins.metrics)
    }
    return RankingOutcomes(groups, irrelevant, incomplete, sums)


def together(group: Ints, segments: Ints) -> Ints:
    """Number the groups within segments (-1 is none, or the whole): rows of one group in two segments are two."""
    both = group * (int(segments.max(initial=0)) + 2) + segments + 1
    return np.where(group < 0, -1, np.unique(both, return_inverse=True)[1]).astype(np.int64)
