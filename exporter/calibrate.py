"""Reference rows by day -> thresholds per segment, baseline and window. Pure; seeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from exporter.drift.calibration import LEAST_UNITS, Calibration, Examples, calibrate
from exporter.drift.pairs import Side, Times, sizes
from exporter.drift.settings import PREVIOUS, REFERENCE, WEEK_AGO
from exporter.parts import bins_of, sample
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts
from exporter.profile.model import Bins, ModelBins
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins
from exporter.rows import Bools, Floats, Ints
from exporter.segments import ALL
from exporter.settings import Model

WAY = 3  # of learning; another number learns again from a reference whose thresholds are stored
DAY = 86_400
WEEK = 7 * DAY
_SERIES = 240  # resampled windows of each length; weeks of the reference's own days follow each other
_BLOCK = 7
_WEEKS = 4  # that a reference has days for, from which on resampled weeks have their weekdays
_SEED = 20131231
_MOST_CELLS = 256  # cells of a number that sizes are learned from: Kolmogorov-Smirnov is exact to 1/256
ALIKE = 2.5  # days in a row that resemble each other (the weather's rhythm)

Units = Mapping[int, Sequence[Counts]]  # unit length in seconds -> profiles in time order
Learned = Mapping[tuple[str, str], Mapping[str, Calibration]]  # (segment, baseline) -> window -> thresholds


class Pairs(NamedTuple):
    """The pairs of one window length and baseline: D x U, how often each of U units is in either side.

    baseline: None where it is all units but the window's own; a category that only they have is unseen then. order:
    which of the D pairs each step of the series is.
    """

    baseline: Times | None
    window: Times
    order: Ints


class Plan(NamedTuple):
    """What is learned together: one window (name, seconds) against one baseline, from so many units."""

    window: str
    seconds: int
    against: str
    units: int
    pairs: Pairs

    @property
    def examples(self) -> Examples:
        """Windows against the reference are resampled from days that are alike; moving ones are as they were."""
        days = max(self.units * units_of(self.seconds) // DAY, 1)
        independent = days / (ALIKE if self.against == REFERENCE else max(ALIKE, self.seconds / DAY))
        return Examples(days, min(self.units, _SERIES), independent, _chance(self.pairs))


def _chance(pairs: Pairs) -> float:
    """Return the mean squared correlation over the pairs of two series that have nothing in common but the units.

    Windows that share units resemble each other: with S the products of what the windows hold, less the mean window,
    it is the trace of S squared over the square of S's trace.
    """
    holds = pairs.window.toarray()[pairs.order]
    if pairs.baseline is not None:
        holds = holds - pairs.baseline.toarray()[pairs.order]
    holds = holds - holds.mean(axis=0)
    products = holds.T @ holds
    return min(float((products**2).sum() / np.trace(products) ** 2), 0.99)


def units_of(window: int) -> int:
    """Return the length of the reference's units for a window: a day, or the window itself where it is shorter."""
    return min(window, DAY)


def lag_of(window: int, against: str) -> int | None:
    """Return how many seconds before the window a moving baseline lies; None where the window has no such baseline.

    A window of a week or more has no week ago: it would be the previous one, or overlap the window.
    """
    if against == PREVIOUS:
        return window
    return WEEK if against == WEEK_AGO and window < WEEK else None


def calibrations(
    model: Model,
    bins: ModelBins,
    units: Units,
    segments: Mapping[str, Units] | None = None,
    days: Sequence[int] | None = None,
) -> Learned:
    """Learn thresholds from the reference's profile per unit of time; a plan without enough units is left out.

    segments: segment -> the same units in the same order, with that segment's rows only (none: an empty profile). They
    are compared with the reference alone, and share one height and half of the budget. days: the number of each unit
    of a day; None: they follow each other without a gap. A window needs 14 units and twice its length; against a moving
    baseline 14 pairs and four times its length.
    """
    kept = {unit: whole(own) for unit, own in units.items()}
    plans = list(_plans(model, {unit: numbered(own, unit, days) for unit, own in kept.items()}))
    series = {name: _series(model, bins, own, kept, plans) for name, own in {ALL: units, **(segments or {})}.items()}
    found: dict[tuple[str, str], dict[str, Calibration]] = {}
    for number, plan in enumerate(plans):
        for group in ([ALL], list(segments or {}) if plan.against == REFERENCE else []):
            share = sum(group == [ALL] or other.against == REFERENCE for other in plans) * (2 if segments else 1)
            allowed: dict[str, float] = {
                severity: rate * budget_parts(model)["columns"] * units_of(plan.seconds) / share
                for severity, rate in model.drift.threshold.false_alarms.items()
            }
            own = {name: series[name][number] for name in group if number in series[name]}
            for name, one in calibrate(own, allowed, plan.examples).items():
                found.setdefault((name, plan.against), {})[plan.window] = one
    return found


def budget_parts(model: Model) -> dict[str, float]:
    """Return which part of the model's budget goes where: columns' drift, bad shares, whole rows, daily signals."""
    weights = {"columns": 4, "quality": 2, "rows": +model.judges_rows, "sequential": +bool(model.drift.sequential)}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _plans(model: Model, numbers: Mapping[int, Ints]) -> Iterator[Plan]:
    for window in model.windows:
        unit = units_of(window.seconds)
        own = numbers.get(unit, np.arange(0))
        count = len(own)
        for against in model.drift.baselines:
            pairs = _resampled(window.seconds // unit, own) if against == REFERENCE else None
            lag = lag_of(window.seconds, against)
            if lag is not None:
                pairs = _consecutive(window.seconds // unit, lag // unit, count)
            if pairs is not None:
                yield Plan(window.name, window.seconds, against, count, pairs)


def whole(units: Sequence[Counts]) -> list[int]:
    """Leave out units with less than a quarter of the median rows: days that the reference cuts short."""
    rows = np.array([int(unit.amount[0]) if len(unit.place) else 0 for unit in units])
    return [number for number, count in enumerate(rows.tolist()) if count * 4 >= np.median(rows)]


def numbered(kept: Sequence[int], unit: int, days: Sequence[int] | None) -> Ints:
    """Return the number of each kept unit: its local day, or what place it has."""
    return np.array(kept if days is None or unit != DAY else [days[place] for place in kept], np.int64)


def sequence(units: int) -> Ints:
    """Return the resampled order of units: runs of seven, from anywhere in the reference, one after the other."""
    random = np.random.default_rng(_SEED)
    starts = random.integers(units, size=_SERIES // _BLOCK + 1)
    return (starts[:, None] + np.arange(_BLOCK)).ravel()[:_SERIES] % units


def windows_of(steps: int, days: Ints) -> Ints:
    """Return resampled windows of so many units in time order, T x units of each.

    days: number of each unit. Windows of days from a reference of four weeks or more are calendar ones (`_weeks`); a
    weekday without any days (the shop is closed) is left out of them, too.
    """
    weekdays = np.bincount(days % _BLOCK, minlength=_BLOCK)
    open_ = weekdays * 4 >= np.median(weekdays[weekdays > 0])
    if steps > 1 and len(days) >= _WEEKS * open_.sum() and weekdays[open_].min() > 1:
        order, steps = _weeks(days, open_), max(round(steps * open_.sum() / _BLOCK), 1)
    else:
        order = sequence(len(days))
    return np.array([order[end - steps : end] for end in range(steps, len(order) + 1)])


def _weeks(days: Ints, open_: Bools) -> Ints:
    """Return a resampled order of days in which weekdays follow each other as they do in time.

    Runs of a week that all begin with one weekday: the reference's weeks, shuffled, again and again. A day that is not
    there is that of the same weekday nearest to it, either one where two are.
    """
    random = np.random.default_rng(_SEED)
    phase = random.integers(_BLOCK)
    weeks = np.unique((days[open_[days % _BLOCK]] - phase) // _BLOCK)
    runs = _SERIES // int(open_.sum()) + 1
    drawn = np.concatenate([random.permutation(weeks) for _ in range(-(-runs // len(weeks)))])[:runs]
    calendar = (phase + drawn[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
    calendar = calendar[open_[calendar % _BLOCK]][:_SERIES]
    away = np.abs(days - calendar[:, None] + random.uniform(-0.5, 0.5, (len(calendar), 1)))
    away[days % _BLOCK != calendar[:, None] % _BLOCK] = np.inf
    found: Ints = away.argmin(axis=1)
    return found


def _resampled(steps: int, days: Ints) -> Pairs | None:
    """Return resampled windows against all units but their own."""
    count = len(days)
    if count < max(LEAST_UNITS, 2 * steps):
        return None
    windows = windows_of(steps, days)
    times = np.zeros((len(windows), count))
    np.add.at(times, (np.arange(len(windows))[:, None], windows), 1.0)
    different, which = np.unique(times, axis=0, return_inverse=True)
    return Pairs(None, sparse.csr_array(different), which.ravel())


def _consecutive(steps: int, lag: int, count: int) -> Pairs | None:
    """Return windows as they were in time, against what was `lag` units before; runs of them where they are many."""
    first = np.arange(lag, count - steps + 1)
    if len(first) < max(LEAST_UNITS, 4 * steps):
        return None
    if len(first) > 2 * _SERIES:
        first = first[sequence(len(first))]
    ahead = np.arange(count) - first[:, None]
    window = (ahead >= 0) & (ahead < steps)
    baseline = (ahead >= -lag) & (ahead < steps - lag)
    baselines, windows = (sparse.csr_array(part.astype(np.float64)) for part in (baseline, window))
    return Pairs(baselines, windows, np.arange(len(first)))


Series = dict[tuple[str, str], tuple[Floats, Floats]]  # (column, method) -> size and rows of each step


def _series(
    model: Model, bins: ModelBins, units: Units, kept: Mapping[int, list[int]], plans: Sequence[Plan]
) -> dict[int, Series]:
    """Return per plan (its number) the sizes of each column and method, and the rows they are of, step by step."""
    found: dict[int, Series] = {}
    for unit, numbers in kept.items():
        own = [units[unit][number] for number in numbers]
        for name, column_bins in bins_of(bins).items():
            methods = model.drift.numeric if isinstance(column_bins, NumericBins) else model.drift.categorical
            learned = [method for method in methods if model.drift.threshold.is_calibrated(method)]
            side = _side(column_bins, matrix(bins, own, name))
            for number, plan in enumerate(plans):
                if units_of(plan.seconds) == unit:
                    series = found.setdefault(number, {})
                    for method, pair in _measure(side, plan.pairs, learned, model.drift.min_rows).items():
                        series[name, method] = pair
    return found


def _measure(side: Side, pairs: Pairs, methods: Sequence[str], least: int) -> dict[str, tuple[Floats, Floats]]:
    """Return per method the size of each step, NaN where a side has fewer than `least` rows, and the rows."""
    window = side.merged(pairs.window)
    if pairs.baseline is not None:
        baseline = side.merged(pairs.baseline).measured_by(side)
    else:
        baseline = side.without(pairs.window)
        window = window if side.cells.shape[1] else _unseen(baseline, window)
    known = np.minimum(baseline.rows, window.rows) >= max(least, 1)
    known &= np.count_nonzero(side.rows) >= LEAST_UNITS
    rows = np.zeros(len(known))
    rows[known] = 1 / (1 / baseline.rows[known] + 1 / window.rows[known])
    found = {}
    for method in methods:
        size = np.full(len(known), np.nan)
        size[known] = sizes(method, baseline.chosen(known), window.chosen(known))
        found[method] = size[pairs.order], rows[pairs.order]
    return found


def _unseen(reference: Side, window: Side) -> Side:
    """Return a window's categories; those that only the window's own units had are unseen without them."""
    lost = np.where(reference.bins[:, :-1] == 0, window.bins[:, :-1], 0.0)
    unseen = window.bins[:, -1] + lost.sum(axis=1)
    return Side(np.column_stack([window.bins[:, :-1] - lost, unseen]), window.cells, window.totals)


def _side(bins: Bins, table: Ints) -> Side:
    """Return a column's counts per unit, its cells merged to at most 256 of about the same rows."""
    if isinstance(bins, CategoryBins):
        empty = np.empty((len(table), 0))
        return Side(table[:, : bins.unseen + 1].astype(np.float64), empty, empty)
    own = [sample(bins, row) for row in table]
    cells = np.array([one.cells for one in own], np.float64)
    sums = np.array([one.sums for one in own])
    mass = cells.sum(axis=0)
    used = np.flatnonzero(mass)
    group = np.floor((np.cumsum(mass) - mass / 2)[used] / max(mass.sum(), 1.0) * _MOST_CELLS)
    starts = np.flatnonzero(np.diff(group, prepend=-1)) if len(used) > _MOST_CELLS else np.arange(len(used))
    merged = [np.add.reduceat(part[:, used], starts, axis=1) for part in (cells, sums)]
    return Side(np.array([one.bins for one in own], np.float64), *merged)


def matrix(bins: ModelBins, units: Sequence[Counts], name: str) -> Ints:
    """Return a column's counts per unit, units x places; of a classifier's label, units x (classes + 2)."""
    if name == "label" and isinstance(bins.outcomes, ClassBins):
        known = len(bins.outcomes.classes)
        confusion = matrix(bins, units, "outcome")[:, : bins.outcomes.losses].reshape(len(units), known, known + 1)
        return np.pad(confusion.sum(axis=2), ((0, 0), (0, 2)))
    start, length = bins.span(name)
    table = np.zeros((len(units), length), np.int64)
    for number, unit in enumerate(units):
        first, last = np.searchsorted(unit.place, (start, start + length))
        table[number, unit.place[first:last] - start] = unit.amount[first:last]
    return table
