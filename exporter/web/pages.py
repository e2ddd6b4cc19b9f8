"""The landing page: what runs here and how it is."""

from __future__ import annotations

import time

from flask import Blueprint, Response, render_template, request

from exporter import __version__
from exporter.duration import show
from exporter.report.build import build
from exporter.report.evaluation import facts
from exporter.report.render import FORMATS
from exporter.service import Service
from exporter.web.api import failure


def ago(moment: float | None) -> str:
    """Say how long ago a time was."""
    return "never" if moment is None else f"{show(max(time.time() - moment, 0))} ago"


def blueprint(service: Service) -> Blueprint:
    """Make the route."""
    routes = Blueprint("pages", __name__, template_folder="templates")

    @routes.get("/")
    def landing() -> str:
        return render_template("landing.html", status=service.status(), version=__version__, ago=ago)

    @routes.get("/models/<path:name>")
    def report(name: str) -> Response | tuple[Response, int]:
        monitor = service.monitors.get(name)
        if monitor is None:
            return failure(404, "not_found", f"no model {name!r}; there are {', '.join(service.monitors) or 'none'}")
        form = request.args.get("format", "html")
        if form not in FORMATS:
            return failure(400, "bad_data", f"no format {form!r}; there are {', '.join(FORMATS)}")
        if monitor.since is None:
            return failure(503, "unavailable", f"model {name} has not run yet: try again in a minute")
        kinds = {"html": "text/html", "markdown": "text/markdown", "json": "application/json"}
        text = FORMATS[form](build(facts(monitor)))
        return Response(text, content_type=f"{kinds[form]}; charset=utf-8")

    return routes
