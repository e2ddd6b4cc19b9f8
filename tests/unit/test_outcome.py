"""Labelled rows -> counts: confusion, losses, score cells, sums; what is left out of which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.profile.outcome import (
    ClassBins,
    Outcomes,
    RegressionBins,
    place_classes,
    place_regression,
    read_classes,
    read_regression,
)
from tests.unit.helpers.profiles import counted, numeric_bins

NAN = float("nan")
GRID = np.linspace(0, 1, 21)
BINARY = ClassBins(("0", "1"), (numeric_bins(GRID),))
THREE = ClassBins(("a", "b", "c"), (numeric_bins(GRID),) * 3)
PLAIN = ClassBins(("0", "1"), ())
REGRESSION = RegressionBins(100.0, 12.0)


def outcomes(prediction, label, scores=None) -> Outcomes:
    rows = len(prediction)
    table = np.empty((rows, 0)) if scores is None else np.array(scores, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    return Outcomes(np.array(prediction, np.float64), np.array(label, np.float64), table)


def vector_of(bins: ClassBins | RegressionBins, rows: Outcomes) -> np.ndarray:
    place = place_classes if isinstance(bins, ClassBins) else place_regression
    return counted(place(bins, rows), len(rows.label), bins.size)


def test_the_confusion_matrix_has_a_column_for_what_is_no_class():
    found = read_classes(PLAIN, vector_of(PLAIN, outcomes([0, 1, 1, -1, 0], [0, 0, 1, 1, 1])))
    assert found.confusion.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert found.rows == 5
    assert found.scores == ()


def test_losses_are_sums_over_the_rows_with_a_probability():
    """A row whose score is missing or none is in the confusion matrix alone."""
    rows = outcomes([1, 0, 1, 0, 1], [1, 0, 0, 1, 1], [0.9, 0.2, NAN, 1.5, -0.1])
    found = read_classes(BINARY, vector_of(BINARY, rows))
    assert found.rows == 5
    assert found.scored == 2
    assert found.log_loss == pytest.approx(-np.log(0.9) - np.log(0.8), abs=1e-9)
    assert found.squared == pytest.approx(0.1**2 + 0.2**2, abs=1e-9)


def test_a_row_of_many_classes_needs_all_its_probabilities():
    rows = outcomes([0, 1], [0, 2], [[0.5, 0.3, 0.2], [0.1, NAN, 0.2]])
    found = read_classes(THREE, vector_of(THREE, rows))
    assert found.scored == 1
    assert found.log_loss == pytest.approx(-np.log(0.5), abs=1e-9)
    assert found.squared == pytest.approx(0.5**2 + 0.3**2 + 0.2**2, abs=1e-9)
    assert [int(table.positive.sum()) for table in found.scores] == [1, 0, 0]
    assert [int(table.negative.sum()) for table in found.scores] == [0, 1, 1]


def test_a_certain_mistake_has_a_finite_loss():
    found = read_classes(BINARY, vector_of(BINARY, outcomes([1], [0], [1.0])))
    assert found.log_loss == pytest.approx(-np.log(np.finfo(float).eps), abs=1e-9)


def test_scores_fall_into_their_cells_by_answer():
    bins = numeric_bins([0.25, 0.75])
    known = ClassBins(("0", "1"), (bins,))
    rows = outcomes([0, 0, 1, 1, 1], [0, 1, 1, 0, 1], [0.1, 0.25, 0.75, 0.3, 0.99])
    (table,) = read_classes(known, vector_of(known, rows)).scores
    cells = 2 * len(bins.knots) + 1
    assert len(table.negative) == len(table.positive) == cells
    at = {value: 2 * int(np.searchsorted(bins.knots, value)) + int(value in bins.knots) for value in rows.scores[:, 0]}
    assert table.negative[at[0.1]] == table.negative[at[0.3]] == 1
    assert table.positive[at[0.25]] == table.positive[at[0.75]] == table.positive[at[0.99]] == 1
    assert (at[0.1], at[0.99]) == (0, cells - 1)


def test_sums_of_a_regression_are_in_the_labels_unit():
    prediction, label = np.array([90.0, 110.0, 0.0]), np.array([100.0, 100.0, 0.0])
    found = read_regression(REGRESSION, vector_of(REGRESSION, outcomes(prediction, label)))
    assert found.rows == 3
    assert found.error == pytest.approx(0, abs=1e-7)
    assert found.absolute == pytest.approx(20, abs=1e-7)
    assert found.squared == pytest.approx(200, abs=1e-6)
    assert found.label_spread == pytest.approx(((label - label.mean()) ** 2).sum(), rel=1e-9)
    assert found.label_absolute == pytest.approx(200, abs=1e-7)
    assert found.symmetric == pytest.approx(20 / 190 + 20 / 210, abs=1e-9)  # 0 against 0 is no error


@pytest.mark.parametrize("label", [100.0, 103.0, 55.7, -2000.1, 1e6])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_equal_labels_have_no_spread(label, rows):
    """Not even that of the rounding of sums."""
    found = read_regression(REGRESSION, vector_of(REGRESSION, outcomes([100.0] * rows, [label] * rows)))
    assert found.label_spread == 0


def test_no_rows_are_zero_sums():
    found = read_regression(REGRESSION, np.zeros(REGRESSION.size, np.int64))
    assert (found.rows, found.absolute, found.label_spread) == (0, 0, 0)
    nothing = read_classes(BINARY, np.zeros(BINARY.size, np.int64))
    assert (nothing.rows, nothing.scored) == (0, 0)


@st.composite
def batches(draw):
    """Return outcomes of one of the bins in two parts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bins = draw(st.sampled_from([BINARY, THREE, PLAIN, REGRESSION]))
    parts = []
    for _ in range(2):
        rows = draw(st.integers(0, 30))
        if isinstance(bins, RegressionBins):
            parts.append(outcomes(rng.normal(100, 20, rows), rng.normal(100, 30, rows)))
            continue
        count = len(bins.classes)
        scores = rng.random((rows, len(bins.scores)))
        scores[rng.random(scores.shape) < 0.1] = NAN
        parts.append(outcomes(rng.integers(-1, count, rows), rng.integers(0, count, rows), scores))
    return bins, *parts


@given(batches())
def test_two_batches_add_up_to_both(drawn):
    bins, first, second = drawn
    both = Outcomes(*(np.concatenate([a, b]) for a, b in zip(first[:3], second[:3], strict=True)))
    assert (vector_of(bins, first) + vector_of(bins, second) == vector_of(bins, both)).all()
