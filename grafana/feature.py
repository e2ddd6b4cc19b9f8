"""Model feature: which features drifted and when, then everything about one of them."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.board import Row, assemble, variable, variables
from grafana.panels import (
    AT_ONE,
    DRIFT,
    QUIET_AT_ONE,
    TIMES,
    Query,
    cells,
    lines,
    number,
    timeline,
)
from grafana.tables import Column, bars, rows

_UNJUDGED = "Not judged: too few rows with a value in the window"
_CATEGORICAL = "No numbers: a categorical feature, or no rows"
_MOST = 20


_SEGMENT = "$segment"


def _own(name: str, level: str, **labels: str) -> str:
    """Select a series of the chosen feature, of all rows; `segment=_SEGMENT`: of the chosen segment."""
    return q.pick(name, level, False, feature="$feature", **labels)


def _of_all_rows(expr: str) -> str:
    """Show `expr`, which no segment has, only while all rows are chosen."""
    both = f'model_window_rows{{job=~"$job", model="$model", segment="all", segment="{_SEGMENT}"}}'
    return f"{expr} and on () count({both})"


def _all_features() -> list[Any]:
    """Features by time: the verdict, and the score behind it."""
    verdict = q.top("feature", q.pick("model_feature_drift_detected", "slice", segment=_SEGMENT))
    ratio = f"max by (feature) ({q.drift_per_threshold('feature', 'feature, method', segment=_SEGMENT)})"
    unjudged = f"0 * {q.top('feature', q.pick('model_feature_missing_ratio', 'slice'))}"
    most = q.worst(f"{ratio} or {unjudged}", _MOST)
    return [
        timeline(
            "Which features drifted, and when?",
            "The verdict on each feature in the chosen segment: drift where any method's score is above its "
            "threshold; not judged where the window has too few values of it. The "
            f"{_MOST} features with the highest score over threshold in this time range. Many features at "
            "one moment: look upstream.",
            DRIFT,
            [Query(f"({verdict} or 2 + {unjudged}) and on (feature) {most}", "{{feature}}")],
            size=(12, 12),
            empty=_UNJUDGED,
        ),
        cells(
            "How far from the reference is each feature?",
            "Largest drift score of each feature over its threshold in force, for the same features; the "
            "colours end at 2×, twice the threshold. A slow change of colour is drift on its way.",
            Query(f"{ratio} and on (feature) {most}", "{{feature}}"),
            TIMES,
            2,
            size=(12, 12),
            empty=_UNJUDGED,
        ),
    ]


def _verdict() -> list[Any]:
    """What the last run says about the feature."""
    ratio = q.drift_per_threshold("feature", "feature, method", feature="$feature", segment=_SEGMENT)
    size, by = (3, 3), "feature"
    values = _own("model_feature_missing_ratio", "slice")
    mean = _own("model_feature_mean", "window", dataset="current")
    return [
        number(
            "Verdict",
            "The verdict of the last run on the chosen segment: drift where any method's score is above its threshold.",
            "none",
            Query(q.top(by, _own("model_feature_drift_detected", "slice", segment=_SEGMENT))),
            mapping=DRIFT,
            size=(4, 3),
            empty="not judged",
        ),
        number(
            "Worst score",
            "Largest drift score over its threshold in force, and its method; from 1× on it is drift.",
            TIMES,
            Query(f"topk(1, max by (method) ({ratio}))", "{{method}}"),
            decimals=2,
            named=True,
            thresholds=AT_ONE,
            size=(5, 3),
            empty="not judged",
        ),
        number(
            "Impact",
            "log2(1 + worst score) × importance, of all rows: the drift that counts most is that of the feature with "
            "the highest impact.",
            "none",
            Query(q.top(by, _own("model_feature_drift_impact", "window"))),
            decimals=3,
            size=size,
            empty="not known",
        ),
        number(
            "Importance",
            "What the feature means to the model, as a share of all features: as configured, or as measured on the "
            "reference. Drift of a feature with next to none can wait.",
            "percentunit",
            Query(q.top(by, _own("model_feature_importance_ratio", "model"))),
            decimals=1,
            size=size,
            empty="not known",
        ),
        number(
            "Rows",
            "Rows of the window, of the chosen segment.",
            "locale",
            Query(q.top("model", q.pick("model_window_rows", "slice", segment=_SEGMENT, dataset="current"))),
            size=size,
            empty="no rows",
        ),
        number(
            "Missing",
            "Share of all rows without a value.",
            "percentunit",
            Query(q.top(by, values)),
            decimals=2,
            size=size,
            empty="no rows",
        ),
        number(
            "Mean",
            "Mean of the feature in the window's rows, in its unit; its history is below.",
            "short",
            Query(q.top(by, mean)),
            decimals=2,
            size=size,
            empty="categorical",
        ),
    ]


def _distribution() -> list[Any]:
    """Where the values are now and where they were, and what each method makes of it."""
    share = "model_feature_bin_ratio"
    by = "method"
    score = q.top(by, _own("model_feature_drift_score", "slice", segment=_SEGMENT))
    threshold = q.low(by, _own("model_feature_drift_threshold", "slice", segment=_SEGMENT))
    p_value = q.low(by, _own("model_feature_drift_p_value", "slice", segment=_SEGMENT))
    earlier = [
        _of_all_rows(f"max by (method) ({q.moving_per_threshold('feature, method', baseline, feature='$feature')})")
        for baseline in q.BASELINES
    ]
    columns = [
        Column("method", "Method"),
        Column("A", "Reference", unit=TIMES, width=100, decimals=2, steps=QUIET_AT_ONE),
        Column("B", "Previous", unit=TIMES, width=75, decimals=2, steps=QUIET_AT_ONE),
        Column("C", "Week ago", unit=TIMES, width=80, decimals=2, steps=QUIET_AT_ONE),
        Column("D", "Score", unit="none", width=65, decimals=3),
        Column("E", "Threshold", unit="none", width=80, decimals=3),
        Column("F", "p-value", unit="none", width=65, decimals=3),
    ]
    return [
        bars(
            "Where are the values of $feature now, and where were they?",
            "Share of all rows, whatever the segment, in each bin; the reference fixed the bins. Current: the window. "
            "See which bins grew: a shift of all, a new category, or values piled up at one end.",
            "percentunit",
            "bin",
            {each: q.top("bin", _own(share, "window", dataset=each)) for each in ("reference", "current")},
            size=(12, 9),
            empty="No rows in this window, or the feature is beyond max_features",
        ),
        rows(
            "What do the methods say?",
            "Each method's score over its threshold in force: against the reference, where from 1× on it is drift, and "
            "of all rows against the window before and the same a week ago. Score, threshold and p-value (of tests, "
            "after correction across features; 0.000 is less than 0.0005) are against the reference. Previous and week "
            "ago calm: it came slowly. Methods that disagree: the shift is of a kind that only some of them see; "
            "docs/statistics.md says which.",
            columns,
            [
                Query(f"{score} / {threshold}"),
                *(Query(each) for each in earlier),
                Query(score),
                Query(threshold),
                Query(p_value),
            ],
            sort=["Reference"],
            size=(12, 9),
            empty=_UNJUDGED,
        ),
    ]


def _scores() -> list[Any]:
    """One panel for each method: the score beside its thresholds."""
    chosen = {"method": "$method", "segment": _SEGMENT}
    drawn = [Query(q.top("method", _own("model_feature_drift_score", "slice", **chosen)), "score", "current")]
    for severity in ("warning", "critical"):
        limit = _own("model_feature_drift_threshold", "slice", severity=severity, **chosen)
        drawn.append(Query(q.low("method", limit), f"{severity} threshold", severity))
    panel = lines(
        "How far is $feature by $method?",
        "The method's score, in its own unit, beside model_feature_drift_threshold, the threshold that "
        "alerts. A threshold calibrated on the reference moves with the number of rows in the window.",
        "none",
        drawn,
        decimals=3,
        size=(6, 7),
        empty=_UNJUDGED,
    )
    return [panel.repeat("method").repeat_direction("h").max_per_row(4)]


def _quantiles() -> list[Any]:
    """How the values moved, in the feature's unit."""
    name, by = "model_feature_quantile", "q"
    names = {"0.05": "5 %", "0.5": "median", "0.95": "95 %"}
    drawn = [
        Query(q.top(by, _own(name, "window", dataset="current", q=at)), text, look)
        for (at, text), look in zip(names.items(), ("low", "current", "high"), strict=True)
    ]
    drawn.append(
        Query(
            q.top(by, _own(name, "window", dataset="reference", q="=~0.05|0.5|0.95")),
            "reference {{q}}",
            "reference",
        )
    )
    return [
        lines(
            "Where do most values of $feature lie?",
            "The values below which 5 %, half and 95 % of the window's rows lie, in the feature's unit; "
            "dashed: on the reference. All three move: a shift. They spread: more variety. Only an end "
            "moves: outliers.",
            "short",
            drawn,
            size=(14, 8),
            empty=_CATEGORICAL,
        ),
        lines(
            "What is its mean?",
            "Mean of the feature in the window, in its unit; dashed: on the reference.",
            "short",
            [
                Query(
                    q.top("dataset", _own("model_feature_mean", "window", dataset="current")),
                    "current",
                    "current",
                ),
                Query(
                    q.top("dataset", _own("model_feature_mean", "window", dataset="reference")),
                    "reference",
                    "reference",
                ),
            ],
            size=(10, 8),
            empty=_CATEGORICAL,
        ),
    ]


_QUESTIONS = {
    "missing": ("Is it missing?", "without a value", "Ask what fills the feature"),
    "unseen": (
        "Are there new categories?",
        "with a category that the reference does not have",
        "Retrain with them, or map them",
    ),
    "out_of_range": (
        "Is it out of range?",
        "with a number outside the reference's minimum and maximum",
        "Check units and outliers",
    ),
    "invalid": (
        "Is it of the wrong type?",
        "with a value that is not of the feature's type",
        "Check the writer of the log",
    ),
}


def _quality() -> list[Any]:
    """One panel for each data quality check: the share of bad rows beside its bound."""
    made = []
    for check, (question, meaning, advice) in _QUESTIONS.items():
        ratio, bound = (_own(f"model_feature_{check}_{kind}", "slice") for kind in ("ratio", "threshold_ratio"))
        made.append(
            lines(
                question,
                f"Share of the window's rows {meaning}; dashed: the bound in force. Above it: "
                f"{advice[0].lower()}{advice[1:]}.",
                "percentunit",
                [
                    Query(q.top("feature", ratio), "rows", "current"),
                    Query(q.low("feature", bound), "bound", "warning"),
                ],
                size=(6, 7),
                empty="Not checked for a feature of this type",
            )
        )
    return made


def build() -> dict[str, Any]:
    """Build the dashboard `model-feature`."""
    of_model = 'job=~"$job", model="$model", model_version="$version"'
    names = f"label_values(model_feature_drift_detected{{{of_model}}}, feature)"
    segments = f'label_values(model_window_rows{{{of_model}, dataset="current"}}, segment)'
    methods = f'label_values(model_feature_drift_score{{{of_model}, feature="$feature"}}, method)'
    parts = [
        Row("Which features drifted, and when?", _all_features()),
        Row("What happened to $feature?", [*_verdict(), *_distribution()]),
        Row("How did its scores develop?", _scores()),
        Row("How did its values move?", _quantiles()),
        Row("Are its values sound?", _quality()),
    ]
    return assemble(
        "model-feature",
        "Model feature",
        "All features of one model over time, then one feature: its distribution, scores, values and data quality.",
        [
            *variables(many=False),
            variable("feature", "Feature", names),
            variable("segment", "Segment", segments, first="all"),
            variable("method", "Methods", methods, many=True, hidden=True),
        ],
        parts,
    )
