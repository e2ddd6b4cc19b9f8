"""What the days tell: signals that have changed for good, and which feature's drift goes with worse predictions."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.baseline import Baseline
from exporter.drift import impact
from exporter.drift.sequential import Series, run
from exporter.history import Day, series
from exporter.readings import Readings
from exporter.settings import Model


def history(model: Model, baseline: Baseline, days: Mapping[str, Mapping[int, Day]], before: int) -> Readings:
    """Return the detectors' and correlations' readings; days: version -> day -> what is known of it.

    before: day number from which on labels are still to come; errors count up to there.
    """
    out = Readings()
    for version, own in days.items():
        after = {day: one for day, one in own.items() if day not in baseline.days}
        _put_sequential(out, (model.name, version), baseline, after, before)
        _put_correlations(out, (model.name, version), {day: one for day, one in after.items() if day < before})
    return out


def _put_sequential(
    out: Readings, labels: tuple[str, str], baseline: Baseline, days: Mapping[int, Day], before: int
) -> None:
    mature = {day: one for day, one in days.items() if day < before}
    for signal, learned in baseline.sequential:
        found = run(learned, Series(*series(mature if signal == "error" else days, signal, baseline.coverage)))
        what = (*labels, signal, learned.method)
        out.put("model_sequential_drift_score", *what, value=found.score)
        out.put("model_sequential_drift_threshold", *what, value=found.threshold)
        out.put("model_sequential_drift_detected", *what, value=found.detected)
        if found.since is not None:
            out.put("model_sequential_drift_start_timestamp_seconds", *what, value=found.since * 86_400)


def _put_correlations(out: Readings, labels: tuple[str, str], days: Mapping[int, Day]) -> None:
    """Put how each feature's daily distance goes with the daily error."""
    known = [
        impact.Day(day, one.drift, one.signals["error"][0] if "error" in one.signals else None)
        for day, one in days.items()
    ]
    for feature, found in impact.correlation(known, lower_is_better=True).items():
        out.put("model_feature_drift_performance_correlation", *labels, feature, value=found.rho)
        out.put("model_feature_drift_performance_correlation_p_value", *labels, feature, value=found.p_value)
