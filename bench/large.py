"""A file of 100,000,000 rows passes through `model-exporter run`: the most memory that it needs, and the time.

usage: python -m bench.large [--rows N] [--columns N] [--knots N]

The file has 1,000,000 rows a row group (or --group), a quarter of its columns text, 30 days of event times.
It is made in $BENCH_DATA (about 4 bytes a value) and stays there; a first, empty process says what imports alone take.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.speed import machine, report, run, table
from bench.speed_data import CATEGORIES, START, folder, times

DAYS = 30
AT = "2024-01-31T00:00:00Z"


def _columns(count: int) -> tuple[list[str], list[str]]:
    texts = count // 4
    return [f"n{number:02d}" for number in range(count - texts)], [f"c{number:02d}" for number in range(texts)]


def _slice(first: int, count: int, whole: int, columns: int) -> pa.Table:
    """Return some of the file's rows; continuous numbers, numbers with ties, and text."""
    random = np.random.default_rng([first, columns])
    numbers, texts = _columns(columns)
    found: dict[str, pa.Array] = {}
    for number, name in enumerate(numbers):
        values = random.normal(0.001 * number, 1.0, count)
        found[name] = pa.array(np.round(values, 2) if number % 3 == 2 else values)
    names = pa.array([f"category_{number:02d}" for number in range(CATEGORIES)])
    for name in texts:
        codes = random.integers(0, CATEGORIES, count, dtype=np.int32)
        found[name] = pa.DictionaryArray.from_arrays(codes, names).cast(pa.string())
    step = DAYS * 86_400 * 1_000_000 // whole
    micro = START * 1_000_000 + np.arange(first, first + count, dtype=np.int64) * step
    return pa.table({**found, "ts": pa.array(micro).cast(pa.timestamp("us", tz="UTC"))})


def make(rows: int, columns: int, group: int) -> tuple[Path, Path]:
    """Make the two files where they are not there yet; return their paths: reference, log."""
    folder().mkdir(parents=True, exist_ok=True)
    reference = folder() / f"large_reference_{columns}.parquet"
    log = folder() / f"large_{rows}x{columns}_{group}.parquet"
    if not reference.exists():
        own = _slice(0, 100_000, 100_000, columns).drop_columns("ts")
        pq.write_table(own.append_column("ts", times(START - 86_400, 86_400, 100_000)), reference)
    if not log.exists():
        part = log.with_suffix(".part")
        with pq.ParquetWriter(part, _slice(0, 1, rows, columns).schema, compression="snappy") as writer:
            for first in range(0, rows, group):
                writer.write_table(_slice(first, min(group, rows - first), rows, columns), row_group_size=group)
        part.rename(log)
    return reference, log


def exporter(reference: Path, log: Path, columns: int, knots: int) -> None:
    """Run the exporter's own command on it."""
    from exporter.cli import main

    numbers, texts = _columns(columns)
    features = "".join(f"        {name}: {{importance: 1}}\n" for name in [*numbers[1:], *texts])
    lines = [
        "models:",
        "  - name: large",
        "    task: regression",
        "    columns:",
        "      timestamp: ts",
        f"      prediction: {numbers[0]}",
        f"      features:\n{features.rstrip()}",
        f"    reference: {{files: {reference}}}",
        f"    predictions: {{files: {log}}}",
        "    windows: [30d]",
        "    bucket: 1h",
        f"    drift: {{knots: {knots}}}",
    ]
    page = io.StringIO()
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(page):
        config = Path(place) / "large.yaml"
        config.write_text("\n".join(lines) + "\n")
        code = main(["run", "--config.file", str(config), "--at", AT, "--log.level", "error"])
    counted = [line for line in page.getvalue().splitlines() if line.startswith("model_window_rows{")]
    report(code=code, rows=max((float(line.rsplit(" ", 1)[1]) for line in counted), default=0.0))


def measure() -> None:
    """Make the data, run the process, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--group", type=int, default=1_000_000, help="rows of a row group")
    parser.add_argument("--knots", type=int, default=4_096)
    chosen = parser.parse_args()
    reference, log = make(chosen.rows, chosen.columns, chosen.group)
    own = [sys.executable, "-m", "bench.large", "--as"]
    bare = run([*own, "nothing"])
    found = run([*own, str(reference), str(log), str(chosen.columns), str(chosen.knots)])
    assert found.said["code"] == 0, found.said
    print(f"{machine()}\n")
    size = log.stat().st_size / 2**30
    line = [f"{found.said['rows']:,.0f}", chosen.columns, size, found.wall, found.cpu, found.peak, bare.peak]
    table(("rows counted", "columns", "GiB of Parquet", "wall s", "CPU s", "peak MiB", "of which imports"), [line])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--as", "nothing"]:
            import exporter.cli

            report()
        case ["--as", reference, log, columns, knots]:
            exporter(Path(reference), Path(log), int(columns), int(knots))
        case _:
            measure()
