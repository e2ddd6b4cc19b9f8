"""Model detail: performance, realised and estimated, and whether it can be trusted."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import AMBER, NONE, Query, Words, band, lines
from grafana.tables import Column, matrix, rows

METRIC = "=~$metric"
NO_LABELS = "No score: too few rows of the window have their label yet"
_NO_ESTIMATE = "No estimate: not configured (performance.estimate), or too few rows"
_WORSE: Words = {0: ("as before", NONE), 1: ("worse", AMBER)}


def scores() -> list[Any]:
    """All metrics in a table, then one panel for each."""
    return [_table(), _each()]


def _table() -> Any:
    by = "metric"

    def own(name: str, level: str = "slice", **labels: str) -> str:
        return q.top(by, q.pick(name, level, metric=METRIC, **labels))

    bounds = f"{q.floor(metric=METRIC)} or {q.ceiling(metric=METRIC)}"
    columns = [
        Column("metric", "Metric"),
        Column("A", "Verdict", width=90, mapping=_WORSE),
        Column("B", "Now", unit="none", width=85, decimals=3),
        Column("C", "from", unit="none", width=85, decimals=3),
        Column("D", "to", unit="none", width=85, decimals=3),
        Column("E", "Estimated", unit="none", width=90, decimals=3),
        Column("F", "Baseline", unit="none", width=85, decimals=3),
        Column("G", "Bound", unit="none", width=85, decimals=3),
        Column("H", "Trend a day", unit="none", width=100, decimals=4),
        Column("I", "p-value", unit="none", width=75, decimals=3),
    ]
    return rows(
        "How good is it, all in all?",
        "Now: realised over the window's labelled rows, and its 95 % interval. Estimated: over all rows, without any. "
        "Baseline: on the reference. Worse: below the baseline beyond chance and tolerance "
        "(ModelPerformanceDegraded). Bound: the strictest in force. Trend: slope of the daily scores; a small p-value: "
        "it is no chance. Worse, or near the bound: see drift below, then retrain.",
        columns,
        [
            Query(own("model_performance_degraded")),
            Query(own("model_performance_score")),
            Query(own("model_performance_score_lower")),
            Query(own("model_performance_score_upper")),
            Query(own("model_performance_estimated_score")),
            Query(own("model_performance_score_baseline", "version", segment="all")),
            Query(q.top(by, bounds)),
            Query(own("model_performance_trend_per_day", "version")),
            Query(own("model_performance_trend_p_value", "version")),
        ],
        sort=["Metric"],
        descending=False,
        size=(24, 8),
        empty=NO_LABELS,
    )


def _each() -> Any:
    """One panel for each metric: realised and estimated beside baseline and bounds."""

    def own(name: str, level: str = "slice", **labels: str) -> str:
        return q.top("metric", q.pick(f"model_performance_{name}", level, metric="$metric", **labels))

    drawn = [
        Query(own("score"), "realised", "current"),
        Query(own("estimated_score"), "estimated", "second"),
        *band("95 %", own("score_lower"), own("score_upper")),
        *band("estimate 95 %", own("estimated_score_lower"), own("estimated_score_upper")),
        Query(own("score_baseline", "version", segment="all"), "baseline", "reference"),
    ]
    for severity in ("warning", "critical"):
        both = [
            q.pick(f"model_performance_score_{kind}", "model", metric="$metric", severity=severity)
            for kind in ("min", "max")
        ]
        drawn.append(Query(q.top("metric", " or ".join(both)), f"{severity} bound", severity))
    panel = lines(
        "How good is $metric?",
        "Realised: over the window's labelled rows. Estimated: over all of them, without labels. Each with its 95 % "
        "interval. Baseline: on the reference. Bounds: model_performance_score_min and _max, the ones that alert. "
        "Beyond a bound for long: look for drift below, then retrain.",
        "none",
        drawn,
        decimals=3,
        size=(6, 7),
        empty=NO_LABELS,
    )
    return panel.repeat("metric").repeat_direction("h").max_per_row(4)


def trust() -> list[Any]:
    """Whether labels are there in time, the estimate holds, and probabilities mean what they say."""
    error = q.top("metric", q.pick("model_performance_estimate_error", "window", metric=METRIC))
    coverage, mature = (
        q.top("window", q.pick(f"model_labels_{kind}ratio", "window")) for kind in ("coverage_", "mature_coverage_")
    )
    delay = q.top("q", q.pick("model_label_delay_seconds", "window"))
    limit = q.low("model", q.pick("model_label_delay_threshold_seconds", "model"))
    calibration = q.top("window", q.pick("model_calibration_error", "window"))
    return [
        lines(
            "Which labels are known?",
            "Share of the window's predictions whose label is known, and of those that are old enough for it (mature). "
            "Mature falls: labels come late or are lost (ModelLabelsDelayed). Below 95 % the estimate counts, too.",
            "percentunit",
            [Query(coverage, "all", "current"), Query(mature, "mature", "third")],
            soft=(0, 1),
            size=(6, 7),
            empty="No rows in this window",
        ),
        lines(
            "How late do labels come?",
            "Time from the prediction to its label: the delay that half, 90 % and more of the labels do not exceed. "
            "Dashed: the age from which the labels of predictions count as complete. Above it: performance is judged "
            "too early.",
            "s",
            [Query(delay, "{{q}}"), Query(limit, "complete", "warning")],
            soft=(0, 1),
            size=(6, 7),
            empty="No labels with a time (columns.label_timestamp)",
        ),
        lines(
            "How wrong is the estimate?",
            "Estimated minus realised, once 95 % of the window's labels are known; 0 is right. Far from 0: what the "
            "labels say about the inputs has changed (concept drift), which no estimate sees; trust only the realised.",
            "none",
            [Query(error, "{{metric}}"), Query("vector(0)", "right", "reference")],
            decimals=3,
            size=(6, 7),
            empty=_NO_ESTIMATE + ", or too few labels",
        ),
        lines(
            "Do probabilities mean what they say?",
            "Expected calibration error: mean distance of predicted probability and outcome over ten bins, 0 to 1, "
            "lower is better. It rises while ROC AUC stays: recalibrate, or move the cut-off; no retraining is needed.",
            "none",
            [Query(calibration, "calibration error", "current")],
            decimals=3,
            soft=(0, 0.05),
            size=(6, 7),
            empty="No probabilities (columns.score), or too few labels",
        ),
    ]


def confusion() -> Any:
    """Which classes are taken for which."""
    counts = q.top("actual, predicted", q.pick("model_confusion_rows", "window"))
    return matrix(
        "Which classes does it confuse?",
        "Labelled rows of the window, by actual class (lines) and predicted class (columns). Off the "
        "diagonal are the mistakes. One class mistaken far more often than before: look at its rows "
        "first. What they cost is on the dashboard Model business.",
        "locale",
        Query(counts),
        ("actual", "predicted"),
        size=(8, 7),
        empty="No classes: a regression, or no labelled rows",
    )


def mistakes() -> list[Any]:
    """Which classes are behind a bad score, now and over time."""
    pairs = q.top("actual, predicted", q.pick("model_confusion_rows", "window"))
    whole = f"sum by (actual) ({pairs})"
    right = f'label_join({whole}, "predicted", "", "actual")'
    wrong = f"({pairs} unless on (actual, predicted) {right}) / on (actual) group_left () ({whole} > 0)"
    return [
        confusion(),
        lines(
            "Which mistakes grow?",
            "Share of the labelled rows of each actual class that is predicted as another class: the six most frequent "
            "in this time range. One rises: see whether the inputs of that class have drifted.",
            "percentunit",
            [Query(f"{wrong} and on (actual, predicted) {q.worst(wrong, 6)}", "{{actual}} taken for {{predicted}}")],
            soft=(0, 0.1),
            size=(16, 7),
            empty="No classes: a regression, or no labelled rows",
        ),
    ]
