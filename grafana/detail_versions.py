"""Model detail: versions beside each other, and retraining."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.detail_performance import METRIC, NO_LABELS
from grafana.panels import AMBER, BLUE, GREEN, GREY, NONE, RED, Query, Words, number, timeline
from grafana.tables import Column, matrix, rows

_COMPARED: Words = {0: ("worse", AMBER), 1: ("undecided", GREY), 2: ("better", GREEN)}
_SERVES: Words = {0: ("no rows", GREY), 1: ("has rows", BLUE)}
_RUNS: Words = {0: ("no", NONE), 1: ("in progress", BLUE), 2: ("waits for approval", AMBER)}
_OUTCOMES: Words = {
    "triggered": ("it was started", NONE),
    "awaiting_approval": ("somebody has to approve it", NONE),
    "dry_run": ("it would have been started", NONE),
    "succeeded": ("the run reported success", NONE),
    "failed": ("the call failed, or the run said so", RED),
    "lost": ("no outcome was reported in time", RED),
    "rejected": ("somebody said no", NONE),
    "expired": ("nobody approved it in time", AMBER),
    "too_few_alerts": ("too few alerts since the last run", NONE),
    "not_cleared": ("the alerts have not been calm since the last run", NONE),
    "in_flight": ("one was under way", NONE),
    "cooldown": ("too soon after the last run", NONE),
    "budget": ("the runs of that time are spent", NONE),
    "too_few_labels": ("too few mature labels", NONE),
}
_ONE_VERSION = "No comparison: one version, or fewer than the days needed that both had"
_NO_RETRAINING = "No retraining: not configured (retrain)"


def versions() -> list[Any]:
    """Whether a new version is better than the one before."""
    scores = q.pick("model_performance_score", "slice", model_version="=~.+", metric=METRIC)
    by, name = "champion, challenger, metric", "model_version_comparison"
    states = " or ".join(
        f"{number} * ({q.pick(f'{name}_state', 'model', state=word)} == 1)" for number, (word, _) in _COMPARED.items()
    )

    def own(end: str) -> str:
        return q.top(by, q.pick(f"{name}_score_difference{end}", "model", metric=METRIC))

    columns = [
        Column("metric", "Metric"),
        Column("challenger", "Challenger", width=100),
        Column("champion", "Champion", width=100),
        Column("A", "It is", width=90, mapping=_COMPARED),
        Column("B", "Difference", unit="none", width=90, decimals=3),
        Column("C", "from", unit="none", width=75, decimals=3),
        Column("D", "to", unit="none", width=75, decimals=3),
    ]
    return [
        timeline(
            "Which version served when?",
            "Versions of the model that have rows in the window. Two at a time: a roll-out, or a test of one against "
            "the other. Choose a version above to see it.",
            _SERVES,
            [Query(q.versions(), "{{model_version}}")],
            size=(24, 4),
            empty="No rows in this window",
        ),
        rows(
            "Is the challenger better than the champion?",
            "Mean daily score of the challenger less that of the champion, on the days that both had, and its 95 % "
            "interval. Undecided: the interval has 0 in it; wait for more days. Fit for a decision, as chance is "
            "counted in.",
            columns,
            [Query(q.top(by, states)), Query(own("")), Query(own("_lower")), Query(own("_upper"))],
            sort=["It is", "Metric"],
            size=(11, 7),
            empty=_ONE_VERSION,
        ),
        matrix(
            "What did each version score last?",
            "The last scores of every version of the model in this time range. They are over different "
            "rows: compare versions that served at the same time, or mind what else changed.",
            "none",
            Query(q.top("model_version, metric", f"last_over_time({scores}[$__range])")),
            ("model_version", "metric"),
            decimals=3,
            size=(13, 7),
            empty=NO_LABELS,
        ),
    ]


def retraining() -> list[Any]:
    """Whether and when the model was retrained, and what was decided."""
    decisions = q.pick("model_retrain_decisions_total", "model")
    taken = f"max by (outcome) (increase({decisions}[$__range]))"
    last = q.top("model", q.pick("model_retrain_last_trigger_timestamp_seconds", "model"))
    waits, runs = (q.pick(f"model_retrain_{name}", "model") for name in ("awaiting_approval", "in_progress"))
    now = q.top("model", f"2 * {waits} > 0 or {runs}")
    return [
        number(
            "In progress",
            "Whether a retraining runs now, or waits for approval. While one runs, no second one is started.",
            "none",
            Query(now),
            mapping=_RUNS,
            size=(4, 4),
            empty="not configured",
        ),
        number(
            "Last triggered",
            "When a retraining was last triggered.",
            "dateTimeFromNow",
            Query(f"1000 * ({last} > 0)"),
            size=(4, 4),
            empty="never",
        ),
        timeline(
            "When was it retrained?",
            "In progress: from the call to the outcome that was reported back, or the time-out. New versions are "
            "marked in the other panels.",
            _RUNS,
            [Query(now, "retraining")],
            size=(16, 4),
            empty=_NO_RETRAINING,
        ),
        rows(
            "What was decided about retraining?",
            "Decisions in this time range, and what became of them, by outcome; what was held back is as configured. "
            "Failed or lost runs: see ModelRetrainFailing, and the receiver's log. The API has the reasons of each.",
            [
                Column("outcome", "Outcome", width=160),
                Column("meaning", "It means", mapping=_OUTCOMES),
                Column("A", "Decisions", unit="none", width=100, decimals=0),
            ],
            [Query(f'label_join(({taken}) > 0, "meaning", "", "outcome")')],
            sort=["Decisions"],
            size=(24, 6),
            empty="No decision in this time range, or retraining is not configured (retrain)",
        ),
    ]
