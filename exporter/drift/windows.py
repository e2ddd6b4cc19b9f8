"""Which of the reference's units make windows and baselines in which nothing changed. Pure; seeded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.drift.calibration import LEAST_UNITS
from exporter.drift.pairs import Times
from exporter.rows import Bools, Ints

SERIES = 240  # resampled windows of each length
_BLOCK = 7
_WEEKS = 4  # that a reference has days for, from which on resampled weeks have their weekdays
_SEED = 20131231


class Pairs(NamedTuple):
    """The pairs of one window length and baseline: D x U, how often each of U units is in either side.

    baseline: None where it is all units but the window's own; a category that only they have is unseen then. order:
    which of the D pairs each step of the series is.
    """

    baseline: Times | None
    window: Times
    order: Ints


def chance(pairs: Pairs) -> float:
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


def sharing(pairs: Pairs) -> Bools:
    """Return which of the T pairs have a unit in common, on whichever side; T x T, each has with itself."""
    holds = pairs.window if pairs.baseline is None else pairs.window + pairs.baseline
    found: Bools = ((holds @ holds.T).toarray() > 0)[np.ix_(pairs.order, pairs.order)]
    return found


def sequence(units: int) -> Ints:
    """Return the resampled order of units: runs of seven, from anywhere in the reference, one after the other."""
    random = np.random.default_rng(_SEED)
    starts = random.integers(units, size=SERIES // _BLOCK + 1)
    return (starts[:, None] + np.arange(_BLOCK)).ravel()[:SERIES] % units


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
    runs = SERIES // int(open_.sum()) + 1
    drawn = np.concatenate([random.permutation(weeks) for _ in range(-(-runs // len(weeks)))])[:runs]
    calendar = (phase + drawn[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
    calendar = calendar[open_[calendar % _BLOCK]][:SERIES]
    away = np.abs(days - calendar[:, None] + random.uniform(-0.5, 0.5, (len(calendar), 1)))
    away[days % _BLOCK != calendar[:, None] % _BLOCK] = np.inf
    found: Ints = away.argmin(axis=1)
    return found


def resampled(steps: int, days: Ints) -> Pairs | None:
    """Return resampled windows against all units but their own."""
    count = len(days)
    if count < max(LEAST_UNITS, 2 * steps):
        return None
    from scipy import sparse  # learning alone needs it

    windows = windows_of(steps, days)
    times = np.zeros((len(windows), count))
    np.add.at(times, (np.arange(len(windows))[:, None], windows), 1.0)
    different, which = np.unique(times, axis=0, return_inverse=True)
    return Pairs(None, sparse.csr_array(different), which.ravel())


def consecutive(steps: int, lag: int, count: int) -> Pairs | None:
    """Return windows as they were in time, against what was `lag` units before; runs of them where they are many."""
    first = np.arange(lag, count - steps + 1)
    if len(first) < max(LEAST_UNITS, 4 * steps):
        return None
    from scipy import sparse

    if len(first) > 2 * SERIES:
        first = first[sequence(len(first))]
    ahead = np.arange(count) - first[:, None]
    window = (ahead >= 0) & (ahead < steps)
    baseline = (ahead >= -lag) & (ahead < steps - lag)
    baselines, windows = (sparse.csr_array(part.astype(np.float64)) for part in (baseline, window))
    return Pairs(baselines, windows, np.arange(len(first)))
