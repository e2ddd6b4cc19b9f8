"""Bounds of missing, unseen, out-of-range and invalid shares, learned from what the reference's own days do. Pure.

Two kinds of (feature, check) are told apart. Where most windows have such rows, the logit of the share has a mean and
a spread, and one height serves all of them, as in `drift.calibration`. Where most windows have none, what counts is how
often any of the check's features has some, and how large the share is then. The budget is shared evenly between the
first kind and each check of the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from exporter.calibrate import ALIKE, DAY, budget_parts, matrix, numbered, units_of, whole
from exporter.drift.calibration import LEAST_UNITS
from exporter.drift.windows import windows_of
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts
from exporter.profile.model import ModelBins
from exporter.profile.numeric import NumericBins
from exporter.rows import Floats, Ints
from exporter.settings import Model
from exporter.special import special

EFFECT = 0.01  # smallest rise of a share that ever counts,
RISE = 0.2  # or this part of the reference's own share, if that is more
CHANCE = 0.001  # a bound is never below what chance alone exceeds once in a thousand windows
BLIND = 0.9  # a bound above this share cannot tell anything
_SAFETY = 0.6  # share of the budget that is spent, as in drift.calibration
_USUAL = 1.0  # standard deviation of the logit of a rare share, as good as _KNOWN observed ones
_KNOWN = 4
Key = tuple[str, str]  # feature, check


class QualityBounds(NamedTuple):
    """Learned largest accepted shares of one window length.

    limits: (feature, check) -> share; a pair that is not there never had such rows: only effect and chance count.
    units: days learned from.
    """

    limits: Mapping[Key, float]
    units: int

    @property
    def blind(self) -> frozenset[Key]:
        """Pairs whose bound is too high to tell anything."""
        return frozenset(key for key, limit in self.limits.items() if limit > BLIND)


def bound(learned: QualityBounds, feature: str, check: str, rows: int, reference: float) -> float | None:
    """Return the largest accepted share of a window of so many rows; None where the pair is blind.

    reference: the reference's own share. Never below `least`.
    """
    limit = max(learned.limits.get((feature, check), 0.0), least(rows, reference))
    return limit if limit <= BLIND else None


@lru_cache(maxsize=4096)  # most columns of a window have as many rows and the same share
def least(rows: int, reference: float) -> float:
    """Return the share that one window in 1/CHANCE exceeds where the true one rose by the smallest effect."""
    share = reference + max(EFFECT, RISE * reference)
    if share >= 1 or not rows:
        return 1.0
    return math.ceil(float(special.bdtrik(1 - CHANCE, rows, share))) / rows


def learn(shares: Mapping[Key, Floats], rows: Floats, allowed: float, units: int) -> QualityBounds:
    """Fit the bounds of one window length.

    shares: per (feature, check) the share in each of T resampled windows in time order, NaN where it was not judged,
    with the window's own units left out of what it is compared with. rows: of each window. allowed: alarms a step, of
    all pairs together. units: days learned from.
    """
    shares = {key: one for key, one in shares.items() if np.isfinite(one).any()}
    steady = {key: one for key, one in shares.items() if np.nanmedian(one) > 0}
    rare = _alike({key: one for key, one in shares.items() if key not in steady})
    checks = {check for check, _ in rare}
    rate = allowed * _SAFETY / max(len(checks) + bool(steady), 1)
    limits = _steady(steady, rows, rate, units)
    for (check, largest), keys in rare.items():
        own = sum(check == other for other, _ in rare)
        limit = _rare(np.frombuffer(largest), rows, rate / own, units)
        limits |= dict.fromkeys(keys, limit)
    return QualityBounds(limits, units)


def _alike(shares: Mapping[Key, Floats]) -> dict[tuple[str, bytes], list[Key]]:
    """Group rare pairs that share a bound: (check, largest share a window as bytes) -> pairs.

    Features that are missing together are one. Each feature has its extremes on days of its own, on which it will be
    out of range next is chance: so all features are one.
    """
    found: dict[tuple[str, bytes], list[Key]] = {}
    outside = {key: one for key, one in shares.items() if key[1] == "out_of_range"}
    for key, one in shares.items():
        if key not in outside and np.nanmax(one) > 0:
            found.setdefault((key[1], one.tobytes()), []).append(key)
    if outside and (largest := np.max(list(outside.values()), axis=0))[np.isfinite(largest)].any():
        found["out_of_range", largest.tobytes()] = list(outside)
    return found


def _logit(shares: Floats, rows: Floats) -> Floats:
    """Return the logit, half a row added to both sides."""
    bad = shares * rows
    found: Floats = np.log((bad + 0.5) / (rows - bad + 0.5))
    return found


def _steady(shares: Mapping[Key, Floats], rows: Floats, rate: float, units: int) -> dict[Key, float]:
    """Return mean + height x spread of the logit as a share; the height is that of the largest over all pairs."""
    if not shares:
        return {}
    logits = np.array([_logit(one, rows) for one in shares.values()])
    center = np.nanmean(logits, axis=1)
    spread = np.maximum(np.nanstd(logits, axis=1, ddof=1), 1e-9)
    largest = np.max((logits - center[:, None]) / spread[:, None], axis=0)
    height = _height(largest[np.isfinite(largest)], rate, units / ALIKE)
    return dict(zip(shares, special.expit(center + height * spread).tolist(), strict=True))


def _rare(largest: Floats, rows: Floats, rate: float, units: int) -> float:
    """Return the share that the largest of some rare ones exceeds `rate` times a step.

    How often it is above 0 is counted; the logit of its size has Student's t for a prediction. One more time than was
    seen, in a unit more than there are, is taken for its rate.
    """
    known = np.isfinite(largest)
    some = known & (largest > 0)
    if not some.any():
        return 0.0
    climbs = max(int((some[1:] & ~some[:-1]).sum()) + int(some[0]), 1)
    seen = max(climbs / known.sum() * units, 1.0)
    sizes = _logit(largest[some], rows[some])
    spread = math.sqrt((seen * float(sizes.var()) + _KNOWN * _USUAL**2) / (seen + _KNOWN))
    often = min((climbs + 1) / known.sum(), 1.0)
    if rate >= often:
        return 0.0
    height = float(-special.stdtrit(seen + _KNOWN - 1, rate / often)) * math.sqrt(1 + 1 / seen)
    return float(special.expit(sizes.mean() + height * spread))


def learn_windows(
    model: Model, bins: ModelBins, units: Mapping[int, Sequence[Counts]], days: Sequence[int] | None = None
) -> dict[str, QualityBounds]:
    """Learn the bounds of each window that the reference has enough units for, within their part of the budget.

    days: as in `calibrate.calibrations`.
    """
    found = {}
    rate = min(model.drift.threshold.false_alarms.values())
    for window in model.windows:
        unit = units_of(window.seconds)
        kept = whole(units[unit]) if unit in units else []
        own = [units[unit][place] for place in kept]
        steps = window.seconds // unit
        if len(own) >= max(LEAST_UNITS, 2 * steps):
            shares, rows = resampled(bins, own, windows_of(steps, numbered(kept, unit, days)), model.drift.min_rows)
            allowed = rate * budget_parts(model)["quality"] * unit / len(model.windows)
            found[window.name] = learn(shares, rows, allowed, max(len(own) * unit // DAY, 1))
    return found


def _height(largest: Floats, rate: float, examples: float) -> float:
    """Return the height that is climbed at most `rate` times a step, for windows that are still to come.

    Center and spread of each column are known from few days only, so a new window's standardised size has the tail
    of Student's t for a prediction: the height moves to the value that is as rare there as it is in a normal tail.
    """
    lowest = _climbed_at_most(largest, rate * len(largest))
    if rate * len(largest) < 1:  # rarer than the series can show: the normal tail goes on from there
        spread = max(float(largest.std(ddof=1)), 1e-9)
        lowest = max(lowest, float(largest.mean()) + spread * float(-special.ndtri(rate)))
    freedom = max(examples - 1, 2.0)
    return float(-special.stdtrit(freedom, float(special.ndtr(-lowest)))) * math.sqrt(1 + 1 / (freedom + 1))


def _climbed_at_most(largest: Floats, times: float) -> float:
    """Return the lowest height with at most that many climbs over it from below."""
    low = float(largest.max())
    for height in np.unique(largest)[::-1]:
        over = largest > height
        if int((over[1:] & ~over[:-1]).sum()) + int(over[0]) > times:
            break
        low = float(height)
    return low


def resampled(
    bins: ModelBins, units: Sequence[Counts], windows: Ints, min_rows: int
) -> tuple[dict[Key, Floats], Floats]:
    """Return the share per (feature, check), and the rows, of each resampled window (T x units of each).

    What only the window's own units had is unseen or out of range: they are left out of the reference. Windows with
    fewer than `min_rows` rows are NaN.
    """
    rows = matrix(bins, units, "rows")[:, 0][windows].sum(axis=1).astype(np.float64)
    judged = np.where(rows >= max(min_rows, 1), rows, np.nan)
    found: dict[Key, Floats] = {}
    for name, own in bins.features.items():
        column = matrix(bins, units, f"feature:{name}")
        for check, bad in _bad_rows(own, column, windows):
            found[name, check] = bad / judged
    return found, rows


def _bad_rows(bins: CategoryBins | NumericBins, column: Ints, windows: Ints) -> Iterable[tuple[str, Ints]]:
    """Yield each check of a column with its rows per window. column: units x places. windows: T x units of each."""
    yield "missing", column[:, bins.missing][windows].sum(axis=1)
    if isinstance(bins, NumericBins):
        yield "invalid", column[:, bins.invalid][windows].sum(axis=1)
        yield "out_of_range", _outside(column[:, : bins.missing], windows)
    elif bins.complete:
        known = column[:, : bins.unseen]
        few = known[:, (known > 0).sum(axis=0) <= windows.shape[1]]  # the others cannot all be a window's
        total = few.sum(axis=0)
        lost = [few[w].sum(axis=0)[few[np.unique(w)].sum(axis=0) == total].sum() for w in windows]
        yield "unseen", column[:, bins.unseen][windows].sum(axis=1) + np.array(lost, np.int64)


def _outside(cells: Ints, windows: Ints) -> Ints:
    """Return each window's rows below the lowest or above the highest cell of the other units."""
    used = cells.sum(axis=1) > 0
    upto = np.concatenate([np.zeros((len(cells), 1), np.int64), np.cumsum(cells, axis=1)], axis=1)
    first = np.where(used, (cells > 0).argmax(axis=1), cells.shape[1])
    last = np.where(used, cells.shape[1] - (cells[:, ::-1] > 0).argmax(axis=1), 0)
    found = np.zeros(len(windows), np.int64)
    for number, window in enumerate(windows):
        others = np.setdiff1d(np.arange(len(cells)), window)
        low, high = first[others].min(initial=cells.shape[1]), last[others].max(initial=0)
        if low < high:
            found[number] = (upto[window, low] + upto[window, -1] - upto[window, high]).sum()
    return found


def to_plain(found: QualityBounds) -> dict[str, Any]:
    """Return plain values for the store."""
    return {
        "limits": [[feature, check, limit] for (feature, check), limit in found.limits.items()],
        "units": found.units,
    }


def from_plain(plain: Mapping[str, Any]) -> QualityBounds:
    """Read what `to_plain` wrote."""
    return QualityBounds({(feature, check): limit for feature, check, limit in plain["limits"]}, plain["units"])
