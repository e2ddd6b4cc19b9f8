"""Where alerts, decisions and people meet: each step is one change of the store, so that any exporter can go on.

A run is called by whoever claims it, for as long as its lease holds; what was claimed and not noted is called again,
with the same id.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from exporter.audit import moment
from exporter.retrain import event as events
from exporter.retrain.alerts import MICRO, Alert
from exporter.retrain.decision import LOOKBACK, STALE, Check, Decision, Past, Situation, Spell, decide
from exporter.retrain.settings import Retrain
from exporter.settings import Model
from exporter.store import Store, Transaction
from exporter.store import retraining as table
from exporter.store.retraining import Made, Row, Run

log = logging.getLogger("exporter.retrain")
REPORTABLE = ("calling", "running", "lost")  # a run that was given up may still tell
_RUNS = 1000
_MOST_ALERTS = 100
_PATIENCE = 8.0  # seconds to wait for the store before a sender is told to come again


class Received(NamedTuple):
    """What became of a notification's alerts."""

    accepted: int
    ignored: int


class Refused(Exception):
    """Something that cannot be done to a run now; kind: not_found or conflict."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class Desk:
    """Everything about retraining but the calls themselves."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time):
        self._store = store
        self.clock = clock
        self.models: Mapping[str, Model] = {}  # never changed, only replaced: other threads read it
        self.folder = Path()
        self.woken = threading.Event()

    def configure(self, models: Iterable[Model], folder: Path) -> None:
        """Take over the settings of all models; relative paths begin in `folder`."""
        self.models, self.folder = {model.name: model for model in models}, folder
        self.woken.set()

    def settings(self, model: str) -> Retrain | None:
        """Return a model's section; None where it has none."""
        own = self.models.get(model)
        return own.retrain if own is not None else None

    def receive(self, alerts: list[Alert]) -> Received:
        """Store what counts of a notification, in one transaction; afterwards it cannot be lost."""
        now = self.clock()
        rows = {(one.model, one.fingerprint, one.starts): _row(one, now) for one in alerts if self._counts(one)}
        if rows:
            with self._store.lasting(_PATIENCE) as tx:
                table.note_alerts(tx, rows.values())
            self.woken.set()
        return Received(len(rows), len(alerts) - len(rows))

    def _counts(self, alert: Alert) -> bool:
        own = self.settings(alert.model)
        return own is not None and own.judges and own.when is not None and alert.name in own.when.alerts

    def alarmed(self) -> list[str]:
        """Return the models with an alert that may count: only of those is there anything to decide."""
        within = {
            name: own.retrain.when.within for name, own in self.models.items() if own.retrain and own.retrain.when
        }
        if not within:
            return []
        now = self.clock()
        with self._store.transaction() as tx:
            last = table.last_alerts(tx, now - max(within.values()))
        return [name for name, seconds in within.items() if name in last and last[name] >= now - seconds]

    def judge(self, model: str, labels: int | None) -> Decision | None:
        """Decide where there is something new; return the decision if one was stored.

        labels: mature ones, None where this exporter does not know; then what another one knew counts.
        """
        own = self.models[model]
        settings = own.retrain
        if settings is None or settings.when is None or not settings.judges:
            return None
        now = self.clock()
        with self._store.lasting() as tx:
            desk = table.desk(tx, model)
            known = desk.labels if labels is None else labels
            if known != desk.labels:
                table.set_desk(tx, model, labels=known)
            since = now - max(settings.when.within, LOOKBACK) - STALE
            rows = table.alerts(tx, model, settings.when.alerts, since)
            spells = [_spell(row) for row in rows]
            past = [Past(run.at, run.state) for run in table.runs(tx, model, _RUNS)]
            found = decide(settings, settings.when, Situation(spells, past, known, now))
            news = desk.news > desk.judged
            # A condition that came true, or another that fails now; but not that alerts grew old.
            turned = found.positive or found.outcome not in {desk.outcome, "too_few_alerts"}
            if not news and not turned:
                return None
            run = self._new_run(tx, own, settings, found, rows, now) if found.positive else None
            table.set_desk(tx, model, judged=desk.news, outcome=found.outcome)
            fingerprints = sorted({spell.fingerprint for spell in found.counted})
            made = Made(0, model, now, found.outcome, "exporter", _reasons(found.checks), run and run.id)
            table.add_decision(tx, made, counted=fingerprints)
        log.info("model %s: retraining: %s: %s", model, found.outcome, _why(found))
        self.woken.set()
        return found

    def _new_run(
        self, tx: Transaction, model: Model, settings: Retrain, found: Decision, rows: list[Row], now: float
    ) -> Run:
        identity, token = uuid4().hex, secrets.token_urlsafe(24)
        state = {"triggered": "calling", "awaiting_approval": "awaiting_approval", "dry_run": "dry_run"}[found.outcome]
        told = {
            "form": events.FORM,
            "id": identity,
            "model": model.name,
            "model_version": model.version if isinstance(model.version, str) else "",
            "requested_at": moment(round(now * MICRO)),
            "mode": settings.mode,
            "approved_by": None,
            "reasons": [check.text for check in found.checks],
            "occurrences": len(found.counted),
            "alerts": _told(rows, found.counted)[:_MOST_ALERTS],
            "callback": events.callback(model.name, identity, token, settings.external_url),
        }
        waits = settings.approval_timeout if state == "awaiting_approval" else settings.timeout
        run = Run(
            identity,
            model.name,
            state,
            now,
            json.dumps(told, ensure_ascii=False),
            token,
            deadline=now + waits,
            called=now if state == "calling" else None,
            next_attempt=now,
            ended=now if state == "dry_run" else None,
        )
        table.add_run(tx, run)
        return run

    def approve(self, model: str, identity: str, actor: str, comment: str = "") -> None:
        """Let a run that waits go; raises Refused."""
        settings, now = self.settings(model), self.clock()
        if settings is None or settings.mode != "approve" or not settings.acts:
            raise Refused("conflict", f"retrain.mode of {model} is not approve any more")
        with self._store.lasting(_PATIENCE) as tx:
            table.desk(tx, model)
            run = self._waiting(tx, model, identity, now)
            told = json.dumps(json.loads(run.event) | {"approved_by": actor}, ensure_ascii=False)
            table.change(
                tx,
                identity,
                ("awaiting_approval",),
                state="calling",
                event=told,
                decided_by=actor,
                message=comment,
                called=now,
                next_attempt=now,
                deadline=now + settings.timeout,
            )
            self._note(tx, run, "triggered", actor, f"approved by {actor}", comment)
        log.info("model %s: retraining %s: approved by %s", model, identity, actor)
        self.woken.set()

    def reject(self, model: str, identity: str, actor: str, comment: str = "") -> None:
        """End a run that waits; raises Refused."""
        now = self.clock()
        with self._store.lasting(_PATIENCE) as tx:
            table.desk(tx, model)
            run = self._waiting(tx, model, identity, now)
            ended = {"state": "rejected", "ended": now, "decided_by": actor, "message": comment}
            table.change(tx, identity, ("awaiting_approval",), **ended)
            self._note(tx, run, "rejected", actor, f"rejected by {actor}", comment)
        log.info("model %s: retraining %s: rejected by %s", model, identity, actor)

    def _waiting(self, tx: Transaction, model: str, identity: str, now: float) -> Run:
        run = table.run(tx, model, identity)
        if run is None:
            raise Refused("not_found", f"model {model} has no run {identity}")
        if run.state != "awaiting_approval":
            by = f", by {run.decided_by}" if run.decided_by else ""
            raise Refused("conflict", f"run {identity} does not wait for an approval: it is {run.state}{by}")
        if run.deadline <= now:
            raise Refused("conflict", f"run {identity} waited too long for its approval: it has expired")
        return run

    def report(self, model: str, identity: str, status: str, version: str = "", message: str = "") -> bool:
        """Take up how a run went (succeeded or failed); return whether it is news; raises Refused."""
        now = self.clock()
        with self._store.lasting(_PATIENCE) as tx:
            table.desk(tx, model)
            run = table.run(tx, model, identity)
            if run is None:
                raise Refused("not_found", f"model {model} has no run {identity}")
            ended = {"state": status, "ended": now, "version": version, "message": message, "owner": None}
            if not table.change(tx, identity, REPORTABLE, **ended, lease=None):
                if run.state == status:
                    return False
                raise Refused("conflict", f"run {identity} is {run.state}: no outcome is expected of it")
            told = f"the run reported {status}" + (f", version {version}" if version else "")
            self._note(tx, run, status, "callback", told, message)
        log.info("model %s: retraining %s: %s %s", model, identity, status, message)
        self.woken.set()
        return True

    def end_late(self) -> None:
        """End what waited too long for its approval, and what never told how it went."""
        now = self.clock()
        with self._store.transaction() as tx:
            late = [run for run in table.in_state(tx, "awaiting_approval", "calling", "running") if run.deadline <= now]
        for run in late:
            waits = run.state == "awaiting_approval"
            state, text = ("expired", "nobody decided in time") if waits else ("lost", "no outcome came in time")
            self.end(run, state, text)

    def end(self, run: Run, state: str, text: str) -> bool:
        """End a run that is as it was read; return whether it was."""
        now = self.clock()
        with self._store.lasting() as tx:
            table.desk(tx, run.model)
            ended = {"state": state, "ended": now, "message": text, "owner": None, "lease": None}
            if not table.change(tx, run.id, (run.state,), **ended):
                return False
            self._note(tx, run, state, "exporter", text)
        log.warning("model %s: retraining %s: %s: %s", run.model, run.id, state, text)
        return True

    def settle(self, run: Run, owner: str, attempt: int, state: str, text: str) -> None:
        """End a run by what came of its last attempt, unless it has ended or another exporter has it."""
        with self._store.lasting() as tx:
            table.desk(tx, run.model)
            ended = {"state": state, "ended": self.clock(), "message": text}
            if table.settle(tx, run.id, owner, attempt, **ended):
                self._note(tx, run, state, "exporter", text)

    def _note(self, tx: Transaction, run: Run, outcome: str, actor: str, text: str, comment: str = "") -> None:
        """Store what people, runs and time decided."""
        reasons = _reasons((Check(outcome, True, text), *([Check("comment", True, comment)] if comment else [])))
        table.add_decision(tx, Made(0, run.model, self.clock(), outcome, actor, reasons, run.id))

    def forget(self, before: float) -> None:
        """Drop alerts that nobody has spoken of since then."""
        with self._store.transaction() as tx:
            table.forget_alerts(tx, before)

    def token(self, model: str, identity: str) -> str | None:
        """Return the right to report on a run; None where there is no such run."""
        with self._store.transaction(_PATIENCE) as tx:
            run = table.run(tx, model, identity)
        return None if run is None else run.token


def _row(alert: Alert, now: float) -> Row:
    """Return how an alert is stored."""
    labels = json.dumps(dict(alert.labels), ensure_ascii=False, sort_keys=True)
    key = (alert.model, alert.fingerprint, alert.starts)
    return Row(*key, alert.ends, alert.name, labels, alert.summary, received=now, seen=now)


def _spell(row: Row) -> Spell:
    """Return when an alert fired; where another machine's clock is ahead, from when it was heard of."""
    start = min(row.starts / MICRO, row.received)
    end = None if row.ends is None else max(row.ends / MICRO, start)
    return Spell(row.fingerprint, start, max(row.seen, start), end)


def _reasons(checks: Iterable[Check]) -> str:
    return json.dumps([check._asdict() for check in checks], ensure_ascii=False)


def _why(found: Decision) -> str:
    failing = [check.text for check in found.checks if not check.holds]
    return "; ".join(failing or [found.checks[0].text])


def _told(rows: Iterable[Row], counted: Iterable[Spell]) -> list[dict[str, Any]]:
    """Tell of the alerts that counted."""
    wanted = {spell.fingerprint: spell.start for spell in counted}
    return [
        {
            "fingerprint": row.fingerprint,
            "alertname": row.name,
            "starts_at": moment(row.starts),
            "firing": row.ends is None,
            "labels": json.loads(row.labels),
            "summary": row.summary,
        }
        for row in rows
        if row.fingerprint in wanted and _spell(row).start >= wanted[row.fingerprint]
    ]
