"""Take dashboards apart: panels, variables and queries, and the series and labels that those ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from exporter.catalogue import FAMILIES
from grafana.build import dashboards

ROOT = Path(__file__).parents[2]
BOARDS = {board["uid"]: board for board in dashboards().values()}
Board = dict[str, Any]

# Labels that Prometheus adds to every scraped series, and to every alert.
SCRAPED = {"job", "instance"}
ALERT_LABELS = {
    "alertname",
    "alertstate",
    "severity",
    *(label for family in FAMILIES.values() for label in family.labels),
}
# Series of Prometheus itself and of its Python client, with their own labels.
OTHERS: dict[str, set[str]] = {
    "ALERTS": SCRAPED | ALERT_LABELS,
    "ALERTS_FOR_STATE": SCRAPED | ALERT_LABELS,
    "up": SCRAPED,
    "scrape_duration_seconds": SCRAPED,
    **dict.fromkeys(
        (
            "process_start_time_seconds",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ),
        SCRAPED,
    ),
}


def known_series() -> dict[str, set[str] | None]:
    """Every name that a query may ask for, with its labels; None where a rule decides the labels."""
    known: dict[str, set[str] | None] = dict(OTHERS)
    for family in FAMILIES.values():
        labels = SCRAPED | set(family.labels)
        if family.kind == "histogram":
            known.update({f"{family.name}_{end}": labels | {"le"} for end in ("bucket", "sum", "count")})
        else:
            known[family.name] = labels
    for path in (ROOT / "prometheus" / "rules").glob("*.yml"):
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        known.update({rule["record"]: None for group in groups for rule in group["rules"] if "record" in rule})
    return known


KNOWN = known_series()


def panels(board: Board) -> list[dict[str, Any]]:
    """Every panel that is not the heading of a row, those of closed rows too."""
    return [panel for panel in everything(board) if panel["type"] != "row"]


def everything(board: Board) -> list[dict[str, Any]]:
    """Every panel and heading, in reading order."""
    return [each for panel in board["panels"] for each in (panel, *panel.get("panels", []))]


def variables(board: Board, kind: str = "query") -> list[dict[str, Any]]:
    return [each for each in board["templating"]["list"] if each["type"] == kind]


def expand(expr: str) -> str:
    """Put values where Grafana would, so that PromQL is left."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "1m")):
        expr = expr.replace(name, value)
    return re.sub(r"\$\{?\w+(:\w+)?\}?", "value", expr)


def panel_queries(board: Board) -> Iterator[tuple[str, str]]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"panel {panel['title']!r}, query {target['refId']}", target["expr"]


def variable_query(variable: dict[str, Any]) -> tuple[str, str]:
    """Split `label_values(series, label)`."""
    parts = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert parts, f"variable {variable['name']}: not label_values(series, label)"
    return parts[1], parts[2]


def all_queries(board: Board) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard: of panels, annotations and variables, and where it stands."""
    yield from panel_queries(board)
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", annotation["expr"]
    for variable in variables(board):
        yield f"variable {variable['name']!r}", variable_query(variable)[0]


def walk(node: Any, inside: str = "") -> Iterator[tuple[Any, str]]:
    """Every selector of a parsed query, with the function that it stands directly in."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node, inside
    if isinstance(node, promql_parser.Call):
        inside = node.func.name
    for attribute in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, attribute, None)
        if child is not None:
            yield from walk(child, inside)
    for child in getattr(node, "args", []):
        yield from walk(child, inside)


def selectors(expr: str) -> list[tuple[Any, str]]:
    return list(walk(promql_parser.parse(expand(expr))))


def matchers(selector: Any) -> dict[str, tuple[str, str]]:
    return {each.name: (str(each.op), each.value) for each in selector.matchers.matchers}


def urls(part: Any) -> Iterator[str]:
    """Every link within a part of a dashboard."""
    if isinstance(part, dict):
        if part.get("url"):
            yield part["url"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from urls(each)
