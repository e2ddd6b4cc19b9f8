"""Three small models with a seed: what their logs and labels look like, and the configuration that monitors them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

HOUR = 3600
DAY = 24 * HOUR
NOON = int(datetime(2026, 3, 9, 12, tzinfo=UTC).timestamp())
CITIES = ("Berlin", "Oslo", "São Paulo")
CLASSES = ("ant", "bee", "cat")
LABEL_DELAY = 2 * HOUR


class Kind(NamedTuple):
    """A model's task, and the format of its files."""

    task: str
    suffix: str
    score: Any = None


KINDS = {
    "credit": Kind("binary", "parquet", "score"),
    "animals": Kind("multiclass", "csv", {name: f"p_{name}" for name in CLASSES}),
    "prices": Kind("regression", "jsonl"),
}
FEATURES = ("amount", "age", "city")


def rows(
    name: str, start: float, end: float, count: int, seed: int, shift: float = 0.0, delay: float = LABEL_DELAY
) -> pa.Table:
    """Return a log with its labels, evenly spread over start <= time < end; `shift` moves the amount.

    delay: seconds after which a label is known.
    """
    random = np.random.default_rng(seed)
    moments = start + (np.arange(count) + 0.5) * (end - start) / count
    data: dict[str, Any] = {
        "id": [f"{name}-{seed}-{number}" for number in range(count)],
        "timestamp": stamps(moments),
        "amount": np.round(random.normal(100 + shift, 15, count), 2),
        "age": random.integers(18, 90, count),
        "city": random.choice(CITIES, count, p=(0.6, 0.3, 0.1)),
    }
    if name == "credit":
        score = np.round(random.beta(2, 2, count), 3)
        data |= {"score": score, "prediction": (score > 0.5).astype(int)}
        data["label"] = (random.random(count) < score).astype(int)
    elif name == "animals":
        chance = np.round(random.dirichlet((3, 2, 1), count), 4)
        data |= {f"p_{one}": chance[:, i] for i, one in enumerate(CLASSES)}
        data["prediction"] = [CLASSES[i] for i in chance.argmax(axis=1)]
        data["label"] = [CLASSES[random.choice(3, p=row / row.sum())] for row in chance]
    else:
        price = np.round(random.gamma(4, 50, count), 2)
        data |= {"prediction": price, "label": np.round(price + random.normal(0, 20, count), 2)}
    data["label_timestamp"] = stamps(moments + delay)
    return pa.table(data)


def stamps(seconds: Iterable[float]) -> pa.Array:
    """Return Unix seconds as Arrow times."""
    return pa.array((np.asarray(seconds) * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC"))


def predictions(table: pa.Table) -> pa.Table:
    """Return a log without its labels."""
    return table.drop_columns(["label", "label_timestamp"])


def labels(table: pa.Table) -> pa.Table:
    """Return the labels of a log alone."""
    return table.select(["id", "label", "label_timestamp"])


def between(table: pa.Table, start: float, end: float, column: str = "timestamp") -> pa.Table:
    """Return the rows with start <= time < end."""
    times = table[column].cast(pa.int64())
    return table.filter(pc.and_(pc.greater_equal(times, int(start * 1e6)), pc.less(times, int(end * 1e6))))


def write(table: pa.Table, path: Path, append: bool = False) -> Path:
    """Write a table in the format of the path's ending; text can be appended to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        with path.open("ab" if append else "wb") as file:
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=not append))
    else:
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, default=lambda when: when.isoformat()) + "\n" for row in table.to_pylist())
    return path


def model(name: str, **more: Any) -> dict[str, Any]:
    """Return a model's part of the configuration; the files are in a folder of its name."""
    kind = KINDS[name]
    columns = {"id": "id", "timestamp": "timestamp", "prediction": "prediction", "label": "label"}
    columns |= {"label_timestamp": "label_timestamp"} | ({"score": kind.score} if kind.score else {})
    return {
        "name": name,
        "task": kind.task,
        "columns": columns,
        "reference": {"files": f"{name}/reference.parquet"},
        "predictions": {"files": f"{name}/predictions/*"},
        "labels": {"files": f"{name}/labels/*"},
        "windows": ["6h", "1d"],
        "bucket": "1h",
        "drift": {"min_rows": 50},
        "performance": {"min_rows": 50},
        **more,
    }


def write_config(folder: Path, *models: dict[str, Any], **top: Any) -> Path:
    """Write the configuration of some models."""
    path = folder / "model-exporter.yml"
    path.write_text(yaml.safe_dump({"models": list(models), **top}, sort_keys=False, allow_unicode=True))
    return path


def write_reference(folder: Path, name: str, end: float) -> Path:
    """Write a month of reference data that ends at `end`."""
    return write(rows(name, end - 30 * DAY, end, 1500, seed=1), folder / name / "reference.parquet")


def write_all(folder: Path, name: str, now: float) -> pa.Table:
    """Write a model's reference, and a log of the last two days in two files, its labels beside it; return the log."""
    write_reference(folder, name, now - 2 * DAY)
    table = rows(name, now - 2 * DAY, now, 960, seed=2)
    suffix = KINDS[name].suffix
    for number, (start, end) in enumerate(((now - 2 * DAY, now - DAY), (now - DAY, now))):
        write(predictions(between(table, start, end)), folder / name / "predictions" / f"{number}.{suffix}")
        known = between(labels(table), start, end, "label_timestamp")
        write(known, folder / name / "labels" / f"{number}.{suffix}")
    return table
