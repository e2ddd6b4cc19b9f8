"""Business indicators: sums are exact and add up; values and intervals are those of the rows."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.business import values
from exporter.business.columns import read
from exporter.business.settings import Kpi
from exporter.evaluate.business import business
from exporter.evaluate.views import View
from exporter.kpis import expected, expected_of, values_of
from exporter.profile import kpi as profile
from exporter.profile.kpi import bins_of, place, place_exact, read_exact
from exporter.reference import fit
from tests.unit.helpers.profiles import counted, random_table, settings, take

REAL = st.floats(-1e15, 1e15, allow_nan=False).map(lambda x: x if abs(x) > 2.0**-11 else 0.0)


def sums_of(kpi: dict[str, Any], table: pa.Table, of_label: tuple[str, ...] = ()) -> profile.Sums:
    own = bins_of(Kpi.model_validate({"name": "a", **kpi}), frozenset(of_label))
    columns = read(table, (*own.columns, *own.outcomes))
    return profile.read(own, counted(place(own, columns, len(table)), len(table), own.size))


# --- sums -------------------------------------------------------------------------------------------------------------


@given(st.lists(REAL, max_size=30))
def test_sums_are_exact(numbers: list[float]) -> None:
    """From 2**-64 to 2**68, whatever their size and sign: the sum of the fractions, rounded once."""
    vector = counted(place_exact(np.arange(len(numbers)), 0, np.array(numbers, np.float64)), len(numbers), 4)
    assert read_exact(vector, 0) == float(sum(map(Fraction, numbers)))


@pytest.mark.parametrize("number", [2.0**68, -(2.0**68), 2.0**-64, -(2.0**-64), 2.0**67 + 2.0**30, 0.1, -1e-9, 0.0])
def test_a_number_comes_back(number: float) -> None:
    """To the last bit, or to 2**-65."""
    vector = counted(place_exact(np.arange(1), 0, np.array([number])), 1, 4)
    assert read_exact(vector, 0) == pytest.approx(number, rel=0, abs=2.0**-65)


def test_beyond_the_largest() -> None:
    """Counts as the largest, so that one row cannot spill over into another number."""
    vector = counted(place_exact(np.arange(3), 0, np.array([1e300, math.inf, -1e300])), 3, 4)
    assert read_exact(vector, 0) == 2.0**68


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 99))
def test_parts_add_up(first: int, second: int, seed: int) -> None:
    """Two batches counted apart are one batch; nothing is nothing."""
    table = random_table(seed, first + second)
    for kpi in (
        {"sum": "amount", "where": "colour = 'red'"},
        {"ratio": {"numerator": "amount", "denominator": "score"}},
        {"rate": {"of": "*", "per": "1h"}},
    ):
        own = bins_of(Kpi.model_validate({"name": "a", **kpi}), frozenset())
        whole, one, two = (
            counted(place(own, read(part, own.columns), len(part)), len(part), own.size)
            for part in (table, table[:first], table[first:])
        )
        assert (whole == one + two).all()


@pytest.mark.parametrize(
    ("kpi", "rows", "unknown"),
    [
        ({"count": "*"}, 4, 0),
        ({"count": "x"}, 3, 1),
        ({"count": "*", "where": "x > 1"}, 2, 1),
        ({"sum": "x", "where": "y > 0"}, 2, 2),
        ({"mean": "nowhere"}, 0, 4),
        ({"ratio": {"numerator": "x", "denominator": "y"}}, 2, 2),
        ({"ratio": {"numerator": "x"}}, 3, 1),
        ({"sum": "x", "where": "x > 9"}, 0, 1),
    ],
)
def test_rows_without_a_value_are_left_out_and_counted(kpi: dict[str, Any], rows: int, unknown: int) -> None:
    """As rows of which it is not known."""
    sums = sums_of(kpi, pa.table({"x": [1.0, 2.0, None, 3.0], "y": [1.0, None, 1.0, 2.0]}))
    assert (sums.rows, sums.unknown) == (rows, unknown)


def test_bins_know_what_comes_with_the_label() -> None:
    kpi = Kpi(name="a", sum="cost * (label = 1)", where="prediction = 0 and cost > 1")
    own = bins_of(kpi, frozenset({"label", "cost"}))
    assert (own.columns, own.outcomes) == (("prediction",), ("cost", "label"))
    assert profile.from_plain(profile.to_plain(own)) == own


# --- values and intervals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 7, 1000])
def test_count_has_the_exact_interval(rows: int) -> None:
    """Garwood's, by the chi-square distribution."""
    found = values.count(rows, 2.0)
    low = stats.chi2.ppf(0.025, 2 * rows) if rows else 0.0
    assert found[:3] == pytest.approx((2 * rows, low, stats.chi2.ppf(0.975, 2 * rows + 2)))


def test_count_interval_covers() -> None:
    """At least 95 % of the true means."""
    drawn = np.random.default_rng(1).poisson(6.0, 4000)
    inside = [values.count(int(n)) for n in drawn]
    assert np.mean([one.lower <= 6 <= one.upper for one in inside]) >= 0.95  # type: ignore[operator]


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_total_interval_covers(spread: float) -> None:
    """Sums of a Poisson number of rows: the true mean is inside 95 times of 100, unless a few rows are most of it."""
    random, true, inside = np.random.default_rng(2), 400 * math.exp(spread**2 / 2), []
    for _ in range(2000):
        x = random.lognormal(0, spread, random.poisson(400))
        found = values.total(len(x), x.sum(), (x * x).sum())
        inside.append(found.lower <= true <= found.upper)  # type: ignore[operator]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.5, 9)), min_size=2, max_size=30))
def test_ratio_is_the_delta_method(pairs: list[tuple[float, float]]) -> None:
    """The value and its error from the rows' residuals."""
    x, y = np.array(pairs).T
    found = values.ratio(len(x), x.sum(), (x * x).sum(), y.sum(), (y * y).sum(), (x * y).sum())
    ratio = x.sum() / y.sum()
    half = stats.norm.ppf(0.975) * np.std(x - ratio * y, ddof=1) * math.sqrt(len(x)) / y.sum()
    assert found.value == pytest.approx(ratio)
    if set(zip(x, y, strict=True)) <= {(0.0, 1.0), (1.0, 1.0)}:
        return  # a share
    assert found.upper - found.value == pytest.approx(half, rel=1e-4, abs=2e-5 * (1 + abs(ratio)))  # type: ignore[operator]


def test_mean_is_the_normal_interval() -> None:
    x = np.random.default_rng(3).normal(5, 2, 500)
    found = values.mean(500, x.sum(), (x * x).sum())
    assert found[:3] == pytest.approx((x.mean(), *stats.norm.interval(0.95, x.mean(), stats.sem(x))))


@pytest.mark.parametrize(("hits", "rows"), [(0, 200), (200, 200), (3, 200), (90, 200)])
def test_share_has_wilsons_interval(hits: int, rows: int) -> None:
    """As scipy has it: none of no width, and none beyond 0 and 1."""
    found = values.ratio(rows, hits, hits, rows, rows, hits)
    expected = stats.binomtest(hits, rows).proportion_ci(0.95, "wilson")
    assert found[:3] == pytest.approx((hits / rows, expected.low, expected.high))
    assert values.mean(rows, hits, hits) == found


def test_what_has_no_value() -> None:
    """A ratio to nothing, a mean of nothing; a single row has no interval."""
    assert values.mean(0, 0, 0).value is None
    assert values.ratio(2, 1, 1, 0, 0, 0).value is None
    assert values.mean(1, 5, 25) == (5, None, None, 1)


def test_value_of_decisions() -> None:
    """Counted or estimated; predictions that are no class are worth nothing."""
    matrix = ((2.0, -5.0), (-10.0, 10.0))
    found = values.of_decisions(matrix, np.array([[10, 2, 1], [3, 4, 0]], np.float64))
    assert found.value == 20 - 10 - 30 + 40
    assert found.upper - found.value == pytest.approx(values.Z * math.sqrt(40 + 50 + 300 + 400))  # type: ignore[operator]
    assert found.rows == 20
    assert values.of_decisions(matrix, np.array([[9.5, 2.5], [3.5, 4.5]])).value == pytest.approx(16.5)


# --- of a model -------------------------------------------------------------------------------------------------------

BUSINESS = [
    {"name": "requests", "unit": "requests", "count": "*"},
    {"name": "amount", "unit": "usd", "sum": "amount", "where": "prediction = 1", "min": 1000, "max": {"warning": 5}},
    {"name": "red", "mean": "colour = 'red'", "min_rows": 30},
    {"name": "gone", "sum": "nowhere"},
    {"name": "decisions", "value_matrix": [[2, -5], [-10, 10]]},
    {"name": "right", "ratio": {"numerator": "label = prediction", "denominator": "*"}, "windows": ["6h"]},
    {"name": "hourly", "rate": {"of": "*", "per": "1h"}},
]


def evaluated(rows: int, **changes: Any) -> tuple[Any, pa.Table]:
    columns = {"segments": ["colour"]}
    model = settings(business=BUSINESS, columns=columns, **changes)
    baseline = fit(model, random_table(0, 300))
    table = random_table(1, rows, strange=False)
    counts = take(model, baseline, table)
    vector = np.zeros(baseline.bins.size, np.int64)
    vector[counts.place] = counts.amount
    views = [
        View("1", name, 0, seconds, vector, {"colour=red": vector}) for name, seconds in (("1h", 3600), ("6h", 21600))
    ]
    return business(model, baseline, views), table


def test_evaluation() -> None:
    """Each indicator in the windows that it is told in, by segment; bounds; one that is not known is left out."""
    found, table = evaluated(200)
    rows = table.to_pandas()
    shown = {one.labels[2:]: one.value for one in found.readings["model_business_kpi_value"]}
    known = rows.dropna(subset=["label"])
    right = (known["label"] == known["prediction"]).mean()
    expected = {
        ("requests", "requests"): 200,
        ("amount", "usd"): rows.loc[rows["prediction"] == 1, "amount"].sum(),
        ("red", ""): (rows["colour"] == "red").mean(),
        ("right", ""): right,
    }
    for key, value in expected.items():
        assert shown["6h", "all", *key] == pytest.approx(value)
        assert shown["6h", "colour=red", *key] == pytest.approx(value)
    assert ("1h", "all", "right", "") not in shown
    assert (shown["1h", "all", "hourly", ""], shown["6h", "all", "hourly", ""]) == (200, pytest.approx(200 / 6))
    cells = known.groupby(["label", "prediction"]).size()
    worth = 2 * cells[0, 0] - 5 * cells[0, 1] - 10 * cells[1, 0] + 10 * cells[1, 1]
    assert shown["6h", "all", "decisions", ""] == worth
    matrix = {one.labels[1:]: one.value for one in found.readings["model_business_decision_value"]}
    assert matrix == {
        ("decisions", "", "0", "0"): 2,
        ("decisions", "", "0", "1"): -5,
        ("decisions", "", "1", "0"): -10,
        ("decisions", "", "1", "1"): 10,
    }
    assert not any("gone" in labels for labels in shown)
    assert set(found.states.values()) == {"ok"}  # the indicator that is gone has no value, the others stay
    bounds = {
        (name, *one.labels[1:]): one.value
        for name in found.readings
        for one in found.readings[name]
        if "_kpi_m" in name
    }
    assert bounds == {
        ("model_business_kpi_min", "amount", "critical"): 1000,
        ("model_business_kpi_max", "amount", "warning"): 5,
    }


def test_too_few_rows() -> None:
    """A mean is not told of fewer rows than it needs, a count is; of no rows at all nothing is."""
    found, _ = evaluated(29)
    shown = {one.labels[4] for one in found.readings["model_business_kpi_value"]}
    assert shown == {"requests", "amount", "decisions", "right", "hourly"}
    found, _ = evaluated(0)
    assert "model_business_kpi_value" not in found.readings
    assert set(found.states.values()) == {"insufficient"}


def test_what_is_expected_of_all_rows_is_a_confusion_of_all_rows() -> None:
    """Where performance is estimated, decisions have a worth before any label is known."""
    model = settings(business=BUSINESS, performance={"min_rows": 1, "estimate": True})
    baseline = fit(model, random_table(0, 1000, strange=False))
    table = random_table(1, 200, strange=False)
    counts = take(model, baseline, table.set_column(table.column_names.index("label"), "label", pa.nulls(200)))
    vector = np.zeros(baseline.bins.size, np.int64)
    vector[counts.place] = counts.amount
    confusion = expected(baseline.bins, vector)
    assert confusion is not None
    predicted = table["prediction"].to_numpy()
    assert confusion.sum(axis=0)[:2] == pytest.approx([(predicted == 0).sum(), (predicted == 1).sum()])
    worth = float((np.array([[2, -5], [-10, 10]]) * confusion[:, :2]).sum())
    found = expected_of(model, baseline.bins, vector)["decisions"]
    assert (found.value, found.rows) == (pytest.approx(worth), 200)
    assert values_of(model, baseline.bins, vector, 3600)["decisions"].rows == 0
    readings = business(model, baseline, [View("1", "6h", 0, 21600, vector)]).readings
    (shown,) = [one for one in readings["model_business_kpi_estimated_value"] if one.labels[3] == "all"]
    assert (shown.labels[4], shown.value) == ("decisions", found.value)
    assert not [one for one in readings["model_business_kpi_value"] if one.labels[4] == "decisions"]
