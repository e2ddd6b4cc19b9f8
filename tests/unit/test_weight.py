"""Weighted performance: scikit-learn's with `sample_weight`, from whole numbers; intervals of effective rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from exporter import ledger, parts
from exporter.baseline import Baseline, dump, restore
from exporter.collector import Board
from exporter.config import load
from exporter.consistency import conflicts
from exporter.ledger import Limits
from exporter.monitor import Monitor
from exporter.performance.metrics import METRICS
from exporter.profile.batch import read_labels, read_log
from exporter.profile.counts import add_into
from exporter.profile.weight import WeightBins, fit, units
from exporter.readings import Readings
from exporter.reference import fit as fit_baseline
from exporter.rows import Ints
from exporter.schema import SchemaError
from exporter.settings import Model
from exporter.store import Store
from tests.integration.small import DAY, HOUR, NOON, rows, write, write_config
from tests.integration.small import model as small
from tests.unit.helpers.profiles import random_table, settings, take

TASKS = ("binary", "multiclass", "regression")
LIMITS = Limits(now=1_600_000_000 + 1e7, bucket=600, oldest=0)


def weighted(table: pa.Table, seed: int = 0, weights: list[float] | None = None) -> pa.Table:
    """Add weights, of a survey's kind: from a tenth to ten, in 512ths of 1.5."""
    rng = np.random.default_rng(seed)
    own = np.maximum(np.rint(rng.lognormal(0, 0.7, len(table)) * 512), 1) * 1.5 / 512 if weights is None else weights
    return table.append_column("weight", pa.array(own, pa.float64()))


def of(task: str, **more: object) -> Model:
    columns = {"weight": "weight", "features": ["amount"], **more}
    return settings(task, columns=columns, performance={"min_rows": 1, "metrics": tuple(METRICS[task])})


def vector_of(model: Model, baseline: Baseline, table: pa.Table) -> Ints:
    vector = np.zeros(baseline.bins.size, np.int64)
    add_into(vector, take(model, baseline, table))
    return vector


def oracle(task: str, table: pa.Table) -> dict[str, float]:
    """Return scikit-learn's metrics of the labelled rows, weighted."""
    frame = table.to_pandas().dropna(subset=["label"])
    y, p, w = frame["label"], frame["prediction"], frame["weight"]
    if task == "regression":
        size = np.abs(p - y)
        return {
            "mae": sk.mean_absolute_error(y, p, sample_weight=w),
            "rmse": sk.root_mean_squared_error(y, p, sample_weight=w),
            "mse": sk.mean_squared_error(y, p, sample_weight=w),
            "r2": sk.r2_score(y, p, sample_weight=w),
            "mean_error": np.average(p - y, weights=w),
            "wape": (w * size).sum() / (w * np.abs(y)).sum(),
            "smape": np.average(2 * size / (np.abs(y) + np.abs(p)), weights=w),
        }
    found = {
        "accuracy": sk.accuracy_score(y, p, sample_weight=w),
        "mcc": sk.matthews_corrcoef(y, p, sample_weight=w),
        "kappa": sk.cohen_kappa_score(y, p, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, p, sample_weight=w),
    }
    scored = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    if task == "multiclass":
        scores = frame[["score_a", "score_b", "score_c"]].to_numpy()
        found |= {
            f"{name}_{kind}": one(y, p, average=kind, sample_weight=w)
            for name, one in scored.items()
            for kind in ("macro", "weighted", "micro")
        }
        areas = [sk.roc_auc_score(y == name, scores[:, i], sample_weight=w) for i, name in enumerate("abc")]
        shares = [w[y == name].sum() for name in "abc"]
        return found | {
            "log_loss": sk.log_loss(y, scores, sample_weight=w),
            "top_2_accuracy": sk.top_k_accuracy_score(y, scores, k=2, sample_weight=w),
            "roc_auc_ovr_macro": np.mean(areas),
            "roc_auc_ovr_weighted": np.average(areas, weights=shares),
        }
    score = frame["score"]
    return found | {
        **{name: one(y, p, sample_weight=w) for name, one in scored.items()},
        "specificity": sk.recall_score(y, p, pos_label=0, sample_weight=w),
        "roc_auc": sk.roc_auc_score(y, score, sample_weight=w),
        "average_precision": sk.average_precision_score(y, score, sample_weight=w),
        "log_loss": sk.log_loss(y, score, sample_weight=w),
        "brier": sk.brier_score_loss(y, score, sample_weight=w),
        "brier_uncertainty": np.average(y, weights=w) * (1 - np.average(y, weights=w)),
    }


@pytest.mark.parametrize("task", TASKS)
def test_metrics_are_scikit_learns_with_sample_weight(task):
    """Weights rounded to a 4,096th of the mean; classifiers' scores are at knots."""
    reference = weighted(random_table(0, 3000, task, strange=False))
    model = of(task)
    baseline = fit_baseline(model, reference)
    found = parts.performance(task, baseline.bins, vector_of(model, baseline, reference), model.metrics)
    expected = oracle(task, reference)
    assert len(expected) >= 7
    for name, value in expected.items():
        slack = 1e-3 if task == "multiclass" and "roc" in name else 1e-4
        assert found[name] == pytest.approx(value, abs=slack * max(abs(value), 1)), name
    plain = parts.performance(
        task, baseline.bins, vector_of(model, baseline, weighted(reference.drop("weight"), 5)), None
    )
    assert any(plain[name] != pytest.approx(found[name], abs=1e-3) for name in plain)


@pytest.mark.parametrize("task", TASKS)
def test_equal_weights_change_nothing(task):
    """Neither a value nor an interval, whatever the weight is."""
    reference = random_table(0, 500, task)
    model, without = of(task), settings(task, columns={"features": ["amount"]}, performance={"min_rows": 1})
    own, plain = fit_baseline(model, weighted(reference, weights=[7.5] * 500)), fit_baseline(without, reference)
    first = parts.measured(task, own.bins, own.vector, model.metrics)
    second = parts.measured(task, plain.bins, plain.vector, model.metrics)
    assert first.keys() == second.keys()
    for name, one in first.items():
        sides = [[end for end in both if end is not None] for both in (one, second[name])]
        assert sides[0] == pytest.approx(sides[1], rel=1e-6, abs=1e-9), name
    assert own.bins.effective_rows(own.vector) == pytest.approx(plain.bins.labelled_rows(plain.vector))
    assert plain.bins.size < own.bins.size
    assert restore(*dump(own)).bins.hash == own.bins.hash


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.lists(st.booleans(), min_size=20, max_size=20))
@hypothesis_settings(max_examples=30, deadline=None)
def test_weighted_profiles_add_up(weights, side):
    """Whole numbers: any two parts give the whole, to the last one."""
    table = weighted(random_table(3, len(weights)), weights=weights)
    model = of("binary")
    first = np.array(side[: len(weights)])
    both = [table.filter(pa.array(one)) for one in (first, ~first)]
    total = sum(vector_of(model, BINARY, one) for one in both if len(one))
    assert (vector_of(model, BINARY, table) == total).all()


BINARY = fit_baseline(of("binary"), weighted(random_table(0, 300)))


def test_rows_without_a_usable_weight_do_not_count():
    bins = fit("weight", np.array([1.0, 3.0, np.nan, -1.0, 0.0]))
    assert bins == WeightBins("weight", 2 / 4096)
    assert units(bins, np.array([2.0, 0.5, np.nan, -3.0, 0.0, 1e9])).tolist() == [4096, 1024, 0, 0, 0, 2**22]
    with pytest.raises(ValueError, match="no weight above 0"):
        fit("weight", np.array([0.0, np.nan]))
    with pytest.raises(SchemaError, match="has no column 'weight'"):
        fit_baseline(of("binary"), random_table(0, 300))
    with pytest.raises(SchemaError, match="give each labelled row one"):
        fit_baseline(of("binary"), weighted(random_table(0, 300), weights=[0.0] * 300))


def test_labels_of_their_own_find_the_weight_again():
    """Of late and of corrected labels, in the ledger, as if they had been in the log."""
    model = of("regression")
    baseline = fit_baseline(model, weighted(random_table(0, 300, "regression")))
    log = weighted(random_table(4, 40, "regression"), 4)
    whole, later = Store("sqlite:///:memory:"), Store("sqlite:///:memory:")
    found = []
    for store, table in ((whole, log), (later, log.drop_columns(["label", "label_time"]))):
        with store.transaction() as tx:
            ledger.add_log(tx, "m", baseline, read_log(model, baseline.schema, table), LIMITS)
            if store is later:
                wrong = log.set_column(log.column_names.index("label"), "label", pa.array([1.0] * 40))
                early = wrong["label_time"].cast(pa.int64()).to_numpy() - 5
                wrong = wrong.set_column(
                    wrong.column_names.index("label_time"),
                    "label_time",
                    pa.array(early).cast(pa.timestamp("us", "UTC")),
                )
                kept = pa.array([one is not None for one in log["label"].to_pylist()])
                for labels in (wrong.filter(kept), log.filter(kept)):
                    ledger.add_labels(tx, "m", "1", baseline, read_labels(model, baseline.schema, labels))
                    ledger.settle_labels(tx, "m", baseline, 1e10)
            vector = np.zeros(baseline.bins.size, np.int64)
            for bucket in tx.buckets("m", 0, 2**40):
                add_into(vector, bucket.counts)
        found.append(vector)
        store.close()
    assert (found[0] == found[1]).all()
    assert baseline.bins.part(found[0], "weighted").any()


def test_intervals_are_of_what_the_rows_are_worth():
    """400 rows of which the weights make 200: 95 of 100 intervals hold the weighted value of very many."""
    rng = np.random.default_rng(7)
    model = settings(columns={"weight": "weight", "features": ["amount"]}, performance={"min_rows": 1})
    baseline = fit_baseline(model, weighted(random_table(0, 2000, strange=False), 1))
    held, tries = dict.fromkeys(("accuracy", "recall", "f1", "roc_auc", "log_loss", "mcc"), 0), 400

    def sample(count: int) -> dict[str, object]:
        score = np.round(rng.beta(2, 3, count), 2)
        table = pa.table(
            {
                "id": [str(n) for n in range(count)],
                "time": pa.array(np.full(count, 1_600_000_000_000_000), pa.timestamp("us", "UTC")),
                "amount": np.zeros(count),
                "score": score,
                "prediction": (score > 0.5).astype(np.int64),
                "label": (rng.random(count) < score**1.3).astype(np.int64),
                "weight": rng.gamma(1, 1, count),
            }
        )
        return parts.measured("binary", baseline.bins, vector_of(model, baseline, table), tuple(held))

    truth = sample(300_000)
    for _ in range(tries):
        for name, one in sample(400).items():
            held[name] += one.lower <= truth[name].value <= one.upper
    assert all(0.92 <= count / tries <= 0.98 for count in held.values()), held


@pytest.mark.parametrize(
    ("columns", "performance", "sentence"),
    [
        ({"label": None}, {}, "weights are of labelled rows"),
        ({"group": "query"}, {}, "leave out weight or group"),
        ({}, {"estimate": True}, "leave out weight or performance.estimate"),
    ],
)
def test_what_cannot_be_weighted_is_refused(columns, performance, sentence):
    own = settings(columns={"weight": "weight", **columns}, performance=performance)
    assert any(sentence in one.message for one in conflicts(own))


def test_a_weighted_model_through_a_monitor(tmp_path: Path):
    """Real files: scores and baseline are weighted; counts of rows and the confusion are of rows."""
    reference = weighted(rows("credit", NOON - 32 * DAY, NOON - 2 * DAY, 1500, seed=1), 1)
    log = weighted(rows("credit", NOON - DAY, NOON, 600, seed=2), 2)
    plain = small("credit")
    plain["columns"]["weight"] = "weight"
    model = load(write_config(tmp_path, plain)).config.models[0]
    write(reference, tmp_path / "credit" / "reference.parquet")
    write(log.drop_columns(["label", "label_timestamp"]), tmp_path / "credit" / "predictions" / "0.parquet")
    write(log.select(["id", "label", "label_timestamp"]), tmp_path / "credit" / "labels" / "0.parquet")
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(50_000), retention=90 * DAY, interval=60)
    assert monitor.run(NOON + 2 * HOUR), monitor.notes
    found: Readings = monitor.results()
    scores = {one.labels[-1]: one.value for one in found["model_performance_score"] if "1d" in one.labels}
    base = {one.labels[-1]: one.value for one in found["model_performance_score_baseline"]}
    for name, value in oracle("binary", log).items():
        if name in scores:
            assert scores[name] == pytest.approx(value, abs=2e-4), name
    for name, value in oracle("binary", reference).items():
        if name in base:
            assert base[name] == pytest.approx(value, abs=2e-4), name
    counted = {one.labels[-1]: one.value for one in found["model_window_rows"] if "1d" in one.labels}
    weight = log["weight"].to_numpy()
    assert counted["labelled"] == 600
    assert counted["effective"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-3)
    cells = {one.labels[-2:]: one.value for one in found["model_confusion_rows"] if "1d" in one.labels}
    confusion = pd.crosstab(log["label"].to_pandas(), log["prediction"].to_pandas())
    assert cells["1", "1"] == confusion.loc[1, 1]
