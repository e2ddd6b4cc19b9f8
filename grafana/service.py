"""Model exporter: the exporter itself, its tasks, its sources, and what it needs."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.board import Row, assemble, sources, variable
from grafana.health import exporter_strip, source_table, task_table
from grafana.panels import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    NONE,
    PLUM,
    PURPLE,
    RED,
    TIMES,
    Query,
    Words,
    lines,
    steps,
    timeline,
)
from grafana.states import alert_table
from grafana.tables import Column, rows

_ABOUT = "=~ModelExporter.*|ModelTask.*|ModelSource.*"
_EXPORTER: Words = {
    0: ("runs the tasks", GREEN),
    1: ("waits for the leader", BLUE),
    2: ("configuration rejected", AMBER),
    3: ("down", RED),
}
# A past that was loaded has results, far apart, and no exporter: nothing of it was late.
_SCRAPED = f"and on () max({q.pick('process_start_time_seconds', 'exporter')})"
_TASK: Words = {0: ("well", GREEN), 1: ("late", PLUM), 2: ("failed", PURPLE)}
_SOURCE: Words = {0: ("unreadable", RED), 1: ("readable", GREEN)}
_UP: Words = {0: ("down", RED), 1: ("up", NONE)}
_LOADED: Words = {0: ("rejected", AMBER), 1: ("loaded", NONE)}
_ROLE: Words = {0: ("waits", GREY), 1: ("leader", NONE)}
_HALF, _THIRD = (12, 7), (8, 7)
_NOT_SCRAPED = "Not scraped, or not in this time range"
_NO_RUN = "No task has run in this time range"


def _own(name: str, kind: str = "max") -> str:
    """Take a series of the chosen exporters, each by itself."""
    return f"{kind} by (instance) ({q.pick(name, 'instance')})"


def _state() -> str:
    """The number of what each exporter is in: the worst."""
    down = f"3 * ({_own('up', 'min')} == bool 0) > 0"
    rejected = f"2 * ({_own('model_exporter_config_last_reload_successful', 'min')} == bool 0) > 0"
    return f"{down} or {rejected} or {_own('model_exporter_leader')} == bool 0"


def _exporters() -> list[Any]:
    """Each exporter in one line, and over time."""
    descriptors = f"{_own('process_open_fds')} / {_own('process_max_fds')}"
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
                Query(_own("up", "min")),
                Query(_own("model_exporter_leader")),
                Query(_own("model_exporter_config_last_reload_successful", "min")),
                Query(f"1000 * {_own('model_exporter_config_last_reload_success_timestamp_seconds')}"),
                Query(f"1000 * {_own('process_start_time_seconds')}"),
                Query(_own("scrape_duration_seconds")),
                Query(f"max by (instance) (rate({rate}))"),
                Query(_own("process_resident_memory_bytes")),
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
            empty=_NOT_SCRAPED,
        ),
        alert_table("Which alerts about the monitoring are open?", (12, 6), True, _ABOUT, ("datasource", "job")),
    ]


def _tasks() -> list[Any]:
    """Whether the tasks run, how long they take, and why they do not."""
    by = "model, task"

    def own(name: str) -> str:
        return q.pick(name, "model", many=True)

    def rate(name: str, labels: str, times: int = 1) -> str:
        taken = f"sum by ({labels}) (rate({own(name)}[$__rate_interval]))"
        return taken if times == 1 else f"{times} * {taken}"

    failed = f"2 * ({q.low('model', own('model_task_last_run_success'))} == bool 0) > 0"
    # One that never succeeded has failed. Of two exporters the one that succeeded last counts.
    since = f"time() - ({own('model_task_last_success_timestamp_seconds')} > 0)"
    intervals = q.low(by, f"({since}) / {own('model_task_interval_seconds')}")
    late = f"({q.top('model', intervals)} > bool 2.5) {_SCRAPED}"
    took = "model_task_duration_seconds"
    return [
        task_table(True, (14, 8)),
        timeline(
            "When did a task fail or run late?",
            "The worst of each model's tasks; the table says which. Failed: the last run did not succeed. Late: no "
            "success for 2.5 intervals. Results of a failed task are taken away, so the models' dashboards show less, "
            "not wrong.",
            _TASK,
            [Query(f"{failed} or {late}", "{{model}}")],
            size=(10, 8),
            empty=_NO_RUN,
        ),
        lines(
            "How long do the runs take?",
            "Mean duration of the runs of each task (model_task_duration_seconds). A rise: more rows, a slower source, "
            "or a machine that is too small.",
            "s",
            [Query(f"{rate(f'{took}_sum', by)} / ({rate(f'{took}_count', by)} > 0)", "{{model}} {{task}}")],
            soft=(0, 0.1),
            size=(6, 7),
            empty=_NO_RUN,
        ),
        lines(
            "Is there time for all of them?",
            "Share of the time in which the tasks of a model run. At the dashed line a run does not end before the "
            "next begins, which is then skipped: set a longer schedule.",
            "percentunit",
            [
                Query(q.top("model", rate(f"{took}_sum", "model, instance")), "{{model}}"),
                Query("vector(1)", "always", "critical"),
            ],
            soft=(0, 1),
            size=(6, 7),
            empty=_NO_RUN,
        ),
        lines(
            "Why did runs fail?",
            "Failures within runs an hour, by reason; the table above names the task. source: it could not be read. "
            "data: what was read makes no sense. store: the database could not be used. "
            "compute: a mistake in the exporter, please report it.",
            "suffix: /h",
            [Query(rate("model_task_failures_total", "reason", 3600), "{{reason}}")],
            soft=(0, 1),
            size=(6, 7),
            empty=_NO_RUN,
        ),
        lines(
            "Why were runs skipped?",
            "Runs an hour that did not start. overlap: the one before still ran. waiting: the one before still waited "
            "for its turn. misfire: it came too late, the machine was busy or asleep.",
            "suffix: /h",
            [Query(rate("model_task_skipped_total", "reason", 3600), "{{reason}}")],
            soft=(0, 1),
            size=(6, 7),
            empty=_NO_RUN,
        ),
        *_queue(),
    ]


def _queue() -> list[Any]:
    """The models that are due while as many run as may."""
    late = q.top("model", q.task_lateness(True))
    return [
        lines(
            "How many runs wait, and how many hang?",
            "Waiting: models that are due while as many run as may at a time (dashed, --run.concurrency); the one that "
            "has waited longest is next. Some at a start are usual; some always, and ModelExporterOverloaded fires: "
            "longer schedules, or another shard. Overdue: runs that take more than twice their timeout, mostly because "
            "a file system or database does not answer; the log names the models.",
            "none",
            [
                Query(_own("model_exporter_runs_waiting"), "{{instance}} waiting"),
                Query(_own("model_exporter_runs_overdue"), "{{instance}} overdue"),
                Query(f"max({q.pick('model_exporter_run_concurrency', 'instance')})", "at a time", "reference"),
            ],
            decimals=0,
            soft=(0, 1),
            size=_THIRD,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "How late is the run that waits longest?",
            "Seconds since it was due (model_exporter_run_lag_seconds); 0 where none waits. As long as it stays below "
            "the schedule no run is left out.",
            "s",
            [Query(_own("model_exporter_run_lag_seconds"), "{{instance}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "Which models are late? (the 10 latest)",
            "Time since the last success of a model's latest task, divided by its interval, where that is above 1.5. "
            "At the dashed line, 2.5, ModelTaskStale waits to fire. Many at once: too much work; one alone: its "
            "source, or its size.",
            TIMES,
            [
                Query(f"topk(10, ({late} > 1.5) {_SCRAPED})", "{{model}}"),
                Query("vector(2.5)", "stale", "critical"),
            ],
            decimals=1,
            soft=(0, 3),
            size=_THIRD,
            empty="No model is late",
        ),
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
                Query(_own("model_exporter_snapshot_series"), "{{instance}}"),
                Query(f"min({q.pick('model_exporter_series_limit', 'instance')})", "limit", "critical"),
            ],
            soft=(0, 1),
            size=_THIRD,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "Which budget drops series?",
            "Series a minute that were left out. max_features: the least drifted features are not shown, as "
            "configured. series_limit: the page is full (ModelExporterSeriesDropped).",
            "suffix: /min",
            [Query(f"60 * sum by (reason) (rate({dropped}[$__rate_interval]))", "{{reason}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "How large is the store?",
            "Size of the store on disk. It levels off once the oldest profiles pass store.retention; growth for "
            "longer: shorten it, or count in longer buckets.",
            "bytes",
            [Query(_own("model_exporter_store_bytes"), "{{instance}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=_NOT_SCRAPED,
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
            [Query(_own("scrape_duration_seconds"), "{{instance}}")],
            soft=(0, 0.1),
            size=size,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "How much processor time?",
            "Cores in use on average. Peaks are the tasks; a peak that never ends: see which run takes long above.",
            "none",
            [Query(f"max by (instance) (rate({rate}))", "{{instance}}")],
            decimals=2,
            soft=(0, 0.1),
            size=size,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "How much memory?",
            "Resident memory of the process. It follows the largest baseline and window, and should not grow for days.",
            "bytes",
            [Query(_own("process_resident_memory_bytes"), "{{instance}}")],
            soft=(0, 1),
            size=size,
            empty=_NOT_SCRAPED,
        ),
        lines(
            "How many open files?",
            "Open files and connections; dashed: how many the system allows.",
            "short",
            [
                Query(_own("process_open_fds"), "{{instance}}"),
                Query(f"min({q.pick('process_max_fds', 'instance')})", "limit", "critical"),
            ],
            soft=(0, 1),
            size=size,
            empty=_NOT_SCRAPED,
        ),
    ]


def build() -> dict[str, Any]:
    """Build the dashboard `model-exporter`."""
    parts = [
        Row("Is the monitoring well?", [*exporter_strip("instance"), *_exporters()]),
        Row("Do the tasks run on time?", _tasks()),
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
