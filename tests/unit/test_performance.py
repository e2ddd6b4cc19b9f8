"""Performance metrics: each of the table against scikit-learn on the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from exporter.performance.metrics import LOWER_IS_BETTER, METRICS, SIGNED, is_known, scores
from exporter.performance.tables import ScoreTable
from exporter.profile.outcome import (
    ClassBins,
    Outcomes,
    RegressionBins,
    place_classes,
    place_regression,
    read_classes,
    read_regression,
)
from tests.unit.helpers.bounds import average_precision_interval, roc_auc_bound
from tests.unit.helpers.profiles import counted, numeric_bins

GRID = numeric_bins(np.linspace(0, 1, 41))
CLASSES = [0, 1, 2]


def smape(y: np.ndarray, d: np.ndarray) -> float:
    size = np.abs(y) + np.abs(d)
    return float(np.mean(np.where(size > 0, 2 * np.abs(d - y) / np.where(size > 0, size, 1), 0)))


def tenths(hit: np.ndarray, score: np.ndarray) -> list[tuple[float, float, float]]:
    """Return share of the rows, mean score and share of hits of each tenth of the scores that has rows."""
    of = np.minimum(np.floor(score * 10), 9)
    return [(np.mean(of == b), score[of == b].mean(), hit[of == b].mean()) for b in np.unique(of)]


def kappa(y: np.ndarray, d: np.ndarray) -> float:
    return sk.cohen_kappa_score(y, d) if len(set(y)) > 1 else np.nan


def macro(metric: Callable[..., float], average: str = "macro") -> Callable[..., float]:
    return lambda y, d, p: metric(y, d, labels=CLASSES, average=average, zero_division=0)


def brier_of_classes(y: np.ndarray, d: np.ndarray, p: np.ndarray) -> float:
    return float(((p - np.eye(3)[y]) ** 2).sum(axis=1).mean())


# A metric's oracle gets labels, predictions and probabilities; NaN is "has no value".
ORACLES: dict[str, dict[str, Callable[..., float]]] = {
    "binary": {
        "accuracy": lambda y, d, p: sk.accuracy_score(y, d),
        "precision": lambda y, d, p: sk.precision_score(y, d, zero_division=np.nan),
        "recall": lambda y, d, p: sk.recall_score(y, d, zero_division=np.nan),
        "f1": lambda y, d, p: sk.f1_score(y, d, zero_division=np.nan),
        "specificity": lambda y, d, p: sk.recall_score(y, d, pos_label=0, zero_division=np.nan),
        "balanced_accuracy": lambda y, d, p: sk.balanced_accuracy_score(y, d) if len(set(y)) == 2 else np.nan,
        "mcc": lambda y, d, p: sk.matthews_corrcoef(y, d),
        "roc_auc": lambda y, d, p: sk.roc_auc_score(y, p[:, 1]) if len(set(y)) == 2 else np.nan,
        "average_precision": lambda y, d, p: sk.average_precision_score(y, p[:, 1]) if y.any() else np.nan,
        "log_loss": lambda y, d, p: sk.log_loss(y, p, labels=[0, 1]),
        "brier": lambda y, d, p: sk.brier_score_loss(y, p[:, 1], labels=[0, 1]),
        "gini": lambda y, d, p: 2 * sk.roc_auc_score(y, p[:, 1]) - 1 if len(set(y)) == 2 else np.nan,
        "ks_statistic": lambda y, d, p: (
            stats.ks_2samp(p[y == 1, 1], p[y == 0, 1]).statistic if len(set(y)) == 2 else np.nan
        ),
        "calibration_error": lambda y, d, p: sum(w * abs(a - b) for w, a, b in tenths(y, p[:, 1])),
        "brier_reliability": lambda y, d, p: sum(w * (a - b) ** 2 for w, a, b in tenths(y, p[:, 1])),
        "brier_resolution": lambda y, d, p: sum(w * (b - np.mean(y)) ** 2 for w, _, b in tenths(y, p[:, 1])),
        "brier_uncertainty": lambda y, d, p: np.mean(y) * (1 - np.mean(y)),
        "negative_predictive_value": lambda y, d, p: sk.precision_score(y, d, pos_label=0, zero_division=np.nan),
        "kappa": lambda y, d, p: kappa(y, d),
    },
    "multiclass": {
        "accuracy": lambda y, d, p: sk.accuracy_score(y, d),
        "precision_macro": macro(sk.precision_score),
        "recall_macro": macro(sk.recall_score),
        "f1_macro": macro(sk.f1_score),
        "f1_weighted": macro(sk.f1_score, "weighted"),
        "balanced_accuracy": lambda y, d, p: sk.balanced_accuracy_score(y, d) if len(set(y)) > 1 else np.nan,
        "mcc": lambda y, d, p: sk.matthews_corrcoef(y, d),
        "roc_auc_ovr_macro": lambda y, d, p: (
            np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in CLASSES]) if len(set(y)) == 3 else np.nan
        ),
        "log_loss": lambda y, d, p: sk.log_loss(y, p, labels=CLASSES),
        "brier": brier_of_classes,
        "calibration_error": lambda y, d, p: sum(
            w * abs(a - b) for w, a, b in tenths(y == p.argmax(axis=1), p.max(axis=1))
        ),
        "precision_micro": macro(sk.precision_score, "micro"),
        "recall_micro": macro(sk.recall_score, "micro"),
        "f1_micro": macro(sk.f1_score, "micro"),
        "precision_weighted": macro(sk.precision_score, "weighted"),
        "recall_weighted": macro(sk.recall_score, "weighted"),
        "roc_auc_ovr_weighted": lambda y, d, p: (
            sk.roc_auc_score(y, p, multi_class="ovr", average="weighted") if len(set(y)) == 3 else np.nan
        ),
        "kappa": lambda y, d, p: kappa(y, d),
        **{
            f"top_{k}_accuracy": lambda y, d, p, k=k: sk.top_k_accuracy_score(y, p, k=k, labels=CLASSES)
            for k in (2, 3, 5)
        },
    },
    "regression": {
        "mae": sk.mean_absolute_error,
        "rmse": sk.root_mean_squared_error,
        "r2": lambda y, d: sk.r2_score(y, d) if len(set(y)) > 1 else np.nan,
        "mean_error": lambda y, d: np.mean(d - y),
        "wape": lambda y, d: np.abs(d - y).sum() / np.abs(y).sum() if y.any() else np.nan,
        "smape": smape,
        "mse": sk.mean_squared_error,
    },
}


def test_every_metric_has_an_oracle():
    """A metric that is added to the table needs a row here."""
    assert {task: set(table) for task, table in METRICS.items()} == {
        task: set(table) for task, table in ORACLES.items()
    }
    names = {name for table in METRICS.values() for name in table}
    assert names >= LOWER_IS_BETTER | SIGNED


@st.composite
def rows(draw):
    """Return task, labels, predictions and probabilities; labels of one class only and ties among them."""
    task = draw(st.sampled_from(["binary", "multiclass"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, classes = draw(st.integers(1, 80)), 2 if task == "binary" else 3
    present = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes, unique=True))
    named = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes, unique=True))
    scores = rng.multinomial(40, np.full(classes, 1 / classes), count) / 40
    return task, rng.choice(present, count), rng.choice(named, count), scores


def read(task: str, y: np.ndarray, d: np.ndarray, p: np.ndarray, bins=GRID):  # type: ignore[no-untyped-def]
    """Return the outcomes that the counts of the rows say."""
    if task == "binary":
        known, columns = ClassBins(("0", "1"), (bins,)), p[:, 1:]
    else:
        known, columns = ClassBins(("0", "1", "2"), (bins,) * 3), p
    placed = place_classes(known, Outcomes(d.astype(float), y.astype(float), columns))
    return read_classes(known, counted(placed, len(y), known.size))


@given(rows())
def test_metrics_of_classifiers_are_scikit_learns(drawn):
    """All exact where each score is a knot; a metric has no value exactly where the oracle has none."""
    task, y, d, p = drawn
    found = scores(task, read(*drawn), tuple(METRICS[task]), True)
    for name, oracle in ORACLES[task].items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle(y, d, p)
        if np.isnan(expected):
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(expected, rel=1e-9, abs=1e-9), name


@given(st.integers(0, 2**32 - 1), st.integers(2, 200), st.integers(16, 40))
def test_metrics_of_scores_between_knots_are_within_their_bounds(seed, count, most):
    rng = np.random.default_rng(seed)
    y, score = rng.integers(0, 2, count), rng.random(count)
    if len(set(y)) < 2:
        return
    found = read("binary", y, y, np.column_stack([1 - score, score]), numeric_bins(rng.random(500), most))
    (table,) = found.scores
    ours = scores("binary", found, ("roc_auc", "average_precision"), True)
    assert abs(ours["roc_auc"] - sk.roc_auc_score(y, score)) <= roc_auc_bound(table) + 1e-12
    low, high = average_precision_interval(table)
    assert low - 1e-12 <= sk.average_precision_score(y, score) <= high + 1e-12
    assert low - 1e-12 <= ours["average_precision"] <= high + 1e-12


def test_a_prediction_that_names_no_class_is_wrong_and_not_positive():
    y, d = np.array([1, 1, 0, 0]), np.array([1, -1, -1, 1])
    found = scores("binary", read("binary", y, d, np.full((4, 2), 0.5)), tuple(METRICS["binary"]), True)
    assert found["accuracy"] == 0.25
    assert (found["precision"], found["recall"], found["specificity"]) == (0.5, 0.5, 0.5)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(y, d))


@given(
    st.lists(st.tuples(st.integers(-300, 300), st.integers(-300, 300)), min_size=1, max_size=60),
    st.sampled_from([(100.0, 12.0), (0.0, 1.0), (-40.0, 250.0)]),
)
@example([(0, 2)], (-40.0, 250.0))
def test_metrics_of_regressions_are_scikit_learns(pairs, units):
    """To the rounding of sums, 2**-33 of a row in units of the reference labels' deviation."""
    y, d = (np.array(side, float) / 4 for side in zip(*pairs, strict=True))
    bins = RegressionBins(*units)
    counts = counted(place_regression(bins, Outcomes(d, y, np.empty((len(y), 0)))), len(y), bins.size)
    found = scores("regression", read_regression(bins, counts), tuple(METRICS["regression"]), True)
    for name, oracle in ORACLES["regression"].items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle(y, d)
        if np.isnan(expected):
            assert found[name] is None, name
        else:
            r2, mse = (1 + abs(expected)) * _rounding(y, *units), 2**-33 * units[1] ** 2
            small = {"rmse": 1e-4, "r2": 1e-6 + r2, "mse": 1e-6 + mse}.get(name, 1e-6)
            assert found[name] == pytest.approx(expected, rel=1e-6, abs=small), name


def _rounding(labels: np.ndarray, center: float, scale: float) -> float:
    """Return what rounding of the sums can make of the labels' spread, relative to it."""
    far = 1 + 2 * abs(labels.mean() - center) / scale
    return 4 * len(labels) * far * 2**-32 * scale**2 / max(float(((labels - labels.mean()) ** 2).sum()), 1e-300)


@pytest.mark.parametrize("task", METRICS)
def test_without_rows_no_metric_has_a_value(task):
    """Unknown is no 0 and no 1."""
    if task == "regression":
        nothing = read_regression(RegressionBins(0, 1), np.zeros(RegressionBins(0, 1).size, np.int64))
    else:
        nothing = read(task, np.empty(0, int), np.empty(0, int), np.empty((0, 2 if task == "binary" else 3)))
    assert set(scores(task, nothing, tuple(METRICS[task]), True).values()) == {None}


def test_without_scores_what_needs_them_has_no_value():
    counts = read("binary", np.array([0, 1]), np.array([0, 1]), np.full((2, 2), 0.5))
    found = scores("binary", counts, tuple(METRICS["binary"]), False)
    assert {name for name, value in found.items() if value is None} == {
        *("roc_auc", "log_loss", "brier", "average_precision", "gini", "ks_statistic", "calibration_error"),
        *("brier_reliability", "brier_resolution", "brier_uncertainty"),
    }


def test_unasked_the_default_metrics_are_shown():
    counts = read("binary", np.array([0, 1]), np.array([0, 1]), np.full((2, 2), 0.5))
    assert set(scores("binary", counts, None, True)) == {
        *("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"),
    }


def test_a_score_table_of_one_class_has_no_bound():
    assert roc_auc_bound(ScoreTable(np.array([1, 0, 2]), np.array([0, 0, 0]))) is None


@given(rows())
def test_metrics_of_one_class_are_scikit_learns(drawn):
    """Each class against the rest, by its name or all at once; a class that the model does not have has none."""
    task, y, d, p = drawn
    if task == "binary":
        return
    found = scores(task, read(*drawn), ("recall:*", "precision:1", "f1:2", "roc_auc:0", "recall:x"), True, tuple("012"))
    assert set(found) == {"recall:0", "recall:1", "recall:2", "precision:1", "f1:2", "roc_auc:0"}
    options = {"labels": CLASSES, "average": None, "zero_division": np.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {f"recall:{c}": own for c, own in enumerate(sk.recall_score(y, d, **options))}
        expected |= {"precision:1": sk.precision_score(y, d, **options)[1], "f1:2": sk.f1_score(y, d, **options)[2]}
        expected["roc_auc:0"] = sk.roc_auc_score(y == 0, p[:, 0]) if len({*(y == 0)}) == 2 else np.nan
    for name, value in expected.items():
        assert found[name] == (None if np.isnan(value) else pytest.approx(value)), name


def test_a_metric_of_a_class_is_one_of_many_classes():
    assert is_known("multiclass", "recall:late")
    assert is_known("multiclass", "f1:*")
    assert not any(
        is_known(*one) for one in (("multiclass", "rocall:late"), ("multiclass", "recall:"), ("binary", "f1:1"))
    )


@given(rows())
def test_the_parts_of_briers_score_add_up_where_a_tenth_has_one_score(drawn):
    """Reliability - resolution + uncertainty; else what varies within a tenth is missing (Stephenson et al. 2008)."""
    task, y, d, p = drawn
    if task != "binary":
        return
    flat = np.floor(p[:, 1] * 10 * (1 + 1e-12)).clip(0, 9) / 10 + 0.05
    names = ("brier", "brier_reliability", "brier_resolution", "brier_uncertainty")
    whole, *split = scores(task, read(task, y, d, np.column_stack([1 - flat, flat])), names, True).values()
    assert split[0] - split[1] + split[2] == pytest.approx(whole, abs=1e-8)
