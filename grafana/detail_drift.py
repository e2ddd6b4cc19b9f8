"""Model detail: drift of inputs and outputs."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import TIMES, Query, lines, link, ranking
from grafana.tables import bars

_UNJUDGED = "Not judged: too few rows with a value in the window"


def inputs() -> list[Any]:
    """How many features drifted, and which."""
    share = q.top("segment", q.pick("model_drifted_features_ratio", "slice"))
    verdicts = q.top("feature", q.pick("model_feature_drift_detected", "slice"))
    judged = f"count({verdicts}) / max({q.pick('model_monitored_features', 'version')})"
    limits = [
        Query(
            q.top("severity", q.pick("model_drifted_features_threshold_ratio", "model", severity=name)),
            f"{name} threshold",
            name,
        )
        for name in ("warning", "critical")
    ]
    ratio = q.drift_per_threshold("feature", "feature, method")
    by_feature = f"max by (feature) ({ratio})"
    ahead = "topk(5, max_over_time((" + by_feature + ")[$__range:$__rate_interval] @ end()))"
    chosen = {"model": "${model}", "version": "${version}"}
    return [
        lines(
            "What share of the features has drifted?",
            "Features with any score above its threshold, divided by the features judged in the window. "
            "Above the dashed line the whole data set counts as drifted (ModelDatasetDriftHigh). Judged: "
            "share of the monitored features with enough values; the others are unknown, not well.",
            "percentunit",
            [Query(share, "drifted", "current"), Query(judged, "judged", "reference"), *limits],
            soft=(0, 1),
            size=(8, 8),
            empty=_UNJUDGED,
        ),
        ranking(
            "Which features drifted most?",
            "The largest drift score of each feature, divided by its threshold in force; from 1× on it "
            "is drift. The 12 highest. Click a bar for the feature's distribution.",
            Query(f"sort_desc(topk(12, {by_feature}))", "{{feature}}"),
            [link("Open the feature", "model-feature", **chosen, feature="${__field.labels.feature}")],
            size=(8, 8),
            empty=_UNJUDGED,
        ),
        lines(
            "How did the worst five get there?",
            "The five features with the highest score over threshold in this time range. A step: "
            "something changed upstream. A slope: the world is moving.",
            TIMES,
            [
                Query(f"{by_feature} and on (feature) {ahead}", "{{feature}}"),
                Query("vector(1)", "threshold", "warning"),
            ],
            size=(8, 8),
            empty=_UNJUDGED,
        ),
    ]


def _class_shares() -> Any:
    share = "model_prediction_class_ratio"
    return bars(
        "Which classes does it predict?",
        "Share of the window's predictions that name each class, beside the share on the reference. A "
        "class that grew or vanished: see whether its labels did too.",
        "percentunit",
        "class",
        {each: q.top("class", q.pick(share, "slice", dataset=each)) for each in ("reference", "current")},
        size=(8, 8),
        empty="No classes: a regression, or no rows",
    )


def _output(name: str) -> str:
    return f"max by (output) ({q.drift_per_threshold('prediction', 'output, method', output=name)})"


def outputs() -> list[Any]:
    """Whether predictions and labels moved away from the reference."""
    outputs_of = {"prediction": "current", "score": "second"}
    label = f"max by (model) ({q.drift_per_threshold('label', 'method')})"
    mean = "model_prediction_mean"
    return [
        lines(
            "Have predictions or labels drifted?",
            "Largest drift score over its threshold in force, of the predicted class or value, of the "
            "score, and of the labels. Predictions move without the inputs: a fault in the model or its "
            "features. Labels move: the world has changed.",
            TIMES,
            [
                *(Query(_output(name), name, look) for name, look in outputs_of.items()),
                Query(label, "label", "third"),
                Query("vector(1)", "threshold", "warning"),
            ],
            size=(8, 8),
            empty=_UNJUDGED,
        ),
        _class_shares(),
        lines(
            "What does it predict on average?",
            "Mean probability of the positive class (binary) or mean predicted value (regression); "
            "dashed: on the reference.",
            "short",
            [
                Query(q.top("dataset", q.pick(mean, "slice", dataset="current")), "current", "current"),
                Query(q.top("dataset", q.pick(mean, "slice", dataset="reference")), "reference", "reference"),
            ],
            decimals=3,
            size=(8, 8),
            empty="No mean: a model of several classes, or no rows",
        ),
    ]
