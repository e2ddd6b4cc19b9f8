"""Predictions whose label is not needed: sums of what is expected of them, from which estimated performance follows.

A probability is kept in 2**-32 parts, so 2**31 rows fit; losses as in `outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from exporter.performance.calibrators import Calibrators
from exporter.performance.expected import Cells, ExpectedClasses, ExpectedErrors
from exporter.performance.losses import Losses
from exporter.profile.counts import FRACTION, Placed, ones, place_sum, read_sum
from exporter.profile.outcome import EPSILON, ClassBins, cell_of
from exporter.rows import CategoryColumn, Floats, Ints, NumericColumn

Estimator = Calibrators | Losses
Column = NumericColumn | CategoryColumn
_SUMS = ("log_loss", "squared", "log_loss_variance", "squared_variance")
_ERRORS = ("absolute", "absolute_squared", "squared", "squared_squared")


def size(estimator: Estimator, classes: ClassBins | None) -> int:
    """Return the number of places.

    A classifier of C classes: expected confusion, C actual x (C + 1) predicted; spread, C + 1 predicted; four sums;
    per scored class rows and expected hits of each of the score's cells. A regression: rows and four sums.
    """
    if isinstance(estimator, Losses):
        return 1 + 2 * len(_ERRORS)
    assert classes is not None
    return _sums(classes) + 2 * len(_SUMS) + sum(2 * bins.missing for bins in classes.scores)


def _sums(classes: ClassBins) -> int:
    return classes.losses + len(classes.classes) + 1


def place_classes(calibrators: Calibrators, bins: ClassBins, prediction: Floats, scores: Floats) -> list[Placed]:
    """Place rows of a classifier: prediction (n,) as class index (-1: none of them), scores (n, S).

    A row counts where all its scores are from 0 to 1.
    """
    row = np.flatnonzero(((scores >= 0) & (scores <= 1)).all(axis=1))
    scores = scores[row]
    chance = calibrators.probabilities(scores)
    count = len(bins.classes)
    predicted = np.where(prediction[row] < 0, count, prediction[row]).astype(np.int64)
    placed = [_parts(row, number * (count + 1) + predicted, chance[:, number]) for number in range(count)]
    placed.append(_parts(row, bins.losses + predicted, 1 - (chance**2).sum(axis=1)))
    for number, (mean, variance) in enumerate(_expected(scores, chance)):
        placed += place_sum(row, _sums(bins) + 2 * number, mean)
        placed += place_sum(row, _sums(bins) + 2 * (2 + number), variance)
    start = _sums(bins) + 2 * len(_SUMS)
    for number, score_bins in enumerate(bins.scores):
        cell = start + cell_of(score_bins, scores[:, number])
        hit = chance[:, 1 if len(bins.scores) == 1 else number]
        placed += [ones(row, cell), _parts(row, cell + score_bins.missing, hit)]
        start += 2 * score_bins.missing
    return placed


def _parts(row: Ints, place: Ints, values: Floats) -> Placed:
    return Placed(row, place, np.rint(values * FRACTION).astype(np.int64))


def _expected(scores: Floats, chance: Floats) -> list[tuple[Floats, Floats]]:
    """Return mean and variance, over the label, of each row's log loss and of its squared error of probabilities."""
    binary = scores.shape[1] == 1
    full = np.column_stack([1 - scores[:, 0], scores[:, 0]]) if binary else scores
    log_loss = -np.log(np.clip(full, EPSILON, 1 - EPSILON))
    squared = (full**2).sum(axis=1, keepdims=True) - 2 * full + 1
    found = []
    for loss in (log_loss, squared / 2 if binary else squared):
        mean = (chance * loss).sum(axis=1)
        found.append((mean, (chance * (loss - mean[:, None]) ** 2).sum(axis=1)))
    return found


def read_classes(bins: ClassBins, vector: Ints) -> ExpectedClasses:
    """Turn the slice of a profile into what the metrics read."""
    count, start = len(bins.classes), _sums(bins)
    sums = {name: read_sum(vector, start + 2 * number) for number, name in enumerate(_SUMS)}
    start += 2 * len(_SUMS)
    tables = []
    for score_bins in bins.scores:
        rows, hits = vector[start : start + 2 * score_bins.missing].reshape(2, -1)
        positive = hits / FRACTION
        tables.append(Cells(np.maximum(rows - positive, 0.0), positive))
        start += 2 * score_bins.missing
    return ExpectedClasses(
        confusion=vector[: bins.losses].reshape(count, count + 1) / FRACTION,
        spread=vector[bins.losses : _sums(bins)] / FRACTION,
        scores=tuple(tables),
        **sums,
    )


def columns_of(features: Mapping[str, Column], orders: Mapping[str, Sequence[str]], prediction: Floats) -> Floats:
    """Return what the loss model reads: numbers, categories by their place, and the prediction; NaN is missing."""
    return np.column_stack([*(_numbers(column, orders.get(name, ())) for name, column in features.items()), prediction])


def _numbers(column: Column, order: Sequence[str]) -> Floats:
    if isinstance(column, NumericColumn):
        return np.where(column.valid, column.values, np.nan)
    place = {category: float(number) for number, category in enumerate(order)}
    return np.array([*(place.get(category, np.nan) for category in column.names), np.nan])[column.codes]


def place_errors(losses: Losses, columns: Floats) -> list[Placed]:
    """Place rows of a regression; columns as `columns_of`. A row without a prediction does not count."""
    row = np.flatnonzero(~np.isnan(columns[:, -1]))
    return place_expected(row, *losses.expected(columns[row]))


def place_expected(row: Ints, absolute: Floats, squared: Floats) -> list[Placed]:
    """Place what is expected of the losses of rows."""
    placed = [ones(row, np.zeros(len(row), np.int64))]
    for number, values in enumerate((absolute, absolute**2, squared, squared**2)):
        placed += place_sum(row, 1 + 2 * number, values)
    return placed


def read_errors(losses: Losses, vector: Ints) -> ExpectedErrors:
    """Turn the slice of a profile into sums in the label's unit."""
    sums = {name: read_sum(vector, 1 + 2 * number) for number, name in enumerate(_ERRORS)}
    scale = losses.scale
    return ExpectedErrors(
        rows=int(vector[0]),
        absolute=sums["absolute"] * scale,
        squared=sums["squared"] * scale**2,
        absolute_variance=sums["absolute_squared"] * losses.absolute.noise * scale**2,
        squared_variance=sums["squared_squared"] * losses.squared.noise * scale**4,
    )


def rows(estimator: Estimator, classes: ClassBins | None, vector: Ints) -> int:
    """Return how many rows the estimate is of."""
    if isinstance(estimator, Losses):
        return int(vector[0])
    assert classes is not None
    start = _sums(classes) + 2 * len(_SUMS)
    return int(vector[start : start + classes.scores[0].missing].sum())
