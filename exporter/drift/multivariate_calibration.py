"""Thresholds of whole-row methods that keep a false-alarm budget, from what the reference itself does. Pure; seeded.

Days differ from each other, so two samples differ although nothing is wrong, and no null of independent rows says by
how much. The reference does: each of up to 24 windows of consecutive days is taken out of it and compared with the
rest. The sizes' mean and standard deviation, and Student's t tail for a value still to come, are the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.calibration import LEAST_UNITS
from exporter.drift.features import Features, Floats, Ints, Result, Rows
from exporter.drift.multivariate import METHODS, MIN_ROWS, MOST_ROWS, compare

MOST_WINDOWS = 24
_LEAST_WINDOWS = 8
_ALIKE = 2.5  # days in a row that resemble each other (the weather's rhythm)
_SAFETY = 0.6  # share of the budget that is spent: what is left out resembles the rest more than a new year does


class Null(NamedTuple):
    """What one method does in windows of one length when nothing is wrong.

    center, spread: mean and standard deviation of the size. noise: how much of the spread is chance, the root mean
    square of the windows' own. rows: largest samples of reference and window that were compared: a classifier learns
    more from more, so no more are to be compared ever after. heights: severity -> spreads above the center.
    """

    center: float
    spread: float
    noise: float
    rows: tuple[int, int]
    heights: Mapping[str, float]


def learn(
    method: str,
    rows: Rows,
    day: Ints,
    steps: int,
    features: Features,
    allowed: Mapping[str, float],
    seed: int,
    min_rows: int = MIN_ROWS,
) -> Null | None:
    """Learn what a method says of windows of `steps` days against the rest of the reference, which has no change.

    rows: (n, features). day: (n,) number of each row's local day. allowed: severity -> alarms per day. Days with less
    than a quarter of the median rows are left out. None below 14 days, or twice the window, or where fewer than 8
    windows have a value.
    """
    days = _whole_days(day)
    if len(days) < max(LEAST_UNITS, 2 * steps):
        return None
    random = np.random.default_rng(seed)
    windows = [days[start : start + steps] for start in _starts(len(days) - steps + 1, random)]
    most = (MOST_ROWS, int(min(np.median([np.isin(day, own).sum() for own in windows]), MOST_ROWS)))
    whole = np.isin(day, days)
    found = []
    for number, own in enumerate(windows):
        inside = np.isin(day, own)
        rest = whole & ~inside
        most = (min(most[0], int(rest.sum())), most[1])
        found.append(
            compare(method, rows[rest], rows[inside], features, seed + number, day[rest], most, min_rows, explain=False)
        )
    return _fit(method, [one for one in found if one is not None], most, allowed, len(days) / max(steps, _ALIKE))


def _whole_days(day: Ints) -> Ints:
    days, counts = np.unique(day, return_counts=True)
    return days[counts * 4 >= np.median(counts)] if len(days) else days


def _starts(count: int, random: np.random.Generator) -> list[int]:
    """Return up to 24 of `count` places in order, one at random in each of equal parts: not always one weekday."""
    if count <= MOST_WINDOWS:
        return list(range(count))
    edges = np.linspace(0, count, MOST_WINDOWS + 1).astype(np.int64)
    return [int(place) for place in random.integers(edges[:-1], edges[1:])]


def _fit(
    method: str, results: list[Result], most: tuple[int, int], allowed: Mapping[str, float], units: float
) -> Null | None:
    """Return center, spread and heights; units: independent windows that the reference has room for."""
    if len(results) < _LEAST_WINDOWS:
        return None
    sizes: Floats = np.array([one.size for one in results])
    noise = math.sqrt(float(np.mean([one.noise**2 for one in results])))
    freedom = max(min(units, len(results)) - 1, 2.0)
    sides = 2 if METHODS[method].two_sided else 1
    heights = {severity: _height(rate / sides, freedom) for severity, rate in allowed.items()}
    return Null(float(sizes.mean()), float(sizes.std(ddof=1)), noise, most, heights)


def _height(rate: float, freedom: float) -> float:
    """Return Student's t quantile of a prediction: how far a new value is from the mean of those that are known."""
    from scipy.stats import t

    return float(t.isf(min(rate * _SAFETY, 0.5), freedom)) * math.sqrt(1 + 1 / (freedom + 1))


def thresholds(method: str, null: Null, found: Result) -> dict[str, float]:
    """Return severity -> score above which a window alarms; none where it would be too high to tell anything (blind).

    found: what the method said of the window, for the chance at its actual rows. With fewer rows than the reference's
    windows had the spread grows by the noise that is more; what differs from day to day stays. Never below chance,
    nor below the method's least effect.
    """
    own = METHODS[method]
    spread = math.sqrt(null.spread**2 + max(found.noise**2 - null.noise**2, 0.0))
    center = abs(null.center) if own.two_sided else null.center
    limits = {
        severity: max(own.unsize(center + height * spread), found.chance, own.least)
        for severity, height in null.heights.items()
    }
    return {severity: limit for severity, limit in limits.items() if limit <= own.blind}


def to_plain(nulls: Mapping[str, Null]) -> dict[str, Any]:
    """Return plain values for the store: nulls by any name."""
    return {name: [*null[:3], list(null.rows), dict(null.heights)] for name, null in nulls.items()}


def from_plain(plain: Mapping[str, Any]) -> dict[str, Null]:
    """Read what `to_plain` wrote."""
    return {
        name: Null(center, spread, noise, (rows[0], rows[1]), heights)
        for name, (center, spread, noise, rows, heights) in plain.items()
    }
