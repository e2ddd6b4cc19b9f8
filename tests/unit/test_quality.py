"""Shares of missing, unseen, out-of-range and invalid values, and the bound in force for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.evaluate.views import View
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import add_into
from exporter.quality import bound_in_force, quality, shares
from exporter.quality_bounds import QualityBounds
from exporter.reference import fit
from exporter.settings import Bound
from tests.unit.helpers.profiles import (
    category_vector,
    numeric_bins,
    numeric_vector,
    random_table,
    settings,
    table,
    take,
)

NAN = float("nan")
CHECKS = ("missing", "unseen", "out_of_range", "invalid")


def test_shares_of_numbers_are_of_all_rows():
    bins = numeric_bins([1.0, 2.0, 3.0])
    found = shares(bins, numeric_vector(bins, [0.5, 1, 2.5, 3, 4, NAN, NAN, np.inf, 2, 9]))
    assert found == {"missing": 0.2, "out_of_range": 0.3, "invalid": 0.1}


def test_shares_of_categories_are_of_all_rows():
    bins = CategoryBins(("a", "b"))
    assert shares(bins, category_vector(bins, ["a", "b", "x", None])) == {"missing": 0.25, "unseen": 0.25}


def test_where_rare_categories_have_no_place_unseen_says_nothing():
    assert shares(CategoryBins(("a",), complete=False), np.array([3, 1, 0])) == {"missing": 0.0}


def test_without_rows_there_are_no_shares():
    """Unknown is not 0."""
    bins = numeric_bins([1.0, 2.0])
    assert shares(bins, np.zeros(bins.size, np.int64)) == {}
    assert shares(CategoryBins(("a",)), np.zeros(3, np.int64)) == {}


@given(
    st.lists(st.floats(-9, 9).map(lambda x: round(x, 1)) | st.sampled_from([NAN, np.inf, -np.inf, 100.0]), min_size=1)
)
def test_shares_are_those_of_the_rows(values):
    bins = numeric_bins(np.linspace(-5, 5, 30))
    array = np.array(values)
    finite = np.isfinite(array)
    assert shares(bins, numeric_vector(bins, values)) == {
        "missing": np.isnan(array).mean(),
        "out_of_range": (finite & (np.abs(array) > 5)).mean(),
        "invalid": np.isinf(array).mean(),
    }


@pytest.mark.parametrize(
    ("bound", "reference", "expected"),
    [
        (Bound(max=0.01), 0.5, 0.01),
        (Bound(max=0.0), 0.0, 0.0),
        (Bound(increase=0.05), 0.2, 0.25),
        (Bound(increase=0.0), 0.2, 0.2),
        (Bound(increase=0.5), 0.8, 1.0),
    ],
)
def test_a_bound_stands_or_is_above_the_references_share(bound, reference, expected):
    assert bound_in_force(bound, reference) == pytest.approx(expected)


def view_of(model, baseline, log) -> View:
    vector = np.zeros(baseline.bins.size, np.int64)
    add_into(vector, take(model, baseline, log))
    return View("1", "1h", 0, 3600, vector)


def rows(amount: list[float], colour: list[str | None]):
    """Return a log of a binary model with two features."""
    count = len(amount)
    return table(
        id=[str(row) for row in range(count)],
        time=[1_600_000_000] * count,
        amount=amount,
        colour=colour,
        prediction=[0, 1] * (count // 2),
        score=[0.2, 0.8] * (count // 2),
    )


REFERENCE = rows([1, 2, 3, 4, 5, 6, 7, NAN], ["red", "green"] * 4)
LOG = rows([1, 2, 3, 99], ["red", "red", "blue", None])


def of(readings, family: str) -> dict[str, float]:
    return {one.labels[4]: one.value for one in readings.get(family, [])}


def test_each_share_is_published_with_its_bound():
    """Default bounds: 5 % more than the reference, or 1 %; a feature may have its own."""
    model = settings(quality={"features": {"amount": {"out_of_range": {"max": 0.5}}}})
    baseline = fit(model, REFERENCE)
    found = quality(model, baseline, [view_of(model, baseline, LOG)])
    assert of(found.readings, "model_feature_missing_ratio") == {"amount": 0, "colour": 0.25}
    assert of(found.readings, "model_feature_missing_threshold_ratio") == {"amount": 0.175, "colour": 0.05}
    assert of(found.readings, "model_feature_unseen_ratio") == {"colour": 0.25}
    assert of(found.readings, "model_feature_unseen_threshold_ratio") == {"colour": 0.01}
    assert of(found.readings, "model_feature_out_of_range_ratio") == {"amount": 0.25}
    assert of(found.readings, "model_feature_out_of_range_threshold_ratio") == {"amount": 0.5}
    assert of(found.readings, "model_feature_invalid_ratio") == {"amount": 0}
    assert of(found.readings, "model_feature_invalid_threshold_ratio") == {"amount": 0.01}
    assert found.states == {("1", "1h"): "ok"}
    (failed,) = found.readings["model_quality_checks_failed"]
    assert (failed.labels[1:], failed.value) == (("1", "1h"), 2)  # missing and unseen colours


def test_learned_bounds_replace_the_defaults_but_not_what_is_configured():
    """A blind pair has a share and no bound; windows without learned bounds keep the defaults."""
    learned = {"1h": QualityBounds({("colour", "missing"): 0.3, ("amount", "missing"): 0.95}, 30)}
    model = settings(quality={"features": {"amount": {"out_of_range": {"max": 0.5}}}})
    baseline = replace(fit(model, REFERENCE), quality=learned)
    views = [view_of(model, baseline, LOG)]
    found = quality(model, baseline, views).readings
    assert of(found, "model_feature_missing_ratio") == {"amount": 0, "colour": 0.25}
    assert of(found, "model_feature_missing_threshold_ratio") == {"colour": 0.3}
    assert of(found, "model_feature_out_of_range_threshold_ratio") == {"amount": 0.5}
    pinned = settings(quality={"missing": {"increase": 0.1}})
    found = quality(pinned, baseline, views).readings
    assert of(found, "model_feature_missing_threshold_ratio") == pytest.approx({"amount": 0.225, "colour": 0.1})
    other = replace(baseline, quality={"7d": learned["1h"]})
    assert quality(model, other, views) == quality(model, replace(baseline, quality={}), views)


def test_too_few_rows_are_insufficient_and_no_rows_have_no_share():
    model = settings(drift={"min_rows": 5})
    baseline = fit(model, REFERENCE)
    few = quality(model, baseline, [view_of(model, baseline, LOG)])
    none = quality(model, baseline, [view_of(model, baseline, LOG[:0])])
    assert few.states == none.states == {("1", "1h"): "insufficient"}
    assert of(few.readings, "model_feature_missing_ratio")
    assert not any(of(none.readings, f"model_feature_{check}_ratio") for check in CHECKS)
    assert "model_quality_checks_failed" not in none.readings


def test_the_budget_keeps_the_features_that_are_furthest_above_their_bounds():
    model = settings(max_features=1)
    baseline = fit(model, REFERENCE)
    found = quality(model, baseline, [view_of(model, baseline, LOG)])
    assert of(found.readings, "model_feature_missing_ratio") == {"colour": 0.25}
    assert found.dropped == 6  # three shares of amount, each with its bound
    everything = quality(settings(), baseline, [view_of(model, baseline, LOG)])
    name = "model_quality_checks_failed"
    assert found.readings[name] == everything.readings[name]  # they count, shown or not


def test_a_column_that_the_log_does_not_have_is_missing_in_every_row():
    model = settings()
    baseline = fit(model, random_table(0, 50))
    found = quality(model, baseline, [view_of(model, baseline, random_table(1, 30).drop_columns(["amount"]))])
    assert of(found.readings, "model_feature_missing_ratio")["amount"] == 1
