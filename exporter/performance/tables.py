"""What the performance metrics read: counts and sums of labelled rows, nothing else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class ScoreTable(NamedTuple):
    """Rows per cell of a score, in increasing order of the score, without and with the class in question."""

    negative: Ints
    positive: Ints


class CalibrationTable(NamedTuple):
    """Scored rows per tenth of the confidence: rows, those that came true, and the sum of the confidence.

    Confidence is the score of the positive class; with many classes the highest score, true if that class is actual.
    """

    rows: Ints
    hits: Ints
    total: Floats


class ClassOutcomes(NamedTuple):
    """Labelled rows of a classifier of C classes.

    confusion: C actual x (C + 1) predicted, the last column for predictions that name none of the classes.
    log_loss, squared: sums over the scored rows; the same of the losses' squares. scores: one table a scored class
    (binary: of class 1). ranks: scored rows by the place of the actual class among the scores, the highest first; of a
    binary model, none.
    """

    confusion: Ints
    log_loss: float
    squared: float
    log_loss_squares: float
    squared_squares: float
    calibration: CalibrationTable
    ranks: Ints
    scores: tuple[ScoreTable, ...]

    @property
    def rows(self) -> float:
        rows: float = self.confusion.sum().item()
        return rows

    @property
    def scored(self) -> float:
        table = self.scores[0]
        rows: float = (table.negative.sum() + table.positive.sum()).item()
        return rows

    def scaled(self, factor: float) -> ClassOutcomes:
        """Return all counts and sums times a factor; counts are real numbers then."""
        return ClassOutcomes(
            confusion=np.multiply(self.confusion, factor),
            log_loss=self.log_loss * factor,
            squared=self.squared * factor,
            log_loss_squares=self.log_loss_squares * factor,
            squared_squares=self.squared_squares * factor,
            calibration=CalibrationTable(*(np.multiply(own, factor) for own in self.calibration)),
            ranks=np.multiply(self.ranks, factor),
            scores=tuple(ScoreTable(*(np.multiply(own, factor) for own in table)) for table in self.scores),
        )


class RegressionOutcomes(NamedTuple):
    """Labelled rows of a regression: sums over rows, in the label's unit; error is prediction - label.

    label_spread: sum of (label - mean label)^2. symmetric: sum of 2 |error| / (|label| + |prediction|). The others are
    for intervals: sums of error^4, symmetric^2, label^2, |error| |label|, and with d = label - mean label of
    error^2 d^2 and d^4.
    """

    rows: float
    error: float
    absolute: float
    squared: float
    label_spread: float
    label_absolute: float
    symmetric: float
    fourth: float
    symmetric_squares: float
    label_squares: float
    error_label: float
    squared_spread: float
    label_fourth: float

    def scaled(self, factor: float) -> RegressionOutcomes:
        """Return the rows and all sums times a factor."""
        return RegressionOutcomes(*(own * factor for own in self))
