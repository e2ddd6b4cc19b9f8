"""Traffic in which nothing changes, and known shifts: the four real references, split by local day and resampled.

Half of a reference's days of each weekday (drawn at random) make baseline and thresholds. The other half is the
traffic: runs of 28 days that follow each other in that half, from anywhere in it, one run after the other. Windows of
more than a day see another order of the same days, in which weekdays follow each other as they do in time. Everything
is seeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exporter.rows import Ints, local_days, times
from exporter.schema import infer
from exporter.settings import Model

ROOT = Path(__file__).parents[1]
BLOCK = 28
LEAD = 14  # days before the first evaluation: what a moving baseline of a week needs
WINDOWS = {"24h": 1, "7d": 7}
FILES = {
    "flights": "examples/flights/reference.parquet",
    "flights_status": "tests/data/flights_status/reference.parquet",
    "retail": "tests/data/retail/reference.parquet",
    "bikes": "tests/data/bikes/reference.parquet",
}
_STATUS = ("cancelled_or_diverted", "delayed", "on_time")
_BINARY = {"score": "prediction_proba", "positive_class": 1}
_SETS: dict[str, dict[str, Any]] = {
    "flights": {"task": "binary", "timezone": "America/New_York", "columns": {**_BINARY, "ignore": ["arr_delay_min"]}},
    "flights_status": {
        "task": "multiclass",
        "timezone": "America/New_York",
        "columns": {"score": {name: f"proba_{name}" for name in _STATUS}},
    },
    "retail": {
        "task": "binary",
        "timezone": "Europe/London",
        "columns": {**_BINARY, "ignore": ["top_stock_code", "top_description", "next_invoice_value_gbp"]},
        "drift": {"min_rows": 20},
    },
    "bikes": {"task": "regression", "drift": {"min_rows": 20}},
}
_ROLES = {"id": "request_id", "timestamp": "timestamp", "prediction": "prediction", "label": "label"}
# A part of the traffic that a shift can be confined to: (column, lowest value or category).
SEGMENTS: dict[str, tuple[str, Any]] = {
    "flights": ("origin", "EWR"),
    "flights_status": ("carrier", "B6"),
    "retail": ("hour", 14),
    "bikes": ("hour", 16),
}


class Case(NamedTuple):
    """A model with its reference. day: local day of each row. kinds: judged column -> numeric or categorical."""

    name: str
    model: Model
    table: pa.Table
    day: Ints
    kinds: dict[str, str]


def load(name: str, drift: Mapping[str, Any]) -> Case:
    """Read one of the four sets, with the default windows, methods and budget; drift: settings of its own."""
    own = _SETS[name]
    model = Model.model_validate(
        {
            "name": name,
            "task": own["task"],
            "timezone": own.get("timezone", "UTC"),
            "columns": {**_ROLES, "label_timestamp": "label_timestamp", **own.get("columns", {})},
            "drift": {**own.get("drift", {}), **drift},
            "reference": {"files": FILES[name]},
            "predictions": {"files": "none"},
        }
    )
    table = pq.read_table(ROOT / FILES[name])
    timestamp = times(table["timestamp"], model.timezone)
    day = local_days(timestamp, np.ones(len(table), np.bool_), model.timezone)
    order = np.argsort(timestamp, kind="stable")
    return _case(name, model, table.take(order), day[order])


def _case(name: str, model: Model, table: pa.Table, day: Ints) -> Case:
    schema = infer(model, table)
    output = "numeric" if model.task == "regression" else "categorical"
    outputs = {"prediction": output, **dict.fromkeys(schema.scores, "numeric"), "label": output}
    return Case(name, model, table, day, {**schema.features, **outputs})


def features(case: Case) -> list[str]:
    """Return the names of the features."""
    scores = case.model.columns.score
    outputs = {"prediction", "label", *(scores.values() if isinstance(scores, dict) else [scores])}
    return [name for name in case.kinds if name not in outputs]


def widen(case: Case, count: int, seed: int) -> Case:
    """Add features until there are `count`: copies of real ones, moved by whole days.

    Copy j of a column gives each day the rows (drawn with replacement) of the day j x 1, j x 2, ... further on, around
    the reference's end. So a day's rows still belong together and days still resemble their neighbours, but on any
    one day the copies are not the original.
    """
    random = np.random.default_rng(seed)
    days = np.unique(case.day)
    rows = {day: np.flatnonzero(case.day == day) for day in days.tolist()}
    real = features(case)
    table = case.table
    for number in range(count - len(real)):
        step = 1 + number // len(real)
        ahead = dict(zip(days.tolist(), np.roll(days, -step).tolist(), strict=True))
        take = np.concatenate([random.choice(rows[ahead[day]], len(own)) for day, own in rows.items()])
        source = np.empty(len(take), np.int64)
        source[np.concatenate(list(rows.values()))] = take
        name = real[number % len(real)]
        table = table.append_column(f"{name}_{step}", table[name].take(source))
    return _case(case.name, case.model, table, case.day)


def halves(case: Case, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Split the reference's days in two at random: baseline and traffic, each in time order.

    Each half has half of the days of each weekday, as any reference of some weeks has all of them.
    """
    days = random.permutation(np.unique(case.day))
    days = days[np.argsort(days % 7, kind="stable")]
    odd = np.arange(len(days)) % 2 == random.integers(2)
    return np.sort(days[odd]), np.sort(days[~odd])


def of_days(case: Case, days: Ints) -> tuple[pa.Table, Ints]:
    """Return the rows of some days, and the day of each."""
    kept = np.isin(case.day, days)
    return case.table.filter(pa.array(kept)), case.day[kept]


def resample(days: Ints, steps: int, random: np.random.Generator) -> list[int]:
    """Return a long series of days: runs of four weeks of the days' own order, around their end."""
    starts = random.integers(len(days), size=steps // BLOCK + 1)
    order = (starts[:, None] + np.arange(BLOCK)).ravel()[:steps] % len(days)
    return days[order].tolist()


Series = dict[int, list[int] | list[int | None]]  # days of a window -> the day of each step; None: the shop is closed


def traffic(days: Ints, steps: int, random: np.random.Generator) -> Series:
    """Return the series that windows of each length see.

    Windows of a day: the days' own order. Longer ones: each weekday's days have that order for themselves, so that a
    week has one day of each weekday; None where there are no such days.
    """
    starts, first = random.random(steps // BLOCK + 1), int(random.integers(7))
    weekly: list[int | None] = []
    for step in range(steps):
        own = days[days % 7 == (first + step) % 7]
        place = int(starts[step // BLOCK] * len(own)) + step % BLOCK // 7
        weekly.append(int(own[place % len(own)]) if len(own) else None)
    return {length: resample(days, steps, random) if length == 1 else weekly for length in WINDOWS.values()}


def is_one_run(days: Sequence[int | None], start: int, end: int, step: int) -> bool:
    """Say whether a stretch of a series is of one run, and does not go around the end. step: days until it goes on."""
    own = days[start:end]
    pairs = zip(own, own[step:], strict=False)
    return start // BLOCK == (end - 1) // BLOCK and all(a is None or b is None or a < b for a, b in pairs)


class Shift(NamedTuple):
    """A change of one column. kind: mean, variance, missing, swap or segment. size: what it means for the kind."""

    kind: str
    size: float
    column: str


# Sizes: standard deviations of the reference; factor of the deviation from the mean; share of the rows that lose
# their value; share of the rows that get another category; standard deviations, in one segment's rows only.
SIZES = {
    "mean": (0.25, 0.5, 1.0),
    "variance": (1.5, 2.0, 3.0),
    "swap": (0.1, 0.25, 0.5),
    "missing": (0.1, 0.3, 0.6),
    "segment": (0.5, 1.0, 2.0),
}


def inject(case: Case, table: pa.Table, shift: Shift, random: np.random.Generator) -> pa.Table:
    """Return the rows with one column changed."""
    column = table[shift.column].to_pandas()
    if shift.kind == "missing":
        changed = column.mask(random.random(len(column)) < shift.size)
    elif shift.kind == "swap":
        changed = _swapped(case, column, shift, random)
    else:
        changed = _moved(case, table, column, shift)
    place = table.column_names.index(shift.column)
    return table.set_column(place, shift.column, pa.chunked_array([pa.array(changed, from_pandas=True)]))


def _swapped(case: Case, column: Any, shift: Shift, random: np.random.Generator) -> Any:
    """Give a share of the rows the reference's median category by frequency: one that exists and is not common."""
    counts = case.table[shift.column].to_pandas().value_counts()
    return column.mask((random.random(len(column)) < shift.size) & column.notna(), counts.index[len(counts) // 2])


def _moved(case: Case, table: pa.Table, column: Any, shift: Shift) -> Any:
    """Move or stretch numbers; what was whole stays whole."""
    reference = case.table[shift.column].to_pandas().astype("float64")
    values = column.astype("float64")
    if shift.kind == "variance":
        changed = reference.mean() + (values - reference.mean()) * shift.size
    else:
        changed = values + shift.size * reference.std()
    if (reference.dropna() % 1 == 0).all():
        changed = changed.round()
    if shift.kind == "segment":
        changed = values.where(~_in_segment(case, table), changed)
    return changed


def _in_segment(case: Case, table: pa.Table) -> Any:
    name, bound = SEGMENTS[case.name]
    values = table[name].to_pandas()
    return values == bound if isinstance(bound, str) else values >= bound
