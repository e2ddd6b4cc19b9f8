"""Drift of one column: two counts over the same bins -> statistics.

A plug point: write a function, add a row to `METHODS`. Nothing here knows of rows, time or configuration.
Definitions, sources and error bounds: `docs/statistics.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Sample:
    """Counts of one column's values that are neither missing nor invalid.

    bins: rows per bin (numeric: the reference's deciles; categorical: its categories, then unseen), length B.
    cells: numeric only, rows per cell, length 2K + 1: below knot 0, at knot 0, between knots 0 and 1, ...
    sums: numeric only, sum of the values per cell, in the column's unit.
    knots: numeric only, the K increasing knots.
    """

    def __init__(self, bins: Ints, cells: Ints | None = None, sums: Floats | None = None, knots: Floats | None = None):
        empty = np.empty(0)
        self.bins = bins
        self.cells = empty.astype(np.int64) if cells is None else cells
        self.sums = empty if sums is None else sums
        self.knots = empty if knots is None else knots
        self.rows = int(bins.sum())

    @cached_property
    def shares(self) -> Floats:
        """Share of the rows per bin; zeros where there are no rows."""
        return self.bins / max(self.rows, 1)

    @cached_property
    def cumulative(self) -> Ints:
        """Rows up to and with each cell."""
        return np.cumsum(self.cells)

    @property
    def mean(self) -> float:
        """Mean of the values, exact but for the rounding of sums."""
        return float(self.sums.sum() / self.rows) if self.rows else float("nan")

    @cached_property
    def places(self) -> Floats:
        """Mean of the values per cell; NaN where a cell has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(self.cells > 0, self.sums / self.cells, np.nan)
        at_knots = np.arange(len(self.cells)) % 2 == 1
        means[at_knots] = np.where(self.cells[at_knots] > 0, self.knots, np.nan)
        return means

    @cached_property
    def std(self) -> float:
        """Standard deviation (ddof 0), each value taken for the mean of its cell; 0 where all are in one cell."""
        if not self.rows:
            return float("nan")
        used = self.cells > 0
        if used.sum() == 1:
            return 0.0
        return float(np.sqrt(np.average((self.places[used] - self.mean) ** 2, weights=self.cells[used])))


def kolmogorov_smirnov(reference: Sample, current: Sample) -> float:
    """Return the two-sample statistic max |F - G|.

    Exact, ties too, where every reference value is a knot; with k quantile knots at most 1/(k - 1) too small.
    """
    gap = reference.cumulative * current.rows - current.cumulative * reference.rows
    return float(np.abs(gap).max() / (reference.rows * current.rows))


def wasserstein(reference: Sample, current: Sample) -> float:
    """Return the 1-Wasserstein distance, in standard deviations (ddof 0) of the reference.

    The integral of |F - G|. Within a cell each side's rows stand at their mean: exact where a cell has rows of one
    side only and F - G keeps its sign, or at most one row a side; the error is at most
    sum(cell width / 2 x (share of the reference + share of the window in the cell)) over all other cells.
    The variance is too small by at most sum(cell width squared / 4 x share of the reference in the cell).
    """
    if reference.std == 0:
        return 0.0 if ((reference.cells > 0) == (current.cells > 0)).all() else float("inf")
    places = [reference.places, current.places]
    steps = [s.cells / s.rows for s in (reference, current)]
    where = np.concatenate(places)
    height = np.concatenate([steps[0], -steps[1]])
    used = ~np.isnan(where)
    order = np.argsort(where[used], kind="stable")
    where, height = where[used][order], height[used][order]
    return float(np.abs(np.cumsum(height)[:-1]) @ np.diff(where) / reference.std)


def population_stability_index(reference: Sample, current: Sample) -> float:
    """Return sum((q - p) ln(q / p)) over bins; a zero share counts as half a row, an empty bin as nothing."""
    used = (reference.bins > 0) | (current.bins > 0)
    p = np.maximum(reference.bins[used], 0.5) / reference.rows
    q = np.maximum(current.bins[used], 0.5) / current.rows
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: Sample, current: Sample) -> float:
    """Return the Jensen-Shannon distance with base 2, 0 to 1: the root of the divergence."""
    p, q = reference.shares, current.shares
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum() / 2 / np.log(2)
    return float(np.sqrt(max(divergence, 0.0)))


def hellinger(reference: Sample, current: Sample) -> float:
    """Return the Hellinger distance, 0 to 1: |sqrt p - sqrt q| / sqrt 2."""
    return float(np.linalg.norm(np.sqrt(reference.shares) - np.sqrt(current.shares)) / np.sqrt(2))


def l_infinity(reference: Sample, current: Sample) -> float:
    """Return the largest difference of a bin's share, 0 to 1."""
    return float(np.abs(reference.shares - current.shares).max())


def chi_square(reference: Sample, current: Sample) -> float:
    """Return the statistic of the 2 x B contingency table, without Yates' correction.

    All unseen categories are one column: the statistic is the same as with a column each, the degrees of freedom
    are fewer.
    """
    table = np.vstack([reference.bins, current.bins])
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def _degrees(reference: Sample, current: Sample) -> int:
    return max(int(((reference.bins > 0) | (current.bins > 0)).sum()) - 1, 1)


def _inverse_size(reference: Sample, current: Sample) -> float:
    return 1 / reference.rows + 1 / current.rows


def kolmogorov_smirnov_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the asymptotic p-value as scipy.stats.ks_2samp(method="asymp") does."""
    from scipy.stats import kstwo

    size = reference.rows * current.rows / (reference.rows + current.rows)
    return float(np.clip(kstwo.sf(score, max(round(size), 1)), 0, 1))


def chi_square_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the p-value of the contingency table."""
    return float(special.chdtrc(_degrees(reference, current), score))


def _chi_square_quantile(reference: Sample, current: Sample, alpha: float) -> float:
    return float(special.chdtri(_degrees(reference, current), alpha))


def _noise_ks(reference: Sample, current: Sample, alpha: float) -> float:
    return float(special.kolmogi(alpha) * np.sqrt(_inverse_size(reference, current)))


def _noise_wasserstein(reference: Sample, current: Sample, alpha: float) -> float:
    below = reference.cumulative[:-1:2] / reference.rows  # F just left of each knot
    upto = reference.cumulative[1::2] / reference.rows  # F at each knot
    spread = (upto[:-1] + below[1:]) / 2
    area = float(np.sqrt(spread * (1 - spread)) @ np.diff(reference.knots))
    z = float(-special.ndtri(alpha / 2))
    return z * area * float(np.sqrt(_inverse_size(reference, current))) / reference.std if reference.std else 0.0


def _noise_psi(reference: Sample, current: Sample, alpha: float) -> float:
    return _chi_square_quantile(reference, current, alpha) * _inverse_size(reference, current)


def _noise_jensen_shannon(reference: Sample, current: Sample, alpha: float) -> float:
    return float(np.sqrt(_noise_psi(reference, current, alpha) / (8 * np.log(2))))


def _noise_hellinger(reference: Sample, current: Sample, alpha: float) -> float:
    return float(np.sqrt(_noise_psi(reference, current, alpha) / 8))


def _noise_l_infinity(reference: Sample, current: Sample, alpha: float) -> float:
    variance = (reference.shares * (1 - reference.shares)).max() * _inverse_size(reference, current)
    return float(-special.ndtri(alpha / (2 * reference.bins.size)) * np.sqrt(variance))


def _cramers_v_as_chi_square(effect: float, reference: Sample, current: Sample) -> float:
    return effect**2 * (reference.rows + current.rows)


def _cohens_w(score: float, reference: Sample, current: Sample) -> float:
    return float(np.sqrt(score * _inverse_size(reference, current)))


def _chi_square_of_w(size: float, reference: Sample, current: Sample) -> float:
    return size**2 / _inverse_size(reference, current)


def _as_is(effect: float, reference: Sample, current: Sample) -> float:
    return effect


Turn = Callable[[float, Sample, Sample], float]


class Method(NamedTuple):
    """One row of the table.

    score: the statistic. warning: default effect from which it matters. least: smallest effect that ever counts, as
    a size. noise: largest score that chance alone gives at these numbers of rows (one in 1/alpha). p_value: of a
    score, where a null distribution is known. threshold: turns an effect into the score's unit. size, unsize: the
    score as something that does not grow with the rows, and back. rate: noise shrinks as rows ** -rate. blind: a
    threshold above this size cannot tell anything; None: above what a window in one bin only would have.
    """

    score: Callable[[Sample, Sample], float]
    warning: float
    least: float
    noise: Callable[[Sample, Sample, float], float]
    p_value: Turn | None = None
    threshold: Turn = _as_is
    size: Turn = _as_is
    unsize: Turn = _as_is
    rate: float = 0.5
    blind: float | None = None


# The default effects say the same thing in each unit: a normal feature that moved by 0.3 standard deviations; the
# least ones: by 0.2, a small effect in Cohen's words (1988).
METHODS: dict[str, Method] = {
    "ks": Method(kolmogorov_smirnov, 0.125, 0.08, _noise_ks, kolmogorov_smirnov_p, blind=0.95),
    "wasserstein": Method(wasserstein, 0.3, 0.2, _noise_wasserstein, blind=4.0),
    "psi": Method(population_stability_index, 0.1, 0.04, _noise_psi, rate=1.0),
    "jensen_shannon": Method(jensen_shannon, 0.135, 0.085, _noise_jensen_shannon),
    "hellinger": Method(hellinger, 0.11, 0.07, _noise_hellinger),
    "l_infinity": Method(l_infinity, 0.1, 0.05, _noise_l_infinity),
    "chi2": Method(
        chi_square,
        0.1,
        0.2,
        _chi_square_quantile,
        chi_square_p,
        _cramers_v_as_chi_square,
        _cohens_w,
        _chi_square_of_w,
    ),
}
NUMERIC = tuple(METHODS)
CATEGORICAL = tuple(name for name in METHODS if name not in {"ks", "wasserstein"})
