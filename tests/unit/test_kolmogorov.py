"""The Kolmogorov-Smirnov distribution against scipy's, over all its regimes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstwo

from exporter.drift.kolmogorov import survival


@pytest.mark.parametrize("rows", [1, 2, 50, 140, 141, 200, 1_000, 2_047, 2_049, 5_000, 54_545, 90_909])
@pytest.mark.parametrize("z", [0.05, 0.3, 0.6, 1.0, 1.48, 1.49, 2.0, 4.0, 9.0])
def test_it_is_scipys(rows, z):
    distance = z / np.sqrt(rows)
    if distance < 1:
        theirs = float(kstwo.sf(distance, rows))
        assert survival(rows, distance) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("rows", "distance"), [(1_000, 0.0), (1_000, 0.0004), (150, 1.0), (10_000, 0.5), (3, 1.0)])
def test_its_ends_are_scipys(rows, distance):
    assert survival(rows, distance) == pytest.approx(float(kstwo.sf(distance, rows)), abs=1e-12)


def test_it_falls_without_a_step_where_ways_change():
    for rows in (141, 2_000, 100_000):
        found = [survival(rows, z / np.sqrt(rows)) for z in np.linspace(1.47, 1.5, 61)]
        assert (np.diff(found) < 0).all()
        assert max(-np.diff(found)) < 2 * found[0] * 2 * 1.5 * 0.0005 * 2
