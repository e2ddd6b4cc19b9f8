"""A table of the log or of the reference -> typed columns by role, and what had to be left out."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter import arrow
from exporter.business.expression import parse
from exporter.derive import derive, names
from exporter.profile.columns import Unread, numbers, typed
from exporter.profile.model import Batch
from exporter.profile.outcome import Outcomes
from exporter.rows import NO_TIME, SECOND, CategoryColumn, Floats, Ints, NumericColumn, categorical, numeric, times
from exporter.schema import Kind, Schema, origin
from exporter.segments import NONE, Segments
from exporter.settings import Model

_NUMBER = re.compile(r"\s*(-?\d+)(?:\.0)?\s*")


class Log(NamedTuple):
    """Predictions ready to be counted; all arrays have one entry a row.

    timestamp, label_time: microseconds UTC; a label without a time is known at once. ids, label: None where the
    model has no such column. version: without missing ones. label: class index or value, NaN where unknown. prediction:
    class index (-1: none of the classes) or value. rejected: rows left out, by reason. absent: columns that the table
    does not have. slices: each row's segments, rows x columns, as index into the baseline's names. group: the name of
    what each row was ranked with, None for nothing; None where rows are not ranked. weight: NaN where unknown; None
    where all rows count alike.
    """

    batch: Batch
    ids: list[str] | None
    timestamp: Ints
    version: CategoryColumn
    prediction: Floats
    scores: Floats
    label: Floats | None
    label_time: Ints
    rejected: Counter[str]
    absent: tuple[str, ...]
    slices: Ints
    group: list[str | None] | None = None
    weight: Floats | None = None


class Labels(NamedTuple):
    """Labels of a file of their own; fields as in Log. table: their rows, as read."""

    ids: list[str]
    label: Floats
    label_time: Ints
    rejected: Counter[str]
    table: pa.Table


def read_log(model: Model, schema: Schema, table: pa.Table, segments: Segments = NONE) -> Log:
    """Read predictions; rows without an event time or an id are left out and counted.

    Raises KeyError where the timestamp, the prediction or the id column is not in the table.
    """
    columns = model.columns
    lost = [name for name in _needed(model) if name not in table.column_names]
    if lost:
        raise KeyError(f"column {lost[0]!r} is missing")
    rejected: Counter[str] = Counter()
    timestamp = times(table[columns.timestamp], columns.timezone)
    kept = timestamp != NO_TIME
    rejected["timestamp"] = int((~kept).sum())
    ids = names_of(table[columns.id]) if columns.id else None
    if ids is not None:
        named = np.array([name is not None for name in ids], np.bool_)
        rejected["id"] = int((kept & ~named).sum())
        kept &= named
    if not kept.all():
        table, timestamp = table.filter(arrow.mask(kept)), timestamp[kept]
        ids = [name for name, keep in zip(ids, kept, strict=True) if keep] if ids is not None else None
    batch = read_batch(model, schema, table)
    outcomes = as_outcomes(schema, batch, None)
    label, label_time = labels_of(model, schema, table, rejected)
    used = dict.fromkeys([*(origin(schema, name) for name in schema.features), *schema.scores, *_of_use(model)])
    return Log(
        batch=batch,
        ids=[str(name) for name in ids] if ids is not None else None,
        timestamp=timestamp,
        version=versions_of(model, table),
        prediction=outcomes.prediction,
        scores=outcomes.scores,
        label=label,
        label_time=label_time,
        rejected=+rejected,
        absent=tuple(name for name in used if name not in table.column_names),
        slices=segments.members(table),
        group=groups_of(model, table),
        weight=weights_of(model, table),
    )


def read_labels(model: Model, schema: Schema, table: pa.Table) -> Labels:
    """Read labels of their own; rows without id or with an unknown class are left out and counted.

    Raises KeyError where the id or the label column is not in the table.
    """
    columns = model.columns
    for name in (columns.id, columns.label):
        if name not in table.column_names:
            raise KeyError(f"column {name!r} is missing")
    rejected: Counter[str] = Counter()
    label, label_time = labels_of(model, schema, table, rejected)
    ids = names_of(table[columns.id])
    assert label is not None
    known = ~np.isnan(label)
    named = np.array([name is not None for name in ids], np.bool_)
    rejected["label_id"] = int((known & ~named).sum())
    kept = known & named
    return Labels(
        [str(name) for name, keep in zip(ids, kept, strict=True) if keep],
        label[kept],
        label_time[kept],
        +rejected,
        table.filter(arrow.mask(kept)),
    )


def known_by(labels: Labels, moment: float) -> Labels:
    """Return the labels that are known at a moment (Unix seconds); one without a time always is."""
    kept = labels.label_time <= moment * SECOND  # NO_TIME is before all times
    ids = [name for name, keep in zip(labels.ids, kept.tolist(), strict=True) if keep]
    table = labels.table.filter(pa.array(kept))
    return Labels(ids, labels.label[kept], labels.label_time[kept], labels.rejected, table)


def read_batch(model: Model, schema: Schema, table: pa.Table, own: bool = False) -> Batch:
    """Read outputs, and features when they are asked for; a column that is not there is missing in every row.

    own: the table is the reference, on which the schema was fixed; of one in memory features are read once and kept.
    """
    kind: Kind = "numeric" if model.task == "regression" else "categorical"
    features = Unread(table, schema.features, _derived(schema, table, own))
    return Batch(
        rows=len(table),
        features=dict(features) if own and isinstance(table, pa.Table) else features,
        prediction=typed(table, model.columns.prediction, kind),
        scores=tuple(numbers(table, name) for name in schema.scores),
        table=table,
    )


def _derived(schema: Schema, table: pa.Table, own: bool) -> dict[str, NumericColumn]:
    found: dict[str, NumericColumn] = {}
    for column, transform in schema.derived.items():
        if column in table.column_names:
            found |= derive(column, transform, table[column], own)
        else:
            found |= {name: numbers(table, name) for name in names(column, transform)}
    return found


def as_outcomes(schema: Schema, batch: Batch, label: Floats | None) -> Outcomes:
    """Return the outputs of a batch as numbers, with the labels given (None: all unknown)."""
    prediction = batch.prediction
    if isinstance(prediction, CategoryColumn):
        values = class_index(schema.classes, prediction, -1.0)
    else:
        values = _known(prediction)
    scores = [_known(column) for column in batch.scores]
    matrix = np.column_stack(scores) if scores else np.empty((batch.rows, 0))
    return Outcomes(values, np.broadcast_to(np.nan, batch.rows) if label is None else label, matrix)


def _known(column: NumericColumn) -> Floats:
    return column.values if column.valid.all() else np.where(column.valid, column.values, np.nan)


def delays(timestamp: Ints, label_time: Ints) -> Floats:
    """Return seconds from prediction to label; NaN where a time is not known. Times in microseconds."""
    known = (timestamp != NO_TIME) & (label_time != NO_TIME)
    return np.where(known, (label_time - timestamp) / SECOND, np.nan)


def class_index(classes: tuple[str, ...], column: CategoryColumn, other: float) -> Floats:
    """Return each row's class as its index; NaN where missing, `other` where it is none of the classes."""
    index = {name: float(i) for i, name in enumerate(classes)}
    table = np.array([*(index.get(name, other) for name in column.names), np.nan])
    values = table[column.codes]
    return np.where(np.isnan(values), other, values) if other == -1 else values


def names_of(array: pa.ChunkedArray) -> list[str | None]:
    """Return the ids of rows or groups; a whole number is one however it is written (` 7`, `7.0`), `007` is another."""
    column = categorical(array)
    numbers = ((name, _NUMBER.fullmatch(name)) for name in column.names)
    return column._replace(names=tuple(found[1] if found else name for name, found in numbers)).texts()


def groups_of(model: Model, table: pa.Table) -> list[str | None] | None:
    """Return the name of each row's group; None where rows are not ranked."""
    column = model.columns.group
    if column is None:
        return None
    return names_of(table[column]) if column in table.column_names else [None] * len(table)


def weights_of(model: Model, table: pa.Table) -> Floats | None:
    """Return how much each row counts, NaN where that is not known; None where all rows count alike."""
    if model.columns.weight is None:
        return None
    column = numbers(table, model.columns.weight)
    return np.where(column.valid, column.values, np.nan)


def _needed(model: Model) -> list[str]:
    columns = model.columns
    version = model.version["column"] if isinstance(model.version, dict) else None
    return [n for n in (columns.timestamp, columns.prediction, columns.id, version) if n is not None]


def _of_use(model: Model) -> list[str]:
    """Return the columns of the log that rankings, weights, serving and business indicators read."""
    columns = model.columns
    found = [columns.latency.column] if columns.latency else []
    found += [name for name in (columns.error, columns.group, columns.weight) if name is not None]
    read = [name for kpi in model.business for text in kpi.expressions.values() for name in parse(text).columns]
    return found + [name for name in read if name not in {columns.label, *columns.outcomes}]


def versions_of(model: Model, table: pa.Table) -> CategoryColumn:
    """Return each row's version; that of a row without one is empty."""
    if isinstance(model.version, str):
        return CategoryColumn((model.version,), np.broadcast_to(np.int64(0), len(table)))
    names, codes = categorical(table[model.version["column"]])
    if "" in names:
        return CategoryColumn(names, np.where(codes < 0, names.index(""), codes))
    return CategoryColumn(("", *names), codes + 1)


def labels_of(model: Model, schema: Schema, table: pa.Table, rejected: Counter[str]) -> tuple[Floats | None, Ints]:
    """Return labels (class index or value, NaN unknown; None: no such column) and when they became known."""
    columns = model.columns
    known_at = np.broadcast_to(np.int64(NO_TIME), len(table))
    if columns.label is None or columns.label not in table.column_names:
        return None, known_at
    if columns.label_timestamp in table.column_names:
        known_at = times(table[columns.label_timestamp], columns.timezone)
    if model.task == "regression":
        column = numeric(table[columns.label])
        rejected["label"] += int((~column.valid).sum())
        return np.where(column.valid, column.values, np.nan), known_at
    label = class_index(schema.classes, categorical(table[columns.label]), -2.0)
    rejected["label"] += int((label == -2).sum())
    return np.where(label == -2, np.nan, label), known_at
