"""Model detail: its condition in one line, and what changed when."""

from __future__ import annotations

from typing import Any

from grafana import detail_data
from grafana import queries as q
from grafana.panels import AMBER, GREEN, GREY, RED, Query, number, steps, timeline
from grafana.states import MODEL_STATES


def state_number(size: tuple[int, int]) -> Any:
    """Show the worst thing to say about the model, in a word."""
    return number(
        "State",
        "The worst of: task failed, no fresh results, no fresh rows, a metric beyond its bound, bad values, drift, too "
        "few rows; else healthy. Grey and purple mean that nothing can be said, not that all is well.",
        "none",
        Query(q.state()),
        mapping=MODEL_STATES,
        size=size,
        empty="no such model",
    )


def numbers() -> list[Any]:
    """The model's condition in one line of numbers."""
    by = "model, model_version"
    any_red = steps((None, GREY), (0, GREEN), (1, RED))
    return [
        state_number((4, 3)),
        number(
            "Alerts firing",
            "Critical and warning alerts on this model, any version. The list below says what about.",
            "none",
            Query(q.firing("critical|warning")),
            thresholds=any_red,
            size=(3, 3),
            empty="no rules",
        ),
        number(
            "Nearest bound",
            "The metric with the least room to its bound, and its score in the window; without bounds "
            "ROC AUC or the mean absolute error. The rows below draw it beside its bound.",
            "none",
            Query(q.headline_score(), "{{metric}}"),
            decimals=3,
            named=True,
            size=(4, 3),
            empty="no labelled rows",
        ),
        number(
            "Drifted features",
            "Features with at least one score above its threshold in force. Features with too few values are not "
            "judged and not counted; the share that is judged stands below.",
            "none",
            Query(f"sum({q.top('feature', q.pick('model_feature_drift_detected', 'slice'))})"),
            thresholds=steps((None, GREY), (0, GREEN), (1, AMBER)),
            size=(4, 3),
            empty="not judged",
        ),
        detail_data.labels_known(3),
        detail_data.newest_row(3),
        number(
            "Reference",
            "Age of the newest row of the reference data that everything is compared against. Replace "
            "the reference after retraining.",
            "dateTimeFromNow",
            Query(f"1000 * {q.top(by, q.pick('model_reference_timestamp_seconds', 'version'))}"),
            size=(3, 3),
            empty="no reference",
        ),
    ]


def changes(size: tuple[int, int]) -> Any:
    """What was wrong when: one line for each thing that can be."""
    states = q.window_state()
    share = q.top("model", q.pick("model_drifted_features_ratio", "slice"))
    limit = q.low("model", q.pick("model_drifted_features_threshold_ratio", "model"))
    outputs = q.top("output", q.pick("model_prediction_drift_detected", "window"))
    label = q.top("model", q.pick("model_label_drift_detected", "window"))
    broken = f"({q.beyond_bound()}) * 0 + {q.LOW} or {q.score()} * 0"
    bad = f"{q.BAD} * ({q.pick('model_quality_checks_failed', 'window')} > bool 0)"
    return timeline(
        "When did it change, and what?",
        "Results: whether each task has a result to trust for this window. Data set: share of drifted "
        "features above its threshold. Prediction, score and label: any drift score above its threshold. "
        "Bounds: any metric beyond its bound.",
        MODEL_STATES,
        [
            Query(q.top("task", states), "results: {{task}}"),
            Query(f"{q.DRIFTED} * ({share} > bool {limit})", "data set drift"),
            Query(f"{q.DRIFTED} * ({share} > bool 0)", "any feature drift"),
            Query(f"{q.DRIFTED} * {outputs}", "{{output}} drift"),
            Query(f"{q.DRIFTED} * {label}", "label drift"),
            Query(q.top("model", bad), "bad values"),
            Query(q.top("model", broken), "performance bounds"),
        ],
        size=size,
        empty="No result in this time range",
    )
