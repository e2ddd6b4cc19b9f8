"""Drift: of features, outputs, labels, segments, whole rows and daily signals."""

from __future__ import annotations

from exporter.catalogue.family import DRIFT, HISTORY, MULTIVARIATE, Family, M, S, W


def _moving(what: str, label: str, noun: str) -> tuple[Family, ...]:
    name, labels = f"model_{what}_moving_drift", (*W, "baseline", label)
    of = f"{noun} in the window from an earlier window: the previous one or the same a week ago"
    return (
        Family(f"{name}_score", (*labels, "method"), f"Distance of {of}, in the method's unit; {DRIFT}."),
        Family(f"{name}_p_value", (*labels, "method"), f"P-value of the distance of {of}, 0 to 1; {DRIFT}."),
        Family(
            f"{name}_threshold",
            (*labels, "method", "severity"),
            f"Distance of {of}, above which it counts as drifted; {DRIFT}.",
        ),
        Family(f"{name}_detected", labels, f"1 if any method sees a drift of {of}, else 0; {DRIFT}."),
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        "model_feature_drift_score",
        (*S, "feature", "method"),
        f"Distance of a feature's values in the window from the reference, in the method's unit, "
        f"lower is better; {DRIFT}.",
    ),
    Family(
        "model_feature_drift_p_value",
        (*S, "feature", "method"),
        f"Benjamini-Hochberg p-value of a feature's drift score across features, 0 to 1, lower means drift; {DRIFT}.",
    ),
    Family(
        "model_feature_drift_threshold",
        (*S, "feature", "method", "severity"),
        f"Drift score above which a feature counts as drifted, in the method's unit; {DRIFT}.",
    ),
    Family(
        "model_feature_drift_detected",
        (*S, "feature"),
        f"1 if any method's score is above its warning threshold, else 0; {DRIFT}.",
    ),
    Family(
        "model_feature_drift_impact",
        (*W, "feature"),
        f"Drift times importance of a feature: log2(1 + largest score over its threshold) x importance, "
        f"lower is better; {DRIFT}.",
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
        f"lower is better; {DRIFT}.",
    ),
    Family(
        "model_prediction_drift_p_value",
        (*W, "output", "method"),
        f"Benjamini-Hochberg p-value of an output's drift score across outputs, 0 to 1, lower means drift; {DRIFT}.",
    ),
    Family(
        "model_prediction_drift_threshold",
        (*W, "output", "method", "severity"),
        f"Drift score above which an output counts as drifted, in the method's unit; {DRIFT}.",
    ),
    Family(
        "model_prediction_drift_detected",
        (*W, "output"),
        f"1 if any method's score is above its warning threshold, else 0; {DRIFT}.",
    ),
    Family(
        "model_label_drift_score",
        (*W, "method"),
        f"Distance of the known labels in the window from the reference's, in the method's unit, "
        f"lower is better; {DRIFT}.",
    ),
    Family(
        "model_label_drift_p_value",
        (*W, "method"),
        f"P-value of the label's drift score, 0 to 1, lower means drift; {DRIFT}.",
    ),
    Family(
        "model_label_drift_threshold",
        (*W, "method", "severity"),
        f"Drift score above which the label counts as drifted, in the method's unit; {DRIFT}.",
    ),
    Family(
        "model_label_drift_detected",
        W,
        f"1 if any method's score is above its warning threshold, else 0; {DRIFT}.",
    ),
    Family(
        "model_drifted_features_ratio",
        S,
        f"Drifted features among those judged in the window, 0 to 1, lower is better; {DRIFT}.",
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
        f"Features that differ from an earlier window among those judged, 0 to 1, lower is better; {DRIFT}.",
    ),
    Family(
        "model_segment_drift_score",
        S,
        f"Largest drift score of the features of a segment or of the whole over its threshold, 1 is at it; {DRIFT}.",
    ),
    Family(
        "model_segment_state",
        (*S, "state"),
        f"What became of a segment: one of ok, insufficient, appeared, vanished is 1, the others are 0; {DRIFT}.",
    ),
    Family(
        "model_segment_worst_info",
        (*S, "by"),
        f"The segment that is worst, by drift or by performance; always 1; {DRIFT} or performance.",
    ),
    Family(
        "model_multivariate_drift_score",
        (*W, "method"),
        f"Distance of the window's whole rows from the reference's, in the method's unit, lower is better; "
        f"{MULTIVARIATE}.",
    ),
    Family(
        "model_multivariate_drift_p_value",
        (*W, "method"),
        f"P-value of the score of whole rows, 0 to 1, lower means drift; {MULTIVARIATE}.",
    ),
    Family(
        "model_multivariate_drift_threshold",
        (*W, "method", "severity"),
        f"Score of whole rows above which they count as drifted, in the method's unit; {MULTIVARIATE}.",
    ),
    Family(
        "model_multivariate_drift_detected",
        (*W, "method"),
        f"1 if the score of whole rows is above its lowest threshold, else 0; {MULTIVARIATE}.",
    ),
    Family(
        "model_multivariate_drift_contribution_ratio",
        (*W, "method", "feature"),
        f"What a feature adds to the score of whole rows, as a share of all features, 0 to 1; {MULTIVARIATE}.",
    ),
    Family(
        "model_sequential_drift_score",
        (*M, "signal", "method"),
        f"Change of a daily signal since the reference, in the detector's unit, lower is better; {HISTORY}.",
    ),
    Family(
        "model_sequential_drift_threshold",
        (*M, "signal", "method"),
        f"Change of a daily signal above which the detector alarms, in its unit; {HISTORY}.",
    ),
    Family(
        "model_sequential_drift_detected",
        (*M, "signal", "method"),
        f"1 if the detector holds that a daily signal has changed, else 0; {HISTORY}.",
    ),
    Family(
        "model_sequential_drift_start_timestamp_seconds",
        (*M, "signal", "method"),
        f"Start of the day on which the change that lasts was first seen, in Unix seconds; {HISTORY}.",
    ),
    Family(
        "model_feature_drift_performance_correlation",
        (*M, "feature"),
        f"Rank correlation of a feature's daily drift with the loss of performance, -1 to 1, positive means worse on "
        f"drifted days; {HISTORY}.",
    ),
    Family(
        "model_feature_drift_performance_correlation_p_value",
        (*M, "feature"),
        f"P-value of the correlation of a feature's drift with the loss of performance, 0 to 1; {HISTORY}.",
    ),
    Family("model_monitored_features", M, "Features of the reference that are monitored."),
)
