"""Baselines, buckets, ledger, days, positions and counters in SQLite or PostgreSQL; each change is one transaction."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from importlib import import_module

import sqlalchemy as sa

from exporter.store import audit, retraining
from exporter.store.connect import is_trouble, make_engine, read_url, sentence
from exporter.store.tables import LEASE, TABLES, Due, LeaseLost, Member, Pending, Prediction, StoreBusy, StoreError
from exporter.store.transaction import Transaction

__all__ = [
    "Due",
    "LeaseLost",
    "Member",
    "Pending",
    "Prediction",
    "Store",
    "StoreBusy",
    "StoreError",
    "Transaction",
    "audit",
    "retraining",
]

_MAKING = 0x6D6F64656C  # the advisory lock of those who make tables: two who start at once would fail


class Store:
    """The whole store; safe for threads."""

    def __init__(self, url: str, name: str = "model-exporter"):
        self.url = read_url(url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._fence: tuple[str, int] | None = None
        self._engine = make_engine(self.url, name)
        on_disk = self._sqlite and self.url.database not in {None, "", ":memory:"}
        self._lasting = make_engine(self.url, name, sync="FULL") if on_disk else self._engine
        self._lock = threading.RLock() if self._sqlite else None
        try:
            with self.transaction() as tx:
                if not self._sqlite:
                    _check_encoding(tx.connection)
                    tx.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
                TABLES.create_all(tx.connection)
                tx.check_schema()
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(sentence(self.url, error)) from error

    @contextlib.contextmanager
    def transaction(self, wait: float | None = None) -> Iterator[Transaction]:
        """Do everything inside or nothing.

        Raises StoreBusy where others write for longer than `wait` seconds, StoreError where the database cannot.
        """
        with self._within(self._engine, wait) as tx:
            yield tx

    @contextlib.contextmanager
    def lasting(self, wait: float | None = None) -> Iterator[Transaction]:
        """Do as `transaction`, for what others are told of: it outlives a power cut, which on SQLite costs a sync."""
        with self._within(self._lasting, wait) as tx:
            yield tx

    @contextlib.contextmanager
    def _within(self, engine: sa.Engine, wait: float | None) -> Iterator[Transaction]:
        # Imported with the engine; the other is not.
        dialect = import_module(f"sqlalchemy.dialects.{engine.dialect.name}")
        try:
            with self._turn(wait), engine.begin() as connection:
                self._check_fence(connection)
                yield Transaction(connection, dialect.insert)
        except sa.exc.SQLAlchemyError as error:
            if is_trouble(error):
                raise StoreError(sentence(self.url, error)) from error
            raise

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

    def fenced(self, lease: str, epoch: int) -> Store:
        """Return this store for one holder of a lease: its transactions raise LeaseLost once there is another one."""
        own = copy.copy(self)
        own._fence = lease, epoch
        return own

    def _check_fence(self, connection: sa.Connection) -> None:
        """Hold the epoch for as long as the transaction lasts: who wants to raise it waits, renewing does not."""
        if self._fence is not None:
            lease, epoch = self._fence
            own = (LEASE.c.name == lease) & (LEASE.c.epoch == epoch)
            query = sa.select(LEASE.c.epoch).where(own).with_for_update(read=True, key_share=True)
            if connection.execute(query).one_or_none() is None:
                raise LeaseLost("another exporter computes now: this one leaves the store as it is")

    @property
    def shared(self) -> bool:
        """Whether other exporters can use it at the same time."""
        return not self._sqlite

    def bytes(self) -> int:
        """Return the size on disk."""
        query = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if self._sqlite
            else "SELECT pg_database_size(current_database())"
        )
        with self.transaction() as tx:
            return int(tx.connection.execute(sa.text(query)).scalar_one())

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()
        self._lasting.dispose()


def _check_encoding(connection: sa.Connection) -> None:
    found = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if found != "UTF8":
        raise StoreError(f"store.url: the database's encoding is {found}: make one with ENCODING 'UTF8'")
