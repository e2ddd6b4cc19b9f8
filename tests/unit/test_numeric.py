"""Numbers: where a value falls, and back from counts to quantiles and names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.drift.sample import QUANTILES
from exporter.profile import numeric
from exporter.profile.counts import add_into, negative
from tests.unit.helpers.profiles import numeric_bins, numeric_samples, numeric_vector

finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
columns = st.lists(finite, min_size=1, max_size=60)
strange = st.lists(finite | st.sampled_from([np.nan, np.inf, -np.inf, 1e12, -1e12]), max_size=60)


def test_each_value_has_its_place():
    bins = numeric_bins([1, 2, 4, 4, 8])
    cells = numeric_vector(bins, [0.5, 1, 1.5, 2, 4, 4, 8, 9, np.nan, np.inf, -np.inf])
    knots = bins.knots.tolist()
    assert cells[0] == 1  # below
    assert cells[1 + 2 * knots.index(1)] == 1
    assert cells[1 + 2 * knots.index(4)] == 2
    assert cells[1 + 2 * knots.index(8)] == 1
    assert cells[2 * len(knots)] == 1  # above
    assert cells[bins.missing] == 1
    assert cells[bins.invalid] == 2
    assert cells[: bins.invalid + 1].sum() == 11


@given(columns, strange, st.sampled_from([16, 4096]))
def test_every_row_is_counted_once(reference, values, most):
    bins = numeric_bins(reference, most)
    cells = numeric_vector(bins, values)[: bins.invalid + 1]
    assert cells.sum() == len(values)
    assert cells[bins.missing] == np.isnan(values).sum() if values else True
    assert cells[bins.invalid] == np.isinf(values).sum() if values else True
    below = sum(value < bins.knots[0] for value in values if np.isfinite(value))
    above = sum(value > bins.knots[-1] for value in values if np.isfinite(value))
    assert (cells[0], cells[bins.missing - 1]) == (below, above)


@given(columns, strange, strange, st.sampled_from([16, 4096]))
def test_two_batches_add_up_to_both(reference, first, second, most):
    bins = numeric_bins(reference, most)
    both = numeric_vector(bins, [*first, *second])
    assert (numeric_vector(bins, first) + numeric_vector(bins, second) == both).all()


@given(columns)
def test_knots_are_the_reference_values_and_the_deciles(reference):
    bins = numeric_bins(reference)
    assert bins.exact
    assert set(reference) <= set(bins.knots.tolist())
    assert (np.diff(bins.knots) > 0).all()
    inside = numeric_vector(bins, reference)[: bins.missing]
    assert inside[::2].sum() == 0  # no reference value is off a knot


def test_with_many_values_the_knots_are_quantiles_that_hold_the_extremes():
    values = np.random.default_rng(0).normal(size=5000)
    bins = numeric_bins(values, 100)
    assert not bins.exact
    assert len(bins.knots) <= 111
    assert (bins.knots[0], bins.knots[-1]) == (values.min(), values.max())
    assert np.isin(np.quantile(values, np.linspace(0, 1, 11)), bins.knots).all()
    between = numeric_vector(bins, values)[: bins.missing][::2]
    assert 0 < between.max() <= len(values) / (100 - 1)


@pytest.mark.parametrize(
    ("values", "bins", "counts"),
    [
        pytest.param(range(1, 101), 10, [10] * 10, id="distinct deciles"),
        pytest.param([0] * 95 + [1, 2, 3, 4, 5], 3, [0, 95, 5], id="most are the least value"),
        pytest.param([5] * 95 + [0, 1, 2, 3, 4], 3, [5, 95, 0], id="most are the largest value"),
        pytest.param([7] * 10, 3, [0, 10, 0], id="constant"),
        pytest.param([0] * 35 + [*range(1, 66)], 9, [0, 35, 5, 10, 10, 10, 10, 10, 10], id="a third is zero"),
    ],
)
def test_a_repeated_decile_has_a_bin_of_its_own(values, bins, counts):
    (sample,) = numeric_samples(list(values))
    assert len(sample.bins) == bins
    assert sample.bins.tolist() == counts


def test_a_value_on_an_inner_edge_goes_up():
    bins = numeric_bins(range(100))
    edges = np.quantile(np.arange(100.0), np.linspace(0, 1, 11))[1:-1]
    assert len(bins.starts) == 10
    for number, edge in enumerate(edges):
        below, at = (numeric.sample(bins, numeric_vector(bins, [x])) for x in (np.nextafter(edge, 0), edge))
        assert np.flatnonzero(below.bins).tolist() == [number]
        assert np.flatnonzero(at.bins).tolist() == [number + 1]
    assert numeric.sample(bins, numeric_vector(bins, [-5, 99, 101])).bins.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]


@given(columns, columns, st.sampled_from([16, 4096]))
def test_the_mean_is_that_of_the_rows(reference, values, most):
    """To 2**-31 of the widest cell, beyond the reference to 2**-33 of its range."""
    first, second = numeric_samples(reference, values, most=most)
    width = max(np.ptp(reference), np.abs(reference).max(), 1.0)
    assert first.mean == pytest.approx(np.mean(reference), rel=1e-12, abs=width * 2.0**-30)
    assert second.mean == pytest.approx(np.mean(values), rel=1e-9, abs=width * 2.0**-30)


@given(columns, columns, st.sampled_from([*enumerate(QUANTILES)]))
def test_a_quantile_is_within_the_cell_of_that_of_the_rows(reference, values, which):
    bins, (number, q) = numeric_bins(reference, 16), which
    found = numeric.sample(bins, numeric_vector(bins, values)).quantiles[number]
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    cell = np.searchsorted(bins.knots, exact)
    if cell < len(bins.knots) and bins.knots[cell] == exact:
        assert found == exact
    else:
        low = bins.knots[cell - 1] if cell else min(values)
        high = bins.knots[cell] if cell < len(bins.knots) else max(values)
        slack = 1e-6 * max(np.abs(bins.knots).max(), np.ptp(bins.knots), 1.0)
        assert low - slack <= found <= high + slack


def test_bins_are_named_by_their_edges():
    names = numeric_bins([0] * 35 + [*range(1, 66)]).names
    assert names[:4] == ("01 (-inf, 0)", "02 = 0", "03 (0, 5.6)", "04 [5.6, 15.5)")
    assert names[-1].endswith("inf)")
    assert len(names) == 9
    assert [*names] == sorted(names)
    assert numeric_bins([7]).names == ("01 (-inf, 7)", "02 = 7", "03 (7, inf)")


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no valid value"):
        numeric_bins([np.nan, np.inf])


def test_taking_a_batch_away_leaves_the_other():
    bins = numeric_bins([1.0, 2.0, 3.5])
    first, second = numeric_vector(bins, [0.1, 2.2, np.nan]), numeric_vector(bins, [9.9, 2.2])
    from exporter.profile.counts import Counts

    places = np.flatnonzero(second)
    both = first + second
    add_into(both, negative(Counts(places, second[places])))
    assert (both == first).all()


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=40))
def test_knots_beyond_a_probability_leave_what_is_within(values):
    """The reference's own cells and deciles are as they were; scores beyond have cells of their own."""
    bins = numeric.fit(np.array(values), 4096)
    wide = numeric.beyond(bins)
    assert set(bins.knots) <= set(wide.knots)
    assert (np.diff(wide.knots) > 0).all()
    added = len(wide.knots) - len(bins.knots)
    assert 200 < added <= 321
    array, valid = np.array(values), np.ones(len(values), np.bool_)
    for one in (bins, wide):
        vector = np.zeros(one.size, np.int64)
        for part in numeric.place(one, array, valid):
            np.add.at(vector, part.place, part.amount)
        found = numeric.sample(one, vector)
        if one is bins:
            expected = found
    assert found.bins.tolist() == expected.bins.tolist()
    assert found.cells[found.cells > 0].tolist() == expected.cells[expected.cells > 0].tolist()
    far = np.array([1e-6, 1e-5, 1e-4, 1e-3, 0.999, 0.9999, 0.99999])
    cells = [int(part.place[0]) for x in far for part in numeric.place(wide, np.array([x]), np.ones(1, np.bool_))[:1]]
    assert len(set(cells)) == len(far)


@pytest.mark.parametrize("values", [[0.0, 0.5], [0.5, 1.0], [-3.0, 7.0]])
def test_what_is_no_open_probability_has_no_beyond(values):
    bins = numeric.fit(np.array(values), 4096)
    assert numeric.beyond(bins).knots.tolist() == bins.knots.tolist()


@given(
    st.lists(
        st.floats(-5, 5).map(lambda x: round(x, 1)) | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=60,
    )
)
def test_deciles_are_numpys_quantiles_to_the_last_bit(values):
    ordered = np.sort(np.array(values) + 0.0)
    with np.errstate(all="ignore"):
        expected = np.quantile(ordered, np.linspace(0, 1, 11))
    assert np.array_equal(numeric.deciles(ordered), expected, equal_nan=True)
