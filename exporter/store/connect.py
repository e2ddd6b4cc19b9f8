"""How the databases are opened, and what their errors say in one sentence."""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa

from exporter.store.tables import StoreError

# Where a mistake shows as such, these end it. A file is read and counted within one transaction: that takes minutes.
TIMEOUTS = "-c lock_timeout=60s -c statement_timeout=15min -c idle_in_transaction_session_timeout=15min"
# A host that is gone is noticed within seconds, not after the two hours that TCP waits by itself.
_NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def read_url(text: str) -> sa.URL:
    """Read a database URL; raises StoreError where it names no database that can be a store."""
    try:
        url = sa.make_url(text.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "store.url is no database URL: write sqlite:///model-exporter.db, "
            "or postgresql+psycopg://user:password@host/database"
        ) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise StoreError(f"store.url: {url.drivername} is no store: use sqlite or postgresql+psycopg")
    return url


def make_engine(url: sa.URL, name: str, timeouts: str = TIMEOUTS, sync: str = "NORMAL", **options: Any) -> sa.Engine:
    """Return an engine; nothing is opened yet. name: what PostgreSQL shows as the application's. sync: of SQLite."""
    if url.get_backend_name() == "sqlite":
        if url.database in {None, "", ":memory:"}:
            options["poolclass"] = sa.StaticPool
        engine = sa.create_engine(url, connect_args={"timeout": 60, "check_same_thread": False}, **options)
        sa.event.listen(engine, "connect", partial(_tune_sqlite, sync))
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = url.query.get("options", "")
    own: dict[str, Any] = {key: value for key, value in _NETWORK.items() if key not in url.query}
    own |= {
        "options": f"{timeouts} {given if isinstance(given, str) else ' '.join(given)}",
        "application_name": name,
    }
    try:
        return sa.create_engine(url, connect_args=own, pool_pre_ping=True, **options)
    except ImportError as error:
        raise StoreError("store.url: PostgreSQL needs its driver: pip install 'model-exporter[postgresql]'") from error


def sentence(url: sa.URL, error: BaseException) -> str:
    """Say what a database said, in its first line, and of which database; without its password."""
    reason = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
    mend = ""
    if "permission denied for schema" in reason:
        mend = ": make the role the owner of the database, or grant it CREATE on the schema"
    elif "read-only transaction" in reason:
        mend = ": this server is a replica; name the primary, or add target_session_attrs=read-write to the URL"
    return f"store {url.render_as_string(hide_password=True)}: {reason}{mend}"


def is_trouble(error: sa.exc.SQLAlchemyError) -> bool:
    """Say whether an error is the database's: it is down, full, locked, read-only; not what was asked of it."""
    kinds = (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
    return isinstance(error, kinds)


def _tune_sqlite(sync: str, connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", f"synchronous={sync}", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
