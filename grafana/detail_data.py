"""Amount and quality of one model's data: panels that model detail and model quality share."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import QUIET_AT_ONE, TIMES, Query, lines, link, number
from grafana.tables import Column, rows


def labels_known(width: int) -> Any:
    """Show which share of the window's predictions has a label."""
    return number(
        "Labels known",
        "Share of the window's predictions whose label is known. Performance rests on these rows only.",
        "percentunit",
        Query(q.top("model, model_version", q.pick("model_labels_coverage_ratio", "window"))),
        size=(width, 3),
        empty="no rows",
    )


def newest_row(width: int) -> Any:
    """Show how old the newest prediction is."""
    return number(
        "Newest row",
        "Age of the newest prediction. Older than model_data_delay_threshold_seconds: the state says no fresh rows.",
        "s",
        Query(q.newest_row_age("model, model_version")),
        size=(width, 3),
        empty="no rows",
    )


def amount() -> Any:
    """Draw the rows, and those of them with a label."""
    count = "model_window_rows"
    fewest = q.low("model", q.pick("model_window_min_rows", "model", dataset="=~current|labelled"))
    return lines(
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
    )


def arrival() -> Any:
    """Draw the share of rows with a label."""
    coverage = q.top("window", q.pick("model_labels_coverage_ratio", "window"))
    return lines(
        "Do the labels arrive?",
        "Share of the window's predictions whose label is known. A fall: the label source is late "
        "(ModelLabelsDelayed).",
        "percentunit",
        [Query(coverage, "labels known", "current")],
        soft=(0, 1),
        size=(8, 7),
        empty="No rows in this window",
    )


def age() -> Any:
    """The newest row's age beside the limit."""
    limit = q.low("model", q.pick("model_data_delay_threshold_seconds", "model"))
    return lines(
        "How old is the newest row?",
        "Age of the newest prediction; dashed: model_data_delay_threshold_seconds, above which the log counts as stale "
        "(ModelDataStale). Saw teeth are usual where the log comes in batches.",
        "s",
        [Query(q.newest_row_age("model"), "newest row", "current"), Query(limit, "oldest allowed", "warning")],
        soft=(0, 1),
        size=(8, 7),
        empty="No row has been read yet",
    )


def rejected(width: int) -> Any:
    """Draw the rows that could not be used, by reason."""
    count = q.pick("model_rows_rejected_total", "version")
    return lines(
        "How many rows are rejected?",
        "Rows per minute that were read and not used, by reason. A rise: look at the log's writer, or at `lateness`.",
        "suffix: rows/min",
        [Query(f"60 * max by (reason) (rate({count}[$__rate_interval]))", "{{reason}}")],
        soft=(0, 1),
        size=(width, 7),
        empty="No row has been rejected",
    )


def offenders(size: tuple[int, int]) -> Any:
    """List the features with the worst data quality."""
    ratio, bound = q.quality("ratio"), q.quality("threshold_ratio")
    worst = f"topk(10, {q.quality_of_bound()})"
    chosen = {"model": "${model}", "version": "${version}", "feature": "${__value.text}"}
    columns = [
        Column("feature", "Feature", links=(link("Open the feature", "model-feature", **chosen),)),
        Column("check", "Check", width=100),
        Column("A", "Of bound", unit=TIMES, width=90, decimals=2, steps=QUIET_AT_ONE),
        Column("B", "Rows", unit="percentunit", width=85, decimals=2),
        Column("C", "Bound", unit="percentunit", width=85, decimals=2),
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
        size=size,
        empty="Not judged: no rows in the window, or no bound is set",
    )


def panels() -> list[Any]:
    """Return model detail's row on data."""
    return [amount(), age(), rejected(8), offenders((24, 7))]
