"""Models, windows, rows."""

from __future__ import annotations

from exporter.catalogue.family import INGEST, Family, M, S, W

FAMILIES: tuple[Family, ...] = (
    Family("model_info", (*M, "task", "framework"), "A monitored model and version; always 1."),
    Family("model_owner_info", ("model", "team"), "The team that is told of a model's alerts; always 1."),
    Family(
        "model_window_rows",
        (*S, "dataset"),
        f"Rows used: of the reference, of the current window, and those with a label that performance is judged on; "
        f"{INGEST}.",
    ),
    Family("model_window_min_rows", ("model", "dataset"), "Rows below which a window is not judged."),
    Family(
        "model_window_start_timestamp_seconds",
        W,
        f"Start of the event time that the window covers, in Unix seconds (included); {INGEST}.",
    ),
    Family(
        "model_window_end_timestamp_seconds",
        W,
        f"End of the event time that the window covers, in Unix seconds (not included); {INGEST}.",
    ),
    Family(
        "model_window_state",
        (*W, "task", "state"),
        "State of a task's result on a window: one of ok, insufficient, immature, failed, stale is 1, others are 0.",
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
        f"Event time of the newest prediction, at most when it was read, in Unix seconds; {INGEST}.",
    ),
    Family(
        "model_data_delay_threshold_seconds",
        ("model",),
        "Age of the newest prediction, in seconds, above which the log counts as stale.",
    ),
)
