"""The two-sided Kolmogorov-Smirnov distribution, in microseconds for any number of rows.

`scipy.stats.kstwo` adds up a term a row: 70 ms for 100,000 rows, and a feature each.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from exporter.drift.sample import Floats
from exporter.special import special

_FEW = 140  # rows up to which scipy's own exact ways are fast, and approximations are not good enough
_SOME = 2_000  # up to which the expansion is off by more than 1e-10 where the p-value is near 1
_TERMS = 512
_STEP = 8


def survival(rows: int, distance: float) -> float:
    """Return P(D > distance) for the largest distance D of `rows` uniform values, as scipy.stats.kstwo.sf.

    The tail as twice the one-sided one (Birnbaum and Tingey 1951), else the expansion of Pelz and Good (1976): the ways
    that Simard and L'Ecuyer (2011) recommend.
    """
    squared = rows * distance**2
    if rows <= _FEW or rows * distance <= 1.0 or (rows <= _SOME and rows * distance**1.5 <= 1.4):
        from scipy.stats import kstwo  # seldom: few rows, and of not so few a p-value near 1

        return float(kstwo.sf(distance, rows))
    if squared >= 370.0 or distance >= 1.0:
        return 0.0
    return min(2 * one_sided(rows, distance), 1.0) if squared >= 2.2 else 1.0 - _pelz_good(rows, distance)


def one_sided(rows: int, distance: float) -> float:
    """Return P(D+ > distance), 0 < distance < 1; to 1e-6 of itself where rows x distance^2 is at least 2.

    Sum over j of C(n, j) x (x + j / n)^(j - 1) (1 - x - j / n)^(n - j), smooth in j, and flat at both ends: so
    every k-th term, k times, is the same sum.
    """
    last = int(rows * (1 - distance))
    step = max(1, rows // _TERMS)
    j, ways = (own[: last // step + 1] for own in _ways(rows, step))
    below = distance + j / rows
    above = np.maximum(1 - below, 0.0)
    terms = ways + special.xlogy(j - 1, below) + special.xlogy(rows - j, above)
    return float(distance * step * np.exp(terms).sum())


@lru_cache(maxsize=64)  # the columns of a window have as many rows
def _ways(rows: int, step: int) -> tuple[Floats, Floats]:
    """Return every k-th j from 0 to n, and the logarithm of C(n, j)."""
    j = np.arange(0, rows + 1, step, dtype=np.float64)
    return j, special.gammaln(rows + 1) - special.gammaln(j + 1) - special.gammaln(rows - j + 1)


@lru_cache(maxsize=8)
def _powers(count: int) -> tuple[Floats, ...]:
    """Return the squares of odd numbers and of whole ones, and the multiples of their powers that the expansion has."""
    odd: Floats = np.arange(1.0, 2 * count, 2)
    whole: Floats = np.arange(1.0, count + 1)
    a, b, c = (np.pi * odd) ** 2 / 4, (np.pi * odd) ** 4 / 16, (np.pi * odd) ** 6 / 64
    return odd**2, whole**2, a, b, c, (np.pi * whole) ** 2


def _pelz_good(rows: int, distance: float) -> float:
    """Return P(D <= distance): Kolmogorov's limit and three terms in 1 / sqrt(rows)."""
    z = np.sqrt(rows) * distance
    logarithm = -(np.pi**2) / (8 * z**2)
    if logarithm < -700:
        return 0.0
    count = int(np.ceil(16 * z / np.pi))
    odd, whole, a, b, c, squares = (own[:count] for own in _powers(-(-count // _STEP) * _STEP))
    weight = np.exp(logarithm * odd)
    flat = np.exp(4 * logarithm * whole)
    k2 = 6 * z**6 + 2 * z**4 + (2 * z**4 - 5 * z**2) * a + (1 - 2 * z**2) * b
    k3 = -30 * z**6 - 90 * z**8 + (135 * z**4 - 96 * z**6) * a + (212 * z**4 - 60 * z**2) * b + (5 - 30 * z**2) * c
    terms = (
        float(weight.sum()) / z,
        float(weight @ (a - z**2)) / (6 * z**4),
        float(weight @ k2) / (72 * z**7) - float(flat @ squares) / (36 * z**3),
        float(weight @ k3) / (6480 * z**10) + float(flat @ ((3 * z**2 - squares) * squares)) / (216 * z**6),
    )
    return float(np.sqrt(2 * np.pi) * sum(term / rows ** (k / 2) for k, term in enumerate(terms)))
