"""Reference rows by day -> calibrated thresholds per window. Pure; seeded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.drift.calibration import LEAST_UNITS, Calibration, calibrate, size
from exporter.drift.univariate import Sample
from exporter.parts import bins_of, sample
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts
from exporter.profile.model import Bins, ModelBins
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins
from exporter.rows import Floats, Ints
from exporter.settings import Model

DAY = 86_400
_STEPS = 240  # resampled windows of each length; weeks of the reference's own days follow each other
_BLOCK = 7
_SEED = 20131231


def units_of(window: int) -> int:
    """Return the length of the reference's units for a window: a day, or the window itself where it is shorter."""
    return min(window, DAY)


def budgets(model: Model) -> dict[int, dict[str, float]]:
    """Return per window (seconds) and severity the alarms allowed a step; the windows share the budget evenly."""
    rates = model.drift.threshold.false_alarms
    share = len({window.seconds for window in model.windows})
    return {
        window.seconds: {severity: rate * units_of(window.seconds) / share for severity, rate in rates.items()}
        for window in model.windows
    }


def calibrations(model: Model, bins: ModelBins, units: Mapping[int, list[Counts]]) -> dict[str, Calibration]:
    """Learn thresholds for each window from the reference's profile per unit: unit length -> profiles in time order.

    A window is left out where the reference has too few units for it: fewer than 14, or than twice the window.
    """
    found = {}
    allowed = budgets(model)
    for window in model.windows:
        unit = units_of(window.seconds)
        steps = window.seconds // unit
        own = _whole(units.get(unit, []))
        if len(own) >= max(LEAST_UNITS, 2 * steps):
            days = max(len(own) * unit // DAY, 1)
            sizes, rows = _sizes(model, bins, own, steps)
            found[window.name] = calibrate(sizes, rows, allowed[window.seconds], days)
    return found


def _whole(units: list[Counts]) -> list[Counts]:
    """Leave out units with less than a quarter of the median rows: days that the reference cuts short."""
    rows = np.array([int(unit.amount[0]) if len(unit.place) else 0 for unit in units])
    return [unit for unit, count in zip(units, rows, strict=True) if count * 4 >= np.median(rows)]


def _sequence(units: int) -> Ints:
    """Return the resampled order of units: runs of a week, from anywhere in the reference, one after the other."""
    random = np.random.default_rng(_SEED)
    starts = random.integers(units, size=_STEPS // _BLOCK + 1)
    return (starts[:, None] + np.arange(_BLOCK)).ravel()[:_STEPS] % units


def _sizes(
    model: Model, bins: ModelBins, units: list[Counts], steps: int
) -> tuple[dict[tuple[str, str], Floats], dict[str, Floats]]:
    """Return sizes per (column, method), and values per column, in each resampled window."""
    order = _sequence(len(units))
    windows = [order[end - steps : end] for end in range(steps, len(order) + 1)]
    all_rows = _matrix(bins, units, "rows")[:, 0]
    enough = [int(all_rows[window].sum()) >= model.drift.min_rows for window in windows]
    sizes: dict[tuple[str, str], Floats] = {}
    rows: dict[str, Floats] = {}
    for name, own in bins_of(bins).items():
        methods = model.drift.numeric if isinstance(own, NumericBins) else model.drift.categorical
        learned = [method for method in methods if model.drift.threshold.is_calibrated(method)]
        column = _matrix(bins, units, name)
        total = column.sum(axis=0)
        rows[name] = np.zeros(len(windows))
        sizes |= {(name, method): np.full(len(windows), np.nan) for method in learned}
        for number, window in enumerate(windows):
            if enough[number]:
                pair = _leave_out(own, column, total, window)
                rows[name][number] = pair[1].rows
                if min(pair[0].rows, pair[1].rows) >= model.drift.min_rows:
                    for method in learned:
                        sizes[name, method][number] = size(method, *pair)
    return sizes, rows


def _leave_out(bins: Bins, column: Ints, total: Ints, window: Ints) -> tuple[Sample, Sample]:
    """Return the reference without the window's units, and the window; what only they had is unseen then."""
    reference = total - column[np.unique(window)].sum(axis=0)
    current = column[window].sum(axis=0)
    if isinstance(bins, CategoryBins):
        lost = np.flatnonzero(reference[: bins.unseen] == 0)
        current[bins.unseen] += current[lost].sum()
        current[lost] = 0
    return sample(bins, reference), sample(bins, current)


def _matrix(bins: ModelBins, units: list[Counts], name: str) -> Ints:
    """Return a column's counts per unit, units x places; of a classifier's label, units x (classes + 2)."""
    if name == "label" and isinstance(bins.outcomes, ClassBins):
        known = len(bins.outcomes.classes)
        confusion = _matrix(bins, units, "outcome")[:, : bins.outcomes.losses].reshape(len(units), known, known + 1)
        return np.pad(confusion.sum(axis=2), ((0, 0), (0, 2)))
    start, length = bins.span(name)
    table = np.zeros((len(units), length), np.int64)
    for number, unit in enumerate(units):
        first, last = np.searchsorted(unit.place, (start, start + length))
        table[number, unit.place[first:last] - start] = unit.amount[first:last]
    return table
