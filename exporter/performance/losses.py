"""DLE: how wrong is a prediction likely to be? A model of the loss, from features and prediction.

As NannyML's DLE, with scikit-learn's histogram gradient boosting in place of LightGBM's: as many trees of as many
leaves, and leaves of 200 rows in place of 20 where that serves rows held out better. Categories are numbers, in order
of their mean error, so the trees need no sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.performance import trees
from exporter.performance.trees import Trees
from exporter.threads import one_thread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MIN_ROWS = 200
MOST_ROWS = 50_000
LEAST_IN_LEAF = (20, 200)
FOLDS = 3
LOSSES = ("absolute", "squared")
_PULL = 10.0  # rows at the mean error that a category is averaged with: LightGBM's cat_smooth
_BOOSTING: dict[str, Any] = {"max_iter": 100, "max_leaf_nodes": 31, "learning_rate": 0.1}
_SEED = 42


class Loss(NamedTuple):
    """What is expected of one loss. trees: its mean for a row.

    noise: variance of the loss over the square of what is expected, on rows that the trees had not seen. r2: how much
    of its variance they explained there; it may be negative, and yet the means of many rows be right.
    """

    trees: Trees
    noise: float
    r2: float


class HeldOut(NamedTuple):
    """What trees that had not seen a row's day expect of it. rows: which rows; absolute, squared: expected losses."""

    rows: Ints
    absolute: Floats
    squared: Floats


class Losses(NamedTuple):
    """Expected losses of a regression, in units of `scale` (of its square).

    orders: categorical feature -> its categories by rising mean error. features: columns in order, then the prediction.
    rows: labelled rows of the reference that they were learned from.
    """

    features: tuple[str, ...]
    orders: Mapping[str, tuple[str, ...]]
    absolute: Loss
    squared: Loss
    scale: float
    rows: int

    def expected(self, columns: Floats) -> tuple[Floats, Floats]:
        """Return each row's expected |error| and squared error, at least 0, in units of `scale` and of its square."""
        return np.maximum(self.absolute.trees.predict(columns), 0), np.maximum(self.squared.trees.predict(columns), 0)


def order_of(names: Sequence[str], codes: Ints, error: Floats) -> tuple[str, ...]:
    """Return the categories by rising mean error, each pulled to the mean of all; codes index names, -1 is none."""
    known = codes >= 0
    counts = np.bincount(codes[known], minlength=len(names))
    sums = np.bincount(codes[known], error[known], minlength=len(names))
    means = (sums + _PULL * error.mean()) / (counts + _PULL)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: (means[i], names[i]))
    return tuple(names[i] for i in order)


def fit(columns: Floats, error: Floats, day: Ints | None = None) -> tuple[Loss, Loss, HeldOut]:
    """Learn expected |error| and squared error; columns (n, D), NaN is missing, error (n,). At most 50,000 rows.

    day: number of each row's day; whole days are held out then, as rows of one day resemble each other.
    """
    rows = np.arange(len(error))
    if len(error) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(len(error), MOST_ROWS, replace=False))
        columns, error, day = columns[rows], error[rows], None if day is None else day[rows]
    block = np.arange(len(error)) if day is None else np.unique(day, return_inverse=True)[1]
    with one_thread():
        absolute, squared = _fit_one(columns, np.abs(error), block), _fit_one(columns, error**2, block)
    return absolute[0], squared[0], HeldOut(rows, absolute[1], squared[1])


def _fit_one(columns: Floats, loss: Floats, block: Ints) -> tuple[Loss, Floats]:
    """Learn one loss, with leaves of as many rows as serve rows held out best; return also what was said of those.

    Always all trees: fewer would pull every row to the mean, and with them the mean of many rows that are harder.
    """
    if not np.ptp(loss):
        return Loss(trees.constant(float(loss[0])), 0.0, 0.0), loss
    held_out = {leaf: _held_out(columns, loss, block, leaf) for leaf in LEAST_IN_LEAF}
    missed = {leaf: float(((loss - said) ** 2).sum()) for leaf, said in held_out.items()}
    best = min(missed, key=lambda leaf: missed[leaf])
    size = float((held_out[best] ** 2).sum())
    fitted = trees.from_sklearn(_boosted(columns, loss, best))
    r2 = 1 - missed[best] / float(((loss - loss.mean()) ** 2).sum())
    return Loss(fitted, missed[best] / size if size > 0 else 0.0, r2), held_out[best]


def _held_out(columns: Floats, loss: Floats, block: Ints, leaf: int) -> Floats:
    """Return each row's expected loss by trees that had not seen its block."""
    fold = (np.random.default_rng(_SEED).permutation(block.max() + 1) % FOLDS)[block]
    said = np.empty(len(loss))
    for number in range(FOLDS):
        own = fold == number
        said[own] = _boosted(columns[~own], loss[~own], leaf).predict(columns[own])
    return np.maximum(said, 0)


def _boosted(columns: Floats, loss: Floats, leaf: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**_BOOSTING, min_samples_leaf=leaf, early_stopping=False, random_state=_SEED)
    return model.fit(columns, loss)


def to_plain(losses: Losses) -> dict[str, Any]:
    """Return plain values for the store; numbers come back to the last bit."""
    plain = losses._asdict() | {"orders": {name: list(own) for name, own in losses.orders.items()}}
    for name in LOSSES:
        plain[name] = plain[name]._asdict() | {"trees": trees.to_plain(plain[name].trees)}
    return plain


def from_plain(plain: Mapping[str, Any]) -> Losses:
    """Read what `to_plain` wrote."""
    of_loss = {name: Loss(**{**plain[name], "trees": trees.from_plain(plain[name]["trees"])}) for name in LOSSES}
    orders = {name: tuple(own) for name, own in plain["orders"].items()}
    return Losses(**{**plain, **of_loss, "orders": orders, "features": tuple(plain["features"])})
