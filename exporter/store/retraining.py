"""Alerts, decisions and runs of retraining in the store; what only one exporter may do is one conditional change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from exporter.store import audit
from exporter.store.tables import TABLES, Text
from exporter.store.transaction import Transaction

ALERT = sa.Table(
    "retrain_alert",
    TABLES,
    sa.Column("model", Text, primary_key=True),
    sa.Column("fingerprint", Text, primary_key=True),
    sa.Column("starts", sa.BigInteger, primary_key=True),
    sa.Column("ends", sa.BigInteger),
    sa.Column("name", Text, nullable=False),
    sa.Column("labels", Text, nullable=False),
    sa.Column("summary", Text, nullable=False),
    sa.Column("received", sa.Float(53), nullable=False),
    sa.Column("seen", sa.Float(53), nullable=False),
    sa.Index("retrain_alert_seen", "model", "seen"),
)
DESK = sa.Table(
    "retrain_desk",
    TABLES,
    sa.Column("model", Text, primary_key=True),
    sa.Column("news", sa.BigInteger, nullable=False),
    sa.Column("judged", sa.BigInteger, nullable=False),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("labels", sa.BigInteger),
)
DECISION = sa.Table(
    "retrain_decision",
    TABLES,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("model", Text, nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("reasons", Text, nullable=False),
    sa.Column("run", Text),
    sa.Index("retrain_decision_model", "model", "number"),
)
COUNT = sa.Table(
    "retrain_count",
    TABLES,
    sa.Column("model", Text, primary_key=True),
    sa.Column("outcome", Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
RUN = sa.Table(
    "retrain_run",
    TABLES,
    sa.Column("id", Text, primary_key=True),
    sa.Column("model", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("event", Text, nullable=False),
    sa.Column("token", Text, nullable=False),
    sa.Column("deadline", sa.Float(53), nullable=False),
    sa.Column("called", sa.Float(53)),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("next_attempt", sa.Float(53), nullable=False),
    sa.Column("owner", Text),
    sa.Column("lease", sa.Float(53)),
    sa.Column("ended", sa.Float(53)),
    sa.Column("decided_by", Text, nullable=False),
    sa.Column("version", Text, nullable=False),
    sa.Column("message", Text, nullable=False),
    sa.Index("retrain_run_model", "model", "at"),
)


class Row(NamedTuple):
    """One time an alert fired. starts, ends: microseconds; received, seen: first and last heard of, in seconds."""

    model: str
    fingerprint: str
    starts: int
    ends: int | None
    name: str
    labels: str
    summary: str
    received: float
    seen: float


class Desk(NamedTuple):
    """Where a model's decisions stand. news: changes that alerts brought; judged: of them the ones decided on."""

    model: str
    news: int
    judged: int
    outcome: str
    labels: int | None


class Made(NamedTuple):
    """A decision as it is stored; reasons: JSON."""

    number: int
    model: str
    at: float
    outcome: str
    actor: str
    reasons: str
    run: str | None


class Run(NamedTuple):
    """A run: what is sent (event, JSON), the right to report on it (token), and how it stands; times in seconds."""

    id: str
    model: str
    state: str
    at: float
    event: str
    token: str
    deadline: float
    called: float | None = None
    attempts: int = 0
    next_attempt: float = 0.0
    owner: str | None = None
    lease: float | None = None
    ended: float | None = None
    decided_by: str = ""
    version: str = ""
    message: str = ""


def note_alerts(tx: Transaction, rows: Iterable[Row]) -> set[str]:
    """Store alerts, each once; return the models of which there is something new. What is resolved stays so."""
    new: dict[str, int] = {}
    for row in sorted(rows):  # in one order, lest two exporters wait for each other
        known = (ALERT.c.model == row.model) & (ALERT.c.fingerprint == row.fingerprint) & (ALERT.c.starts == row.starts)
        insert = tx.insert(ALERT).values(row._asdict()).on_conflict_do_nothing().returning(ALERT.c.starts)
        if tx.connection.execute(insert).one_or_none() is not None:
            new[row.model] = new.get(row.model, 0) + 1
            continue
        later = sa.case((ALERT.c.seen < row.seen, row.seen), else_=ALERT.c.seen)
        ends = sa.func.coalesce(ALERT.c.ends, row.ends)
        tx.connection.execute(sa.update(ALERT).where(known).values(seen=later, ends=ends))
    for model, count in sorted(new.items()):
        statement = tx.insert(DESK).values(model=model, news=count, judged=0, outcome="", labels=None)
        total = DESK.c.news + statement.excluded.news
        tx.connection.execute(statement.on_conflict_do_update(index_elements=["model"], set_={"news": total}))
    return set(new)


def desk(tx: Transaction, model: str) -> Desk:
    """Return where a model's decisions stand, and keep all others from it until the transaction is over."""
    empty = tx.insert(DESK).values(model=model, news=0, judged=0, outcome="", labels=None)
    tx.connection.execute(empty.on_conflict_do_nothing())
    row = tx.connection.execute(sa.select(DESK).where(DESK.c.model == model).with_for_update()).one()
    return Desk._make(row)


def set_desk(tx: Transaction, model: str, **values: Any) -> None:
    """Change where a model's decisions stand."""
    tx.connection.execute(sa.update(DESK).where(DESK.c.model == model).values(**values))


def alerts(tx: Transaction, model: str, names: Sequence[str], since: float) -> list[Row]:
    """Return the alerts of these names that were heard of since then (seconds), in order of their beginning."""
    query = sa.select(ALERT).where(ALERT.c.model == model, ALERT.c.name.in_(names), ALERT.c.seen >= since)
    return [Row._make(row) for row in tx.connection.execute(query.order_by(ALERT.c.starts, ALERT.c.fingerprint))]


def last_alerts(tx: Transaction, since: float) -> dict[str, float]:
    """Return when each model's alerts were last heard of, of those since then (seconds)."""
    newest = sa.select(ALERT.c.model, sa.func.max(ALERT.c.seen)).where(ALERT.c.seen >= since)
    return {str(model): float(seen) for model, seen in tx.connection.execute(newest.group_by(ALERT.c.model))}


def add_decision(
    tx: Transaction, made: Made, detail: Mapping[str, Any] | None = None, counted: Sequence[str] = ()
) -> None:
    """Store a decision, count it, and add it to the audit log; last in its transaction. made.number is not used."""
    values = {key: value for key, value in made._asdict().items() if key != "number"}
    tx.connection.execute(sa.insert(DECISION), [values])
    statement = tx.insert(COUNT).values(model=made.model, outcome=made.outcome, value=1)
    total = COUNT.c.value + 1
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["model", "outcome"], set_={"value": total}))
    told = {"reasons": json.loads(made.reasons), "run": made.run, "alerts": list(counted), **(detail or {})}
    audit.append(tx, made.at, f"retrain.{made.outcome}", told, made.model, made.actor)


def decisions(tx: Transaction, model: str, most: int) -> list[Made]:
    """Return the newest decisions, the newest first."""
    query = sa.select(DECISION).where(DECISION.c.model == model).order_by(DECISION.c.number.desc()).limit(most)
    return [Made._make(row) for row in tx.connection.execute(query)]


def counts(tx: Transaction) -> dict[str, dict[str, int]]:
    """Return how often each model had each outcome."""
    found: dict[str, dict[str, int]] = {}
    for row in tx.connection.execute(sa.select(COUNT)):
        found.setdefault(row.model, {})[row.outcome] = row.value
    return found


def add_run(tx: Transaction, run: Run) -> None:
    """Store a run."""
    tx.connection.execute(sa.insert(RUN), [run._asdict()])


def runs(tx: Transaction, model: str, most: int) -> list[Run]:
    """Return the newest runs, the newest first."""
    query = sa.select(RUN).where(RUN.c.model == model).order_by(RUN.c.at.desc(), RUN.c.id).limit(most)
    return [Run._make(row) for row in tx.connection.execute(query)]


def run(tx: Transaction, model: str, identity: str) -> Run | None:
    """Return one run of a model."""
    row = tx.connection.execute(sa.select(RUN).where(RUN.c.id == identity, RUN.c.model == model)).one_or_none()
    return None if row is None else Run._make(row)


def in_state(tx: Transaction, *states: str) -> list[Run]:
    """Return the runs of all models that are in one of these states, the oldest first."""
    query = sa.select(RUN).where(RUN.c.state.in_(states)).order_by(RUN.c.at, RUN.c.id)
    return [Run._make(row) for row in tx.connection.execute(query)]


def last_called(tx: Transaction) -> dict[str, float]:
    """Return when each model's newest run was let go, in seconds."""
    query = sa.select(RUN.c.model, sa.func.max(RUN.c.called)).where(RUN.c.called.is_not(None)).group_by(RUN.c.model)
    return {str(model): float(called) for model, called in tx.connection.execute(query)}


def change(tx: Transaction, identity: str, states: Iterable[str], **values: Any) -> bool:
    """Change a run that is in one of these states; return whether it was. Of two that try, one succeeds."""
    where = (RUN.c.id == identity) & RUN.c.state.in_(list(states))
    return tx.connection.execute(sa.update(RUN).where(where).values(**values)).rowcount == 1


def claim(tx: Transaction, identity: str, owner: str, now: float, until: float, deadline: float) -> bool:
    """Take the next attempt of a run, unless somebody has it; it is free again at `until` (seconds)."""
    free = RUN.c.lease.is_(None) | (RUN.c.lease <= now)
    where = (RUN.c.id == identity) & (RUN.c.state == "calling") & (RUN.c.next_attempt <= now) & free
    mine = {"owner": owner, "lease": until, "attempts": RUN.c.attempts + 1, "deadline": deadline}
    return tx.connection.execute(sa.update(RUN).where(where).values(**mine)).rowcount == 1


def settle(tx: Transaction, identity: str, owner: str, attempt: int, **values: Any) -> bool:
    """Note what came of an attempt, unless another exporter has taken the run over or it has ended."""
    mine = (RUN.c.id == identity) & (RUN.c.state == "calling") & (RUN.c.owner == owner) & (RUN.c.attempts == attempt)
    return tx.connection.execute(sa.update(RUN).where(mine).values(owner=None, lease=None, **values)).rowcount == 1


def extend(tx: Transaction, identity: str, owner: str, attempt: int, until: float) -> bool:
    """Hold on to a run while its command goes on."""
    mine = (RUN.c.id == identity) & (RUN.c.state == "calling") & (RUN.c.owner == owner) & (RUN.c.attempts == attempt)
    return tx.connection.execute(sa.update(RUN).where(mine).values(lease=until)).rowcount == 1


def forget_alerts(tx: Transaction, before: float) -> None:
    """Drop alerts that nobody has spoken of since then (seconds)."""
    tx.connection.execute(sa.delete(ALERT).where(ALERT.c.seen < before))
