"""Labelled reference rows -> what estimates performance where labels are missing. Pure; seeded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.drift.calibration import LEAST_UNITS
from exporter.parts import estimated, performance
from exporter.performance import calibrators, losses
from exporter.performance.calibrators import Calibrators
from exporter.performance.expected import Misses
from exporter.performance.losses import MIN_ROWS, Losses
from exporter.performance.metrics import METRICS
from exporter.profile import estimate
from exporter.profile.counts import Placed, add_into, gather
from exporter.profile.estimate import Estimator, columns_of
from exporter.profile.model import Batch, ModelBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.rows import Bools, CategoryColumn, Ints
from exporter.settings import Model, Task

DAY = 86_400
_FOLDS = 3
_LEAST_CHUNKS, _LEAST_ROWS = 5, 20


class Learned(NamedTuple):
    """What estimates performance, and what is placed of labelled rows by others that were learned without their days.

    Both None or empty where nothing can be learned.
    """

    estimator: Estimator | None
    held_out: list[Placed]


NOTHING = Learned(None, [])


def learn(bins: ModelBins, batch: Batch, outcomes: Outcomes, labelled: Bools, day: Ints | None = None) -> Learned:
    """Learn calibration (classifiers with scores) or expected losses (regressions) from the labelled rows.

    day: number of each row's day, where known. Nothing with fewer than 200 such rows (for a classifier: that have all
    scores), or where there are no scores.
    """
    if isinstance(bins.outcomes, ClassBins) and bins.outcomes.scores:
        scores = outcomes.scores
        chosen = labelled & ((scores >= 0) & (scores <= 1)).all(axis=1)
        if chosen.sum() < MIN_ROWS:
            return NOTHING
        found = calibrators.fit(scores[chosen], outcomes.label[chosen])
        return Learned(found, _expected(bins.outcomes, found, outcomes, np.flatnonzero(chosen), day))
    if isinstance(bins.outcomes, RegressionBins) and labelled.sum() >= MIN_ROWS:
        return _losses(bins.outcomes.scale, batch, outcomes, labelled, day)
    return NOTHING


def _expected(bins: ClassBins, found: Calibrators, outcomes: Outcomes, rows: Ints, day: Ints | None) -> list[Placed]:
    """Place rows by calibrators that were learned from the other two thirds of the days."""
    if day is None:
        return []
    days = np.unique(day[rows], return_inverse=True)[1]
    third = days * _FOLDS // (days.max() + 1)
    placed = []
    for number in range(_FOLDS):
        own, others = rows[third == number], rows[third != number]
        if len(own) and len(others):
            fold = calibrators.again(found, outcomes.scores[others], outcomes.label[others])
            parts = estimate.place_classes(fold, bins, outcomes.prediction[own], outcomes.scores[own])
            placed += [part._replace(row=own[part.row]) for part in parts]
    return placed


def _losses(scale: float, batch: Batch, outcomes: Outcomes, labelled: Bools, day: Ints | None) -> Learned:
    rows = np.flatnonzero(labelled)
    error = (outcomes.prediction[rows] - outcomes.label[rows]) / scale
    orders = {
        name: losses.order_of(column.names, column.codes[rows], np.abs(error))
        for name, column in batch.features.items()
        if isinstance(column, CategoryColumn)
    }
    columns = columns_of(batch.features, orders, outcomes.prediction)[rows]
    absolute, squared, held = losses.fit(columns, error, None if day is None else day[rows])
    placed = estimate.place_expected(rows[held.rows], held.absolute, held.squared) if day is not None else []
    return Learned(Losses(tuple(batch.features), orders, absolute, squared, scale, len(rows)), placed)


def misses(
    model: Model, bins: ModelBins, placed: list[Placed], day: Ints | None, labelled: Bools
) -> dict[str, dict[str, Misses]]:
    """Return by window and metric how far off the estimate was on chunks of the reference as long as the window.

    placed: of the labelled rows, their outcomes, and what is expected of them by an estimator that had not seen them.
    A chunk is as many days in a row as the window has, fewer where there would be fewer than five chunks; none are
    known from fewer than 14 days. Chunks with fewer than half of the median rows are left out.
    """
    rows = np.flatnonzero(labelled)
    if bins.estimator is None or day is None or not len(rows) or not placed:
        return {}
    number = np.zeros(len(day), np.int64)
    days, number[rows] = np.unique(day[rows], return_inverse=True)
    if len(days) < LEAST_UNITS:
        return {}
    lengths = {w.name: min(max(w.seconds // DAY, 1), len(days) // _LEAST_CHUNKS) for w in model.windows}
    known = {length: _misses(model.task, bins, placed, number // length) for length in set(lengths.values())}
    return {window: known[length] for window, length in lengths.items()}


def _misses(task: Task, bins: ModelBins, placed: list[Placed], chunk: Ints) -> dict[str, Misses]:
    found: dict[str, list[tuple[float, float]]] = {}
    vectors = []
    for counts in gather(placed, chunk, int(chunk.max()) + 1, bins.size):
        vector = np.zeros(bins.size, np.int64)
        add_into(vector, counts)
        vectors.append(vector)
    least = max(float(np.median([bins.estimated_rows(one) for one in vectors])) / 2, _LEAST_ROWS)
    assert bins.estimator is not None
    for vector in vectors:
        rows = bins.estimated_rows(vector)
        if rows < least:
            continue
        realised = performance(task, bins, vector, tuple(METRICS[task]))
        for metric, one in estimated(task, bins, vector, tuple(METRICS[task])).items():
            value = realised[metric]
            if value is not None and one.deviation is not None:
                chance = one.deviation**2 * (1 + rows / (bins.estimator.rows * (1 - 1 / _FOLDS)))
                found.setdefault(metric, []).append(((one.value - value) ** 2, chance))
    return {name: Misses(max(float(np.mean([a - b for a, b in own])), 0.0), len(own)) for name, own in found.items()}
