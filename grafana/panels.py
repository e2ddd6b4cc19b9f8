"""Panel builders that the dashboards share: one look, one set of words and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar, cast

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

P = TypeVar("P")
SOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")

# After Okabe and Ito, so that colour-blind readers can tell them apart. Grafana writes on them in
# black or white: AMBER is light enough for black, the others dark enough for white. OCHRE is AMBER as a line.
BLUE, SKY, GREEN, AMBER, OCHRE = "#0072B2", "#56B4E9", "#009E73", "#F7BC0F", "#E69F00"
RED, PINK, MAUVE, PLUM, PURPLE = "#D55E00", "#CC79A7", "#E3B5CF", "#B0578D", "#7A3463"
GREY, SILVER = "#767676", "#8E8E8E"
POINTS = 300  # moments in a panel over time: what the eye can tell apart, and Prometheus answers at once
TIMES = "suffix:×"  # "1.5×": how many times the threshold or bound

Words = dict[int | str, tuple[str, str]]
"""A value, the word for it, and its colour."""

DRIFT: Words = {0: ("no drift", GREEN), 1: ("drift", AMBER), 2: ("not judged", GREY)}


class Query(NamedTuple):
    """One query of a panel. `look` names a row of `LOOKS`; none takes the palette."""

    expr: str
    legend: str = ""
    look: str = ""


_DASH = {"fill": "dash", "dash": [8, 6]}
_EDGE = {"custom.lineWidth": 0, "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False}}


def _band(name: str, color: str, opacity: int) -> dict[str, dict[str, Any]]:
    """Looks of the two ends of a shaded band; its queries' legends are the names of the looks."""
    filled = {"custom.fillBelowTo": f"{name} from", "custom.fillOpacity": opacity}
    return {f"{name} from": {"color": color, **_EDGE}, f"{name} to": {"color": color, **_EDGE, **filled}}


LOOKS: dict[str, dict[str, Any]] = {
    "current": {"color": SKY, "custom.lineWidth": 2},
    "second": {"color": PINK, "custom.lineWidth": 2},
    "third": {"color": GREEN, "custom.lineWidth": 2},
    "low": {"color": PINK},
    "high": {"color": GREEN},
    "reference": {"color": SILVER, "custom.lineStyle": _DASH},
    "warning": {"color": OCHRE, "custom.lineStyle": _DASH},
    "critical": {"color": RED, "custom.lineStyle": _DASH},
    **_band("95 %", SKY, 18),
    **_band("estimate 95 %", PINK, 8),
    **_band("usual", SILVER, 14),
}


def properties(look: dict[str, Any]) -> list[dm.DynamicConfigValue]:
    """Turn a look into override properties; a colour becomes a fixed colour."""
    return [
        dm.DynamicConfigValue(
            id_val=name,
            value={"mode": "fixed", "fixedColor": value} if name == "color" else value,
        )
        for name, value in look.items()
    ]


def _target(query: Query, ref: str, instant: bool, form: PromQueryFormat) -> prometheus.Dataquery:
    """Make the query that Grafana sends: one point (`instant`) or the whole time range."""
    target = prometheus.Dataquery().datasource(SOURCE).ref_id(ref).expr(query.expr).format(form)
    target = target.legend_format(query.legend or "__auto")
    return target.instant() if instant else target.range()


def dress(
    panel: P,
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    size: tuple[int, int],
    empty: str,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> P:
    """Give a panel what every panel has; `size` is width and height, `empty` the words for no data."""
    made: Any = panel
    made.title(title).description(description).datasource(SOURCE)
    made.span(size[0]).height(size[1]).no_value(empty)
    for ref, query in zip("ABCDEFGHIJKLMNOP", queries, strict=False):
        made.with_target(_target(query, ref, instant, form))
        if query.look:
            made.override_by_query(ref, properties(LOOKS[query.look]))
    return cast(P, made)


def words(mapping: Words) -> list[dm.ValueMapping]:
    """Show values as words in their colours."""
    results = {
        str(value): dm.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(mapping.items())
    }
    return [dm.ValueMap(options=results)]


def steps(*pairs: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colour by value: each pair is where a colour begins; the first begins nowhere (None)."""
    return (
        dashboard.ThresholdsConfig()
        .mode(dm.ThresholdsMode.ABSOLUTE)
        .steps([dm.Threshold(value=value, color=color) for value, color in pairs])
    )


LEGEND = (
    common.VizLegendOptions()
    .display_mode(cm.LegendDisplayMode.LIST)
    .placement(cm.LegendPlacement.BOTTOM)
    .show_legend(True)
    .calcs([])
)
PLAIN = steps((None, GREY))
NONE = "transparent"
AT_ONE = steps((None, GREY), (0, GREEN), (1, AMBER))
"""For values that are already divided by the threshold in force: it is 1 by construction."""
QUIET_AT_ONE = steps((None, NONE), (1, AMBER))
"""The same for table cells, where only what is beyond its threshold has a colour."""


CARRIED = ("datasource", "job", "window")


def link(title: str, uid: str, own: Sequence[str] = CARRIED, **variables: str) -> dashboard.DashboardLink:
    """Link to another dashboard with this one's variables `own` and its time, and `variables` beside."""
    carried = [f"${{{name}:queryparam}}" for name in own]
    carried += [f"var-{name}={value}" for name, value in variables.items()]
    return dashboard.DashboardLink(title).url(f"/d/{uid}?" + "&".join([*carried, "${__url_time_range}"]))


def band(name: str, lower: str, upper: str) -> list[Query]:
    """Shade what lies between two queries; `name`: of a band in `LOOKS`."""
    return [Query(expr, f"{name} {end}", f"{name} {end}") for end, expr in (("from", lower), ("to", upper))]


def lines(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    decimals: int | None = None,
    soft: tuple[float, float] | None = None,
    links: Sequence[dashboard.DashboardLink] = (),
    **rest: Any,
) -> timeseries.Panel:
    """Draw lines over time; queries with a look are drawn in it. `soft`: what the axis shows at least."""
    panel = timeseries.Panel().unit(unit).legend(LEGEND).line_width(1.5).fill_opacity(0)
    panel = panel.max_data_points(POINTS).show_points(cm.VisibilityMode.NEVER).thresholds(PLAIN)
    panel = panel.color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.PALETTE_CLASSIC))
    panel = panel.tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
    if decimals is not None:
        panel = panel.decimals(decimals)
    if soft:
        panel = panel.axis_soft_min(soft[0]).axis_soft_max(soft[1])
    if links:
        panel = panel.data_links(list(links))
    return dress(panel, title, description, queries, **rest)


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    mapping: Words | None = None,
    thresholds: dashboard.ThresholdsConfig = PLAIN,
    decimals: int = 0,
    named: bool = False,
    **rest: Any,
) -> stat.Panel:
    """Show one value, large, coloured by `mapping` or `thresholds` alone; `named` shows its legend too."""
    coloured = mapping is not None or thresholds is not PLAIN
    panel = (
        stat.Panel()
        .unit(unit)
        .decimals(decimals)
        .thresholds(thresholds)
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .graph_mode(cm.BigValueGraphMode.NONE)
        .color_mode(cm.BigValueColorMode.BACKGROUND_SOLID if coloured else cm.BigValueColorMode.NONE)
        .justify_mode(cm.BigValueJustifyMode.CENTER)
        .text_mode(cm.BigValueTextMode.VALUE_AND_NAME if named else cm.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if mapping:
        panel = panel.mappings(words(mapping))
    return dress(panel, title, description, [query], instant=True, **rest)


def ranking(
    title: str, description: str, query: Query, links: Sequence[dashboard.DashboardLink] = (), **rest: Any
) -> bargauge.Panel:
    """Rank values that are divided by their threshold, as bars, worst first."""
    panel = (
        bargauge.Panel()
        .unit(TIMES)
        .decimals(2)
        .min(0)
        .thresholds(AT_ONE)
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .orientation(cm.VizOrientation.HORIZONTAL)
        .display_mode(cm.BarGaugeDisplayMode.BASIC)
        .value_mode(cm.BarGaugeValueMode.TEXT)
        .show_unfilled(False)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .data_links(list(links))
    )
    return dress(panel, title, description, [query], instant=True, **rest)


def timeline(
    title: str,
    description: str,
    mapping: Words,
    queries: Sequence[Query],
    per_page: int = 20,
    points: int = POINTS,
    links: Sequence[dashboard.DashboardLink] = (),
    **rest: Any,
) -> statetimeline.Panel:
    """Show states over time, one row a series, in words."""
    panel = (
        statetimeline.Panel()
        .mappings(words(mapping))
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .thresholds(PLAIN)
        .fill_opacity(85)
        .line_width(0)
        .row_height(0.8)
        .merge_values(True)
        .per_page(per_page)
        .max_data_points(points)
        .show_value(cm.VisibilityMode.NEVER)
        .legend(LEGEND)
    )
    if links:
        panel = panel.data_links(list(links))
    return dress(panel, title, description, queries, **rest)


def cells(title: str, description: str, query: Query, unit: str, limit: float, **rest: Any) -> heatmap.Panel:
    """Colour one row a series over time; values at `limit` and above have the last colour."""
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Cividis").steps(32)
    panel = (
        heatmap.Panel()
        .calculate(False)
        .max_data_points(POINTS)
        .color(color.min(0).max(limit))
        .cell_gap(0)
        .cell_values(heatmap.CellValues().unit(unit).decimals(2))
        .y_axis(heatmap.YAxisConfig().axis_placement(cm.AxisPlacement.LEFT).reverse(True))
        .show_legend()
    )
    return dress(panel, title, description, [query], **rest)
