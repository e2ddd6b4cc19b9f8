"""Which features matter to a model, measured on its reference: a surrogate learns the model, then columns are shuffled.

The model itself is not at hand, only its log. Pure: the same rows and seed give the same shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.profile.columns import Column
from exporter.profile.model import Batch
from exporter.profile.outcome import Outcomes
from exporter.rows import MISSING, CategoryColumn, Floats, Ints
from exporter.settings import Task
from exporter.threads import one_thread

MIN_ROWS = 200
MOST_ROWS = 5_000
REPEATS = 5
ALIKE = 0.9  # rank correlation from which features are shuffled together
FAITHFUL = 0.5  # fidelity below which shares say little of the model
_HELD_OUT = 1 / 3
_MOST_CATEGORIES = 62  # commonest, told apart by the surrogate; the rest is one more
_MOST_OUTPUTS = 4  # of a model with more classes, those whose scores vary most
_BOOSTING: dict[str, Any] = {"max_iter": 100, "max_leaf_nodes": 31, "min_samples_leaf": 20, "max_bins": 63}


class Importance(NamedTuple):
    """What a model's features mean to it.

    shares: by feature, how much of the model's output hangs on it: at least 0, sum 1, or all 0 where nothing does.
    loss_shares: the same of the loss against labels; None with fewer than 200 labelled rows among those held out.
    fidelity: R2 of the surrogate against the model's output on held-out rows, 1 at best; below `FAITHFUL` shares say
    little of the model. rows: that were used, two thirds of them to learn from.
    """

    shares: dict[str, float]
    loss_shares: dict[str, float] | None
    fidelity: float
    rows: int


class Rows(NamedTuple):
    """Rows to measure on. columns: (n, D) of `names`, NaN is missing; categories are codes by falling frequency.

    output: (n, K), what the model said: score of the positive class, scores or indicators of classes (of more than
    four those that vary most), or value. truth: (n, K), the label in the same terms, NaN where unknown. groups: (D,),
    equal for columns that are alike.
    """

    names: tuple[str, ...]
    columns: Floats
    categorical: tuple[bool, ...]
    output: Floats
    truth: Floats
    groups: Ints


def measure(batch: Batch, outcomes: Outcomes, task: Task, seed: int = 0) -> Importance | None:
    """Return what each feature means to the model; None below 200 rows, or where the model's output never varies.

    Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019) of a surrogate: gradient boosting of the
    model's output on the features. Loss is the squared error (of probabilities: Brier's) of the surrogate on the third
    of the rows that was held out, against the model's output and against the label. Alike features (absolute rank
    correlation of at least 0.9, connected) are shuffled together and share evenly what that costs. A constant feature
    has 0. outcomes: rows of `batch`.
    """
    rows = sample(batch, outcomes, task, seed)
    if rows is None:
        return None
    train, test = split(len(rows.output), seed)
    columns, output, truth = rows.columns[test], rows.output[test], rows.truth[test]
    with one_thread():
        surrogate = fit(rows, train, seed)
        of_output, of_label = losses(surrogate, columns, (output, truth), rows.groups, seed)
        fidelity = _r2(output, surrogate.predict(columns))
    labelled = int((~np.isnan(truth).any(axis=1)).sum())
    return Importance(
        _shares(batch, rows, of_output),
        _shares(batch, rows, of_label) if labelled >= MIN_ROWS else None,
        fidelity,
        len(rows.output),
    )


def _shares(batch: Batch, rows: Rows, lost: Floats) -> dict[str, float]:
    """Spread each group's loss over its features, and scale to sum 1."""
    own = (lost / np.bincount(rows.groups, minlength=len(lost)))[rows.groups]
    total = float(own.sum())
    by_name = dict(zip(rows.names, (own / total).tolist() if total > 0 else own.tolist(), strict=True))
    return {name: by_name.get(name, 0.0) for name in batch.features}


def effective(given: Mapping[str, float | None], measured: Mapping[str, float]) -> dict[str, float]:
    """Return the importances in force: what is given as it is, of the other features what was measured.

    Both are shares of 1, and giving one changes no other, so the sum need not be 1. A feature with neither is left out.
    """
    return {**measured, **{name: value for name, value in given.items() if value is not None}}


def sample(batch: Batch, outcomes: Outcomes, task: Task, seed: int = 0) -> Rows | None:
    """Return at most 5,000 random rows whose output is known; None as `measure`.

    Columns that do not vary in them are left out; the rest is in order of name, so that the batch's order is nothing.
    """
    output, truth = _output(outcomes, task)
    kept = np.flatnonzero(~np.isnan(output).any(axis=1))
    if len(kept) < MIN_ROWS:
        return None
    if len(kept) > MOST_ROWS:
        kept = np.sort(np.random.default_rng(seed).choice(kept, MOST_ROWS, replace=False))
    output, truth = output[kept], truth[kept]
    if not np.ptp(output, axis=0).any():
        return None
    chosen = np.sort(np.argsort(-output.var(axis=0), kind="stable")[:_MOST_OUTPUTS])
    names, columns, categorical = [], [], []
    for name in sorted(batch.features):
        read = batch.features[name]
        column = _prepare(read, kept)
        if len(np.unique(column)) > 1:  # all NaN counts as one
            names.append(name)
            columns.append(column)
            categorical.append(isinstance(read, CategoryColumn))
    whole = np.column_stack(columns) if columns else np.empty((len(kept), 0))
    return Rows(tuple(names), whole, tuple(categorical), output[:, chosen], truth[:, chosen], alike(whole))


def _output(outcomes: Outcomes, task: Task) -> tuple[Floats, Floats]:
    """Return what the model said and what was right, (rows, K) each; NaN where unknown, or a score is not 0 to 1."""
    scores, prediction, label = outcomes.scores, outcomes.prediction, outcomes.label
    if task == "regression":
        return prediction[:, None], label[:, None]
    if scores.shape[1]:
        output = np.where((scores >= 0) & (scores <= 1), scores, np.nan)
        classes = np.arange(scores.shape[1]) if scores.shape[1] > 1 else np.array([1])
    else:
        classes = np.array([1]) if task == "binary" else np.unique(prediction[prediction >= 0])
        output = _indicators(np.where(prediction >= 0, prediction, np.nan), classes)
    return output, _indicators(label, classes)


def _indicators(values: Floats, classes: NDArray[Any]) -> Floats:
    return np.where(np.isnan(values)[:, None], np.nan, values[:, None] == classes)


def _prepare(column: Column, kept: Ints) -> Floats:
    """Return numbers (invalid is missing), or codes by falling frequency, the rare categories together."""
    if not isinstance(column, CategoryColumn):
        return np.where(column.valid[kept], column.values[kept], np.nan)
    codes = column.codes[kept]
    counts = np.bincount(codes[codes != MISSING], minlength=len(column.names))
    place = np.full(len(counts) + 1, np.nan)  # the last, which is -1: missing
    place[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(len(counts)), _MOST_CATEGORIES)
    return place[codes]


def alike(columns: Floats) -> Ints:
    """Return the group of each column: those connected by absolute rank correlations of at least 0.9 are one.

    A missing value is at the mean rank. columns: (n, D), none of them constant.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.stats import rankdata

    if columns.shape[1] < 2:
        return np.zeros(columns.shape[1], np.int64)
    ranks = rankdata(columns, axis=0, nan_policy="omit")
    ranks = np.nan_to_num(ranks - np.nanmean(ranks, axis=0))
    sizes = np.sqrt((ranks**2).sum(axis=0))
    sizes[sizes == 0] = 1.0  # varies in what is missing alone
    near = np.abs(ranks.T @ ranks) >= ALIKE * np.outer(sizes, sizes)
    return np.asarray(connected_components(near, directed=False)[1], np.int64)


def split(rows: int, seed: int = 0) -> tuple[Ints, Ints]:
    """Return the rows to learn from and the third to measure on, at random."""
    order = np.random.default_rng(seed).permutation(rows)
    cut = round(rows * (1 - _HELD_OUT))
    return np.sort(order[:cut]), np.sort(order[cut:])


class Surrogate(NamedTuple):
    """One regressor of scikit-learn's an output; none where no column varies: then it says the means."""

    models: tuple[Any, ...]
    means: Floats

    def predict(self, columns: Floats) -> Floats:
        """Return (rows, K)."""
        if not self.models:
            return np.tile(self.means, (len(columns), 1))
        return np.column_stack([model.predict(columns) for model in self.models])


def fit(rows: Rows, train: Ints, seed: int = 0) -> Surrogate:
    """Learn the model's output from the features, half of which take part in each cut: else one of a pair does all."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    output = rows.output[train]
    models = [
        HistGradientBoostingRegressor(
            **_BOOSTING,
            max_features=0.5,
            categorical_features=list(rows.categorical),
            early_stopping=False,
            random_state=seed,
        ).fit(rows.columns[train], column)
        for column in (output.T if rows.names else ())
    ]
    return Surrogate(tuple(models), output.mean(axis=0))


def losses(
    surrogate: Surrogate, columns: Floats, targets: tuple[Floats, ...], groups: Ints, seed: int = 0
) -> tuple[Floats, ...]:
    """Return by target the squared error that each group of columns holds back: mean over 5 shuffles, at least 0.

    columns: (n, D). targets: (n, K), a row with NaN does not count. groups: (D,). The same five shuffles serve each
    group, so that features are compared under the same chance.
    """
    rng = np.random.default_rng(seed)
    orders = np.concatenate([rng.permutation(len(columns)) for _ in range(REPEATS)])
    again = [np.tile(target, (REPEATS, 1)) for target in targets]
    usual = [_squared_error(target, surrogate.predict(columns)) for target in targets]
    lost = np.zeros((len(targets), int(groups.max(initial=-1)) + 1))
    for group in range(lost.shape[1]):
        own = np.flatnonzero(groups == group)
        shuffled = np.tile(columns, (REPEATS, 1))
        shuffled[:, own] = columns[orders][:, own]
        said = surrogate.predict(shuffled)
        lost[:, group] = [_squared_error(target, said) for target in again]
        lost[:, group] -= usual
    return tuple(np.maximum(lost, 0.0))


def _squared_error(target: Floats, said: Floats) -> float:
    errors = ((target - said) ** 2).sum(axis=1)
    known = ~np.isnan(errors)
    return float(errors[known].mean()) if known.any() else 0.0


def _r2(target: Floats, said: Floats) -> float:
    """Return R2 over all outputs together; 0 where the target does not vary."""
    spread = float(target.var(axis=0).sum())
    return 1 - _squared_error(target, said) / spread if spread > 0 else 0.0
