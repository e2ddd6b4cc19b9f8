"""The demo's log: real rows, moved to now, that grow as they did; nothing comes twice and nothing is lost."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from exporter import demo, past
from exporter.cli import parser
from exporter.config import load
from exporter.consistency import not_computed
from exporter.demo import HISTORY, Replay, Servers, Stage, anchor_of, configuration
from exporter.examples import EXAMPLES, FLIGHTS, share

pytestmark = pytest.mark.filterwarnings("error")
EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
SECOND = 1_000_000
DAY = 86400 * SECOND
START = int(datetime(2026, 3, 9, 12, tzinfo=UTC).timestamp()) * SECOND
ANCHOR = anchor_of(START)
SHIFT = START - ANCHOR


def micros(column: pa.ChunkedArray) -> list[int]:
    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()


def everything(name: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((EXAMPLE / name).glob("*.parquet"))])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """What was appended, in order."""
    return [
        json.loads(line) for path in sorted((folder / name).glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


def when(row: dict[str, Any], column: str = "timestamp") -> int:
    return round(datetime.fromisoformat(row[column]).timestamp() * SECOND)


def test_example_is_found() -> None:
    """In a checkout, where the tests run."""
    assert (share("examples") / "flights" / "model-exporter.yml").is_file()
    assert (share("prometheus") / "prometheus.yml").is_file()


def test_history_is_the_logs_five_weeks(folder: Path) -> None:
    """Every row of them, each time moved by the same length; labels by when they became known."""
    Replay(EXAMPLE, folder, START, 1.0)
    for name, column in (("predictions", "timestamp"), ("labels", "label_timestamp")):
        whole = everything(name)
        ids = whole["request_id"].to_pylist()
        wanted = {
            one: at + SHIFT
            for one, at in zip(ids, micros(whole[column]), strict=True)
            if ANCHOR - HISTORY <= at < ANCHOR
        }
        found = pq.read_table(folder / name / "history.parquet")
        assert dict(zip(found["request_id"].to_pylist(), micros(found[column]), strict=True)) == wanted
        assert len(found) == len(wanted) > 20_000


def test_reference_moves_too(folder: Path) -> None:
    """The same rows as before; a label that was never known has no time afterwards either."""
    Replay(EXAMPLE, folder, START, 1.0)
    before, after = pq.read_table(EXAMPLE / "reference.parquet"), pq.read_table(folder / "reference.parquet")
    assert len(before) == len(after)
    for name in before.column_names:
        if name not in {"timestamp", "label_timestamp"}:
            assert before[name].equals(after[name]), name
        else:
            moved = [None if at is None else at + SHIFT for at in micros(before[name])]
            assert micros(after[name]) == moved, name


def test_log_grows_as_it_did(folder: Path) -> None:
    """Whatever the steps, each prediction comes once, at its time; a label comes when it became known, not before."""
    replay = Replay(EXAMPLE, folder, START, 1.0)
    whole = everything("predictions")
    times = dict(zip(whole["request_id"].to_pylist(), micros(whole["timestamp"]), strict=True))
    now, count = START, 0
    for step in (1, 600, 3 * 3600, 7, 6 * 3600):
        now += step * SECOND
        count += replay.advance(now)
        assert all(when(row) < now for row in lines(folder, "predictions"))
        assert all(when(row, "label_timestamp") < now for row in lines(folder, "labels"))
    found = lines(folder, "predictions")
    assert {row["request_id"]: when(row) for row in found} == {
        one: at + SHIFT for one, at in times.items() if START <= at + SHIFT < now
    }
    assert len(found) == count > 100
    late = [row for row in lines(folder, "labels") if times[row["request_id"]] + SHIFT < START]
    assert late, "labels of predictions that were made before the start"
    assert replay.advance(now) == 0


def test_log_goes_on_after_its_end(folder: Path) -> None:
    """With rows of whole weeks before, under new ids: a Monday stays a Monday, and no day is left out."""
    replay = Replay(EXAMPLE, folder, START, 1.0)
    replay.advance(START + 9 * DAY)
    whole = everything("predictions")
    times = dict(zip(whole["request_id"].to_pylist(), micros(whole["timestamp"]), strict=True))
    found = lines(folder, "predictions")
    again = [row for row in found if row["request_id"] not in times]
    assert len(again) > 1000
    for row in again:
        one, slash, cycle = row["request_id"].rpartition("/")
        assert (slash, cycle) == ("/", "1")
        assert when(row) - SHIFT - times[one] == FLIGHTS.cycle
    assert FLIGHTS.cycle % (7 * DAY) == 0
    ids = [row["request_id"] for row in found]
    assert len(ids) == len(set(ids))
    moments = sorted(when(row) for row in found)
    assert max(b - a for a, b in itertools.pairwise([START, *moments, START + 9 * DAY])) < 12 * 3600 * SECOND


def test_speed(folder: Path) -> None:
    """At 60 an hour of the log passes in a minute, and the history is as much shorter."""
    replay = Replay(EXAMPLE, folder, START, 60.0)
    history = pq.read_table(folder / "predictions" / "history.parquet")
    times = micros(history["timestamp"])
    assert min(times) >= START - HISTORY // 60
    assert max(times) < START
    assert len(times) > 20_000
    replay.advance(START + 60 * SECOND)
    found = lines(folder, "predictions")
    whole = micros(everything("predictions")["timestamp"])
    assert len(found) == sum(ANCHOR <= at < ANCHOR + 3600 * SECOND for at in whole)
    assert all(START <= when(row) < START + 60 * SECOND for row in found)


def test_writes_on_by_itself_and_outlives_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system is logged, and the next step tried."""
    monkeypatch.setattr(demo, "_TICK_SECONDS", 0.01)
    replay, stop, steps = Replay(EXAMPLE, folder, START, 1.0), threading.Event(), []

    def advance(now: int) -> int:
        steps.append(now)
        if len(steps) == 1:
            raise OSError(28, "No space left on device")
        if len(steps) == 3:
            stop.set()
        return 0

    monkeypatch.setattr(replay, "advance", advance)
    replay.follow(stop)
    assert len(steps) == 3
    assert steps == sorted(steps)
    assert abs(steps[0] / SECOND - time.time()) < 60


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "windows", "bucket", "delay"),
    [
        (1.0, [86400, 604800], 300, 21600),
        (60.0, [1440, 10080], 60, 360),
        (1000.0, [120, 600], 60, 300),
        (0.5, [172800, 1209600], 60, 43200),
    ],
)
def test_configuration_fits_the_speed(
    speed: float, windows: list[int], bucket: int, delay: float, tmp_path: Path
) -> None:
    """Valid at every speed, its windows whole buckets, nothing in it that is not computed."""
    loaded = load(configuration(EXAMPLE, tmp_path, speed))
    (model,) = loaded.config.models
    assert [window.seconds for window in model.windows] == windows
    assert (model.bucket_seconds, model.data_delay_seconds) == (bucket, delay)
    assert not_computed(loaded.config) == []
    names = {window.name for window in model.windows}
    assert {name for feature in (model.columns.features or {}).values() for name in feature.windows or ()} <= names


def test_configuration_is_the_example_itself(tmp_path: Path) -> None:
    """At speed 1 to the letter."""
    path = configuration(EXAMPLE, tmp_path, 1.0)
    assert path.read_text() == (EXAMPLE / "model-exporter.yml").read_text()
    assert path.parent == tmp_path


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "demo", 1.0)
    yield made
    made.close()


def test_stage_in_a_folder_of_ones_own(stage: Stage) -> None:
    """Log and configuration are there afterwards, too."""
    stage.open()
    stage.close()
    assert (stage.folder / "log" / "predictions" / "history.parquet").is_file()
    assert stage.config == stage.folder / "model-exporter.yml"
    stage.close()


def test_stage_starts_afresh(stage: Stage) -> None:
    """A store of the last time would not fit the new log."""
    old = [stage.folder / name for name in ("model-exporter.db", "log/predictions/old.jsonl")]
    for path in old:
        path.write_text("old")
    (stage.folder / "mine.txt").write_text("keep")
    Stage(stage.folder, 1.0).close()
    assert not any(path.exists() for path in old)
    assert (stage.folder / "mine.txt").read_text() == "keep"


def test_stage_without_a_folder_leaves_nothing() -> None:
    """A temporary one, gone at the end."""
    made = Stage(None, 1.0)
    assert made.config.is_file()
    made.close()
    assert not made.folder.exists()


# --- the servers ------------------------------------------------------------------------------------------------------


def program(folder: Path, name: str, body: str) -> None:
    """Put a program under a name on PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_servers_are_started_with_the_shipped_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are installed; each is told, has its configuration, and ends with the demo."""
    (tmp_path / "bin").mkdir()
    for name in ("prometheus", "alertmanager"):
        program(tmp_path / "bin", name, 'echo "$@"; exec sleep 60')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    servers = Servers(tmp_path, "127.0.0.1:1234")
    try:
        told = servers.start()
        assert [told[0], told[-1]] == ["Alertmanager: http://127.0.0.1:9093", "Prometheus:   http://127.0.0.1:9090"]
        (line,) = told[1:-1]
        assert "/alertmanager/secrets/slack_api_url is missing" in line
        config = yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())
        targets = [
            one for job in config["scrape_configs"] for group in job["static_configs"] for one in group["targets"]
        ]
        assert "127.0.0.1:1234" in targets
        assert "127.0.0.1:9877" not in targets
        processes = [process for process, _ in servers._running]
        assert [process.poll() for process in processes] == [None, None]
    finally:
        servers.stop()
    assert all(process.poll() is not None for process in processes)
    assert "--config.file=prometheus.yml" in (tmp_path / "prometheus.log").read_text()
    servers.stop()


def test_server_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file in which it says why; its port may be in use."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "prometheus", "echo address already in use; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    servers = Servers(tmp_path, "127.0.0.1:1234")
    try:
        told = servers.start()
    finally:
        servers.stop()
    assert told[0] == f"Prometheus: did not start, see {tmp_path / 'prometheus.log'}"
    assert "are started where both are on PATH" in told[1]


def test_server_that_ignores_its_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "prometheus", "trap '' TERM; while true; do sleep 1; done")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: str(tmp_path / "bin" / name) if name == "prometheus" else None)
    monkeypatch.setattr(demo, "_STOP_SECONDS", 0.5)
    servers = Servers(tmp_path, "127.0.0.1:1234")
    servers.start()
    ((process, _),) = servers._running
    servers.stop()
    assert process.poll() == -9


# --- the past ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_whole(name: str, tmp_path: Path) -> None:
    """Each has a log around its moment, and a configuration that `demo` can run at any speed."""
    example = EXAMPLES[name]
    start = START + 3 * 3600 * SECOND
    assert (anchor_of(start, example) - start) % DAY == 0
    replay = Replay(example.folder, tmp_path / "log", start, 1.0, times=example)
    assert replay.advance(start + 3 * 3600 * SECOND) > 0
    times = micros(pq.read_table(tmp_path / "log" / "predictions" / "history.parquet")["timestamp"])
    assert start - HISTORY <= min(times) < max(times) < start
    for speed in (1.0, 60.0):
        (model,) = load(configuration(example.folder, tmp_path, speed)).config.models
        assert len({window.seconds for window in model.windows}) == 2


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_past_ends_where_the_demo_begins(tmp_path: Path, speed: float) -> None:
    """On the same clock: its log, its range and the labels of the scrape."""
    stage = Stage(tmp_path / "demo", speed)
    try:
        made = past.prepare(stage, speed, "127.0.0.1:1234", tmp_path / "data")
    finally:
        stage.close()
    given = made.command[made.command.index("backfill") :]
    parsed = parser().parse_args(given)
    assert parsed.end == stage.start // SECOND
    span = past.LENGTH / SECOND / speed
    assert span - made.step < parsed.end - parsed.start <= span
    assert parsed.label == ["instance=127.0.0.1:1234"]
    log = pq.read_table(stage.folder / "past" / "log" / "predictions" / "history.parquet")
    times = micros(log["timestamp"])
    assert parsed.start - 7 * 86400 / speed > min(times) / SECOND
    assert parsed.end - 86400 / speed < max(times) / SECOND < parsed.end
    assert load(parsed.config).config.models[0].name == "flights-delay"


def test_past_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start of a stack finds it there; one that failed is tried again."""
    codes = iter([1, 0])
    monkeypatch.setattr(past.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], next(codes)))
    stage = Stage(tmp_path / "demo", 1.0)
    (tmp_path / "data").mkdir()
    try:
        assert [past.load_once(stage, 1.0, "exporter:9877", tmp_path / "data") for _ in range(1)] == [1]
        shutil.rmtree(stage.folder / "past")
        assert past.load_once(stage, 1.0, "exporter:9877", tmp_path / "data") == 0
        assert past.load_once(stage, 1.0, "exporter:9877", tmp_path / "data") == 0
    finally:
        stage.close()
