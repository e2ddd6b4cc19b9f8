"""The baseline: bins and profile of the reference, and the law that profiles add up."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.baseline import LAYOUT, Baseline, dump, restore
from exporter.profile.coding import decode
from exporter.profile.counts import ZERO, Counts, add, negative
from exporter.profile.numeric import NumericBins
from exporter.profile.plain import bins_from_plain, bins_to_plain
from exporter.reference import fit
from exporter.schema import SchemaError
from exporter.settings import Model
from tests.unit.helpers.profiles import random_table, settings, take

FACTS = ("mean", "std", "spread", "quantiles")
TASKS = ("binary", "multiclass", "regression")
MODELS: dict[str, Model] = {task: settings(task) for task in TASKS}
FEW = settings(drift={"knots": 16, "min_rows": 1})
BASELINES: dict[str, Baseline] = {task: fit(MODELS[task], random_table(0, 300, task)) for task in TASKS}


def same(first: Counts, second: Counts) -> bool:
    return first.place.tolist() == second.place.tolist() and first.amount.tolist() == second.amount.tolist()


@given(st.sampled_from(TASKS), st.integers(1, 10**6), st.integers(0, 60), st.integers(0, 60))
def test_the_profile_of_all_rows_is_the_sum_of_its_parts(task, seed, first, second):
    """take(a + b) == take(a) + take(b): features, outputs, labels and outcomes, to the last unit."""
    model, baseline = MODELS[task], BASELINES[task]
    a, b = random_table(seed, first, task), random_table(seed + 1, second, task)
    parts = (take(model, baseline, a), take(model, baseline, b))
    assert same(add(*parts), take(model, baseline, pa.concat_tables([a, b])))
    assert same(add(take(model, baseline, pa.concat_tables([a, b])), negative(parts[1])), parts[0])


@given(st.sampled_from(TASKS), st.integers(1, 10**6), st.lists(st.integers(0, 40), max_size=6))
def test_neither_order_nor_cuts_of_the_rows_matter(task, seed, cuts):
    model, baseline = MODELS[task], BASELINES[task]
    rows = random_table(seed, 40, task)
    mixed = rows.take(np.random.default_rng(seed).permutation(40))
    places = [0, *sorted(cuts), 40]
    parts = [take(model, baseline, mixed[a:b]) for a, b in pairwise(places)]
    assert same(add(ZERO, *parts), take(model, baseline, rows))


@pytest.mark.parametrize("task", TASKS)
def test_the_references_profile_is_taken_as_any_other(task):
    assert same(BASELINES[task].counts, take(MODELS[task], BASELINES[task], random_table(0, 300, task)))
    assert int(BASELINES[task].vector[0]) == 300


@pytest.mark.parametrize("task", TASKS)
def test_a_baseline_that_rested_is_the_same(task):
    made = fit(MODELS[task], random_table(0, 300, task))
    vector, columns = made.vector.tolist(), {name: made.columns[name].sample for name in made.columns.names}
    sums = {name: own.sums.tolist() for name, own in columns.items() if hasattr(own, "sums")}
    facts = {name: (own.mean, own.std, own.spread, own.quantiles) for name, own in columns.items() if len(own.cells)}
    made.rest()
    assert "vector" not in vars(made)
    assert facts == {name: tuple(vars(made.columns[name].sample)[key] for key in FACTS) for name in facts}
    made.rest()
    made.rest()
    assert facts == {name: tuple(vars(made.columns[name].sample)[key] for key in FACTS) for name in facts}
    assert (made.vector.tolist(), made.hash) == (vector, BASELINES[task].hash)
    assert sums == {name: made.columns[name].sample.sums.tolist() for name in sums}


def test_the_reference_needs_no_order():
    rows = random_table(0, 300)
    assert fit(MODELS["binary"], rows.take(list(range(299, -1, -1)))).hash == BASELINES["binary"].hash


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("most", [16, 4096])
def test_what_was_written_is_read_again(task, most):
    """The same hash, the same vector, the same places for the next rows."""
    model = settings(task, drift={"knots": most, "min_rows": 1})
    made = fit(model, random_table(0, 300, task))
    back = restore(*dump(made))
    assert back.hash == made.hash
    assert back.bins.hash == made.bins.hash
    assert (back.vector == made.vector).all()
    assert back.schema == made.schema
    assert back.newest == made.newest
    log = random_table(5, 80, task)
    assert same(take(model, back, log), take(model, made, log))
    assert dump(back) == dump(made)


def test_another_reference_is_another_baseline():
    rows = random_table(0, 300)
    hashes = {fit(MODELS["binary"], rows[:count]).hash for count in (298, 299, 300)}
    assert len(hashes) == 3
    assert fit(FEW, rows).bins.hash != BASELINES["binary"].bins.hash


@given(st.integers(0, 2**32 - 1))
def test_knots_come_back_to_the_last_bit(seed):
    rows = random_table(0, 40, strange=False)
    amount = np.random.default_rng(seed).standard_cauchy(40)
    rows = rows.set_column(rows.column_names.index("amount"), "amount", pa.array(amount))
    made = fit(MODELS["binary"], rows)
    back = restore(*dump(made))
    assert back.bins.features["amount"].knots.tobytes() == made.bins.features["amount"].knots.tobytes()


def test_a_labelled_row_without_its_prediction_is_none_of_a_regression():
    rows = random_table(0, 50, "regression", strange=False)
    prediction = rows["prediction"].to_pylist()
    prediction[:10] = [None] * 10
    rows = rows.set_column(rows.column_names.index("prediction"), "prediction", pa.array(prediction, pa.float64()))
    made = fit(MODELS["regression"], rows)
    usable = sum(p is not None and y is not None for p, y in zip(prediction, rows["label"].to_pylist(), strict=True))
    assert made.bins.labelled_rows(made.vector) == usable
    assert 0 < usable < 50


def test_an_unlabelled_reference_serves_without_outcomes():
    """A regression has no scale of its labels then; a classifier knows its classes."""
    for task, labelled in (("regression", False), ("binary", True)):
        rows = random_table(0, 60, task)
        rows = rows.set_column(rows.column_names.index("label"), "label", pa.nulls(60, rows["label"].type))
        made = fit(MODELS[task], rows)
        assert (made.bins.outcomes is not None) == labelled
        assert made.bins.labelled_rows(made.vector) == 0


def test_the_newest_time_of_the_reference():
    rows = random_table(0, 60)
    newest = max(rows["time"].to_pylist())
    assert fit(MODELS["binary"], rows).newest == newest.timestamp()
    assert fit(MODELS["binary"], rows.drop_columns(["time"])).newest is None


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("score", pa.nulls(60, pa.float64()), "prediction and score columns are needed: no valid value"),
        ("prediction", pa.nulls(60, pa.string()), "positive_class"),
    ],
)
def test_a_reference_without_outputs_is_refused(column, values, message):
    rows = random_table(0, 60)
    with pytest.raises(SchemaError, match=message):
        fit(MODELS["binary"], rows.set_column(rows.column_names.index(column), column, values).drop_columns(["label"]))


def test_a_reference_without_rows_is_refused():
    with pytest.raises(SchemaError, match="has no rows"):
        fit(MODELS["binary"], random_table(0, 60)[:0])


def test_columns_that_do_not_fit_their_bins_are_refused():
    """A profile over other bins is an error, not a wrong count."""
    binary, other = (
        BASELINES["binary"],
        fit(settings(columns={"features": {"amount": "categorical"}}), random_table(0, 60)),
    )
    from exporter.profile.batch import read_batch

    batch = read_batch(MODELS["binary"], binary.schema, random_table(3, 10))
    with pytest.raises(TypeError, match="does not fit"):
        other.bins.place_rows(batch)


# What a layout has in the store: some counts, some bins.
STORED = {
    3: (
        "0400000006000000060000006360fcff1f0063fcf7ff3f0006d376f9cbc028f09f8181118819e0981100",
        '{"kind": "NumericBins", "knots": ["<f8", "AAAAAAAAAAAAAAAAAAD4Pw=="], "starts": ["<i4", "AAAAAAIAAAA="], '
        '"exact": true, "spans": ["<i4", "AAAAAA=="]}',
    )
}


def test_what_an_earlier_version_has_stored_is_what_it_meant():
    """Who changes how profiles are stored raises the layout, as a store would be unreadable, or mean other numbers."""
    counts, bins = STORED[LAYOUT]
    assert same(decode(bytes.fromhex(counts)), Counts(np.array([0, 1, 300, 70_000]), np.array([1, 254, -3, 2**40])))
    made = NumericBins(np.array([0.0, 1.5]), np.array([0, 2]), True, np.array([0]))
    assert json.dumps(bins_to_plain(made)) == bins
    assert json.dumps(bins_to_plain(bins_from_plain(json.loads(bins)))) == bins
