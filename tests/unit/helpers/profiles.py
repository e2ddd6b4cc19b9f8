"""Short ways through the real path: rows -> bins -> counts -> samples, and settings for a small model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from exporter import rows
from exporter.baseline import Baseline
from exporter.business.columns import read
from exporter.drift.univariate import Sample
from exporter.profile import categorical, numeric
from exporter.profile.batch import as_outcomes, delays, labels_of, read_batch, weights_of
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import Counts, Placed, add_into, gather
from exporter.profile.kpi import needed
from exporter.profile.numeric import NumericBins
from exporter.reference import select, usable
from exporter.rows import Ints
from exporter.settings import Model


def counted(placed: list[Placed], rows_: int, size: int) -> Ints:
    """Return what was placed as one dense vector."""
    vector = np.zeros(size, np.int64)
    if rows_:
        add_into(vector, gather(placed, np.zeros(rows_, np.int64), 1, size)[0])
    return vector


def chunked(values: Sequence[Any] | ArrayLike, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """Return values as a column of a table."""
    return pa.chunked_array([pa.array(values, kind, from_pandas=True)])


def numeric_vector(bins: NumericBins, values: ArrayLike) -> Ints:
    """Count numbers; NaN is missing, infinity invalid."""
    column = rows.numeric(chunked(np.asarray(values, np.float64)))
    return counted(numeric.place(bins, column.values, column.valid), len(column.values), bins.size)


def numeric_bins(reference: ArrayLike, most: int = 4096) -> NumericBins:
    """Fix the bins on reference values; NaN and infinity are left out as the baseline does."""
    values = np.asarray(reference, np.float64)
    return numeric.fit(values[np.isfinite(values)], most)


def numeric_samples(reference: ArrayLike, *windows: ArrayLike, most: int = 4096) -> list[Sample]:
    """Return the reference and each window as samples over the reference's bins."""
    bins = numeric_bins(reference, most)
    return [numeric.sample(bins, numeric_vector(bins, values)) for values in (reference, *windows)]


def category_vector(bins: CategoryBins, values: Sequence[Any]) -> Ints:
    """Count categories; None is missing."""
    column = rows.categorical(pa.chunked_array([pa.array(list(values))]))
    return counted(categorical.place(bins, column.names, column.codes), len(column.codes), bins.size)


def category_samples(reference: Sequence[Any], *windows: Sequence[Any]) -> list[Sample]:
    """Return the reference and each window as samples over the reference's categories."""
    column = rows.categorical(pa.chunked_array([pa.array(list(reference))]))
    bins = categorical.fit(column.names, column.codes)
    return [categorical.sample(bins, category_vector(bins, values)) for values in (reference, *windows)]


def repeated(counts: dict[str, int]) -> list[str]:
    """Write each key as often as its count says."""
    return [name for name, count in counts.items() for _ in range(count)]


def settings(task: str = "binary", **changes: Any) -> Model:
    """Return the settings of a small model; `columns` are merged, other keys replaced."""
    columns: dict[str, Any] = {"id": "id", "timestamp": "time", "prediction": "prediction", "label": "label"}
    columns["label_timestamp"] = "label_time"
    if task == "binary":
        columns["score"] = "score"
    elif task == "multiclass":
        columns["score"] = {"a": "score_a", "b": "score_b", "c": "score_c"}
    columns |= changes.pop("columns", {})
    plain = {
        "name": "m",
        "task": task,
        "columns": columns,
        "reference": {"files": "reference.parquet"},
        "predictions": {"files": "log.parquet"},
        "labels": {"files": "labels.parquet"},
        "windows": ["1h", "6h"],
        "bucket": "10m",
        "drift": {"min_rows": 1},
        "performance": {"min_rows": 1},
    }
    if columns.get("id") is None or columns.get("label") is None:
        del plain["labels"]
    return Model.model_validate(plain | changes)


def table(**columns: Any) -> pa.Table:
    """Return a table; NaN in lists of floats is null, as pandas writes it."""
    return pa.table({name: chunked(values) for name, values in columns.items()})


def random_table(seed: int, count: int, task: str = "binary", strange: bool = True) -> pa.Table:
    """Return rows of a small model: numbers, categories, outputs, labels; `strange` ones among them."""
    rng = np.random.default_rng(seed)
    amount = rng.normal(size=count).round(1)
    colour = rng.choice(["red", "green", "blue"], count).astype(object)
    labelled = rng.random(count) < 0.7
    if strange:
        amount = np.where(rng.random(count) < 0.2, rng.choice([np.nan, np.inf, -1e9, 1e9, 0.05], count), amount)
        colour[rng.random(count) < 0.2] = None
        colour[rng.random(count) < 0.1] = "never seen"
    columns: dict[str, Any] = {
        "id": pa.array([f"{seed}-{row}" for row in range(count)], pa.string()),
        "time": pa.array(1_600_000_000_000_000 + rng.integers(0, 6 * 3_600_000_000, count), pa.timestamp("us", "UTC")),
        "amount": pa.array(amount, from_pandas=True),
        "colour": pa.array(colour, pa.string()),
    }
    if task == "regression":
        columns["prediction"] = rng.normal(100, 10, count)
        columns["label"] = pa.array(np.where(labelled, rng.normal(100, 12, count), np.nan), from_pandas=True)
    elif task == "multiclass":
        scores = rng.dirichlet([1, 1, 1], count)
        columns |= {f"score_{name}": scores[:, i] for i, name in enumerate("abc")}
        columns["prediction"] = pa.array(np.array([*"abc"])[scores.argmax(axis=1)], pa.string())
        columns["label"] = pa.array(
            [x if k else None for x, k in zip(rng.choice([*"abc"], count), labelled, strict=True)], pa.string()
        )
    else:
        columns["score"] = rng.random(count).round(3)
        columns["prediction"] = (columns["score"] > 0.5).astype(np.int64)
        columns["label"] = pa.array(
            [int(x) if k else None for x, k in zip(rng.random(count) < 0.4, labelled, strict=True)], pa.int64()
        )
    columns["label_time"] = columns["time"]
    return pa.table(columns)


def take(model: Model, baseline: Baseline, rows_: pa.Table) -> Counts:
    """Count predictions, and the outcomes of those that are labelled, as one batch."""
    batch = read_batch(model, baseline.schema, rows_)
    label, label_time = labels_of(model, baseline.schema, rows_, Counter())
    timestamp = rows.times(rows_[model.columns.timestamp], model.columns.timezone)
    columns = tuple(name for names in needed(baseline.bins.kpis) for name in names)
    outcomes = as_outcomes(baseline.schema, batch, label)._replace(
        columns=read(rows_, columns), delay=delays(timestamp, label_time), weight=weights_of(model, rows_)
    )
    known = usable(baseline.bins, outcomes)
    placed = baseline.bins.place_rows(batch)
    for part in baseline.bins.place_outcomes(select(outcomes, known)):
        placed.append(part._replace(row=np.flatnonzero(known)[part.row]))
    return gather(placed, np.zeros(batch.rows, np.int64), 1, baseline.bins.size)[0]
