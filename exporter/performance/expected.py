"""Expected performance of rows whose label is not known: from sums of probabilities and of expected losses.

Values are the metrics' own functions at the expected counts, as NannyML's CBPE has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.performance.metrics import METRICS
from exporter.special import special

Floats = NDArray[np.float64]
SIGMAS = 1.959963984540054  # 95 % of a normal distribution lie within as many standard deviations
MOST_CLASSES = 20  # of a confusion table whose metrics get an interval
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("log_loss", "mae", "rmse"), (0.0, math.inf)),
    "mcc": (-1.0, 1.0),
    "brier": (0.0, 2.0),
}


class Misses(NamedTuple):
    """How far estimates were off on chunks of the reference that they had not been learned from, beyond chance.

    variance: mean squared error less what chance gives it, at least 0. chunks: how many that is known from.
    """

    variance: float
    chunks: int


class Estimate(NamedTuple):
    """An expected metric, and the standard deviation of the realised one about it; None where that is not known."""

    value: float
    deviation: float | None = None


_OF_ROWS = ("calibration_error", "brier_", "top_")  # metrics that read more of labelled rows than is expected here


class Cells(NamedTuple):
    """Expected rows per cell of a score, as `ScoreTable`; each is a sum of probabilities."""

    negative: Floats
    positive: Floats


class ExpectedClasses(NamedTuple):
    """What is expected of n rows of a classifier of C classes; named as `ClassOutcomes`, so metrics read it alike.

    confusion: C actual x (C + 1) predicted. spread: (C + 1,), per predicted class the sum over its rows of
    1 - sum of squared probabilities. log_loss, squared and their variances: sums. scores: one table a scored class.
    """

    confusion: Floats
    spread: Floats
    log_loss: float
    squared: float
    log_loss_variance: float
    squared_variance: float
    scores: tuple[Cells, ...]

    @property
    def rows(self) -> float:
        return float(self.confusion.sum())

    @property
    def scored(self) -> float:
        return self.rows


class ExpectedErrors(NamedTuple):
    """What is expected of the errors of a regression: sums over rows, in the label's unit, and their variances."""

    rows: int
    absolute: float
    squared: float
    absolute_variance: float
    squared_variance: float


def of_errors(sums: ExpectedErrors, wanted: tuple[str, ...] | None) -> dict[str, Estimate]:
    """Return the mean absolute error and the root of the mean squared error, those that are wanted (None: both)."""
    if not sums.rows:
        return {}
    rmse = math.sqrt(sums.squared / sums.rows)
    own = math.sqrt(sums.squared_variance) / sums.rows
    found = {
        "mae": Estimate(sums.absolute / sums.rows, math.sqrt(sums.absolute_variance) / sums.rows),
        "rmse": Estimate(rmse, own / (2 * rmse) if rmse else None),
    }
    return {name: one for name, one in found.items() if wanted is None or name in wanted}


def of_classes(task: str, sums: ExpectedClasses, wanted: tuple[str, ...] | None) -> dict[str, Estimate]:
    """Return the wanted metrics (None: the task's default ones); those without a value are left out."""
    table = METRICS[task]
    names = wanted if wanted is not None else tuple(name for name, metric in table.items() if metric.default)
    found = {}
    for name in names:
        if name not in table or name.startswith(_OF_ROWS):
            continue
        value = table[name].value(sums)
        if value is not None:
            found[name] = Estimate(value, _deviation(name, table[name].value, sums))
    return found


def interval(
    metric: str, estimate: Estimate, rows: float, learned: int, misses: Misses | None = None
) -> tuple[float, float] | None:
    """Return where 95 % of realised values are: the error of `rows` labels, of the `learned` ones, and of learning.

    The estimate was learned from rows that have a sampling error of their own, so the variance is that of the window's
    mean, (1 + rows / learned) times; and what chunks of the reference were off by beyond that. As many degrees of
    freedom as both are worth (Satterthwaite 1946). None where the deviation is not known.
    """
    if estimate.deviation is None or not learned:
        return None
    chance = estimate.deviation**2 * (1 + rows / learned)
    variance, sigmas = chance, SIGMAS
    if misses is not None and misses.variance > 0:
        variance += misses.variance
        sigmas = float(-special.stdtrit(misses.chunks * (variance / misses.variance) ** 2, 0.025))
    half = sigmas * math.sqrt(variance)
    low, high = _RANGES.get(metric, (0.0, 1.0))
    return max(estimate.value - half, low), min(estimate.value + half, high)


def _deviation(name: str, value: Callable[[Any], float | None], sums: ExpectedClasses) -> float | None:
    if name == "log_loss":
        return math.sqrt(sums.log_loss_variance) / sums.rows
    if name == "brier":
        return math.sqrt(sums.squared_variance) / sums.rows
    if name in ("roc_auc", "roc_auc_ovr_macro"):
        return float(np.mean([_area_deviation(table) for table in sums.scores]))  # at most: they may move together
    if METRICS["binary"].get(name) and METRICS["binary"][name].scores:
        return None
    return _confusion_deviation(value, sums)


def _confusion_deviation(value: Callable[[Any], float | None], sums: ExpectedClasses) -> float | None:
    """Return the deviation of a metric of the confusion table, by its slope in each cell (the delta method).

    The labels of the rows of one predicted class vary as those of a class share would, scaled so that the sum of the
    classes' variances is the rows' own (Poisson-binomial); that is exact for two classes.
    """
    table = sums.confusion
    if len(table) > MOST_CLASSES:
        return None
    step = max(sums.rows, 1.0) * 1e-6
    here = value(sums)
    slope = np.zeros(table.shape)
    for cell in np.argwhere(table > 0):
        moved = table.copy()
        moved[tuple(cell)] += step
        there = value(sums._replace(confusion=moved))
        if here is None or there is None:
            return None
        slope[tuple(cell)] = (there - here) / step
    rows = table.sum(axis=0)
    used = rows > 0
    share = table[:, used] / rows[used]
    own = (slope[:, used] ** 2 * share).sum(axis=0) - (slope[:, used] * share).sum(axis=0) ** 2
    alone = 1 - (share**2).sum(axis=0)
    scaled = np.divide(sums.spread[used], alone, out=np.zeros(len(alone)), where=alone > 0)
    return math.sqrt(max(float(own @ scaled), 0.0))


def _area_deviation(table: Cells) -> float:
    """Return the deviation of the area under the ROC curve over the labels: its slope in each row's label."""
    positive, negative = table.positive.sum(), table.negative.sum()
    pairs = positive * negative
    if not pairs:
        return 0.0
    below = np.cumsum(table.negative) - table.negative / 2
    above = positive - np.cumsum(table.positive) + table.positive / 2
    area = float(table.positive @ below) / pairs
    slope = (below - above) / pairs - area / positive + area / negative
    count = table.positive + table.negative
    variance = np.divide(table.positive * table.negative, count, out=np.zeros(len(count)), where=count > 0)
    return math.sqrt(float(slope**2 @ variance))
