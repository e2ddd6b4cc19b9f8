"""Importance by a surrogate: laws of the shares, and scikit-learn's permutation importance as the oracle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from exporter import importance
from exporter.importance import alike, effective, measure
from exporter.profile.model import Batch
from exporter.profile.outcome import Outcomes
from exporter.rows import MISSING, CategoryColumn, NumericColumn

N = 1200
RNG = np.random.default_rng(3)
NUMBERS = {name: RNG.normal(size=N) for name in ("strong", "weak", "ignored")}
CODES = RNG.integers(0, 4, N)
NOISE = RNG.normal(size=N)


def numbers(values):
    return NumericColumn(np.asarray(values, np.float64), np.ones(len(values), np.bool_))


def categories(codes, names=None):
    codes = np.asarray(codes, np.int64)
    return CategoryColumn(tuple(names or (f"c{i:04}" for i in range(codes.max() + 1))), codes)


def batch_of(**features):
    own = {name: one if isinstance(one, tuple) else numbers(one) for name, one in features.items()}
    return Batch(len(next(iter(own.values()))[1]), own, numbers(np.zeros(N)), ())


def regression(said, label=None):
    unknown = np.full(len(said), np.nan)
    return Outcomes(np.asarray(said, np.float64), unknown if label is None else label, np.empty((len(said), 0)))


def binary(score, label=None, scored=True):
    unknown = np.full(len(score), np.nan)
    matrix = score[:, None] if scored else np.empty((len(score), 0))
    return Outcomes((score > 0.5).astype(float), unknown if label is None else label, matrix)


SAID = 3 * NUMBERS["strong"] + NUMBERS["weak"]
PROBABILITY = 1 / (1 + np.exp(-SAID))
BATCH = batch_of(**NUMBERS)


def test_shares_of_an_additive_model_are_of_its_variance():
    """Shuffling a term of a sum costs twice its variance: 9 to 1."""
    found = measure(BATCH, regression(SAID), "regression")
    assert found.shares == pytest.approx({"strong": 0.9, "weak": 0.1, "ignored": 0.0}, abs=0.03)
    assert found.shares["ignored"] < 0.005
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.fidelity > 0.9
    assert found.rows == N
    assert found.loss_shares is None


@pytest.mark.parametrize("scored", [True, False])
def test_binary_models_with_and_without_scores(scored):
    label = (np.random.default_rng(0).random(N) < PROBABILITY).astype(float)
    found = measure(BATCH, binary(PROBABILITY, label, scored), "binary")
    for shares in (found.shares, found.loss_shares):
        assert shares["strong"] > 0.8
        assert shares["strong"] > shares["weak"] > shares["ignored"]
        assert shares["ignored"] < 0.03
        assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("scored", [True, False])
def test_multiclass_models_with_and_without_scores(scored):
    odds = np.column_stack([2 * NUMBERS["strong"], -2 * NUMBERS["strong"], NUMBERS["weak"]])
    scores = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    label = scores.argmax(axis=1).astype(float)
    outcomes = Outcomes(label, label, scores if scored else np.empty((N, 0)))
    found = measure(BATCH, outcomes, "multiclass")
    for shares in (found.shares, found.loss_shares):
        assert shares["strong"] > 0.7
        assert shares["weak"] > shares["ignored"]
        assert shares["ignored"] < 0.03


def test_what_the_model_ignores_has_no_share_even_if_the_label_hangs_on_it():
    """Against the model's output; the label has no part in it."""
    label = SAID + 5 * NUMBERS["ignored"]
    found = measure(BATCH, regression(SAID, label), "regression")
    assert found.shares == measure(BATCH, regression(SAID), "regression").shares
    assert found.shares["ignored"] < 0.005


def test_loss_shares_are_of_the_loss_against_labels():
    """The model hangs on both alike, but one of them only misleads it."""
    said = NUMBERS["strong"] + NUMBERS["weak"]
    found = measure(BATCH, regression(said, 2 * NUMBERS["strong"]), "regression")
    assert found.shares["weak"] == pytest.approx(0.5, abs=0.06)
    assert found.loss_shares["weak"] < 0.05
    few = np.where(np.arange(N) < 400, said, np.nan)  # a third of 400 is below 200
    assert measure(BATCH, regression(said, few), "regression").loss_shares is None


def test_duplicates_share_evenly_and_lose_nothing():
    """Also in another unit, turned round, or named otherwise; together they have what one alone has."""
    alone = measure(BATCH, regression(SAID), "regression").shares["strong"]
    found = measure(
        batch_of(**NUMBERS, copy=NUMBERS["strong"], celsius=-np.exp(NUMBERS["strong"])), regression(SAID), "regression"
    ).shares
    assert found["strong"] == found["copy"] == found["celsius"]
    assert 3 * found["strong"] == pytest.approx(alone, abs=0.02)
    said = np.array([0.0, 1.0, 5.0, 2.0])[CODES] + NOISE / 10
    named = categories(CODES, ["d", "a", "z", "b"])
    found = measure(batch_of(a=categories(CODES), b=named, c=NOISE), regression(said), "regression").shares
    assert found["a"] == found["b"] > 0.49


def test_constant_and_empty_columns_have_no_share():
    nothing = np.full(N, np.nan)
    infinite = NumericColumn(np.full(N, np.inf), np.zeros(N, np.bool_))
    batch = batch_of(
        **NUMBERS,
        constant=np.ones(N),
        empty=nothing,
        invalid=infinite,
        one=categories(np.zeros(N, np.int64)),
        none=CategoryColumn((), np.full(N, MISSING)),
    )
    found = measure(batch, regression(SAID), "regression")
    plain = measure(BATCH, regression(SAID), "regression")
    assert found == plain._replace(shares=plain.shares | dict.fromkeys(list(batch.features)[3:], 0.0))


def test_nothing_to_learn_from_gives_zeros():
    found = measure(batch_of(constant=np.ones(N)), regression(SAID, SAID), "regression")
    assert found.shares == found.loss_shares == {"constant": 0.0}
    assert found.fidelity == pytest.approx(0, abs=0.02)


def test_a_model_that_hangs_on_nothing_logged_has_a_low_fidelity():
    found = measure(BATCH, regression(NOISE), "regression")
    assert found.fidelity < 0.1 < importance.FAITHFUL


def test_missing_values_are_values():
    """The model says something else where a value is missing: in numbers, and in categories."""
    gone = np.random.default_rng(1).random(N) < 0.3
    number = np.where(gone, np.nan, NUMBERS["strong"])
    code = np.where(gone, MISSING, CODES)
    for column in (numbers(number), categories(code)):
        found = measure(batch_of(own=column, ignored=NUMBERS["ignored"]), regression(gone + NOISE / 10), "regression")
        assert found.shares["own"] > 0.98
        assert found.fidelity > 0.8


def test_many_categories():
    """More than a tree can tell apart; the rare ones stand together."""
    codes = np.minimum(np.random.default_rng(2).geometric(0.03, N) - 1, 299)
    value = np.where(codes < 10, codes, 5.0)
    batch = batch_of(own=categories(codes, [f"c{i}" for i in range(300)]), ignored=NUMBERS["ignored"])
    found = measure(batch, regression(value), "regression")
    assert found.shares["own"] > 0.99
    assert found.fidelity > 0.8
    rows = importance.sample(batch, regression(value), "regression")
    assert rows.columns[:, rows.names.index("own")].max() == 62


def test_unknown_outputs_are_left_out_and_too_few_rows_give_nothing():
    said = SAID.copy()
    said[:1000] = np.nan
    assert measure(BATCH, regression(said), "regression").rows == 200
    said[1000] = np.nan
    assert measure(BATCH, regression(said), "regression") is None
    assert measure(BATCH, regression(np.ones(N)), "regression") is None
    margins = binary(2 * PROBABILITY)  # no probability is above 1
    assert measure(BATCH, margins, "binary").rows == (PROBABILITY <= 0.5).sum()
    nowhere = Outcomes(np.full(N, -1.0), np.full(N, np.nan), np.empty((N, 0)))
    assert measure(BATCH, nowhere, "multiclass") is None


def test_many_rows_and_many_classes_are_cut():
    n, classes = 6000, 12
    rng = np.random.default_rng(4)
    x = rng.integers(0, classes, n)
    scores = np.full((n, classes), 0.01)
    scores[np.arange(n), x] = 0.89
    rows = importance.sample(batch_of(x=x), Outcomes(x.astype(float), x.astype(float), scores), "multiclass")
    assert rows.output.shape == rows.truth.shape == (importance.MOST_ROWS, 4)


def test_order_of_features_is_nothing_and_a_seed_repeats():
    found = measure(BATCH, regression(SAID), "regression", 5)
    turned = measure(batch_of(**dict(reversed(NUMBERS.items()))), regression(SAID), "regression", 5)
    assert turned == found
    assert measure(BATCH, regression(SAID), "regression", 6) != found


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_losses_are_scikit_learns_permutation_importance(task):
    """Of the same surrogate, for columns that are not alike; chance of five shuffles apart."""
    batch = batch_of(**NUMBERS, kind=categories(CODES))
    said = SAID + CODES
    outcomes = regression(said) if task == "regression" else binary(1 / (1 + np.exp(1.5 - said)))
    rows = importance.sample(batch, outcomes, task)
    train, test = importance.split(N)
    with threadpool_limits(1):  # more threads only wait for each other on a loaded machine
        surrogate = importance.fit(rows, train)
        [lost] = importance.losses(surrogate, rows.columns[test], (rows.output[test],), rows.groups)
        copied = surrogate.predict(rows.columns[test])[:, 0]
        oracle = permutation_importance(
            surrogate.models[0],
            rows.columns[test],
            rows.output[test, 0],
            scoring="neg_mean_squared_error",
            n_repeats=40,
            random_state=0,
        )
    by_column = lost[rows.groups]
    error = 4 * oracle.importances_std / np.sqrt(importance.REPEATS)
    assert (np.abs(by_column - oracle.importances_mean) <= error + 1e-3).all()
    assert by_column.max() > 100 * by_column.min()
    assert measure(batch, outcomes, task).fidelity == pytest.approx(r2_score(rows.output[test, 0], copied))


def test_one_thread_also_before_scikit_learn_is_loaded():
    """The limit holds for libraries that are loaded when it is set."""
    code = (
        "import sys; from exporter import importance, threads\n"
        "assert 'sklearn' not in sys.modules\n"
        "with threads.one_thread():\n"
        "    from threadpoolctl import threadpool_info\n"
        "    print({one['num_threads'] for one in threadpool_info() if one['user_api'] == 'openmp'})"
    )
    root = Path(importance.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"


def test_groups_are_those_of_spearmans_rho():
    rng = np.random.default_rng(8)
    base = rng.normal(size=(500, 3))
    chain = base[:, :1] + np.cumsum(rng.normal(size=(500, 4)), axis=1) * 0.3
    columns = np.column_stack([base, np.round(chain, 1), rng.integers(0, 2, 500)])
    near = np.abs(spearmanr(columns).statistic) >= importance.ALIKE
    groups = alike(columns)
    reached = np.linalg.matrix_power(near.astype(int), len(near)) > 0
    assert ((groups[:, None] == groups) == reached).all()
    assert near.sum() > len(near)
    assert len(set(groups.tolist())) > 2


def test_effective_given_before_measured():
    measured = {"a": 0.6, "b": 0.3, "c": 0.1}
    assert effective({}, measured) == measured
    assert effective({"a": None, "b": 0.0, "d": 2.0}, measured) == {"a": 0.6, "b": 0.0, "c": 0.1, "d": 2.0}
    assert effective({"a": 0.5, "b": None}, {}) == {"a": 0.5}
