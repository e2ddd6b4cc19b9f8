"""The JSON API, read only."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from exporter.catalogue import FAMILIES
from exporter.service import Service


def failure(code: int, kind: str, message: str) -> tuple[Response, int]:
    """Answer an error in the form that Prometheus uses."""
    return jsonify(status="error", errorType=kind, error=message), code


def blueprint(service: Service) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("api", __name__, url_prefix="/api/v1")

    def unknown(name: str) -> tuple[Response, int]:
        known = ", ".join(service.monitors) or "none"
        return failure(404, "not_found", f"no model {name!r}; there are {known}")

    @routes.get("/models")
    def models() -> Response:
        return jsonify(status="success", data=[service.model_status(name) for name in service.monitors])

    @routes.get("/models/<path:name>/results")
    def results(name: str) -> Response | tuple[Response, int]:
        if name not in service.monitors:
            return unknown(name)
        if not service.leads:
            leader = service.role()["leader"] or "none is known"
            return failure(503, "unavailable", f"this exporter stands by without results; the one with them: {leader}")
        data: list[dict[str, Any]] = []
        for family, found in service.monitors[name].results().items():
            keys = FAMILIES[family].labels
            data += [
                {"name": family, "labels": dict(zip(keys, one.labels, strict=True)), "value": one.value}
                for one in found
                if not one.suffix
            ]
        return jsonify(status="success", data=data)

    @routes.get("/models/<path:name>/status")
    def one(name: str) -> Response | tuple[Response, int]:
        if name not in service.monitors:
            return unknown(name)
        return jsonify(status="success", data=service.model_status(name))

    @routes.get("/status")
    def status() -> Response:
        return jsonify(status="success", data=service.status())

    return routes
