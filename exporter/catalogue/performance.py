"""Performance over labelled rows."""

from __future__ import annotations

from exporter.catalogue.family import ESTIMATION, HISTORY, PERFORMANCE, Family, M, S, W

COMPARED = ("model", "champion", "challenger", "metric")

FAMILIES: tuple[Family, ...] = (
    Family(
        "model_labels_coverage_ratio",
        W,
        f"Share of the window's predictions whose label is known, 0 to 1, higher is better; {PERFORMANCE}.",
    ),
    Family(
        "model_labels_mature_coverage_ratio",
        W,
        f"Share of the predictions of the newest window of this length that is old enough for its labels whose label "
        f"is known, 0 to 1, higher is better; {PERFORMANCE}.",
    ),
    Family(
        "model_labels_coverage_threshold_ratio",
        ("model",),
        "Least share of predictions that are old enough for their labels that must have one, 0 to 1: as configured, "
        "else half of the reference's share.",
    ),
    Family(
        "model_label_delay_seconds",
        (*W, "q"),
        f"Quantile q of the time from prediction to label, in seconds, over the rows that performance is judged on; "
        f"{PERFORMANCE}.",
    ),
    Family(
        "model_label_delay_threshold_seconds",
        ("model",),
        "Age of a prediction, in seconds, from which its label counts as complete: as configured or learned.",
    ),
    Family(
        "model_performance_window_end_timestamp_seconds",
        W,
        f"End of the event time that performance is judged on, in Unix seconds (not included): that of the window, "
        f"less what labels need; {PERFORMANCE}.",
    ),
    Family(
        "model_performance_score",
        (*S, "metric"),
        f"Realised performance over the window's labelled rows, in the metric's unit; {PERFORMANCE}.",
    ),
    Family(
        "model_performance_score_lower",
        (*S, "metric"),
        f"Lower end of the score's 95 % interval, in the metric's unit; {PERFORMANCE}.",
    ),
    Family(
        "model_performance_score_upper",
        (*S, "metric"),
        f"Upper end of the score's 95 % interval, in the metric's unit; {PERFORMANCE}.",
    ),
    Family(
        "model_performance_degraded",
        (*S, "metric"),
        f"1 if the score is worse than its baseline beyond chance and by more than is tolerated, else 0; "
        f"{PERFORMANCE}.",
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
        "model_performance_trend_per_day",
        (*M, "metric"),
        f"Slope of the daily score over the stored days, in the metric's unit per day; {HISTORY}.",
    ),
    Family(
        "model_performance_trend_p_value",
        (*M, "metric"),
        f"P-value of the daily score having no trend, 0 to 1, lower means a trend; {HISTORY}.",
    ),
    Family(
        "model_version_comparison_score_difference",
        COMPARED,
        f"Mean daily score of the challenger less that of the champion, on the days that both had; {HISTORY}.",
    ),
    Family(
        "model_version_comparison_score_difference_lower",
        COMPARED,
        f"Lower end of the 95 % interval of the challenger's score less the champion's; {HISTORY}.",
    ),
    Family(
        "model_version_comparison_score_difference_upper",
        COMPARED,
        f"Upper end of the 95 % interval of the challenger's score less the champion's; {HISTORY}.",
    ),
    Family(
        "model_version_comparison_state",
        (*COMPARED, "state"),
        f"What the challenger is beside the champion: one of better, worse, undecided is 1, the others are 0; "
        f"{HISTORY}.",
    ),
    Family(
        "model_calibration_error",
        W,
        f"Expected calibration error: mean distance of confidence and outcome over ten bins, 0 to 1, lower is better; "
        f"{PERFORMANCE}.",
    ),
    Family(
        "model_confusion_rows",
        (*W, "actual", "predicted"),
        f"Labelled rows of the window by actual and predicted class; {PERFORMANCE}.",
    ),
    Family(
        "model_ranking_groups",
        (*S, "state"),
        f"Groups of ranked rows: evaluated, whole but without a relevant row (irrelevant), or with a row whose label "
        f"or score is not known (incomplete); {PERFORMANCE}.",
    ),
    Family(
        "model_window_min_groups",
        ("model",),
        "Groups of ranked rows below which metrics of groups are not judged.",
    ),
    Family(
        "model_performance_estimated_score",
        (*S, "metric", "method"),
        f"Performance expected of all predictions of the window, without labels, in the metric's unit; {ESTIMATION}.",
    ),
    Family(
        "model_performance_estimated_score_lower",
        (*S, "metric", "method"),
        f"Lower end of the 95 % interval of the estimated performance, in the metric's unit; {ESTIMATION}.",
    ),
    Family(
        "model_performance_estimated_score_upper",
        (*S, "metric", "method"),
        f"Upper end of the 95 % interval of the estimated performance, in the metric's unit; {ESTIMATION}.",
    ),
    Family(
        "model_performance_estimate_error",
        (*W, "metric"),
        f"Estimated minus realised performance, once 95 % of the window's labels are known; {ESTIMATION}.",
    ),
)
