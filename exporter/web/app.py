"""The Flask application and its server."""

from __future__ import annotations

import waitress
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from exporter.service import Service
from exporter.web import api, metrics, pages, retraining, writes


def create(service: Service, lifecycle: bool = False) -> Flask:
    """Make the application; `lifecycle` allows /-/reload."""
    app = Flask("exporter.web", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(metrics.blueprint(lambda: service.board))
    app.register_blueprint(api.blueprint(service))
    app.register_blueprint(pages.blueprint(service))
    app.register_blueprint(retraining.blueprint(service))
    app.register_blueprint(writes.blueprint(service))

    @app.get("/-/healthy")
    def healthy() -> str:
        return "model-exporter is healthy.\n"

    @app.get("/-/ready")
    def ready() -> tuple[Response, int] | str:
        reasons = service.unready()
        if reasons:
            return jsonify(status="unready", reasons=reasons), 503
        waits = "" if service.leads else f" It stands by: {service.role()['leader']} computes."
        return f"model-exporter is ready.{waits}\n"

    @app.route("/-/reload", methods=["POST", "PUT"])
    def reload() -> tuple[Response, int] | str:
        if not lifecycle:
            return api.failure(403, "forbidden", "start with --web.enable-lifecycle to allow reloads")
        if service.reload():
            return "configuration is reloaded.\n"
        return api.failure(500, "bad_config", service.reload_error)

    @app.errorhandler(HTTPException)
    def wrong(error: HTTPException) -> tuple[Response, int]:
        return api.failure(error.code or 500, error.name.lower().replace(" ", "_"), f"{request.path}: {error.name}")

    return app


def server(app: Flask, host: str, port: int) -> waitress.server.BaseWSGIServer:
    """Return a server that listens already; `run()` serves, `close()` ends it."""
    try:
        return waitress.create_server(
            app, host=host, port=port, threads=8, ident="model-exporter", clear_untrusted_proxy_headers=True
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}") from error
