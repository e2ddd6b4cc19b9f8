"""GET /metrics: negotiation, filters, kept bytes."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_options_header

from exporter.collector import Board, Filter


def wants_openmetrics(accept: MIMEAccept) -> bool:
    """Say whether OpenMetrics is preferred; without a word for it, text is the answer."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for value, quality in accept:
        kind, options = parse_options_header(value)
        if kind in best and options.get("version", "1.0.0") in {"1.0.0", "0.0.1", "0.0.4"}:
            best[kind] = max(best[kind], quality)
    return best["application/openmetrics-text"] > 0 and best["application/openmetrics-text"] >= best["text/plain"]


def blueprint(board: Callable[[], Board]) -> Blueprint:
    """Make the route; `board` returns what is shown now."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        only = Filter(
            frozenset(request.args.getlist("model[]")),
            frozenset(request.args.getlist("collect[]")),
            frozenset(request.args.getlist("name[]")),
        )
        compressed = request.accept_encodings["gzip"] > 0
        page = board().page(wants_openmetrics(request.accept_mimetypes), compressed, only if any(only) else None)
        headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(page.body, content_type=page.content_type, headers=headers)

    return routes
