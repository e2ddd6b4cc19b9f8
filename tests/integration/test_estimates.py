"""Estimated performance on real logs, from the files to the series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exporter import parts
from exporter.baseline import Baseline, dump, restore, settings_hash
from exporter.collector import Board
from exporter.evaluate.estimation import estimation
from exporter.evaluate.views import View
from exporter.history import Day, describe, from_text, to_text
from exporter.monitor import Monitor
from exporter.profile.batch import read_log
from exporter.profile.counts import add_into, gather
from exporter.readings import Readings
from exporter.reference import fit
from exporter.rows import Ints
from exporter.settings import Model
from exporter.store import Store

DATA = Path(__file__).parents[1] / "data"
STATUS = ("cancelled_or_diverted", "delayed", "on_time")
SETS: dict[str, dict[str, Any]] = {
    "bikes": {"task": "regression", "columns": {}},
    "retail": {
        "task": "binary",
        "columns": {
            "score": "prediction_proba",
            "ignore": ["top_stock_code", "top_description", "next_invoice_value_gbp"],
        },
    },
    "flights_status": {
        "task": "multiclass",
        "columns": {"score": {name: f"proba_{name}" for name in STATUS}, "segments": ["carrier"]},
    },
}


def settings(name: str, **changes: Any) -> Model:
    own = SETS[name]
    columns = {"id": "request_id", "timestamp": "timestamp", "prediction": "prediction", "label": "label"}
    return Model.model_validate(
        {
            "name": name,
            "task": own["task"],
            "columns": {**columns, "label_timestamp": "label_timestamp", **own["columns"]},
            "reference": {"files": str(DATA / name / "reference.parquet")},
            "predictions": {"files": str(DATA / name / "predictions.parquet")},
            "labels": {"files": str(DATA / name / "labels.parquet")},
            "windows": ["7d"],
            "bucket": "1d",
            "performance": {"estimate": True, "min_rows": 50},
            "label_delay": "0s",
        }
        | changes
    )


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Model, Baseline]]:
    """Each set's settings and baseline."""
    found = {}
    for name in SETS:
        model = settings(name)
        found[name] = (model, fit(model, pq.read_table(DATA / name / "reference.parquet")))
    return found


def newest(name: str) -> float:
    table = pq.read_table(DATA / name / "predictions.parquet")
    return float(pc.max(table["timestamp"]).value) / 1e6 + 86_400


def values(found: Readings, name: str) -> dict[tuple[str, ...], float]:
    return {reading.labels: reading.value for reading in found.get(name, [])}


@pytest.mark.parametrize("name", SETS)
def test_a_run_shows_estimates(name: str) -> None:
    """With intervals around them; and how far off they were, where the labels are known."""
    monitor = Monitor(settings(name), Store("sqlite:///:memory:"), Board(), 4_000 * 86_400, 60, replay=True)
    assert monitor.run(newest(name))
    found = monitor.results()
    score, low, high = (values(found, f"model_performance_estimated_score{end}") for end in ("", "_lower", "_upper"))
    assert {key[-1] for key in score} == {"dle" if name == "bikes" else "cbpe"}
    assert set(low) == set(high) == set(score)
    assert all(low[key] <= value <= high[key] for key, value in score.items())
    assert monitor.states[("1", "7d", "estimation")] == "ok"
    realised = values(found, "model_performance_score")
    for labels, error in values(found, "model_performance_estimate_error").items():
        whole = (*labels[:3], "all", labels[3])
        assert error == pytest.approx(score[(*whole, "dle" if name == "bikes" else "cbpe")] - realised[whole])
    if name == "flights_status":
        assert {key[3] for key in score} > {"all", "carrier=B6"}
        assert values(found, "model_performance_estimate_error")


def test_only_where_it_is_asked_for() -> None:
    """Neither task nor series, and the baseline's hash is what it was."""
    model = settings("bikes", performance={"min_rows": 50})
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(), 4_000 * 86_400, 60, replay=True)
    assert monitor.run(newest("bikes"))
    assert "estimation" not in monitor.tasks
    assert not [name for name in monitor.results() if "estimate" in name]
    assert settings_hash(model) != settings_hash(settings("bikes"))


@pytest.mark.parametrize("name", SETS)
def test_the_estimator_comes_back_from_the_store(name: str, made: dict[str, tuple[Model, Baseline]]) -> None:
    """And places the same numbers, to the last part."""
    model, baseline = made[name]
    again = restore(*dump(baseline))
    assert again.hash == baseline.hash
    log = read_log(model, baseline.schema, pq.read_table(DATA / name / "predictions.parquet")[:500])
    vectors = []
    for bins in (baseline.bins, again.bins):
        counts = gather(bins.place_rows(log.batch), np.zeros(500, np.int64), 1, bins.size)[0]
        vector = np.zeros(bins.size, np.int64)
        add_into(vector, counts)
        vectors.append(vector)
    assert (vectors[0] == vectors[1]).all()
    assert baseline.bins.estimated_rows(vectors[0]) == 500


def of_rows(baseline: Baseline, model: Model, table: Any) -> Ints:
    log = read_log(model, baseline.schema, table)
    vector = np.zeros(baseline.bins.size, np.int64)
    rows = np.zeros(len(table), np.int64)
    add_into(vector, gather(baseline.bins.place_rows(log.batch), rows, 1, baseline.bins.size)[0])
    return vector


# What NannyML 0.13.1 estimates for the weeks from these Mondays, learned from the same reference.
RECORDED = {
    ("flights_status", "2013-04-01"): {
        "accuracy": 0.8239701666790267,
        "precision_macro": 0.45087757752939983,
        "recall_macro": 0.3462695762435142,
        "f1_macro": 0.3313694858752124,
        "roc_auc_ovr_macro": 0.7118147649947314,
    },
    ("flights_status", "2013-08-19"): {
        "accuracy": 0.8970451616245507,
        "precision_macro": 0.2990150538748502,
        "recall_macro": 0.3333333333333333,
        "f1_macro": 0.31524294721458945,
        "roc_auc_ovr_macro": 0.6803199178449034,
    },
    ("bikes", "2012-01-02"): {"mae": 19.847670808183306, "rmse": 24.063155493572975},
    ("bikes", "2012-05-21"): {"mae": 28.835284858979993, "rmse": 46.835643227626946},
}


@pytest.mark.parametrize(("name", "monday"), RECORDED)
def test_as_nannyml_has_it(name: str, monday: str, made: dict[str, tuple[Model, Baseline]]) -> None:
    """Confusion metrics to nine digits, ROC AUC to the score's cells; another learner of losses within a quarter."""
    model, baseline = made[name]
    table = pq.read_table(DATA / name / "predictions.parquet")
    days = (table["timestamp"].to_numpy() - np.datetime64(monday)) / np.timedelta64(1, "D")
    week = table.filter(pa.array((days >= 0) & (days < 7)))
    found = parts.estimated(model.task, baseline.bins, of_rows(baseline, model, week), None)
    for metric, value in RECORDED[name, monday].items():
        bound = {"mae": 0.25 * value, "rmse": 0.25 * value, "roc_auc_ovr_macro": 5e-4}.get(metric, 1e-9)
        assert found[metric].value == pytest.approx(value, abs=bound), metric


def test_bikes_decay_by_the_estimate_and_by_the_labels(made: dict[str, tuple[Model, Baseline]]) -> None:
    """Rides grew while weather and hours stayed: the error rises, and the estimate, which knows only those, hardly.

    That is what the estimate's own error is for: it says so as soon as labels are known.
    """
    model, baseline = made["bikes"]
    table = pq.read_table(DATA / "bikes" / "predictions.parquet")
    labels = pq.read_table(DATA / "bikes" / "labels.parquet").select(["request_id", "label"])
    joined = table.join(labels, "request_id").sort_by("timestamp")
    estimates, realised = [], []
    for half in (joined[: len(joined) // 2], joined[len(joined) // 2 :]):
        vector = of_rows(baseline, model, half.drop(["label"]))
        result = estimation(model, baseline, [View("1", "7d", 0, 7 * 86_400, vector)])
        score = values(result.readings, "model_performance_estimated_score")
        estimates.append(score["bikes", "1", "7d", "all", "mae", "dle"])
        realised.append(float(np.abs(half["prediction"].to_numpy() - half["label"].to_numpy()).mean()))
    assert realised == pytest.approx([112.9, 188.3], abs=0.1)
    assert estimates[0] < estimates[1]
    assert estimates == pytest.approx([26, 26], abs=2)


def test_days_tell_what_was_estimated(made: dict[str, tuple[Model, Baseline]]) -> None:
    """Also days without labels; what was written before there were estimates is read."""
    model, baseline = made["bikes"]
    vector = of_rows(baseline, model, pq.read_table(DATA / "bikes" / "predictions.parquet")[:300])
    day = describe(model, baseline.bins, baseline.columns, vector)
    assert set(day.estimated) == {"mae", "rmse"}
    assert from_text(to_text(day)) == day
    old = '{"rows": 3, "labelled": 0, "signals": {}, "drift": {}, "scores": {}}'
    assert from_text(old) == Day(3, 0, {}, {}, {})


def test_too_few_rows(made: dict[str, tuple[Model, Baseline]]) -> None:
    """Below the minimum nothing is said, and the state says so; so it is where the reference had too few labels."""
    model, baseline = made["bikes"]
    vector = of_rows(baseline, model, pq.read_table(DATA / "bikes" / "predictions.parquet")[:20])
    found = estimation(model, baseline, [View("1", "7d", 0, 7 * 86_400, vector)])
    assert found.states == {("1", "7d"): "insufficient"}
    assert not found.readings
    few = fit(model, pq.read_table(DATA / "bikes" / "reference.parquet")[:150])
    assert few.bins.estimator is None
    assert estimation(model, few, [View("1", "7d", 0, 7 * 86_400, few.vector)]).states == {("1", "7d"): "insufficient"}
