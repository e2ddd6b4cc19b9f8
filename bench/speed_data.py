"""The data of the speed benchmarks: a reference, a current window, a month of hours, scored rows. Seeded.

W1: 50 float64 columns (30 continuous, 10 rounded = ties, 5 small integers, 5 zero-inflated), 10 of text with 20
categories; nothing missing. W2: 16 + 4 of these columns, 5,000 rows an hour, one file an hour. W3: a label and a score.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMERIC = [f"n{number:02d}" for number in range(50)]
TEXT = [f"c{number:02d}" for number in range(10)]
FEW = [*NUMERIC[:16], *TEXT[:4]]
CATEGORIES = 20
START = 1_704_067_200  # 2024-01-01T00:00:00Z
HOUR_ROWS, HOURS = 5_000, 720
GROUP = 131_072


def folder() -> Path:
    """Return where the data is: $BENCH_DATA, else a folder of the user's cache."""
    return Path(os.environ.get("BENCH_DATA", Path.home() / ".cache" / "model-exporter-bench"))


def rows(count: int, seed: int, drift: float) -> dict[str, pa.Array]:
    """Return W1's columns."""
    random = np.random.default_rng(seed)
    found: dict[str, pa.Array] = {}
    for number, name in enumerate(NUMERIC):
        moved, kind = drift * (number % 5) * 0.01, number % 10
        if kind < 3:
            values = random.normal(moved, 1.0 + moved, count)
        elif kind < 5:
            values = random.lognormal(moved, 0.7, count)
        elif kind == 5:
            values = random.exponential(1.0 + moved, count)
        elif kind < 8:
            values = np.round(random.normal(100, 15 + 10 * moved, count), 2)
        elif kind == 8:
            values = random.poisson(10 + 10 * moved, count).astype(np.float64)
        else:
            values = np.where(random.random(count) < 0.4 + moved, 0.0, random.gamma(2.0, 1.0, count))
        found[name] = pa.array(values)
    names = np.array([f"category_{number:02d}" for number in range(CATEGORIES)])
    for number, name in enumerate(TEXT):
        shares = 1.0 / np.arange(1, CATEGORIES + 1)
        shares[0] *= 1 + drift * 0.05 * (number % 3)
        found[name] = pa.array(names[random.choice(CATEGORIES, count, p=shares / shares.sum())])
    return found


def times(first: int, seconds: int, count: int) -> pa.Array:
    """Return event times, evenly spread over a stretch."""
    micro = first * 1_000_000 + np.arange(count, dtype=np.int64) * (seconds * 1_000_000) // count
    return pa.array(micro).cast(pa.timestamp("us", tz="UTC"))


def _hours(path: Path) -> None:
    path.mkdir(exist_ok=True)
    whole = pa.table(rows(72 * HOUR_ROWS, 4, 1.0)).select(FEW)
    for hour in range(HOURS):
        part = whole.slice(hour % 72 * HOUR_ROWS, HOUR_ROWS)
        for number, name in enumerate(FEW):
            if name in NUMERIC and number % 10 < 6:  # hours repeat after three days, but no value does
                moved = pa.array(part[name].to_numpy() + 1e-7 * hour)
                part = part.set_column(part.column_names.index(name), name, moved)
        part = part.append_column("ts", times(START + 3600 * hour, 3600, HOUR_ROWS))
        pq.write_table(part, path / f"h{hour:04d}.parquet")


def _scored(path: Path, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.2).astype(np.int64)
    score = 1 / (1 + np.exp(-(random.normal(0, 1, count) + 1.2 * label - 1.6)))
    said = (score >= 0.5).astype(np.int64)
    named = {"label": label, "score": score, "said": said}
    pq.write_table(
        pa.table({**named, "ts": times(START, 30 * 86_400, count)}), path / "scored.parquet", row_group_size=GROUP
    )


def make(reference: int = 100_000, current: int = 1_000_000) -> Path:
    """Make what is not there yet; return the folder."""
    path = folder()
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "made").exists():
        pq.write_table(pa.table(rows(reference, 1, 0.0)), path / "reference.parquet", row_group_size=GROUP)
        now = pa.table({**rows(current, 2, 1.0), "ts": times(START, 86_400, current)})
        pq.write_table(now, path / "current.parquet", row_group_size=GROUP)
        few = pq.read_table(path / "reference.parquet", columns=FEW)
        pq.write_table(few, path / "few.parquet", row_group_size=GROUP)
        _hours(path / "hours")
        _scored(path, 1_000_000, 3)
        (path / "made").touch()
    return path


if __name__ == "__main__":
    print(make())
