"""The lease and its fence on a real PostgreSQL: one holder at a time, and nothing of an earlier one is added."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from exporter.election import Election
from exporter.store import LeaseLost, Store, StoreError
from exporter.store.lease import Lease, application, clock
from tests.integration.serving import until
from tests.postgres import Server

SECONDS = 2.0
Make = Callable[..., Lease]


@pytest.fixture
def url(postgresql: Server) -> str:
    found = postgresql.fresh()
    Store(found).close()
    return found


@pytest.fixture
def lease(url: str) -> Iterator[Make]:
    made: list[Lease] = []

    def make(holder: str, seconds: float = SECONDS, name: str = "models") -> Lease:
        made.append(Lease(sa.make_url(url), name, holder, seconds))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_out(seconds: float = SECONDS) -> None:
    time.sleep(seconds + 0.1)


def test_one_holds_it_and_renews_it(lease: Make) -> None:
    """The other sees who, and with which configuration; its own end is told a little early, never late."""
    one, two = lease("one"), lease("two")
    before = clock()
    mine = one.keep(None, "c1")
    assert (mine.holder, mine.config, mine.epoch) == ("one", "c1", 1)
    assert before + SECONDS <= mine.until <= clock() + SECONDS
    for _ in range(3):
        time.sleep(SECONDS / 2)
        assert one.keep(1, "c2").epoch == 1
        assert two.keep(None, "c3") == ("one", "c2", None, 0.0)


def test_it_passes_on_when_it_ran_out_or_was_released(lease: Make) -> None:
    """The one before learns of it when it wants to renew, and waits like the others."""
    one, two = lease("one"), lease("two")
    assert one.keep(None, "").epoch == 1
    wait_out()
    assert two.keep(None, "").epoch == 2
    assert one.keep(1, "").epoch is None
    two.release(2)
    assert one.keep(None, "").epoch == 3
    two.release(2)  # not its own any more
    assert two.keep(None, "").epoch is None


def test_a_lapsed_one_that_nobody_took_can_be_renewed(lease: Make) -> None:
    """A server that was away for a moment changes nothing."""
    one = lease("one")
    one.keep(None, "")
    wait_out()
    assert one.keep(1, "").epoch == 1


def test_names_are_leases_of_their_own(lease: Make) -> None:
    assert lease("one").keep(None, "").epoch == 1
    assert lease("two", name="others").keep(None, "").epoch == 1


def test_of_many_at_once_one_gets_it(lease: Make) -> None:
    """In each of several rounds."""
    leases = [lease(f"{number}") for number in range(8)]
    for round_ in range(1, 6):
        start, found = threading.Barrier(len(leases)), []

        def work(own: Lease, start: threading.Barrier = start, found: list[object] = found) -> None:
            start.wait()
            found.append(own.keep(None, "").epoch)

        threads = [threading.Thread(target=work, args=(own,)) for own in leases]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert [epoch for epoch in found if epoch is not None] == [round_]
        for own in leases:
            own.release(round_)


def test_an_earlier_holder_changes_nothing(url: str, lease: Make) -> None:
    """Neither with a transaction that begins later, nor with one that it is in."""
    store = Store(url, application("one"))
    epoch = lease("one").keep(None, "").epoch
    assert epoch is not None
    first = store.fenced("models", epoch)
    with first.transaction() as tx:
        tx.count("m", "1", {("predictions", ""): 1})
    wait_out()
    with pytest.raises(StoreError), first.transaction() as tx:
        tx.count("m", "1", {("predictions", ""): 10})
        started = time.monotonic()
        assert lease("two").keep(None, "").epoch == 2  # does not wait for the transaction: it ends it
        assert time.monotonic() - started < 2
    with pytest.raises(LeaseLost, match="another exporter computes now"), first.transaction():
        pass
    with store.fenced("models", 2).transaction() as tx:
        assert tx.counters("m") == [("1", "predictions", "", 1)]
    store.close()


def test_a_long_transaction_and_the_renewal_do_not_wait_for_each_other(url: str, lease: Make) -> None:
    one = lease("one")
    epoch = one.keep(None, "").epoch
    assert epoch is not None
    store = Store(url, application("one"))
    with store.fenced("models", epoch).transaction() as tx:
        started = time.monotonic()
        assert one.keep(epoch, "").epoch == epoch
        assert time.monotonic() - started < 1
        tx.count("m", "1", {("predictions", ""): 1})
    store.close()


def elected(lease: Lease, events: list[str], name: str) -> Election:
    return Election(
        lease, lambda: "c", lambda epoch: events.append(f"{name} begins {epoch}"), lambda: events.append(name)
    )


def test_terms_begin_and_end_in_turn(lease: Make) -> None:
    """The first one stops in good order; the second is told at once, not after the lease is over."""
    events: list[str] = []
    one = elected(lease("one", 30.0), events, "one")
    one.start()
    until(lambda: one.leads)
    two = elected(lease("two", 3.0), events, "two")
    two.start()
    until(lambda: two.seen)
    assert one.leads
    assert not two.leads
    assert not two.trouble
    one.stop()
    one.release()
    assert not one.leads
    until(lambda: two.leads, 2)
    two.stop()
    two.release()
    assert events == ["one begins 1", "two begins 2"]


def test_without_the_server_nobody_leads(free_port: int) -> None:
    """From the moment that the lease is over, and it says why; then a new term begins."""
    server = Server(free_port)
    try:
        url = server.fresh()
        Store(url).close()
        events: list[str] = []
        own = elected(Lease(sa.make_url(url), "models", "one", SECONDS), events, "one")
        own.start()
        until(lambda: own.leads)
        server.stop()
        started = time.monotonic()
        until(lambda: not own.leads)
        assert 1 < time.monotonic() - started < SECONDS + 0.2
        until(lambda: "refused" in own.trouble)
        until(lambda: events == ["one begins 1", "one"])
        server.start()
        until(lambda: own.leads)
        assert own.trouble == ""
        until(lambda: events == ["one begins 1", "one", "one begins 2"])
        own.stop()
        own.release()
    finally:
        server.close()


def test_a_term_that_cannot_begin_is_given_up(lease: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Another exporter may fare better."""

    def begin(_epoch: int) -> None:
        raise RuntimeError("as the test wants it")

    own = Election(lease("one", 3.0), lambda: "c", begin, lambda: None)
    own.start()
    until(lambda: "the election failed" in caplog.text)
    assert not own.leads
    until(lambda: lease("two", 30.0).keep(None, "").epoch is not None, 10)
    own.stop()
    own.release()
