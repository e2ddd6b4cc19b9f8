"""Many models in one process: what they cost in memory, processor time, series and store.

usage: python -m bench.fleet [--models N] [--features N] [--rows N] [--hours N] [--concurrency N]

One service, its store and page as they are, in a process of its own; per model a reference of 5,000 rows and an hour of
rows each tick, one Parquet file an hour. A day of hours is there at the start; then hours are added and each model runs
once an hour's rows. Models share the files of ten kinds, so that the data is made quickly; nothing of them is shared in
the process. A tick starts all models at once, as after a restart: so it also shows the queue.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.speed import ROOT, machine, table

KINDS, REFERENCE, PORT = 10, 5_000, 19_877
HOUR = 3_600
SCRAPE_SECONDS = 15.0
CATEGORICAL = 5  # one feature in so many


def _rows(count: int, features: int, seed: int, start: float) -> pa.Table:
    random = np.random.default_rng(seed)
    names = np.array([f"c{number:02d}" for number in range(20)])
    data: dict[str, Any] = {}
    for number in range(features):
        if number % CATEGORICAL == 0:
            data[f"f{number:03d}"] = pa.array(random.choice(names, count)).dictionary_encode()
        elif number % CATEGORICAL == 1:
            data[f"f{number:03d}"] = random.poisson(10, count).astype(np.float64)
        else:
            data[f"f{number:03d}"] = random.normal(0, 1, count)
    score = random.beta(2, 2, count)
    moments = start + np.arange(count) * HOUR / max(count, 1)
    stamps = pa.array((moments * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC"))
    data |= {"score": score, "prediction": (score > 0.5).astype(np.int64)}
    return pa.table({**data, "label": (random.random(count) < score).astype(np.int64), "timestamp": stamps})


def _write_hour(folder: Path, kind: int, features: int, rows: int, hour: int) -> None:
    path = folder / f"kind{kind}" / f"h{hour}.parquet.tmp"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(_rows(rows, features, hour * KINDS + kind, hour * HOUR), path)
    path.rename(path.with_suffix(""))


def _config(folder: Path, models: int, features: int) -> Path:
    own = [
        {
            "name": f"model-{number:04d}",
            "reference": {"files": f"kind{number % KINDS}/../reference{number % KINDS}.parquet"},
            "predictions": {"files": f"kind{number % KINDS}/*.parquet"},
        }
        for number in range(models)
    ]
    shared = {
        "task": "binary",
        "columns": {
            **{"timestamp": "timestamp", "prediction": "prediction", "score": "score", "label": "label"},
            "features": {f"f{number:03d}": {"importance": 1.0} for number in range(features)},  # else they are measured
        },
        "schedule": {"every": "365d"},  # a tick is a reload: each model runs once, at once
        "windows": ["24h", "7d"],
        "label_delay": "0s",
        "max_features": 20,
    }
    path = folder / "fleet.yml"
    path.write_text(json.dumps({"series_limit": 10_000_000, "defaults": shared, "models": own}))
    return path


class Process:
    """The exporter; what it uses, and what it answers."""

    def __init__(self, config: Path, concurrency: int | None):
        flags = [] if concurrency is None else [f"--run.concurrency={concurrency}"]
        command = [sys.executable, "-m", "bench.fleet", "--as", "exporter", str(config), *flags]
        self.log = config.parent / "exporter.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stderr=log, stdout=log
            )

    def memory(self) -> tuple[float, float]:
        """Return MiB that it has, and the most that it had."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[index, return-value]

    def cpu(self) -> float:
        """Return the processor seconds that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str, compressed: bool = False) -> tuple[float, bytes]:
        """Return seconds, and what it answered."""
        headers = {"Accept-Encoding": "gzip"} if compressed else {}
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers=headers)
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return time.perf_counter() - started, body

    def runs(self) -> int:
        """Return how many runs have ended."""
        return int(self.get("/fleet")[1])

    def tick(self) -> None:
        """Run each model once."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


def exporter(config: str, *flags: str) -> None:
    """Serve as `model-exporter serve` does; a line on standard input runs each model once."""
    from exporter import cli
    from exporter.service import Service
    from exporter.web import app

    ended = [0]
    run, create, start = Service._run, app.create, Service.start

    def counted(service: Service, monitor: Any) -> object:
        found = run(service, monitor)
        ended[0] += 1
        return found

    def created(service: Service, *rest: Any) -> Any:
        made = create(service, *rest)
        made.add_url_rule("/fleet", "fleet", lambda: str(ended[0]))
        return made

    def started(service: Service) -> None:
        start(service)

        def ticks() -> None:
            for _ in sys.stdin:
                for name in service.monitors:
                    service._scheduler.soon(name, 0)

        threading.Thread(target=ticks, daemon=True).start()

    Service._run, app.create, Service.start = counted, created, started  # type: ignore[method-assign]
    sys.exit(cli.main(["serve", "--config.file", config, "--web.listen-address", f"127.0.0.1:{PORT}", *flags]))


def _wait(own: Process, runs: int) -> tuple[float, float, float]:
    """Wait for so many runs; return seconds, processor seconds, and the slowest scrape meanwhile."""
    started, before, slowest, scraped = time.perf_counter(), own.cpu(), 0.0, 0.0
    while True:
        assert own.process.poll() is None, own.log.read_text()[-3000:]
        try:
            if time.perf_counter() - scraped > SCRAPE_SECONDS:
                scraped = time.perf_counter()
                slowest = max(slowest, own.get("/metrics", compressed=True)[0])
            if own.runs() >= runs:
                return time.perf_counter() - started, own.cpu() - before, slowest
        except OSError:
            pass
        time.sleep(0.5)


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Start, tick, and print the tables."""
    now = int(time.time()) // HOUR
    for kind in range(KINDS):
        pq.write_table(
            _rows(REFERENCE, given.features, 10**6 + kind, 0.0).drop_columns(["timestamp"]),
            folder / f"reference{kind}.parquet",
        )
        for hour in range(now - 24 - given.hours, now - given.hours):
            _write_hour(folder, kind, given.features, given.rows, hour)
    own = Process(_config(folder, given.models, given.features), given.concurrency)
    lines: list[list[object]] = []
    try:
        _row(lines, "start: baselines, a day of hours", own, folder, _wait(own, given.models), given.models)
        for number in range(given.hours):
            for kind in range(KINDS):
                _write_hour(folder, kind, given.features, given.rows, now - given.hours + number)
            own.tick()
            found = _wait(own, given.models * (number + 2))
            _row(lines, f"hour {number + 1}", own, folder, found, given.models)
        body = own.get("/metrics")[1]
        packed = own.get("/metrics", compressed=True)
        kept = own.get("/metrics", compressed=True)
    finally:
        own.process.terminate()
        own.process.wait()
    print(f"{given.models} models x {given.features} features, {given.rows} rows an hour; {machine()}\n")
    heads = (
        "what",
        "s",
        "CPU s",
        "CPU ms a model",
        "RSS MiB",
        "most MiB",
        "MiB a model",
        "slowest scrape s",
        "store kB a model",
    )
    table(heads, lines)
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    print(f"/metrics: {series} series, {len(body) / 2**20:.1f} MiB, {len(packed[1]) / 2**20:.1f} MiB packed")
    print(f"answered in {packed[0] * 1e3:.0f} ms, again in {kept[0] * 1e3:.0f} ms")


def _row(
    lines: list[list[object]], what: str, own: Process, folder: Path, found: tuple[float, float, float], models: int
) -> None:
    (wall, cpu, slowest), (now, most) = found, own.memory()
    stored = sum(path.stat().st_size for path in folder.glob("model-exporter.db*"))
    lines.append([what, wall, cpu, cpu / models * 1e3, now, most, now / models, slowest, stored / models / 1e3])
    print(lines[-1], file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:3] == ["--as", "exporter"]:
        exporter(*sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("models", 1_000), ("features", 100), ("rows", 500), ("hours", 3), ("concurrency", None)):
        parser.add_argument(f"--{name}", type=int, default=default)
    place = Path(tempfile.mkdtemp(prefix="fleet-"))
    try:
        measure(parser.parse_args(), place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
