"""Statistics of two samples of a number, from cells in increasing order; rows of one cell count as ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.drift.kolmogorov import survival
from exporter.drift.sample import Floats, Ints, Sample, inverse_size
from exporter.special import special

Bools = NDArray[np.bool_]
Size = Callable[[Any], Any]
_ROUNDING = 1e-15  # more than a difference of two shares can be off by


def kolmogorov_smirnov(reference: Sample, current: Sample) -> float:
    """Return the two-sample statistic max |F - G|.

    Exact, ties too, where every reference value is a knot; with k quantile knots at most 1/(k - 1) too small.
    """
    return float(np.divide(_widest(reference, current), reference.rows * current.rows))


def _widest(reference: Sample, current: Sample) -> int:
    """Return max |f m - g n| over all cells, f of n and g of m being the rows up to and with each.

    Shares as floats say where it can be, whole numbers what it is there.
    """
    n, m = reference.rows, current.rows
    sides = current.apart(reference)
    most = [float(side.max(initial=0.0)) for side in sides]
    cells = [0]
    for side, own, first in zip(sides, most, (1, 2), strict=True):
        if own >= max(most) - _ROUNDING:
            cells += (2 * (side >= own - _ROUNDING).nonzero()[0] + first).tolist()
    f, g = reference.cumulative[cells], current.cumulative[cells]
    return int(np.abs(f * m - g * n).max())


def wasserstein(reference: Sample, current: Sample) -> float:
    """Return the 1-Wasserstein distance, in standard deviations (ddof 0) of the reference.

    The integral of |F - G|. Within a cell each side's rows stand at one place. In a cell that is a span of its own that
    is their mean: exact where it has rows of one side only and F - G keeps its sign, or at most one row a side, else
    off by at most cell width / 2 x (share of the reference + share of the window in it). In a span of several cells it
    is as far in as the span's rows are on average: off by at most twice that. The variance is too small by at most
    sum(cell width squared / 4 x share of the reference in the cell); in such spans off by at most four times that.
    """
    if reference.std == 0:
        return 0.0 if ((reference.cells > 0) == (current.cells > 0)).all() else float("inf")
    return _integral(np.abs, reference, current) / reference.std


def _integral(size: Size, reference: Sample, current: Sample) -> float:
    """Return the integral of size(F - G), which is 0 where F and G are equal."""
    if reference.between is None or current.between is None:
        height, width = _steps(reference, current)
        return _dot(size(height), width)
    return _inside(size, reference, current) + _outside(size, reference, current)


def _inside(size: Size, reference: Sample, current: Sample) -> float:
    """Return the integral between the first knot and the last: of each cell the parts before, between and after steps.

    Rows of a side stand at one share of all cells of a span: so each part is a sum over its cells, times a share.
    """
    first, second = reference.between, current.between
    assert first is not None and second is not None
    gaps = first.gaps
    if not len(gaps):
        return 0.0

    def by_span(apart: Floats) -> Floats:
        heights = size(apart)
        heights *= gaps
        return np.add.reduceat(heights, first.starts)

    at_knots, at_gaps = current.apart(reference)
    before, after = by_span(at_knots[:-1]), by_span(at_gaps)
    if reference.only_at_knots:
        return _dot(second.share, before) + _dot(1 - second.share, after)
    low, high = np.minimum(first.share, second.share), np.maximum(first.share, second.share)
    middle = np.where(
        first.share <= second.share,
        by_span(reference.at_gaps - current.at_knots[:-1]),
        by_span(reference.at_knots[:-1] - current.at_gaps),
    )
    return _dot(low, before) + _dot(high - low, middle) + _dot(1 - high, after)


def _outside(size: Size, reference: Sample, current: Sample) -> float:
    """Return the integral beyond the outer knots, where each side's rows stand at one place, too."""
    total = 0.0
    for cell, knot in ((0, 0), (len(reference.cells) - 1, -1)):
        (away, p), (further, q) = sorted(_beyond(own, cell, float(own.knots[knot])) for own in (reference, current))
        total += away * float(size(p - q)) + (further - away) * float(size(q))
    return total


def _beyond(own: Sample, cell: int, knot: float) -> tuple[float, float]:
    """Return how far from the outer knot the rows beyond it are, and their share."""
    rows = own.cells[cell]
    return (abs(own.place(cell) - knot), float(rows / own.rows)) if rows else (0.0, 0.0)


def _steps(reference: Sample, current: Sample) -> tuple[Floats, Floats]:
    """Return F - G between neighbouring places of rows, and how far these are apart."""
    first = ~(reference.places > current.places)  # of each cell; so the two need not be sorted
    before, after = reference.cells / reference.rows, -current.cells / current.rows
    where = _by_cell(first, reference.places, current.places)
    height = np.cumsum(_by_cell(first, before, after))
    used = ~np.isnan(where)
    return height[used][:-1], np.maximum(np.diff(where[used]), 0.0)


def _dot(first: Floats | Ints, second: Floats) -> float:
    """Return the sum of the products; `@` would wake all of BLAS's threads for it, which takes longer than the sum."""
    return float(np.add.reduce(first * second))


def _by_cell(first: Bools, reference: Floats, current: Floats) -> Floats:
    """Return both sides' values cell by cell, that of the reference `first` or second."""
    pairs = np.empty((len(first), 2))
    pairs[:, 0] = np.where(first, reference, current)
    pairs[:, 1] = np.where(first, current, reference)
    return pairs.ravel()


def kolmogorov_smirnov_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the asymptotic p-value as scipy.stats.ks_2samp(method="asymp") does."""
    size = reference.rows * current.rows / (reference.rows + current.rows)
    return min(max(survival(max(round(size), 1), score), 0.0), 1.0)


def noise_ks(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the Kolmogorov limit."""
    return float(special.kolmogi(alpha) * np.sqrt(inverse_size(reference, current)))


def noise_wasserstein(reference: Sample, current: Sample, alpha: float) -> float:
    """Return a normal bound: the spread of F - G, added up over the values."""
    z = float(-special.ndtri(alpha / 2))
    return (
        z * reference.spread * float(np.sqrt(inverse_size(reference, current))) / reference.std
        if reference.std
        else 0.0
    )


def cramer_von_mises(reference: Sample, current: Sample) -> float:
    """Return the two-sample statistic T = n m / (n + m)^2 x sum over all rows of (F - G)^2 (Anderson 1962).

    Without ties as scipy.stats.cramervonmises_2samp; with ties that one's midranks grow with the ties alone.
    """
    n, m = reference.rows, current.rows
    gap = reference.cumulative / n - current.cumulative / m
    return _dot(reference.cells + current.cells, gap**2) * n * m / (n + m) ** 2


def cramer_von_mises_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the asymptotic p-value (Anderson 1962), as scipy.stats.cramervonmises_2samp(method="asymptotic")."""
    n, m = reference.rows, current.rows
    total = n + m
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * n * m * total - 3 * (n**2 + m**2) - 2 * n * m) / (45 * total**2 * 4 * n * m)
    x = 1 / 6 + (score - mean) / np.sqrt(45 * variance)
    if x < 0.003:
        return 1.0
    k = np.arange(20)
    y = (4 * k + 1) ** 2 / (16 * x)
    weight = np.exp(special.gammaln(k + 0.5) - special.gammaln(k + 1)) / (np.pi**1.5 * np.sqrt(x))
    return float(np.clip(1 - (weight * np.sqrt(4 * k + 1) * np.exp(-y) * special.kv(0.25, y)).sum(), 0, 1))


def shrunk(score: float, reference: Sample, current: Sample) -> float:
    """Return a statistic over n m / (n + m): the integral of squared differences that it grows from."""
    return score * inverse_size(reference, current)


def grown(size: float, reference: Sample, current: Sample) -> float:
    """Return the statistic at such an integral."""
    return size / inverse_size(reference, current)


def noise_cramer_von_mises(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit distribution's quantile, found by halving."""
    low, high = 0.0, 10.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        over = cramer_von_mises_p(middle, reference, current) > alpha
        low, high = (middle, high) if over else (low, middle)
    return high


def mann_whitney(reference: Sample, current: Sample) -> float:
    """Return the rank-biserial correlation |2 U / (n m) - 1|, 0 to 1: two-sided, whatever the direction."""
    return abs(2 * _u(reference, current) / (reference.rows * current.rows) - 1)


def _u(reference: Sample, current: Sample) -> float:
    """Return the pairs in which the reference is larger, ties as half: scipy.stats.mannwhitneyu's statistic."""
    below = current.cumulative - current.cells / 2
    return _dot(reference.cells, below)


def mann_whitney_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the two-sided p-value with ties and continuity, as scipy.stats.mannwhitneyu(method="asymptotic")."""
    n, m = reference.rows, current.rows
    deviation = max(score * n * m / 2 - 0.5, 0.0)
    spread = _u_spread(reference, current)
    return float(2 * special.ndtr(-deviation / spread)) if spread else 1.0


def _u_spread(reference: Sample, current: Sample) -> float:
    n, m = reference.rows, current.rows
    total = n + m
    ties = (reference.cells + current.cells).astype(np.float64)
    tied = float((ties**3 - ties).sum()) / (total * (total - 1))
    return float(np.sqrt(max(n * m / 12 * (total + 1 - tied), 0.0)))


def noise_mann_whitney(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the normal limit."""
    return float(-special.ndtri(alpha / 2) * _u_spread(reference, current) * 2 / (reference.rows * current.rows))


def energy(reference: Sample, current: Sample) -> float:
    """Return the energy distance (2 x integral of (F - G)^2)^1/2, values in standard deviations of the reference.

    scipy.stats.energy_distance over the root of the standard deviation; exact as the Wasserstein distance is.
    """
    if reference.std == 0:
        return 0.0 if ((reference.cells > 0) == (current.cells > 0)).all() else float("inf")
    return float(np.sqrt(2 * _integral(np.square, reference, current) / reference.std))


def noise_energy(reference: Sample, current: Sample, alpha: float) -> float:
    """Return a normal bound, as for the Wasserstein distance."""
    if not reference.std:
        return 0.0
    share = reference.middle
    spread = _dot(share * (1 - share), np.diff(reference.knots))
    z = float(-special.ndtri(alpha / 2))
    return z * float(np.sqrt(2 * spread * inverse_size(reference, current) / reference.std))


def anderson_darling(reference: Sample, current: Sample) -> float:
    """Return the two-sample statistic A2akN with midranks (Scholz and Stephens 1987); about 1 is expected.

    scipy.stats.anderson_ksamp(variant="midrank") shows it standardised: less 1, over its standard deviation.
    """
    n, m = reference.rows, current.rows
    total = n + m
    ties = (reference.cells + current.cells).astype(np.float64)
    used = ties > 0
    ties = ties[used]
    pooled = np.cumsum(ties) - ties / 2
    scale = pooled * (total - pooled) - total * ties / 4
    statistic = 0.0
    for own, size in ((reference, n), (current, m)):
        below = (own.cumulative - own.cells / 2)[used]
        part = np.divide(ties * (total * below - pooled * size) ** 2, scale, out=np.zeros_like(ties), where=scale > 0)
        statistic += float(part.sum()) / size
    return statistic * (total - 1) / total**2


def noise_anderson_darling(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit's one-in-a-thousand quantile (Scholz and Stephens 1987, table 1), for any alpha."""
    return 1 + 6.546 * float(np.sqrt(2 * (np.pi**2 - 9) / 3))
