"""Pictures of the report as inline SVG: no script, no asset, colours from the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 320.0, 92.0
_SCALE = (320.0, 26.0)


def distribution(bins: list[list[Any]], title: str) -> str:
    """Draw the shares of each bin: the reference as a grey bar, the window as a narrower coloured one before it."""
    known = [(name, reference or 0.0, current or 0.0) for name, reference, current in bins]
    top = max((max(reference, current) for _, reference, current in known), default=0.0) or 1.0
    slot = _WIDTH / max(len(known), 1)
    parts = []
    for place, (name, reference, current) in enumerate(known):
        told = f"<title>{escape(name)}: reference {reference:.1%}, window {current:.1%}</title>"
        bars = ""
        for kind, share, inset in (("ref", reference, 0.08), ("cur", current, 0.28)):
            height = share / top * _HEIGHT
            x, width = (place + inset) * slot, (1 - 2 * inset) * slot
            y = _HEIGHT - height
            bars += f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        parts.append(f"<g>{told}{bars}</g>")
    label = escape(title, quote=True)
    return (
        f'<svg class="bins" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{label}" '
        f'preserveAspectRatio="none">{"".join(parts)}</svg>'
    )


def interval(row: Mapping[str, Any]) -> str:
    """Draw a score with its interval, the estimate, the baseline and the bounds on one scale."""
    marks = {
        name: row[name] for name in ("score", "lower", "upper", "baseline", "estimated") if row.get(name) is not None
    }
    marks.update({f"bound {name}": value for name, value in row["bounds"].items()})
    if not marks:
        return ""
    low: float = min(marks.values())
    high: float = max(marks.values())
    pad: float = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    width, height = _SCALE

    def x(value: float) -> float:
        return (value - low + pad) / (high - low + 2 * pad) * width

    middle = height / 2
    parts = [f'<line class="axis" x1="0" y1="{middle}" x2="{width}" y2="{middle}"/>']
    for name, value in row["bounds"].items():
        told = f"<title>bound ({escape(name.replace('_', ', '))}): {value:.4g}</title>"
        parts.append(
            f'<g>{told}<line class="bound" x1="{x(value):.1f}" y1="1" x2="{x(value):.1f}" y2="{height - 1}"/></g>'
        )
    if "baseline" in marks:
        at, told = x(marks["baseline"]), f"<title>reference: {marks['baseline']:.4g}</title>"
        parts.append(f'<g>{told}<line class="baseline" x1="{at:.1f}" y1="4" x2="{at:.1f}" y2="{height - 4}"/></g>')
    if "lower" in marks and "upper" in marks:
        start, end = x(marks["lower"]), x(marks["upper"])
        told = f"<title>95 % interval: {marks['lower']:.4g} to {marks['upper']:.4g}</title>"
        parts.append(f'<g>{told}<line class="span" x1="{start:.1f}" y1="{middle}" x2="{end:.1f}" y2="{middle}"/></g>')
    if "estimated" in marks:
        told = f"<title>estimated without labels: {marks['estimated']:.4g}</title>"
        parts.append(f'<g>{told}<circle class="estimate" cx="{x(marks["estimated"]):.1f}" cy="{middle}" r="5"/></g>')
    if "score" in marks:
        told = f"<title>score: {marks['score']:.4g}</title>"
        parts.append(f'<g>{told}<circle class="score" cx="{x(marks["score"]):.1f}" cy="{middle}" r="4.5"/></g>')
    label = escape(f"{row['metric']}, {row['window']}", quote=True)
    return (
        f'<svg class="scale" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )
