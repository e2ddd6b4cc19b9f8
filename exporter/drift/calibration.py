"""Thresholds that keep a false-alarm budget, from what the reference itself does when nothing is wrong. Pure.

Each score of the reference's own windows is turned into a size that does not grow with the rows, its root is
standardised by column and method, and one height serves all of them: what Student's t exceeds, for a prediction, as
often as the budget allows, shared among as many tests as the columns and methods are in effect. The reasons and the
sources are in `docs/statistics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.sample import inverse_size
from exporter.drift.tails import LeftOut, needed, without
from exporter.drift.univariate import METHODS, Sample
from exporter.rows import Bools, Floats

LEAST_UNITS = 14  # units of the reference (days) below which nothing can be calibrated
CHANCE = 0.001  # a threshold is never below the score that chance alone exceeds once in a thousand windows
_SMALLEST = 1e-9
_LEAST_KNOWN = 0.25  # share of the windows in which a column must have been judged
_REACHABLE = 0.98  # share of the farthest that a threshold may be at
_SHARING = 0.25  # part of the windows that may share a unit with a window that is judged by the others
_PRIOR = 5.0  # examples that the other columns' spread counts for


class Null(NamedTuple):
    """What one column and method do in windows of one length when nothing is wrong.

    center, spread: mean and standard deviation of the size's root (`root_of`). rows: median of 1 / (1/n + 1/m), n and
    m being the rows of both sides. mean, std: of the size itself.
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


def root_of(method: str) -> float:
    """Return the power that makes sizes about normal: the cube root; of a squared distance the sixth.

    Wilson and Hilferty (1931) take the cube root of a chi-square; days differ more than chance lets them.
    """
    return 1 / (6 * METHODS[method].rate)


def threshold(null: Null, height: float, method: str, reference: Sample, current: Sample) -> float | None:
    """Return the score above which a window alarms, at the actual rows; None where the pair is blind.

    reference: the baseline, which may be another window. With fewer rows than the learned windows had, noise grows as
    the method's rate says; with more, what differs from day to day stays.
    """
    own = METHODS[method]
    growth = max(1.0, null.rows * inverse_size(reference, current)) ** own.rate
    limit = max((null.center + null.spread * height) ** (1 / root_of(method)) * growth, own.least)
    if limit > blind_above(method, reference, current.rows):
        return None
    return own.unsize(limit, reference, current)


def blind_above(method: str, reference: Sample, rows: int) -> float:
    """Return the size above which a threshold cannot tell anything of a window of so many rows."""
    own = METHODS[method].blind
    return own if own is not None else _farthest(method, reference, rows)


def _farthest(method: str, reference: Sample, rows: int) -> float:
    """Return the size of a window whose rows are all in the reference's rarest bin; unseen categories do not count."""
    known = reference.bins[:-1] if reference.has_unseen else reference.bins
    alone = np.zeros_like(reference.bins)
    alone[int(np.argmin(known))] = rows
    return size(method, reference, Sample(alone)) * _REACHABLE


def spread_threshold(null: Null, deviations: float, method: str, reference: Sample, current: Sample) -> float:
    """Return mean + deviations x standard deviation of the size over the reference's windows, as a score."""
    return METHODS[method].unsize(null.mean + deviations * null.std, reference, current)


class Examples(NamedTuple):
    """What windows are made of. units: different days or shorter windows among them; independent: how many count.

    chance: the squared correlation that two series of these windows have when their columns are independent. room: as
    many windows as the reference has room for without an overlap. sharing: T x T, which windows have a unit in common;
    None where the windows' own tail does not count.
    """

    days: int
    units: int
    independent: float
    chance: float
    room: float = 0.0
    sharing: Bools | None = None


class Sizes(NamedTuple):
    """One column and method in T windows. size: NaN where it was not judged. rows: effective ones, 1 / (1/n + 1/m).

    floor: size that chance alone gives, below which nothing counts. blind: size above which a threshold tells nothing.
    """

    size: Floats
    rows: Floats
    floor: float = 0.0
    blind: float = math.inf


class _Known(NamedTuple):
    """One column and method of a segment: the sizes' roots, NaN where unknown; what is stored but for the spread."""

    segment: str
    key: tuple[str, str]
    roots: Floats
    null: Null
    floor: float
    blind: float


def calibrate(
    series: Mapping[str, Mapping[tuple[str, str], Sizes]],
    allowed: Mapping[str, float],
    learned_from: Examples,
) -> dict[str, Calibration]:
    """Fit the thresholds of one window length and baseline for each segment; all of them share one height.

    series: segment -> (column, method) -> its sizes in T windows. allowed: severity -> alarms per window.
    """
    known = [one for name, own in series.items() for key, sizes in own.items() if (one := _known(name, key, sizes))]
    if not known:
        return {}
    freedom = max(learned_from.independent - 1, 2.0)
    known = _moderated(known, freedom, learned_from.units)
    heights = _heights(known, learned_from, freedom, allowed)
    nulls: dict[str, dict[tuple[str, str], Null]] = {}
    for one in known:
        nulls.setdefault(one.segment, {})[one.key] = one.null
    return {segment: Calibration(own, heights, learned_from.days) for segment, own in nulls.items()}


def _known(segment: str, key: tuple[str, str], found: Sizes) -> _Known | None:
    """Learn one column and method; None where it was judged too seldom."""
    sizes, rows = found.size, found.rows
    judged = np.isfinite(sizes)
    if judged.sum() < max(2, _LEAST_KNOWN * len(sizes)):
        return None
    own = sizes[judged]
    median = float(np.median(rows[judged]))
    shrink = np.minimum(1.0, rows[judged] / median) ** METHODS[key[1]].rate
    roots = np.full(len(sizes), np.nan)
    roots[judged] = (np.maximum(own, 0.0) * shrink) ** root_of(key[1])
    center, spread = float(np.nanmean(roots)), float(np.nanstd(roots, ddof=1))
    null = Null(center, spread, median, float(own.mean()), float(own.std(ddof=1)))
    return _Known(segment, key, roots, null, found.floor, found.blind)


def _moderated(known: list[_Known], freedom: float, units: int) -> list[_Known]:
    """Widen spreads: to what the method's other columns suggest, and to what a heavy tail shows.

    The variance is a weighted mean with the method's median one (moderated as in Smyth 2004), never below its own.
    The largest root of so many units is at most as far out as the largest of as many normal values would be.
    """
    found = []
    typical = {
        method: float(np.median([one.null.spread for one in known if one.key[1] == method]))
        for method in {one.key[1] for one in known}
    }
    for one in known:
        null = one.null
        farthest = float(np.nanmax(one.roots)) - null.center
        spread = float(_widened(null.spread, typical[one.key[1]], farthest, freedom, units))
        found.append(one._replace(null=null._replace(spread=spread)))
    return found


def _effective(roots: list[Floats], chance: float) -> float:
    """Return how many independent tests correlated series are: K^2 over the sum of squared correlations.

    Bretherton et al. (1999). The mean squared correlation of different series is corrected for what it is by chance.
    """
    count = len(roots)
    table = np.array(roots)
    away = table - np.nanmean(table, axis=1, keepdims=True)
    away[np.isnan(away)] = 0.0
    length = np.sqrt((away**2).sum(axis=1, keepdims=True))
    unit = np.divide(away, length, out=np.zeros_like(away), where=length > 0)
    pairs = max(count * (count - 1), 1)
    alike = float(((unit.T @ unit) ** 2).sum() - np.count_nonzero(length)) / pairs
    alike = max((alike - chance) / (1 - chance), 0.0)
    return count / (1 + alike * (count - 1))


def _heights(
    known: list[_Known], learned_from: Examples, freedom: float, allowed: Mapping[str, float]
) -> dict[str, float]:
    """Return the heights: Student's t for a prediction; more where the reference's own windows have a heavier tail."""
    from scipy.special import stdtr

    tests, degrees = _effective([one.roots for one in known], learned_from.chance), freedom + _PRIOR
    left_out = _left_out(known, learned_from, freedom)

    def above(height: Floats) -> Floats:
        return np.asarray(stdtr(degrees, -height / math.sqrt(1 + 1 / (degrees + 1))), np.float64)

    return {
        name: needed(_height(rate / tests, degrees), rate, tests, left_out, above) for name, rate in allowed.items()
    }


def _left_out(known: list[_Known], learned_from: Examples, freedom: float) -> LeftOut | None:
    """Return each window with what those that share nothing with it teach; None where those are too few."""
    if learned_from.sharing is None or learned_from.sharing.mean() > _SHARING:
        return None
    roots = np.array([one.roots for one in known]).T
    center, spread, largest = without(roots, learned_from.sharing)
    methods = np.array([one.key[1] for one in known])
    usual: Floats = np.empty_like(spread)
    for method in np.unique(methods):
        usual[:, methods == method] = np.nanmedian(spread[:, methods == method], axis=1, keepdims=True)
    spread = _widened(spread, usual, largest - center, freedom, learned_from.units - 1)
    powers = np.array([root_of(method) for method in methods])
    floor = np.array([max(one.floor, METHODS[one.key[1]].least) for one in known]) ** powers
    blind = np.array([one.blind for one in known]) ** powers
    return LeftOut(np.where(roots > floor, roots, np.nan), center, spread, blind, learned_from.room)


def _widened(spread: Any, typical: Any, farthest: Any, freedom: float, units: int) -> Any:
    """Return a spread that is moderated, and wide enough for the farthest of so many units; see `_moderated`."""
    from scipy.special import ndtri

    pooled = np.sqrt((freedom * spread**2 + _PRIOR * typical**2) / (freedom + _PRIOR))
    tail = farthest / -float(ndtri(1 / (max(units, 2) + 1)))
    return np.maximum(np.maximum(np.maximum(spread, pooled), tail), _SMALLEST)


def _height(rate: float, freedom: float) -> float:
    """Return the standardised value that a window still to come exceeds at this rate.

    Center and spread are known from few examples only: Student's t, for a prediction.
    """
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, rate)) * math.sqrt(1 + 1 / (freedom + 1))


def to_plain(found: Calibration) -> dict[str, Any]:
    """Return plain values for the store."""
    nulls = [[column, method, *null] for (column, method), null in found.nulls.items()]
    return {"nulls": nulls, "heights": dict(found.heights), "units": found.units}


def from_plain(plain: Mapping[str, Any]) -> Calibration:
    """Read what `to_plain` wrote."""
    nulls = {(column, method): Null(*null) for column, method, *null in plain["nulls"]}
    return Calibration(nulls, plain["heights"], plain["units"])
