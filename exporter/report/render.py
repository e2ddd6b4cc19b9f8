"""The report's data -> HTML that needs nothing else, Markdown, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter import __version__
from exporter.report import draw

Report = Mapping[str, Any]


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with some significant digits, never in exponents of ten; nothing where it is not known."""
    if value is None:
        return "–"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e" in text or abs(value) >= 1000 else text


def share(value: float | None) -> str:
    """Write a share in per cent."""
    return "–" if value is None else f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def moment(text: str | None) -> str:
    """Write a time for people."""
    return "–" if text is None else text.replace("T", " ").removesuffix("Z").removesuffix(":00") + " UTC"


def cell(text: object) -> str:
    """Write text so that Markdown takes it for a cell."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def _environment(html: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("exporter.report"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "share": share, "moment": moment, "cell": cell}
    made.globals |= {
        "version": __version__,
        "distribution": lambda bins, title: Markup(draw.distribution(bins, title)),
        "interval": lambda row: Markup(draw.interval(row)),
    }
    return made


def html(report: Report) -> str:
    """Return a page with its styles and pictures inside."""
    return _environment(True).get_template("report.html").render(report=report)


def markdown(report: Report) -> str:
    """Return the same in words and tables."""
    return _environment(False).get_template("report.md").render(report=report)


def plain(report: Report) -> str:
    """Return the data."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Report], str]] = {"html": html, "markdown": markdown, "json": plain}
