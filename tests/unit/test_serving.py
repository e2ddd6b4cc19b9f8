"""Latencies on a logarithmic scale: quantiles within 1 % of numpy's; failed requests; requests per second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.evaluate.serving import serving
from exporter.evaluate.views import View
from exporter.profile.serving import (
    ERROR,
    MOST,
    VALUES,
    ErrorBins,
    LatencyBins,
    errors_ratio,
    latencies,
    place_errors,
    place_latency,
    quantile,
)
from exporter.reference import fit
from exporter.rows import Ints
from tests.unit.helpers.profiles import counted, random_table, settings, take

SECONDS = LatencyBins("latency", "s")
FAILED = ErrorBins("error")


def latency(values: Any, unit: str = "s") -> Ints:
    bins = LatencyBins("latency", unit)  # type: ignore[arg-type]
    table = pa.table({"latency": pa.array(values, from_pandas=True)})
    return counted(place_latency(bins, table), len(table), bins.size)


@given(st.lists(st.floats(1.0001e-6, MOST), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_within_one_percent(values: list[float], q: float) -> None:
    """Of numpy's, whatever the values from a microsecond to an hour."""
    found = quantile(latency(np.array(values)), q)
    assert found == pytest.approx(np.quantile(values, q), rel=ERROR * (1 + 1e-9))


@given(st.lists(st.floats(0, 1e5), max_size=20), st.lists(st.floats(0, 1e5), max_size=20))
def test_parts_add_up(first: list[float], second: list[float]) -> None:
    """And can be taken away again."""
    whole = latency(np.array([*first, *second], np.float64))
    assert (whole == latency(np.array(first, np.float64)) + latency(np.array(second, np.float64))).all()


def test_ends_of_the_scale() -> None:
    """Up to a microsecond is 0, beyond an hour is an hour; an hour itself is within 1 %."""
    assert quantile(latency([0.0, 1e-7, 1e-6]), 1) == 0
    assert quantile(latency([7200.0]), 0.5) == MOST
    assert quantile(latency([3600.0]), 0.5) == pytest.approx(MOST, rel=ERROR)
    assert len(VALUES) < 1200
    assert quantile(latency([]), 0.5) is None


def test_the_bins_are_as_wide_as_they_may_be() -> None:
    """A value that is as far off as it can be is so by 1 %: finer bins would be a waste."""
    many = np.geomspace(0.001, 0.1, 5000)
    off = [abs(quantile(latency([one]), 0.5) / one - 1) for one in many[:400]]  # type: ignore[operator]
    assert 0.0095 < max(off) <= ERROR


@pytest.mark.parametrize(("unit", "size"), [("s", 1.0), ("ms", 1e3), ("us", 1e6)])
def test_units(unit: str, size: float) -> None:
    assert quantile(latency([0.25 * size], unit), 0.5) == pytest.approx(0.25, rel=ERROR)


def test_what_is_no_latency_is_not_counted() -> None:
    """Missing, negative, infinite, text; numbers in text are numbers."""
    counts = latency(["0.5", None, "-1", "inf", "soon", "0.5"])
    assert (latencies(counts), counts[-2:].tolist()) == (2, [1, 3])
    without = counted(place_latency(SECONDS, pa.table({"x": [1, 2]})), 2, SECONDS.size)
    assert (latencies(without), without[-2:].tolist()) == (0, [2, 0])


def failures(values: Any) -> list[int]:
    table = pa.table({"error": values})
    return counted(place_errors(FAILED, table), len(table), FAILED.size).tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, None, True], [2, 2, 0]),
        ([1, 0, 0, None], [3, 1, 0]),
        (["true", "False", "timeout", ""], [1, 1, 2]),
        (pa.nulls(3), [3, 0, 0]),
    ],
)
def test_failed_requests(values: Any, expected: list[int]) -> None:
    """A request without a value did not fail; what is neither true nor false is not known."""
    assert failures(values) == expected


def test_errors_ratio() -> None:
    """Of those of which it is known; of none where the log has no such column, rather than 0."""
    assert errors_ratio(np.array([3, 1, 5])) == 0.25
    assert errors_ratio(np.array([0, 0, 5])) is None
    assert place_errors(FAILED, pa.table({"x": [1]})) == []


def test_evaluation() -> None:
    """Of each window; bounds by quantile; too few rows show their rate alone."""
    columns = {"latency": {"column": "ms", "unit": "ms"}, "error": "failed"}
    threshold = {
        "latency_p99": 0.25,
        "latency_p50": {"warning": 0.1},
        "error_ratio": {"warning": 0.01, "critical": 0.1},
    }
    own = {"latency_quantiles": [0.5, 0.99], "threshold": threshold}
    model = settings(columns=columns, serving=own, drift={"min_rows": 100})
    baseline = fit(model, random_table(0, 300))  # the reference has no such columns
    assert {"ms", "failed"}.isdisjoint(baseline.schema.features)
    random = np.random.default_rng(4)
    ms = random.lognormal(3, 1, 200)
    table = (
        random_table(1, 200).append_column("ms", pa.array(ms)).append_column("failed", pa.array([True, *[False] * 199]))
    )
    views = []
    for version, rows in (("1", table), ("2", table[:50])):
        vector = np.zeros(baseline.bins.size, np.int64)
        counts = take(model, baseline, rows)
        vector[counts.place] = counts.amount
        views.append(View(version, "1h", 0, 3600, vector))
    found = serving(model, baseline, views)
    assert found.states == {("1", "1h"): "ok", ("2", "1h"): "insufficient"}
    shown = {(name, *one.labels): one.value for name, own in found.readings.items() for one in own}
    assert shown == {
        ("model_serving_requests_per_second", "m", "1", "1h"): 200 / 3600,
        ("model_serving_requests_per_second", "m", "2", "1h"): 50 / 3600,
        ("model_serving_latency_seconds", "m", "1", "1h", "0.5"): pytest.approx(np.quantile(ms, 0.5) / 1000, rel=ERROR),
        ("model_serving_latency_seconds", "m", "1", "1h", "0.99"): pytest.approx(
            np.quantile(ms, 0.99) / 1000, rel=ERROR
        ),
        ("model_serving_errors_ratio", "m", "1", "1h"): 1 / 200,
        ("model_serving_latency_threshold_seconds", "m", "0.99", "critical"): 0.25,
        ("model_serving_latency_threshold_seconds", "m", "0.5", "warning"): 0.1,
        ("model_serving_errors_threshold_ratio", "m", "warning"): 0.01,
        ("model_serving_errors_threshold_ratio", "m", "critical"): 0.1,
    }
