"""Two real exporters on one real PostgreSQL: one computes, the other takes over; nothing is lost or counted twice."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from tests.integration.serving import Samples, Serving, only, select, states, until
from tests.integration.small import DAY, HOUR, model, predictions, rows, write, write_all, write_config
from tests.postgres import Server

LEASE = 3.0
PATIENCE = 20.0  # the machine is busy: what is bounded takes a few seconds on a free one


@pytest.fixture
def own(postgresql: Server, free_port: int) -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server(free_port)
    yield server
    server.close()


def configured(folder: Path, url: str, every: str = "1s", lease: float = LEASE) -> Path:
    write_all(folder, "credit", time.time() - 60)
    store = {"url_file": "secrets/store", "lease": f"{lease:g}s"}
    (folder / "secrets").mkdir()
    (folder / "secrets" / "store").write_text(url + "\n")
    return write_config(folder, model("credit", schedule={"every": every}), store=store)


def more(folder: Path, seed: int, count: int = 20) -> None:
    """Add a file of the last hour to the log."""
    now = time.time()
    table: pa.Table = predictions(rows("credit", now - HOUR, now - 60, count, seed=seed))
    part = write(table, folder / "new" / f"{seed}.parquet")
    part.rename(folder / "credit" / "predictions" / f"new-{seed}.parquet")


def counted(page: Samples) -> float:
    return sum(select(page, "model_predictions_total"))


def leads(one: Serving) -> bool:
    try:
        return only(one.metrics(), "model_exporter_leader") == 1
    except OSError:
        return False


class Pair:
    """Two exporters, one of them leading."""

    def __init__(self, stack: ExitStack, config: Path, ports: Callable[[], int]):
        self.both = [stack.enter_context(Serving(config, ports())) for _ in range(2)]
        for one in self.both:
            one.ready()
        until(lambda: any(map(leads, self.both)))
        self.leader, self.other = sorted(self.both, key=leads, reverse=True)


@pytest.fixture
def pair(tmp_path: Path, postgresql: Server, free_ports: Callable[[], int]) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack, configured(tmp_path, postgresql.fresh()), free_ports)


def test_one_computes_and_the_other_says_that_it_waits(pair: Pair) -> None:
    """Both are ready. The standby shows its process and which tasks there are, and nothing that could be old."""
    until(lambda: counted(pair.leader.metrics()) == 960)
    page, waiting = pair.leader.metrics(), pair.other.metrics()
    assert select(page, "model_info")
    assert only(waiting, "model_exporter_leader") == 0
    assert only(waiting, "model_exporter_snapshot_series") == len(select(waiting, "model_task_interval_seconds"))
    assert {name for name, _ in waiting if not name.startswith(("process_", "python_", "model_exporter_"))} == {
        "model_task_interval_seconds"
    }
    assert len(select(waiting, "model_task_interval_seconds")) == len(select(page, "model_task_interval_seconds"))
    assert only(waiting, "process_start_time_seconds") > 0
    name = pair.leader.get("/api/v1/status").json["data"]["name"]
    status = pair.other.get("/api/v1/status").json["data"]
    assert (status["role"], status["leader"]) == ("standby", name)
    assert status["leader_config_hash"] == status["config"]["hash"]
    assert pair.other.get("/-/ready").text == f"model-exporter is ready. It stands by: {name} computes.\n"
    assert f"This exporter stands by. {name} computes." in pair.other.get("/").text
    answer = pair.other.get("/api/v1/models/credit/results")
    assert (answer.code, answer.json["errorType"]) == (503, "unavailable")
    assert "Role: leader" in pair.leader.get("/").text


def test_a_killed_leader_is_followed_within_seconds(pair: Pair, tmp_path: Path) -> None:
    """Again and again, while the log grows: each row is counted once."""
    expected, survivors = 960, [pair.leader, pair.other]
    with ExitStack() as stack:
        for seed in range(10, 13):
            leader = next(one for one in survivors if leads(one))
            other = next(one for one in survivors if one is not leader)
            more(tmp_path, seed)
            time.sleep(0.1 * (seed - 9))
            leader.process.kill()
            killed = time.monotonic()
            more(tmp_path, seed + 100)
            expected += 40
            until(lambda other=other, expected=expected: counted(other.metrics()) == expected, PATIENCE)
            assert time.monotonic() - killed < LEASE + LEASE / 5 + 10
            survivors = [other, stack.enter_context(Serving(leader.config, leader.port)).ready()]
        page = next(one for one in survivors if leads(one)).metrics()
    assert set(select(page, "model_rows_rejected_total")) == {0}
    assert set(states(page, "credit").values()) == {"ok"}
    assert counted(page) == expected
    at = time.time() // HOUR * HOUR
    rows_now = only(page, "model_window_rows", window="1d", segment="all", dataset="current")
    assert rows_now <= expected
    assert rows_now >= 480 - 480 / DAY * (time.time() - at) - 60


def test_a_leader_that_stops_hands_over_at_once(pair: Pair) -> None:
    """The standby need not wait for the end of the lease."""
    until(lambda: counted(pair.leader.metrics()) == 960)
    assert pair.leader.stop() == 0
    until(lambda: leads(pair.other), LEASE)
    until(lambda: counted(pair.other.metrics()) == 960, PATIENCE)
    assert "the lease has run out" not in pair.other.log


def test_a_leader_that_hung_shows_nothing_any_more(pair: Pair, tmp_path: Path) -> None:
    """From its first answer on: another one's results are newer. It then waits like any other."""
    until(lambda: counted(pair.leader.metrics()) == 960)
    pair.leader.process.send_signal(signal.SIGSTOP)
    until(lambda: leads(pair.other), PATIENCE)
    more(tmp_path, 20)
    until(lambda: counted(pair.other.metrics()) == 980, PATIENCE)
    asked: list[Samples] = []
    asking = threading.Thread(target=lambda: asked.append(pair.leader.metrics()))
    asking.start()
    time.sleep(0.2)
    pair.leader.process.send_signal(signal.SIGCONT)
    asking.join(20)
    assert only(asked[0], "model_exporter_leader") == 0
    assert not select(asked[0], "model_info")
    pair.leader.ready()
    time.sleep(1.5)  # a run or two
    assert [leads(pair.leader), leads(pair.other)] == [False, True]
    page = pair.other.metrics()
    assert counted(page) == 980
    assert set(select(page, "model_rows_rejected_total")) == {0}


def test_a_restarted_database_changes_no_role(own: Server, tmp_path: Path, free_ports: Callable[[], int]) -> None:
    """A short absence changes no role; after a long one a term begins anew, and meanwhile nobody shows anything."""
    with ExitStack() as stack:
        pair = Pair(stack, configured(tmp_path, own.fresh(), every="1h"), free_ports)
        until(lambda: counted(pair.leader.metrics()) == 960)
        own.stop(signal.SIGQUIT)
        own.start()
        time.sleep(LEASE)
        assert leads(pair.leader)
        assert counted(pair.leader.metrics()) == 960
        own.stop()
        until(lambda: [leads(one) for one in pair.both] == [False, False], PATIENCE)
        for one in pair.both:
            assert not select(one.metrics(), "model_info")
            until(lambda one=one: one.get("/-/ready").code == 503)
            assert "refused" in json.dumps(one.get("/-/ready").json["reasons"])
            assert one.get("/-/healthy").code == 200
        more(tmp_path, 30)
        own.start()
        until(lambda: sorted(leads(one) for one in pair.both) == [False, True], PATIENCE)
        leader = next(one for one in pair.both if leads(one))
        until(lambda: counted(leader.metrics()) == 980, PATIENCE)
        for one in pair.both:
            one.ready()


def test_a_run_that_the_database_spoilt_is_repeated_soon(
    own: Server, tmp_path: Path, free_ports: Callable[[], int]
) -> None:
    """Not an interval later."""
    hold = tmp_path / "hold"
    hold.touch()
    config = configured(tmp_path, own.fresh(), every="1h", lease=60)
    with Serving(config, free_ports(), hold=hold) as serving:
        serving.healthy()
        until(lambda: 1 in select(serving.metrics(), "model_task_running", task="ingest"))
        own.stop()
        hold.unlink()
        until(lambda: 1 in select(serving.metrics(), "model_task_failures_total", task="ingest", reason="store"))
        own.start()
        until(lambda: counted(serving.metrics()) == 960, PATIENCE)
        assert only(serving.metrics(), "model_task_runs_total", task="ingest") == 2


def test_another_configuration_is_told(tmp_path: Path, postgresql: Server, free_ports: Callable[[], int]) -> None:
    """Two that do not belong together share a store: the one that waits says so."""
    url = postgresql.fresh()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = configured(tmp_path / "one", url), configured(tmp_path / "two", url)
    two.write_text("# mine\n" + two.read_text())
    with Serving(one, free_ports()) as first:
        first.ready()
        until(lambda: leads(first))
        with Serving(two, free_ports()) as second:
            second.ready()
            until(lambda: "computes with another configuration" in second.log)
            assert "is another one" in second.get("/").text
