"""Is the exporter itself well: panels about it, its tasks and its sources."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import table

from grafana import queries as q
from grafana.panels import AMBER, GREEN, GREY, NONE, RED, TIMES, Query, Words, number, steps
from grafana.tables import Column, rows

_UP: Words = {0: ("down", RED), 1: ("up", GREEN)}
_LOADED: Words = {0: ("rejected", RED), 1: ("loaded", GREEN)}
_ENDED: Words = {0: ("failed", RED), 1: ("well", NONE)}
_READ: Words = {0: ("unreadable", RED), 1: ("readable", NONE)}
_LATE = steps((None, NONE), (2.5, RED))


def exporter_strip(level: str = "exporter") -> list[Any]:
    """One row of numbers about the exporters; `level`: `exporter`, or `instance` where one can be chosen."""
    size = (4, 3)

    def own(name: str) -> str:
        return q.pick(name, level)

    dropped = f"sum(increase({own('model_exporter_series_dropped_total')}[$__range]))"
    series = f"{own('model_exporter_snapshot_series')} / {own('model_exporter_series_limit')}"
    return [
        number(
            "Exporter",
            "Whether Prometheus can scrape every exporter of the chosen jobs (`up`). Down: see its log "
            "and ModelExporterDown.",
            "none",
            Query(f"min({own('up')})"),
            mapping=_UP,
            size=size,
            empty="not scraped",
        ),
        number(
            "Configuration",
            "Whether the last reload was accepted. Rejected: the one before still runs; `model-exporter "
            "check` names the mistake.",
            "none",
            Query(f"min({own('model_exporter_config_last_reload_successful')})"),
            mapping=_LOADED,
            size=size,
            empty="not scraped",
        ),
        number(
            "Newest results",
            "Age of the newest results on the page. It should stay below the longest task interval.",
            "s",
            Query(f"time() - max({own('model_exporter_snapshot_timestamp_seconds')})"),
            size=size,
            empty="no results yet",
        ),
        number(
            "Series used",
            "Series of models on the page, divided by the limit. At 100 % series are dropped: raise "
            "series_limit or shard.",
            "percentunit",
            Query(f"max({series})"),
            decimals=1,
            thresholds=steps((None, GREY), (0, GREEN), (0.9, AMBER), (1, RED)),
            size=size,
            empty="not scraped",
        ),
        number(
            "Series dropped",
            "Series that a budget left out in this time range. More than 0: raise max_features or series_limit.",
            "none",
            Query(dropped),
            thresholds=steps((None, GREY), (0, GREEN), (0.5, AMBER)),
            size=size,
            empty="not scraped",
        ),
        number(
            "Store",
            "Size of the store on disk. It levels off once the oldest profiles pass store.retention.",
            "bytes",
            Query(f"max({own('model_exporter_store_bytes')})"),
            decimals=1,
            size=size,
            empty="not scraped",
        ),
    ]


def task_table(many: bool, size: tuple[int, int]) -> table.Panel:
    """List the tasks, the latest first."""
    by = "model, task"

    def own(name: str) -> str:
        return q.top(by, q.pick(name, "model", many))

    success = own("model_task_last_success_timestamp_seconds")
    interval = own("model_task_interval_seconds")
    failures = q.pick("model_task_failures_total", "model", many)
    skipped = q.pick("model_task_skipped_total", "model", many)
    columns = [
        Column("model", "Model"),
        Column("task", "Task", width=100),
        Column("A", "Late", unit=TIMES, width=60, decimals=1, steps=_LATE),
        Column("B", "Last success", unit="s", width=95, decimals=0),
        Column("C", "Interval", unit="s", width=70, decimals=0),
        Column("D", "Last run", width=70, mapping=_ENDED),
        Column("E", "Took", unit="s", width=70, decimals=1),
        Column("F", "Failures", unit="none", width=70, decimals=0, steps=steps((None, NONE), (0.5, RED))),
        Column("G", "Skipped", unit="none", width=70, decimals=0, steps=steps((None, NONE), (0.5, AMBER))),
    ]
    return rows(
        "Do the tasks run on time?",
        "Late: time since the last success (or since the exporter started), divided by the interval; "
        "from 2.5× on ModelTaskStale waits to fire. Failures, and runs that were skipped: in this time range. A task "
        "that fails says why in the exporter's log and in model_task_failures_total{reason}.",
        columns if many else columns[1:],
        [
            Query(q.task_lateness(many)),
            Query(f"time() - ({success} > 0)"),
            Query(interval),
            Query(own("model_task_last_run_success")),
            Query(own("model_task_last_duration_seconds")),
            Query(f"sum by ({by}) (increase({failures}[$__range]))"),
            Query(f"sum by ({by}) (increase({skipped}[$__range]))"),
        ],
        sort=["Late"],
        size=size,
        empty="No task has run yet",
    )


def source_table(many: bool, size: tuple[int, int]) -> table.Panel:
    """List the sources, unreadable ones first."""
    by = "model, source"

    def own(name: str) -> str:
        return q.pick(name, "model", many)

    columns = [
        Column("model", "Model"),
        Column("source", "Source", width=100),
        Column("A", "State", width=95, mapping=_READ),
        Column("B", "Read in", unit="s", width=85, decimals=1),
        Column("C", "Rows", unit="locale", width=75, decimals=0),
    ]
    return rows(
        "Can the sources be read?",
        "The last try of each source, how long it took, and the rows read in this time range. "
        "Unreadable: check the path or the database and the exporter's log; nothing new is counted until "
        "then.",
        columns if many else columns[1:],
        [
            Query(f"min by ({by}) ({own('model_source_up')})"),
            Query(q.top(by, own("model_source_read_seconds"))),
            Query(f"max by ({by}) (increase({own('model_source_rows_total')}[$__range]))"),
        ],
        sort=["State"],
        descending=False,
        size=size,
        empty="No source has been read yet",
    )
