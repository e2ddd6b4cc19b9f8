"""Boosted regression trees as plain arrays: kept as text, scored with NumPy alone.

Scoring is QuickScorer's (Lucchese et al., SIGIR 2015): the leaves of a tree are the bits of a word, each test that
fails clears those to its left, and the lowest bit that is left is the leaf. No path is walked.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_LEAVES = 32
_ALL = np.uint32(2**MOST_LEAVES - 1)
_BLOCK = 8_192
_KINDS = {
    "start": "<i4",
    "feature": "<i4",
    "threshold": "<f8",
    "missing_left": "|b1",
    "left": "<i4",
    "right": "<i4",
    "value": "<f8",
}


class _Tests(NamedTuple):
    """All tests of one column. table: per tree with some, the leaves left at each rank; last, of a missing value."""

    column: int
    thresholds: Floats
    trees: NDArray[np.intp]
    table: NDArray[np.uint32]


@dataclass(frozen=True)
class Trees:
    """T trees of at most 32 leaves: `base` plus the value of each tree's leaf.

    start: (T + 1,), where each tree's nodes begin. Of each node: feature (column; -1 is a leaf), threshold (at most
    it goes left), missing_left, left and right (node within the tree), value (of a leaf).
    """

    base: float
    start: NDArray[Any]
    feature: NDArray[Any]
    threshold: NDArray[Any]
    missing_left: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    value: NDArray[Any]

    @property
    def count(self) -> int:
        """Return the number of trees."""
        return len(self.start) - 1

    @cached_property
    def _compiled(self) -> tuple[list[_Tests], Floats]:
        values = np.zeros((self.count, MOST_LEAVES))
        tests: dict[int, list[tuple[int, float, bool, int]]] = {}
        for tree in range(self.count):
            self._walk(tree, 0, values[tree], 0, tests)
        return [_tabulate(column, own) for column, own in sorted(tests.items())], values

    def _walk(
        self, tree: int, node: int, values: Floats, first: int, tests: dict[int, list[tuple[int, float, bool, int]]]
    ) -> int:
        """Number the leaves from left to right, note every test; return the next free number."""
        at = int(self.start[tree]) + node
        column = int(self.feature[at])
        if column < 0:
            values[first] = self.value[at]
            return first + 1
        middle = self._walk(tree, int(self.left[at]), values, first, tests)
        cleared = (1 << middle) - (1 << first)
        own = (tree, float(self.threshold[at]), bool(self.missing_left[at]), cleared)
        tests.setdefault(column, []).append(own)
        return self._walk(tree, int(self.right[at]), values, middle, tests)

    def predict(self, columns: Floats) -> Floats:
        """Return one number a row; columns: (rows, D), NaN is missing."""
        tests, values = self._compiled
        blocks = [columns[i : i + _BLOCK] for i in range(0, len(columns), _BLOCK)]
        return np.concatenate([self._score(block, tests, values) for block in blocks] or [np.empty(0)])

    def _score(self, block: Floats, tests: list[_Tests], values: Floats) -> Floats:
        left = np.full((self.count, len(block)), _ALL, np.uint32)
        for own in tests:
            column = block[:, own.column]
            rank = np.searchsorted(own.thresholds, column)
            rank[np.isnan(column)] = own.table.shape[1] - 1
            left[own.trees] &= own.table[:, rank]
        leaf = np.bitwise_count((left & (~left + np.uint32(1))) - np.uint32(1))
        return np.asarray(np.take_along_axis(values, leaf.astype(np.intp), axis=1).sum(axis=0) + self.base)


def _tabulate(column: int, tests: list[tuple[int, float, bool, int]]) -> _Tests:
    thresholds = np.unique([threshold for _, threshold, _, _ in tests])
    trees = np.unique([tree for tree, _, _, _ in tests])
    table = np.full((len(trees), len(thresholds) + 2), _ALL, np.uint32)
    for tree, threshold, missing_left, cleared in tests:
        row = table[np.searchsorted(trees, tree)]
        kept = _ALL ^ np.uint32(cleared)
        row[np.searchsorted(thresholds, threshold) + 1 : -1] &= kept
        if not missing_left:
            row[-1] &= kept
    return _Tests(column, thresholds, trees, table)


def constant(value: float) -> Trees:
    """Return what says one number of every row."""
    return Trees(value, *(np.zeros(1 if name == "start" else 0, kind) for name, kind in _KINDS.items()))


def from_sklearn(model: Any) -> Trees:
    """Take the trees out of a fitted HistGradientBoostingRegressor without categorical columns; equal to 1e-9."""
    nodes = [predictor.nodes for (predictor,) in model._predictors]
    if any(own["is_leaf"].sum() > MOST_LEAVES for own in nodes):
        raise ValueError(f"a tree of more than {MOST_LEAVES} leaves")
    together = np.concatenate(nodes)
    return Trees(
        float(np.ravel(model._baseline_prediction)[0]),
        np.cumsum([0, *map(len, nodes)], dtype="<i4"),
        np.where(together["is_leaf"], -1, together["feature_idx"]).astype("<i4"),
        together["num_threshold"].astype("<f8"),
        together["missing_go_to_left"].astype("|b1"),
        together["left"].astype("<i4"),
        together["right"].astype("<i4"),
        together["value"].astype("<f8"),
    )


def to_plain(trees: Trees) -> dict[str, Any]:
    """Return plain values for the store; numbers come back to the last bit."""
    arrays = {name: np.asarray(getattr(trees, name), kind).tobytes() for name, kind in _KINDS.items()}
    return {"base": trees.base, **{name: b64encode(own).decode() for name, own in arrays.items()}}


def from_plain(plain: Mapping[str, Any]) -> Trees:
    """Read what `to_plain` wrote."""
    arrays = [np.frombuffer(b64decode(plain[name]), kind) for name, kind in _KINDS.items()]
    return Trees(plain["base"], *arrays)
