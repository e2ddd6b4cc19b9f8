"""Production logs replayed through the exporter's own code: what is said at the end of each local day.

The baseline is made from the whole reference. The log and all its labels are read once, into a store that forgets
nothing; then the windows move from one local midnight to the next and are judged by the same functions as in service.
Only the labels are known earlier than in service: each window has all that ever came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.traffic import FILES, ROOT, features, load
from exporter.baseline import Baseline
from exporter.catalogue import FAMILIES
from exporter.days import Days, bounds
from exporter.drift.sequential import Series, follow
from exporter.evaluate.drift import drift
from exporter.evaluate.performance import performance
from exporter.evaluate.views import View
from exporter.history import Day, series
from exporter.ingest import Ingest
from exporter.profile.batch import read_batch
from exporter.profile.counts import add_into, gather
from exporter.quality import CHECKS, quality
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model
from exporter.store import Store
from exporter.store.tables import Bucket
from exporter.tasks import Task
from exporter.windows import WEEK, Windows, frames

BASELINES = ("reference", "previous", "week_ago")
DETECTORS = ("page_hinkley", "ewma")
HOUR = 3600
LATER = 2.0**31  # seconds: when the log is read, and how long it is kept
DRIFTS = (
    "model_feature_drift",
    "model_feature_moving_drift",
    "model_prediction_drift",
    "model_prediction_moving_drift",
    "model_label_drift",
)
Rows = list[dict[str, Any]]


class Replay(NamedTuple):
    """What was said of one log, a row each; days are numbers since 1970-01-01.

    drift: day, window, baseline, column, method, score, threshold (NaN: none), detected (the column's; NaN: blind) and
    whole: neither the window nor the one that it is compared with begins before the log. quality: day, window, feature,
    check, share and bound (NaN: blind). hourly: the same at the end of some hours, Unix seconds in place of the day.
    performance: day, window, metric and score. sequential: day, signal, method and the detector's reading.
    """

    model: Model
    baseline: Baseline
    days: Mapping[int, Day]
    drift: pd.DataFrame
    quality: pd.DataFrame
    hourly: pd.DataFrame
    performance: pd.DataFrame
    sequential: pd.DataFrame


def settings(name: str, knots: int) -> Model:
    """Return one of the four models with all baselines and two detectors; the weekday is judged by the week alone."""
    case = load(name, {"knots": knots, "baselines": BASELINES, "sequential": DETECTORS})
    plain = case.model.model_dump(exclude_unset=True)
    own: dict[str, dict[str, Any]] = {feature: {"type": case.kinds[feature]} for feature in features(case)}
    if "day_of_week" in own:
        own["day_of_week"]["windows"] = ["7d"]  # a day has one
    plain["columns"]["features"] = own
    reference = ROOT / FILES[name]
    plain["reference"] = {"files": str(reference)}
    for part in ("predictions", "labels"):
        many = reference.parent / part
        plain[part] = {"files": str(many / "*.parquet" if many.is_dir() else many.with_suffix(".parquet"))}
    few = {"min_rows": plain["drift"].get("min_rows", 200)}  # of labels, as of rows: bikes has 168 a week
    return Model.model_validate({**plain, "bucket": "1h", "max_features": 1000, "performance": few})


def replay(model: Model, hours: int = 0) -> Replay:
    """Read a log and judge it at the end of each of its local days; the quality also in each of its last hours."""
    store = Store("sqlite:///:memory:")
    ingest, told = Ingest(model, store, LATER, Task()), Days(model, store, LATER)
    ingest.run(LATER)
    baseline = ingest.baseline
    assert baseline is not None
    while told.refresh(baseline, LATER):
        pass
    ((version, days),) = told.known().items()

    def buckets(start: int, end: int, segment: str | None) -> list[Bucket]:
        with store.transaction() as tx:
            return tx.buckets(model.name, start, end, segment)

    windows = Windows(frames(model.windows, model.bucket_seconds, model.drift.baselines), baseline.bins.size, buckets)
    found: dict[str, Rows] = {"drift": [], "quality": [], "performance": [], "hourly": []}
    for day in range(min(days), max(days) + 1):
        windows.move(bounds(day, model.timezone)[1])
        views = windows.views(version)
        found["drift"] += of_drift(day, drift(model, baseline, views).readings)
        found["quality"] += of_quality(day, quality(model, baseline, views).readings)
        found["performance"] += of_performance(day, performance(model, baseline, views).readings)
    end = bounds(max(days), model.timezone)[1]
    for hour in range(end - (hours - 1) * HOUR, end + 1, HOUR):
        windows.move(hour)
        found["hourly"] += of_quality(hour, quality(model, baseline, windows.views(version)).readings)
    store.close()
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()}
    tables["drift"]["whole"] = tables["drift"]["day"] - min(days) >= _reach(model, tables["drift"]) - 1
    return Replay(model, baseline, days, **tables, sequential=pd.DataFrame(of_detectors(baseline, days)))


def _reach(model: Model, rows: pd.DataFrame) -> Any:
    """Return how many days back an evaluation looks."""
    length = rows["window"].map({window.name: window.seconds // 86_400 for window in model.windows})
    lag = length.where(rows["baseline"] == "previous", WEEK // 86_400).where(rows["baseline"] != "reference", 0)
    return length + lag


def _named(readings: Readings, family: str) -> Rows:
    names = FAMILIES[family].labels
    return [{**dict(zip(names, one.labels, strict=True)), "value": one.value} for one in readings.get(family, [])]


def of_drift(day: int, readings: Readings) -> Rows:
    """Return a row a window, baseline, column and method."""
    rows: Rows = []
    for family in DRIFTS:

        def key(one: dict[str, Any]) -> tuple[str, str, str]:
            column = one.get("feature") or one.get("output") or "label"
            return one["window"], one.get("baseline", "reference"), column

        scores, limits, verdicts = (
            [one for one in _named(readings, f"{family}_{part}") if one.get("segment", ALL) == ALL]
            for part in ("score", "threshold", "detected")
        )
        limit = {(*key(one), one["method"]): one["value"] for one in limits if one["severity"] == "warning"}
        verdict = {key(one): one["value"] for one in verdicts}
        for one in scores:
            own, method = key(one), one["method"]
            window, against, column = own
            rows.append(
                {"day": day, "window": window, "baseline": against, "column": column, "method": method}
                | {"score": one["value"], "threshold": limit.get((*own, method)), "detected": verdict.get(own)}
            )
    return rows


def of_quality(day: int, readings: Readings) -> Rows:
    """Return a row a window, feature and check."""
    rows: Rows = []
    for check in CHECKS:
        limit = {
            (one["window"], one["feature"]): one["value"]
            for one in _named(readings, f"model_feature_{check}_threshold_ratio")
        }
        for one in _named(readings, f"model_feature_{check}_ratio"):
            own = one["window"], one["feature"]
            rows.append(
                {"day": day, "window": own[0], "feature": own[1], "check": check}
                | {"share": one["value"], "bound": limit.get(own)}
            )
    return rows


def of_performance(day: int, readings: Readings) -> Rows:
    """Return a row a window and metric."""
    return [
        {"day": day, "window": one["window"], "metric": one["metric"], "score": one["value"]}
        for one in _named(readings, "model_performance_score")
        if one["segment"] == ALL
    ]


def of_detectors(baseline: Baseline, days: Mapping[int, Day]) -> Rows:
    """Return what each detector said after each day."""
    after = {day: one for day, one in days.items() if day not in baseline.days}
    return [
        {"day": day, "signal": signal, "method": learned.method, **reading._asdict()}
        for signal, learned in baseline.sequential
        for day, reading in follow(learned, Series(*series(after, signal, baseline.coverage)))
    ]


def judged(model: Model, baseline: Baseline, table: pa.Table, window: str) -> Rows:
    """Judge a table as if it were a window, against the reference."""
    vector = np.zeros(baseline.bins.size, np.int64)
    placed = baseline.bins.place_rows(read_batch(model, baseline.schema, table))
    add_into(vector, gather(placed, np.zeros(len(table), np.int64), 1, baseline.bins.size)[0])
    return of_drift(0, drift(model, baseline, [View("1", window, 0, 0, vector)]).readings)
