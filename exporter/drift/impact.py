"""Which drift to look at first: drift times importance, and whether performance went down on the same days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.drift.thresholds import adjusted

MIN_DAYS = 14
SIGNIFICANT = 0.05
_MOST_DOUBLINGS = 10.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Day(NamedTuple):
    """One day's readings. day: its number; days must not share rows, so of a window of one day.

    severity: by feature with a verdict. performance: the metric's value; None where unknown.
    """

    day: int
    severity: Mapping[str, float]
    performance: float | None


class Correlation(NamedTuple):
    """How a feature's drift goes with the loss of performance. rho: Spearman's; positive: worse on drifted days.

    p_value: two-sided, corrected for autocorrelation, and across features. days: with both.
    """

    rho: float
    p_value: float
    days: int


def impact(severity: Mapping[str, float], importance: Mapping[str, float]) -> dict[str, float]:
    """Return log2(1 + severity) x importance of each feature that has both.

    severity: largest score over its threshold, so the first factor is 0 without drift and 1 at the threshold; it grows
    by about 1 when the severity doubles, and is at most 10: a score 40 times a tiny threshold counts as 5. A blind
    feature has no severity, and must be left out of it by the caller: its impact is not known, which is not 0.
    """
    return {
        name: min(math.log2(1 + own), _MOST_DOUBLINGS) * importance[name]
        for name, own in severity.items()
        if name in importance and not math.isnan(own)
    }


def correlation(history: Sequence[Day], lower_is_better: bool) -> dict[str, Correlation]:
    """Return each feature's rank correlation of drift with loss of performance over days.

    A feature needs 14 days with both numbers, in which both vary; else it is left out. p_value: t test of rho with
    `effective_days` in place of days, then Benjamini-Hochberg. It is association, not cause: a season moves both.
    Raises ValueError where a day comes twice.
    """
    if len({one.day for one in history}) < len(history):
        raise ValueError("a day comes twice")
    sign = 1.0 if lower_is_better else -1.0
    known = [one for one in sorted(history) if one.performance is not None and math.isfinite(one.performance)]
    found: dict[str, Correlation] = {}
    for name in dict.fromkeys(name for one in known for name in one.severity):
        own = [one for one in known if math.isfinite(one.severity.get(name, math.nan))]
        drift = np.array([one.severity[name] for one in own])
        loss = np.array([sign * (one.performance or 0.0) for one in own])
        if len(own) >= MIN_DAYS and np.ptp(drift) > 0 and np.ptp(loss) > 0:
            found[name] = _spearman(np.array([one.day for one in own]), drift, loss)
    corrected = adjusted({name: one.p_value for name, one in found.items()})
    return {name: one._replace(p_value=corrected[name]) for name, one in found.items()}


def _spearman(days: Ints, x: Floats, y: Floats) -> Correlation:
    from scipy.stats import rankdata, t

    x, y = rankdata(x), rankdata(y)
    rho = float(np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0))
    freedom = effective_days(days, x, y) - 2
    if freedom <= 0:
        return Correlation(rho, 1.0, len(x))
    size = math.sqrt(freedom / max(1 - rho**2, 1e-300)) * abs(rho)
    return Correlation(rho, float(2 * t.sf(size, freedom)), len(x))


def effective_days(days: Ints, x: Floats, y: Floats) -> float:
    """Return how many independent days tell as much of a correlation of x and y as these; at most their number.

    1/N* = 1/N + 2/N sum over lags j up to N/5 of (N - j)/N r_x(j) r_y(j) (Bartlett 1935; Pyper and Peterman 1998), r
    being the mean product at lag j over the variance. Where days are missing, the N - j pairs are those that are there.
    """
    count = len(days)
    place = days - days[0]
    both = np.full((2, int(place[-1]) + 1), np.nan)
    both[:, place] = [(one - one.mean()) / one.std() for one in (x, y)]
    inverse = 1 / count
    for lag in range(1, min(count // 5, both.shape[1] - 1) + 1):
        products = both[:, lag:] * both[:, :-lag]
        pairs = int((~np.isnan(products[0])).sum())
        if pairs:
            r_x, r_y = np.nansum(products, axis=1) / pairs
            inverse += 2 / count * pairs / count * float(r_x * r_y)
    return 1 / max(inverse, 1 / count)


def rank(impacts: Mapping[str, float], correlations: Mapping[str, Correlation]) -> list[str]:
    """Return all features in the order in which to look at them.

    First those with an impact, the largest first; equal ones (to three digits) and those without by rho, where it is
    significant (corrected p of at most 0.05; else it counts as 0), then by name.
    """

    def place(name: str) -> tuple[bool, float, float, str]:
        own = correlations.get(name)
        rho = own.rho if own is not None and own.p_value <= SIGNIFICANT else 0.0
        return (name not in impacts, -float(f"{impacts.get(name, 0.0):.3g}"), -rho, name)

    return sorted({*impacts, *correlations}, key=place)
