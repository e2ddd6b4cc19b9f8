"""Model exporter: the exporter itself, its tasks, its sources, and what it needs."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.board import Row, assemble, sources, variable
from grafana.health import exporter_strip, source_table
from grafana.panels import AMBER, BLUE, GREEN, GREY, NONE, RED, Query, Words, lines, steps, timeline
from grafana.service_tasks import NOT_SCRAPED, tasks
from grafana.states import alert_table
from grafana.tables import Column, rows

_ABOUT = "=~ModelExporter.*|ModelTask.*|ModelSource.*"
_EXPORTER: Words = {
    0: ("runs the tasks", GREEN),
    1: ("waits for the leader", BLUE),
    2: ("configuration rejected", AMBER),
    3: ("down", RED),
}
_SOURCE: Words = {0: ("unreadable", RED), 1: ("readable", GREEN)}
_UP: Words = {0: ("down", RED), 1: ("up", NONE)}
_LOADED: Words = {0: ("rejected", AMBER), 1: ("loaded", NONE)}
_ROLE: Words = {0: ("waits", GREY), 1: ("leader", NONE)}
_HALF, _THIRD = (12, 7), (8, 7)


def _state() -> str:
    """The number of what each exporter is in: the worst."""
    down = f"3 * ({q.of_exporter('up', 'min')} == bool 0) > 0"
    rejected = f"2 * ({q.of_exporter('model_exporter_config_last_reload_successful', 'min')} == bool 0) > 0"
    return f"{down} or {rejected} or {q.of_exporter('model_exporter_leader')} == bool 0"


def _exporters() -> list[Any]:
    """Each exporter in one line, and over time."""
    descriptors = f"{q.of_exporter('process_open_fds')} / {q.of_exporter('process_max_fds')}"
    build = q.top("instance, version, revision, python_version", q.pick("model_exporter_build_info", "instance"))
    rate = q.pick("process_cpu_seconds_total", "instance") + "[$__rate_interval]"
    columns = [
        Column("instance", "Instance"),
        Column("A", "Scrape", width=75, mapping=_UP),
        Column("B", "Role", width=75, mapping=_ROLE),
        Column("C", "Configuration", width=110, mapping=_LOADED),
        Column("D", "Loaded", unit="dateTimeFromNow", width=110),
        Column("version", "Version", width=80),
        Column("revision", "Revision", width=90),
        Column("python_version", "Python", width=80),
        Column("E", "Started", unit="dateTimeFromNow", width=110),
        Column("F", "Scrape took", unit="s", width=95, decimals=2),
        Column("G", "CPU", unit="percentunit", width=70, decimals=0),
        Column("H", "Memory", unit="bytes", width=85, decimals=0),
        Column("I", "Files", unit="percentunit", width=65, decimals=0, steps=steps((None, NONE), (0.8, RED))),
    ]
    return [
        rows(
            "Which exporters are there?",
            "One line an exporter. Role: of several on one store the leader runs the tasks, the others wait. "
            "Configuration: rejected means that the one before still runs. CPU: of one core. Files: open files and "
            "connections of those allowed.",
            columns,
            [
                Query(q.of_exporter("up", "min")),
                Query(q.of_exporter("model_exporter_leader")),
                Query(q.of_exporter("model_exporter_config_last_reload_successful", "min")),
                Query(f"1000 * {q.of_exporter('model_exporter_config_last_reload_success_timestamp_seconds')}"),
                Query(f"1000 * {q.of_exporter('process_start_time_seconds')}"),
                Query(q.of_exporter("scrape_duration_seconds")),
                Query(f"max by (instance) (rate({rate}))"),
                Query(q.of_exporter("process_resident_memory_bytes")),
                Query(descriptors),
                Query(build),
            ],
            sort=["Scrape", "Instance"],
            descending=False,
            size=(24, 5),
            empty="No exporter: Prometheus has no target for these variables",
        ),
        timeline(
            "When was an exporter down?",
            "Each exporter: down where Prometheus could not scrape it (ModelExporterDown), configuration rejected "
            "where a reload failed and the one before still runs (ModelExporterConfigReloadFailed), waiting where "
            "another one runs the tasks.",
            _EXPORTER,
            [Query(_state(), "{{instance}}")],
            size=(12, 6),
            empty=NOT_SCRAPED,
        ),
        alert_table("Which alerts about the monitoring are open?", (12, 6), True, _ABOUT, ("datasource", "job")),
    ]


def _sources() -> list[Any]:
    """Whether the sources can be read, how much comes and how long it takes."""
    by, legend = "model, source", "{{model}} {{source}}"

    def own(name: str) -> str:
        return q.pick(name, "model", many=True)

    return [
        source_table(True, (12, 7)),
        timeline(
            "When was a source unreadable?",
            "Each source: whether everything in it could be read at the last try (ModelSourceDown). One bad file is "
            "enough; the log names it.",
            _SOURCE,
            [Query(q.low(by, own("model_source_up")), legend)],
            size=(12, 7),
            empty="No source has been read in this time range",
        ),
        lines(
            "How many rows come?",
            "Rows a second read from each source. Nothing for long: the log has ended, or its files have another name.",
            "suffix: rows/s",
            [Query(f"max by ({by}) (rate({own('model_source_rows_total')}[$__rate_interval]))", legend)],
            soft=(0, 0.1),
            size=_HALF,
            empty="No source has been read in this time range",
        ),
        lines(
            "How long does reading take?",
            "Seconds that the last read of each source took. A rise with the same rows: a slow disk, network or "
            "database.",
            "s",
            [Query(q.top(by, own("model_source_read_seconds")), legend)],
            soft=(0, 0.01),
            size=_HALF,
            empty="No source has been read in this time range",
        ),
    ]


def _budget() -> list[Any]:
    """Series and bytes, and what they may be."""
    dropped = q.pick("model_exporter_series_dropped_total", "instance")
    return [
        lines(
            "How many series, of how many?",
            "Series of models on the page; dashed: series_limit, at which series are dropped. Raise it if Prometheus "
            "has room, else monitor fewer features or segments.",
            "short",
            [
                Query(q.of_exporter("model_exporter_snapshot_series"), "{{instance}}"),
                Query(f"min({q.pick('model_exporter_series_limit', 'instance')})", "limit", "critical"),
            ],
            soft=(0, 1),
            size=_THIRD,
            empty=NOT_SCRAPED,
        ),
        lines(
            "Which budget drops series?",
            "Series a minute that were left out. max_features: the least drifted features are not shown, as "
            "configured. series_limit: the page is full (ModelExporterSeriesDropped).",
            "suffix: /min",
            [Query(f"60 * sum by (reason) (rate({dropped}[$__rate_interval]))", "{{reason}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=NOT_SCRAPED,
        ),
        lines(
            "How large is the store?",
            "Size of the store on disk. It levels off once the oldest profiles pass store.retention; growth for "
            "longer: shorten it, or count in longer buckets.",
            "bytes",
            [Query(q.of_exporter("model_exporter_store_bytes"), "{{instance}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=NOT_SCRAPED,
        ),
    ]


def _process() -> list[Any]:
    """What the process takes of the machine."""
    rate = q.pick("process_cpu_seconds_total", "instance") + "[$__rate_interval]"
    size = (6, 7)
    return [
        lines(
            "How long does a scrape take?",
            "As Prometheus sees it. Results are kept ready, so it is the time to send the page; it has to stay far "
            "below scrape_timeout.",
            "s",
            [Query(q.of_exporter("scrape_duration_seconds"), "{{instance}}")],
            soft=(0, 0.1),
            size=size,
            empty=NOT_SCRAPED,
        ),
        lines(
            "How much processor time?",
            "Cores in use on average. Peaks are the tasks; a peak that never ends: see which run takes long above.",
            "none",
            [Query(f"max by (instance) (rate({rate}))", "{{instance}}")],
            decimals=2,
            soft=(0, 0.1),
            size=size,
            empty=NOT_SCRAPED,
        ),
        lines(
            "How much memory?",
            "Resident memory of the process. It follows the largest baseline and window, and should not grow for days.",
            "bytes",
            [Query(q.of_exporter("process_resident_memory_bytes"), "{{instance}}")],
            soft=(0, 1),
            size=size,
            empty=NOT_SCRAPED,
        ),
        lines(
            "How many open files?",
            "Open files and connections; dashed: how many the system allows.",
            "short",
            [
                Query(q.of_exporter("process_open_fds"), "{{instance}}"),
                Query(f"min({q.pick('process_max_fds', 'instance')})", "limit", "critical"),
            ],
            soft=(0, 1),
            size=size,
            empty=NOT_SCRAPED,
        ),
    ]


def build() -> dict[str, Any]:
    """Build the dashboard `model-exporter`."""
    parts = [
        Row("Is the monitoring well?", [*exporter_strip("instance"), *_exporters()]),
        Row("Do the tasks run on time?", tasks()),
        Row("Are the sources read?", _sources()),
        Row("Is there room for all series?", _budget()),
        Row("What does the process need?", _process()),
    ]
    choices = [
        *sources("model_exporter_build_info"),
        variable("instance", "instance", 'label_values(up{job=~"$job"}, instance)', many=True),
        variable("model", "Model", 'label_values(model_task_interval_seconds{job=~"$job"}, model)', many=True),
    ]
    return assemble(
        "model-exporter",
        "Model exporter",
        "The exporter itself: is it up, do its tasks run on time, are its sources read, does everything fit.",
        choices,
        parts,
    )
