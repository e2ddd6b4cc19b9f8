"""Labelled reference rows -> what estimates performance where labels are missing. Pure; seeded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from exporter.drift.calibration import LEAST_UNITS
from exporter.parts import estimated, performance
from exporter.performance import calibrators, losses
from exporter.performance.losses import MIN_ROWS, Losses
from exporter.performance.metrics import METRICS
from exporter.profile.estimate import Estimator, columns_of
from exporter.profile.model import Batch, ModelBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.rows import Bools, CategoryColumn, Ints
from exporter.settings import Task

_LEAST_A_DAY = 20


def learn(
    bins: ModelBins, batch: Batch, outcomes: Outcomes, labelled: Bools, day: Ints | None = None
) -> Estimator | None:
    """Learn calibration (classifiers with scores) or expected losses (regressions) from the labelled rows.

    day: number of each row's day, where known. None with fewer than 200 such rows (for a classifier: that have all
    scores), or where there are no scores.
    """
    if isinstance(bins.outcomes, ClassBins) and bins.outcomes.scores:
        scores = outcomes.scores
        chosen = labelled & ((scores >= 0) & (scores <= 1)).all(axis=1)
        if chosen.sum() < MIN_ROWS:
            return None
        return calibrators.fit(scores[chosen], outcomes.label[chosen])
    if isinstance(bins.outcomes, RegressionBins) and labelled.sum() >= MIN_ROWS:
        return _losses(bins.outcomes.scale, batch, outcomes, labelled, day)
    return None


def _losses(scale: float, batch: Batch, outcomes: Outcomes, labelled: Bools, day: Ints | None) -> Losses:
    rows = np.flatnonzero(labelled)
    error = (outcomes.prediction[rows] - outcomes.label[rows]) / scale
    orders = {
        name: losses.order_of(column.names, column.codes[rows], np.abs(error))
        for name, column in batch.features.items()
        if isinstance(column, CategoryColumn)
    }
    columns = columns_of(batch.features, orders, outcomes.prediction)[rows]
    return Losses(
        tuple(batch.features), orders, *losses.fit(columns, error, None if day is None else day[rows]), scale, len(rows)
    )


def dispersions(task: Task, bins: ModelBins, days: Iterable[Ints]) -> dict[str, float]:
    """Return by metric how much more the days' realised values vary about their estimates than chance alone has it.

    days: dense profiles of the reference's days. Sum of squared differences over sum of variances, at least 1; of a
    regression it is known from the days held out. 1 with fewer than 14 days of 20 labelled rows each.
    """
    if isinstance(bins.estimator, Losses):
        return {"mae": bins.estimator.absolute.dispersion, "rmse": bins.estimator.squared.dispersion}
    differences: dict[str, list[tuple[float, float]]] = {}
    for vector in days if bins.estimator is not None else ():
        if bins.labelled_rows(vector) >= _LEAST_A_DAY:
            found = estimated(task, bins, vector, tuple(METRICS[task]))
            realised = performance(task, bins, vector, tuple(found))
            for metric, one in found.items():
                value = realised[metric]
                if value is not None and one.deviation is not None:
                    differences.setdefault(metric, []).append((one.value - value, one.deviation))
    return {metric: _ratio(own) for metric, own in differences.items() if len(own) >= LEAST_UNITS}


def _ratio(differences: Sequence[tuple[float, float]]) -> float:
    apart, usual = (np.array(differences) ** 2).sum(axis=0).tolist()
    return max(apart / usual, 1.0) if usual > 0 else 1.0
