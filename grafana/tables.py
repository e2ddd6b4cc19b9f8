"""Panels made from instant queries that are joined on the labels they share: tables and bar charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import barchart, common, dashboard, table
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels import LEGEND, PLAIN, SILVER, SKY, Query, Words, dress, properties, words

_BAR_COLORS = {"reference": SILVER, "current": SKY}


def bars(title: str, description: str, unit: str, x: str, exprs: dict[str, str], **rest: Any) -> barchart.Panel:
    """Compare values side by side for each value of the label `x`; `exprs`: the bars' names and queries."""
    panel = (
        barchart.Panel()
        .unit(unit)
        .x_field(x)
        .orientation(cm.VizOrientation.VERTICAL)
        .x_tick_label_max_length(16)
        .show_value(cm.VisibilityMode.NEVER)
        .fill_opacity(90)
        .line_width(0)
        .group_width(0.8)
        .bar_width(0.95)
        .thresholds(PLAIN)
        .legend(LEGEND)
    )
    queries = [Query(expr) for expr in exprs.values()]
    renames = {f"Value #{ref}": name for ref, name in zip("ABCD", exprs, strict=False)}
    panel = dress(panel, title, description, queries, instant=True, form=PromQueryFormat.TABLE, **rest)
    panel = panel.with_transformation(transform("merge"))
    panel = panel.with_transformation(transform("sortBy", sort=[{"field": x, "desc": False}]))
    shown = transform("organize", excludeByName={"Time": True}, indexByName={}, renameByName=renames)
    panel = panel.override_by_name(x, properties({"unit": "string"}))
    for name in exprs:
        panel = panel.override_by_name(name, properties({"color": _BAR_COLORS[name]}))
    return panel.with_transformation(shown)


def transform(name: str, **options: Any) -> dm.DataTransformerConfig:
    """Name a transformation and its options."""
    return dm.DataTransformerConfig(id_val=name, options=options)


class Column(NamedTuple):
    """One column: its field (a label, or the letter of a query), its heading and how it is shown."""

    field: str
    heading: str
    unit: str = ""
    width: int = 0
    decimals: int | None = None
    mapping: Words | None = None
    steps: dashboard.ThresholdsConfig | None = None
    links: tuple[dashboard.DashboardLink, ...] = ()


def _column_properties(column: Column) -> list[dm.DynamicConfigValue]:
    """Turn what a column says into override properties."""
    values: dict[str, Any] = {"noValue": "–"}
    if column.unit:
        values["unit"] = column.unit
    if column.width:
        values["custom.width"] = column.width
    if column.decimals is not None:
        values["decimals"] = column.decimals
    if column.mapping:
        values["mappings"] = words(column.mapping)
    if column.steps:
        values["thresholds"] = column.steps.build()
    if column.mapping:
        values["custom.align"] = "left"
    if column.mapping or column.steps:
        values["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    if column.links:
        values["links"] = [each.build() for each in column.links]
    return [dm.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def rows(
    title: str,
    description: str,
    columns: Sequence[Column],
    queries: Sequence[Query],
    *,
    sort: Sequence[str],
    descending: bool = True,
    **rest: Any,
) -> table.Panel:
    """Make a table from instant queries joined on their labels; `sort` names headings."""
    fields = [column.field if len(column.field) > 1 else f"Value #{column.field}" for column in columns]
    if len(queries) == 1:
        fields = [field.replace("Value #A", "Value") for field in fields]
    panel = table.Panel().cell_height(cm.TableCellHeight.SM).thresholds(PLAIN)
    panel = panel.color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
    panel = panel.sort_by([common.TableSortByFieldState().display_name(name).desc(descending) for name in sort])
    panel = dress(panel, title, description, queries, instant=True, form=PromQueryFormat.TABLE, **rest)
    panel = panel.with_transformation(transform("merge"))
    panel = panel.with_transformation(transform("filterFieldsByName", include={"names": fields}))
    order = {field: index for index, field in enumerate(fields)}
    names = {field: column.heading for field, column in zip(fields, columns, strict=True)}
    panel = panel.with_transformation(transform("organize", excludeByName={}, indexByName=order, renameByName=names))
    for column in columns:
        panel = panel.override_by_name(column.heading, _column_properties(column))
    return panel


def matrix(
    title: str,
    description: str,
    unit: str,
    query: Query,
    labels: tuple[str, str],
    *,
    decimals: int = 0,
    **rest: Any,
) -> table.Panel:
    """Cross two labels: the first makes the lines, the second the columns."""
    line, column = labels
    corner, heading = f"{line}\\{column}", line.replace("_", " ").capitalize()
    panel = table.Panel().unit(unit).decimals(decimals).cell_height(cm.TableCellHeight.SM).thresholds(PLAIN)
    panel = panel.min_width(70)
    panel = panel.sort_by([common.TableSortByFieldState().display_name(heading).desc(False)])
    panel = dress(panel, title, description, [query], instant=True, form=PromQueryFormat.TABLE, **rest)
    panel = panel.override_by_name(heading, properties({"unit": "string", "custom.minWidth": 115}))
    panel = panel.with_transformation(
        transform("groupingToMatrix", columnField=column, rowField=line, valueField="Value", emptyValue="null")
    )
    named = transform("organize", excludeByName={}, indexByName={}, renameByName={corner: heading})
    return panel.with_transformation(named)
