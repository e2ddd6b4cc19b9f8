"""The demo's past: three months of the example's log, replayed beside the demo and put into its Prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from exporter.demo import Stage
from exporter.duration import show
from exporter.examples import share
from exporter.rows import SECOND

LENGTH = 13 * 7 * 86_400 * SECOND  # of the log
STEP = 12 * 3600  # seconds of the log
_SHORTEST_STEP = 300
_DONE = "model-exporter-past.json"


class Past(NamedTuple):
    """A backfill that is to run: its command, and the step in seconds, which the data should be looked back for."""

    command: list[str]
    step: int


def step_at(speed: float) -> int:
    """Return the seconds between two moments of the past of a demo."""
    return max(round(STEP / speed / 60) * 60, _SHORTEST_STEP)


def prepare(stage: Stage, speed: float, exporter: str, data: Path) -> Past:
    """Write the past's log and configuration beside the demo's; `data`: the Prometheus data directory it is for."""
    folder = stage.folder / "past"
    shutil.copytree(stage.config.parent / "log", folder / "log", ignore=lambda *_: ["history.parquet"])
    stage.replay.write_past(folder / "log", LENGTH + 8 * 7 * 86_400 * SECOND)
    config = shutil.copy(stage.config, folder)
    step = step_at(speed)
    end = stage.start // SECOND
    begin = end - int(LENGTH / SECOND / speed) // step * step
    moments = (datetime.fromtimestamp(at, UTC).isoformat() for at in (begin, end))
    nice = [path, "-n", "10"] if (path := shutil.which("nice")) else []
    command = [
        *(*nice, sys.executable, "-m", "exporter", "backfill", "--log.level", "warning"),
        *("--config.file", str(config), "--from", next(moments), "--to", next(moments), "--step", show(step)),
        *("--output", str(folder / "history.om"), "--blocks", str(data), "--without", "multivariate"),
        *("--label", f"instance={exporter}", "--rules", str(share("prometheus") / "rules" / "*.yml")),
    ]
    return Past(command, step)


def can_load() -> bool:
    """Say whether the programs that make blocks are there."""
    return all(shutil.which(name) for name in ("promtool", "prometheus"))


class Background:
    """The backfill of a demo, in a process of its own while the demo goes on."""

    def __init__(self, past: Past, said: Path):
        self._file = said.open("wb")
        self._process = subprocess.Popen(past.command, stdout=self._file, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        """End it, finished or not."""
        self._process.terminate()
        self._process.wait()
        self._file.close()


def load_once(stage: Stage, speed: float, exporter: str, data: Path) -> int:
    """Load the past and wait for it, once for each data directory; return the exit code of the backfill."""
    done = data / _DONE
    if done.exists():
        return 0
    past = prepare(stage, speed, exporter, data)
    code = subprocess.run(past.command, check=False).returncode
    if code == 0:
        done.write_text(json.dumps({"step": past.step, "until": stage.start // SECOND}), encoding="utf-8")
    return code
