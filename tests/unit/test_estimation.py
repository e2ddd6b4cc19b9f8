"""Estimated performance: by hand, against simulated labels, and the same in any batches."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.ensemble import HistGradientBoostingRegressor

from exporter import parts
from exporter.baseline import dump, restore
from exporter.performance import calibrators, expected, losses, trees
from exporter.performance.calibrators import Calibrator, Calibrators
from exporter.performance.expected import ExpectedClasses, ExpectedErrors, interval, of_classes, of_errors
from exporter.performance.losses import Loss, Losses
from exporter.profile import estimate, numeric
from exporter.profile.counts import FRACTION, add_into
from exporter.profile.outcome import ClassBins
from exporter.reference import fit
from exporter.rows import CategoryColumn, Floats, NumericColumn
from exporter.threads import one_thread
from tests.unit.helpers.profiles import counted, settings, take

AS_IS = Calibrators((None,), 1_000)
CELL_METRICS = ("accuracy", "precision", "recall", "f1", "specificity", "balanced_accuracy", "mcc")
CLASS_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted", "balanced_accuracy", "mcc")


def class_bins(scores: Floats, count: int = 2) -> ClassBins:
    own = tuple(numeric.fit(column, 4096) for column in scores.T)
    return ClassBins(tuple(f"c{number}" for number in range(count)), own)


def expect(bins: ClassBins, prediction: Floats, scores: Floats, maps: Calibrators = AS_IS) -> ExpectedClasses:
    placed = estimate.place_classes(maps, bins, prediction, scores)
    return estimate.read_classes(bins, counted(placed, len(prediction), estimate.size(maps, bins)))


def test_by_hand() -> None:
    """Probabilities .9, .8, .3 and predictions 1, 1, 0: cells are sums of probabilities, the rest follows."""
    scores = np.array([[0.9], [0.8], [0.3]])
    sums = expect(class_bins(scores), np.array([1.0, 1.0, 0.0]), scores)
    assert sums.confusion == pytest.approx(np.array([[0.7, 0.3, 0], [0.3, 1.7, 0]]), abs=1e-9)
    found = of_classes("binary", sums, (*CELL_METRICS[:5], "roc_auc", "log_loss", "brier"))
    values = {name: one.value for name, one in found.items()}
    entropy = -sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in (0.9, 0.8, 0.3)) / 3
    assert values == pytest.approx(
        {
            "accuracy": 0.8,
            "precision": 0.85,
            "recall": 0.85,
            "f1": 0.85,
            "specificity": 0.7,
            "roc_auc": 0.8,
            "log_loss": entropy,
            "brier": (0.09 + 0.16 + 0.21) / 3,
        },
        abs=1e-9,
    )
    spread = math.sqrt(0.09 + 0.16 + 0.21) / 3  # Poisson-binomial
    assert found["accuracy"].deviation == pytest.approx(spread, rel=1e-4)


def simulated(seed: int, rows: int, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return prediction, scores and true probabilities: the scores are those, so they are calibrated."""
    random = np.random.default_rng(seed)
    chance = random.dirichlet(np.linspace(0.5, 2, classes), rows)
    prediction = chance.argmax(axis=1).astype(float)
    prediction[random.random(rows) < 0.1] = 0.0
    return prediction, chance[:, 1:] if classes == 2 else chance, chance


def draws(chance: Floats, times: int) -> list[Any]:
    random = np.random.default_rng(7)
    return [(random.random(len(chance))[:, None] > chance.cumsum(axis=1)[:, :-1]).sum(axis=1) for _ in range(times)]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_estimates_are_what_labels_drawn_from_the_probabilities_give(task: str) -> None:
    """Mean and deviation of scikit-learn's metrics over 150 draws of the labels."""
    classes = 2 if task == "binary" else 3
    prediction, scores, chance = simulated(3, 600, classes)
    bins = class_bins(scores, classes)
    maps = Calibrators((None,) * scores.shape[1], 1_000)
    names = (*(CELL_METRICS if task == "binary" else CLASS_METRICS), "log_loss", "brier")
    names += ("roc_auc",) if task == "binary" else ("roc_auc_ovr_macro",)
    found = of_classes(task, expect(bins, prediction, scores, maps), names)
    assert set(found) == set(names)

    def of_labels(label: Any) -> dict[str, float]:
        said = prediction.astype(int)
        one_hot = np.eye(classes)[label]
        squared = float(((chance - one_hot) ** 2).sum(axis=1).mean())
        own = {
            "accuracy": sk.accuracy_score(label, said),
            "balanced_accuracy": sk.balanced_accuracy_score(label, said),
            "mcc": sk.matthews_corrcoef(label, said),
            "log_loss": sk.log_loss(label, chance),
            "brier": squared / 2 if task == "binary" else squared,
        }
        if task == "binary":
            own |= {
                "precision": sk.precision_score(label, said),
                "recall": sk.recall_score(label, said),
                "f1": sk.f1_score(label, said),
                "specificity": sk.recall_score(label, said, pos_label=0),
                "roc_auc": sk.roc_auc_score(label, scores[:, 0]),
            }
            return own
        return own | {
            "precision_macro": sk.precision_score(label, said, average="macro"),
            "recall_macro": sk.recall_score(label, said, average="macro"),
            "f1_macro": sk.f1_score(label, said, average="macro"),
            "f1_weighted": sk.f1_score(label, said, average="weighted"),
            "roc_auc_ovr_macro": sk.roc_auc_score(label, chance, multi_class="ovr"),
        }

    drawn = [of_labels(label) for label in draws(chance, 150)]
    for name, one in found.items():
        values = np.array([row[name] for row in drawn])
        assert one.deviation is not None
        assert one.value == pytest.approx(values.mean(), abs=5 * values.std() / math.sqrt(150) + 0.0015), name
        loosest = 1.8 if name == "roc_auc_ovr_macro" else 1.22  # the classes' areas do not move together
        assert 0.82 < one.deviation / values.std() < loosest, name


def test_interval_counts_what_the_estimate_was_learned_from() -> None:
    """As many rows again: twice the variance. Never beyond the metric's range, none without a deviation."""
    one = expected.Estimate(0.9, 0.01)
    assert interval("accuracy", one, 100, 10**9) == pytest.approx((0.9 - 0.0196, 0.9 + 0.0196), abs=1e-4)
    low, high = interval("accuracy", one, 100, 100) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * 0.01 * math.sqrt(2), rel=1e-3)
    low, high = interval("accuracy", one, 100, 10**9, expected.Misses(0.0003, 10**6)) or (0, 0)
    assert high - low == pytest.approx(4 * 1.96 * 0.01, rel=1e-3)
    assert interval("accuracy", expected.Estimate(0.99, 0.1), 1, 100) == pytest.approx((0.793, 1.0), abs=1e-3)
    assert interval("average_precision", expected.Estimate(0.9), 100, 100) is None


probabilities = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(st.integers(-1, 1), probabilities), min_size=1, max_size=40), st.data())
def test_batches_add_up(rows: list[tuple[int, float]], data: st.DataObject) -> None:
    """However the rows are cut into batches, the sums are the same to the last part."""
    prediction, scores = np.array([r[0] for r in rows], float), np.array([[r[1]] for r in rows])
    maps = Calibrators((Calibrator(np.array([0.2, 0.6]), np.array([0.1, 0.9])),), 10)
    bins, width = class_bins(np.array([[0.1], [0.5], [0.7]])), 0
    cuts = sorted({0, len(rows), *data.draw(st.lists(st.integers(0, len(rows)), max_size=4))})
    width = estimate.size(maps, bins)
    total = sum(
        counted(estimate.place_classes(maps, bins, prediction[a:b], scores[a:b]), b - a, width)
        for a, b in pairwise(cuts)
    )
    whole = counted(estimate.place_classes(maps, bins, prediction, scores), len(rows), width)
    assert (np.asarray(total) == whole).all()
    assert estimate.rows(maps, bins, whole) == len(rows)
    assert estimate.read_classes(bins, whole).rows == pytest.approx(len(rows), abs=1e-8)


def test_rows_without_a_probability_do_not_count() -> None:
    """NaN, or what is no probability."""
    scores = np.array([[0.9], [np.nan], [1.5], [0.3]])
    sums = expect(class_bins(scores[[0, 3]]), np.array([1.0, 1.0, 0.0, -1.0]), scores)
    assert sums.confusion[:, 2].sum() == pytest.approx(1)  # the last row names none of the classes
    assert sums.rows == pytest.approx(2)


@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_where_it_helps(classes: int) -> None:
    """Scores pushed to the ends are mapped back; scores that are probabilities stay as they are, but for noise."""
    _, scores, chance = simulated(5, 6_000, classes)
    label = draws(chance, 1)[0].astype(float)
    pushed = chance**2 / (chance**2).sum(axis=1, keepdims=True)
    maps = calibrators.fit(pushed[:, 1:] if classes == 2 else pushed, label)
    assert all(own is not None for own in maps.maps)
    back = maps.probabilities(pushed[:, 1:] if classes == 2 else pushed)
    assert back.sum(axis=1) == pytest.approx(np.ones(6_000))
    assert np.abs(back - chance).mean() < np.abs(pushed - chance).mean() / 3
    again = calibrators.from_plain(json.loads(json.dumps(calibrators.to_plain(maps))))
    assert (again.probabilities(scores) == maps.probabilities(scores)).all()


def test_calibration_that_cannot_help() -> None:
    """One class alone, classes told apart, or few rows."""
    scores = np.linspace(0, 1, 500)
    assert not calibrators.helps(scores, np.ones(500, np.bool_))
    assert not calibrators.helps(scores, scores > 0.5)
    assert not calibrators.helps(scores[:10], scores[:10] > 0.01)


def test_without_any_chance_of_a_class_all_are_alike() -> None:
    """Where every map says 0."""
    none = Calibrator(np.array([0.0, 1.0]), np.array([0.0, 0.0]))
    assert Calibrators((none,) * 4, 9).probabilities(np.full((1, 4), 0.2)).tolist() == [[0.25] * 4]


def boosted(seed: int, **settings: Any) -> tuple[Any, Floats]:
    random = np.random.default_rng(seed)
    columns = np.round(random.normal(size=(1_500, 4)), 2)
    columns[random.random(columns.shape) < 0.15] = np.nan
    target = np.abs(np.nan_to_num(columns[:, 0]) * np.nan_to_num(columns[:, 1], nan=2.0)) + np.isnan(columns[:, 2])
    with one_thread():
        model = HistGradientBoostingRegressor(max_iter=40, early_stopping=False, **settings).fit(columns, target)
    wider = np.concatenate([columns * 2, columns, random.normal(size=(500, 4))])
    return model, wider


@pytest.mark.parametrize("seed", range(3))
def test_trees_say_what_scikit_learn_says(seed: int) -> None:
    """Also of missing values, of values at a threshold, and after a round through text."""
    model, columns = boosted(seed)
    own = trees.from_sklearn(model)
    with one_thread():
        assert np.abs(own.predict(columns) - model.predict(columns)).max() < 1e-9
    again = trees.from_plain(json.loads(json.dumps(trees.to_plain(own))))
    assert (again.predict(columns) == own.predict(columns)).all()
    assert (own.predict(columns[:7]) == own.predict(columns)[:7]).all()


def test_trees_have_their_limits() -> None:
    """A word has 32 bits; no tree says one number; no rows, no numbers."""
    with pytest.raises(ValueError, match="leaves"):
        trees.from_sklearn(boosted(1, max_leaf_nodes=60)[0])
    assert trees.constant(2.5).predict(np.zeros((3, 2))).tolist() == [2.5] * 3
    assert trees.constant(2.5).predict(np.zeros((0, 2))).tolist() == []


def regression(seed: int, rows: int) -> tuple[Floats, Floats]:
    """Return columns and error: the error's size is 1 + the first column."""
    random = np.random.default_rng(seed)
    columns = random.random((rows, 3))
    return columns, random.normal(size=rows) * (1 + columns[:, 0])


def test_losses_follow_the_rows() -> None:
    """E|e| of a normal error is sqrt(2 / pi) sigma; where rows are harder, the estimate rises with them."""
    absolute, squared, _ = losses.fit(*regression(0, 8_000))
    assert absolute.r2 > 0.02
    wrapped = Losses(("a", "b"), {}, absolute, squared, 2.0, 8_000)
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        columns, error = regression(1, 20_000)
        chosen = (columns[:, 0] >= low) & (columns[:, 0] < high)
        placed = estimate.place_errors(wrapped, columns[chosen])
        sums = estimate.read_errors(wrapped, counted(placed, int(chosen.sum()), estimate.size(wrapped, None)))
        found = of_errors(sums, None)
        realised = 2 * np.abs(error[chosen])
        assert found["mae"].value == pytest.approx(realised.mean(), rel=0.06)
        assert found["rmse"].value == pytest.approx(math.sqrt((realised**2).mean()), rel=0.06)
        assert found["mae"].deviation == pytest.approx(realised.std() / math.sqrt(chosen.sum()), rel=0.1)


def days_of(task: str, seed: int, days: int, apart: float) -> pa.Table:
    """Return 200 rows a day; `apart` is how much the days differ in what their scores, or features, are worth."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), 200)
    factor = random.normal(0, apart, days)[day]
    feature, score = random.random(len(day)), random.beta(2, 3, len(day)).round(3)
    columns = {
        "id": [f"{seed}-{row}" for row in range(len(day))],
        "time": pa.array((1_600_000_000 // 86_400 + day) * 86_400_000_000 + 3_600_000_000, pa.timestamp("us", "UTC")),
        "amount": feature,
    }
    if task == "binary":
        chance = 1 / (1 + np.exp(-(np.log(np.maximum(score, 1e-3) / np.maximum(1 - score, 1e-3)) + factor)))
        columns |= {"score": score, "prediction": (score > 0.5) * 1, "label": (random.random(len(day)) < chance) * 1}
    else:
        columns |= {"prediction": np.full(len(day), 100.0)}
        columns["label"] = 100 + random.normal(size=len(day)) * (1 + feature) * np.exp(factor)
    return pa.table(columns)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("apart", [0.0, 0.5])
def test_days_that_differ_by_more_than_chance(task: str, apart: float) -> None:
    """As the reference's own days were off beyond chance, so may new ones be: 95 of 100 are within the interval."""
    wanted = ("accuracy", "recall", "log_loss") if task == "binary" else ("mae", "rmse")
    model = settings(
        task,
        columns={"features": ["amount"]},
        windows=["24h"],
        bucket="1d",
        performance={"min_rows": 1, "estimate": True, "metrics": wanted},
    )
    baseline = fit(model, days_of(task, 0, 60, apart))
    found = baseline.misses["24h"]
    assert found[wanted[0]].chunks == 60
    assert (found[wanted[0]].variance > 1e-4) == (apart > 0)
    assert restore(*dump(baseline)).misses == baseline.misses
    log, held, without = days_of(task, 1, 150, apart), dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
    for first in range(0, len(log), 200):
        vector = np.zeros(baseline.bins.size, np.int64)
        add_into(vector, take(model, baseline, log.slice(first, 200)))
        realised = parts.performance(task, baseline.bins, vector, wanted)
        for name, one in parts.estimated(task, baseline.bins, vector, wanted).items():
            for told, misses in ((held, found[name]), (without, None)):
                low, high = interval(name, one, 200, baseline.bins.estimator.rows, misses) or (0, 0)
                told[name] += low <= realised[name] <= high
    assert all(0.89 <= count / 150 <= 1 for count in held.values()), held
    if apart:
        assert min(without.values()) / 150 < 0.88


def test_few_days_tell_nothing_of_themselves() -> None:
    """Below 14 days there is chance alone."""
    model = settings(columns={"features": ["amount"]}, performance={"estimate": True})
    assert fit(model, days_of("binary", 0, 13, 0.3)).misses == {}
    wide = settings(columns={"features": ["amount"]}, windows=["7d"], performance={"estimate": True})
    assert fit(wide, days_of("binary", 0, 20, 0.3)).misses["7d"]["accuracy"].chunks == 5


def test_losses_that_cannot_be_learned_are_about_the_mean() -> None:
    """Noise has no model, and the mean over many rows is what it was; what never varies needs no trees."""
    random = np.random.default_rng(0)
    error = random.normal(size=2_000)
    absolute, *_ = losses.fit(random.random((2_000, 3)), error)
    said = absolute.trees.predict(random.random((2_000, 3)))
    assert absolute.r2 < 0
    assert said.mean() == pytest.approx(np.abs(error).mean(), rel=0.03)
    same = losses.fit(random.random((300, 1)), np.full(300, 2.0))[0]
    assert (same.trees.count, same.trees.base, same.noise) == (0, 2.0, 0.0)


def test_losses_come_back_from_text() -> None:
    """To the last bit, categories in order."""
    columns, error = regression(0, 1_000)
    one = Losses(("a", "b"), {"b": ("x", "y")}, *losses.fit(columns, error)[:2], 3.0, 1_000)
    again = losses.from_plain(json.loads(json.dumps(losses.to_plain(one))))
    assert again._replace(absolute=one.absolute, squared=one.squared) == one
    assert all((a == b).all() for a, b in zip(again.expected(columns), one.expected(columns), strict=True))


def test_categories_by_their_mean_error() -> None:
    """Rare ones near the mean of all; unseen and missing ones have no place."""
    codes = np.array([0] * 50 + [1] * 50 + [2] + [-1])
    error = np.array([1.0] * 50 + [3.0] * 50 + [9.0, 2.0])
    assert losses.order_of(("low", "high", "rare", "never"), codes, error) == ("low", "rare", "high")
    column = CategoryColumn(("new", "low", "high"), np.array([0, 1, 2, -1]))
    numbers = NumericColumn(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, True]))
    table = estimate.columns_of({"c": column, "n": numbers}, {"c": ("low", "rare", "high")}, np.arange(4.0))
    assert np.nan_to_num(table, nan=-1).tolist() == [[-1, 1, 0], [0, -1, 1], [2, 3, 2], [-1, 4, 3]]


def test_nothing_of_nothing() -> None:
    """No rows, no estimates."""
    scores = np.array([[0.2], [0.8]])
    bins = class_bins(scores)
    assert of_classes("binary", expect(bins, np.empty(0), np.empty((0, 1))), None) == {}
    flat = Loss(trees.constant(1.0), 1.0, 0.0)
    empty = Losses((), {}, flat, flat, 1.0, 200)
    assert of_errors(estimate.read_errors(empty, np.zeros(9, np.int64)), None) == {}
    assert of_errors(ExpectedErrors(4, 8.0, 16.0, 4.0, 4.0), ("mae",))["mae"].value == 2.0
    assert FRACTION == 2**32
