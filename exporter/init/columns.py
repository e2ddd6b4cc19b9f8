"""What the values and the name of one column say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.derive import seem_lists
from exporter.rows import NO_TIME, is_list, is_text, numeric, times

_SAMPLE = 20_000
_MOST_CLASSES = 20


class Column(NamedTuple):
    """One column: its values, how many differ, and what they can be. names: the words of its name."""

    name: str
    words: frozenset[str]
    values: pa.ChunkedArray
    rows: int
    distinct: tuple[str, ...]
    unique: bool
    is_time: bool
    is_number: bool
    is_text: bool
    is_list: bool

    @property
    def numbers(self) -> np.ndarray:
        """The finite values as numbers."""
        found = numeric(self.values).values
        return found[np.isfinite(found)]

    @property
    def is_share(self) -> bool:
        """Whether all values are within 0 and 1, and not only at its ends."""
        own = self.numbers
        return self.is_number and len(own) > 0 and bool(((own >= 0) & (own <= 1)).all()) and len(np.unique(own)) > 2

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are whole."""
        return self.is_number and bool((self.numbers == np.rint(self.numbers)).all())

    @property
    def few(self) -> bool:
        """Whether the values are few enough to be classes."""
        return 1 < len(self.distinct) <= _MOST_CLASSES

    def named(self, *names: str) -> bool:
        """Say whether the name is one of these, or has one of them as a word."""
        return self.name.lower() in names or bool(self.words & set(names))


def look(table: pa.Table) -> dict[str, Column]:
    """Describe each column by its first rows."""
    return {name: _one(name, table[name].slice(0, _SAMPLE)) for name in table.column_names}


def _one(name: str, values: pa.ChunkedArray) -> Column:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    lists = is_list(kind) or (is_text(kind) and seem_lists(values))
    known = values.drop_null()
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    distinct = [] if is_list(kind) else pc.unique(known).to_pylist()
    written = tuple(sorted(_text(value) for value in distinct[: _MOST_CLASSES + 1]))
    unique = bool(len(known)) and len(known) == len(values) and len(distinct) == len(known)
    words = frozenset(re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    return Column(
        name, words, values, len(values), written, unique, _is_time(known, name), number, is_text(kind), lists
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_time(values: pa.ChunkedArray, name: str) -> bool:
    """Say whether these are event times; numbers are, where the name says so and they are of this century."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if not len(values):
        return False
    if is_text(kind):
        return bool((times(values.slice(0, 200), "UTC") != NO_TIME).all())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        said = re.search(r"time|date|(^|_)ts$|(^|_)at$", name.lower()) is not None
        own = numeric(values).values
        return said and bool(((own > 9.4e8) & (own < 4.2e9)).all())
    return False


def first(columns: Iterable[Column], *names: str) -> Column | None:
    """Return the column whose name comes first in the list: whole names before words in a name."""
    own = list(columns)
    by_name = {column.name.lower(): column for column in reversed(own)}
    whole = [by_name[name] for name in names if name in by_name]
    part = [column for name in names for column in own if name in column.words]
    return next(iter([*whole, *part]), None)
