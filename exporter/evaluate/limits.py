"""Bounds of performance in force: constants, a drop from the baseline, or what the reference's own days teach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from exporter.baseline import Baseline
from exporter.fields import Levels
from exporter.performance.intervals import Estimate
from exporter.performance.metrics import SIGNED
from exporter.readings import Readings
from exporter.settings import Limit, Model
from exporter.special import special

DAY = 86_400
LEAST_DAYS = 14
SPENT = 0.6  # of the budget, as for drift


class Spread(NamedTuple):
    """How far a window's score lies from the baseline's by nothing but chance and day: standard deviation, days."""

    deviation: float
    days: int


def spread(model: Model, baseline: Baseline, metric: str, base: Estimate) -> Spread | None:
    """Return how a metric varies between windows of the reference; None with fewer than 14 days that have it.

    Between days, less what chance adds to a day's rows, plus what it adds to those of the shortest window that has
    enough rows. Days with less than a quarter of the median labels are left out.
    """
    typical = float(np.median([day.labelled for day in baseline.days.values()] or [0]))
    used = [day for day in baseline.days.values() if metric in day.scores and day.labelled >= typical / 4]
    if len(used) < LEAST_DAYS:
        return None
    variance = float(np.var([day.scores[metric] for day in used], ddof=1))
    if base.error is None:
        return Spread(math.sqrt(variance), len(used))
    one = base.error**2 * baseline.bins.labelled_rows(baseline.vector)  # variance that chance gives to one row
    rows = np.array([day.labelled for day in used])
    between = max(variance - float(np.mean(one / rows)), 0.0)
    return Spread(math.sqrt(between + one / _rows_of_window(model, float(rows.mean()))), len(used))


def _rows_of_window(model: Model, per_day: float) -> float:
    expected = sorted(per_day * window.seconds / DAY for window in model.windows)
    return next((rows for rows in expected if rows >= model.performance.min_rows), float(model.performance.min_rows))


def calibrated(rate: float, seconds: int, found: Spread) -> float:
    """Return the distance from the baseline that a window passes as often as a rate (per second) allows."""
    share = min(rate * max(seconds, DAY) * SPENT, 0.5)
    return float(-special.stdtrit(found.days - 1, share)) * found.deviation * math.sqrt(1 + 1 / found.days)


def limits(model: Model, baseline: Baseline, base: Mapping[str, Estimate]) -> Readings:
    """Return the lowest and highest accepted value of each metric that has a threshold."""
    out = Readings()
    for metric, limit in model.performance.threshold.items():
        lows, highs = _levels(model, baseline, metric, limit, base.get(metric))
        for severity, value in lows.items():
            out.put("model_performance_score_min", model.name, metric, severity, value=value)
        for severity, value in highs.items():
            out.put("model_performance_score_max", model.name, metric, severity, value=value)
    return out


def _levels(
    model: Model, baseline: Baseline, metric: str, limit: Limit, base: Estimate | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return severity -> lowest and -> highest accepted value; of several bounds the strictest."""
    lows: dict[str, float] = dict((limit.min or Levels()).items())
    highs: dict[str, float] = dict((limit.max or Levels()).items())
    if base is None:
        return lows, highs
    drops = list((limit.drop or Levels()).items())
    found = spread(model, baseline, metric, base) if limit.calibrated else None
    if found is not None:
        shortest = min(window.seconds for window in model.windows)
        drops += [(name, calibrated(rate, shortest, found)) for name, rate in (limit.calibrated or {}).items()]
    lower = model.lower_is_better(metric)
    for severity, drop in drops:
        if lower or metric in SIGNED:
            highs[severity] = min(highs.get(severity, math.inf), base.value + drop)
        if not lower:
            lows[severity] = max(lows.get(severity, -math.inf), base.value - drop)
    return lows, highs
