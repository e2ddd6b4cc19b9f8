"""Model detail: what only some models have configured, drift of whole rows and detectors over days."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import AMBER, GREEN, GREY, NONE, QUIET_AT_ONE, TIMES, Query, Words, lines, link, timeline
from grafana.tables import Column, rows

_CALM = 8  # signals that are shown though they did not change
_NO_ROWS = "No whole-row drift: not configured (drift.multivariate), or too few rows"
_NO_DAYS = "No detector: not configured (drift.sequential), or too few days in the reference"
_VERDICT: Words = {0: ("no drift", NONE), 1: ("drift", AMBER), 2: ("blind", GREY)}
_CHANGE: Words = {0: ("no change", GREEN), 1: ("changed", AMBER)}


def whole_rows() -> list[Any]:
    """Each method's score and thresholds, and which features are behind it."""
    name, by = "model_multivariate_drift", "method"
    score = q.pick(f"{name}_score", "window", method="$rows_method")
    drawn = [Query(q.top(by, score), "score", "current")]
    for severity in ("warning", "critical"):
        limit = q.pick(f"{name}_threshold", "window", method="$rows_method", severity=severity)
        drawn.append(Query(q.low(by, limit), f"{severity} threshold", severity))
    every = q.top(by, q.pick(f"{name}_score", "window"))
    part = q.top("method, feature", q.pick(f"{name}_contribution_ratio", "window"))
    chosen = {"model": "${model}", "version": "${version}", "feature": "${__value.text}"}
    repeated = lines(
        "How far are whole rows by $rows_method?",
        "The method's score, in its own unit, beside the thresholds that alert. domain_classifier: area under the ROC "
        "curve of a classifier that tells the window from the reference, 0.5 to 1. pca_reconstruction: change of the "
        "distance from the reference's main axes, as a logarithm. mean_shift: of an embedding, in standard deviations. "
        "High while no feature drifts: what changed is how features go together.",
        "none",
        drawn,
        decimals=3,
        size=(24, 7),
        empty=_NO_ROWS,
    )
    return [
        repeated.repeat("rows_method").repeat_direction("h").max_per_row(3),
        rows(
            "What do the methods for whole rows say?",
            "Each method's score, the lowest threshold in force, and the verdict. A method without a threshold is "
            "blind: it tells days of the reference apart as well. p-value: for independent rows, which days are not.",
            [
                Column("method", "Method"),
                Column("A", "Verdict", width=90, mapping=_VERDICT),
                Column("B", "Score", unit="none", width=80, decimals=3),
                Column("C", "Threshold", unit="none", width=90, decimals=3),
                Column("D", "p-value", unit="none", width=80, decimals=3),
            ],
            [
                Query(f"{q.top(by, q.pick(f'{name}_detected', 'window'))} or 2 + 0 * {every}"),
                Query(every),
                Query(q.low(by, q.pick(f"{name}_threshold", "window"))),
                Query(q.low(by, q.pick(f"{name}_p_value", "window"))),
            ],
            sort=["Verdict"],
            size=(12, 8),
            empty=_NO_ROWS,
        ),
        rows(
            "Which features make whole rows differ?",
            "The five features that add most to each method's score, as shares of it. Begin there, even where the "
            "feature alone has not drifted.",
            [
                Column("feature", "Feature", links=(link("Open the feature", "model-feature", **chosen),)),
                Column("method", "Method", width=160),
                Column("A", "Share", unit="percentunit", width=90, decimals=0),
            ],
            [Query(f"topk by (method) (5, {part})")],
            sort=["Share"],
            size=(12, 8),
            empty=_NO_ROWS,
        ),
    ]


def detectors() -> list[Any]:
    """What the detectors over days hold, and since when."""
    name, by = "model_sequential_drift", "signal, method"
    score, limit = (q.top(by, q.pick(f"{name}_{kind}", "version")) for kind in ("score", "threshold"))
    since = q.low(by, q.pick(f"{name}_start_timestamp_seconds", "version"))
    detected = q.pick(f"{name}_detected", "version")
    changed = f"{q.top(by, f'max_over_time({detected}[$__range] @ end())')} == 1"
    calm = f"{q.top(by, detected)} and on ({by}) {q.worst(f'{score} / {limit}', _CALM)} unless on ({by}) {changed}"
    return [
        timeline(
            "When did a daily signal change?",
            "Each signal (the error, the mean score or prediction, the mean of a feature, by day) and detector: "
            "changed from the first alarm until seven days in a row are calm. Judged a day at a time: choose weeks as "
            "time range.",
            _CHANGE,
            [
                Query(f'label_join({shown}, "about", " ", "signal", "method")', "{{about}}")
                for shown in (f"{q.top(by, detected)} and on ({by}) {changed}", calm)
            ],
            size=(12, 9),
            empty=_NO_DAYS,
        ),
        rows(
            "Which signals have changed, and since when?",
            "Score over threshold of each detector on the newest judged day, and the day of the first alarm. ewma "
            "stays on while the signal is elsewhere; the others alarm when it moves. Error: performance itself is "
            "worse.",
            [
                Column("signal", "Signal"),
                Column("method", "Detector", width=115),
                Column("A", "Ratio", unit=TIMES, width=75, decimals=2, steps=QUIET_AT_ONE),
                Column("B", "Score", unit="none", width=75, decimals=2),
                Column("C", "Threshold", unit="none", width=85, decimals=2),
                Column("D", "Since", unit="dateTimeFromNow", width=110),
            ],
            [Query(f"{score} / {limit}"), Query(score), Query(limit), Query(f"1000 * {since}")],
            sort=["Ratio"],
            size=(12, 9),
            empty=_NO_DAYS,
        ),
    ]
