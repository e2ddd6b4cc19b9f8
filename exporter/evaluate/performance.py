"""Performance of each window and slice over its labelled rows, and the bounds in force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter import parts
from exporter.baseline import Baseline
from exporter.evaluate import labels as ledger
from exporter.evaluate.views import ALL, Found, View, slices
from exporter.fields import Levels
from exporter.performance.metrics import LOWER_IS_BETTER
from exporter.performance.probabilities import calibration_error
from exporter.performance.tables import ClassOutcomes
from exporter.profile import outcome
from exporter.profile.outcome import ClassBins
from exporter.readings import Readings
from exporter.rows import Ints
from exporter.settings import Limit, Model


def _scores(model: Model, baseline: Baseline, vector: Ints) -> dict[str, float | None]:
    wanted = model.performance.metrics
    if wanted is not None:
        wanted = tuple(dict.fromkeys((*wanted, *model.performance.threshold)))
    return parts.performance(model.task, baseline.bins, vector, wanted)


def performance(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute the metrics over each window's labelled rows, once they are old enough for their labels."""
    out, states = Readings(), {}
    for view in views:
        labels = (model.name, view.version, view.window)
        own, state = ledger.judged(model, baseline, view)
        states[view.version, view.window] = state
        ledger.put_labels(out, model, baseline, view, own)
        for segment, _, current in slices(baseline, own):
            if baseline.bins.labelled_rows(current) >= model.performance.min_rows:
                for metric, value in _scores(model, baseline, current).items():
                    out.put("model_performance_score", *labels, segment, metric, value=value)
        if state == "ok":
            out.put("model_calibration_error", *labels, value=_calibration(baseline, own.vector))
            _put_confusion(out, baseline, labels, own.vector)
    return Found(out, states, {})


def _calibration(baseline: Baseline, vector: Ints) -> float | None:
    found = parts.outcomes(baseline.bins, vector)
    return calibration_error(found) if isinstance(found, ClassOutcomes) else None


def _put_confusion(out: Readings, baseline: Baseline, labels: tuple[str, str, str], vector: Ints) -> None:
    bins = baseline.bins.outcomes
    if not isinstance(bins, ClassBins):
        return
    table = outcome.read_classes(bins, baseline.bins.part(vector, "outcome")).confusion
    for actual, row in zip(bins.classes, table.tolist(), strict=True):
        for predicted, count in zip((*bins.classes, "(other)"), row, strict=True):
            if predicted != "(other)" or count:
                out.put("model_confusion_rows", *labels, actual, predicted, value=count)


def bounds(model: Model, baseline: Baseline, versions: Sequence[str]) -> Readings:
    """Return what follows from settings and reference alone: baselines and bounds in force."""
    out = Readings()
    base = _scores(model, baseline, baseline.vector)
    for metric, value in base.items():
        for version in versions:
            out.put("model_performance_score_baseline", model.name, version, ALL, metric, value=value)
    for segment in baseline.segments.names:
        if baseline.bins.labelled_rows(baseline.slice(segment)) >= model.performance.min_rows:
            for metric, value in _scores(model, baseline, baseline.slice(segment)).items():
                for version in versions:
                    out.put("model_performance_score_baseline", model.name, version, segment, metric, value=value)
    for metric, limit in model.performance.threshold.items():
        out.extend(_limit(model, metric, limit, base.get(metric)))
    for severity, value in model.drift.drifted_features.items():
        out.put("model_drifted_features_threshold_ratio", model.name, severity, value=value)
    out.put("model_window_min_rows", model.name, "current", value=model.drift.min_rows)
    if model.columns.label is not None:
        out.put("model_window_min_rows", model.name, "labelled", value=model.performance.min_rows)
    out.put("model_data_delay_threshold_seconds", model.name, value=model.data_delay_seconds)
    out.extend(ledger.bounds(model, baseline))
    return out


def _limit(model: Model, metric: str, limit: Limit, base: float | None) -> Readings:
    out = Readings()
    lows: dict[str, float] = dict((limit.min or Levels()).items())
    highs: dict[str, float] = dict((limit.max or Levels()).items())
    for severity, drop in (limit.drop or Levels()).items():
        if base is not None and metric in LOWER_IS_BETTER:
            highs[severity] = min(highs.get(severity, base + drop), base + drop)
        elif base is not None:
            lows[severity] = max(lows.get(severity, base - drop), base - drop)
    for severity, value in lows.items():
        out.put("model_performance_score_min", model.name, metric, severity, value=value)
    for severity, value in highs.items():
        out.put("model_performance_score_max", model.name, metric, severity, value=value)
    return out
