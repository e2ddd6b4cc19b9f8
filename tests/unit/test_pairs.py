"""Many pairs at once give what the methods give one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from exporter.calibrate import _side
from exporter.drift.pairs import Side, sizes
from exporter.drift.univariate import CATEGORICAL, METHODS, NUMERIC, Sample
from exporter.profile import categorical, numeric
from exporter.profile.counts import gather


def of_numbers(seed: int, units: int = 12) -> tuple[numeric.NumericBins, np.ndarray]:
    """Return bins, and counts of units whose values have ties, gaps, and lie beyond the reference."""
    random = np.random.default_rng(seed)
    values = np.where(
        random.random(units * 60) < 0.3, random.integers(-2, 3, units * 60), random.normal(size=units * 60)
    )
    bins = numeric.fit(values[::2], 64)
    placed = numeric.place(bins, values, np.ones(len(values), np.bool_))
    table = np.zeros((units, bins.size), np.int64)
    for number, counts in enumerate(gather(placed, np.repeat(np.arange(units), 60), units, bins.size)):
        table[number, counts.place] = counts.amount
    return bins, table


@pytest.mark.parametrize("method", NUMERIC)
@pytest.mark.parametrize("seed", range(3))
def test_numbers(method: str, seed: int) -> None:
    """Every unit against all units but itself, to the rounding of sums."""
    bins, table = of_numbers(seed)
    alone = sparse.csr_array(np.eye(len(table)))
    side = _side(bins, table)
    found = sizes(method, side.without(alone), side.merged(alone))
    own = METHODS[method]
    for number, row in enumerate(table):
        pair = numeric.sample(bins, table.sum(axis=0) - row), numeric.sample(bins, row)
        assert found[number] == pytest.approx(own.size(own.score(*pair), *pair), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("method", CATEGORICAL)
def test_categories(method: str) -> None:
    """Categories that one side lacks, and bins that nobody has."""
    table = np.random.default_rng(1).poisson([40, 9, 1, 0.2, 0, 0.5], (20, 6)).astype(np.float64)
    empty = np.empty((20, 0))
    found = sizes(method, Side(table, empty, empty), Side(table[::-1], empty, empty))
    own = METHODS[method]
    for number in range(20):
        pair = Sample(table[number].astype(np.int64)), Sample(table[::-1][number].astype(np.int64))
        assert found[number] == pytest.approx(own.size(own.score(*pair), *pair), rel=1e-9, abs=1e-12)


def test_merged_cells_lose_at_most_their_width() -> None:
    """With more than 256 cells neighbours are merged: Kolmogorov-Smirnov is then exact to 1/256 of the rows."""
    random = np.random.default_rng(3)
    values = random.lognormal(size=40_000)
    bins = numeric.fit(values, 4096)
    placed = numeric.place(bins, values, np.ones(len(values), np.bool_))
    table = np.zeros((8, bins.size), np.int64)
    for number, counts in enumerate(gather(placed, np.repeat(np.arange(8), 5000), 8, bins.size)):
        table[number, counts.place] = counts.amount
    alone = sparse.csr_array(np.eye(8))
    side = _side(bins, table)
    assert side.cells.shape[1] <= 256 + 1
    for method, error in (("ks", 1 / 256), ("wasserstein", 0.01)):
        found = sizes(method, side.without(alone), side.merged(alone))
        exact = [
            METHODS[method].score(numeric.sample(bins, table.sum(axis=0) - row), numeric.sample(bins, row))
            for row in table
        ]
        assert np.abs(found - exact).max() <= error


def test_a_constant_column_has_no_distance() -> None:
    """One value only: 0 in standard deviations of 0; another value is infinitely far."""
    side = Side(np.array([[9.0], [9.0]]), np.array([[9.0, 0.0], [9.0, 0.0]]), np.array([[18.0, 0.0], [18.0, 0.0]]))
    moved = Side(np.array([[9.0], [9.0]]), np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([[18.0, 0.0], [0.0, 27.0]]))
    assert sizes("wasserstein", side, moved).tolist() == [0.0, np.inf]


def test_categories_keep_their_order() -> None:
    """The last bin of a category column is what was unseen."""
    bins = categorical.fit(("a", "b"), np.array([0, 1, 1]))
    assert _side(bins, np.array([[1, 2, 3, 4]])).bins.tolist() == [[1, 2, 3]]
