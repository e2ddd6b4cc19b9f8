"""Business indicators: their queries, and the panels that model fleet, detail and business share."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import AMBER, GREEN, GREY, NONE, RED, Query, Words, link, timeline
from grafana.tables import Column, rows

BY = "model, model_version, kpi, unit"
_JOIN = "on (model, kpi) group_left ()"
NO_BOUND, WITHIN, UNUSUAL, BEYOND = range(4)
STATES: Words = {
    NO_BOUND: ("no bound", GREY),
    WITHIN: ("within bounds", GREEN),
    UNUSUAL: ("unusual", AMBER),
    BEYOND: ("out of bounds", RED),
}
CELLS = STATES | {NO_BOUND: ("no bound", NONE), WITHIN: ("within bounds", NONE)}
EMPTY = "No indicator: not configured (business), or none in this window yet"


def value(many: bool = False, end: str = "", **labels: str) -> str:
    """The indicators over the window; `end`: `_lower` or `_upper` of the 95 % interval."""
    return q.top(BY, q.pick(f"model_business_kpi_value{end}", "slice", many, **labels))


def estimated(**labels: str) -> str:
    """What decisions are expected to be worth, of indicators with a value matrix."""
    return q.top(BY, q.pick("model_business_kpi_estimated_value", "slice", **labels))


def usual(end: str, many: bool = False, **labels: str) -> str:
    """One end (`lower`, `upper`) of what is usual at this hour of the week, of all versions together."""
    chosen = q.pick(f"kpi:model_business_kpi_value:band_{end}4w", "model", many, window="$window", **labels)
    return q.top("model, kpi, unit", chosen)


def floor(many: bool = False, **labels: str) -> str:
    """The strictest lower bound of each indicator."""
    return q.top("model, kpi", q.pick("model_business_kpi_min", "model", many, **labels))


def ceiling(many: bool = False, **labels: str) -> str:
    """The strictest upper bound of each indicator."""
    return q.low("model, kpi", q.pick("model_business_kpi_max", "model", many, **labels))


def beyond(many: bool = False) -> str:
    """Every indicator beyond a bound."""
    return f"{value(many)} < {_JOIN} {floor(many)} or {value(many)} > {_JOIN} {ceiling(many)}"


def state(many: bool = False) -> str:
    """The number of what each indicator is in; see `STATES`."""
    judged = f"{value(many)} and on (model, kpi) ({floor(many)} or {ceiling(many)})"
    low, high = (f"{value(many)} {sign} {_JOIN} {usual(end, many)}" for sign, end in (("<", "lower"), (">", "upper")))
    parts = ((BEYOND, beyond(many)), (UNUSUAL, f"{low} or {high}"), (WITHIN, judged), (NO_BOUND, value(many)))
    return " or ".join(f"0 * ({expr}) + {number}" for number, expr in parts)


def table(size: tuple[int, int], *links: Any) -> Any:
    """List the indicators, what is out of bounds on top; `links`: of their names."""

    def of(expr: str) -> str:
        return f"{value()} * 0 + {_JOIN} {expr}"

    columns = [
        Column("kpi", "Indicator", links=links),
        Column("A", "State", width=110, mapping=CELLS),
        Column("B", "Value", unit="none", width=85, decimals=2),
        Column("C", "from", unit="none", width=85, decimals=2),
        Column("D", "to", unit="none", width=85, decimals=2),
        Column("E", "Expected", unit="none", width=85, decimals=2),
        Column("F", "Min", unit="none", width=80, decimals=2),
        Column("G", "Max", unit="none", width=80, decimals=2),
        Column("unit", "Unit", width=80),
    ]
    return rows(
        "How is each indicator?",
        "Each indicator over the window and its 95 % interval, beside the strictest bounds in force. Expected: what "
        "the decisions of all rows are worth by the estimated confusion, for indicators with a value matrix. Out of "
        "bounds is ModelBusinessKpiOutOfBounds; unusual: beyond what this hour of the week brought in the four weeks "
        "before; see first whether the model or its business changed.",
        columns,
        [
            Query(state()),
            Query(value()),
            Query(value(end="_lower")),
            Query(value(end="_upper")),
            Query(estimated()),
            Query(of(floor())),
            Query(of(ceiling())),
        ],
        sort=["State", "Indicator"],
        size=size,
        empty=EMPTY,
    )


def history(size: tuple[int, int]) -> Any:
    """Show when each indicator was out of its bounds."""
    return timeline(
        "When was an indicator out of bounds?",
        "Each indicator against its strictest bound in force, whatever the severity. Unusual: beyond what this hour of "
        "the week brought in the four weeks before. No bound: set `min` or `max` in the configuration's `business`.",
        STATES,
        [Query(state(), "{{kpi}}")],
        size=size,
        empty=EMPTY,
    )


def opened(**variables: str) -> Any:
    """Link to the dashboard of indicators."""
    return link("Open the indicators", "model-business", **variables)
