"""Model detail: realised performance."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import Query, lines
from grafana.tables import matrix

METRIC = "=~$metric"
NO_LABELS = "No score: too few rows of the window have their label yet"


def scores() -> list[Any]:
    """One panel for each metric: the score beside its baseline and its bounds."""
    baseline = q.pick("model_performance_score_baseline", "version", segment="all", metric="$metric")
    bounds = {
        severity: [
            q.pick(f"model_performance_score_{kind}", "model", metric="$metric", severity=severity)
            for kind in ("min", "max")
        ]
        for severity in ("warning", "critical")
    }
    drawn = [
        Query(q.top("metric", q.pick("model_performance_score", "slice", metric="$metric")), "score", "current"),
        Query(q.top("metric", baseline), "baseline", "reference"),
    ]
    drawn += [Query(q.top("metric", " or ".join(both)), f"{name} bound", name) for name, both in bounds.items()]
    panel = lines(
        "How good is $metric?",
        "Realised over the window's labelled rows. Baseline: the same metric on the reference. Bounds: "
        "model_performance_score_min and _max, the ones that alert. Beyond a bound for long: look for "
        "drift below, then retrain.",
        "none",
        drawn,
        decimals=3,
        size=(6, 6),
        empty=NO_LABELS,
    )
    return [panel.repeat("metric").repeat_direction("h").max_per_row(4)]


def breakdown() -> list[Any]:
    """Which classes and versions are behind a bad score."""
    versions = q.pick("model_performance_score", "slice", model_version="=~.+", metric=METRIC)
    confusion = q.top("actual, predicted", q.pick("model_confusion_rows", "window"))
    return [
        matrix(
            "Which classes does it confuse?",
            "Labelled rows of the window, by actual class (lines) and predicted class (columns). Off the "
            "diagonal are the mistakes. One class mistaken far more often than before: look at its rows "
            "first.",
            "locale",
            Query(confusion),
            ("actual", "predicted"),
            size=(6, 7),
            empty="No classes: a regression, or no labelled rows",
        ),
        matrix(
            "Is the new version better?",
            "The last scores of every version of the model in this time range. They are over different "
            "rows: compare versions that served at the same time, or mind what else changed.",
            "none",
            Query(q.top("model_version, metric", f"last_over_time({versions}[$__range])")),
            ("model_version", "metric"),
            decimals=3,
            size=(18, 7),
            empty=NO_LABELS,
        ),
    ]
