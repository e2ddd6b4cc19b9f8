"""What the performance metrics read: counts and sums of labelled rows, nothing else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class ScoreTable(NamedTuple):
    """Rows per cell of a score, in increasing order of the score, without and with the class in question."""

    negative: Ints
    positive: Ints


class ClassOutcomes(NamedTuple):
    """Labelled rows of a classifier of C classes.

    confusion: C actual x (C + 1) predicted, the last column for predictions that name none of the classes.
    log_loss, squared: sums over the scored rows. scores: one table a scored class (binary: of class 1).
    """

    confusion: Ints
    log_loss: float
    squared: float
    scores: tuple[ScoreTable, ...]

    @property
    def rows(self) -> int:
        return int(self.confusion.sum())

    @property
    def scored(self) -> int:
        table = self.scores[0]
        return int(table.negative.sum() + table.positive.sum())


class RegressionOutcomes(NamedTuple):
    """Labelled rows of a regression: sums over rows, in the label's unit; error is prediction - label.

    label_spread: sum of (label - mean label)^2. symmetric: sum of 2 |error| / (|label| + |prediction|).
    """

    rows: int
    error: float
    absolute: float
    squared: float
    label_spread: float
    label_absolute: float
    symmetric: float
