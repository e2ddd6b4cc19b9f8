"""What is known of a model's retraining: as JSON, and as a page on which runs are approved."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from exporter.audit import moment
from exporter.duration import show
from exporter.retrain.alerts import MICRO
from exporter.retrain.decision import LOOKBACK
from exporter.retrain.settings import Retrain
from exporter.service import Service
from exporter.store import retraining as table
from exporter.store.retraining import Made, Row, Run
from exporter.web.api import failure

_MOST = 100


def confirmation(token: str) -> str:
    """Return what a form about a run has to carry: only somebody who saw the page knows it."""
    return hmac.new(token.encode(), b"confirm", hashlib.sha256).hexdigest()


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else moment(round(seconds * MICRO))


def plain_run(run: Run) -> dict[str, Any]:
    """Return a run without the right to report on it."""
    told = json.loads(run.event)
    return {
        "id": run.id,
        "state": run.state,
        "decided_at": _time(run.at),
        "triggered_at": _time(run.called),
        "deadline": _time(run.deadline),
        "ended_at": _time(run.ended),
        "attempts": run.attempts,
        "decided_by": run.decided_by or None,
        "version": run.version or None,
        "message": run.message,
        "reasons": told["reasons"],
        "alerts": told["alerts"],
    }


def plain_decision(made: Made) -> dict[str, Any]:
    """Return a decision with its reasons."""
    return {
        "number": made.number,
        "at": _time(made.at),
        "outcome": made.outcome,
        "actor": made.actor,
        "run": made.run,
        "reasons": json.loads(made.reasons),
    }


def plain_alert(row: Row) -> dict[str, Any]:
    """Return an alert that counts."""
    return {
        "alertname": row.name,
        "fingerprint": row.fingerprint,
        "labels": json.loads(row.labels),
        "summary": row.summary,
        "starts_at": moment(row.starts),
        "ends_at": None if row.ends is None else moment(row.ends),
        "last_seen": _time(row.seen),
    }


def settings_of(own: Retrain) -> dict[str, Any]:
    """Return what holds a run back, in words."""
    when = own.when
    return {
        "mode": own.mode,
        "alerts": list(when.alerts) if when else [],
        "occurrences": when.occurrences if when else None,
        "within": show(when.within) if when else None,
        "min_labels": when.min_labels if when else None,
        "cooldown": show(own.cooldown),
        "budget": f"{own.budget.count} per {show(own.budget.seconds)}",
        "approval_timeout": show(own.approval_timeout),
        "timeout": show(own.timeout),
        "outcome": own.reports,
    }


def known(service: Service, name: str, most: int = _MOST) -> dict[str, Any]:
    """Return all that is told of a model's retraining; raise KeyError where it has none."""
    own = service.desk.settings(name)
    if own is None:
        raise KeyError(name)
    names = own.when.alerts if own.when else ()
    with service.store.transaction() as tx:
        made, runs = table.decisions(tx, name, most), table.runs(tx, name, most)
        rows = table.alerts(tx, name, names, service.desk.clock() - LOOKBACK)
        counts = table.counts(tx).get(name, {})
    return {
        "model": name,
        "settings": settings_of(own),
        "runs": [plain_run(run) for run in runs],
        "decisions": [plain_decision(one) for one in made],
        "alerts": [plain_alert(row) for row in reversed(rows[-most:])],
        "counts": counts,
    }


def blueprint(service: Service) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("retraining", __name__, template_folder="templates")

    def nothing(name: str) -> tuple[Response, int]:
        there = [own for own in service.monitors if service.desk.settings(own) is not None]
        return failure(
            404, "not_found", f"no retraining of {name!r} is configured; of {', '.join(there) or 'none'} it is"
        )

    @routes.get("/api/v1/models/<path:name>/retrain")
    def api(name: str) -> Response | tuple[Response, int]:
        most = min(max(request.args.get("limit", _MOST, type=int), 1), 1000)
        try:
            return jsonify(status="success", data=known(service, name, most))
        except KeyError:
            return nothing(name)

    @routes.get("/models/<path:name>/retrain")
    def page(name: str) -> str | tuple[Response, int]:
        try:
            return render_template("retrain.html", **known(service, name))
        except KeyError:
            return nothing(name)

    @routes.get("/models/<path:name>/retrain/<identity>")
    def decide(name: str, identity: str) -> str | tuple[Response, int]:
        with service.store.transaction() as tx:
            run = table.run(tx, name, identity)
        if run is None:
            return failure(404, "not_found", f"model {name} has no run {identity}")
        user = request.remote_user
        return render_template(
            "retrain_run.html", model=name, run=plain_run(run), confirm=confirmation(run.token), user=user
        )

    return routes
