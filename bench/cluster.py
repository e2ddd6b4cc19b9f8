"""Counting in a Spark session beside the exporter's own engine: the same rows, later jobs of warm processes.

usage: python -m bench.cluster [--rows N] [--features 20|60] [--jobs N] [--rounds N] [--ids] [--reader auto|arrow|spark]

files: rows of Parquet files are read and counted in the process. local[2]: in a session with two threads.
local-cluster: in two executors of one core each. Each job starts from an empty store that knows its baseline; measured
is what `model_source_read_seconds` shows, and the processor time of all processes. The first job is not counted.
reader: who reads the files in a session, its executors or Spark.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.speed import ROOT, machine, ratio, report, side_by_side, table
from bench.speed_data import FEW, GROUP, NUMERIC, START, TEXT, folder, make, rows, times

DAY = 86_400
MASTERS = {"files": "", "local[2]": "local[2]", "local-cluster": "local-cluster[2,1,1024]"}
FILES = 8  # of one day's rows


def _columns(features: int) -> list[str]:
    return FEW if features == len(FEW) else [*NUMERIC, *TEXT]


def _log(count: int, features: int) -> Path:
    """Make a day's rows where they are not made yet; return their folder."""
    path = make() / f"log_{count}_{features}"
    if not path.exists():
        path.mkdir()
        for number in range(FILES):
            own = rows(count // FILES, 10 + number, 1.0)
            own["ts"] = times(START + number * DAY // FILES, DAY // FILES, count // FILES)
            own["id"] = times(number * 10**9, 10**9, count // FILES).cast("int64")
            import pyarrow as pa
            import pyarrow.parquet as pq

            kept = pa.table(own).select([*_columns(features), "ts", "id"])
            pq.write_table(kept, path / f"{number}.parquet", row_group_size=GROUP)
    return path


def _model(place: Path, features: int, source: dict[str, Any], ids: bool) -> Any:
    from exporter.config import load

    names = [name for name in _columns(features) if name != "n15"]
    columns: dict[str, Any] = {
        "timestamp": "ts",
        "prediction": "n15",
        "features": {n: {"importance": 1} for n in names},
    }
    own = {
        "name": "cluster",
        "task": "regression",
        "columns": columns | ({"id": "id"} if ids else {}),
        "reference": {"files": str(folder() / ("few.parquet" if features == len(FEW) else "reference.parquet"))},
        "predictions": source,
        "windows": ["24h"],
        "bucket": "1h",
    }
    path = place / "cluster.yaml"
    path.write_text(json.dumps({"models": [own]}))
    return load(path).config.models[0]


def _cpu() -> float:
    """Return the processor seconds of this process and of all below it, ended ones included."""
    stats: dict[int, tuple[int, int]] = {}
    for own in Path("/proc").glob("[0-9]*"):
        try:
            fields = (own / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        stats[int(own.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {os.getpid()}
    while more := {process for process, (parent, _) in stats.items() if parent in family} - family:
        family |= more
    return sum(stats[process][1] for process in family if process in stats) / os.sysconf("SC_CLK_TCK")


def jobs(given: argparse.Namespace) -> None:
    """Count the day's rows several times; print seconds and processor seconds of each."""
    from exporter.collector import Board
    from exporter.monitor import Monitor
    from exporter.store import Store

    logging.disable(logging.INFO)
    kind, count, features = given.kind, given.rows, given.features
    log = _log(count, features)
    found: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        data = Path(place) / "log"
        conf = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        conf |= {"spark.executorEnv.PYTHONPATH": str(ROOT), "spark.sql.shuffle.partitions": 2}
        session = {"master": MASTERS[kind], "conf": conf, "reader": given.reader}
        source: dict[str, Any] = {"spark": {"path": str(data), **session}}
        model = _model(Path(place), features, source if MASTERS[kind] else {"files": f"{data}/*.parquet"}, given.ids)
        for _ in range(given.jobs + 1):
            store = Store("sqlite:///:memory:")
            monitor = Monitor(model, store, Board(), 2.0 * DAY, 60.0, replay=True)
            logging.disable(logging.CRITICAL)
            monitor.run(START)  # the baseline is made; there are no rows yet
            logging.disable(logging.INFO)
            data.symlink_to(log)
            before = _cpu()
            assert monitor.run(START + DAY), monitor.sources
            found.append((monitor.sources["predictions"].seconds, _cpu() - before))
            (counted,) = (one.value for one in monitor.results()["model_predictions_total"])
            assert counted == count, counted
            data.unlink()
            store.close()
    report(first=found[0][0], seconds=[own[0] for own in found[1:]], cpu_seconds=[own[1] for own in found[1:]])


def measure(given: argparse.Namespace) -> None:
    """Run all three in turn and print the table."""
    _log(given.rows, given.features)
    own = ["--rows", str(given.rows), "--features", str(given.features), "--jobs", str(given.jobs)]
    own += ["--reader", given.reader, *(["--ids"] if given.ids else [])]
    commands = {kind: [sys.executable, "-m", "bench.cluster", "--as", kind, *own] for kind in MASTERS}
    found = side_by_side(commands, given.rounds)
    lines = []
    for kind, runs in found.items():
        seconds = [second for one in runs for second in one.said["seconds"]]
        cpu = statistics.median(second for one in runs for second in one.said["cpu_seconds"])
        mine, theirs = ([statistics.median(r.said["seconds"]) for r in found[key]] for key in (kind, "files"))
        middle = statistics.median(seconds)
        rate = given.rows / middle / 2  # each way uses two cores: threads, or executors
        first = statistics.median(one.said["first"] for one in runs)
        hours = [1e9 / rate / 3600, 1e9 / given.rows * cpu / 3600]
        lines.append([kind, first, middle, ratio(mine, theirs), cpu, rate / 1e6, *hours])
    print(f"{machine()}; {given.rows} rows x {given.features} features, ids: {given.ids}, reader: {given.reader}\n")
    heads = (
        "way",
        "first job s",
        "later jobs s",
        "to files",
        "CPU s",
        "M rows/s/core",
        "core h/1e9 rows",
        "CPU h/1e9 rows",
    )
    table(heads, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the day")
    parser.add_argument("--features", type=int, default=len(FEW), choices=(len(FEW), 60), help="columns of W1")
    parser.add_argument("--jobs", type=int, default=5, help="jobs of each process, after the first")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each way, in turn")
    parser.add_argument("--ids", action="store_true", help="with ids: copies are looked for")
    parser.add_argument("--reader", default="auto", choices=("auto", "arrow", "spark"), help="who reads in a session")
    parser.add_argument("--as", dest="kind", choices=tuple(MASTERS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.kind is not None:
        jobs(asked)
    else:
        measure(asked)
