"""The audit log's table: entries are added, never changed; the database itself refuses anything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from exporter.audit import FIRST, Entry, sealed
from exporter.store.tables import META, TABLES, Text
from exporter.store.transaction import Transaction

_PAGE = 1000
_HEAD = "audit_head"
AUDIT = sa.Table(
    "audit",
    TABLES,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("model", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Column("previous", Text, nullable=False),
    sa.Column("hash", Text, nullable=False),
)
for _change in ("UPDATE", "DELETE"):
    _only_grows = sa.DDL(  # type: ignore[no-untyped-call]
        f"CREATE TRIGGER audit_no_{_change.lower()} BEFORE {_change} ON audit "
        f"BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
    )
    sa.event.listen(AUDIT, "after_create", _only_grows.execute_if(dialect="sqlite"))
for _statement in (
    "CREATE OR REPLACE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$",
    "CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()",
):
    _ddl = sa.DDL(_statement)  # type: ignore[no-untyped-call]
    sa.event.listen(AUDIT, "after_create", _ddl.execute_if(dialect="postgresql"))


def _head(tx: Transaction, lock: bool) -> tuple[int, str]:
    query = sa.select(META.c.value).where(META.c.key == _HEAD)
    found = tx.connection.execute(query.with_for_update() if lock else query).scalar()
    number, _, last = (found or f"0 {FIRST}").partition(" ")
    return int(number), last


def append(tx: Transaction, now: float, kind: str, detail: Mapping[str, Any], model: str = "", actor: str = "") -> None:
    """Add an entry as of `now` (Unix seconds). Last in its transaction: the log's end is locked until that is over."""
    first = tx.insert(META).values(key=_HEAD, value=f"0 {FIRST}").on_conflict_do_nothing()
    tx.connection.execute(first)
    number, last = _head(tx, lock=True)
    text = json.dumps(detail, ensure_ascii=False, sort_keys=True, default=str)
    entry = sealed(Entry(number + 1, round(now * 1e6), kind, model, actor, text, last))
    tx.connection.execute(sa.insert(AUDIT), [entry._asdict()])
    head = f"{entry.number} {entry.hash}"
    tx.connection.execute(sa.update(META).where(META.c.key == _HEAD).values(value=head))


def head(tx: Transaction) -> tuple[int, str]:
    """Return the number and the hash of the last entry, as the store notes them."""
    return _head(tx, lock=False)


def entries(transaction: Callable[[], AbstractContextManager[Transaction]]) -> Iterator[Entry]:
    """Return all entries in order, page by page, so that nobody waits long."""
    number = -(2**62)
    while True:
        query = sa.select(AUDIT).where(AUDIT.c.number > number).order_by(AUDIT.c.number).limit(_PAGE)
        with transaction() as tx:
            page = [Entry._make(row) for row in tx.connection.execute(query)]
        yield from page
        if len(page) < _PAGE:
            return
        number = page[-1].number


def note(tx: Transaction, key: str) -> str | None:
    """Return what was remembered under a key."""
    found: str | None = tx.connection.execute(sa.select(META.c.value).where(META.c.key == key)).scalar()
    return found


def remember(tx: Transaction, key: str, value: str) -> None:
    """Remember a text under a key."""
    statement = tx.insert(META).values(key=key, value=value)
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
