"""The store on a real PostgreSQL: made by two at once, restarted, stopped, refused; odd text comes back as it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from exporter.audit import digest
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.store import Prediction, Store, StoreError, audit, retraining
from exporter.store.tables import BUCKET, TABLES
from tests.integration.small import NOON, model, write_all, write_config
from tests.postgres import Server

ROOT = Path(__file__).parents[2]
OPEN = """
import sys
from exporter.store import Store
sys.stdin.readline()
Store(sys.argv[1]).close()
"""


@pytest.fixture
def own(postgresql: Server, free_port: int) -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server(free_port)
    yield server
    server.close()


def prediction(name: str) -> Prediction:
    return Prediction(name, "1", 0, 0, b"", b"", None, None)


def test_many_processes_make_the_tables_at_once(postgresql: Server) -> None:
    """None of them fails; each finds the one schema."""
    url = postgresql.fresh()
    opening = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    time.sleep(2)  # until all have done their imports, or most
    for one in opening:
        assert one.stdin is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60)[1].decode() for one in opening]
    assert [one.returncode for one in opening] == [0] * 4, said
    store = Store(url)
    with store.transaction() as tx:
        assert set(TABLES.tables) <= set(sa.inspect(tx.connection).get_table_names())
    store.close()


@given(
    names=st.sets(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\1\2"), max_size=8), max_size=12
    )
)
def test_text_of_any_characters(shared: Store, names: set[str]) -> None:
    """Also what PostgreSQL has no text for; in the order of Python."""
    with shared.transaction() as tx:
        tx.forget("m")
        tx.add_predictions("m", map(prediction, names))
        assert tx.known_ids("m", [*names, "\0", "\1\1", "\1\2"]) >= names
        assert tx.known_ids("m", ["another one"]) == set()
        tx.forget("m")
        tx.mark_days("m", [(name, 1) for name in names])
        assert [name for name, _ in tx.changed_days("m", 2, 100)] == sorted(names)


def test_what_is_told_may_have_any_characters(shared: Store) -> None:
    """A name or a message of somebody else's is kept as it came, and the audit log's chain holds."""
    odd = "a\0b\1c\1\1"
    with shared.transaction() as tx:
        audit.append(tx, 0.0, "retrain.decided", {"why": odd}, odd, odd)
        retraining.add_decision(tx, retraining.Made(0, odd, 0.0, "suppressed", odd, "[]", None))
    found = [one for one in audit.entries(shared.transaction) if one.model == odd]
    assert [one.actor for one in found] == [odd, odd] and json.loads(found[0].detail) == {"why": odd}
    assert all(one.hash == digest(one) for one in found)
    with shared.transaction() as tx:
        assert [one.actor for one in retraining.decisions(tx, odd, 9)] == [odd]


@pytest.fixture(scope="module")
def shared(postgresql: Server) -> Iterator[Store]:
    store = Store(postgresql.fresh())
    yield store
    store.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_of_the_server_is_survived(own: Server, how: signal.Signals) -> None:
    """A transaction in its middle is undone, and said in one sentence; the next one works at once."""
    store = Store(own.fresh())

    def add(then: Callable[[], None] = lambda: None) -> None:
        with store.transaction() as tx:
            tx.add_predictions("m", [prediction("a")])
            then()
            tx.count("m", "1", {("predictions", ""): 1})

    with pytest.raises(StoreError) as caught:
        add(lambda: own.stop(how))
    assert str(caught.value).startswith("store postgresql+psycopg://exporter@127.0.0.1:")
    assert "\n" not in str(caught.value)
    started = time.monotonic()
    with pytest.raises(StoreError, match="refused"):
        add()
    assert time.monotonic() - started < 5
    own.start()
    add()
    with store.transaction() as tx:
        assert tx.known_ids("m", ["a"]) == {"a"}
        assert tx.counters("m") == [("1", "predictions", "", 1)]
    store.close()


def test_a_model_whose_store_is_away_fails_alone_and_recovers(own: Server, tmp_path: Path) -> None:
    """A run without the store fails for the reason `store`; the run after has everything, once."""
    write_all(tmp_path, "credit", NOON)
    config = load(write_config(tmp_path, model("credit"), store={"url": own.fresh()})).config
    store = Store(config.store.url)
    monitor = Monitor(config.models[0], store, Board(), 90 * 86400.0, 60.0)
    assert monitor.run(NOON)
    before = {family: found for family, found in monitor.results().items() if family.startswith("model_feature")}
    own.stop()
    assert not monitor.run(NOON)
    assert monitor.tasks["ingest"].failures["store"] == 1
    assert monitor.tasks["ingest"].failures["compute"] == 0
    assert "connection" in monitor.notes["ingest"]
    assert {key[2]: state for key, state in monitor.states.items()}["drift"] in {"stale", "failed"}
    own.start()
    assert monitor.run(NOON)
    after = {family: found for family, found in monitor.results().items() if family.startswith("model_feature")}
    assert after == before
    assert {one.value for one in monitor.results()["model_predictions_total"]} == {960}
    store.close()


def test_what_is_locked_is_not_waited_for_without_end(postgresql: Server) -> None:
    """The lock timeout of the URL, or of this exporter, ends it."""
    url = postgresql.fresh()
    first, second = Store(url), Store(url.replace("search_path", "lock_timeout%3D200ms%20-csearch_path"))
    with first.transaction() as tx, pytest.raises(StoreError, match="lock timeout"):
        tx.connection.execute(sa.text("LOCK TABLE bucket"))
        with second.transaction() as other:
            other.connection.execute(sa.select(BUCKET))
    with second.transaction() as other:
        assert other.buckets("m", 0, 1) == []
        timeouts = [
            other.connection.execute(sa.text(f"SHOW {name}_timeout")).scalar() for name in ("lock", "statement")
        ]
    assert timeouts == ["200ms", "15min"]
    first.close()
    second.close()


def test_what_cannot_be_opened_says_why(postgresql: Server, free_port: int) -> None:
    """In one sentence, without the password."""
    secret = f"postgresql+psycopg://exporter:geheim@127.0.0.1:{free_port}/metrics"
    with pytest.raises(StoreError) as caught:
        Store(secret)
    assert "geheim" not in str(caught.value)
    assert "exporter:***@" in str(caught.value)
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    postgresql.do("DROP ROLE IF EXISTS reader")
    postgresql.do("CREATE ROLE reader LOGIN")
    postgresql.do("CREATE SCHEMA theirs")
    postgresql.do("GRANT USAGE ON SCHEMA theirs TO reader")
    with pytest.raises(StoreError, match="permission denied for schema theirs: make the role the owner"):
        Store(postgresql.url("theirs", "reader"))
    with pytest.raises(StoreError, match="read-only transaction: this server is a replica"):
        Store(postgresql.fresh().replace("search_path", "default_transaction_read_only%3Don%20-csearch_path"))
    for wrong in ("mysql://h/d", "postgresql+psycopg2://h/d", "nonsense"):
        with pytest.raises(StoreError, match=r"^store\.url"):
            Store(wrong)


def test_another_schema_version_is_refused(postgresql: Server) -> None:
    url = postgresql.fresh()
    store = Store(url)
    with store.transaction() as tx:
        tx.connection.execute(sa.text("UPDATE meta SET value = '2'"))
    store.close()
    with pytest.raises(StoreError, match="the store has schema 2"):
        Store(url)


def test_the_usual_spellings_of_the_url(postgresql: Server) -> None:
    """As other tools write it."""
    url = postgresql.fresh()
    for scheme in ("postgresql", "postgres"):
        store = Store(url.replace("postgresql+psycopg", scheme))
        assert store.bytes() > 0
        store.close()


def test_threads_do_not_wait_for_each_other(postgresql: Server) -> None:
    """Two transactions at a time, as two models have."""
    store = Store(postgresql.fresh())
    both = threading.Barrier(2, timeout=10)

    def work(name: str) -> None:
        with store.transaction() as tx:
            tx.count(name, "1", {("predictions", ""): 1})
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with store.transaction() as tx:
        assert tx.counters("a") == tx.counters("b") == [("1", "predictions", "", 1)]
    store.close()
