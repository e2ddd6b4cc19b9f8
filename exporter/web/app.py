"""The Flask application and its server."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import Protocol, cast

import waitress
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from exporter.service import Service
from exporter.web import access, api, metrics, pages, push, retraining, writes
from exporter.web.config import Kept


def create(service: Service, kept: Kept, host: str, lifecycle: bool = False) -> Flask:
    """Make the application, to be served at an address; `lifecycle` allows /-/reload."""
    app = Flask("exporter.web", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    access.guard(app, kept, host)
    app.register_blueprint(metrics.blueprint(lambda: service.board))
    app.register_blueprint(api.blueprint(service))
    app.register_blueprint(push.blueprint(service))
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


class Server(Protocol):
    """What serves the application."""

    def run(self) -> None:
        """Serve until it is closed."""

    def close(self) -> None:
        """End it."""


def server(app: Flask, host: str, port: int, kept: Kept) -> Server:
    """Return a server that listens already; `run()` serves, `close()` ends it."""
    options = {"threads": 8, "ident": "model-exporter", "clear_untrusted_proxy_headers": True}
    options["max_request_body_size"] = 2 * push.MOST_BYTES  # more is cut off; up to that the application says no
    try:
        if kept.now().context is None:
            plain: Server = waitress.create_server(app, host=host, port=port, **options)
            return plain
        from exporter.web.tls import TlsServer  # an event loop takes a while to import

        listener = socket.create_server((host, port), family=_family(host), backlog=1024)
        folder = tempfile.mkdtemp(prefix="model-exporter-")  # of this user alone
        path = str(Path(folder) / "http")
        options |= {"unix_socket": path, "unix_socket_perms": "600", "url_scheme": "https"}
        behind = waitress.create_server(app, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}") from error
    return TlsServer(listener, lambda: cast(ssl.SSLContext, kept.now().context), behind, path, folder)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
