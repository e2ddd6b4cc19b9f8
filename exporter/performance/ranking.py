"""How well the rows of a group, the answers to one query, are ranked: each group's metrics, and their means.

Rows with equal scores are in no order. `ndcg` averages over their orders, as scikit-learn's does, and so do `mrr`,
`precision@k`, `recall@k` and `hit_rate@k`; `map` takes them at once, as scikit-learn's average precision does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.performance.intervals import Estimate, bounded
from exporter.special import special

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DEFAULT = ("ndcg", "ndcg@10", "map", "mrr", "precision@10", "recall@10")
KNOWN = ("ndcg", "map", "mrr", "ndcg@10", "precision@10", "recall@10", "hit_rate@10")
_NAME = re.compile(r"(?:ndcg|map|mrr)|(?:ndcg|precision|recall|hit_rate)@([1-9]\d{0,4})")


class RankingOutcomes(NamedTuple):
    """What is known of groups. groups: whole ones with a relevant row, of which the metrics are means.

    irrelevant: whole ones without a relevant row. incomplete: those with a row whose label or score is not known.
    sums: metric -> its sum over groups, and that of its squares.
    """

    groups: int
    irrelevant: int
    incomplete: int
    sums: Mapping[str, tuple[float, float]]


class Ranked(NamedTuple):
    """Rows of whole groups, the best ranked first; each has a relevant row. Rows with equal scores are one block.

    start: first row of each of G groups. relevance: of the rows, at least 0; above 0 is relevant. ideal: the same, the
    most relevant first. group: of each block; before: rows of the group above it; rows, relevant, gain: its rows, its
    relevant ones, and the sum of their relevance.
    """

    start: Ints
    relevance: Floats
    ideal: Floats
    group: Ints
    before: Ints
    rows: Ints
    relevant: Ints
    gain: Floats

    def total(self, of_block: Floats) -> Floats:
        """Add blocks up by group."""
        return np.bincount(self.group, of_block, minlength=len(self.start)).astype(np.float64)

    @property
    def all_relevant(self) -> Floats:
        """The relevant rows of each group."""
        return self.total(self.relevant.astype(np.float64))


def is_known(name: str) -> bool:
    """Return whether this is a metric of groups: `ndcg`, `ndcg@10`, `map`, `mrr`, `precision@5`, ..."""
    return _NAME.fullmatch(name) is not None


def cut(name: str) -> int | None:
    """Return k of a metric of the k best ranked rows; None of one of all rows."""
    return int(name.partition("@")[2]) if "@" in name else None


def ranked(group: Ints, score: Floats, relevance: Floats) -> Ranked:
    """Order the rows of groups that are whole and have a relevant row; group: numbers from 0 on, none left out."""
    order = np.lexsort((-relevance, -score, group))
    group, score, own = group[order], score[order], relevance[order]
    start = np.flatnonzero(np.diff(group, prepend=-1))
    block = np.flatnonzero((np.diff(group, prepend=-1) != 0) | (np.diff(score, prepend=np.nan) != 0))
    of_block = group[block]
    rows = np.diff(np.append(block, len(group)))
    relevant = np.add.reduceat((own > 0).astype(np.int64), block)
    ideal = relevance[np.lexsort((-relevance, group[np.argsort(order)]))]
    before = block - start[of_block]
    return Ranked(start, own, ideal, of_block, before, rows, relevant, np.add.reduceat(own, block))


def _discounts(most: int, k: int | None) -> Floats:
    """Return the sums of the discounts of the first 0, 1, ... ranks; those beyond k add nothing."""
    single = 1 / np.log2(np.arange(most) + 2.0)
    if k is not None:
        single[k:] = 0.0
    return np.concatenate([[0.0], np.cumsum(single)])


def ndcg(rows: Ranked, k: int | None = None) -> Floats:
    """Return the discounted gain over that of the best order (Jarvelin and Kekalainen 2002); gain is the label."""
    until = _discounts(int((rows.before + rows.rows).max()), k)
    gained = rows.total(rows.gain / rows.rows * (until[rows.before + rows.rows] - until[rows.before]))
    position = np.arange(len(rows.ideal)) - np.repeat(rows.start, np.diff(np.append(rows.start, len(rows.ideal))))
    best = np.add.reduceat(rows.ideal * np.diff(until)[position], rows.start)
    return np.minimum(gained / best, 1.0)


def average_precision(rows: Ranked) -> Floats:
    """Return the mean precision at the relevant rows of each group."""
    found = np.cumsum(rows.relevant)
    earlier = (found - rows.relevant)[np.flatnonzero(np.diff(rows.group, prepend=-1))]
    hits = found - earlier[rows.group]
    parts: Floats = (rows.relevant * hits / (rows.before + rows.rows)).astype(np.float64)
    return rows.total(parts) / rows.all_relevant


def reciprocal_rank(rows: Ranked) -> Floats:
    """Return one over the rank of the first relevant row of each group."""
    some = np.flatnonzero(rows.relevant)
    first = some[np.flatnonzero(np.diff(rows.group[some], prepend=-1))]
    found = 1 / (rows.before[first] + 1.0)
    for at in np.flatnonzero(rows.relevant[first] < rows.rows[first]).tolist():
        block = first[at]
        found[at] = _expected_reciprocal(*(int(own[block]) for own in (rows.before, rows.rows, rows.relevant)))
    return found


def _expected_reciprocal(before: int, rows: int, relevant: int) -> float:
    """Return the mean of 1 / rank of the first of some relevant rows among rows in any order."""
    steps = np.arange(1, rows - relevant + 1)
    missed = np.concatenate([[1.0], np.cumprod((rows - relevant - steps + 1) / (rows - steps + 1))])
    place = np.arange(1, rows - relevant + 2)
    return float((missed * relevant / (rows - place + 1) / (before + place)).sum())


def _found(rows: Ranked, k: int) -> Floats:
    return rows.total(np.asarray(rows.relevant * np.clip((k - rows.before) / rows.rows, 0.0, 1.0), np.float64))


def precision(rows: Ranked, k: int) -> Floats:
    """Return the relevant ones among the k best ranked rows over k, also of a group that has fewer rows."""
    return _found(rows, k) / k


def recall(rows: Ranked, k: int) -> Floats:
    """Return the share of the relevant rows that are among the k best ranked ones."""
    return _found(rows, k) / rows.all_relevant


def hit_rate(rows: Ranked, k: int) -> Floats:
    """Return whether a relevant row is among the k best ranked ones: 1, 0, or how likely that is among equal scores."""
    taken = np.clip(k - rows.before, 0, rows.rows).astype(np.float64)
    none, count = (rows.rows - rows.relevant).astype(np.float64), rows.rows.astype(np.float64)
    possible = taken <= none
    left = np.where(possible, none - taken, 0.0)
    missed = (
        special.gammaln(none + 1)
        - special.gammaln(left + 1)
        - special.gammaln(count + 1)
        + special.gammaln(count - taken + 1)
    )
    missed = np.where(possible, np.where((taken == 0) | (rows.relevant == 0), 0.0, missed), -np.inf)
    return -np.expm1(rows.total(missed))


_OF_ALL: Mapping[str, Callable[[Ranked], Floats]] = {
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
}
_OF_FIRST: Mapping[str, Callable[[Ranked, int], Floats]] = {
    "ndcg": ndcg,
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
}


def of_groups(name: str, rows: Ranked) -> Floats:
    """Return a metric of each group, 0 to 1."""
    k = cut(name)
    return _OF_ALL[name](rows) if k is None else _OF_FIRST[name.partition("@")[0]](rows, k)


def estimates(outcomes: RankingOutcomes, wanted: Sequence[str]) -> dict[str, Estimate]:
    """Return the wanted metrics that are counted: means over groups, groups being what varies by chance."""
    found = {}
    for name in wanted:
        if name in outcomes.sums and outcomes.groups:
            total, squares = outcomes.sums[name]
            value = total / outcomes.groups
            found[name] = Estimate(value, *(_interval(value, squares, outcomes.groups) or (None, None)))
    return found


def _interval(value: float, squares: float, groups: int) -> tuple[float, float] | None:
    if groups < 2:
        return None
    variance = max(squares / groups - value**2, 0.0) * groups / (groups - 1)
    return bounded(value, math.sqrt(variance / groups), groups)
