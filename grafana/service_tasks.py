"""Panels of the exporter's dashboard: do the tasks run, and on time?"""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.health import task_table
from grafana.panels import GREEN, PLUM, PURPLE, TIMES, Query, Words, lines, timeline

# A past that was loaded has results, far apart, and no exporter: nothing of it was late.
_SCRAPED = f"and on () max({q.pick('process_start_time_seconds', 'exporter')})"
_TASK: Words = {0: ("well", GREEN), 1: ("late", PLUM), 2: ("failed", PURPLE)}
_THIRD = (8, 7)
_NO_RUN = "No task has run in this time range"
NOT_SCRAPED = "Not scraped, or not in this time range"


def tasks() -> list[Any]:
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
                Query(q.of_exporter("model_exporter_runs_waiting"), "{{instance}} waiting"),
                Query(q.of_exporter("model_exporter_runs_overdue"), "{{instance}} overdue"),
                Query(f"max({q.pick('model_exporter_run_concurrency', 'instance')})", "at a time", "reference"),
            ],
            decimals=0,
            soft=(0, 1),
            size=_THIRD,
            empty=NOT_SCRAPED,
        ),
        lines(
            "How late is the run that waits longest?",
            "Seconds since it was due (model_exporter_run_lag_seconds); 0 where none waits. As long as it stays below "
            "the schedule no run is left out.",
            "s",
            [Query(q.of_exporter("model_exporter_run_lag_seconds"), "{{instance}}")],
            soft=(0, 1),
            size=_THIRD,
            empty=NOT_SCRAPED,
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
