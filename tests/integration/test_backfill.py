"""The past, replayed: each moment as `run --at` tells it, to the same bytes after being killed, read by promtool."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.backfill import command
from exporter.backfill.feed import Feed, Grid
from exporter.backfill.replay import Plan, Replay
from exporter.backfill.spool import by_series
from exporter.collector import Board, Filter
from exporter.config import load
from exporter.monitor import Monitor
from exporter.settings import Model, Retention
from exporter.store import Store
from tests.integration.small import DAY, HOUR, NOON, model, predictions, rows, write, write_all, write_config
from tests.unit.test_cli import cli, one_line

START, END, STEP = NOON - 30 * HOUR, NOON - 2 * HOUR, 4 * HOUR
GRID = Grid(START, END, STEP)
OF_THE_PROCESS = {
    "model_task_running",
    "model_task_last_duration_seconds",
    "model_task_runs",
    "model_task_failures",
    "model_task_skipped",
    "model_task_duration_seconds",
    "model_source_rows",
    "model_source_read_seconds",
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models; one has segments, rows that come again, late files and a row without a time."""
    folder = tmp_path_factory.mktemp("past")
    for name in ("credit", "prices"):
        table = write_all(folder, name, NOON)
        again = predictions(table).slice(300, 50)
        odd = again.slice(0, 1).set_column(1, "timestamp", pa.array([None], pa.timestamp("us", "UTC")))
        odd = odd.set_column(0, "id", pa.array(["no-time"]))
        late = predictions(rows(name, NOON - 3 * DAY, NOON, 90, seed=7, shift=40))
        suffix = "parquet" if name == "credit" else "jsonl"
        write(pa.concat_tables([late, again, odd]), folder / name / "predictions" / f"2-late.{suffix}")
    columns = model("credit")["columns"] | {"segments": ["city"]}
    credit = model("credit", columns=columns, timezone="Europe/Berlin", drift={"min_rows": 50, "sequential": ["ewma"]})
    return write_config(folder, credit, model("prices"))


def models(made: Path) -> tuple[Model, ...]:
    return load(made).config.models


def plan(made: Path) -> Plan:
    return Plan(models(made), GRID, {"job": "x"}, Retention())


@pytest.fixture(scope="module")
def history(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished file."""
    output = tmp_path_factory.mktemp("out") / "history.om"
    Replay(plan(made), output.with_suffix(".part")).run(output, lambda _: None)
    return output


def by_moment(path: Path) -> dict[int, Samples]:
    found: dict[int, Samples] = {}
    for family in parse_openmetrics(path.read_text()):
        for one in family.samples:
            labels = dict(one.labels)
            assert labels.pop("job") == "x"
            found.setdefault(int(float(str(one.timestamp))), {})[one.name, frozenset(labels.items())] = one.value
    return found


def as_of(made: Path, at: int) -> Samples:
    """What an exporter shows that is started at a moment."""
    board, store = Board(), Store("sqlite:///:memory:")
    for one in models(made):
        assert Monitor(one, store, board, Retention().profiles, 60.0, replay=True).run(at)
    page = board.page(False, False, Filter(models=frozenset({"credit", "prices"}))).body.decode()
    return samples(page)


def samples(page: str) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in parse_text(page)
        if family.name not in OF_THE_PROCESS
        for one in family.samples
    }


def test_every_moment_is_as_of_then(made: Path, history: Path) -> None:
    """Each sample equals that of an exporter that was started at that moment; none is more, none is less."""
    found = by_moment(history)
    assert sorted(found) == list(range(START, END + 1, STEP))
    for at, own in found.items():
        expected = as_of(made, at)
        assert own.keys() == expected.keys()
        assert own == expected, {key: (own[key], expected[key]) for key in own if own[key] != expected[key]}
        assert len(own) > 400


def test_as_run_at(made: Path, history: Path) -> None:
    """And that of the command `run --at`, for all that is told of windows."""
    at = START + 3 * STEP
    text = datetime.fromtimestamp(at, UTC).isoformat()
    page = samples(cli("run", "--config.file", made, "--at", text, "--log.level", "error").stdout)
    own = by_moment(history)[at]
    windows = {key for key in own if any(name == "window" for name, _ in key[1])}
    assert len(windows) > 300
    assert {key: own[key] for key in windows} == {key: page[key] for key in windows}


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere(made: Path, history: Path, tmp_path: Path, seed: int) -> None:
    """Killed again and again, with checkpoints at some steps: the same bytes in the end, and nothing left behind."""
    chance = random.Random(seed)
    output, folder = tmp_path / "history.om", tmp_path / "part"

    class Killed(BaseException):
        pass

    deadly = chance.sample(range(2, 2 * GRID.moments), 5)

    def perhaps(done: int) -> None:
        if done in deadly:
            deadly.remove(done)
            raise Killed

    kills, starts = 0, set()
    while not output.exists():
        replay = Replay(plan(made), folder, checkpoint_seconds=chance.choice([0.0, 0.0, 1000.0]))
        starts.add(replay.done)
        try:
            replay.run(output, perhaps)
        except Killed:
            kills += 1
            for path in (folder / "families").iterdir():  # what was still on its way to the disk
                with path.open("ab") as file:
                    file.write(b"half a li")
    assert kills == 5
    assert len(starts) > 1, "it goes on from where it was"
    assert output.read_bytes() == history.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["history.om"]


def test_other_plan_begins_anew(made: Path, tmp_path: Path) -> None:
    """Another range, label or configuration does not go on from a checkpoint of the first."""

    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    first = Replay(plan(made), tmp_path / "part", checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "x", stop)
    assert Replay(plan(made), tmp_path / "part").done == 4
    other = plan(made)._replace(labels={"job": "y"})
    assert Replay(other, tmp_path / "part").done == 0


def test_promtool_takes_it(history: Path, tmp_path: Path) -> None:
    """Blocks are made of it with every sample."""
    command = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=2400h", "openmetrics", history, tmp_path]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    metas = [json.loads(path.read_text()) for path in tmp_path.glob("*/meta.json")]
    written = sum(not line.startswith("#") for line in history.read_text().splitlines())
    assert sum(meta["stats"]["numSamples"] for meta in metas) == written > 5000


# --- the parts --------------------------------------------------------------------------------------------------------


def test_rows_are_given_once_and_in_time(made: Path, tmp_path: Path) -> None:
    """All rows of the log in the range, each at the step after its time; labels at the step at or after theirs."""
    (credit, _) = models(made)
    feed = Feed(credit, tmp_path, GRID, 0)
    told: dict[str, list[tuple[int, float]]] = {"predictions": [], "labels": []}
    for source, column in (("predictions", "timestamp"), ("labels", "label_timestamp")):
        spec = credit.predictions if source == "predictions" else credit.labels
        assert spec is not None
        for feed.now in range(GRID.moments):
            for chunk in feed(source, spec.files, {}, (), 1000):
                assert chunk.table is not None
                times = [None if at is None else at.timestamp() for at in chunk.table[column].to_pylist()]
                told[source] += [(feed.now, at) for at in times if at is not None]
    for step, at in told["predictions"]:
        assert (at >= GRID.moment(step - 1) or step == 0) and at < GRID.moment(step)
    for step, at in told["labels"]:
        assert (at > GRID.moment(step - 1) or step == 0) and at <= GRID.moment(step)
    assert len(told["predictions"]) == sum(
        at.timestamp() < END
        for path in sorted((made.parent / "credit" / "predictions").iterdir())
        for at in pa.parquet.read_table(path)["timestamp"].to_pylist()
        if at is not None
    )


def test_work_grows_with_new_rows(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the steps read no row more."""
    read: list[int] = []
    original: Callable[..., object] = Monitor.__init__

    def remember(self: Monitor, *args: object, **options: object) -> None:
        original(self, *args, **options)
        monitors.append(self)

    monitors: list[Monitor] = []
    monkeypatch.setattr(Monitor, "__init__", remember)
    for step in (STEP * 3, STEP // 4):
        monitors.clear()
        (credit, _) = models(made)
        grid = Grid(START, START + 24 * HOUR, step)
        Replay(Plan((credit,), grid, {}, Retention()), tmp_path / "p").run(tmp_path / "x.om", lambda _: None)
        read.append(sum(one.sources["predictions"].rows for one in monitors))
    assert read[0] == read[1] > 0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99)), max_size=60), st.integers(20, 400))
def test_lines_by_series(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], portion: int) -> None:
    """Whatever the size of a portion: the same lines, series by series, each in its order."""
    path = tmp_path_factory.mktemp("spool") / "family"
    lines = [f'family{{a="x y {series}"}} {value} {n}\n'.encode() for n, (series, value) in enumerate(pairs)]
    path.write_bytes(b"".join(lines))
    order = list(dict.fromkeys(series for series, _ in pairs))
    expected = [line for one in order for line, (series, _) in zip(lines, pairs, strict=True) if series == one]
    assert [line for own in by_series(path, portion) for line in own] == expected
    assert [one.name for one in path.parent.iterdir()] == ["family"]


# --- the command ------------------------------------------------------------------------------------------------------

RANGE = ("--from", datetime.fromtimestamp(START, UTC).isoformat(), "--to", datetime.fromtimestamp(END, UTC).isoformat())


def test_command(made: Path, tmp_path: Path) -> None:
    """The file with the labels of a scrape; no bar where nobody looks."""
    output = tmp_path / "history.om"
    found = cli(
        "backfill", "--config.file", made, *RANGE, "--step", "14h", "--model", "prices", "--output", output,
        "--label", "instance=exporter:9877", "--label", "env=test",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "of 3 steps" in found.stderr
    assert "━" not in found.stderr
    (line, *_) = [line for line in output.read_text().splitlines() if line.startswith("model_info{")]
    assert 'job="model-exporter",instance="exporter:9877",env="test",model="prices"' in line
    assert line.endswith(f" 1.0 {START}")


def test_without_a_task(tmp_path: Path) -> None:
    """Its series and its state are left out, and nothing else."""
    write_all(tmp_path, "credit", NOON)
    config = write_config(tmp_path, model("credit", performance={"min_rows": 50, "estimate": True}))
    texts = []
    for more in ((), ("--without", "estimation")):
        output = tmp_path / "x.om"
        assert (
            cli("backfill", "--config.file", config, *RANGE, "--step", "28h", "--output", output, *more).returncode == 0
        )
        texts.append([line for line in output.read_text().splitlines() if "estimat" not in line])
    assert "model_performance_estimated_score{" not in output.read_text()
    assert texts[0] == texts[1]


def test_ended_is_not_finished(made: Path, tmp_path: Path) -> None:
    """A replay that is told to end exits with a code of its own, and the next one goes on."""
    output = tmp_path / "history.om"
    command = [
        sys.executable,
        "-m",
        "exporter",
        "backfill",
        "--config.file",
        made,
        *RANGE,
        "--step",
        "1m",
        "--output",
        output,
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    families = tmp_path / "history.om.part" / "families"
    while not (families.is_dir() and any(families.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 143
    assert not output.exists()
    assert families.is_dir()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--to", "2099-01-01"], "--to is in the future"),
        (["--to", "2001-01-01"], "--to is before --from"),
        (["--step", "0s"], "a whole number of seconds"),
        (["--step", "fortnight"], "is not a duration"),
        (["--label", "job"], "--label 'job' is not NAME=VALUE"),
        (["--model", "debit"], "no model 'debit'"),
    ],
)
def test_ranges_that_make_no_sense(made: Path, tmp_path: Path, flags: list[str], told: str) -> None:
    """One sentence each, and no file."""
    output = tmp_path / "x.om"
    found = cli("backfill", "--config.file", made, *RANGE, "--output", output, *flags)
    assert told in one_line(found)
    assert not output.exists()


def test_log_that_cannot_be_read(made: Path, tmp_path: Path) -> None:
    """A past with holes is refused, with the file's name."""
    write_all(tmp_path, "credit", NOON)
    broken = tmp_path / "credit" / "predictions" / "1.parquet"
    broken.write_bytes(b"no parquet")
    config = write_config(tmp_path, model("credit"))
    found = cli("backfill", "--config.file", config, *RANGE, "--output", tmp_path / "x.om")
    assert found.returncode == 1
    assert str(broken) in found.stderr.splitlines()[-1]
    assert not (tmp_path / "x.om").exists()


def test_corrected_label_is_seen_as_it_was(tmp_path: Path) -> None:
    """Before the correction the first label counts, and after it the second, in a replay as in `run --at`."""
    table = write_all(tmp_path, "prices", NOON)
    first = table.select(["id", "label", "label_timestamp"]).slice(0, 700)
    second = first.set_column(1, "label", pa.array(np.asarray(first["label"]) + 1000.0))
    moved = pa.array([NOON - 3 * HOUR] * 700, pa.timestamp("s", "UTC"))
    write(second.set_column(2, "label_timestamp", moved), tmp_path / "prices" / "labels" / "9.jsonl")
    config = write_config(tmp_path, model("prices"))
    output = tmp_path / "x.om"
    Replay(Plan(load(config).config.models, GRID, {"job": "x"}, Retention()), tmp_path / "p").run(
        output, lambda _: None
    )
    told = {at: error(own) for at, own in by_moment(output).items()}
    for at in (NOON - 6 * HOUR, NOON - 2 * HOUR):
        text = datetime.fromtimestamp(at, UTC).isoformat()
        assert error(samples(cli("run", "--config.file", config, "--at", text).stdout)) == told[at]
    assert told[NOON - 6 * HOUR] < 30
    assert told[NOON - 2 * HOUR] > 200


def error(found: Samples) -> float:
    wanted = {("metric", "mae"), ("window", "1d"), ("segment", "all")}
    (value,) = [v for (name, labels), v in found.items() if name == "model_performance_score" and wanted <= labels]
    return value


def test_default_labels_are_those_of_the_scrape() -> None:
    """As the shipped configuration of Prometheus names the exporter."""
    text = (Path(__file__).parents[2] / "prometheus" / "prometheus.yml").read_text()
    assert f"job_name: {command.SCRAPED['job']}" in text
    assert command.SCRAPED["instance"] in text
