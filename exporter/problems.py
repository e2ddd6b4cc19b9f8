"""What is wrong with a model, and since when: the conditions that the alerts have, read from one run's results. Pure.

Three levels: `bad` (performance, indicators or serving out of bounds), `warning` (inputs, outputs or the pipeline are
not as they were), `unknown` (something cannot be told). What is unknown is never taken for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from exporter.catalogue import FAMILIES
from exporter.readings import Readings
from exporter.segments import ALL

BAD, WARNING, UNKNOWN = "bad", "warning", "unknown"
CHECKS = {
    "missing": "ModelFeatureMissingHigh",
    "unseen": "ModelFeatureUnseenHigh",
    "out_of_range": "ModelFeatureOutOfRangeHigh",
    "invalid": "ModelFeatureInvalidHigh",
}
TITLES = {
    "ModelPerformanceLow": "performance beyond its bound",
    "ModelPerformanceDegraded": "performance worse than on the reference, beyond chance and tolerance",
    "ModelEstimatedPerformanceLow": "estimated performance beyond its bound",
    "ModelBusinessKpiOutOfBounds": "business indicators out of bounds",
    "ModelServingErrorsHigh": "failed requests",
    "ModelServingLatencyHigh": "slow requests",
    "ModelFeatureDriftHigh": "features differ from the reference",
    "ModelPredictionDriftHigh": "outputs differ from the reference",
    "ModelLabelDriftHigh": "labels differ from the reference",
    "ModelMultivariateDriftHigh": "whole rows differ from the reference",
    "ModelConceptDriftDetected": "daily signals changed",
    "ModelDatasetDriftHigh": "many features differ at once",
    "ModelFeatureMissingHigh": "missing values",
    "ModelFeatureUnseenHigh": "unseen categories",
    "ModelFeatureOutOfRangeHigh": "numbers out of the reference's range",
    "ModelFeatureInvalidHigh": "invalid values",
    "ModelSourceDown": "sources that cannot be read",
    "ModelDataStale": "no new predictions",
    "ModelWindowTooSmall": "not enough rows or labels",
    "ModelTaskFailing": "tasks that failed",
    "ModelTaskStale": "results that could not be renewed",
}
_STATES = {"insufficient": "ModelWindowTooSmall", "immature": "ModelWindowTooSmall", "failed": "ModelTaskFailing"}
_SIDES = {"min": "below", "max": "above"}
Key = tuple[str, str, str]


class Problem(NamedTuple):
    """One condition that holds. kind: a heading of the runbook. subject: the feature, metric, indicator or task."""

    kind: str
    level: str
    subject: str
    window: str
    text: str

    @property
    def key(self) -> Key:
        """What makes it the same problem at another time."""
        return self.kind, self.subject, self.window


class Seen(NamedTuple):
    """When a problem was first seen without a break (Unix seconds); exact: it was looked for before, and not there."""

    at: float
    exact: bool


def rows(readings: Readings, family: str, **wanted: str) -> Iterator[dict[str, Any]]:
    """Yield a family's readings as labels and `value`, those with the wanted labels."""
    names = FAMILIES[family].labels
    places = [(names.index(name), value) for name, value in wanted.items() if name in names]
    if len(places) < len(wanted):
        return
    for one in readings.get(family, ()):
        if not one.suffix and all(one.labels[place] == value for place, value in places):
            found: dict[str, Any] = dict(zip(names, one.labels, strict=False))
            found["value"] = one.value
            yield found


def since(before: Mapping[Key, Seen] | None, found: Iterable[Problem], now: float) -> dict[Key, Seen]:
    """Return since when each problem is there; `before`: the answer of the run before, None at the first one."""
    known = before or {}
    return {one.key: known.get(one.key, Seen(now, before is not None)) for one in found}


def find(readings: Readings, now: float) -> list[Problem]:
    """Return all problems of a run, the worst level first."""
    found = [
        *_performance(readings),
        *_value(readings),
        *_drift(readings),
        *_quality(readings),
        *_pipeline(readings, now),
    ]
    order = (BAD, WARNING, UNKNOWN)
    return sorted(dict.fromkeys(found), key=lambda one: order.index(one.level))


def _beyond(side: str, value: float, bound: float) -> bool:
    return value < bound if side == "min" else value > bound


def _performance(readings: Readings) -> Iterator[Problem]:
    own = "model_performance_score"
    for one in rows(readings, own, segment=ALL):
        for side, word in _SIDES.items():
            for limit in rows(readings, f"{own}_{side}", metric=one["metric"]):
                if _beyond(side, one["value"], limit["value"]):
                    bound = f"{limit['severity']} bound {limit['value']:.4g}"
                    text = f"{one['metric']} is {one['value']:.4g}, {word} its {bound}"
                    yield Problem("ModelPerformanceLow", BAD, one["metric"], one["window"], text)
    for one in rows(readings, "model_performance_degraded", segment=ALL):
        if one["value"]:
            text = f"{one['metric']} is worse than on the reference, beyond chance and tolerance"
            yield Problem("ModelPerformanceDegraded", BAD, one["metric"], one["window"], text)
    estimated = "model_performance_estimated_score"
    for side, end in (("min", "upper"), ("max", "lower")):
        for one in rows(readings, f"{estimated}_{end}", segment=ALL):
            covered = [row["value"] for row in rows(readings, "model_labels_coverage_ratio", window=one["window"])]
            for limit in rows(readings, f"{own}_{side}", metric=one["metric"]):
                if _beyond(side, one["value"], limit["value"]) and max(covered, default=0.0) < 0.95:
                    text = f"{one['metric']} as estimated without labels is beyond its bound {limit['value']:.4g}"
                    yield Problem("ModelEstimatedPerformanceLow", BAD, one["metric"], one["window"], text)


def _value(readings: Readings) -> Iterator[Problem]:
    for one in rows(readings, "model_business_kpi_value", segment=ALL):
        for side, word in _SIDES.items():
            for limit in rows(readings, f"model_business_kpi_{side}", kpi=one["kpi"]):
                if _beyond(side, one["value"], limit["value"]):
                    text = f"{one['kpi']} is {one['value']:.4g} {one['unit']}, {word} its bound {limit['value']:.4g}"
                    yield Problem("ModelBusinessKpiOutOfBounds", BAD, one["kpi"], one["window"], text)
    for one in rows(readings, "model_serving_errors_ratio"):
        for limit in rows(readings, "model_serving_errors_threshold_ratio"):
            if one["value"] > limit["value"]:
                text = f"{one['value']:.2%} of the requests fail, more than {limit['value']:.2%}"
                yield Problem("ModelServingErrorsHigh", BAD, "errors", one["window"], text)
    for one in rows(readings, "model_serving_latency_seconds"):
        for limit in rows(readings, "model_serving_latency_threshold_seconds", quantile=one["quantile"]):
            if one["value"] > limit["value"]:
                text = f"latency quantile {one['quantile']} is {one['value']:.3g} s, above {limit['value']:.3g} s"
                yield Problem("ModelServingLatencyHigh", BAD, f"latency {one['quantile']}", one["window"], text)


def _drift(readings: Readings) -> Iterator[Problem]:
    for family, kind, name, segment in (
        ("model_feature_drift_detected", "ModelFeatureDriftHigh", "feature", ALL),
        ("model_prediction_drift_detected", "ModelPredictionDriftHigh", "output", None),
        ("model_label_drift_detected", "ModelLabelDriftHigh", None, None),
        ("model_multivariate_drift_detected", "ModelMultivariateDriftHigh", "method", None),
        ("model_sequential_drift_detected", "ModelConceptDriftDetected", "signal", None),
    ):
        for one in rows(readings, family, **({"segment": segment} if segment else {})):
            if one["value"]:
                subject = one[name] if name else "label"
                text = f"{subject} differs from the reference"
                yield Problem(kind, WARNING, subject, one.get("window", ""), text)
    for one in rows(readings, "model_drifted_features_ratio", segment=ALL):
        for limit in rows(readings, "model_drifted_features_threshold_ratio"):
            if one["value"] > limit["value"]:
                text = f"{one['value']:.0%} of the features drift, more than {limit['value']:.0%}"
                yield Problem("ModelDatasetDriftHigh", WARNING, "features", one["window"], text)


def _quality(readings: Readings) -> Iterator[Problem]:
    for check, kind in CHECKS.items():
        limits = {
            (one["window"], one["feature"]): one["value"]
            for one in rows(readings, f"model_feature_{check}_threshold_ratio", segment=ALL)
        }
        for one in rows(readings, f"model_feature_{check}_ratio", segment=ALL):
            limit = limits.get((one["window"], one["feature"]))
            if limit is not None and one["value"] > limit:
                text = f"{one['feature']}: {one['value']:.1%} {check.replace('_', ' ')}, more than {limit:.1%}"
                yield Problem(kind, WARNING, one["feature"], one["window"], text)


def _pipeline(readings: Readings, now: float) -> Iterator[Problem]:
    for one in rows(readings, "model_source_up"):
        if not one["value"]:
            yield Problem("ModelSourceDown", WARNING, one["source"], "", f"source {one['source']} cannot be read")
    limits = [one["value"] for one in rows(readings, "model_data_delay_threshold_seconds")]
    newest = [one["value"] for one in rows(readings, "model_newest_row_timestamp_seconds")]
    if limits and newest and now - max(newest) > limits[0]:
        age = (now - max(newest)) / 3600
        yield Problem("ModelDataStale", WARNING, "log", "", f"the newest prediction is {age:.1f} hours old")
    for one in rows(readings, "model_window_state"):
        if one["value"] and one["state"] != "ok":
            kind = _STATES.get(one["state"], "ModelTaskStale")
            level = UNKNOWN if one["state"] in {"insufficient", "immature"} else WARNING
            text = f"{one['task']} cannot be told: {one['state']}"
            yield Problem(kind, level, one["task"], one["window"], text)
    for one in rows(readings, "model_task_last_run_success"):
        if not one["value"]:
            yield Problem("ModelTaskFailing", WARNING, one["task"], "", f"task {one['task']} failed when it last ran")
