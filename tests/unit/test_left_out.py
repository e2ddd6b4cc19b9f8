"""What is beyond the budget of features is counted without being put: as many series as would be there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.baseline import dense
from exporter.evaluate.distributions import MOST_BINS, count_distribution, put_distribution
from exporter.evaluate.drift import drift
from exporter.evaluate.views import View
from exporter.parts import Part
from exporter.profile.categorical import CategoryBins
from exporter.quality import quality
from exporter.readings import Readings
from exporter.reference import fit
from tests.unit.helpers.profiles import category_samples, numeric_bins, numeric_samples, random_table, settings, take

LABELS = ("m", "1", "24h")


def series(part: Part) -> int:
    out = Readings()
    put_distribution(out, LABELS, "x", part)
    return out.series()


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=60), st.lists(st.floats(-20, 20), max_size=9))
def test_a_number_has_as_many_series_as_are_counted(reference: list[int], window: list[float]) -> None:
    before, now = numeric_samples(reference, window)
    part = Part(numeric_bins(reference), (np.empty(0, np.int64),) * 2, before, now)
    assert count_distribution(part) == series(part)


@pytest.mark.parametrize("categories", [1, 2, MOST_BINS - 1, MOST_BINS, MOST_BINS + 5])
@pytest.mark.parametrize("window", [[], ["0", "new"]])
def test_a_category_has_as_many_series_as_are_counted(categories: int, window: list[str]) -> None:
    names = [f"{number:02d}" for number in range(categories)]
    before, now = category_samples(names, window)
    part = Part(CategoryBins(tuple(names)), (before.bins, now.bins), before, now)
    assert count_distribution(part) == series(part)


@pytest.mark.parametrize("judge", [drift, quality])
def test_series_beyond_the_budget_are_counted(judge) -> None:
    all_of_them = settings(drift={"min_rows": 1})
    baseline = fit(all_of_them, random_table(0, 400))
    view = View("1", "24h", 0, 86_400, dense(baseline.bins, take(all_of_them, baseline, random_table(1, 200))))
    whole = judge(all_of_them, baseline, [view])
    assert whole.dropped == 0
    for most in range(1, len(baseline.bins.features) + 1):
        found = judge(all_of_them.model_copy(update={"max_features": most}), baseline, [view])
        assert found.dropped == whole.readings.series() - found.readings.series()
        assert (found.dropped > 0) == (most < len(baseline.bins.features))
