"""Model detail: amount and quality of the data."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import QUIET_AT_ONE, TIMES, Query, lines, link
from grafana.tables import Column, rows


def _amount() -> list[Any]:
    """Rows, labels, and rows that could not be used."""
    count = "model_window_rows"
    fewest = q.low("model", q.pick("model_window_min_rows", "model", dataset="=~current|labelled"))
    coverage = q.top("window", q.pick("model_labels_coverage_ratio", "window"))
    rejected = q.pick("model_rows_rejected_total", "version")
    return [
        lines(
            "Are there enough rows?",
            "Rows in the window and those of them with a label, beside the rows below which nothing is "
            "judged. Below the dashed line: wait, take a longer window, or look at the source.",
            "short",
            [
                Query(q.top("dataset", q.pick(count, "slice", dataset="current")), "rows", "current"),
                Query(q.top("dataset", q.pick(count, "slice", dataset="labelled")), "with a label", "second"),
                Query(fewest, "fewest to judge", "warning"),
            ],
            size=(8, 7),
            empty="No rows in this window",
        ),
        lines(
            "Do the labels arrive?",
            "Share of the window's predictions whose label is known. A fall: the label source is late "
            "(ModelLabelsDelayed).",
            "percentunit",
            [Query(coverage, "labels known", "current")],
            soft=(0, 1),
            size=(8, 7),
            empty="No rows in this window",
        ),
        lines(
            "How many rows are rejected?",
            "Rows per minute that were read and not used, by reason. A rise: look at the log's writer, "
            "or at `lateness`.",
            "suffix: rows/min",
            [Query(f"60 * sum by (reason) (rate({rejected}[$__rate_interval]))", "{{reason}}")],
            size=(8, 7),
            empty="No row has been rejected",
        ),
    ]


def _offenders() -> Any:
    """The features with the worst data quality."""
    ratio, bound = q.quality("ratio"), q.quality("threshold_ratio")
    times = f"({ratio}) / on (feature, check) ({bound})"
    worst = f"topk(10, {times})"
    chosen = {"model": "${model}", "version": "${version}", "feature": "${__value.text}"}
    columns = [
        Column("feature", "Feature", links=(link("Open the feature", "model-feature", **chosen),)),
        Column("check", "Check"),
        Column("A", "Of bound", unit=TIMES, width=110, decimals=2, steps=QUIET_AT_ONE),
        Column("B", "Rows", unit="percentunit", width=110, decimals=2),
        Column("C", "Bound", unit="percentunit", width=110, decimals=2),
    ]
    return rows(
        "Which features have bad values?",
        "Share of the window's rows that miss a value, have a category or a number that the reference "
        "does not know, or are of the wrong type, divided by the bound in force; from 1× on it alerts. "
        "Look at what fills the feature.",
        columns,
        [
            Query(worst),
            Query(f"({ratio}) and on (feature, check) {worst}"),
            Query(f"({bound}) and on (feature, check) {worst}"),
        ],
        sort=["Of bound"],
        size=(24, 7),
        empty="Not judged: no rows in the window, or no bound is set",
    )


def panels() -> list[Any]:
    """The row on data."""
    return [*_amount(), _offenders()]
