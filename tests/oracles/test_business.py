"""What decisions were worth and how long answers took, week by week, against plain sums and quantiles of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from exporter.profile.serving import ERROR
from tests.oracles.conftest import BUSINESS, WEEK
from tests.oracles.test_oracles import agree


def named(replay, family: str) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Return what was published of the indicators with all labels, a row a week."""
    rows = []
    for week, readings in replay.business.items():
        found = {one.labels[-2]: one.value for one in readings[family]}
        rows.append({"week": week, **found})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("replayed", ["flights", "retail", "bikes"], indirect=True)
def test_sums_and_means(replayed):
    """Each column of the oracle is an indicator, and equal to all of the digits that the oracle is written with."""
    oracle = replayed.oracle("business").rename(columns=lambda name: f"oracle_{name}" if name != "week" else name)
    table = oracle.merge(named(replayed, "model_business_kpi_value"), on="week", how="left", validate="1:1")
    names = [name.removeprefix("oracle_") for name in oracle if name != "week"]
    assert len(names) >= 4
    assert set(names) <= {one["name"] for one in BUSINESS[replayed.name]}
    for name in names:
        agree(replayed.name, table, name, f"oracle_{name}", 0)


@pytest.mark.parametrize("replayed", ["flights", "flights_status", "retail"], indirect=True)
def test_value_of_decisions(replayed):
    """The matrix times scikit-learn's confusion matrix."""
    (kpi,) = [one for one in replayed.model.business if one.value_matrix is not None]
    oracle = replayed.oracle("performance")
    oracle = oracle[oracle["labels_as_of"] == "all"]
    classes = replayed.baseline.bins.outcomes.classes
    cells = {(a, p): f"cm_{a}__as__{p}" for a in classes for p in classes}
    if len(classes) == 2:
        cells = dict(zip(cells, ("tn", "fp", "fn", "tp"), strict=True))
    worth = sum(
        kpi.value_matrix[i][j] * oracle[cells[a, p]] for i, a in enumerate(classes) for j, p in enumerate(classes)
    )
    table = oracle.assign(oracle_value=worth).merge(named(replayed, "model_business_kpi_value"), on="week")
    assert len(table) == len(replayed.weeks)
    agree(replayed.name, table, "decision_value", "oracle_value", 0)


@pytest.mark.parametrize("replayed", ["retail"], indirect=True)
def test_ratio_and_its_interval(replayed):
    """A ratio of two columns is that of their sums; its interval is the delta method's, from the rows."""
    rows = []
    for week, own in replayed.frame.dropna(subset=["basket_value_gbp", "n_lines"]).groupby("week"):
        x, y = own["basket_value_gbp"].to_numpy(), own["n_lines"].to_numpy(np.float64)
        ratio = x.sum() / y.sum()
        error = np.std(x - ratio * y, ddof=1) / y.mean() / np.sqrt(len(x))
        rows.append(
            {"week": week, "value": ratio, "lower": ratio - 1.959964 * error, "upper": ratio + 1.959964 * error}
        )
    table = pd.DataFrame(rows)
    for end, family in (("value", ""), ("lower", "_lower"), ("upper", "_upper")):
        found = named(replayed, f"model_business_kpi_value{family}").rename(columns={"a line": "ours"})
        agree(replayed.name, table.merge(found, on="week"), "ours", end, 1e-5)


@pytest.mark.parametrize("replayed", ["flights"], indirect=True)
def test_rate(replayed):
    """Flights per week in a window of a week, and requests per second."""
    table = named(replayed, "model_business_kpi_value")
    assert (table["a week"] == table["flights"]).all()
    for start, readings in ((one.start, one.readings) for one in replayed.weeks.values()):
        (rate,) = readings["model_serving_requests_per_second"]
        assert rate.value * WEEK == pytest.approx(replayed.weeks[_name(start)].vector[0])


def _name(start: int) -> str:
    return str(np.datetime64(start, "s").astype("datetime64[D]"))


@pytest.mark.parametrize("replayed", ["retail", "bikes"], indirect=True)
def test_latency_quantiles(replayed):
    """Each week's measured latencies: within 1 % of numpy's quantiles, though the reference has no such column."""
    assert "latency_ms" not in replayed.reference
    rows = []
    for week, own in replayed.weeks.items():
        found = {one.labels[-1]: one.value * 1000 for one in own.readings["model_serving_latency_seconds"]}
        rows.append({"week": week, **{f"p{100 * float(q):g}": value for q, value in found.items()}})
    oracle = replayed.oracle("latency")
    table = oracle.merge(pd.DataFrame(rows), on="week", suffixes=("_oracle", ""), validate="1:1")
    assert len(table) == len(oracle)
    for name in ("p50", "p95", "p99"):
        off = (table[name] / table[f"{name}_oracle"] - 1).abs()
        assert off.max() <= ERROR, f"{replayed.name} {name}: {off.max()}"
