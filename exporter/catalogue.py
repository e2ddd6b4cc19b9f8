"""The catalogue: every series name that the exporter can show, its type, labels and HELP, once.

`docs/metrics.md`, the rules and the dashboards are tested against this table.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]

M = ("model", "model_version")
W = (*M, "window")
S = (*W, "segment")
TASK = ("model", "task")
SOURCE = ("model", "source")


class Family(NamedTuple):
    """One metric family; `labels` in the order in which readings carry their values."""

    name: str
    labels: tuple[str, ...]
    help: str
    kind: Kind = "gauge"


_DRIFT = "as of the last run of task drift"
_QUALITY = "as of the last run of task quality"
_PERFORMANCE = "as of the last run of task performance"
_INGEST = "as of the last run of task ingest"


def _quality(what: str, meaning: str) -> tuple[Family, Family]:
    return (
        Family(
            f"model_feature_{what}_ratio",
            (*S, "feature"),
            f"Share of the window's rows {meaning}, 0 to 1, lower is better; {_QUALITY}.",
        ),
        Family(
            f"model_feature_{what}_threshold_ratio",
            (*S, "feature"),
            f"Largest share of rows {meaning} that is accepted, 0 to 1.",
        ),
    )


def _moving(what: str, label: str, noun: str) -> tuple[Family, ...]:
    name, labels = f"model_{what}_moving_drift", (*W, "baseline", label)
    of = f"{noun} in the window from an earlier window: the previous one or the same a week ago"
    return (
        Family(f"{name}_score", (*labels, "method"), f"Distance of {of}, in the method's unit; {_DRIFT}."),
        Family(f"{name}_p_value", (*labels, "method"), f"P-value of the distance of {of}, 0 to 1; {_DRIFT}."),
        Family(
            f"{name}_threshold",
            (*labels, "method", "severity"),
            f"Distance of {of}, above which it counts as drifted; {_DRIFT}.",
        ),
        Family(f"{name}_detected", labels, f"1 if any method sees a drift of {of}, else 0; {_DRIFT}."),
    )


_TABLE: tuple[Family, ...] = (
    Family("model_info", (*M, "task", "framework"), "A monitored model and version; always 1."),
    Family(
        "model_window_rows",
        (*S, "dataset"),
        f"Rows used: of the reference, of the current window, and of the window's rows with a label; {_INGEST}.",
    ),
    Family("model_window_min_rows", ("model", "dataset"), "Rows below which a window is not judged."),
    Family(
        "model_window_start_timestamp_seconds",
        W,
        f"Start of the event time that the window covers, in Unix seconds (included); {_INGEST}.",
    ),
    Family(
        "model_window_end_timestamp_seconds",
        W,
        f"End of the event time that the window covers, in Unix seconds (not included); {_INGEST}.",
    ),
    Family(
        "model_window_state",
        (*W, "task", "state"),
        "State of a task's result on a window: one of ok, insufficient, failed, stale is 1, the others are 0.",
    ),
    Family("model_reference_timestamp_seconds", M, "Newest event time in the reference data, in Unix seconds."),
    Family("model_reference_info", (*M, "hash"), "Which reference data is compared against; always 1."),
    Family("model_predictions_total", M, "Predictions read and counted since the store was made.", "counter"),
    Family(
        "model_labels_total",
        M,
        "Labels joined to their prediction since the store was made; a corrected label counts again.",
        "counter",
    ),
    Family(
        "model_rows_rejected_total",
        (*M, "reason"),
        "Rows of the log that were read and not used, by reason, since the store was made.",
        "counter",
    ),
    Family(
        "model_newest_row_timestamp_seconds",
        M,
        f"Event time of the newest prediction, in Unix seconds; {_INGEST}.",
    ),
    Family(
        "model_data_delay_threshold_seconds",
        ("model",),
        "Age of the newest prediction, in seconds, above which the log counts as stale.",
    ),
    Family(
        "model_labels_coverage_ratio",
        W,
        f"Share of the window's predictions whose label is known, 0 to 1, higher is better; {_PERFORMANCE}.",
    ),
    Family(
        "model_feature_drift_score",
        (*S, "feature", "method"),
        f"Distance of a feature's values in the window from the reference, in the method's unit, "
        f"lower is better; {_DRIFT}.",
    ),
    Family(
        "model_feature_drift_p_value",
        (*S, "feature", "method"),
        f"Benjamini-Hochberg p-value of a feature's drift score across features, 0 to 1, lower means drift; {_DRIFT}.",
    ),
    Family(
        "model_feature_drift_threshold",
        (*S, "feature", "method", "severity"),
        f"Drift score above which a feature counts as drifted, in the method's unit; {_DRIFT}.",
    ),
    Family(
        "model_feature_drift_detected",
        (*S, "feature"),
        f"1 if any method's score is above its warning threshold, else 0; {_DRIFT}.",
    ),
    Family(
        "model_feature_drift_impact",
        (*W, "feature"),
        f"Drift times importance of a feature: log2(1 + largest score over its threshold) x importance, "
        f"lower is better; {_DRIFT}.",
    ),
    Family(
        "model_feature_importance_ratio",
        ("model", "feature"),
        "What a feature means to the model, as configured or as measured on the reference, 0 to 1.",
    ),
    Family(
        "model_prediction_drift_score",
        (*W, "output", "method"),
        f"Distance of the model's outputs in the window from the reference, in the method's unit, "
        f"lower is better; {_DRIFT}.",
    ),
    Family(
        "model_prediction_drift_p_value",
        (*W, "output", "method"),
        f"Benjamini-Hochberg p-value of an output's drift score across outputs, 0 to 1, lower means drift; {_DRIFT}.",
    ),
    Family(
        "model_prediction_drift_threshold",
        (*W, "output", "method", "severity"),
        f"Drift score above which an output counts as drifted, in the method's unit; {_DRIFT}.",
    ),
    Family(
        "model_prediction_drift_detected",
        (*W, "output"),
        f"1 if any method's score is above its warning threshold, else 0; {_DRIFT}.",
    ),
    Family(
        "model_label_drift_score",
        (*W, "method"),
        f"Distance of the known labels in the window from the reference's, in the method's unit, "
        f"lower is better; {_DRIFT}.",
    ),
    Family(
        "model_label_drift_p_value",
        (*W, "method"),
        f"P-value of the label's drift score, 0 to 1, lower means drift; {_DRIFT}.",
    ),
    Family(
        "model_label_drift_threshold",
        (*W, "method", "severity"),
        f"Drift score above which the label counts as drifted, in the method's unit; {_DRIFT}.",
    ),
    Family(
        "model_label_drift_detected",
        W,
        f"1 if any method's score is above its warning threshold, else 0; {_DRIFT}.",
    ),
    Family(
        "model_drifted_features_ratio",
        S,
        f"Drifted features among those judged in the window, 0 to 1, lower is better; {_DRIFT}.",
    ),
    Family(
        "model_drifted_features_threshold_ratio",
        ("model", "severity"),
        "Share of drifted features above which the whole data set counts as drifted, 0 to 1.",
    ),
    *_moving("feature", "feature", "a feature's values"),
    *_moving("prediction", "output", "the model's outputs"),
    Family(
        "model_moving_drifted_features_ratio",
        (*W, "baseline"),
        f"Features that differ from an earlier window among those judged, 0 to 1, lower is better; {_DRIFT}.",
    ),
    Family(
        "model_segment_drift_score",
        S,
        f"Largest drift score of a segment's features over its threshold, 1 is at the threshold; {_DRIFT}.",
    ),
    Family(
        "model_segment_state",
        (*S, "state"),
        f"What became of a segment: one of ok, insufficient, appeared, vanished is 1, the others are 0; {_DRIFT}.",
    ),
    Family(
        "model_segment_worst_info",
        (*S, "by"),
        f"The segment that is worst by drift; always 1; {_DRIFT}.",
    ),
    Family("model_monitored_features", M, "Features of the reference that are monitored."),
    *_quality("missing", "without a value in the feature"),
    *_quality("unseen", "with a category that the reference does not have"),
    *_quality("out_of_range", "with a number outside of the reference's minimum and maximum"),
    *_quality("invalid", "with a value that is not of the feature's type"),
    Family(
        "model_feature_bin_ratio",
        (*W, "feature", "bin", "dataset"),
        f"Share of a feature's rows in a bin that the reference fixed, 0 to 1; {_DRIFT}.",
    ),
    Family("model_feature_mean", (*W, "feature", "dataset"), f"Mean of a numeric feature, in its unit; {_DRIFT}."),
    Family(
        "model_feature_quantile",
        (*W, "feature", "dataset", "q"),
        f"Quantile q of a numeric feature, in its unit; {_DRIFT}.",
    ),
    Family(
        "model_prediction_class_ratio",
        (*S, "class", "dataset"),
        f"Share of the predictions that name a class, 0 to 1; {_DRIFT}.",
    ),
    Family(
        "model_prediction_mean",
        (*S, "dataset"),
        f"Mean predicted probability of the positive class (binary) or mean predicted value (regression); {_DRIFT}.",
    ),
    Family(
        "model_performance_score",
        (*S, "metric"),
        f"Realised performance over the window's labelled rows, in the metric's unit; {_PERFORMANCE}.",
    ),
    Family(
        "model_performance_score_baseline",
        (*M, "segment", "metric"),
        "Performance on the reference's labelled rows, in the metric's unit.",
    ),
    Family(
        "model_performance_score_min",
        ("model", "metric", "severity"),
        "Lowest accepted performance, in the metric's unit.",
    ),
    Family(
        "model_performance_score_max",
        ("model", "metric", "severity"),
        "Highest accepted value of a metric where lower is better, in the metric's unit.",
    ),
    Family(
        "model_confusion_rows",
        (*W, "actual", "predicted"),
        f"Labelled rows of the window by actual and predicted class; {_PERFORMANCE}.",
    ),
    Family("model_task_interval_seconds", TASK, "Seconds between two scheduled runs of a task."),
    Family("model_task_last_run_timestamp_seconds", TASK, "When a task last ended, well or not, in Unix seconds."),
    Family("model_task_last_success_timestamp_seconds", TASK, "When a task last succeeded, in Unix seconds."),
    Family("model_task_last_run_success", TASK, "1 if the last run of a task succeeded, else 0."),
    Family("model_task_running", TASK, "1 while a task runs, else 0."),
    Family("model_task_last_duration_seconds", TASK, "Seconds that the last run of a task took."),
    Family("model_task_runs_total", TASK, "Runs of a task since the start of the exporter.", "counter"),
    Family(
        "model_task_failures_total",
        (*TASK, "reason"),
        "Failures within runs of a task, by reason, since the start of the exporter.",
        "counter",
    ),
    Family(
        "model_task_skipped_total",
        (*TASK, "reason"),
        "Runs of a task that did not start: the one before still ran (overlap) or it came too late (misfire).",
        "counter",
    ),
    Family("model_task_duration_seconds", TASK, "Seconds that runs of a task took.", "histogram"),
    Family(
        "model_source_up",
        SOURCE,
        "1 if everything in a source could be read at the last try, else 0.",
    ),
    Family(
        "model_source_rows_total",
        SOURCE,
        "Rows read from a source since the start of the exporter.",
        "counter",
    ),
    Family("model_source_read_seconds", SOURCE, "Seconds that the last read of a source took."),
    Family(
        "model_exporter_build_info",
        ("version", "revision", "python_version"),
        "Version of the exporter; always 1.",
    ),
    Family(
        "model_exporter_config_last_reload_successful",
        (),
        "1 if the configuration file could be loaded at the last try, else 0.",
    ),
    Family(
        "model_exporter_config_last_reload_success_timestamp_seconds",
        (),
        "When a configuration was last loaded, in Unix seconds.",
    ),
    Family(
        "model_exporter_snapshot_timestamp_seconds",
        (),
        "When the newest results on this page were published, in Unix seconds.",
    ),
    Family("model_exporter_snapshot_series", (), "Series of models on this page."),
    Family("model_exporter_series_limit", (), "Most series of models that this page may have."),
    Family(
        "model_exporter_series_dropped_total",
        ("reason",),
        "Series that a budget left out: max_features for each evaluation, series_limit for each page.",
        "counter",
    ),
    Family("model_exporter_store_bytes", (), "Size of the store, in bytes."),
    Family("model_exporter_leader", (), "1 if this exporter runs the tasks, 0 if it waits for another one."),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _TABLE}
