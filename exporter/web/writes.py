"""Every endpoint that changes something, in one blueprint: what must hold for all of them is checked in one place."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from werkzeug.exceptions import BadRequest

from exporter.retrain.alerts import NotificationError, read
from exporter.retrain.desk import Refused
from exporter.retrain.secrets import SecretError, secret_of
from exporter.retrain.signature import HEADER, valid
from exporter.service import Service
from exporter.store import StoreBusy
from exporter.web.api import failure
from exporter.web.retraining import confirmation

TOKEN = "X-Model-Exporter-Token"
LARGEST = 8 * 1024 * 1024
_LONGEST_TEXT = 2000
Answer = Response | tuple[Response, int] | tuple[Response, int, dict[str, str]]
_CODES = {"not_found": 404, "conflict": 409, "bad_data": 400, "unauthorized": 401, "unsupported_media_type": 415}


class Unusable(Exception):
    """A request that cannot be used; kind is the error's type."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def cross_site() -> bool:
    """Say whether a browser sends this for a page of another site."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.host


def payload() -> Any:
    """Return the body, which is JSON and says so: no form of another site can send that."""
    if not request.is_json:
        raise Unusable("unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    try:
        return request.get_json()
    except BadRequest as error:
        raise Unusable("bad_data", "the body is not JSON") from error


def text_of(given: Any, key: str, needed: bool = False) -> str:
    """Return a text of an object."""
    found = given.get(key) if isinstance(given, Mapping) else None
    if found is not None and (not isinstance(found, str | int | float) or len(str(found)) > _LONGEST_TEXT):
        raise Unusable("bad_data", f"{key}: a text of at most {_LONGEST_TEXT} characters is expected")
    if needed and (found is None or not str(found).strip()):
        raise Unusable("bad_data", f"{key} is missing")
    return "" if found is None else str(found).strip()


def who(given: Any) -> str:
    """Return who asks: the user who proved it, else the name that was given, marked as such."""
    if request.remote_user:  # set by what checks passwords in front of these endpoints
        return str(request.remote_user)
    return f"{text_of(given, 'by', needed=True)} (as given)"


def blueprint(service: Service) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("writes", __name__)
    _guards(routes)
    _retraining(routes, service)
    return routes


def _guards(routes: Blueprint) -> None:
    @routes.before_request
    def check() -> Answer | None:
        request.max_content_length = LARGEST
        if cross_site():
            return failure(403, "forbidden", "this was sent by a page of another site")
        return None

    @routes.errorhandler(StoreBusy)
    def busy(error: StoreBusy) -> Answer:
        return *failure(503, "unavailable", str(error)), {"Retry-After": "5"}

    @routes.errorhandler(Unusable)
    @routes.errorhandler(Refused)
    def refused(error: Unusable | Refused) -> Answer:
        return failure(_CODES[error.kind], error.kind, str(error))


def _retraining(routes: Blueprint, service: Service) -> None:
    desk = service.desk

    @routes.post("/api/v1/alerts")
    def alerts() -> Answer:
        try:
            found = read(payload())
        except NotificationError as error:
            raise Unusable("bad_data", str(error)) from error
        return jsonify(status="success", data=desk.receive(found)._asdict())

    @routes.post("/api/v1/models/<path:name>/retrain/<identity>/approve")
    def approve(name: str, identity: str) -> Answer:
        given = payload()
        desk.approve(name, identity, who(given), text_of(given, "comment"))
        return jsonify(status="success")

    @routes.post("/api/v1/models/<path:name>/retrain/<identity>/reject")
    def reject(name: str, identity: str) -> Answer:
        given = payload()
        desk.reject(name, identity, who(given), text_of(given, "comment"))
        return jsonify(status="success")

    @routes.post("/api/v1/models/<path:name>/retrain/<identity>/outcome")
    def outcome(name: str, identity: str) -> Answer:
        raw = request.get_data()
        if not _may_report(service, name, identity, raw):
            sentence = f"sign the body with the secret ({HEADER}), or send the run's own token ({TOKEN})"
            raise Unusable("unauthorized", sentence)
        given = payload()
        status = text_of(given, "status", needed=True)
        if status not in {"succeeded", "failed"}:
            raise Unusable("bad_data", f"status: succeeded or failed is expected, not {status!r}")
        news = desk.report(name, identity, status, text_of(given, "version"), text_of(given, "message"))
        return jsonify(status="success", data={"news": news})

    @routes.post("/models/<path:name>/retrain/<identity>")
    def decide(name: str, identity: str) -> Any:
        form = request.form
        token = desk.token(name, identity)
        right = confirmation(token) if token is not None else ""
        if not right or not hmac.compare_digest(right.encode(), form.get("confirm", "").encode()):
            raise Unusable("bad_data", "this form is not of this page: open it again")
        work = {"approve": desk.approve, "reject": desk.reject}.get(form.get("decision", ""))
        if work is None:
            raise Unusable("bad_data", "decision: approve or reject is expected")
        given = form.to_dict()
        work(name, identity, who(given), text_of(given, "comment"))
        return redirect(url_for("retraining.page", name=name), 303)


def _may_report(service: Service, name: str, identity: str, raw: bytes) -> bool:
    settings, signature = service.desk.settings(name), request.headers.get(HEADER)
    if signature is not None and settings is not None:
        try:
            secret = secret_of(settings.action, service.desk.folder)
        except SecretError:
            secret = None
        if secret is not None and valid(secret, raw, signature, service.desk.clock()):
            return True
    token, given = service.desk.token(name, identity), request.headers.get(TOKEN)
    return token is not None and given is not None and hmac.compare_digest(token.encode(), given.encode())
