"""A table's columns as expressions read them: numbers (64-bit floats), truth values and text, each may be unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.rows import canonical, numeric, values_of

Columns = Mapping[str, pa.Array]
_TRUTH = ("true", "t", "yes", "1")
_FALSEHOOD = ("false", "f", "no", "0")


def load(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as numbers, truth values or text; times are Unix seconds, lists are unknown."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return load(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return _seconds(column)
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
    if pa.types.is_boolean(kind):
        return whole
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_string(kind):
        return whole.cast(pa.string())
    return as_numbers(whole)


def _seconds(column: pa.ChunkedArray) -> pa.Array:
    micro = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    return pc.divide(load(micro), 1e6)


def as_numbers(values: pa.Array) -> pa.Array:
    """Return numbers: true is 1, text is read as a number; what is none, or not finite, is unknown."""
    if pa.types.is_float64(values.type) and values.null_count == len(values):
        return values
    found = numeric(pa.chunked_array([values]))
    return finite(pa.array(np.where(found.valid, found.values, np.nan)))


def as_truths(values: pa.Array) -> pa.Array:
    """Return truth values: a number is true unless it is 0; of text true, t, yes, 1 and false, f, no, 0 are known."""
    if pa.types.is_boolean(values.type):
        return values
    if pa.types.is_string(values.type):
        word = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        true, false = (pc.is_in(word, pa.array(known)) for known in (_TRUTH, _FALSEHOOD))
        return pc.if_else(pc.or_(true, false), true, pa.scalar(None, pa.bool_()))
    return pc.not_equal(as_numbers(values), 0.0)


def finite(values: pa.Array) -> pa.Array:
    """Return numbers; what is not finite is unknown."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def read(table: pa.Table, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """Return some columns of a table as the language reads them; those that it does not have are left out: unknown."""
    return {name: load(table[name]) for name in names if name in table.column_names}


def plain(columns: Columns, names: tuple[str, ...], rows: int) -> list[list[Any]]:
    """Return each row's values of some columns, as JSON can keep them."""
    lists = [values_of(columns[name]) if name in columns else [None] * rows for name in names]
    return [list(row) for row in zip(*lists, strict=True)] if lists else [[] for _ in range(rows)]


def from_plain(rows: list[list[Any]], names: tuple[str, ...]) -> dict[str, pa.Array]:
    """Read what `plain` wrote; where rows of several tables differ in type, all are text if one is."""
    found = {}
    for number, name in enumerate(names):
        values = [row[number] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {bool}:
            found[name] = pa.array(values, pa.bool_())
        elif kinds <= {bool, int, float}:
            found[name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
        else:
            found[name] = pa.array([canonical(value) for value in values], pa.string())
    return found
