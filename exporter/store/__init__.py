"""Baselines, buckets, ledger, days, positions and counters in SQLite or PostgreSQL; each change is one transaction."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from exporter.store import audit, retraining
from exporter.store.tables import TABLES, Due, Pending, Prediction, StoreBusy, StoreError
from exporter.store.transaction import Transaction

__all__ = [
    "Due",
    "Pending",
    "Prediction",
    "Store",
    "StoreBusy",
    "StoreError",
    "Transaction",
    "audit",
    "retraining",
]


class Store:
    """The whole store; safe for threads."""

    def __init__(self, url: str):
        try:
            parsed = sa.make_url(url)
            self._sqlite = parsed.get_backend_name() == "sqlite"
            memory = self._sqlite and parsed.database in {None, "", ":memory:"}
            options: dict[str, Any] = {"poolclass": sa.StaticPool} if memory else {}
            if self._sqlite:
                options["connect_args"] = {"timeout": 60, "check_same_thread": False}
            self._engine = sa.create_engine(parsed, **options)
            self._lock = threading.RLock() if self._sqlite else None
            if self._sqlite:
                sa.event.listen(self._engine, "connect", _tune_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
            with self.transaction() as tx:
                TABLES.create_all(tx.connection)
                tx.check_schema()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(f"store.url {_without_password(url)}: cannot be opened: {reason}") from error

    @contextlib.contextmanager
    def transaction(self, wait: float | None = None) -> Iterator[Transaction]:
        """Do everything inside or nothing; raise StoreBusy where others write for longer than `wait` seconds."""
        with self._turn(wait), self._engine.begin() as connection:
            insert: Any = sqlite.insert if self._sqlite else postgresql.insert
            yield Transaction(connection, insert)

    @contextlib.contextmanager
    def _turn(self, wait: float | None) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        if not self._lock.acquire(timeout=-1 if wait is None else wait):
            raise StoreBusy(f"the store was busy for {wait:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def bytes(self) -> int:
        """Return the size on disk."""
        query = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if self._sqlite
            else "SELECT pg_database_size(current_database())"
        )
        with self._turn(None), self._engine.begin() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()


def _tune_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _without_password(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "(not a database URL)"
