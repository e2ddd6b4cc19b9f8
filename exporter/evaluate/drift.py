"""Drift of features, outputs and labels: each window against the reference, and against the windows before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from exporter.baseline import Baseline
from exporter.drift.calibration import Calibration
from exporter.drift.impact import impact
from exporter.drift.settings import REFERENCE
from exporter.drift.thresholds import Drift, adjusted, judge
from exporter.evaluate.distributions import count_distribution, put_distribution, put_outputs
from exporter.evaluate.views import Found, Slice, View, slices, with_mature_labels
from exporter.parts import Columns, Part, part
from exporter.profile.numeric import NumericBins
from exporter.readings import Readings
from exporter.rows import canonical
from exporter.schema import is_judged
from exporter.segments import ALL
from exporter.settings import Model
from exporter.threads import each

_WORTH_THREADS = 2_000_000  # places from which on the statistics let threads run side by side
CERTAIN = 7.0  # rows to be expected so that a slice without any has vanished: less than one in 1,000 by chance


class Judged(NamedTuple):
    """The columns of one slice: as the statistics read them, and the verdicts on those that have enough rows."""

    parts: Mapping[str, Part]
    drifts: Mapping[str, Drift]

    def of_features(self) -> dict[str, Drift]:
        """Return the verdicts by feature."""
        return {name.removeprefix("feature:"): one for name, one in self.drifts.items() if name.startswith("feature:")}

    def worst(self) -> float | None:
        """Return the features' largest score over its threshold; None where no feature has a verdict."""
        return max((one.severity for one in self.of_features().values() if one.thresholds), default=None)


def drift(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Judge features, outputs and labels of each window, and of each of its slices."""
    readings, dropped = Readings(), 0
    states: dict[tuple[str, str], str] = {}
    failed: dict[str, str] = {}
    for view in views:
        labels = (model.name, view.version, view.window)
        enough = int(baseline.bins.part(view.vector, "rows")[0]) >= model.drift.min_rows
        states[view.version, view.window] = "ok" if enough else "insufficient"
        whole, *segments = slices(baseline, view)
        whole = whole._replace(current=with_mature_labels(baseline, view))
        judged = _judge_slice(model, baseline, view, whole, failed)
        importance = baseline.importances(model)
        dropped += _put_features(model, labels, judged, importance, readings)
        _put_outputs(model, judged, "model_prediction_drift", labels, readings)
        if "label" in judged.drifts:
            _put_drift(
                readings, "model_label_drift", judged.drifts["label"], judged.drifts["label"].p_values, labels, ()
            )
        put_outputs(readings, model, labels, judged.parts)
        for against, earlier in view.earlier.items():
            if baseline.calibration(ALL, against, view.window) is not None:  # else nobody knows what is usual
                moved = _judge_slice(
                    model, baseline, view, Slice(ALL, earlier, view.vector), failed, against, judged.parts
                )
                _put_moving(model, baseline, (*labels, against), moved, readings)
        dropped += _put_segments(model, baseline, view, segments, readings, failed)
    for feature, share in baseline.importances(model).items():
        readings.put("model_feature_importance_ratio", model.name, feature, value=share)
    return Found(readings, states, failed, dropped)


def _judge_slice(
    model: Model,
    baseline: Baseline,
    view: View,
    own: Slice,
    failed: dict[str, str],
    against: str = REFERENCE,
    known: Mapping[str, Part] = MappingProxyType({}),
) -> Judged:
    """Judge the columns that count in this window; one that cannot be judged is named in `failed`.

    known: the columns against the reference, in whose units distances from an earlier window are told.
    """
    fixed = own.segment == ALL and against == REFERENCE
    before = baseline.columns if fixed else Columns(baseline.bins, own.reference)
    now, learned = Columns(baseline.bins, own.current), baseline.calibration(own.segment, against, view.window)

    def one(name: str) -> tuple[Part | None, Drift | None, str | None]:
        """Return a column, its verdict, and why it has none; what was worked out of very many cells is not kept."""
        found = verdict = None
        try:
            found = part(before, now, name)
            if is_judged(model, baseline.schema, name.removeprefix("feature:"), view.window):
                pair = found if against == REFERENCE else _in_units_of(known[name], found)
                verdict = _judge(model, name, pair, learned, against)
            found.settle()
        except (ArithmeticError, ValueError, LookupError) as error:
            return found, None, f"{type(error).__name__}: {error}"
        return found, verdict, None

    names = list(before.names)
    parts: dict[str, Part] = {}
    drifts: dict[str, Drift] = {}
    for name, (found, verdict, reason) in zip(
        names, each(one, names) if baseline.bins.size > _WORTH_THREADS else map(one, names), strict=True
    ):
        parts |= {} if found is None else {name: found}
        drifts |= {} if verdict is None else {name: verdict}
        failed |= {} if reason is None else {name: reason}
    return Judged(parts, drifts)


def _in_units_of(known: Part, part: Part) -> Part:
    """Return a part whose distances are in the reference's standard deviations: so moving thresholds are learned."""
    return part._replace(reference=part.reference.measured_by(known.reference))


def _judge(model: Model, column: str, part: Part, learned: Calibration | None, against: str) -> Drift | None:
    """Judge one column; None where the window, or the window before it, has too few values in it."""
    least = 1 if against == REFERENCE else model.drift.min_rows
    if part.current.rows < model.drift.min_rows or part.reference.rows < least:
        return None
    methods = model.drift.numeric if isinstance(part.bins, NumericBins) else model.drift.categorical
    return judge(column, part.reference, part.current, methods, model.drift.threshold, learned)


def _ranked(judged: Judged, importance: Mapping[str, float]) -> list[str]:
    """Return the features, the most drifted first, then the most important."""
    drifts = judged.of_features()

    def rank(feature: str) -> tuple[float, float]:
        return (drifts[feature].severity if feature in drifts else 0.0, importance.get(feature, 0.0))

    features = [name.removeprefix("feature:") for name in judged.parts if name.startswith("feature:")]
    return sorted(features, key=rank, reverse=True)


def _put_features(
    model: Model, labels: tuple[str, str, str], judged: Judged, importance: Mapping[str, float], out: Readings
) -> int:
    """Put the features' readings, the most drifted first up to the budget; return the series left out."""
    drifts = judged.of_features()
    _put_ratio(out, "model_drifted_features_ratio", (*labels, ALL), drifts)
    out.put("model_segment_drift_score", *labels, ALL, value=judged.worst())
    impacts = impact({name: one.severity for name, one in drifts.items() if one.thresholds}, importance)
    p_values, dropped = _adjusted(drifts), 0
    left_out = Readings()
    for number, feature in enumerate(_ranked(judged, importance)):
        own, part = out if number < model.max_features else left_out, judged.parts[f"feature:{feature}"]
        if feature in drifts:
            _put_drift(own, "model_feature_drift", drifts[feature], p_values[feature], (*labels, ALL), (feature,))
            own.put("model_feature_drift_impact", *labels, feature, value=impacts.get(feature))
        if own is out:
            put_distribution(own, labels, feature, part)
        else:
            dropped += count_distribution(part)
    return dropped + left_out.series()


def _put_ratio(out: Readings, name: str, labels: tuple[str, ...], drifts: Mapping[str, Drift]) -> None:
    told = [one for one in drifts.values() if one.thresholds]
    if told:
        out.put(name, *labels, value=sum(one.detected for one in told) / len(told))


def _put_moving(
    model: Model, baseline: Baseline, labels: tuple[str, str, str, str], judged: Judged, out: Readings
) -> None:
    """Put what differs from an earlier window: what is static but not here came slowly, as a season does."""
    importance, drifts = baseline.importances(model), judged.of_features()
    _put_ratio(out, "model_moving_drifted_features_ratio", labels, drifts)
    p_values = _adjusted(drifts)
    for feature in _ranked(judged, importance)[: model.max_features]:
        if feature in drifts:
            _put_drift(out, "model_feature_moving_drift", drifts[feature], p_values[feature], labels, (feature,))
    _put_outputs(model, judged, "model_prediction_moving_drift", labels, out)


def _put_segments(
    model: Model, baseline: Baseline, view: View, segments: list[Slice], out: Readings, failed: dict[str, str]
) -> int:
    """Judge the slices; of all together as many features are shown as of the whole. Return the series left out."""
    labels, dropped = (model.name, view.version, view.window), 0
    importance = baseline.importances(model)
    shown = max(1, model.max_features // max(len(segments), 1))
    worst: dict[str, float] = {}
    for own in segments:
        judged = _judge_slice(model, baseline, view, own, failed)
        of_slice, drifts = (*labels, own.segment), judged.of_features()
        _put_ratio(out, "model_drifted_features_ratio", of_slice, drifts)
        p_values = _adjusted(drifts)
        left_out = Readings()
        for number, feature in enumerate(_ranked(judged, importance)):
            if feature in drifts:
                own_readings = out if number < shown else left_out
                _put_drift(
                    own_readings, "model_feature_drift", drifts[feature], p_values[feature], of_slice, (feature,)
                )
        dropped += left_out.series()
        severity = judged.worst()
        out.put("model_segment_drift_score", *of_slice, value=severity)
        worst |= {own.segment: severity} if severity is not None else {}
        for state, holds in _states_of(model, baseline, view, own).items():
            out.put("model_segment_state", *of_slice, state, value=holds)
    if worst:
        name = max(worst, key=lambda segment: worst[segment])
        out.put("model_segment_worst_info", *labels, name, "drift", value=1)
    return dropped


def _states_of(model: Model, baseline: Baseline, view: View, own: Slice) -> dict[str, bool]:
    """Say what became of a slice; one state holds."""
    before, now = (int(baseline.bins.part(vector, "rows")[0]) for vector in (own.reference, own.current))
    whole, total = (int(baseline.bins.part(vector, "rows")[0]) for vector in (baseline.vector, view.vector))
    appeared = not before and now > 0
    vanished = not now and whole > 0 and before / whole * total >= CERTAIN
    enough = now >= model.drift.min_rows
    return {
        "ok": before > 0 and enough,
        "insufficient": not appeared and not vanished and not enough,
        "appeared": appeared,
        "vanished": vanished,
    }


def _output_names(model: Model) -> dict[str, str]:
    """Return part -> label of each output."""
    score = model.columns.score
    if isinstance(score, dict):
        names = [f"score:{name}" for name in sorted(str(canonical(name)) for name in score)]
    else:
        names = ["score"]
    return {"prediction": "prediction", **{f"score:{i}": name for i, name in enumerate(names)}}


def _put_outputs(model: Model, judged: Judged, prefix: str, labels: tuple[str, ...], out: Readings) -> None:
    names = _output_names(model)
    outputs = {name: judged.drifts[name] for name in names if name in judged.drifts}
    p_values = _adjusted(outputs)
    for name, one in outputs.items():
        _put_drift(out, prefix, one, p_values[name], labels, (names[name],))


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
    """Put one column's scores, thresholds and verdict; a blind one has no verdict."""
    own = (*labels, *what)
    for kind, values in (("score", found.scores), ("p_value", p_values)):
        out.put_each(f"{prefix}_{kind}", own, [(method,) for method in values], values.values())
    out.put_each(f"{prefix}_threshold", own, found.thresholds.keys(), found.thresholds.values())
    if found.thresholds:
        out.put(f"{prefix}_detected", *own, value=found.detected)
