"""Many models in one process: turns, files that do not answer, more to read than there is time; a real service."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.serving import Samples, Serving, only, select, until
from tests.integration.small import DAY, FEATURES, model, predictions, rows, write, write_all, write_config

MANY = 12


def own(name: str, folder: str, **more: Any) -> dict[str, Any]:
    """Return a model with another one's files."""
    made = model("credit", **more) | {"name": name}
    made["reference"] = {"files": "credit/reference.parquet"}
    made["predictions"] = {"files": f"{folder}/predictions/*"}
    made["columns"]["features"] = {name: {"importance": 1.0} for name in FEATURES}  # to measure them takes a second
    made.pop("labels")
    return made


HOLDER = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
files = [open(path, "r+b") for path in sys.argv[1:]]
for file in files:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
for file in files:
    sys.stdin.readline()
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
"""


@contextmanager
def held(*paths: Path) -> Iterator[Callable[[], None]]:
    """Let nobody open some files, as on a disk that does not answer; yield what lets the next one go.

    Whoever opens a file with a lease waits in the kernel for its holder, here for up to 45 s.
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, paths)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin and holder.stdout

    def release() -> None:
        assert holder.stdin
        holder.stdin.write("\n")
        holder.stdin.flush()

    try:
        assert holder.stdout.readline() == "held\n"
        yield release
    finally:
        holder.kill()
        holder.communicate()


def ran(found: Samples, name: str) -> float:
    return max(select(found, "model_task_runs_total", model=name, task="drift"), default=0.0)


def test_a_file_that_does_not_answer_holds_up_no_other_model(tmp_path: Path, free_port: int) -> None:
    """Two threads, three models whose file does not open, twelve whose file does: those run, and it is told."""
    now = time.time()
    write_all(tmp_path, "credit", now)
    stuck = [f"stuck-{number}" for number in range(3)]
    for name in stuck:
        shutil.copytree(tmp_path / "credit" / "predictions", tmp_path / name / "predictions")
    schedule = {"every": "1h", "timeout": "1s"}
    models = [own(name, name, schedule=schedule) for name in stuck]
    models += [own(f"m{number}", "credit", schedule=schedule) for number in range(MANY)]
    files = [tmp_path / name / "predictions" / "0.parquet" for name in stuck]
    config = write_config(tmp_path, *models)
    with held(*files) as release, Serving(config, free_port, "--run.concurrency", "2").healthy() as serving:
        first = serving.metrics()
        assert only(first, "model_exporter_run_concurrency") == 2
        until(lambda: only(serving.metrics(), "model_exporter_runs_overdue") == 3, 44)
        found = serving.metrics()
        assert [only(found, "model_task_running", model=name, task="ingest") for name in stuck] == [1, 1, 1]
        until(lambda: all(ran(serving.metrics(), f"m{number}") for number in range(MANY)), 120)
        found = serving.metrics()
        assert only(found, "model_exporter_runs_waiting") == 0
        assert only(found, "model_exporter_run_lag_seconds") == 0
        for name in stuck:
            assert f"model {name}: its run takes more than twice its timeout" in serving.log
        release()
        until(lambda: ran(serving.metrics(), stuck[0]))  # its rows come in as if nothing had been
        end = serving.metrics()
        assert only(end, "model_exporter_runs_overdue") <= 2
        counted = [sum(select(end, "model_predictions_total", model=name)) for name in (stuck[0], "m0")]
        assert counted[0] == counted[1] > 0


def test_what_there_is_no_time_for_is_read_in_the_next_turns(tmp_path: Path, free_port: int) -> None:
    """A backlog of many files, a moment for each turn: others run in between, in the end every row is counted once."""
    now = time.time()
    write_all(tmp_path, "credit", now)
    table = rows("credit", now - DAY, now, 4_000, seed=3)
    for number in range(40):
        write(
            predictions(table.slice(number * 100, 100)), tmp_path / "backlog" / "predictions" / f"{number:02d}.parquet"
        )
    models = [own("backlog", "backlog", schedule={"every": "1h", "timeout": "20ms"})]
    models += [own(f"m{number}", "credit", schedule={"every": "1h"}) for number in range(4)]
    with Serving(write_config(tmp_path, *models), free_port, "--run.concurrency", "1").healthy() as serving:
        until(lambda: ran(serving.metrics(), "backlog"), 60)
        found = serving.metrics()
        turns = only(found, "model_task_runs_total", model="backlog", task="ingest")
        assert turns >= 3
        assert only(found, "model_task_failures_total", model="backlog", task="ingest", reason="timeout") == turns - 1
        assert ran(found, "backlog") == 1  # results are shown once everything is read, not of a part
        assert sum(select(found, "model_predictions_total", model="backlog")) == 4_000
        assert only(found, "model_task_last_run_success", model="backlog", task="ingest") == 1
        assert "this turn has no time left" in serving.log
        others = [select(found, "model_task_last_run_timestamp_seconds", model=f"m{n}", task="drift") for n in range(4)]
        end = only(found, "model_task_last_run_timestamp_seconds", model="backlog", task="drift")
        assert all(one and one[0] <= end for one in others)


def test_a_process_that_cannot_keep_up_says_so(tmp_path: Path, free_port: int) -> None:
    """Runs of twenty models that are due each second on one thread: they are merged and counted, and are late."""
    write_all(tmp_path, "credit", time.time())
    models = [own(f"m{number}", "credit", schedule={"every": "1s"}) for number in range(20)]
    with Serving(write_config(tmp_path, *models), free_port, "--run.concurrency", "1").healthy() as serving:
        until(lambda: only(serving.metrics(), "model_exporter_run_lag_seconds") > 0.5, 60)
        until(
            lambda: sum(select(serving.metrics(), "model_task_skipped_total", task="ingest", reason="waiting")) > 0, 60
        )
        assert only(serving.metrics(), "model_exporter_runs_waiting") <= 20
