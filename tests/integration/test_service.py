"""One process's models, their runs and reloads, without HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.service import Service
from exporter.shards import Shard
from exporter.store import StoreError
from tests.integration.serving import samples, until
from tests.integration.small import model, write_all, write_config

Event = tuple[str, str]


class Runs:
    """Stands in for a monitor's run: notes beginning and end, and ends when it may."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.go = threading.Event()

    def __call__(self, monitor: Monitor, now: float) -> bool:
        windows = ",".join(window.name for window in monitor.model.windows)
        assert abs(now - time.time()) < 10
        self.events.append(("begin", windows))
        self.go.wait(10)
        self.events.append(("end", windows))
        return True


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()

    def run(monitor: Monitor, now: float, _over: Callable[[], bool]) -> bool:
        return made(monitor, now)

    monkeypatch.setattr(Monitor, "run", run)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, model("credit", windows=["1d"], schedule={"every": "1h"}))


@pytest.fixture
def service(config: Path) -> Iterator[Service]:
    made = Service(load(config))
    made.start()
    yield made
    made.stop(5)


def with_windows(config: Path, *windows: str) -> Path:
    return write_config(config.parent, model("credit", windows=list(windows), schedule={"every": "1h"}))


def test_runs_of_one_model_take_turns(runs: Runs, service: Service, config: Path) -> None:
    """After a reload the new settings wait for the old run; settings that were replaced meanwhile never run."""
    until(lambda: runs.events == [("begin", "1d")])
    for windows in (("2h",), ("3h",)):
        with_windows(config, *windows)
        assert service.reload()
    time.sleep(0.2)
    assert runs.events == [("begin", "1d")]
    runs.go.set()
    until(lambda: len(runs.events) == 4)
    assert runs.events == [("begin", "1d"), ("end", "1d"), ("begin", "3h"), ("end", "3h")]


def test_nothing_begins_once_it_is_stopping(runs: Runs, service: Service, config: Path) -> None:
    """A run that waits for its turn does not take it."""
    until(lambda: runs.events == [("begin", "1d")])
    with_windows(config, "2h")
    assert service.reload()
    threading.Timer(0.2, runs.go.set).start()
    assert service.stop(10)
    assert runs.events == [("begin", "1d"), ("end", "1d")]


def test_ready_means_that_the_page_is_complete(service: Service, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """Tasks that have run are not enough: their results must be shown."""
    until(lambda: not service.unready())
    real, go, there = Board.publish, threading.Event(), threading.Event()

    def publish(board: Board, results: Mapping[tuple[str, str], Readings], fresh: bool = True) -> None:
        if fresh:
            there.set()
            go.wait(10)
        real(board, results, fresh)

    monkeypatch.setattr(Board, "publish", publish)
    with_windows(config, "2h")
    assert service.reload()
    assert there.wait(10)
    assert service.unready() == ["model credit: its first results are not on the page yet"]
    go.set()
    until(lambda: not service.unready())
    assert service.board.series > 0


def test_run_that_raises_is_logged_and_not_the_end(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, config: Path
) -> None:
    """The next one comes."""

    def fail(*_: object) -> bool:
        raise RuntimeError("as the test wants it")

    monkeypatch.setattr(Monitor, "run", fail)
    with_windows(config, "2h")
    assert service.reload()
    until(lambda: "model credit: run failed" in caplog.text)
    assert list(service.monitors) == ["credit"]


def changed(service: Service, change: Callable[[], object]) -> bool:
    """Say whether a reload made a new monitor."""
    before = service.monitors["credit"]
    change()
    assert service.reload()
    return service.monitors["credit"] is not before


def test_only_what_changed_starts_anew(runs: Runs, service: Service, config: Path) -> None:
    """A model whose settings are the same keeps its monitor, counters and schedule; what holds for it may change."""
    runs.go.set()
    same = model("credit", windows=["1d"], schedule={"every": "1h"})
    assert not changed(service, lambda: config.write_text("# a remark\n" + config.read_text()))
    assert not changed(service, lambda: write_config(config.parent, same, series_limit=10))
    assert service.board.limit == 10
    assert not changed(service, lambda: write_config(config.parent, model("prices"), same))
    assert list(service.monitors) == ["prices", "credit"]
    assert changed(service, lambda: write_config(config.parent, same | {"framework": "own"}))
    retention = {"retention": {"profiles": "10d"}}
    assert changed(service, lambda: write_config(config.parent, same | {"framework": "own"}, store=retention))
    assert service.monitors["credit"]._ingest._retention == 10 * 86400


def test_a_task_that_is_configured_no_more_leaves_no_results(tmp_path: Path) -> None:
    """They would stay as they were for ever, and no task's age would tell."""
    write_all(tmp_path, "prices", time.time())
    business = [{"name": "turnover", "unit": "usd", "sum": "amount"}]
    service = Service(load(write_config(tmp_path, model("prices", business=business))))

    def tasks() -> set[str]:
        text = service.board.page(openmetrics=False, compressed=False).body.decode()
        return {dict(labels)["task"] for (name, labels) in samples(text) if name == "model_task_running"}

    def indicators() -> bool:
        return b"model_business_" in service.board.page(openmetrics=False, compressed=False).body

    service.start()
    try:
        until(lambda: not service.unready())
        assert indicators()
        assert "business" in tasks()
        write_config(tmp_path, model("prices"))
        assert service.reload()
        until(lambda: not service.unready())
        assert "business" not in tasks()
        assert not indicators()
    finally:
        assert service.stop()


@pytest.mark.parametrize("url", ["sqlite:///model-exporter.db", "sqlite:///model-exporter.db?timeout=5"])
def test_store_is_one_exporters(service: Service, config: Path, url: str) -> None:
    """Within one process, too, however it is written; a store in memory and a database server have no lock."""
    write_config(config.parent, model("credit"), store={"url": url})
    with pytest.raises(StoreError, match="is in use by another exporter"):
        Service(load(config))
    write_config(config.parent, model("credit"), store={"url": url.replace(":", "+pysqlite:", 1)})
    with pytest.raises(StoreError, match=r"sqlite\+pysqlite is no store"):
        Service(load(config))
    write_config(config.parent, model("credit"), store={"url": "sqlite:///:memory:"})
    for _ in range(2):
        Service(load(config))


def test_own_readings(tmp_path: Path) -> None:
    """On the page before anything ran, and after."""
    write_all(tmp_path, "prices", time.time())
    service = Service(load(write_config(tmp_path, model("prices"))))

    def page() -> dict[str, float]:
        text = service.board.page(openmetrics=False, compressed=False).body.decode()
        return {name: value for (name, _), value in samples(text).items() if name.startswith("model_exporter_")}

    before = page()
    assert before["model_exporter_snapshot_series"] == 0
    assert "model_exporter_snapshot_timestamp_seconds" not in before
    service.start()
    try:
        until(lambda: not service.unready() and service.board.published)
        service.board.renew()
        after = page()
    finally:
        assert service.stop()
    assert after["model_exporter_snapshot_series"] > 200
    assert after["model_exporter_store_bytes"] > before["model_exporter_store_bytes"]
    assert after["model_exporter_snapshot_timestamp_seconds"] > time.time() - 60


def test_shards_watch_each_model_once(tmp_path: Path) -> None:
    """Of one configuration, each shard runs and shows models of its own; together they show all."""
    names = [f"credit-{number}" for number in range(6)]
    own: list[set[str]] = []
    for index in range(2):
        folder = tmp_path / f"{index}"
        folder.mkdir()
        config = write_config(folder, *(model("credit", schedule={"every": "1h"}) | {"name": name} for name in names))
        service = Service(load(config), Shard(index, 2))
        service.start()
        until(lambda service=service: not service.unready())
        page = samples(service.board.page(openmetrics=False, compressed=False).body.decode())
        own.append({dict(labels)["model"] for name, labels in page if name == "model_task_interval_seconds"})
        assert [dict(labels) for name, labels in page if name == "model_exporter_leader"] == [{"shard": f"{index}"}]
        assert service.stop(10)
    assert own[0] | own[1] == set(names)
    assert not own[0] & own[1]
    assert all(own)
