"""Thresholds that keep a false-alarm budget, from what the reference itself does when nothing is wrong. Pure.

Each score of the reference's own windows (their days taken out of the reference) is turned into a size that does not
grow with the rows, and its logarithm standardised by column and method. One height then serves all of them: the
largest standardised size over columns and methods is followed through a long series of resampled windows, and the
height is the lowest that it climbs over no more often than the budget allows. Because the reference has few
independent windows, the height is moved from the normal to Student's t tail and to the spread of a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.sample import inverse_size
from exporter.drift.univariate import METHODS, Sample
from exporter.rows import Floats

LEAST_UNITS = 14  # units of the reference (days) below which nothing can be calibrated
_SMALLEST = 1e-6
_LARGEST = 50.0  # log size; far beyond what any method can tell
_LEAST_KNOWN = 0.25  # share of the windows in which a column must have been judged
_REACHABLE = 0.98  # share of the farthest that a threshold may be at
_SAFETY = 0.6  # share of the budget that is spent: the resampled series is milder than a new year


class Null(NamedTuple):
    """What one column and method do in windows of one length when nothing is wrong.

    center, spread: mean and standard deviation of the log size. rows: median of 1 / (1/n + 1/m), n and m being the
    rows of both sides. mean, std: of the size itself.
    """

    center: float
    spread: float
    rows: float
    mean: float
    std: float


class Calibration(NamedTuple):
    """Thresholds of one window length and baseline, of what it names: the rest has no threshold.

    nulls: (column, method) -> null. heights: severity -> standardised height. units: days that it was learned from.
    """

    nulls: Mapping[tuple[str, str], Null]
    heights: Mapping[str, float]
    units: int


UNLEARNED = Calibration({}, {}, 0)  # for a baseline or segment that has no thresholds: scores without a verdict


def size(method: str, reference: Sample, current: Sample) -> float:
    """Return a method's score as a size that does not grow with the rows."""
    own = METHODS[method]
    return own.size(own.score(reference, current), reference, current)


def threshold(null: Null, height: float, method: str, reference: Sample, current: Sample) -> float | None:
    """Return the score above which a window alarms, at the actual rows; None where the pair is blind.

    reference: the baseline, which may be another window. With fewer rows than the learned windows had, noise grows as
    the method's rate says; with more, what differs from day to day stays.
    """
    own = METHODS[method]
    growth = max(1.0, null.rows * inverse_size(reference, current)) ** own.rate
    limit = max(math.exp(min(null.center + null.spread * height, _LARGEST)) * growth, own.least)
    if limit > (own.blind if own.blind is not None else _farthest(method, reference, current.rows)):
        return None
    return own.unsize(limit, reference, current)


def _farthest(method: str, reference: Sample, rows: int) -> float:
    """Return the size of a window whose rows are all in the reference's rarest bin."""
    alone = np.zeros_like(reference.bins)
    alone[int(np.argmin(reference.bins))] = rows
    return size(method, reference, Sample(alone)) * _REACHABLE


def spread_threshold(null: Null, deviations: float, method: str, reference: Sample, current: Sample) -> float:
    """Return mean + deviations x standard deviation of the size over the reference's windows, as a score."""
    return METHODS[method].unsize(null.mean + deviations * null.std, reference, current)


def calibrate(
    series: Mapping[str, Mapping[tuple[str, str], tuple[Floats, Floats]]],
    allowed: Mapping[str, float],
    days: int,
    examples: float,
) -> dict[str, Calibration]:
    """Fit the thresholds of one window length and baseline for each segment; all of them share one height.

    series: segment -> (column, method) -> the size in each of T windows in time order, NaN where it was not judged,
    and the effective rows of each. allowed: severity -> alarms per window step. days: learned from; examples: how many
    of the windows are independent.
    """
    nulls: dict[str, dict[tuple[str, str], Null]] = {}
    climbs = []
    for segment, own in series.items():
        for key, (sizes, rows) in own.items():
            known = np.isfinite(sizes)
            if known.sum() < max(2, _LEAST_KNOWN * len(sizes)):
                continue
            median = float(np.median(rows[known]))
            shrink = np.minimum(1.0, rows[known] / median) ** METHODS[key[1]].rate
            logs = np.log(np.maximum(sizes[known] * shrink, _SMALLEST))
            center, spread = float(logs.mean()), max(float(logs.std(ddof=1)), 1e-9)
            null = Null(center, spread, median, float(sizes[known].mean()), float(sizes[known].std(ddof=1)))
            nulls.setdefault(segment, {})[key] = null
            climb = np.full(len(sizes), -np.inf)
            climb[known] = (logs - center) / spread
            climbs.append(climb)
    if not climbs:
        return {}
    largest = np.max(climbs, axis=0)
    largest = largest[np.isfinite(largest)]
    heights = {severity: height_of(largest, rate * _SAFETY, examples) for severity, rate in allowed.items()}
    return {segment: Calibration(own, heights, days) for segment, own in nulls.items()}


def height_of(largest: Floats, rate: float, examples: float) -> float:
    """Return the height that is climbed at most `rate` times a step, for windows that are still to come.

    Center and spread of each column are known from few days only, so a new window's standardised size has the tail
    of Student's t for a prediction: the height moves to the value that is as rare there as it is in a normal tail.
    """
    from scipy.stats import norm, t

    lowest = _climbed_at_most(largest, rate * len(largest))
    if rate * len(largest) < 1:  # rarer than the series can show: the normal tail goes on from there
        spread = max(float(largest.std(ddof=1)), 1e-9)
        lowest = max(lowest, float(largest.mean()) + spread * float(norm.isf(rate)))
    freedom = max(examples - 1, 2.0)
    return float(t.isf(norm.sf(lowest), freedom)) * math.sqrt(1 + 1 / (freedom + 1))


def _climbed_at_most(largest: Floats, times: float) -> float:
    """Return the lowest height with at most that many climbs over it from below."""
    low = float(largest.max())
    for height in np.unique(largest)[::-1]:
        over = largest > height
        if int((over[1:] & ~over[:-1]).sum()) + int(over[0]) > times:
            break
        low = float(height)
    return low


def to_plain(found: Calibration) -> dict[str, Any]:
    """Return plain values for the store."""
    nulls = [[column, method, *null] for (column, method), null in found.nulls.items()]
    return {"nulls": nulls, "heights": dict(found.heights), "units": found.units}


def from_plain(plain: Mapping[str, Any]) -> Calibration:
    """Read what `to_plain` wrote."""
    nulls = {(column, method): Null(*null) for column, method, *null in plain["nulls"]}
    return Calibration(nulls, plain["heights"], plain["units"])
