"""Predictions whose label is known: counts from which every performance metric follows.

Losses are kept as whole units and 2**-32 parts, so their mean is off by at most 2**-33.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from exporter.business.columns import Columns
from exporter.performance.tables import CalibrationTable, ClassOutcomes, RegressionOutcomes, ScoreTable
from exporter.profile.counts import FRACTION, Placed, ones, place_sum, read_sum, whole_and_parts
from exporter.profile.numeric import NumericBins
from exporter.rows import Bools, Floats, Ints

EPSILON = float(np.finfo(np.float64).eps)
TENTHS = 10


class Outcomes(NamedTuple):
    """Rows with predictions and labels as numbers: class index (-1 is none of the classes) or value.

    prediction, label: float64, length n. scores: n x 1 (binary, of the positive class) or n x C, NaN where unknown;
    n x 0 where there are no scores. columns: what indicators of labelled rows read of log and label, by name. delay:
    seconds from prediction to label, NaN unknown; None where none is known. weight: how much each row counts, NaN
    unknown; None where all count alike.
    """

    prediction: Floats
    label: Floats
    scores: Floats
    columns: Columns = MappingProxyType({})
    delay: Floats | None = None
    weight: Floats | None = None


class ClassBins(NamedTuple):
    """Places for a classifier of C classes.

    Layout: confusion, C actual x (C + 1) predicted (the last: none of the classes); then, where there are scores,
    the sums of log loss, of Brier score and of the squares of both; per tenth of the confidence rows, hits and the sum
    of the confidence; of many classes, the rows by the actual class's place among the scores; then per scored class,
    per answer (not this class, this class), the score's cells. A binary model scores its class 1 only.
    """

    classes: tuple[str, ...]
    scores: tuple[NumericBins, ...]

    @property
    def size(self) -> int:
        return self.start(len(self.scores))

    @property
    def losses(self) -> int:
        return len(self.classes) * (len(self.classes) + 1)

    @property
    def calibration(self) -> int:
        return self.losses + 8

    @property
    def ranks(self) -> int:
        return self.calibration + 4 * TENTHS

    @property
    def ranked(self) -> int:
        return len(self.classes) if len(self.scores) > 1 else 0

    def start(self, scored: int) -> int:
        """Return the place of the first cell of a scored class."""
        start = self.ranks + self.ranked if self.scores else self.losses
        return start + sum(2 * bins.missing for bins in self.scores[:scored])


class RegressionBins(NamedTuple):
    """Places for a regression: the number of rows, then sums in units of `scale` about `center`."""

    center: float
    scale: float

    @property
    def size(self) -> int:
        return 1 + 2 * len(_SUMS)


_SUMS = (
    *("error", "absolute", "squared", "label", "label_squared", "label_absolute", "symmetric"),
    *("fourth", "symmetric_squares", "error_label", "squared_label", "squared_label_squared"),
    *("label_cubed", "label_fourth"),
)


def _times(row: Ints, place: Ints, weight: Ints | None) -> Placed:
    """Count rows at their places, as often as their weight (in whole units) says."""
    return ones(row, place) if weight is None else Placed(row, place, weight[row])


def _weighted(row: Ints, values: Floats, weight: Ints | None) -> Floats:
    return values if weight is None else values * weight[row]


def place_classes(bins: ClassBins, rows: Outcomes, weight: Ints | None = None, cells: bool = True) -> list[Placed]:
    """Place labelled rows of a classifier; a label that is none of the classes must be left out before.

    weight: how often each row counts; None is once. cells: also in the cells of the scores.
    """
    count = len(bins.classes)
    every = np.arange(len(rows.label), dtype=np.int64)
    label = rows.label.astype(np.int64)
    predicted = np.where(rows.prediction < 0, count, rows.prediction).astype(np.int64)
    placed = [_times(every, label * (count + 1) + predicted, weight)]
    if not bins.scores:
        return placed
    scored = every[is_scored(rows.scores)]
    scores, actual = rows.scores[scored], label[scored]
    binary = scores.shape[1] == 1
    full = np.column_stack([1 - scores[:, 0], scores[:, 0]]) if binary else scores
    of_label = full[np.arange(len(scored)), actual]
    log_loss = -np.log(np.clip(of_label, EPSILON, 1 - EPSILON))
    squared = (1 - of_label) ** 2 if binary else (full**2).sum(axis=1) - 2 * of_label + 1
    for number, loss in enumerate((log_loss, squared, log_loss**2, squared**2)):
        placed += place_sum(scored, bins.losses + 2 * number, _weighted(scored, loss, weight))
    placed += _place_calibration(bins, scored, full, actual, weight)
    if bins.ranked:
        placed.append(_times(scored, bins.ranks + _rank(full, actual), weight))
    for number, score_bins in enumerate(bins.scores if cells else ()):
        values = scores[:, number]
        hit = actual == (1 if binary else number)
        cell = bins.start(number) + hit * score_bins.missing + cell_of(score_bins, values)
        placed.append(_times(scored, cell, weight))
    return placed


def is_scored(scores: Floats) -> Bools:
    """Return which rows (of rows x columns) have probabilities."""
    return np.asarray(((scores >= 0) & (scores <= 1)).all(axis=1))


def cell_of(bins: NumericBins, values: Floats) -> Ints:
    """Return the cell of each value; none of them NaN."""
    index = np.searchsorted(bins.knots, values).astype(np.int64)
    at_knot = bins.knots[np.minimum(index, len(bins.knots) - 1)] == values
    return np.asarray(2 * index + at_knot, np.int64)


def _place_calibration(bins: ClassBins, rows: Ints, full: Floats, actual: Ints, weight: Ints | None) -> list[Placed]:
    """Place scored rows by the confidence, whole tenths up; the sum of the confidence and those that came true."""
    best = np.ones(len(full), np.int64) if len(bins.scores) == 1 else full.argmax(axis=1)
    confidence = full[np.arange(len(full)), best]
    place = bins.calibration + 4 * np.minimum((confidence * TENTHS).astype(np.int64), TENTHS - 1)
    hit = best == actual
    whole, parts = whole_and_parts(_weighted(rows, confidence, weight))
    sums = (Placed(rows, place + 2, whole), Placed(rows, place + 3, parts))
    return [_times(rows, place, weight), _times(rows[hit], place[hit] + 1, weight), *sums]


def _rank(full: Floats, actual: Ints) -> Ints:
    """Return how many scores are above that of the actual class; of equal ones a later class is, as in sklearn."""
    own = full[np.arange(len(full)), actual][:, None]
    later = np.arange(full.shape[1]) > actual[:, None]
    return np.asarray(((full > own) | ((full == own) & later)).sum(axis=1), np.int64)


def read_classes(bins: ClassBins, vector: Ints) -> ClassOutcomes:
    """Turn the slice of a profile into what the classification metrics read."""
    count = len(bins.classes)
    tables = []
    for number, score_bins in enumerate(bins.scores):
        start = bins.start(number)
        both = vector[start : start + 2 * score_bins.missing].reshape(2, -1)
        tables.append(ScoreTable(both[0], both[1]))
    losses = bins.losses
    sums = [read_sum(vector, losses + 2 * number) if bins.scores else 0.0 for number in range(4)]
    log_loss, squared, log_loss_squares, squared_squares = sums
    cells = vector[bins.calibration : bins.ranks].reshape(-1, 4) if bins.scores else np.zeros((TENTHS, 4), np.int64)
    return ClassOutcomes(
        confusion=vector[:losses].reshape(count, count + 1),
        log_loss=log_loss,
        squared=squared,
        log_loss_squares=log_loss_squares,
        squared_squares=squared_squares,
        calibration=CalibrationTable(cells[:, 0], cells[:, 1], cells[:, 2] + cells[:, 3] / FRACTION),
        ranks=vector[bins.ranks : bins.ranks + bins.ranked],
        scores=tuple(tables),
    )


def place_regression(bins: RegressionBins, rows: Outcomes, weight: Ints | None = None) -> list[Placed]:
    """Place labelled rows of a regression; NaN must be left out before. weight: as for classes."""
    every = np.arange(len(rows.label), dtype=np.int64)
    error = (rows.prediction - rows.label) / bins.scale
    label = (rows.label - bins.center) / bins.scale
    size = np.abs(rows.label) + np.abs(rows.prediction)
    with np.errstate(invalid="ignore", divide="ignore"):
        symmetric = np.where(size > 0, 2 * np.abs(rows.prediction - rows.label) / size, 0.0)
    of_label, absolute, squared = np.abs(rows.label) / bins.scale, np.abs(error), error**2
    sums = (error, absolute, squared, label, label**2, of_label, symmetric)
    more = (squared**2, symmetric**2, absolute * of_label, squared * label, squared * label**2, label**3, label**4)
    placed = [_times(every, np.zeros(len(every), np.int64), weight)]
    for number, values in enumerate((*sums, *more)):
        placed += place_sum(every, 1 + 2 * number, _weighted(every, values, weight))
    return placed


def read_regression(bins: RegressionBins, vector: Ints) -> RegressionOutcomes:
    """Turn the slice of a profile into what the regression metrics read, in the label's unit."""
    sums = {name: read_sum(vector, 1 + 2 * number) for number, name in enumerate(_SUMS)}
    scale = bins.scale
    rows = int(vector[0])
    mean = sums["label"] / rows if rows else 0.0
    spread = sums["label_squared"] - rows * mean**2
    if spread <= rows * ((1 + 2 * abs(mean)) / (2 * FRACTION) + mean**2 * 2.0**-50):
        spread = 0.0  # no more than the sums' rounding: all labels are equal
    return RegressionOutcomes(
        rows=rows,
        error=sums["error"] * scale,
        absolute=sums["absolute"] * scale,
        squared=sums["squared"] * scale**2,
        label_spread=spread * scale**2,
        label_absolute=sums["label_absolute"] * scale,
        symmetric=sums["symmetric"],
        fourth=sums["fourth"] * scale**4,
        symmetric_squares=sums["symmetric_squares"],
        label_squares=rows * bins.center**2
        + 2 * bins.center * scale * sums["label"]
        + scale**2 * sums["label_squared"],
        error_label=sums["error_label"] * scale**2,
        squared_spread=_squared_spread(sums, mean) * scale**4,
        label_fourth=_label_fourth(sums, mean, rows) * scale**4,
    )


def _squared_spread(sums: dict[str, float], mean: float) -> float:
    """Return the sum of error^2 (label - mean)^2."""
    found = sums["squared_label_squared"] - 2 * mean * sums["squared_label"] + mean**2 * sums["squared"]
    return max(found, 0.0)


def _label_fourth(sums: dict[str, float], mean: float, rows: int) -> float:
    """Return the sum of (label - mean)^4."""
    found = sums["label_fourth"] - 4 * mean * sums["label_cubed"] + 6 * mean**2 * sums["label_squared"]
    return max(found - 4 * mean**3 * sums["label"] + rows * mean**4, 0.0)
