"""The words and colours of states, and the panels about alerts and states that the dashboards share."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table

from grafana import queries as q
from grafana.panels import AMBER, BLUE, CARRIED, GREEN, GREY, MAUVE, NONE, PLUM, PURPLE, RED, Query, Words, link
from grafana.tables import Column, rows

_COLORS = (GREEN, GREY, AMBER, BLUE, RED, MAUVE, PLUM, PURPLE)
MODEL_STATES: Words = {number: (name, _COLORS[number]) for number, name in enumerate(q.STATES)}
"""Green is well; amber, blue and red are verdicts; grey and purple mean that no verdict can be trusted."""

SEVERITIES: Words = {3: ("critical", RED), 2: ("warning", AMBER), 1: ("info", GREY)}
ALERT_STATES: Words = {"firing": ("firing", NONE), "pending": ("pending", GREY)}

_ABOUT = "feature", "output", "metric", "kpi", "signal", "quantile", "segment", "task", "source", "reason", "window"
_ALERT_TEXT = (
    "Alerts of the rules in `prometheus/rules`: firing, and pending until their `for` has passed. About: "
    "the feature, metric, task or source that the alert names. What to do is in `docs/runbook.md` under "
    "the alert's name; the notification carries the link."
)


def _about(alerts: str) -> str:
    """Tell in one label what alerts are about; that it is the whole, and no segment, goes without saying."""
    whole = f'label_replace({alerts}, "segment", "", "segment", "all")'
    labels = ", ".join(f'"{label}"' for label in _ABOUT)
    return f'label_join({whole}, "about", " ", {labels})'


def alert_table(
    title: str,
    size: tuple[int, int],
    with_model: bool,
    names: str = "=~Model.+",
    own: tuple[str, ...] = CARRIED,
) -> table.Panel:
    """List open alerts, critical first, the newest of them on top.

    names: a matcher of alert names. own: the dashboard's variables that its links carry.
    """
    by = "alertname, severity, model, model_version, about"
    ranked = " or ".join(
        f"{rank} * {q.alerts(alertname=names, severity=name)}" for rank, (name, _) in SEVERITIES.items()
    )
    since = q.alerts("ALERTS_FOR_STATE", alertname=names, severity="!=none")
    columns = [
        Column("A", "Severity", width=80, mapping=SEVERITIES),
        Column("alertname", "Alert", width=225),
        Column(
            "model",
            "Model",
            width=130,
            links=(link("Open the model", "model-detail", own, model="${__value.text}"),),
        ),
        Column("about", "About"),
        Column("alertstate", "State", width=70, mapping=ALERT_STATES),
        Column("B", "Since", unit="dateTimeFromNow", width=125),
    ]
    return rows(
        title,
        _ALERT_TEXT,
        [column for column in columns if with_model or column.heading != "Model"],
        [
            Query(f"max by ({by}, alertstate) ({_about(ranked)})"),
            Query(f"1000 * max by ({by}) ({_about(since)})"),
        ],
        sort=["Severity", "Since"],
        size=size,
        empty="No alert is open, or Prometheus does not load the rules",
    )
