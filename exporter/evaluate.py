"""Baseline and windows -> readings. Pure: the clock and all counts are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.baseline import Baseline
from exporter.drift.calibration import Calibration
from exporter.drift.thresholds import Drift, adjusted, judge
from exporter.fields import Levels
from exporter.parts import Part, columns
from exporter.performance.metrics import LOWER_IS_BETTER, scores
from exporter.profile import categorical, numeric, outcome
from exporter.profile.categorical import CategoryBins
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins, RegressionBins
from exporter.readings import Readings
from exporter.rows import Ints, canonical
from exporter.settings import Limit, Model

ALL = "all"
MOST_BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class View(NamedTuple):
    """One window of one version: event time in seconds, start <= time < end, and the dense profile of its rows."""

    version: str
    window: str
    start: int
    end: int
    vector: Ints


class Found(NamedTuple):
    """What a task found: readings, the state of each (version, window), and columns that could not be judged."""

    readings: Readings
    states: dict[tuple[str, str], str]
    failed: dict[str, str]
    dropped: int = 0


def rows(model: Model, baseline: Baseline, views: Iterable[View]) -> Readings:
    """Return what the windows are made of."""
    out = Readings()
    bins = baseline.bins
    for view in views:
        labels = (model.name, view.version, view.window)
        current = int(bins.part(view.vector, "rows")[0])
        labelled = bins.labelled_rows(view.vector)
        out.put("model_window_rows", *labels, ALL, "current", value=current)
        out.put("model_window_rows", *labels, ALL, "reference", value=int(bins.part(baseline.vector, "rows")[0]))
        if model.columns.label is not None:
            out.put("model_window_rows", *labels, ALL, "labelled", value=labelled)
        out.put("model_window_start_timestamp_seconds", *labels, value=view.start)
        out.put("model_window_end_timestamp_seconds", *labels, value=view.end)
    return out


def drift(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Judge features, outputs and labels of each window against the reference."""
    readings, dropped = Readings(), 0
    states: dict[tuple[str, str], str] = {}
    failed: dict[str, str] = {}
    for view in views:
        enough = int(baseline.bins.part(view.vector, "rows")[0]) >= model.drift.min_rows
        states[view.version, view.window] = "ok" if enough else "insufficient"
        parts = columns(baseline.bins, baseline.vector, view.vector, failed)
        judged = _judged(model, view, parts, baseline.calibrations.get(view.window), failed)
        dropped += _features(model, view, parts, judged, readings)
        _outputs(model, view, parts, judged, readings)
    return Found(readings, states, failed, dropped)


def _is_judged(model: Model, part: str, window: str) -> bool:
    feature = (model.columns.features or {}).get(part.removeprefix("feature:"))
    return feature is None or feature.windows is None or window in feature.windows


def _judged(
    model: Model, view: View, parts: Mapping[str, Part], learned: Calibration | None, failed: dict[str, str]
) -> dict[str, Drift]:
    """Judge the columns that count in this window; one that cannot be judged is named in `failed`."""
    judged = {}
    for name, part in parts.items():
        try:
            one = _judge(model, name, part, learned) if _is_judged(model, name, view.window) else None
        except (ArithmeticError, ValueError, IndexError) as error:
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        if one is not None:
            judged[name] = one
    return judged


def _judge(model: Model, column: str, part: Part, calibration: Calibration | None) -> Drift | None:
    """Judge one column; None where the window has too few values in it."""
    if part.current.rows < model.drift.min_rows or not part.reference.rows:
        return None
    methods = model.drift.numeric if isinstance(part.bins, NumericBins) else model.drift.categorical
    return judge(column, part.reference, part.current, methods, model.drift.threshold, calibration)


def _features(model: Model, view: View, parts: Mapping[str, Part], judged: Mapping[str, Drift], out: Readings) -> int:
    """Put the features' readings, the most drifted first up to the budget; return the series left out."""
    labels = (model.name, view.version, view.window)
    features = {name: part for name, part in parts.items() if name.startswith("feature:")}
    drifts = {name: judged[name] for name in features if name in judged}
    told = [one for one in drifts.values() if one.thresholds]
    if told:
        ratio = sum(one.detected for one in told) / len(told)
        out.put("model_drifted_features_ratio", *labels, ALL, value=ratio)
    p_values = _adjusted(drifts)
    given = model.columns.features or {}

    def rank(name: str) -> tuple[float, float]:
        feature = given.get(name.removeprefix("feature:"))
        importance = feature.importance if feature is not None else None
        return (drifts[name].severity if name in drifts else 0.0, importance or 0.0)

    dropped = 0
    for number, name in enumerate(sorted(features, key=rank, reverse=True)):
        feature, own = name.removeprefix("feature:"), Readings()
        if name in drifts:
            _put_drift(own, "model_feature_drift", drifts[name], p_values[name], (*labels, ALL), (feature,))
            if drifts[name].thresholds:  # else it is blind: no verdict
                own.put("model_feature_drift_detected", *labels, ALL, feature, value=drifts[name].detected)
        _put_distribution(own, labels, feature, features[name])
        if number < model.max_features:
            out.extend(own)
        else:
            dropped += own.series()
    return dropped


def _outputs(model: Model, view: View, parts: Mapping[str, Part], judged: Mapping[str, Drift], out: Readings) -> None:
    labels = (model.name, view.version, view.window)
    outputs = {name: one for name, one in judged.items() if name.startswith(("prediction", "score:"))}
    p_values = _adjusted(outputs)
    names = {f"score:{i}": name for i, name in enumerate(_score_names(model))}
    for name, one in outputs.items():
        own = names.get(name, name)
        _put_drift(out, "model_prediction_drift", one, p_values[name], labels, (own,))
        if one.thresholds:
            out.put("model_prediction_drift_detected", *labels, own, value=one.detected)
    if "label" in judged:
        _put_drift(out, "model_label_drift", judged["label"], judged["label"].p_values, labels, ())
        if judged["label"].thresholds:
            out.put("model_label_drift_detected", *labels, value=judged["label"].detected)
    _put_outputs(out, model, labels, parts)


def _score_names(model: Model) -> list[str]:
    score = model.columns.score
    if isinstance(score, dict):
        return [f"score:{name}" for name in sorted(str(canonical(name)) for name in score)]
    return ["score"]


def _adjusted(drifts: Mapping[str, Drift]) -> dict[str, dict[str, float]]:
    """Correct p-values across columns, per method."""
    out: dict[str, dict[str, float]] = {name: {} for name in drifts}
    for method in {method for one in drifts.values() for method in one.p_values}:
        own = {name: one.p_values[method] for name, one in drifts.items() if method in one.p_values}
        for name, value in adjusted(own).items():
            out[name][method] = value
    return out


def _put_drift(
    out: Readings,
    prefix: str,
    found: Drift,
    p_values: Mapping[str, float],
    labels: tuple[str, ...],
    what: tuple[str, ...],
) -> None:
    for method, value in found.scores.items():
        out.put(f"{prefix}_score", *labels, *what, method, value=value)
    for method, value in p_values.items():
        out.put(f"{prefix}_p_value", *labels, *what, method, value=value)
    for (method, severity), value in found.thresholds.items():
        out.put(f"{prefix}_threshold", *labels[:3], *what, method, severity, value=value)


def _put_distribution(out: Readings, labels: tuple[str, str, str], feature: str, part: Part) -> None:
    sides = (("reference", part.reference), ("current", part.current))
    if isinstance(part.bins, NumericBins):
        names = numeric.bin_names(part.bins)
        table = list(zip(names, part.reference.bins.tolist(), part.current.bins.tolist(), strict=True))
        for dataset, side in sides:
            if side.rows:
                out.put("model_feature_mean", *labels, feature, dataset, value=side.mean)
                for q in QUANTILES:
                    value = numeric.quantile(side, q)
                    out.put("model_feature_quantile", *labels, feature, dataset, f"{q:g}", value=value)
    else:
        table = categorical.bin_shares(part.bins, *part.raw, MOST_BINS)
    for name, *rows in table:
        for (dataset, side), count in zip(sides, rows, strict=True):
            if side.rows:
                out.put("model_feature_bin_ratio", *labels, feature, name, dataset, value=count / side.rows)


def _put_outputs(out: Readings, model: Model, labels: tuple[str, str, str], parts: Mapping[str, Part]) -> None:
    prediction = parts.get("prediction")
    if prediction is not None and isinstance(prediction.bins, CategoryBins):
        for dataset, side in (("reference", prediction.reference), ("current", prediction.current)):
            for name, count in zip(prediction.bins.categories, side.bins.tolist(), strict=False):
                share = count / side.rows if side.rows else None
                out.put("model_prediction_class_ratio", *labels, ALL, name, dataset, value=share)
    mean_of = parts.get("prediction" if model.task == "regression" else "score:0")
    if mean_of is not None and model.task != "multiclass":
        for dataset, side in (("reference", mean_of.reference), ("current", mean_of.current)):
            out.put("model_prediction_mean", *labels, ALL, dataset, value=side.mean)


def _scores(model: Model, baseline: Baseline, vector: Ints) -> dict[str, float | None]:
    bins = baseline.bins
    wanted = model.performance.metrics
    if wanted is not None:
        wanted = tuple(dict.fromkeys((*wanted, *model.performance.threshold)))
    counts = bins.part(vector, "outcome")
    if isinstance(bins.outcomes, ClassBins):
        return scores(model.task, outcome.read_classes(bins.outcomes, counts), wanted, bool(bins.scores))
    if isinstance(bins.outcomes, RegressionBins):
        return scores(model.task, outcome.read_regression(bins.outcomes, counts), wanted, True)
    return {}


def performance(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute the metrics over each window's labelled rows."""
    out, states = Readings(), {}
    for view in views:
        labels = (model.name, view.version, view.window)
        rows_ = int(baseline.bins.part(view.vector, "rows")[0])
        labelled = baseline.bins.labelled_rows(view.vector)
        out.put("model_labels_coverage_ratio", *labels, value=labelled / rows_ if rows_ else None)
        enough = labelled >= model.performance.min_rows
        states[view.version, view.window] = "ok" if enough else "insufficient"
        if enough:
            for metric, value in _scores(model, baseline, view.vector).items():
                out.put("model_performance_score", *labels, ALL, metric, value=value)
        _put_confusion(out, baseline, labels, view.vector)
    return Found(out, states, {})


def _put_confusion(out: Readings, baseline: Baseline, labels: tuple[str, str, str], vector: Ints) -> None:
    bins = baseline.bins.outcomes
    if not isinstance(bins, ClassBins):
        return
    table = outcome.read_classes(bins, baseline.bins.part(vector, "outcome")).confusion
    for actual, row in zip(bins.classes, table.tolist(), strict=True):
        for predicted, count in zip((*bins.classes, "(other)"), row, strict=True):
            if predicted != "(other)" or count:
                out.put("model_confusion_rows", *labels, actual, predicted, value=count)


def bounds(model: Model, baseline: Baseline, versions: Iterable[str]) -> Readings:
    """Return what follows from settings and reference alone: baselines and bounds in force."""
    out = Readings()
    base = _scores(model, baseline, baseline.vector)
    for metric, value in base.items():
        for version in versions:
            out.put("model_performance_score_baseline", model.name, version, ALL, metric, value=value)
    for metric, limit in model.performance.threshold.items():
        out.extend(_limit(model, metric, limit, base.get(metric)))
    for severity, value in model.drift.drifted_features.items():
        out.put("model_drifted_features_threshold_ratio", model.name, severity, value=value)
    out.put("model_window_min_rows", model.name, "current", value=model.drift.min_rows)
    if model.columns.label is not None:
        out.put("model_window_min_rows", model.name, "labelled", value=model.performance.min_rows)
    out.put("model_data_delay_threshold_seconds", model.name, value=model.data_delay_seconds)
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
