"""Drift of a signal's days: has its level changed against the reference's days, and since when. Pure.

A plug point: write `begin`, `after` and `update` in `detectors`, add a row to `DETECTORS`. No state is kept: the
detectors run over the whole history again, so late labels and restarts need no care.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.detectors import adwin, ddm, ewma, page_hinkley
from exporter.drift.resampling import HORIZON, futures, height
from exporter.rows import Floats, Ints

LEAST_DAYS = 14  # of the reference, below which nothing is learned
_FAR = 1e6  # standard deviations: a value further out counts as this far, so that sums of squares stay finite
_MANY = 0.1  # share of the series in which repeated alarms are counted
_REPEATS = 2.0  # alarms of such a series where they cannot be counted
_SAFETY = 0.6  # share of the budget that is spent


class Series(NamedTuple):
    """A signal by local day: day number (days since 1970-01-01), value (NaN: unknown) and rows that made it."""

    day: list[int]
    value: list[float]
    rows: list[float]


class Scale(NamedTuple):
    """A signal's days in the reference. mean, std: in the signal's unit, std > 0. rows: usual rows of a day."""

    mean: float
    std: float
    rows: float


class Learned(NamedTuple):
    """A detector for one signal. settings: of the method, its threshold the learned one. reference: its known days.

    hold: days in a row that must be judged calm before drift is over.
    """

    method: str
    settings: Any
    scale: Scale
    reference: Series
    hold: int


class Reading(NamedTuple):
    """What the newest judged day says. score, threshold: in the method's unit. since: day number of the first alarm.

    score, detected: None where no day could be judged yet.
    """

    score: float | None
    threshold: float
    detected: bool | None
    since: int | None


class Days(NamedTuple):
    """What a detector reads, a day each."""

    day: Ints
    value: Floats
    weight: Floats


class Detector(NamedTuple):
    """One row of the table.

    settings: scale, rise -> settings without a learned threshold. at: settings, height -> with it. feed: scale,
    series -> days. adapt: what one series' memory does once it is judged. restarts: begins anew after an alarm.
    rates: reads error rates only. side_by_side: series can begin anew each for itself.
    """

    settings: Callable[[Scale, bool], Any]
    at: Callable[[Any, float], Any]
    feed: Callable[[Scale, Series], Days]
    begin: Callable[[Any], Any]
    after: Callable[[Any, Floats, Floats], Any]
    update: Callable[[Any, Any, Floats, Floats], tuple[Any, Floats]]
    adapt: Callable[[Any, Any], Any] = lambda _, memory: memory
    restarts: bool = True
    rates: bool = False
    side_by_side: bool = True


def _ordered(series: Series) -> Days:
    """Return the days that are known, in order of time, whatever the order they came in."""
    known = [one for one in zip(*series, strict=True) if math.isfinite(one[1]) and 0 < one[2] < math.inf]
    day, value, rows = zip(*sorted(known), strict=True) if known else ((), (), ())
    return Days(np.array(day, np.int64), np.array(value, np.float64), np.array(rows, np.float64))


def _standardised(scale: Scale, series: Series) -> Days:
    """Return standard deviations from the reference's mean; few rows weigh less than a day, many rows as one."""
    days = _ordered(series)
    value = np.clip((days.value - scale.mean) / scale.std, -_FAR, _FAR)
    return Days(days.day, value, np.minimum(days.weight / scale.rows, 1.0))


def _pooled(scale: Scale, series: Series) -> Days:
    """Return the same, days of few rows pooled until they weigh one; what is left over waits."""
    found: list[tuple[int, float]] = []
    total = filled = 0.0
    for day, value, weight in zip(*_standardised(scale, series), strict=True):
        total, filled = total + float(weight * value), filled + float(weight)
        if filled > 1 - 1e-9:
            found.append((int(day), total / filled))
            total = filled = 0.0
    value = np.array([one for _, one in found], np.float64)
    return Days(np.array([day for day, _ in found], np.int64), value, np.ones(len(value)))


def _crowding(scale: Scale) -> float:
    """Return how many times more the days' rates scatter (variance) than independent rows would; at least 1."""
    binomial = scale.mean * (1 - scale.mean)
    return max(1.0, scale.std**2 * scale.rows / binomial) if binomial > 0 else 1.0


def _counted(scale: Scale, series: Series) -> Days:
    """Return error rates, and as many rows as independent ones would tell as much."""
    days = _ordered(series)
    if ((days.value < 0) | (days.value > 1)).any():
        raise ValueError("ddm reads error rates from 0 to 1")
    return days._replace(weight=days.weight / _crowding(scale))


DETECTORS: dict[str, Detector] = {
    "page_hinkley": Detector(
        lambda _, rise: page_hinkley.PageHinkley(rise=rise),
        lambda settings, height: settings._replace(threshold=height),
        _standardised,
        page_hinkley.begin,
        page_hinkley.after,
        page_hinkley.update,
    ),
    "adwin": Detector(
        lambda _, rise: adwin.Adwin(rise=rise),
        lambda settings, height: settings._replace(delta=min(math.exp(-height), 0.999)),
        _pooled,
        adwin.begin,
        adwin.after,
        adwin.update,
        adwin.adapt,
        side_by_side=False,
    ),
    "ddm": Detector(
        lambda scale, _: ddm.Ddm(min_rows=LEAST_DAYS * scale.rows / _crowding(scale)),
        lambda settings, height: settings._replace(threshold=height),
        _counted,
        ddm.begin,
        ddm.after,
        ddm.update,
        rates=True,
    ),
    "ewma": Detector(
        lambda _, rise: ewma.Ewma(rise=rise),
        lambda settings, height: settings._replace(threshold=height),
        _standardised,
        ewma.begin,
        ewma.after,
        ewma.update,
        restarts=False,
    ),
}


def scale_of(reference: Series) -> Scale | None:
    """Return mean, standard deviation (ddof 1) and median rows of the days; None where there is no scatter.

    Days weigh min(1, rows / median rows).
    """
    _, value, rows = _ordered(reference)
    if len(value) < 2:
        return None
    usual = float(np.median(rows))
    weight = np.minimum(1.0, rows / usual)
    mean = float(np.average(value, weights=weight))
    std = float(np.sqrt((weight * (value - mean) ** 2).sum() / (len(value) - 1)))
    return Scale(mean, std, usual) if 1e-12 * abs(mean) < std < math.inf and std > 0 else None


def learn(method: str, reference: Series, allowed: float, rise: bool = False, hold: int = 7) -> Learned | None:
    """Learn a signal's scale, and the threshold that keeps a budget of `allowed` false alarms a day.

    The detector goes through years that could follow the reference (`futures`); its threshold is the one that as
    many of them reach as 60 % of the budget allows. None with fewer than 14 known days or days without scatter, and for
    error rates outside 0 to 1 where the method reads nothing else.
    """
    detector, scale = DETECTORS[method], scale_of(reference)
    known = _ordered(reference)
    if scale is None or len(known.day) < LEAST_DAYS:
        return None
    if detector.rates and not ((known.value >= 0) & (known.value <= 1)).all():
        return None
    days = detector.feed(scale, reference)
    if len(days.day) < LEAST_DAYS:
        return None
    settings = _settings(detector, scale, days, rise, allowed, hold)
    kept = Series(known.day.tolist(), known.value.tolist(), known.weight.tolist())
    return Learned(method, settings, scale, kept, hold)


def _settings(detector: Detector, scale: Scale, days: Days, rise: bool, allowed: float, hold: int) -> Any:
    """Return settings whose threshold is reached as rarely as allowed in years that could follow the days."""
    settings = detector.settings(scale, rise)
    ahead = min(HORIZON, max(LEAST_DAYS, math.ceil(1 / allowed)))
    center = scale.mean if detector.rates else 0.0
    values, weights = futures(days.value, days.weight, center, ahead)
    if detector.rates:
        values = np.clip(values, 0, 1)
    memory = detector.after(settings, days.value, days.weight)
    largest = _largest(detector, settings, memory, values, weights)
    share = -math.expm1(-allowed * _SAFETY * ahead)
    low = detector.at(settings, min(height(largest, share), height(largest, _MANY)))
    share /= _alarms(detector, low, memory, values, weights, hold)
    return detector.at(settings, height(largest, share))


def _largest(detector: Detector, settings: Any, memory: Any, values: Floats, weights: Floats) -> Floats:
    """Return the largest score in each of the series side by side."""
    largest = np.zeros(values.shape[1])
    for x, weight in zip(values, weights, strict=True):
        memory, score = detector.update(settings, memory, x, weight)
        largest = np.fmax(largest, score)
    return largest


def _alarms(detector: Detector, settings: Any, memory: Any, values: Floats, weights: Floats, hold: int) -> float:
    """Return how many alarms a series has that has one, on average over the series side by side."""
    if not detector.side_by_side:
        return _REPEATS
    shape = values.shape[1]
    fresh, count, calm, lasts = detector.begin(settings), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_)
    for x, weight in zip(values, weights, strict=True):
        memory, score = detector.update(settings, memory, x, weight)
        alarm = score > settings.threshold
        count += alarm & ~lasts
        calm = np.where(alarm, 0, calm + ~np.isnan(score))
        lasts = alarm | (lasts & (calm < hold))
        if detector.restarts:
            memory = type(memory)(*(np.where(alarm, new, old) for new, old in zip(fresh, memory, strict=True)))
    return float(count.sum() / max((count > 0).sum(), 1)) if count.any() else 1.0


def run(learned: Learned, series: Series) -> Reading:
    """Return what the detector says after the whole history of days that followed the reference.

    Drift lasts until `hold` days in a row were judged without an alarm. A detector that begins anew after an alarm
    learns the level that it finds then: so a change for good ends some weeks after it was found. `ewma` does not: it
    stays until the signal is back where the reference was. Days without a value are as if they had not been.
    """
    reading = Reading(None, learned.settings.threshold, None, None)
    for _, reading in follow(learned, series):  # noqa: B007 - the last one counts
        pass
    return reading


def follow(learned: Learned, series: Series) -> Iterator[tuple[int, Reading]]:
    """Yield what the detector says after each day that it reads, with the day."""
    detector, settings, scale = DETECTORS[learned.method], learned.settings, learned.scale
    past = detector.feed(scale, learned.reference)
    memory = detector.after(settings, past.value, past.weight)
    found = Reading(None, settings.threshold, None, None)
    calm = 0
    for day, x, weight in zip(*detector.feed(scale, series), strict=True):
        memory, score = detector.update(settings, memory, np.asarray(x), np.asarray(weight))
        memory = detector.adapt(settings, memory)
        if not np.isnan(score):
            alarm = float(score) > settings.threshold
            calm = 0 if alarm else calm + 1
            since = found.since if found.since is not None else int(day) if alarm else None
            since = None if calm >= learned.hold else since
            found = Reading(float(score), settings.threshold, since is not None, since)
            if alarm and detector.restarts:
                memory = detector.begin(settings)
        yield int(day), found


def to_plain(learned: Learned) -> dict[str, Any]:
    """Return plain values for the store."""
    return {**learned._asdict(), "settings": learned.settings._asdict()}


def from_plain(plain: Mapping[str, Any]) -> Learned:
    """Read what `to_plain` wrote."""
    scale, reference = Scale(*plain["scale"]), Series(*plain["reference"])
    settings = DETECTORS[plain["method"]].settings(scale, False)._replace(**plain["settings"])
    return Learned(plain["method"], settings, scale, reference, plain["hold"])
