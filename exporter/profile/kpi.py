"""Business indicators: rows and exact sums of what an expression says of each row.

A sum is kept in four whole numbers, digits to the base 2**32, so that values from 2**-64 to 2**68 add up exactly in any
order, whatever their unit: nothing has to be learned of the reference, which may not have the columns at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.business.columns import Columns
from exporter.business.expression import holds, numbers, parse
from exporter.business.settings import EVERY, Kpi
from exporter.profile.counts import Placed, ones
from exporter.rows import Floats, Ints

_BASE = 2.0**32
_LIMBS = 4
_FIRST = 2  # place of the first sum
_LARGEST = 2.0**68  # what is beyond counts as this; 2**27 such rows fit into 64 bits


class KpiBins(NamedTuple):
    """Places for one indicator, and what it counts.

    Layout: rows used; rows of which it is not known; then, unless each counts as one, the sums of x and x**2, and of a
    ratio also of y, y**2 and x y.
    A value_matrix has no terms: it follows from the outcomes.
    kind, terms, where: as in the settings. columns: what the expressions read of the log. outcomes: what they read of
    columns that come with the label; where there are any, it is counted once the label is known.
    """

    name: str
    kind: str
    terms: tuple[str, ...]
    where: str | None
    columns: tuple[str, ...]
    outcomes: tuple[str, ...]

    @property
    def size(self) -> int:
        return _FIRST + _LIMBS * len(_sums(self)) if self.terms else 0


class Sums(NamedTuple):
    """Rows used and their sums of x and x**2, and of a ratio's y, y**2 and x y; y is one a row where there is none.

    unknown: rows left out because a term, or the condition, has no value.
    """

    rows: int
    unknown: int
    x: float
    xx: float
    y: float
    yy: float
    xy: float


def bins_of(kpi: Kpi, of_label: frozenset[str]) -> KpiBins:
    """Return the places of an indicator; of_label: the columns that come with the label."""
    read = dict.fromkeys(name for text in kpi.expressions.values() for name in parse(text).columns)
    log, outcomes = ([name for name in read if (name in of_label) == late] for late in (False, True))
    return KpiBins(kpi.name, kpi.kind, kpi.terms, kpi.where, tuple(log), tuple(outcomes))


def _sums(bins: KpiBins) -> tuple[str, ...]:
    if len(bins.terms) == 2:
        return ("x", "xx", "y", "yy", "xy")
    return () if bins.kind == "count" or bins.terms in {(), (EVERY,)} else ("x", "xx")


def adds_up(bins: KpiBins) -> bool:
    """Say whether there are sums to keep beside the number of rows."""
    return bool(_sums(bins))


def place(bins: KpiBins, columns: Columns, rows: int) -> list[Placed]:
    """Place rows: those where the condition holds and each term has a value."""
    used, unknown = np.ones(rows, np.bool_), np.zeros(rows, np.bool_)
    if bins.where is not None:
        used, unknown = holds(parse(bins.where), columns, rows)
    values = [np.ones(rows) if one == EVERY else numbers(parse(one), columns, rows) for one in bins.terms]
    for own in values:
        unknown = unknown | (used & np.isnan(own))
    row, lost = np.flatnonzero(used & ~unknown), np.flatnonzero(unknown)
    placed = [ones(row, np.zeros(len(row), np.int64)), ones(lost, np.ones(len(lost), np.int64))]
    x, y = (own[row] for own in (values[0], values[-1]))
    with np.errstate(over="ignore"):
        of = {"x": x, "xx": x * x, "y": y, "yy": y * y, "xy": x * y}
    for number, name in enumerate(_sums(bins)):
        placed += place_exact(row, _FIRST + _LIMBS * number, of[name])
    return placed


def place_exact(row: Ints, place: int, values: Floats) -> list[Placed]:
    """Add real numbers up at four places from `place` on, exactly from 2**-64 to 2**68."""
    sign, rest = np.sign(values), np.minimum(np.abs(values), _LARGEST)
    placed = []
    for limb, unit in enumerate((_BASE, 1.0, 1 / _BASE, _BASE**-2)):
        digit = np.floor(rest / unit) if limb < _LIMBS - 1 else np.rint(rest / unit)
        rest = rest - digit * unit
        some = np.flatnonzero(digit)
        amount = (sign[some] * digit[some]).astype(np.int64)
        placed.append(Placed(row[some], np.full(len(some), place + limb, np.int64), amount))
    return placed


def read_exact(vector: Ints, place: int) -> float:
    """Return a sum that `place_exact` added up, rounded once."""
    total = 0
    for digit in vector[place : place + _LIMBS].tolist():
        total = (total << 32) + digit
    return total / 2**64


def read(bins: KpiBins, vector: Ints) -> Sums:
    """Turn the slice of a profile into rows and sums."""
    rows = int(vector[0])
    found = {name: read_exact(vector, _FIRST + _LIMBS * number) for number, name in enumerate(_sums(bins))}
    return Sums(rows, int(vector[1]), *(found.get(name, float(rows)) for name in ("x", "xx", "y", "yy", "xy")))


def needed(kpis: tuple[KpiBins, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of log and label that indicators of labelled rows need, in a fixed order."""
    late = [bins for bins in kpis if bins.outcomes]
    log = {name for bins in late for name in bins.columns}
    return tuple(sorted(log)), tuple(sorted({name for bins in late for name in bins.outcomes}))


def to_plain(bins: KpiBins) -> dict[str, Any]:
    """Return plain values for the store."""
    return bins._asdict()


def from_plain(plain: Mapping[str, Any]) -> KpiBins:
    """Read what `to_plain` wrote."""
    lists = {key: tuple(plain[key]) for key in ("terms", "columns", "outcomes")}
    return KpiBins(name=plain["name"], kind=plain["kind"], where=plain["where"], **lists)
