"""Business indicators and serving of three models whose logs are Parquet, CSV and JSON lines, to the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.settings import Model
from exporter.store import Store
from tests.integration.small import DAY, HOUR, KINDS, NOON, labels, model, predictions, rows, write, write_config

BUSINESS = [
    {"name": "rows", "unit": "requests", "count": "*", "max": 1000},
    {"name": "turnover", "unit": "usd", "rate": {"of": "amount", "per": "1h"}, "where": "city <> 'Oslo'"},
    {"name": "spent", "unit": "usd", "ratio": {"numerator": "cost", "denominator": "amount"}, "where": "approved"},
    {"name": "cost of the old", "unit": "usd", "sum": "cost", "where": "age > 50 and label is not null"},
]


def with_more(table: pa.Table, seed: int) -> pa.Table:
    """Add columns that serving and indicators read; some of them come with the label."""
    random = np.random.default_rng(seed)
    table = table.append_column("ms", pa.array(random.lognormal(3, 1, len(table)).round(3)))
    table = table.append_column("failed", pa.array(random.random(len(table)) < 0.05))
    table = table.append_column("approved", pa.array(random.random(len(table)) < 0.5))
    return table.append_column("cost", pa.array(random.gamma(2, 10, len(table)).round(2)))


def settings(folder: Path, name: str) -> Model:
    one = model(name, business=BUSINESS, serving={"threshold": {"latency_p95": 0.5, "error_ratio": 0.1}})
    more = {"latency": {"column": "ms", "unit": "ms"}, "error": "failed", "outcomes": ["cost"], "segments": ["city"]}
    one["columns"] |= more | {"features": ["amount", "age", "city"]}
    (found,) = load(write_config(folder, one)).config.models
    return found


def written(folder: Path, name: str) -> pd.DataFrame:
    suffix = KINDS[name].suffix
    write(rows(name, NOON - 30 * DAY, NOON - 10 * DAY, 1500, 1), folder / name / "reference.parquet")
    log = with_more(rows(name, NOON - DAY, NOON, 480, 2), 3)
    write(predictions(log).drop_columns(["cost"]), folder / name / f"predictions/a.{suffix}")
    write(labels(log).append_column("cost", log["cost"]), folder / name / f"labels/a.{suffix}")
    return log.to_pandas()


def page_of(monitor: Monitor, openmetrics: bool) -> dict[tuple[str, ...], float]:
    body = monitor._board.page(openmetrics, compressed=False).body.decode()
    families = (parse_openmetrics if openmetrics else parse_text)(body)
    return {
        (one.name, *one.labels.values()): one.value
        for family in families
        for one in family.samples
        if one.name.startswith(("model_business", "model_serving"))
    }


@pytest.mark.parametrize("name", KINDS)
def test_to_the_page(tmp_path: Path, new_url: Callable[[], str], name: str) -> None:
    """What pandas finds in the rows, by segment too; the same after a restart, and in both formats."""
    log = written(tmp_path, name)
    own, url = settings(tmp_path, name), new_url()
    store = Store(url)
    monitor = Monitor(own, store, Board(), 10 * DAY, 60)
    assert monitor.run(NOON), monitor.notes
    found = page_of(monitor, openmetrics=False)
    assert found == page_of(monitor, openmetrics=True)
    known = log[log["label_timestamp"] <= pd.Timestamp(NOON, unit="s", tz="UTC")]
    assert 300 < len(known) < len(log)
    for segment, whole, labelled in (
        ("all", log, known),
        ("city=Berlin", log[log["city"] == "Berlin"], known[known["city"] == "Berlin"]),
    ):
        approved = labelled[labelled["approved"]]
        expected: dict[tuple[str, str], Any] = {
            ("rows", "requests"): len(whole),
            ("turnover", "usd"): whole.loc[whole["city"] != "Oslo", "amount"].sum() / 24,
            ("spent", "usd"): approved["cost"].sum() / approved["amount"].sum(),
            ("cost of the old", "usd"): labelled.loc[labelled["age"] > 50, "cost"].sum(),
        }
        for key, value in expected.items():
            at = ("model_business_kpi_value", name, "1", "1d", segment, *key)
            assert found[at] == pytest.approx(value, rel=1e-9), at
            assert found[at[0] + "_lower", *at[1:]] < value < found[at[0] + "_upper", *at[1:]]
    assert found["model_business_kpi_max", name, "rows", "critical"] == 1000
    assert found["model_serving_requests_per_second", name, "1", "1d"] == pytest.approx(480 / DAY)
    assert found["model_serving_errors_ratio", name, "1", "1d"] == log["failed"].mean()
    for q in (0.5, 0.95, 0.99):
        value = found["model_serving_latency_seconds", name, "1", "1d", f"{q:g}"]
        assert value * 1000 == pytest.approx(log["ms"].quantile(q), rel=0.0101)
    assert found["model_serving_latency_threshold_seconds", name, "0.95", "critical"] == 0.5
    states = {key[1:]: state for key, state in monitor.states.items() if key[2] in ("business", "serving")}
    assert states["1d", "business"] == states["1d", "serving"] == "ok"
    store.close()
    again = Monitor(own, Store(url), Board(), 10 * DAY, 60)
    assert again.run(NOON)
    assert page_of(again, openmetrics=False) == found
    assert again.run(NOON + 3 * HOUR)  # the last labels are known
    later = {
        key[5]: value for key, value in page_of(again, False).items() if key[3:5] == ("1d", "all") and "value" in key[0]
    }
    assert later["rows"] < 480


def test_a_column_that_goes_away_is_told(tmp_path: Path) -> None:
    """As a failure of ingest, not as nothing earned; the other indicators stay."""
    log = with_more(rows("credit", NOON - DAY, NOON, 480, 2), 3)
    written(tmp_path, "credit")
    gone = predictions(log).drop_columns(["cost", "approved", "ms", "failed"])
    write(gone, tmp_path / "credit/predictions/a.parquet")
    monitor = Monitor(settings(tmp_path, "credit"), Store("sqlite:///:memory:"), Board(), 10 * DAY, 60)
    assert not monitor.run(NOON)
    assert monitor.tasks["ingest"].failures["data"] == 3
    found = page_of(monitor, openmetrics=False)
    names = {key[5] for key in found if key[0] == "model_business_kpi_value"}
    assert names == {"rows", "turnover", "cost of the old"}
    assert not any("latency_seconds" in key[0] or "errors_ratio" in key[0] for key in found)
    assert monitor.states["1", "1d", "business"] == "ok"  # of those that are told
