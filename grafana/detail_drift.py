"""Model detail: drift of inputs and outputs."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import AMBER, BLUE, GREY, NONE, QUIET_AT_ONE, RED, TIMES, Query, Words, lines, link, ranking
from grafana.tables import Column, bars, rows

_UNJUDGED = "Not judged: too few rows with a value in the window"
_NO_BASELINE = "No earlier window: not configured (drift.baselines), or it has too few rows"
_CHOSEN = {"model": "${model}", "version": "${version}"}
_FEATURE = Column(
    "feature", "Feature", links=(link("Open the feature", "model-feature", **_CHOSEN, feature="${__value.text}"),)
)

# By `queries.season`.
_READINGS: Words = {
    0: ("as always", NONE),
    1: ("unlike a week ago", GREY),
    2: ("rhythm of the week?", GREY),
    3: ("new, but known to the reference", GREY),
    4: ("slow: season or old reference?", BLUE),
    5: ("for days: since this week", AMBER),
    6: ("rhythm of the week?", BLUE),
    7: ("sudden: fault or event?", RED),
}


def _by_impact() -> Any:
    """Which drift to look at first."""
    impact = q.top("feature", q.pick("model_feature_drift_impact", "window"))
    first = f"topk(12, {impact})"
    drift = q.per_threshold_against()["reference"]
    importance = q.top("feature", q.pick("model_feature_importance_ratio", "model"))
    correlation = "model_feature_drift_performance_correlation"
    rho, p_value = (q.top("feature", q.pick(name, "version")) for name in (correlation, f"{correlation}_p_value"))
    columns = [
        _FEATURE,
        Column("A", "Impact", unit="none", width=80, decimals=3),
        Column("B", "Drift", unit=TIMES, width=80, decimals=2, steps=QUIET_AT_ONE),
        Column("C", "Importance", unit="percentunit", width=95, decimals=0),
        Column("D", "Correlation", unit="none", width=95, decimals=2),
        Column("E", "p-value", unit="none", width=75, decimals=3),
    ]
    return rows(
        "Which features matter most now?",
        "Impact: log2(1 + drift) × importance. Drift: the largest score over its threshold. Importance: what the "
        "feature means to the model, measured on the reference or configured. Correlation: of the feature's daily "
        "drift with the loss of performance, -1 to 1, from 14 days on; above 0 with a small p-value: bad days were "
        "drifted days, which is no proof of a cause. Begin with the first line.",
        columns,
        [Query(first), *(Query(f"{each} and on (feature) {first}") for each in (drift, importance, rho, p_value))],
        sort=["Impact"],
        size=(24, 8),
        empty="No impact: nothing is judged yet, or the features' importance is not known",
    )


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
    ahead = q.worst(by_feature, 5)
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
            [link("Open the feature", "model-feature", **_CHOSEN, feature="${__field.labels.feature}")],
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
        _by_impact(),
    ]


def seasons() -> list[Any]:
    """Whether drift came slowly or at once."""
    static, previous, week_ago = q.per_threshold_against().values()
    share = q.top("model", q.pick("model_drifted_features_ratio", "slice"))
    differs = {
        baseline: q.top("model", q.pick("model_moving_drifted_features_ratio", "window", baseline=baseline))
        for baseline in q.BASELINES
    }
    columns = [
        _FEATURE,
        Column("A", "Reference", unit=TIMES, width=100, decimals=2, steps=QUIET_AT_ONE),
        Column("B", "Previous", unit=TIMES, width=80, decimals=2, steps=QUIET_AT_ONE),
        Column("C", "Week ago", unit=TIMES, width=85, decimals=2, steps=QUIET_AT_ONE),
        Column("D", "It looks", width=215, mapping=_READINGS),
    ]
    return [
        rows(
            "Did it come slowly or at once?",
            "The largest score of each feature over its threshold, against the reference, the window before, and the "
            "same window a week ago; from 1× on they differ. Unlike the reference only: it came slowly, as a season "
            "does, or the reference is old. Unlike all three: it came at once; look for a fault or an event. It looks: "
            "a reading of the three, no verdict.",
            columns,
            [
                Query(f"({static}) and on (feature) ({previous} or {week_ago})"),
                Query(previous),
                Query(week_ago),
                Query(q.season()),
            ],
            sort=["Reference"],
            size=(14, 8),
            empty=_NO_BASELINE,
        ),
        lines(
            "From which past does it differ?",
            "Share of the judged features above their threshold, against the reference, the window before, and the "
            "same window a week ago. The first alone stays high: a season, or time for a new reference. All rise: a "
            "fault.",
            "percentunit",
            [
                Query(share, "reference", "current"),
                Query(differs["previous"], "previous", "second"),
                Query(differs["week_ago"], "week ago", "third"),
            ],
            soft=(0, 1),
            size=(10, 8),
            empty=_NO_BASELINE,
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
        size=(6, 8),
        empty="No classes: a regression, or no rows",
    )


def _label_shares() -> Any:
    rows = q.top("actual, predicted", q.pick("model_confusion_rows", "window"))
    share = f"sum by (actual) ({rows}) / on () group_left () (sum ({rows}) > 0)"
    return lines(
        "Which labels come?",
        "Share of the window's labelled rows that turned out to be of each class; at most six. It moves, and the "
        "predictions do not: the world has changed and the model has not seen it.",
        "percentunit",
        [Query(f"{share} and on (actual) {q.worst(share, 6)}", "{{actual}}")],
        soft=(0, 1),
        size=(6, 8),
        empty="No classes: a regression, or no labelled rows",
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
            size=(6, 8),
            empty=_UNJUDGED,
        ),
        _class_shares(),
        _label_shares(),
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
            size=(6, 8),
            empty="No mean: a model of several classes, or no rows",
        ),
    ]
