"""W1: 1,000,000 rows against a reference of 100,000, 60 columns, Parquet to results; whole processes.

usage: python -m bench.w1 [--rounds N]

limit: reads both files, sorts each numeric column once in place, searches the reference's values in it; no statistics.
loop: pandas and scipy, column by column: KS, PSI, chi-square (it computes less than the exporter).
engine: the functions that do the command's work on rows: reference fitted, window counted, all default statistics.
exporter: `model-exporter run`: configuration, the engine's work, store, thresholds, quality, history, page.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import statistics
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if "--as" in sys.argv and "loop" not in sys.argv:  # as the command does, before NumPy is there
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads take 50 ms to start
    gc.set_threshold(50_000)

from bench.speed import machine, options, ratio, report, side_by_side, table
from bench.speed_data import NUMERIC, TEXT, folder, make

EXACT = 1_000_000  # knots: more than the reference has rows
AT = "2024-01-02T00:00:00Z"


def limit(threads: int) -> None:
    """Do the least that exact counts need, with NumPy and Arrow."""
    import numpy as np
    import pyarrow.parquet as pq

    own = threading.local()

    def one(column: str) -> None:
        if not hasattr(own, "files"):
            paths = [folder() / name for name in ("reference.parquet", "current.parquet")]
            own.files = [pq.ParquetFile(path, read_dictionary=TEXT) for path in paths]
            own.buffer = np.empty(2_000_000)
        reference, current = (file.read(columns=[column], use_threads=False).column(0) for file in own.files)
        if column in TEXT:
            return
        knots = np.frombuffer(reference.chunk(0).buffers()[1], np.float64).copy()
        knots.sort()
        end = 0
        for chunk in current.chunks:
            values = np.frombuffer(chunk.buffers()[1], np.float64, len(chunk), chunk.offset * 8)
            own.buffer[end : end + len(values)] = values
            end += len(values)
        values = own.buffer[:end]
        values.sort()
        np.searchsorted(values, knots)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [*TEXT, *NUMERIC]))
    report()


def loop() -> None:
    """Compute KS, PSI and chi-square as one does by hand."""
    import numpy as np
    import pandas as pd
    from scipy import stats

    reference, current = (
        pd.read_parquet(folder() / name, columns=[*NUMERIC, *TEXT]) for name in ("reference.parquet", "current.parquet")
    )
    found: dict[str, Any] = {}
    for name in NUMERIC:
        before, now = reference[name].dropna(), current[name].dropna()
        edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)))
        edges[0], edges[-1] = -np.inf, np.inf
        p, q = (np.clip(np.histogram(own, edges)[0] / len(own), 1e-6, None) for own in (before, now))
        found[name] = stats.ks_2samp(before, now), float(np.sum((q - p) * np.log(q / p)))
    for name in TEXT:
        r, c = (own[name].value_counts() for own in (reference, current))
        names = r.index.union(c.index)
        r, c = (own.reindex(names, fill_value=0).clip(lower=1e-9) for own in (r, c))
        found[name] = stats.chisquare(c, r * c.sum() / r.sum())
    report(ks={name: float(found[name][0].statistic) for name in NUMERIC})


def settings(knots: int, given: bool) -> dict[str, Any]:
    """Return the model's configuration. given: the importances of its features stand in it."""
    features = {name: {"importance": 1} for name in [*NUMERIC, *TEXT] if name != "n49"}
    return {
        "name": "w1",
        "task": "regression",
        "columns": {"timestamp": "ts", "prediction": "n49", **({"features": features} if given else {})},
        "reference": {"files": str(folder() / "reference.parquet")},
        "predictions": {"files": str(folder() / "current.parquet")},
        "windows": ["24h"],
        "bucket": "24h",
        "drift": {"knots": knots},
    }


def exporter(knots: int, given: bool, place: Path) -> None:
    """Run the exporter's own command on a configuration of this kind."""
    from exporter.cli import main

    config = place / "w1.yaml"
    config.write_text(json.dumps({"models": [settings(knots, given)]}))
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        code = main(["run", "--config.file", str(config), "--at", AT, "--log.level", "error"])
    shown = [line for line in page.getvalue().splitlines() if "_drift_score{" in line and 'method="ks"' in line]
    named = {line.split('feature="')[1].split('"')[0] if 'feature="' in line else "n49": line for line in shown}
    report(code=code, ks={name: float(line.rsplit(" ", 1)[1]) for name, line in named.items()})


def engine(knots: int) -> None:
    """Fit, count and compare by the functions that the command calls; nothing is stored, learned or shown."""
    import numpy as np

    from exporter.evaluate.drift import drift
    from exporter.evaluate.views import View
    from exporter.profile.batch import read_log
    from exporter.profile.packed import add_to, empty
    from exporter.profile.tally import Cut
    from exporter.reference import fit
    from exporter.settings import Model
    from exporter.sources import files
    from exporter.sources.parquet import Table

    model = Model.model_validate(settings(knots, given=True))
    baseline = fit(model, files.read_reference(model.reference.files))
    window = empty(baseline.bins.size)  # as `Windows` has them

    def count(rows: Table) -> None:
        batch = read_log(model, baseline.schema, rows).batch
        for counts in baseline.bins.count_rows(batch, [Cut(None, np.array([0, batch.rows]))])[0]:
            add_to(window, counts)

    at_once = files.MANY * (1 + (knots == EXACT))  # as `ingest.rows_at_once`
    for chunk in files.read_new(model.predictions.files, {}, (), at_once):
        count(chunk.table)
    readings = drift(model, baseline, [View("1", "24h", 0, 86_400, window)]).readings
    found = {one.labels[4]: one.value for one in readings["model_feature_drift_score"] if one.labels[-1] == "ks"}
    (found["n49"],) = (one.value for one in readings["model_prediction_drift_score"] if one.labels[-1] == "ks")
    report(ks=found)


def lines_of(found: dict[str, Any]) -> list[list[object]]:
    """Return a line a process: medians, and ratios to limit and loop round by round."""
    out: list[list[object]] = []
    walls = {name: [one.wall for one in own] for name, own in found.items()}
    for name, own in found.items():
        median = [statistics.median(part) for part in zip(*(one[:3] for one in own), strict=True)]
        to_limit, to_loop = ratio(walls[name], walls["limit, 2 threads"]), ratio(walls["loop"], walls[name])
        cpu = ratio([one.cpu for one in found["loop"]], [one.cpu for one in own])
        out.append([name, len(own), *median[:2], round(median[2]), to_limit, to_loop, cpu])
    return out


def measure() -> None:
    """Run all of it in turn and print the table."""
    chosen = options(__doc__, 5)
    make()
    with tempfile.TemporaryDirectory() as place:
        own = [sys.executable, "-m", "bench.w1", "--as"]
        commands = {
            "limit, 2 threads": [*own, "limit", "2"],
            "engine, exact": [*own, "engine", str(EXACT)],
            "engine, 4,096 knots": [*own, "engine", "4096"],
            "exporter, exact": [*own, "exporter", str(EXACT), "given", place],
            "exporter, 4,096 knots": [*own, "exporter", "4096", "given", place],
            "exporter, 4,096 knots, importances measured": [*own, "exporter", "4096", "measured", place],
            "loop": [*own, "loop"],
        }
        found = side_by_side(commands, chosen.rounds)
    print(f"{machine()}\n")
    table(("process", "runs", "wall s", "CPU s", "peak MiB", "x limit", "loop / it", "CPU: loop / it"), lines_of(found))
    theirs = found["loop"][0].said["ks"]
    for name in ("engine, exact", "exporter, exact", "engine, 4,096 knots", "exporter, 4,096 knots"):
        ours = found[name][0].said["ks"]
        print(f"{name}: KS differs from scipy's by at most {max(abs(theirs[one] - ours[one]) for one in theirs):.1e}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--as", "limit", threads]:
            limit(int(threads))
        case ["--as", "loop"]:
            loop()
        case ["--as", "engine", knots]:
            engine(int(knots))
        case ["--as", "exporter", knots, importances, place]:
            exporter(int(knots), importances == "given", Path(place))
        case _:
            os.environ.setdefault("BENCH_DATA", str(folder()))
            measure()
