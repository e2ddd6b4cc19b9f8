"""Distances from an earlier window, as they are published: in the unit that their thresholds are learned in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import energy_distance, wasserstein_distance

from exporter.evaluate.drift import drift
from exporter.evaluate.views import View
from exporter.reference import fit
from tests.unit.test_calibration import DAY, START, model, rows, vector


def seasonal(seed: int, days: int) -> pa.Table:
    """Return days whose level swings three times as wide in a month as the rows of a day do."""
    table = rows(seed, days, features=2)
    day = (np.asarray(table["t"]) - START) // DAY
    moved = np.asarray(table["x1"]) + 4 * np.sin(2 * np.pi * day / 28)
    return table.set_column(table.column_names.index("x1"), "x1", pa.array(moved))


def test_distances_from_the_day_before_are_in_the_references_standard_deviations() -> None:
    """A day scatters less than a season: in its own deviations nearly each day would be far from the one before."""
    own = model({"baselines": ["reference", "previous"], "numeric": ["ks", "wasserstein", "energy"]})
    reference, later = seasonal(1, 42), seasonal(2, 28)
    made = fit(own, reference)
    day = (np.asarray(later["t"]) - START) // DAY
    days = [later.filter(pa.array(day == d)) for d in range(28)]
    alarms = 0.0
    for before, now in pairwise(days):
        view = View("1", "24h", 0, DAY, vector(made, own, now), {}, {"previous": vector(made, own, before)})
        found = drift(own, made, [view]).readings
        scores = {one.labels[-2:]: one.value for one in found["model_feature_moving_drift_score"]}
        for feature in ("x0", "x1"):
            pair, unit = (np.asarray(before[feature]), np.asarray(now[feature])), np.std(np.asarray(reference[feature]))
            assert scores[feature, "wasserstein"] == pytest.approx(wasserstein_distance(*pair) / unit, abs=5e-3)
            assert scores[feature, "energy"] == pytest.approx(energy_distance(*pair) / unit**0.5, abs=5e-3)
        alarms += sum(one.value for one in found["model_feature_moving_drift_detected"])
    assert alarms <= 1
