"""Performance over the stored days: its trend, and one version beside another on the days that both had."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.history import Day
from exporter.performance.metrics import LOWER_IS_BETTER, SIGNED
from exporter.performance.trends import mean
from exporter.performance.trends import trend as trend_of
from exporter.readings import Readings
from exporter.settings import Model

LEAST_DAYS = 14
LEAST_COMMON, MOST_COMMON = 7, 60
VERDICTS = ("better", "worse", "undecided")
Days = Mapping[int, Day]


def trend(model: Model, days: Mapping[str, Days], before: int) -> Readings:
    """Return the readings of trends and comparisons over the days before the day number `before`.

    days: version -> day -> what is known of it. Days with less than a quarter of the version's median labels are left
    out: their scores are mostly chance.
    """
    out = Readings()
    used = {version: _used(own, before) for version, own in days.items()}
    for version, own in used.items():
        for metric in model.metrics:
            series = [(day, one.scores[metric]) for day, one in sorted(own.items()) if metric in one.scores]
            if len(series) >= LEAST_DAYS:
                found = trend_of(*np.array(series, np.float64).T)
                assert found is not None
                out.put("model_performance_trend_per_day", model.name, version, metric, value=found.slope)
                out.put("model_performance_trend_p_value", model.name, version, metric, value=found.p_value)
    _compare(model, {version: own for version, own in used.items() if own}, out)
    return out


def _used(days: Days, before: int) -> dict[int, Day]:
    old = {day: one for day, one in days.items() if day < before and one.labelled}
    typical = float(np.median([one.labelled for one in old.values()])) if old else 0.0
    return {day: one for day, one in old.items() if one.labelled >= typical / 4}


def _compare(model: Model, days: Mapping[str, Days], out: Readings) -> None:
    """Compare each version with the champion: the one that was there first."""
    if len(days) < 2:
        return
    champion = min(days, key=lambda version: (min(days[version]), version))
    for challenger, own in days.items():
        common = sorted(set(own) & set(days[champion]))[-MOST_COMMON:]
        if challenger == champion:
            continue
        for metric in model.metrics:
            pairs = [(own[day].scores.get(metric), days[champion][day].scores.get(metric)) for day in common]
            known = np.array([(a, b) for a, b in pairs if a is not None and b is not None], np.float64)
            if len(known) >= LEAST_COMMON:
                _put(out, (model.name, champion, challenger, metric), known)


def _put(out: Readings, labels: tuple[str, str, str, str], pairs: np.ndarray) -> None:
    """Put the mean daily difference, its interval and what it says; of a signed metric the sizes are compared."""
    metric = labels[3]
    sides = np.abs(pairs) if metric in SIGNED else pairs
    found = mean(sides[:, 0] - sides[:, 1])
    assert found is not None
    above, below = found.lower > 0, found.upper < 0
    better, worse = (below, above) if metric in LOWER_IS_BETTER | SIGNED else (above, below)
    out.put("model_version_comparison_score_difference", *labels, value=found.value)
    out.put("model_version_comparison_score_difference_lower", *labels, value=found.lower)
    out.put("model_version_comparison_score_difference_upper", *labels, value=found.upper)
    for state, holds in zip(VERDICTS, (better, worse, not better and not worse), strict=True):
        out.put("model_version_comparison_state", *labels, state, value=holds)
