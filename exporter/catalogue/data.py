"""Values: their quality and distribution."""

from __future__ import annotations

from exporter.catalogue.family import DRIFT, QUALITY, Family, S, W


def _quality(what: str, meaning: str) -> tuple[Family, Family]:
    return (
        Family(
            f"model_feature_{what}_ratio",
            (*S, "feature"),
            f"Share of the window's rows {meaning}, 0 to 1, lower is better; {QUALITY}.",
        ),
        Family(
            f"model_feature_{what}_threshold_ratio",
            (*S, "feature"),
            f"Largest share of rows {meaning} that is accepted, 0 to 1.",
        ),
    )


FAMILIES: tuple[Family, ...] = (
    *_quality("missing", "without a value in the feature"),
    *_quality("unseen", "with a category that the reference does not have"),
    *_quality("out_of_range", "with a number outside of the reference's minimum and maximum"),
    *_quality("invalid", "with a value that is not of the feature's type"),
    Family(
        "model_quality_checks_failed",
        W,
        "Checks of features (missing, unseen, out of range, invalid) whose share is above its bound, 0 is well; "
        f"{QUALITY}.",
    ),
    Family(
        "model_feature_bin_ratio",
        (*W, "feature", "bin", "dataset"),
        f"Share of a feature's rows in a bin that the reference fixed, 0 to 1; {DRIFT}.",
    ),
    Family("model_feature_mean", (*W, "feature", "dataset"), f"Mean of a numeric feature, in its unit; {DRIFT}."),
    Family(
        "model_feature_quantile",
        (*W, "feature", "dataset", "q"),
        f"Quantile q of a numeric feature, in its unit; {DRIFT}.",
    ),
    Family(
        "model_prediction_class_ratio",
        (*S, "class", "dataset"),
        f"Share of the predictions that name a class, 0 to 1; {DRIFT}.",
    ),
    Family(
        "model_prediction_mean",
        (*S, "dataset"),
        f"Mean predicted probability of the positive class (binary) or mean predicted value (regression); {DRIFT}.",
    ),
)
