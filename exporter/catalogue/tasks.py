"""Tasks, sources and the exporter itself."""

from __future__ import annotations

from exporter.catalogue.family import Family

TASK = ("model", "task")
SOURCE = ("model", "source")
FAMILIES: tuple[Family, ...] = (
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
        "Runs of a task left out: the one before ran (overlap) or waited (waiting), or it came too late (misfire).",
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
    Family("model_exporter_run_concurrency", (), "Models that run at a time at most."),
    Family("model_exporter_runs_waiting", (), "Models that are due and wait for another one's run to end."),
    Family(
        "model_exporter_runs_overdue", (), "Runs that take more than twice their timeout; others run in their place."
    ),
    Family("model_exporter_run_lag_seconds", (), "Seconds that the run that waits longest is late; 0 if none waits."),
    Family(
        "model_exporter_leader",
        ("shard",),
        "1 if this exporter runs the tasks of its shard, 0 if it waits for another one.",
    ),
)
