"""Drift of whole rows: what changed between features, and embeddings as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.baseline import Baseline
from exporter.drift.features import Rows
from exporter.drift.verdicts import Verdict, evaluate, only
from exporter.evaluate.views import Found, View
from exporter.readings import Readings
from exporter.row_baseline import SEED, WHOLE, groups_of
from exporter.segments import ALL
from exporter.settings import Model


def multivariate(model: Model, baseline: Baseline, view: View, rows: Rows | None) -> Found:
    """Judge a sample of the window's rows; None: the window has none."""
    out = Readings()
    enough = rows is not None and len(rows) >= model.drift.min_rows
    states = {(view.version, view.window): "ok" if enough else "insufficient"}
    if rows is None or not enough or baseline.rows is None:
        return Found(out, states, {})
    for group in groups_of(model, baseline.schema, baseline.bins):
        if group.window != view.window:
            continue
        reference = only(baseline.rows.reference, group.features)
        columns = baseline.rows.reference.features.places(group.features)
        nulls = baseline.rows.nulls.get((group.name, group.window), {})
        verdicts = evaluate(group.methods, reference, rows[:, columns], nulls, SEED, model.drift.min_rows)
        labels = (model.name, view.version, view.window)
        if group.name == WHOLE:
            _put_whole(out, labels, verdicts, model.max_features)
        else:
            _put_embedding(out, (*labels, ALL, group.name), verdicts)
    return Found(out, states, {})


def _put_whole(out: Readings, labels: tuple[str, ...], verdicts: Mapping[str, Verdict], most: int) -> None:
    for method, found in verdicts.items():
        out.put("model_multivariate_drift_score", *labels, method, value=found.score)
        out.put("model_multivariate_drift_p_value", *labels, method, value=found.p_value)
        for severity, limit in found.thresholds.items():
            out.put("model_multivariate_drift_threshold", *labels, method, severity, value=limit)
        out.put("model_multivariate_drift_detected", *labels, method, value=found.detected)
        for feature, share in list(found.contributions.items())[:most]:
            out.put("model_multivariate_drift_contribution_ratio", *labels, method, feature, value=share)


def _put_embedding(out: Readings, labels: tuple[str, ...], verdicts: Mapping[str, Verdict]) -> None:
    """Put an embedding's scores where those of features are."""
    for method, found in verdicts.items():
        out.put("model_feature_drift_score", *labels, method, value=found.score)
        for severity, limit in found.thresholds.items():
            out.put("model_feature_drift_threshold", *labels, method, severity, value=limit)
    told = [found.detected for found in verdicts.values() if found.detected is not None]
    if told:
        out.put("model_feature_drift_detected", *labels, value=any(told))
