"""Model fleet: every model in one line, worst first."""

from __future__ import annotations

from typing import Any

from grafana import indicators
from grafana import queries as q
from grafana.board import Row, assemble, variables
from grafana.health import exporter_strip, source_table, task_table
from grafana.panels import (
    AMBER,
    GREEN,
    GREY,
    NONE,
    QUIET_AT_ONE,
    RED,
    TIMES,
    Query,
    lines,
    link,
    number,
    steps,
    timeline,
)
from grafana.states import MODEL_STATES, alert_table
from grafana.tables import Column, rows

_VERSION = "model, model_version"
_ANY = steps((None, GREY), (0, GREEN), (1, AMBER))
_ANY_BAD = steps((None, GREY), (0, GREEN), (1, RED))


def _count(expr: str) -> str:
    """Count model versions: 0 only where there are any, else nothing, so that no data does not read as well."""
    info = q.pick("model_info", "version", many=True)
    return f"count({expr}) or 0 * count({info})"


def _counts() -> list[Any]:
    """How many models are in which trouble."""
    state, size = q.state(many=True), (4, 3)
    empty = "no model"
    models = f"count({q.top(_VERSION, q.pick('model_info', 'version', many=True))})"
    return [
        number(
            "Models",
            "Model versions that the chosen exporters show.",
            "none",
            Query(models),
            size=size,
            empty=empty,
        ),
        number(
            "Healthy",
            "Model versions whose result is fresh, rests on enough rows, and shows no drift and no broken bound.",
            "none",
            Query(_count(f"{state} == {q.HEALTHY}")),
            size=size,
            empty=empty,
        ),
        number(
            "Performance low",
            "Model versions with a metric beyond its bound. Open the model and see which; then decide on retraining.",
            "none",
            Query(_count(f"count by ({_VERSION}) ({q.beyond_bound(many=True)})")),
            thresholds=_ANY_BAD,
            size=size,
            empty=empty,
        ),
        number(
            "Drift",
            "Model versions with drift in a feature, the prediction or the label. Open the model and see in what.",
            "none",
            Query(_count(f"{q.drifted(many=True)} == 1")),
            thresholds=_ANY,
            size=size,
            empty=empty,
        ),
        number(
            "Not known",
            "Model versions about which nothing can be said: too few rows, no fresh rows or results or a failed task.",
            "none",
            Query(_count(f"({state} == {q.FEW}) or ({state} >= {q.LATE})")),
            thresholds=_ANY,
            size=size,
            empty=empty,
        ),
        number(
            "Critical alerts",
            "Alerts that fire with severity critical. They page; the table below says what they are about.",
            "none",
            Query(q.firing("critical")),
            thresholds=_ANY_BAD,
            size=size,
            empty="no rules",
        ),
    ]


def _columns() -> list[Column]:
    """The fleet table's columns, in the order of its queries."""
    model = {"model": '${__data.fields["Model"]}', "version": '${__data.fields["Version"]}'}
    feature = link("Open the feature", "model-feature", **model, feature="${__value.text}")
    return [
        Column("model", "Model", links=(link("Open the model", "model-detail", **model),)),
        Column("model_version", "Version", width=75),
        Column("A", "State", width=125, mapping=MODEL_STATES),
        Column("B", "Alerts", unit="none", width=65, steps=steps((None, NONE), (1, RED))),
        Column("C", "Drift", unit=TIMES, width=75, decimals=1, steps=QUIET_AT_ONE),
        Column("feature", "in feature", width=130, links=(feature,)),
        Column("metric", "Metric", width=85),
        Column("D", "Now", unit="none", width=75, decimals=3),
        Column("E", "Estimated", unit="none", width=85, decimals=3),
        Column("F", "Baseline", unit="none", width=80, decimals=3),
        Column("G", "Bound", unit="none", width=75, decimals=3),
        Column(
            "H",
            "Indicators",
            width=105,
            mapping=indicators.CELLS,
            links=(indicators.opened(**model),),
        ),
        Column("I", "Labels", unit="percentunit", width=70, decimals=0),
        Column("J", "Newest row", unit="s", width=95, decimals=0),
    ]


def _fleet_queries() -> list[Query]:
    """What the columns of letters show."""
    info = q.top(_VERSION, q.pick("model_info", "version", many=True))
    firing = q.alerts(alertstate="firing", severity="=~critical|warning")
    ratio = q.drift_per_threshold("feature", "feature, method", many=True)
    worst = f"topk by ({_VERSION}) (1, max by ({_VERSION}, feature) ({ratio}))"
    alerts = f"{info} * on (model) group_left () count by (model) ({firing}) or 0 * {info}"
    return [
        Query(q.state(many=True)),
        Query(alerts),
        Query(worst),
        Query(q.headline_score(many=True)),
        Query(q.headline_estimate(many=True)),
        Query(q.headline_baseline(many=True)),
        Query(q.headline_bound(many=True)),
        Query(q.top(_VERSION, indicators.state(many=True))),
        Query(q.top(_VERSION, q.pick("model_labels_coverage_ratio", "window", many=True))),
        Query(q.newest_row_age(_VERSION, many=True)),
    ]


_TABLE_TEXT = """One line a model version, worst first; click a model to see why.

- **Drift**: the largest drift score of any feature, divided by its threshold in force; from 1× it is drift.
- **Metric, Now, Estimated, Baseline, Bound**: the metric closest to its bound (min or max): realised in the
  window, estimated without labels, on the reference, and the bound itself; without a bound ROC AUC or the mean
  absolute error.
- **Indicators**: the worst of its business indicators.
- **Alerts**: critical and warning ones that fire.
- **Labels**: share of the window's predictions whose label is known. **Newest row**: its age.
"""


def _over_time() -> list[Any]:
    """The models' states, and the two numbers behind them, over time."""
    one = Query("vector(1)", "threshold", "warning")
    bound = Query("vector(1)", "bound", "critical")
    size = (12, 8)
    return [
        timeline(
            "When did a model leave the healthy state?",
            "The worst state of each model version: a failed task, no fresh results, no fresh rows, a "
            "metric beyond its bound, bad values, drift, too few rows; else healthy. Open the model at "
            "the moment the colour changes.",
            MODEL_STATES,
            [Query(q.state(many=True), "{{model}} {{model_version}}")],
            points=200,  # of every model
            size=(24, 7),
            empty="No model in this time range",
        ),
        lines(
            "Which models drift?",
            "Largest drift score of any feature over its threshold in force. Above the dashed line at 1 "
            "a feature has drifted.",
            TIMES,
            [Query(q.worst_drift(many=True), "{{model}} {{model_version}}"), one],
            size=size,
            empty="No drift score: the windows have too few rows, or no feature is monitored",
        ),
        lines(
            "Which models perform worse than allowed?",
            "Performance over its bound, for the metric closest to it: score ÷ min, or max ÷ score. "
            "Below the dashed line at 1 a bound is broken.",
            TIMES,
            [Query(q.low(_VERSION, q.margin(many=True)), "{{model}} {{model_version}}"), bound],
            size=size,
            empty="No metric with a bound: set performance.threshold, and wait for labels",
        ),
    ]


def build() -> dict[str, Any]:
    """Build the dashboard `model-fleet`."""
    fleet = rows(
        "How is each model?",
        _TABLE_TEXT,
        _columns(),
        _fleet_queries(),
        sort=["State", "Drift"],
        size=(24, 8),
        empty="No model: the exporter shows none for these variables",
    )
    parts = [
        Row(
            "Does anything need attention now?",
            [*_counts(), alert_table("Which alerts are open?", (24, 7), with_model=True)],
        ),
        Row("Which model, and how badly?", [fleet]),
        Row("Since when?", _over_time()),
        Row(
            "Does the monitoring itself work?",
            [*exporter_strip(), task_table(True, (14, 8)), source_table(True, (10, 8))],
        ),
    ]
    return assemble(
        "model-fleet",
        "Model fleet",
        "Every monitored model in one line, worst first. From here to one model, and from there to one feature.",
        variables(many=True),
        parts,
    )
