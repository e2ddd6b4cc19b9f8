"""What chance alone does to a sum over bins: the limit that it exceeds with a given probability."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.drift.sample import Floats, Ints, Sample
from exporter.special import special

Bools = NDArray[np.bool_]
# One bin's part of a statistic: rows in the window, rows in the reference, all rows of the window, of the reference.
Terms = Callable[[Floats, Floats, int, int], Floats]

_PLENTY = 10  # rows expected on each side from which a bin's part is chi-square with one degree of freedom
_LARGEST = 32  # different numbers of rows a bin whose chances are looked up; smaller bins have no say
_GRID = 48  # different numbers of rows a bin for which moments are computed; those between are interpolated


class Spread(NamedTuple):
    """Mean, variance and third cumulant of a statistic under chance; those of independent parts add up."""

    mean: float
    variance: float
    third: float

    def limit(self, alpha: float) -> float:
        """Return what is exceeded with probability alpha, by a gamma variable moved and scaled to these moments."""
        if self.variance <= 0:
            return max(self.mean, 0.0)
        skewness = max(self.third / self.variance**1.5, 1e-3)
        shape = 4 / skewness**2
        height = float(special.gammainccinv(shape, alpha) - shape) / math.sqrt(shape)
        return max(self.mean + height * math.sqrt(self.variance), 0.0)


class Bins(NamedTuple):
    """Rows of both sides together a bin that has any, but for the unseen bin. plenty: chi-square holds there."""

    rows: Ints
    plenty: Bools
    unseen: bool


def bins_of(reference: Sample, current: Sample) -> Bins:
    """Return how many rows each bin has."""
    unseen = reference.has_unseen
    rows = (reference.bins + current.bins)[: -1 if unseen else None]
    rows = rows[rows > 0]
    fewer = min(reference.rows, current.rows) / (reference.rows + current.rows)
    return Bins(rows, rows * fewer >= _PLENTY, unseen)


def limit(terms: Terms, base: float, reference: Sample, current: Sample, alpha: float) -> float:
    """Return what a sum over bins exceeds by chance with probability alpha, given the rows of both sides together.

    base: what a bin's part is over a chi-square variable with one degree of freedom, where rows are plenty. Elsewhere
    its moments are exact: rows fall to the window as a binomial variable. Bins are taken for independent; that their
    rows add up costs one bin's part.
    """
    n, m, once = reference.rows, current.rows, reference.once
    both = reference.bins + current.bins
    known = both[:-1] if reference.has_unseen else both
    if len(known) > 1 and not once and known.min() * (min(n, m) / (n + m)) >= _PLENTY:
        return _of_plenty(len(known), base, alpha)
    bins = bins_of(reference, current)
    count = len(bins.rows)
    many = int(np.count_nonzero(bins.plenty))
    found = many * np.array([base, 2 * base**2, 8 * base**3])
    if many < count:
        found += sparse(terms, bins, n, m).sum(axis=1)
    if once:
        found, count = found + _unseen(terms, once, n, m), count + 1
    least = 0.0
    if bins.unseen and count == 1 and not once:  # nothing that could differ but a category that was just missed
        new = min(float(np.log(1 / alpha) / np.log((n + m) / m)), m)
        least = float(terms(np.array([new, m - new]), np.array([0.0, n]), m, n).sum())
    spread = Spread(*(found * max(count - 1, 0) / max(count, 1)).tolist())
    return max(spread.limit(alpha), least)


@lru_cache(maxsize=1024)  # most columns of a window have as many bins and rows
def _of_plenty(count: int, base: float, alpha: float) -> float:
    """Return the limit of so many bins that all have plenty of rows."""
    found = (count * moment * (count - 1) / count for moment in (base, 2 * base**2, 8 * base**3))
    return Spread(*found).limit(alpha)


def sparse(terms: Terms, bins: Bins, n: int, m: int) -> Floats:
    """Return mean, variance and third cumulant of the part of each bin without plenty of rows, 3 x bins."""
    rows, which = np.unique(bins.rows[~bins.plenty], return_inverse=True)
    if not len(rows):
        return np.zeros((3, 0))
    share = m / (n + m)
    grid = rows.astype(np.float64)
    if len(rows) > _GRID:
        grid = np.unique(np.geomspace(rows[0], rows[-1], _GRID).round())
    reach = 6 * np.sqrt(grid * share * (1 - share)) + 10
    low = np.maximum(np.floor(grid * share - reach), 0)
    most = grid - bins.unseen  # a category that is not unseen has a row in the reference
    high = np.maximum(np.minimum(np.ceil(grid * share + reach), most), low)
    length = (high - low + 1).astype(np.int64)
    start = np.cumsum(length) - length
    both = np.repeat(grid, length)
    window = np.arange(int(length.sum())) - np.repeat(start - low, length)
    ways = special.gammaln(both + 1) - special.gammaln(window + 1) - special.gammaln(both - window + 1)
    weight = np.exp(ways + window * np.log(share) + (both - window) * np.log1p(-share))
    weight /= np.repeat(np.add.reduceat(weight, start), length)
    part = terms(window, both - window, m, n)
    mean = np.add.reduceat(weight * part, start)
    away = part - np.repeat(mean, length)
    found = [mean, np.add.reduceat(weight * away**2, start), np.add.reduceat(weight * away**3, start)]
    if len(rows) > _GRID:
        found = [np.interp(np.log(rows), np.log(grid), one) for one in found]
    return np.array(found)[:, which]


def _unseen(terms: Terms, once: int, n: int, m: int) -> Floats:
    """Return mean, variance and third cumulant of the unseen bin's part.

    Its rows are negative binomial: Poisson at a rate that is itself estimated, one row more to be on the safe side.
    """
    shape, odds = once + 1, m / n
    rows = np.arange(int(shape * odds + 10 * np.sqrt(shape * odds * (1 + odds)) + 10), dtype=np.float64)
    ways = special.gammaln(rows + shape) - special.gammaln(shape) - special.gammaln(rows + 1)
    weight = np.exp(ways + shape * np.log(n / (n + m)) + rows * np.log(m / (n + m)))
    part = terms(rows, np.zeros_like(rows), m, n)
    mean = weight @ part
    away = part - mean
    return np.array([mean, weight @ away**2, weight @ away**3])


def largest_limit(reference: Sample, current: Sample, alpha: float) -> float:
    """Return what the largest difference of a bin's share exceeds by chance: the bins' probabilities add up to alpha.

    Normal where rows are plenty, else binomial, or negative binomial for the unseen bin.
    """
    n, m, bins = reference.rows, current.rows, bins_of(reference, current)
    size, share = 1 / n + 1 / m, m / (n + m)
    pooled = bins.rows / (n + m)
    sigma = np.sqrt(pooled * (1 - pooled) * size)
    rows, times = np.unique(bins.rows[~bins.plenty], return_counts=True)
    rows, times = rows[-_LARGEST:], times[-_LARGEST:]
    shape = reference.once + 1

    usual = np.maximum(sigma[bins.plenty], 1e-300)

    def chance(height: float) -> float:
        found = 2 * float(special.ndtr(-height / usual).sum())
        if not len(rows):
            return found + unseen(height)
        above = np.floor((height + rows / n) / size + 1e-9)
        below = np.ceil((rows / n - height) / size - 1e-9) - 1
        found += float(times @ np.where(above < rows, special.bdtrc(above, rows, share), 0.0))
        found += float(times @ np.where(below >= 0, special.bdtr(below, rows, share), 0.0))
        return found + unseen(height)

    def unseen(height: float) -> float:
        return float(special.nbdtrc(int(height * m), shape, n / (n + m))) if bins.unseen else 0.0

    low, high = 0.0, float(-special.ndtri(alpha / 2) * sigma.max()) + 1 / m
    while chance(high) > alpha:
        low, high = high, 1.5 * high
    while high - low > 2e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > alpha else (low, middle)
    return high


def absolute_limit(terms: Terms, reference: Sample, current: Sample, alpha: float) -> float:
    """Return what half the sum of all differences of shares exceeds by chance with probability alpha.

    The differences are normal, so their sizes' means and covariances are known; with few rows of a bin its own are
    exact. Sizes of two bins go together, at most as far as those of two bins alone do.
    """
    n, m, bins = reference.rows, current.rows, bins_of(reference, current)
    pooled = bins.rows / (n + m)
    sigma = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) / 2
    left = 1 - 2 / np.pi
    parts = sparse(terms, bins, n, m)
    usual = sigma[bins.plenty]
    mean = float(usual.sum()) * np.sqrt(2 / np.pi) + float(parts[0].sum())
    variance = float((usual**2).sum()) * left + float(parts[1].sum())
    together = sigma * pooled / np.maximum(1 - pooled, 1e-300)
    variance += left * float(together.sum() ** 2 - (together**2).sum())
    if once := reference.once:
        more = _unseen(terms, once, n, m)
        mean, variance = mean + float(more[0]), variance + float(more[1])
    if mean <= 0 or variance <= 0:
        return 0.0
    return float(special.gammainccinv(mean**2 / variance, alpha) * variance / mean)
