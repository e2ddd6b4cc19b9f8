"""Retraining."""

from __future__ import annotations

from exporter.catalogue.family import Family

FAMILIES: tuple[Family, ...] = (
    Family(
        "model_retrain_decisions_total",
        ("model", "outcome"),
        "Decisions on retraining and what became of them, by outcome, since the store was made; "
        "the same at each exporter of one store.",
        "counter",
    ),
    Family(
        "model_retrain_last_trigger_timestamp_seconds",
        ("model",),
        "When a retraining run was last let go, by itself or by an approval, in Unix seconds.",
    ),
    Family(
        "model_retrain_in_progress",
        ("model",),
        "1 while a retraining run is being called or has not told its outcome, else 0.",
    ),
    Family(
        "model_retrain_awaiting_approval",
        ("model",),
        "1 while a retraining run waits for somebody to approve or reject it, else 0.",
    ),
)
