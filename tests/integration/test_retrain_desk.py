"""Alerts to runs through the store, with two exporters on it, real calls, and an end at every step between."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exporter.audit import Chain
from exporter.collector import Board
from exporter.config import parse
from exporter.retrain import action
from exporter.retrain import worker as working
from exporter.retrain.alerts import Alert
from exporter.retrain.desk import Desk, Refused
from exporter.retrain.worker import Worker, readings
from exporter.settings import Model
from exporter.store import Store, audit
from exporter.store import retraining as table
from exporter.store.retraining import Run
from tests.integration.ci_server import DROP, HANG, CiServer
from tests.integration.serving import until

HOUR, DAY = 3600.0, 86400.0
NOW = 1_800_000_000.0
CONFIG = """
models:
  - name: flights
    task: binary
    version: "3"
    columns: {{timestamp: t, prediction: p, label: y}}
    reference: {{files: r.parquet}}
    predictions: {{files: p.parquet}}
    retrain: {section}
"""


class Clock:
    """The time as the test wants it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def model(folder: Path, url: str = "http://127.0.0.1:1/", **more: Any) -> Model:
    section = {"mode": "automatic", "when": {"alerts": ["ModelPerformanceLow"]}} | more
    section.setdefault("action", {"http": {"url": url, "timeout": "2s", "retries": 3}})
    (found,) = parse(CONFIG.format(section=json.dumps(section)), folder / "config.yml").models
    return found


def alert(
    number: int = 1, start: float = NOW - 60, end: float | None = None, name: str = "ModelPerformanceLow"
) -> Alert:
    labels = {"alertname": name, "model": "flights", "metric": f"m{number}"}
    return Alert(
        f"f{number}", name, "flights", int(start * 1e6), None if end is None else int(end * 1e6), labels, "Low."
    )


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()


class Exporter:
    """One exporter's part in retraining: a store of its own connections, a desk, a worker that is stepped by hand."""

    def __init__(self, url: str, own: Model, folder: Path, clock: Callable[[], float], labels: int | None = None):
        self.store = Store(url)
        self.desk = Desk(self.store, clock)
        self.desk.configure([own], folder)
        self.board = Board()
        self.labels = labels
        self.worker = Worker(self.store, lambda: self.board, self.desk, lambda _name: self.labels)

    def step(self) -> None:
        """One step, and until the calls that it began are over."""
        self.worker.step()
        for thread in list(self.worker._calls.values()):
            thread.join(20)

    @property
    def runs(self) -> list[Run]:
        with self.store.transaction() as tx:
            return table.runs(tx, "flights", 100)

    @property
    def outcomes(self) -> list[str]:
        with self.store.transaction() as tx:
            return [made.outcome for made in reversed(table.decisions(tx, "flights", 100))]

    @property
    def counts(self) -> dict[str, float]:
        found = readings(self.store, self.desk)["flights"]["model_retrain_decisions_total"]
        return {one.labels[1]: one.value for one in found if one.value}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(action, "FIRST_WAIT", 0.0)


Pair = tuple[Exporter, Exporter]


@pytest.fixture
def pair(url: str, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Pair]]:
    made: list[Exporter] = []

    def make(ci: str = "http://127.0.0.1:1/", **more: Any) -> Pair:
        own = model(tmp_path, ci, **more)
        a, b = (Exporter(url, own, tmp_path, clock) for _ in range(2))
        made.extend((a, b))
        return a, b

    yield make
    for one in made:
        one.store.close()


def at_once(*work: Callable[[], object]) -> None:
    """Do things at the same time; what one raises is raised."""
    gate, wrong = threading.Barrier(len(work)), []

    def do(one: Callable[[], object]) -> None:
        gate.wait()
        try:
            one()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=do, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong


# --- one incident, one call -------------------------------------------------------------------------------------------


def test_one_incident_is_one_call(pair: Callable[..., Pair]) -> None:
    """Told by two Alertmanagers to two exporters at once, judged and called by both at once, again and again."""
    with CiServer(0.2) as ci:
        a, b = pair(ci.url, when={"alerts": ["ModelPerformanceLow"], "occurrences": 2})
        told = [alert(1), alert(2), alert(3)]
        at_once(*(lambda one=one: one.desk.receive(told) for one in (a, b, a, b)))
        at_once(*(one.step for one in (a, b)), *(lambda one=one: one.desk.receive(told) for one in (a, b)))
        at_once(a.step, b.step)
        assert len(ci.calls) == 1
        assert a.outcomes == ["triggered"]
        (run,) = b.runs
    assert (run.state, run.attempts, ci.calls[0].key) == ("running", 1, run.id)
    sent = ci.calls[0].json
    assert (sent["model"], sent["model_version"], sent["approved_by"]) == ("flights", "3", None)
    assert [one["fingerprint"] for one in sent["alerts"]] == ["f1", "f2", "f3"]
    assert a.counts == b.counts == {"triggered": 1.0}


def test_decisions_against_are_kept_with_their_reasons(pair: Callable[..., Pair], clock: Clock) -> None:
    """One for each news, not for each time that somebody says it again."""
    a, b = pair(when={"alerts": ["ModelPerformanceLow"], "occurrences": 3}, mode="dry_run")
    for number in (1, 2):
        for one in (a, b):
            one.desk.receive([alert(number)])
        at_once(a.step, b.step)
        clock.now += 10
        at_once(a.step, b.step)
    assert a.outcomes == ["too_few_alerts"] * 2
    with a.store.transaction() as tx:
        newest = table.decisions(tx, "flights", 1)[0]
    reasons = {one["name"]: one for one in json.loads(newest.reasons)}
    assert reasons["too_few_alerts"]["text"] == "2 of 3 occurrences of ModelPerformanceLow within 1d"
    assert reasons["budget"]["holds"] is True
    b.desk.receive([alert(3)])
    b.step()
    assert a.outcomes == ["too_few_alerts"] * 2 + ["dry_run"]
    assert a.runs[0].state == "dry_run"


def test_what_is_not_asked_for_is_not_kept(pair: Callable[..., Pair]) -> None:
    """Alerts of other names and models; all of them where the mode is off."""
    a, _ = pair()
    other = alert(2)._replace(model="bikes")
    assert a.desk.receive([alert(1), other, alert(3, name="ModelDataStale")]) == (1, 2)
    off, _ = pair(mode="off")
    assert off.desk.receive([alert(1)]) == (0, 1)
    off.step()
    assert off.runs == []


def test_resolved_stays_resolved(pair: Callable[..., Pair]) -> None:
    """Whatever a slow Alertmanager says afterwards of the same time."""
    a, b = pair(mode="dry_run")
    a.desk.receive([alert(1, NOW - 600, NOW - 60)])
    b.desk.receive([alert(1, NOW - 600)])
    with a.store.transaction() as tx:
        (row,) = table.alerts(tx, "flights", ["ModelPerformanceLow"], 0)
    assert row.ends == int((NOW - 60) * 1e6)


def test_labels_that_one_exporter_knows_count_for_both(pair: Callable[..., Pair], clock: Clock) -> None:
    """The one that does not run the tasks may judge; labels that ripen let the run go without another alert."""
    a, b = pair(mode="dry_run", when={"alerts": ["ModelPerformanceLow"], "min_labels": 500})
    a.labels = 499
    b.desk.receive([alert()])
    b.step()
    assert b.outcomes == ["too_few_labels"]
    a.step()
    assert b.outcomes == ["too_few_labels"]
    a.labels = 500
    clock.now += 60
    a.step()
    b.step()
    assert b.outcomes == ["too_few_labels", "dry_run"]


# --- what CI does -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_call_is_repeated_with_the_same_key_until_it_is_accepted(pair: Callable[..., Pair]) -> None:
    """By whichever exporter comes first."""
    with CiServer(500, DROP, 202) as ci:
        a, b = pair(ci.url)
        a.desk.receive([alert()])
        for one in (a, b, a, b, a):
            one.step()
        assert len(ci.calls) == 3
    assert len({(call.key, call.body) for call in ci.calls}) == 1
    assert (a.runs[0].state, a.runs[0].attempts) == ("running", 3)
    assert a.outcomes == ["triggered"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("script", [503, HANG])
def test_a_call_that_is_never_accepted_fails_at_last(pair: Callable[..., Pair], script: Any) -> None:
    """After as many repeats as configured; then the next run waits for the cooldown."""
    with CiServer(script) as ci:
        a, b = pair(ci.url, action={"http": {"url": ci.url, "timeout": "200ms", "retries": 1}})
        a.desk.receive([alert()])
        for one in (a, b, a):
            one.step()
        assert len(ci.calls) == 2
    assert a.runs[0].state == "failed"
    assert a.outcomes[:2] == ["triggered", "failed"]
    assert set(a.outcomes[2:]) <= {"cooldown"}


def test_a_refusal_is_not_repeated(pair: Callable[..., Pair]) -> None:
    """Nor sent anywhere else."""
    with CiServer(404) as ci:
        a, b = pair(ci.url)
        a.desk.receive([alert()])
        a.step()
        b.step()
        assert len(ci.calls) == 1
    assert (a.runs[0].state, a.runs[0].message) == ("failed", "answered 404")


def test_retry_after_is_kept(pair: Callable[..., Pair], clock: Clock) -> None:
    """To the second of the receiver's wish."""
    with CiServer((429, {"Retry-After": "120"}), 202) as ci:
        a, b = pair(ci.url)
        a.desk.receive([alert()])
        a.step()
        for later, calls in ((119, 1), (121, 2)):
            clock.now = NOW + later
            a.step()
            b.step()
            assert len(ci.calls) == calls


def test_nothing_is_called_once_it_is_off(pair: Callable[..., Pair], tmp_path: Path, clock: Clock) -> None:
    """A run that was decided on before is given up in the end."""
    with CiServer(503) as ci:
        a, _ = pair(ci.url, timeout="1h")
        a.desk.receive([alert()])
        a.step()
        a.desk.configure([model(tmp_path, ci.url, mode="off")], tmp_path)
        clock.now += DAY
        a.step()
        assert len(ci.calls) == 1
    assert a.runs[0].state == "lost"


# --- how a run went ---------------------------------------------------------------------------------------------------


def test_outcome_is_reported_once(pair: Callable[..., Pair], clock: Clock) -> None:
    """Again is no news; another outcome is refused; what nobody expects as well."""
    with CiServer() as ci:
        a, b = pair(ci.url)
        a.desk.receive([alert()])
        a.step()
    (run,) = a.runs
    assert b.desk.report("flights", run.id, "succeeded", "4", "0.91") is True
    assert a.desk.report("flights", run.id, "succeeded") is False
    with pytest.raises(Refused, match="is succeeded: no outcome is expected"):
        a.desk.report("flights", run.id, "failed")
    with pytest.raises(Refused, match="has no run nothing"):
        a.desk.report("flights", "nothing", "failed")
    with pytest.raises(Refused, match="has no run"):
        a.desk.report("bikes", run.id, "failed")
    assert a.outcomes == ["triggered", "succeeded"]
    assert (a.runs[0].version, a.runs[0].message) == ("4", "0.91")


def test_a_run_that_never_tells_is_lost(pair: Callable[..., Pair], clock: Clock) -> None:
    """It makes room for the next one; should it tell after all, that is noted."""
    with CiServer() as ci:
        a, b = pair(ci.url, timeout="1h", cooldown="2h")
        a.desk.receive([alert()])
        a.step()
        (run,) = a.runs
        shown = readings(a.store, a.desk)["flights"]
        assert shown["model_retrain_in_progress"][0].value == 1
        clock.now += HOUR
        at_once(a.step, b.step)
        assert readings(b.store, b.desk)["flights"]["model_retrain_in_progress"][0].value == 0
        assert a.outcomes == ["triggered", "lost", "cooldown"]
        a.desk.report("flights", run.id, "succeeded")
        clock.now += HOUR
        a.step()
        assert len(ci.calls) == 1  # answered after all
    assert a.outcomes == ["triggered", "lost", "cooldown", "succeeded"]


def test_alerts_that_go_on_after_a_failed_run_lead_to_another(pair: Callable[..., Pair], clock: Clock) -> None:
    """After the cooldown, with an id of its own."""
    with CiServer() as ci:
        a, b = pair(ci.url, cooldown="2h")
        a.desk.receive([alert()])
        a.step()
        a.desk.report("flights", a.runs[0].id, "failed", message="no data")
        a.step()
        clock.now += 2 * HOUR
        a.desk.receive([alert()])
        at_once(a.step, b.step)
        assert len({call.key for call in ci.calls}) == len(ci.calls) == 2
    assert a.outcomes == ["triggered", "failed", "cooldown", "triggered"]


# --- approval ---------------------------------------------------------------------------------------------------------


def test_approved_once_called_once(pair: Callable[..., Pair]) -> None:
    """Of two who decide at the same time one does."""
    with CiServer() as ci:
        a, b = pair(ci.url, mode="approve")
        a.desk.receive([alert()])
        at_once(a.step, b.step)
        (run,) = a.runs
        assert (run.state, len(ci.calls)) == ("awaiting_approval", 0)
        refused = []

        def decide(one: Exporter, what: str, who: str) -> None:
            try:
                getattr(one.desk, what)("flights", run.id, who)
            except Refused as error:
                refused.append(str(error))

        at_once(
            lambda: decide(a, "approve", "alice"),
            lambda: decide(b, "approve", "bob"),
            lambda: decide(b, "approve", "eve"),
        )
        at_once(a.step, b.step)
        assert len(refused) == 2
        assert len(ci.calls) == 1
    assert ci.calls[0].json["approved_by"] == a.runs[0].decided_by
    assert a.outcomes == ["awaiting_approval", "triggered"]


def test_rejected(pair: Callable[..., Pair], clock: Clock) -> None:
    """The alerts are answered: they ask no more."""
    a, b = pair(mode="approve", cooldown="0s")
    a.desk.receive([alert()])
    a.step()
    b.desk.reject("flights", a.runs[0].id, "alice", "known outage")
    with pytest.raises(Refused, match="does not wait for an approval: it is rejected, by alice"):
        a.desk.approve("flights", a.runs[0].id, "bob")
    clock.now += HOUR
    a.desk.receive([alert()])
    a.step()
    assert a.outcomes == ["awaiting_approval", "rejected"]


def test_an_approval_expires(pair: Callable[..., Pair], clock: Clock) -> None:
    """From then on nobody can approve it; where the alerts go on it is asked again after the cooldown."""
    a, b = pair(mode="approve", approval_timeout="1h", cooldown="90m")
    a.desk.receive([alert()])
    a.step()
    (run,) = a.runs
    clock.now += HOUR
    with pytest.raises(Refused, match="has expired"):
        b.desk.approve("flights", run.id, "alice")
    at_once(a.step, b.step)
    assert a.outcomes[:2] == ["awaiting_approval", "expired"]
    clock.now += HOUR
    a.step()
    assert a.outcomes[2:] == ["cooldown", "awaiting_approval"]


def test_approval_needs_the_mode(pair: Callable[..., Pair], tmp_path: Path) -> None:
    """Whoever switched it off meant it."""
    a, _ = pair(mode="approve")
    a.desk.receive([alert()])
    a.step()
    a.desk.configure([model(tmp_path, mode="dry_run")], tmp_path)
    with pytest.raises(Refused, match="mode of flights is not approve any more"):
        a.desk.approve("flights", a.runs[0].id, "alice")


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "more", "outcomes"),
    [
        ("pass", {}, ["triggered", "succeeded"]),
        ("raise SystemExit(1)", {}, ["triggered", "failed"]),
        ("pass", {"outcome": "callback"}, ["triggered"]),
    ],
)
def test_command(
    pair: Callable[..., Pair], code: str, more: dict[str, Any], outcomes: list[str], tmp_path: Path
) -> None:
    """Its exit is the outcome, unless a callback is."""
    line = f"open('ran', 'a').write('x'); {code}"
    a, b = pair(action={"command": [sys.executable, "-c", line]}, **more)
    a.desk.receive([alert()])
    at_once(a.step, b.step)
    b.step()
    assert (tmp_path / "ran").read_text() == "x"
    assert a.outcomes[:2] == outcomes


def test_command_of_an_exporter_that_stops_is_run_again(
    pair: Callable[..., Pair], tmp_path: Path, clock: Clock
) -> None:
    """By the next one, as the same run."""
    line = "import os, time; open('ran', 'a').write(os.environ['MODEL_EXPORTER_RUN_ID'] + ' '); time.sleep(%s)"
    wait = "0 if len(open('ran').read()) > 40 else 60"
    a, b = pair(action={"command": [sys.executable, "-c", line % wait]})
    a.desk.receive([alert()])
    a.worker.step()
    until(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text())
    assert a.worker.stop(20)
    b.step()
    clock.now += 10
    b.step()
    first, second = (tmp_path / "ran").read_text().split()
    assert first == second == b.runs[0].id
    assert b.runs[0].state == "succeeded"


def test_a_store_that_does_not_answer_for_a_while(
    pair: Callable[..., Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ends a command nor makes it run again: lease and result are noted once it answers."""
    line = "import time; open('ran', 'a').write('x'); time.sleep(1.5)"
    a, b = pair(action={"command": [sys.executable, "-c", line]})
    monkeypatch.setattr(action, "HOLD", 0.6)
    monkeypatch.setattr(working, "_SETTLING", (0.1,) * 20)
    broken = {"extend": 3, "settle": 3}

    def breaking(name: str) -> Callable[..., bool]:
        real: Callable[..., bool] = getattr(table, name)

        def work(*arguments: Any, **named: Any) -> bool:
            if broken[name]:
                broken[name] -= 1
                raise sa.exc.OperationalError("", None, Exception("the server is gone"))
            return real(*arguments, **named)

        return work

    for name in broken:
        monkeypatch.setattr(table, name, breaking(name))
    a.desk.receive([alert()])
    a.step()
    b.step()
    assert set(broken.values()) == {0}
    assert (tmp_path / "ran").read_text() == "x"
    assert a.outcomes == ["triggered", "succeeded"]


# --- an end at each step ----------------------------------------------------------------------------------------------


def exporter_that_is_cut(url: str, ci: str, folder: Path, start: float, step: str) -> None:
    """Be an exporter in a process of its own, which at a moment ends as if its power had been cut."""
    places: dict[str, tuple[Any, str]] = {
        "received": (Desk, "judge"),
        "deciding": (table, "add_decision"),
        "decided": (table, "claim"),
        "claimed": (action, "call"),
        "called": (Worker, "_settle"),
        "settling": (table, "settle"),
    }
    if step in places:
        where, name = places[step]
        setattr(where, name, lambda *_, **__: os._exit(9))
    action.FIRST_WAIT, action.MARGIN = 0.0, -1.5
    one = Exporter(url, model(folder, ci), folder, time.time)
    one.desk.receive([alert(1, start)])
    for _ in range(40):
        one.step()
        if [run for run in one.runs if run.state == "running"]:
            os._exit(0)
        time.sleep(0.1)
    os._exit(1)


def begin(url: str, ci: CiServer, folder: Path, start: float, step: str) -> BaseProcess:
    process = get_context("fork").Process(target=exporter_that_is_cut, args=(url, ci.url, folder, start, step))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    process.join(60)
    return process.exitcode


@pytest.mark.parametrize(
    ("step", "calls"),
    [("received", 1), ("deciding", 1), ("decided", 1), ("claimed", 1), ("called", 2), ("settling", 2), ("never", 1)],
)
def test_killed_at_each_step_the_call_is_made_once(url: str, tmp_path: Path, step: str, calls: int) -> None:
    """Or, where it was killed between the call and its note, again with the same key."""

    start = time.time() - 60
    with CiServer() as ci:
        assert ended(begin(url, ci, tmp_path, start, step)) == (9 if step != "never" else 0)
        assert ended(begin(url, ci, tmp_path, start, "never")) == 0
        assert len(ci.calls) == calls
        assert len({call.key for call in ci.calls}) == 1
    store = Store(url)
    with store.transaction() as tx:
        assert table.counts(tx) == {"flights": {"triggered": 1}}
        assert [run.state for run in table.runs(tx, "flights", 9)] == ["running"]
    store.close()


def test_two_processes_one_of_them_killed(url: str, tmp_path: Path) -> None:
    """Both are told; one ends between claim and call, the other goes on with it."""
    start = time.time() - 60
    Store(url).close()
    with CiServer() as ci:
        both = [begin(url, ci, tmp_path, start, step) for step in ("claimed", "never")]
        assert [ended(process) for process in both][1] == 0
        assert len({call.key for call in ci.calls}) == len(ci.calls) == 1


# --- what stays -------------------------------------------------------------------------------------------------------


def test_counters_and_log_survive(pair: Callable[..., Pair], url: str, tmp_path: Path, clock: Clock) -> None:
    """Another exporter shows the same; every decision is in the audit log, which is whole."""
    with CiServer(404) as ci:
        a, b = pair(ci.url)
        a.desk.receive([alert()])
        a.step()
    before = readings(a.store, a.desk)
    again = Exporter(url, model(tmp_path, "http://127.0.0.1:1/"), tmp_path, clock)
    assert readings(again.store, again.desk) == before == readings(b.store, b.desk)
    assert before["flights"]["model_retrain_last_trigger_timestamp_seconds"][0].value == NOW
    chain, kinds = Chain(), []
    for entry in audit.entries(again.store.transaction):
        chain.add(entry)
        kinds.append(entry.kind)
    with again.store.transaction() as tx:
        chain.end(*audit.head(tx))
    assert chain.wrong() == ""
    assert kinds[:2] == ["retrain.triggered", "retrain.failed"]
    again.store.close()


def test_series_are_shown_and_go(pair: Callable[..., Pair], tmp_path: Path) -> None:
    """With the section, from all exporters alike."""
    a, b = pair(mode="dry_run")
    a.desk.receive([alert()])
    a.step()
    b.step()
    pages = [one.board.page(openmetrics=False, compressed=False).body.decode() for one in (a, b)]
    for page in pages:
        assert 'model_retrain_decisions_total{model="flights",outcome="dry_run"} 1' in page
        assert 'model_retrain_decisions_total{model="flights",outcome="failed"} 0' in page
        assert 'model_retrain_in_progress{model="flights"} 0' in page
        assert "model_retrain_last_trigger" not in page
    without = model(tmp_path).model_copy(update={"retrain": None})
    a.desk.configure([without], tmp_path)
    a.step()
    assert "model_retrain" not in a.board.page(openmetrics=False, compressed=False).body.decode()


def test_what_others_are_told_of_outlives_a_power_cut(tmp_path: Path) -> None:
    """SQLite syncs each of these changes to the disk; the others only now and then."""
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    for work, level in ((store.transaction, 1), (store.lasting, 2)):
        with work() as tx:
            assert tx.connection.execute(sa.text("PRAGMA synchronous")).scalar() == level
    store.close()
    memory = Store("sqlite:///:memory:")
    with memory.transaction() as tx:
        table.desk(tx, "flights")
    with memory.lasting() as tx:
        assert tx.connection.execute(sa.select(table.DESK.c.model)).scalars().all() == ["flights"]


def test_many_write_to_the_log_at_once(pair: Callable[..., Pair]) -> None:
    """And it is one chain."""
    a, b = pair()

    def write(one: Exporter) -> None:
        for number in range(20):
            with one.store.transaction() as tx:
                audit.append(tx, NOW, "test", {"number": number})

    at_once(*(lambda one=one: write(one) for one in (a, b, a, b)))
    chain = Chain()
    for entry in audit.entries(a.store.transaction):
        chain.add(entry)
    with a.store.transaction() as tx:
        chain.end(*audit.head(tx))
    assert (chain.count, chain.wrong()) == (80, "")


def test_the_log_cannot_be_changed_in_passing(pair: Callable[..., Pair]) -> None:
    """The database refuses; whoever takes that away is found out."""
    a, b = pair()
    with a.store.transaction() as tx:
        audit.append(tx, NOW, "test", {"who": "alice"})
    for statement in ("UPDATE audit SET actor = 'bob'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.DBAPIError, match="the audit log only grows"), a.store.transaction() as tx:
            tx.connection.execute(sa.text(statement))
    (entry,) = audit.entries(b.store.transaction)
    assert json.loads(entry.detail) == {"who": "alice"}
