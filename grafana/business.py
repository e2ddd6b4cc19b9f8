"""Model business: what one model's decisions are worth, whether that is usual, and what its mistakes cost."""

from __future__ import annotations

from typing import Any

from grafana import detail_data, indicators
from grafana import queries as q
from grafana.board import Row, assemble, variable, variables
from grafana.detail_summary import changes, state_number
from grafana.indicators import EMPTY
from grafana.panels import CARRIED, GREEN, GREY, RED, Query, band, lines, link, number, steps
from grafana.states import alert_table
from grafana.tables import Column, matrix, rows

_ABOUT = "=~ModelBusiness.*"
_MOST = 6
_NO_MATRIX = "No cost: no indicator has a value_matrix, or no labels are known"


def _numbers() -> list[Any]:
    """The indicators' condition in one line of numbers."""
    names, size = indicators.value(), (5, 3)
    judged = f"count({indicators.state()} > {indicators.NO_BOUND})"
    any_red = steps((None, GREY), (0, GREEN), (1, RED))
    return [
        number(
            "Out of bounds",
            "Indicators beyond a bound in force, warning or critical. The table below says which.",
            "none",
            Query(f"count({indicators.beyond()}) or 0 * {judged}"),
            thresholds=any_red,
            size=(4, 3),
            empty="not judged",
        ),
        number(
            "Indicators",
            "Indicators that have a value in the window.",
            "none",
            Query(f"count({names})"),
            size=size,
            empty="none",
        ),
        state_number(size),
        detail_data.labels_known(5),
        detail_data.newest_row(5),
    ]


def _one(end: str = "") -> str:
    return indicators.value(end=end, kpi="$kpi")


def _development() -> list[Any]:
    """One panel for each indicator: the value, its interval, what is usual, and its bounds."""
    bounds = {
        severity: [
            q.pick(f"model_business_kpi_{end}", "model", kpi="$kpi", severity=severity) for end in ("min", "max")
        ]
        for severity in ("warning", "critical")
    }
    drawn = [
        Query(_one(), "value", "current"),
        Query(indicators.estimated(kpi="$kpi"), "expected", "second"),
        *band("95 %", _one("_lower"), _one("_upper")),
        *band("usual", indicators.usual("lower", kpi="$kpi"), indicators.usual("upper", kpi="$kpi")),
    ]
    for severity, both in bounds.items():
        drawn += [
            Query(q.top("kpi", expr), f"{severity} {end}", severity)
            for end, expr in zip(("min", "max"), both, strict=True)
        ]
    panel = lines(
        "How did $kpi develop?",
        "The indicator over the window, in its unit, with its 95 % interval. Grey band: what is usual at this hour of "
        "the week, by the four weeks before (recording rules; from five weeks of history on). Outside of it something "
        "is new, even within bounds. Expected: by the estimated confusion, labels or not. Dashed: "
        "model_business_kpi_min and _max, which alert.",
        "short",
        drawn,
        decimals=2,
        size=(8, 8),
        empty=EMPTY,
    )
    return [panel.repeat("kpi").repeat_direction("h").max_per_row(3)]


def _cells() -> tuple[str, str, str]:
    """Each kind of decision: its rows, what one is worth, and what the best for its class would be worth."""
    by = "kpi, unit, actual, predicted"
    worth = q.top(by, q.pick("model_business_decision_value", "model", kpi="=~$kpi"))
    best = f"max by (kpi, unit, actual) ({worth})"
    count = q.top("actual, predicted", q.pick("model_confusion_rows", "window"))
    many = f"({worth} * 0 + on (actual, predicted) group_left () {count})"
    return many, worth, f"({worth} * 0 + on (kpi, unit, actual) group_left () {best})"


def _costs() -> list[Any]:
    """What mistakes cost, by kind."""
    count, worth, best = _cells()
    brought, lost = f"{count} * ({worth})", f"{count} * ({best} - {worth})"
    columns = [
        Column("kpi", "Indicator"),
        Column("actual", "Actual", width=70),
        Column("predicted", "Predicted", width=85),
        Column("A", "Lost", unit="locale", width=80, decimals=0),
        Column("B", "Brought", unit="locale", width=80, decimals=0),
        Column("C", "Rows", unit="locale", width=70, decimals=0),
        Column("D", "Each", unit="none", width=65, decimals=2),
        Column("unit", "Unit", width=70),
    ]
    total = "sum by (kpi)"
    return [
        rows(
            "Which decisions cost most?",
            "Each kind of decision on the window's labelled rows: how many, what each is worth (the value_matrix of "
            "the configuration), what all of them brought, and what was lost against the best decision for the actual "
            "class. The first line is where a better model, or another cut-off, pays most.",
            columns,
            [Query(lost), Query(brought), Query(count), Query(worth)],
            sort=["Lost"],
            size=(12, 8),
            empty=_NO_MATRIX,
        ),
        lines(
            "What do the mistakes cost over time?",
            "Lost against the best decision for the actual class, in the indicator's unit, of the six costliest kinds "
            "of decision in this time range. It also grows with the number of rows: compare with what was possible.",
            "short",
            [
                Query(
                    f"({lost} > 0) and on (kpi, actual, predicted) {q.worst(lost, _MOST)}",
                    "{{kpi}}: {{actual}} taken for {{predicted}}",
                )
            ],
            soft=(0, 1),
            size=(6, 8),
            empty=_NO_MATRIX,
        ),
        lines(
            "How much of the possible is reached?",
            "What the decisions brought, beside what the best decision on every row would have brought (dashed), in "
            "the indicator's unit, on the window's labelled rows.",
            "short",
            [
                Query(f"{total} ({brought})", "{{kpi}}", "current"),
                Query(f"{total} ({count} * ({best}))", "{{kpi}}: possible", "reference"),
            ],
            size=(6, 8),
            empty=_NO_MATRIX,
        ),
    ]


def _segments() -> list[Any]:
    """The indicators of each segment."""
    every = q.pick("model_business_kpi_value", "slice", segment="=~.+", kpi="=~$kpi")
    one = q.top("segment", q.pick("model_business_kpi_value", "slice", segment="!=all", kpi="$kpi"))
    panel = lines(
        "How did the segments' $kpi develop?",
        f"The indicator of each segment, in its unit; the {_MOST} that were highest in this time range. One segment "
        "moves alone: look there. All move: it is the business, or the model.",
        "short",
        [Query(f"{one} and on (segment) {q.worst(one, _MOST)}", "{{segment}}")],
        decimals=2,
        size=(8, 7),
        empty="No segments: not configured (columns.segments), or no rows",
    )
    return [
        matrix(
            "What is each segment worth?",
            "The indicators of each segment over the window, in their units; `all` is the whole. A mean or ratio far "
            "from the whole's: open the model and see that segment's performance and drift.",
            "none",
            Query(q.top("segment, kpi", every)),
            ("segment", "kpi"),
            decimals=2,
            size=(24, 7),
            empty="No segments: not configured (columns.segments), or no rows",
        ),
        panel.repeat("kpi").repeat_direction("h").max_per_row(3),
    ]


def _model() -> list[Any]:
    """Whether the model is behind a change."""
    here = link("Open the model", "model-detail", model="${model}", version="${version}")
    return [
        changes((14, 8)),
        lines(
            "How good is it, and how good was it expected to be?",
            "The metric closest to its bound (else ROC AUC or the mean absolute error), realised and estimated, beside "
            "its value on the reference. It falls with the indicators: the model is behind it, open it. It stays: the "
            "business has changed.",
            "none",
            [
                Query(q.headline_score(), "{{metric}}", "current"),
                Query(q.headline_estimate(), "{{metric}} estimated", "second"),
                Query(q.headline_baseline(), "{{metric}} baseline", "reference"),
                Query(q.headline_bound(), "{{metric}} bound", "critical"),
            ],
            decimals=3,
            links=[here],
            size=(10, 8),
            empty="No score: too few rows of the window have their label yet",
        ),
    ]


def build() -> dict[str, Any]:
    """Build the dashboard `model-business`."""
    of_model = 'job=~"$job", model="$model", model_version="$version", window="$window"'
    names = f"label_values(model_business_kpi_value{{{of_model}}}, kpi)"
    parts = [
        Row(
            "Is it worth what it should be?",
            [
                *_numbers(),
                indicators.table((24, 8)),
                indicators.history((12, 8)),
                alert_table("Which alerts on indicators are open?", (12, 8), False, _ABOUT, CARRIED),
            ],
        ),
        Row("How did each indicator develop, and is that usual?", _development()),
        Row("What do the mistakes cost?", _costs(), folded=True),
        Row("Is it one segment?", _segments()),
        Row("Is it the model?", _model()),
    ]
    return assemble(
        "model-business",
        "Model business",
        "What one model's decisions are worth: its business indicators beside bounds and what is usual, what its "
        "mistakes cost, and which segment is behind a change.",
        [*variables(many=False), variable("kpi", "Indicators", names, many=True)],
        parts,
    )
