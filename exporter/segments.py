"""Segments: slices of the rows by the values of a column, fixed on the reference. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from exporter.rows import MISSING, CategoryColumn, Ints, categorical

ALL = "all"  # the segment that is every row
OTHER, NEW, NOTHING = "(other)", "(new)", "(missing)"
_MOST_KNOWN = 10_000  # values remembered a column, so that a new one can be told from a rare one


class Segments:
    """Which slice a row belongs to, per column.

    shown: column -> the reference's commonest values, each a slice. rare: column -> its other values, one slice
    together; values that the reference never had are one, and rows without a value are one.
    """

    def __init__(self, shown: Mapping[str, tuple[str, ...]], rare: Mapping[str, tuple[str, ...]]):
        self.shown = dict(shown)
        self.rare = dict(rare)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every slice: `carrier=UA`, ..., `carrier=(other)`, `carrier=(new)`, `carrier=(missing)`."""
        return tuple(f"{c}={value}" for c, values in self.shown.items() for value in (*values, OTHER, NEW, NOTHING))

    def members(self, table: pa.Table) -> Ints:
        """Return each row's slice per column, rows x columns, as index into `names`."""
        found = np.empty((len(table), len(self.shown)), np.int64)
        first = 0
        for number, (name, values) in enumerate(self.shown.items()):
            known = {value: i for i, value in enumerate(values)} | dict.fromkeys(self.rare[name], len(values))
            column = _column(table, name)
            places = [*(known.get(value, len(values) + 1) for value in column.names), len(values) + 2]
            found[:, number] = first + np.array(places, np.int64)[column.codes]
            first += len(values) + 3
        return found


NONE = Segments({}, {})


def _column(table: pa.Table, name: str) -> CategoryColumn:
    if name not in table.column_names:
        return CategoryColumn((), np.full(len(table), MISSING, np.int64))
    return categorical(table[name])


def fit(columns: Iterable[str], reference: pa.Table, most: int) -> Segments:
    """Fix the slices on the reference: its commonest values, at most `most` of all columns together."""
    columns = tuple(columns)
    shown, rare = {}, {}
    for number, name in enumerate(columns):
        share = most // len(columns) + (number < most % len(columns))
        column = _column(reference, name)
        counts = np.bincount(column.codes[column.codes != MISSING], minlength=len(column.names))
        order = sorted(range(len(counts)), key=lambda i: (-counts[i], column.names[i]))
        used = [column.names[i] for i in order if counts[i]]
        shown[name] = tuple(sorted(used[:share]))
        rare[name] = tuple(sorted(used[share:_MOST_KNOWN]))
    return Segments(shown, rare)


def to_json(segments: Segments) -> dict[str, Any]:
    """Return plain values for the store."""
    return {"shown": segments.shown, "rare": segments.rare}


def from_json(plain: Mapping[str, Any]) -> Segments:
    """Read what `to_json` wrote."""
    return Segments(*({name: tuple(own) for name, own in plain[key].items()} for key in ("shown", "rare")))
