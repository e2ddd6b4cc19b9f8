"""Reference rows by day -> thresholds per segment, baseline and window. Pure; seeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.calibration import CHANCE, LEAST_UNITS, Calibration, Examples, Sizes, blind_above, calibrate
from exporter.drift.pairs import Side, sizes
from exporter.drift.sample import Sample
from exporter.drift.settings import PREVIOUS, REFERENCE, WEEK_AGO
from exporter.drift.univariate import METHODS
from exporter.drift.windows import SERIES, Pairs, chance, consecutive, resampled, sharing
from exporter.parts import bins_of, sample
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts
from exporter.profile.model import Bins, ModelBins
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins
from exporter.rows import Ints
from exporter.segments import ALL
from exporter.settings import Model

WAY = 4  # of learning; another number learns again from a reference whose thresholds are stored
DAY = 86_400
WEEK = 7 * DAY
_MOST_CELLS = 256  # cells of a number that sizes are learned from: Kolmogorov-Smirnov is exact to 1/256
ALIKE = 2.5  # days in a row that resemble each other (the weather's rhythm)

Units = Mapping[int, Sequence[Counts]]  # unit length in seconds -> profiles in time order
Learned = Mapping[tuple[str, str], Mapping[str, Calibration]]  # (segment, baseline) -> window -> thresholds


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
        room = self.units * units_of(self.seconds) / self.seconds
        return Examples(days, min(self.units, SERIES), independent, chance(self.pairs), room, sharing(self.pairs))


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


def told(model: Model, learned: Learned) -> tuple[list[str], list[str]]:
    """Say of each window and baseline what its thresholds were learned from, and which could not be learned."""
    found, lost = [], []
    for window in model.windows:
        for against in model.drift.baselines:
            own = learned.get((ALL, against), {}).get(window.name)
            pair = f"window {window.name}" + (f" against {against}" if against != REFERENCE else "")
            if own is not None:
                found.append(f"{pair}: thresholds learned from {own.units} days of the reference")
            elif against == REFERENCE or lag_of(window.seconds, against) is not None:
                so = "default effects hold" if against == REFERENCE else "it is not compared"
                lost.append(f"{pair}: the reference has too few days with enough rows to learn thresholds: {so}")
    return found, lost


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
            pairs = resampled(window.seconds // unit, own) if against == REFERENCE else None
            lag = lag_of(window.seconds, against)
            if lag is not None:
                pairs = consecutive(window.seconds // unit, lag // unit, count)
            if pairs is not None:
                yield Plan(window.name, window.seconds, against, count, pairs)


def whole(units: Sequence[Counts]) -> list[int]:
    """Leave out units with less than a quarter of the median rows: days that the reference cuts short."""
    rows = np.array([int(unit.amount[0]) if unit else 0 for unit in units])
    return [number for number, count in enumerate(rows.tolist()) if count * 4 >= np.median(rows)]


def numbered(kept: Sequence[int], unit: int, days: Sequence[int] | None) -> Ints:
    """Return the number of each kept unit: its local day, or what place it has."""
    return np.array(kept if days is None or unit != DAY else [days[place] for place in kept], np.int64)


Series = dict[tuple[str, str], Sizes]  # (column, method) -> sizes step by step


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
            table = matrix(bins, own, name)
            side, whole_ = _side(column_bins, table), sample(column_bins, table.sum(axis=0))
            for number, plan in enumerate(plans):
                if units_of(plan.seconds) == unit:
                    series = found.setdefault(number, {})
                    for method, sizes in _measure(side, plan, learned, model.drift.min_rows, whole_).items():
                        series[name, method] = sizes
    return found


def _measure(side: Side, plan: Plan, methods: Sequence[str], least: int, reference: Sample) -> dict[str, Sizes]:
    """Return per method the sizes of each step, NaN where a side has fewer than `least` rows."""
    pairs = plan.pairs
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
        found[method] = Sizes(size[pairs.order], rows[pairs.order])
        if known.any():
            typical = _of_rows(reference, float(np.median(baseline.rows[known])))
            floor, blind = _bounds(method, typical, _of_rows(reference, float(np.median(window.rows[known]))))
            found[method] = found[method]._replace(floor=floor, blind=blind)
    return found


def _of_rows(reference: Sample, rows: float) -> Sample:
    """Return the reference as if it had so many rows, which `noise` reads."""
    count = max(round(rows), 1)
    share = min(count / max(reference.rows, 1), 1.0) * (1 - 1e-12)  # no cumulative share above 1 by rounding
    cells: Any = reference.cells * share
    found = Sample((reference.bins * share).astype(np.int64), cells, reference.sums * share, reference.knots)
    found = found.measured_by(reference)
    found.rows = count
    return found


def _bounds(method: str, baseline: Sample, window: Sample) -> tuple[float, float]:
    """Return the size that chance alone gives, and the one above which a threshold is blind, at these rows."""
    noise = METHODS[method].noise(baseline, window, CHANCE)
    return METHODS[method].size(noise, baseline, window), blind_above(method, baseline, window.rows)


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
