"""Model detail: segments, the worst first."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.detail_performance import METRIC, NO_LABELS
from grafana.panels import AMBER, GREEN, GREY, PINK, QUIET_AT_ONE, TIMES, Query, Words, lines, link
from grafana.tables import Column, matrix, rows

_WORDS = dict(
    zip(q.SEGMENT_STATES, (("too few rows", GREY), ("ok", GREEN), ("new", PINK), ("gone", AMBER)), strict=True)
)
_STATES: Words = dict(enumerate(_WORDS.values()))
_NONE = "No segments: not configured (columns.segments), or no rows in the window"
_EACH = "!=all"


def _share(dataset: str) -> str:
    """Each segment's share of the rows of `dataset`."""
    whole = q.top("model", q.pick("model_window_rows", "slice", dataset=dataset))
    return f"{_pick('model_window_rows', dataset=dataset)} / on () group_left () ({whole} > 0)"


def _pick(name: str, **labels: str) -> str:
    return q.top("segment", q.pick(name, "slice", segment=_EACH, **labels))


def _table() -> Any:
    """One line a segment."""
    headline = f"({q.headline_score()})"
    now = q.top("segment, metric", q.pick("model_performance_score", "slice", segment=_EACH))
    then = q.top("segment, metric", q.pick("model_performance_score_baseline", "version", segment=_EACH))
    chosen = {"model": "${model}", "version": "${version}", "segment": "${__value.text}"}
    columns = [
        Column("segment", "Segment", links=(link("Open its features", "model-feature", **chosen),)),
        Column("A", "State", width=110, mapping=_STATES),
        Column("B", "Drift", unit=TIMES, width=80, decimals=2, steps=QUIET_AT_ONE),
        Column("C", "Features", unit="percentunit", width=85, decimals=0),
        Column("D", "Rows", unit="percentunit", width=80, decimals=1),
        Column("E", "in reference", unit="percentunit", width=100, decimals=1),
        Column("metric", "Metric", width=90),
        Column("F", "Now", unit="none", width=80, decimals=3),
        Column("G", "Baseline", unit="none", width=85, decimals=3),
    ]
    return rows(
        "Which segment is worst?",
        "One line a segment, the worst on top. Drift: the largest score of its features over its threshold; from 1× "
        "on a feature of the segment has drifted. Features: share of its judged features that drifted. Rows: its "
        "share of the window's rows, and of the reference's. Metric: the one closest to its bound on the whole; "
        "Baseline: on the segment's reference rows. New: the reference has none of it. Gone: rows were to be expected "
        "and there are none. One segment alone: look for what only it goes through.",
        columns,
        [
            Query(q.segment_state()),
            Query(_pick("model_segment_drift_score")),
            Query(_pick("model_drifted_features_ratio")),
            Query(_share("current")),
            Query(_share("reference")),
            Query(f"{now} and on (metric) {headline}"),
            Query(f"{then} and on (metric) {headline} and on (segment, metric) {now}"),
        ],
        sort=["State", "Drift"],
        size=(24, 8),
        empty=_NONE,
    )


def panels() -> list[Any]:
    """Return the row on segments."""
    drift = _pick("model_segment_drift_score")
    scores = q.pick("model_performance_score", "slice", segment="=~.+", metric=METRIC)
    return [
        _table(),
        lines(
            "How did the worst five segments get there?",
            "The five segments with the highest score over threshold in this time range. One rises alone: a fault in "
            "that segment. All rise: see the whole.",
            TIMES,
            [
                Query(f"{drift} and on (segment) {q.worst(drift, 5)}", "{{segment}}"),
                Query("vector(1)", "threshold", "warning"),
            ],
            size=(9, 8),
            empty=_NONE,
        ),
        matrix(
            "How good is each segment?",
            "The scores of each segment over the window's labelled rows; `all` is the whole. A segment far below the "
            "whole needs data or a model of its own.",
            "none",
            Query(q.top("segment, metric", scores)),
            ("segment", "metric"),
            decimals=3,
            size=(15, 8),
            empty=NO_LABELS,
        ),
    ]
