"""Which of several exporters on one PostgreSQL computes: the holder of a lease, a row that it renews.

Times are the server's, so the exporters' clocks do not matter. Each new holder raises the epoch; the transactions of a
holder lock the row with its epoch (`Store.fenced`), so what an earlier one still has in hand is undone, never added.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from exporter.store.connect import make_engine, sentence
from exporter.store.tables import LEASE, StoreError

_NOW = sa.func.extract("epoch", sa.func.clock_timestamp())
_TIMEOUTS = "-c lock_timeout=4s -c statement_timeout=4s -c idle_in_transaction_session_timeout=10s"


def clock() -> float:
    """Return seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def own_name() -> str:
    """Return a name for this process that no other has; short enough for PostgreSQL to show."""
    return f"{socket.gethostname()[:24]}:{os.getpid()}:{secrets.token_hex(2)}"


def application(holder: str) -> str:
    """Return what PostgreSQL shows as the name of an exporter's connections."""
    return f"model-exporter {holder}"


class Standing(NamedTuple):
    """Who holds the lease. epoch: this exporter's, None where another one holds it. until: its end, by `clock`."""

    holder: str
    config: str
    epoch: int | None
    until: float


class Lease:
    """One exporter's side of the lease; not for several threads at a time."""

    def __init__(self, url: sa.URL, name: str, holder: str, seconds: float):
        self.name = name
        self.holder = holder
        self.seconds = seconds
        self._url = url
        self._engine = make_engine(url, "model-exporter lease", _TIMEOUTS, pool_size=1, max_overflow=0)
        self._own = LEASE.c.name == name

    def keep(self, epoch: int | None, config: str) -> Standing:
        """Renew the lease, or take it where nobody has it; raises StoreError where the database cannot say.

        epoch: what this exporter holds; None for nothing. config: what it runs, for the others to see.
        """
        started = clock()
        with self._transaction() as connection:
            if epoch is None or not self._renew(connection, epoch, config):
                holder, theirs, epoch = self._take(connection, config)
                if epoch is None:
                    return Standing(holder, theirs, None, 0.0)
        return Standing(self.holder, config, epoch, started + self.seconds)

    def release(self, epoch: int) -> None:
        """Let another one take it at once."""
        with self._transaction() as connection:
            own = self._own & (LEASE.c.epoch == epoch) & (LEASE.c.holder == self.holder)
            connection.execute(sa.update(LEASE).where(own).values(until=0))

    def close(self) -> None:
        """Give up the connection."""
        self._engine.dispose()

    def _renew(self, connection: sa.Connection, epoch: int, config: str) -> bool:
        own = self._own & (LEASE.c.epoch == epoch) & (LEASE.c.holder == self.holder)
        found = connection.execute(sa.update(LEASE).where(own).values(until=_NOW + self.seconds, config=config))
        return found.rowcount == 1

    def _take(self, connection: sa.Connection, config: str) -> tuple[str, str, int | None]:
        """Return the holder, its configuration and, where it is this exporter now, its epoch."""
        query = sa.select(LEASE.c.holder, LEASE.c.config, LEASE.c.epoch, (LEASE.c.until > _NOW).label("held"))
        found = connection.execute(query.where(self._own)).one_or_none()
        if found is None:
            from sqlalchemy.dialects import postgresql  # a lease is there on no other

            first = {"name": self.name, "holder": "", "config": "", "epoch": 0, "until": 0}
            connection.execute(postgresql.insert(LEASE).on_conflict_do_nothing(), [first])
        elif found.held:
            return found.holder, found.config, None
        else:
            # It may hang in the middle of a transaction, and would keep this one waiting for as long.
            kill = sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name "
                "AND usename = current_user AND datname = current_database()"
            )
            connection.execute(kill, {"name": application(found.holder)})
        found = connection.execute(query.where(self._own).with_for_update()).one()
        if found.held:
            return found.holder, found.config, None
        epoch: int = found.epoch + 1
        new = {"holder": self.holder, "config": config, "epoch": epoch, "until": _NOW + self.seconds}
        connection.execute(sa.update(LEASE).where(self._own).values(new))
        return self.holder, config, epoch

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(sentence(self._url, error)) from error
