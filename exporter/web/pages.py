"""The landing page: what runs here and how it is."""

from __future__ import annotations

import time

from flask import Blueprint, render_template

from exporter import __version__
from exporter.duration import show
from exporter.service import Service


def ago(moment: float | None) -> str:
    """Say how long ago a time was."""
    return "never" if moment is None else f"{show(max(time.time() - moment, 0))} ago"


def blueprint(service: Service) -> Blueprint:
    """Make the route."""
    routes = Blueprint("pages", __name__, template_folder="templates")

    @routes.get("/")
    def landing() -> str:
        return render_template("landing.html", status=service.status(), version=__version__, ago=ago)

    return routes
