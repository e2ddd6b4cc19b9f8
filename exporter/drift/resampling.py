"""Years that could follow a reference's days if nothing changed, and the threshold that is rarely reached in them."""

from __future__ import annotations

import numpy as np

from exporter.rows import Floats

BLOCK = 7  # days in a row that are drawn together, and multiples: rhythm and most of the autocorrelation stay
FUTURES = 400
HORIZON = 240  # days
_BLOCKS = 6  # blocks that a reference must have for blocks to be of so many weeks
_FEWEST_FREE = 3.0  # degrees of freedom
_TAIL = 0.1  # share of the futures whose maxima make the tail
_FEWEST = 20  # maxima above a height, below which the tail says where it is


def futures(values: Floats, weights: Floats, center: float, days: int) -> tuple[Floats, Floats]:
    """Return values and weights of FUTURES series side by side, each of shape (days, FUTURES). Seeded.

    Each is a circular block bootstrap of the reference's days (Politis and Romano 1992) in a world of its own. The
    means of blocks, of which a reference has few, are times sqrt(f / chi-square(f)), which makes a prediction of
    Student's t; f = 1.5 days / block - 1, at least 3: what blocks that overlap know of their variance. They scatter
    less about a mean of the same days than about the true one, by 1 - block / days in variance: a normal level for each
    drawn block makes up for it. And a world's mean is off by as much as the mean of a resampled reference is.
    """
    from scipy.stats import chi2

    random = np.random.default_rng(0)
    block = BLOCK * max(1, len(values) // (BLOCK * _BLOCKS))
    freedom = max(1.5 * len(values) / block - 1, _FEWEST_FREE)
    factor = np.sqrt(freedom / chi2.ppf((np.arange(FUTURES) + 0.5) / FUTURES, freedom))
    again, heavy = _drawn(random, values - center, weights, block, factor, len(values))
    shift = (again * heavy).sum(axis=0) / heavy.sum(axis=0)
    ahead, weight = _drawn(random, values - center, weights, block, factor, days)
    return center + shift + ahead, weight


def _drawn(
    random: np.random.Generator, values: Floats, weights: Floats, block: int, factor: Floats, days: int
) -> tuple[Floats, Floats]:
    """Return values and weights of drawn blocks, in the reference's order, around its end."""
    count = len(values)
    places = (np.arange(count)[:, None] + np.arange(block)) % count
    means = values[places].mean(axis=1)
    missing = float(np.sqrt((means**2).mean() * block / (count - block)))
    starts = random.integers(count, size=(-(-days // block), FUTURES))
    more = (factor - 1) * means[starts] + factor * random.normal(0, missing, starts.shape)
    place = (starts[:, None] + np.arange(block)[:, None]) % count
    found = values[place] + more[:, None]
    return found.reshape(-1, FUTURES)[:days], weights[place].reshape(-1, FUTURES)[:days]


def height(maxima: Floats, share: float) -> float:
    """Return the height that a share of the maxima is above.

    Rarer than these can show: from the height that a tenth is above, an exponential tail with their mean excess goes
    on (peaks over threshold, Pickands 1975, at shape 0).
    """
    if share * len(maxima) >= _FEWEST:
        return float(np.quantile(maxima, 1 - share))
    start = float(np.quantile(maxima, 1 - _TAIL))
    excess = float((maxima[maxima > start] - start).mean()) if (maxima > start).any() else 0.0
    return start + excess * float(np.log(_TAIL / share))
