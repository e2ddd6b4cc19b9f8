"""Replay each data set week by week through a real monitor, once a session."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exporter.baseline import Baseline
from exporter.collector import Board
from exporter.drift.univariate import CATEGORICAL, NUMERIC
from exporter.evaluate.business import business
from exporter.evaluate.performance import performance
from exporter.evaluate.views import View
from exporter.monitor import Monitor
from exporter.performance.metrics import METRICS
from exporter.profile.counts import add_into
from exporter.readings import Readings
from exporter.rows import Ints
from exporter.settings import Model
from exporter.store import Store

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
WEEK = 7 * 86400
FAR = 400 * WEEK
AS_OF = ("week_end", "week_end_plus_7d", "all")
CLASSES = ("cancelled_or_diverted", "delayed", "on_time")
WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
CATEGORIES = {
    "flights": ("origin", "dest", "carrier", "manufacturer", "day_of_week"),
    "flights_status": ("dest", "carrier", "day_of_week"),
    "retail": ("country", "top_stock_code", "day_of_week"),
    "bikes": ("day_of_week",),
}
NUMBERS = {
    "flights": ("sched_dep_hour", "distance", "aircraft_age", "seats", "wind_gust", *WEATHER),
    "flights_status": ("sched_dep_hour", "distance", *WEATHER),
    "retail": (
        *("hour", "n_lines", "n_units", "basket_value_gbp", "mean_unit_price", "n_zero_price_lines"),
        *("n_prior_invoices", "days_since_last_invoice"),
    ),
    "bikes": ("hour", "month", "tmin", "tmax", "precipitation_mm"),
}
TASKS = {"flights": "binary", "flights_status": "multiclass", "retail": "binary", "bikes": "regression"}
SCORES = {
    "flights": {"score": "prediction_proba"},
    "flights_status": {f"score:{name}": f"proba_{name}" for name in CLASSES},
    "retail": {"score": "prediction_proba"},
    "bikes": {},
}
# Business indicators named as the columns of the oracles, and one of each kind beside them.
BUSINESS: dict[str, list[dict[str, Any]]] = {
    "flights": [
        {"name": "flights", "count": "*"},
        {"name": "distance_miles_sum", "unit": "miles", "sum": "distance"},
        {"name": "seats_known_sum", "sum": "seats"},
        {"name": "seat_miles_known_sum", "sum": "seats * distance"},
        {"name": "arr_delay_min_sum", "unit": "minutes", "sum": "arr_delay_min"},
        {"name": "arr_delay_min_mean", "unit": "minutes", "mean": "arr_delay_min"},
        {"name": "delay_min_in_missed_late_flights", "sum": "arr_delay_min", "where": "label = 1 and prediction = 0"},
        {"name": "decision_value", "value_matrix": [[2, -5], [-10, 10]]},
        {"name": "a week", "rate": {"of": "*", "per": "7d"}},
    ],
    "flights_status": [
        {"name": "decision_value", "value_matrix": [[3, 0, -2], [1, 2, -4], [0.5, -1, 0.25]]},
    ],
    "retail": [
        {"name": "invoices", "count": "*"},
        {"name": "basket_value_gbp_sum", "sum": "basket_value_gbp"},
        {"name": "basket_value_gbp_mean", "mean": "basket_value_gbp"},
        {"name": "next_invoice_value_gbp_sum", "sum": "next_invoice_value_gbp"},
        {
            "name": "next_invoice_value_gbp_of_predicted_sum",
            "sum": "next_invoice_value_gbp",
            "where": "prediction = 1",
        },
        {"name": "positive_predictions", "count": "*", "where": "prediction = 1"},
        {"name": "decision_value", "value_matrix": [[2, -5], [-10, 10]]},
        {"name": "a line", "ratio": {"numerator": "basket_value_gbp", "denominator": "n_lines"}},
    ],
    "bikes": [
        {"name": "hours", "count": "*"},
        {"name": "rides_sum", "sum": "label"},
        {"name": "predicted_rides_sum", "sum": "prediction"},
        {"name": "rides_above_prediction_sum", "sum": "greatest(label - prediction, 0)"},
    ],
}
OUTCOMES = {"flights": ["arr_delay_min"], "retail": ["next_invoice_value_gbp"]}
WITH_LATENCY = ("retail", "bikes")


class Week(NamedTuple):
    """One window: its start, what the monitor published at its end, and its whole profile then."""

    start: int
    readings: Readings
    vector: Ints


class Replayed(NamedTuple):
    """A set that went through a monitor.

    performance: (week, labels as of) -> readings, and the counts of labelled rows. business: week -> readings with all
    labels. frame: all predictions.
    """

    name: str
    model: Model
    baseline: Baseline
    weeks: dict[str, Week]
    performance: dict[tuple[str, str], tuple[Readings, Ints]]
    business: dict[str, Readings]
    reference: pd.DataFrame
    frame: pd.DataFrame

    def oracle(self, table: str) -> pd.DataFrame:
        """Read the oracle's table of this set."""
        return pd.read_csv(DATA / "oracles" / f"{self.name}_{table}.csv", keep_default_na=True)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def score_columns(self) -> list[str]:
        """Return the columns of the scores, in the order of their classes."""
        return list(SCORES[self.name].values())

    @property
    def outputs(self) -> dict[str, str]:
        """Return the column of each output, by the name that it is published under."""
        return {"prediction": "prediction", **SCORES[self.name]}

    def part(self, column: str) -> str:
        """Return the name of a column's slice of a profile."""
        names = self.score_columns
        if column in names:
            return f"score:{names.index(column)}"
        return "prediction" if column == "prediction" else f"feature:{column}"

    def bins(self, column: str):  # type: ignore[no-untyped-def]
        """Return the bins of a feature or an output."""
        own, part = self.baseline.bins, self.part(column)
        if part.startswith("score:"):
            return own.scores[int(part.removeprefix("score:"))]
        return own.prediction if part == "prediction" else own.features[column]

    def counts(self, column: str, week: str | None) -> Ints:
        """Return a column's counts of a week, or of the reference."""
        vector = self.baseline.vector if week is None else self.weeks[week].vector
        return self.baseline.bins.part(vector, self.part(column))


def _settings(name: str, folder: Path) -> Model:
    task = TASKS[name]
    score = SCORES[name]
    columns: dict[str, Any] = {
        "id": "request_id",
        "timestamp": "timestamp",
        "prediction": "prediction",
        "label": "label",
        "label_timestamp": "label_timestamp",
        "features": dict.fromkeys(CATEGORIES[name], "categorical") | dict.fromkeys(NUMBERS[name], "numeric"),
    }
    columns["outcomes"] = OUTCOMES.get(name, [])
    if name in WITH_LATENCY:
        columns["latency"] = {"column": "latency_ms", "unit": "ms"}
    if task == "binary":
        columns["score"] = score["score"]
    elif task == "multiclass":
        columns["score"] = {key.removeprefix("score:"): column for key, column in score.items()}
    return Model.model_validate(
        {
            "name": name,
            "task": task,
            "columns": columns,
            "reference": {"files": str(folder / "reference.parquet")},
            "predictions": {"files": str(folder / "predictions" / "*.parquet")},
            "labels": {"files": str(folder / "labels" / "*.parquet")},
            "windows": ["7d"],
            "bucket": "1d",
            "max_features": 1000,
            "label_delay": "0s",  # the oracles have the labels that were known by then, late ones or not
            "drift": {"numeric": NUMERIC, "categorical": CATEGORICAL, "min_rows": 1},
            "performance": {"metrics": tuple(METRICS[task]), "min_rows": 1},
            "business": BUSINESS[name],
            "serving": {},
        }
    )


def _read(name: str, kind: str) -> pa.Table:
    if name != "flights":
        return pq.read_table(DATA / name / f"{kind}.parquet")
    example = ROOT / "examples" / "flights"
    if kind == "reference":
        return pq.read_table(example / "reference.parquet")
    return pa.concat_tables(pq.read_table(path) for path in sorted((example / kind).glob("*.parquet")))


def _week_of(times: np.ndarray) -> np.ndarray:
    """Return the start of the week, Monday 00:00 UTC, of times in microseconds."""
    monday = 4 * 86400  # 1970-01-05 was a Monday
    return (times // 1_000_000 - monday) // WEEK * WEEK + monday


def _micro(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.cast(column, pa.int64()))


def name_of(start: int) -> str:
    """Return the date of a week's Monday."""
    return str(np.datetime64(start, "s").astype("datetime64[D]"))


@functools.cache
def replay(name: str) -> Replayed:
    """Write the log week by week as it grew, run the monitor at each week's end, keep what it published."""
    folder = Path(tempfile.mkdtemp(prefix=f"oracle-{name}-"))
    try:
        return _replay(name, folder)
    finally:
        shutil.rmtree(folder)


def _replay(name: str, folder: Path) -> Replayed:
    for kind in ("predictions", "labels"):
        (folder / kind).mkdir()
    tables = {kind: _read(name, kind) for kind in ("reference", "predictions", "labels")}
    pq.write_table(tables["reference"], folder / "reference.parquet")
    model = _settings(name, folder)
    store = Store("sqlite:///:memory:")
    monitor = Monitor(model, store, Board(50_000), retention=FAR, interval=60)
    cut = {"predictions": _week_of(_micro(tables["predictions"]["timestamp"]))}
    # A label that comes at the very end of a week is known at the week's end.
    cut["labels"] = _week_of(_micro(tables["labels"]["label_timestamp"]) - 1)
    starts = sorted(set(cut["predictions"].tolist()))
    weeks: dict[str, Week] = {}
    measured: dict[tuple[str, str], tuple[Readings, Ints]] = {}
    worth: dict[str, Readings] = {}

    def window(start: int) -> Ints:
        assert monitor.baseline is not None
        vector = np.zeros(monitor.baseline.bins.size, np.int64)
        with store.transaction() as tx:
            for _, _, _, counts in tx.buckets(name, start, start + WEEK):
                add_into(vector, counts)
        return vector

    def measure(start: int, as_of: str) -> None:
        assert monitor.baseline is not None
        view = View("1", "7d", start, start + WEEK, window(start))
        readings = performance(model, monitor.baseline, [view]).readings
        measured[name_of(start), as_of] = (readings, monitor.baseline.bins.part(view.vector, "outcome"))
        worth[name_of(start)] = business(model, monitor.baseline, [view]).readings

    every = range(starts[0], max(cut["labels"].max(), starts[-1] + WEEK) + WEEK, WEEK)
    for start in every:
        for kind, table in tables.items():
            if kind in cut and (rows := np.flatnonzero(cut[kind] == start)).size:
                pq.write_table(table.take(rows), folder / kind / f"{name_of(start)}.parquet")
        assert monitor.run(start + WEEK), monitor.notes
        assert monitor.baseline is not None
        if start in starts:
            weeks[name_of(start)] = Week(start, monitor.results(), window(start))
            counted = monitor.baseline.bins.part(weeks[name_of(start)].vector, "outcome")
            measured[name_of(start), "week_end"] = (weeks[name_of(start)].readings, counted)
        if start - WEEK in starts:
            measure(start - WEEK, "week_end_plus_7d")
    for start in starts:
        measure(start, "all")
    store.close()
    frame = tables["predictions"].to_pandas()
    frame["week"] = [name_of(start) for start in cut["predictions"].tolist()]
    return Replayed(name, model, monitor.baseline, weeks, measured, worth, tables["reference"].to_pandas(), frame)


@pytest.fixture(scope="session", params=TASKS)
def replayed(request: pytest.FixtureRequest) -> Replayed:
    """Return one of the four sets, each replayed once."""
    return replay(request.param)
