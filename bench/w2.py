"""W2: an hour of 5,000 rows, 20 features, comes in: the drift of the last 24 hours, 7 days, 29 days.

usage: python -m bench.w2 [--rounds N]

exporter: `Monitor.run`: finds and reads the hour's Parquet file, counts it, keeps it in SQLite, moves the windows,
judges all default statistics, thresholds, days, and publishes. loop: pandas and scipy on rows that are in memory
already: KS, PSI and chi-square of the window's rows. reading: reads the hour's file and counts it, and nothing else.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if "exporter" in sys.argv:
    gc.set_threshold(50_000)  # as the command does

from bench.speed import machine, options, ratio, report, side_by_side, table
from bench.speed_data import FEW, NUMERIC, START, folder, make

WINDOWS = {"24h": 24, "7d": 168, "29d": 696}
TICKS = 15


def _model(live: Path, window: str, knots: int) -> Any:
    from exporter.config import load

    features = {name: {"importance": 1} for name in FEW if name != "n15"}
    own = {
        "name": "w2",
        "task": "regression",
        "columns": {"timestamp": "ts", "prediction": "n15", "features": features},
        "reference": {"files": str(folder() / "few.parquet")},
        "predictions": {"files": f"{live}/h*.parquet"},
        "windows": [window],
        "bucket": "1h",
        "drift": {"knots": knots, "baselines": ["reference"]},
    }
    path = live / "w2.yaml"
    path.write_text(json.dumps({"models": [own]}))
    return load(path).config.models[0]


def exporter(window: str, knots: int) -> None:
    """Fill a window, then let hours come in one by one."""
    import sqlalchemy as sa

    from exporter.collector import Board
    from exporter.monitor import Monitor
    from exporter.store import Store

    logging.disable(logging.INFO)
    hours = WINDOWS[window]
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        live = Path(place)

        def arrive(hour: int) -> None:
            os.link(folder() / "hours" / f"h{hour:04d}.parquet", live / f"h{hour:04d}.parquet")

        store = Store(f"sqlite:///{live}/store.db")
        monitor = Monitor(_model(live, window, knots), store, Board(), 90 * 86_400.0, 60.0)
        for hour in range(hours):
            arrive(hour)
        good = monitor.run(START + 3600.0 * hours)
        spent, busy = [], []
        for hour in range(hours, hours + TICKS):
            arrive(hour)
            started = time.perf_counter(), time.process_time()
            good &= monitor.run(START + 3600.0 * (hour + 1))
            spent.append(time.perf_counter() - started[0])
            busy.append(time.process_time() - started[1])
        with store.transaction() as tx:
            count, size = tx.connection.execute(sa.text("SELECT count(*), sum(length(counts)) FROM bucket")).one()
        store.close()
    ms = statistics.median(spent) * 1e3
    report(ms=ms, cpu_ms=statistics.median(busy) * 1e3, stored=size / count / len(FEW), good=good)


def reading(knots: int) -> None:
    """Read and count the hour's rows, nothing else."""
    import numpy as np

    from exporter.profile.batch import read_batch
    from exporter.profile.tally import Cut
    from exporter.reference import fit
    from exporter.sources.files import read_all, read_new

    with tempfile.TemporaryDirectory(dir=folder()) as place:
        model = _model(Path(place), "24h", knots)
    made = fit(model, read_all((str(folder() / "few.parquet"),)))
    spent, busy = [], []
    for hour in range(TICKS):
        started = time.perf_counter(), time.process_time()
        (chunk,) = read_new((str(folder() / "hours" / f"h{hour:04d}.parquet"),), {})
        batch = read_batch(model, made.schema, chunk.table)
        made.bins.count_rows(batch, [Cut(None, np.array([0, batch.rows]))])
        spent.append(time.perf_counter() - started[0])
        busy.append(time.process_time() - started[1])
    report(ms=statistics.median(spent) * 1e3, cpu_ms=statistics.median(busy) * 1e3)


def loop(window: str) -> None:
    """Compute KS, PSI and chi-square over the window's rows, held in memory."""
    import numpy as np
    import pandas as pd
    from scipy import stats

    hours, ticks = WINDOWS[window], 3
    reference = pd.read_parquet(folder() / "few.parquet")
    held = [pd.read_parquet(folder() / "hours" / f"h{hour:04d}.parquet", columns=FEW) for hour in range(hours + ticks)]
    spent, busy = [], []
    for tick in range(ticks):
        started = time.perf_counter(), time.process_time()
        current = pd.concat(held[tick + 1 : tick + 1 + hours], ignore_index=True)
        for name in FEW:
            before, now = reference[name], current[name]
            if name in NUMERIC:
                stats.ks_2samp(before, now)
                edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)))
                edges[0], edges[-1] = -np.inf, np.inf
                p, q = (np.clip(np.histogram(own, edges)[0] / len(own), 1e-6, None) for own in (before, now))
                np.sum((q - p) * np.log(q / p))
            else:
                r, c = before.value_counts(), now.value_counts()
                names = r.index.union(c.index)
                r, c = (own.reindex(names, fill_value=0).clip(lower=1e-9) for own in (r, c))
                stats.chisquare(c, r * c.sum() / r.sum())
        spent.append(time.perf_counter() - started[0])
        busy.append(time.process_time() - started[1])
    report(ms=statistics.median(spent) * 1e3, cpu_ms=statistics.median(busy) * 1e3)


def measure() -> None:
    """Run all of it in turn and print the table."""
    chosen = options(__doc__, 5)
    make()
    own = [sys.executable, "-m", "bench.w2", "--as"]
    commands = {f"loop, {window}": [*own, "loop", window] for window in ("24h", "7d")}
    for knots, named in ((4_096, "4,096 knots"), (1_000_000, "exact")):
        commands |= {f"exporter, {named}, {window}": [*own, "exporter", window, str(knots)] for window in WINDOWS}
    commands["reading, 4,096 knots"] = [*own, "reading", "4096"]
    found = side_by_side(commands, chosen.rounds)
    lines = []
    for name, runs in found.items():
        ms, cpu = ([one.said[key] for one in runs] for key in ("ms", "cpu_ms"))
        naive = found.get(f"loop, {name.rsplit(', ', 1)[1]}")
        against = (
            [ratio([one.said[key] for one in naive], mine) for key, mine in (("ms", ms), ("cpu_ms", cpu))]
            if naive
            else ["", ""]
        )
        stored = runs[0].said.get("stored", "")
        lines.append([name, len(runs), statistics.median(ms), statistics.median(cpu), *against, stored])
    print(f"{machine()}\n")
    table(("tick", "runs", "ms", "CPU ms", "loop / it", "CPU: loop / it", "bytes stored a feature and hour"), lines)
    for named in ("4,096 knots", "exact"):
        long, short = ([one.said["ms"] for one in found[f"exporter, {named}, {window}"]] for window in ("29d", "24h"))
        print(f"{named}: tick of 29 d over tick of 24 h: {ratio(long, short):.2f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--as", "exporter", window, knots]:
            exporter(window, int(knots))
        case ["--as", "loop", window]:
            loop(window)
        case ["--as", "reading", knots]:
            reading(int(knots))
        case _:
            measure()
