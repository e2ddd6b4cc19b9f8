"""POST of predictions and labels."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from exporter.inbox import Inbox, Refused
from exporter.service import Service
from exporter.sources.push import Unreadable, parse
from exporter.store import StoreError
from exporter.web.api import failure
from exporter.web.writes import cross_site

MOST_BYTES = 64 * 1024 * 1024
_AGAIN_SECONDS = "10"


def blueprint(service: Service) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("push", __name__, url_prefix="/api/v1/models")
    inbox = Inbox(service.store)

    @routes.before_request
    def check() -> tuple[Response, int] | None:
        request.max_content_length = MOST_BYTES
        return failure(403, "forbidden", "this was sent by a page of another site") if cross_site() else None

    @routes.post("/<path:name>/<any(predictions, labels):source>")
    def push(name: str, source: str) -> tuple[Response, int]:
        monitors = service.monitors
        if name not in monitors:
            return failure(404, "not_found", f"no model {name!r}; there are {', '.join(monitors) or 'none'}")
        try:
            table, unread = parse(request.get_data(cache=False), request.mimetype)
            taken = inbox.take(monitors[name].model, source, table, unread)
        except Unreadable as error:
            return failure(400, "bad_data", str(error))
        except StoreError as error:
            return later(failure(503, "unavailable", str(error)))
        except Refused as error:
            answer = failure(error.code, error.kind, str(error))
            return later(answer) if error.code in {429, 503} else answer
        return jsonify(status="success", data=taken._asdict()), 202

    def later(answer: tuple[Response, int]) -> tuple[Response, int]:
        answer[0].headers["Retry-After"] = _AGAIN_SECONDS
        return answer

    return routes
