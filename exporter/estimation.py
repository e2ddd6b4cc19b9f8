"""Labelled reference rows -> what estimates performance where labels are missing. Pure; seeded."""

from __future__ import annotations

import numpy as np

from exporter.performance import calibrators, losses
from exporter.performance.losses import MIN_ROWS, Losses
from exporter.profile.estimate import Estimator, columns_of
from exporter.profile.model import Batch, ModelBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.rows import Bools, CategoryColumn


def learn(bins: ModelBins, batch: Batch, outcomes: Outcomes, labelled: Bools) -> Estimator | None:
    """Learn calibration (classifiers with scores) or expected losses (regressions) from the labelled rows.

    None with fewer than 200 such rows (for a classifier: that have all scores), or where there are no scores.
    """
    if isinstance(bins.outcomes, ClassBins) and bins.outcomes.scores:
        scores = outcomes.scores
        chosen = labelled & ((scores >= 0) & (scores <= 1)).all(axis=1)
        if chosen.sum() < MIN_ROWS:
            return None
        return calibrators.fit(scores[chosen], outcomes.label[chosen])
    if isinstance(bins.outcomes, RegressionBins) and labelled.sum() >= MIN_ROWS:
        return _losses(bins.outcomes.scale, batch, outcomes, labelled)
    return None


def _losses(scale: float, batch: Batch, outcomes: Outcomes, labelled: Bools) -> Losses:
    rows = np.flatnonzero(labelled)
    error = (outcomes.prediction[rows] - outcomes.label[rows]) / scale
    orders = {
        name: losses.order_of(column.names, column.codes[rows], np.abs(error))
        for name, column in batch.features.items()
        if isinstance(column, CategoryColumn)
    }
    columns = columns_of(batch.features, orders, outcomes.prediction)[rows]
    return Losses(tuple(batch.features), orders, *losses.fit(columns, error), scale, len(rows))
