"""`model-exporter demo`: a real model, its log moved to now and still growing, and all that watches it.

The log's times are moved by whole days, so that the demo starts in the midst of something: flights 6 to 30 hours into
an outage of the weather feed. After its last row the log goes on with its first ones, for as long as one watches.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from exporter.alertmanager import files
from exporter.duration import parse, show
from exporter.examples import FLIGHTS, Example, share
from exporter.rows import SECOND

log = logging.getLogger("exporter.demo")
_DAY = 86_400 * SECOND
HISTORY = 5 * 7 * 86400 * SECOND
_TICK_SECONDS = 5.0
_STOP_SECONDS = 10.0


def anchor_of(start: int, example: Example = FLIGHTS) -> int:
    """Return the log's moment that becomes `start`: the example's, or up to a day later, at the same time of day."""
    return example.moment + (start - example.moment) % _DAY


class Replay:
    """Writes the example's log as if it happened now, `speed` times as fast; times are microseconds.

    anchor: the log's moment that becomes `start`; left out, that of `anchor_of`. times: those of the example.
    """

    def __init__(
        self,
        example: Path,
        folder: Path,
        start: int,
        speed: float,
        anchor: int | None = None,
        times: Example = FLIGHTS,
    ):
        self._folder = folder
        self._start = start
        self._times = times
        self._anchor = anchor_of(start, times) if anchor is None else anchor
        self._speed = speed
        self._tables = {
            "predictions": (_read(example / "predictions"), "timestamp"),
            "labels": (_read(example / "labels"), "label_timestamp"),
        }
        for name in self._tables:
            (folder / name).mkdir(parents=True)
        pq.write_table(self._moved(pq.read_table(example / "reference.parquet"), 0), folder / "reference.parquet")
        self._written = start
        self.write_past(folder, HISTORY)

    def write_past(self, folder: Path, length: int) -> None:
        """Write what had happened by the start, and up to `length` before it, into one file a source."""
        for name, (table, column) in self._tables.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            past = self._between(table, column, self._anchor - length, self._anchor)
            pq.write_table(past, folder / name / "history.parquet")

    def advance(self, now: int) -> int:
        """Append what happened since the last call to today's files; return the number of new predictions."""
        begin, end = (self._anchor + int((at - self._start) * self._speed) for at in (self._written, now))
        self._written = now
        rows = 0
        for name, (table, column) in self._tables.items():
            new = self._between(table, column, begin, end)
            rows += len(new) if name == "predictions" else 0
            day = datetime.fromtimestamp(now / SECOND, UTC).strftime("%Y-%m-%d")
            if len(new):
                with (self._folder / name / f"{day}.jsonl").open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row, default=_json) + "\n" for row in new.to_pylist())
        return rows

    def _between(self, table: pa.Table, column: str, begin: int, end: int) -> pa.Table:
        """Return the log's rows with begin <= time < end, at the times at which they happen now."""
        times = table[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        parts = []
        last, length = self._times.end, self._times.cycle
        for cycle in range((end - last) // length + 2):
            moved = pc.add(times, cycle * length)
            earliest = max(begin, last + (cycle - 1) * length) if cycle else begin
            part = table.filter(pc.and_(pc.greater_equal(moved, earliest), pc.less(moved, end)))
            if len(part):
                parts.append(self._moved(part, cycle))
        return pa.concat_tables(parts) if parts else table.slice(0, 0)

    def _moved(self, table: pa.Table, cycle: int) -> pa.Table:
        for column in ("timestamp", "label_timestamp"):
            if column in table.column_names:
                old = table[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
                since = pc.divide(pc.add(old, cycle * self._times.cycle - self._anchor).cast(pa.float64()), self._speed)
                new = pc.add(since.cast(pa.int64(), safe=False), self._start).cast(pa.timestamp("us", "UTC"))
                table = table.set_column(table.column_names.index(column), column, new)
        if cycle:
            ids = pc.binary_join_element_wise(table["request_id"].cast(pa.string()), str(cycle), "/")
            ids = ids.cast(table["request_id"].type)
            table = table.set_column(table.column_names.index("request_id"), "request_id", ids)
        return table

    def follow(self, stop: threading.Event) -> None:
        """Keep writing until told to stop."""
        while not stop.wait(_TICK_SECONDS):
            try:
                self.advance(int(time.time() * SECOND))
            except OSError as error:
                log.error("the example's log cannot be written: %s", error)


def _read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# Days that pass in minutes cannot be told from the reference's: no thresholds are learned from it.
_CONSTANTS = """    drift:
      threshold:
        ks: {warning: 0.4}
        wasserstein: {warning: 0.9}
        psi: {warning: 1.2}
        jensen_shannon: {warning: 0.45}
        chi2: {warning: 0.2}
        l_infinity: {warning: 0.2}
"""


def configuration(example: Path, folder: Path, speed: float) -> Path:
    """Write the example's configuration into the folder, its lengths of time fitted to the speed."""
    text = (example / "model-exporter.yml").read_text(encoding="utf-8")
    if speed != 1:
        text = text.replace("    drift:\n", _CONSTANTS)
        for length in ("24h", "7d", "28d"):
            seconds = parse(length) / speed
            text = text.replace(length, show(max(round(seconds / 60), 2) * 60))
        text = re.sub("bucket: .*", "bucket: 1m", text)
        text = text.replace("data_delay: 6h", f"data_delay: {show(max(21600 / speed, 300))}")
    path = folder / "model-exporter.yml"
    path.write_text(text, encoding="utf-8")
    return path


def missing_secrets(config: Path) -> list[str]:
    """Return a sentence for each secret file that Alertmanager's configuration names and that is not there.

    Relative paths are taken from the configuration's folder, where Alertmanager is to be started.
    """
    named = sorted(files(yaml.safe_load(config.read_text(encoding="utf-8"))))
    return [
        f"{config.parent / name} is missing: what needs it is not sent (alertmanager/secrets/README.md)"
        for name in named
        if not (config.parent / name).exists()
    ]


class Servers:
    """Prometheus and Alertmanager beside the exporter, with the shipped configuration, where they are installed."""

    def __init__(self, folder: Path, exporter: str, lookback: float = 300.0):
        self._folder = folder
        self._exporter = exporter
        self._lookback = lookback
        self._running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def start(self) -> list[str]:
        """Start what is on PATH; return a line about each."""
        lines = []
        shutil.copytree(share("prometheus"), self._folder / "prometheus")
        shutil.copytree(share("alertmanager"), self._folder / "alertmanager")
        missing = missing_secrets(self._folder / "alertmanager" / "alertmanager.yml")
        alertmanager = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
        prometheus = shutil.which("prometheus")
        if alertmanager is not None:
            lines.append(
                self._start_one(
                    "Alertmanager",
                    9093,
                    [
                        alertmanager,
                        "--config.file=alertmanager.yml",
                        f"--storage.path={self._folder / 'alertmanager-data'}",
                        "--cluster.listen-address=",
                        "--web.listen-address=127.0.0.1:9093",
                    ],
                    self._folder / "alertmanager",
                )
            )
            lines += [f"{'':14}{line}" for line in missing]
        if prometheus is not None:
            config = self._folder / "prometheus" / "prometheus.yml"
            config.write_text(config.read_text().replace("127.0.0.1:9877", self._exporter))
            lines.append(
                self._start_one(
                    "Prometheus",
                    9090,
                    [
                        prometheus,
                        "--config.file=prometheus.yml",
                        f"--storage.tsdb.path={self._folder / 'prometheus-data'}",
                        "--storage.tsdb.retention.time=400d",
                        f"--query.lookback-delta={show(self._lookback)}",
                        "--web.listen-address=127.0.0.1:9090",
                    ],
                    self._folder / "prometheus",
                )
            )
        if prometheus is None or alertmanager is None:
            lines.append("(Prometheus and Alertmanager are started where both are on PATH)")
        return lines

    def _start_one(self, name: str, port: int, command: list[str], folder: Path) -> str:
        output = (self._folder / f"{name.lower()}.log").open("wb")
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self._running.append((process, output))
        time.sleep(0.5)
        if process.poll() is not None:
            return f"{name}: did not start, see {output.name}"
        return f"{name + ':':14}http://127.0.0.1:{port}"

    def stop(self) -> None:
        """End what was started."""
        for process, _ in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process, output in self._running:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.close()


class Stage:
    """The demo's folder: log, configuration, store; gone afterwards unless the user named one."""

    def __init__(self, wanted: Path | None, speed: float, example: Example = FLIGHTS):
        self.folder = wanted or Path(tempfile.mkdtemp(prefix="model-exporter-demo-"))
        self._temporary = wanted is None
        log_folder = self.folder / "log"
        if self._temporary or not log_folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
        else:
            for old in ("log", "model-exporter.db", "model-exporter.db-wal", "model-exporter.db-shm"):
                path = self.folder / old
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for old in ("prometheus", "alertmanager", "past"):
            shutil.rmtree(self.folder / old, ignore_errors=True)
        self.start = int(time.time() * SECOND)
        self.replay = Replay(example.folder, log_folder, self.start, speed, times=example)
        self.config = configuration(example.folder, self.folder, speed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.replay.follow, args=(self._stop,), daemon=True)

    def open(self) -> None:
        """Let the log grow."""
        self._thread.start()

    def close(self) -> None:
        """Stop the log; remove the folder if it is ours."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def say(lines: list[str]) -> None:
    """Print for the person in front of the terminal."""
    print("\n".join(lines), file=sys.stderr, flush=True)
