"""A model's columns and their roles; the features' types are frozen with the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter import derive
from exporter.derive import Embedding, Transform
from exporter.drift.calibration import LEAST_UNITS
from exporter.rows import NO_TIME, CategoryColumn, Ints, canonical, categorical, is_list, is_text, local_days, times
from exporter.settings import Columns, Model

Kind = Literal["numeric", "categorical"]
Type = Literal["numeric", "categorical", "text", "embedding"]


_FEW = 100


class SchemaError(Exception):
    """Reference data that does not fit the configuration; one sentence with the mend."""


class Schema(NamedTuple):
    """What is in a model's rows.

    features: name -> kind; a text or embedding column is there by the numbers that are derived from it. text: the
    columns that are text in the reference, so that a CSV file's `007` stays text. classes: the classifier's classes,
    sorted; binary: (negative, positive). scores: score columns in class order, binary: one. skipped: reference columns
    that are no features, with the reason. derived: text or embedding column -> how its numbers are derived.
    """

    features: Mapping[str, Kind]
    text: tuple[str, ...]
    classes: tuple[str, ...]
    scores: tuple[str, ...]
    skipped: Mapping[str, str]
    derived: Mapping[str, Transform] = MappingProxyType({})


def roles(columns: Columns) -> set[str]:
    """Return the columns that play a part of their own and so are no features unless the config names them."""
    scores = columns.score.values() if isinstance(columns.score, dict) else [columns.score]
    latency = columns.latency.column if columns.latency else None
    named = (
        columns.id,
        columns.timestamp,
        columns.prediction,
        columns.label,
        columns.label_timestamp,
        columns.group,
        columns.weight,
        latency,
    )
    return {name for name in (*named, *scores, columns.error, *columns.outcomes, *columns.ignore) if name is not None}


def text_in_csv(model: Model, schema: Schema) -> tuple[str, ...]:
    """Return the columns of a CSV file that stay text: those of the reference, and names, whatever they look like.

    `0012` and `12e3` are ids, `1.10` is a version; as numbers, long ids would be rounded, and several be one.
    """
    version = model.version["column"] if isinstance(model.version, dict) else None
    names = (model.columns.id, model.columns.group, version)
    return tuple(dict.fromkeys((*schema.text, *(name for name in names if name is not None))))


class Skipped(NamedTuple):
    """Why a column is no feature."""

    reason: str


def infer(model: Model, reference: pa.Table, known: Mapping[str, Type | Skipped] | None = None) -> Schema:
    """Fix the schema on the reference; raises SchemaError where a needed column is not in it.

    known: what each of the `candidates` is, where they were looked at already.
    """
    if known is None:
        known = {name: look(reference[name], chosen) for name, chosen in candidates(model, reference).items()}
    features: dict[str, Kind] = {}
    skipped: dict[str, str] = {}
    derived: dict[str, Transform] = {}
    for name, kind in known.items():
        if isinstance(kind, Skipped):
            skipped[name] = kind.reason
        elif kind in ("numeric", "categorical"):
            features[name] = kind
        else:
            try:
                derived[name] = _fit(kind, reference[name], _days(model, reference))
            except ValueError as error:
                skipped[name] = str(error)
            else:
                features |= dict.fromkeys(derive.names(name, derived[name]), "numeric")
    _refuse_taken(derived, reference.column_names)
    text = tuple(field.name for field in reference.schema if is_text(field.type))
    classes = _classes(model, reference)
    return Schema(features, text, classes, _score_columns(model, classes), skipped, derived)


def origin(schema: Schema, feature: str) -> str:
    """Return the column that a feature comes from: its own, or the text or embedding that it is derived from."""
    column = feature.rpartition(".")[0]
    known = column in schema.derived and feature in derive.names(column, schema.derived[column])
    return column if known else feature


def groups(schema: Schema) -> dict[str, tuple[str, ...]]:
    """Return the features that are derived from each embedding, to be judged together."""
    return {
        column: tuple(name for name in derive.names(column, transform) if name in schema.features)
        for column, transform in schema.derived.items()
        if isinstance(transform, Embedding)
    }


def tells_missing(schema: Schema, feature: str) -> bool:
    """Say whether a feature is the one of its column by which missing and invalid values are told."""
    column = origin(schema, feature)
    return column == feature or feature == derive.names(column, schema.derived[column])[0]


def candidates(model: Model, reference: pa.Table) -> dict[str, Type | None]:
    """Return the columns that may be features, with the types that the configuration gives them.

    Raises SchemaError where a needed column is not in the reference.
    """
    columns = model.columns
    given = columns.features
    needed = {columns.prediction, *_score_columns(model), *(given or {})}
    needed |= {name for name in (columns.group, columns.weight) if name is not None}
    if lost := sorted(needed - set(reference.column_names)):
        raise SchemaError(f"the reference has no column {lost[0]!r}; it has {', '.join(reference.column_names)}")
    if given is not None:
        return {name: feature.type for name, feature in given.items()}
    version = model.version["column"] if isinstance(model.version, dict) else None
    taken = {*roles(columns), version}
    return {name: None for name in reference.column_names if name not in taken}


def look(column: pa.ChunkedArray, chosen: Type | None) -> Type | Skipped:
    """Say what a column of the reference is; chosen: what the configuration says."""
    kind = chosen or _kind(column)
    if kind is None:
        return Skipped(f"{column.type} is neither a number nor a category")
    return Skipped("the reference has no value in it") if column.null_count == len(column) else kind


def _fit(kind: Type, column: pa.ChunkedArray, day: Ints | None) -> Transform:
    if kind == "text":
        return derive.fit_text(column, day)
    return derive.fit_embedding(column, derive.commonest_length(column))


def _days(model: Model, reference: pa.Table) -> Ints | None:
    """Return the local day of each row; None where the reference has too few to leave one out."""
    columns = model.columns
    if columns.timestamp not in reference.column_names:
        return None
    timestamp = times(reference[columns.timestamp], columns.timezone)
    known = timestamp != NO_TIME
    day = np.where(known, local_days(timestamp, known, model.timezone), NO_TIME)
    return day if len(np.unique(day)) >= LEAST_UNITS else None


def _refuse_taken(derived: Mapping[str, Transform], columns: list[str]) -> None:
    for column, transform in derived.items():
        for name in derive.names(column, transform):
            if name in columns:
                raise SchemaError(
                    f"the name {name!r}, derived from column {column!r}, is also that of a column: rename one of them"
                )


def _kind(column: pa.ChunkedArray) -> Type | None:
    """Say what a column is: numbers with two distinct values are categories, as 0 and 1 are."""
    kind = column.type
    if is_list(kind) or (is_text(kind) and derive.seem_lists(column)):
        return "embedding" if derive.is_of_one_length(column) else None if is_list(kind) else "categorical"
    if is_text(kind) and not pa.types.is_dictionary(kind) and derive.seem_sentences(column):
        return "text"
    if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind):
        return "categorical"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "categorical" if _has_two_values(column) else "numeric"
    return None


def _has_two_values(column: pa.ChunkedArray) -> bool:
    few = column.slice(0, _FEW)  # most columns have more than two values from the start
    return _distinct(few) <= 2 and _distinct(column) == 2


def _distinct(column: pa.ChunkedArray) -> int:
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        column = column.filter(pc.invert(pc.is_nan(column)))
    return int(pc.count_distinct(column).as_py())


def _score_columns(model: Model, classes: Iterable[str] = ()) -> tuple[str, ...]:
    score = model.columns.score
    if isinstance(score, dict):
        by_class = {canonical(name): column for name, column in score.items()}
        return tuple(by_class[name] for name in classes) if classes else tuple(score.values())
    return () if score is None else (score,)


def _classes(model: Model, reference: pa.Table) -> tuple[str, ...]:
    if model.task == "regression":
        return ()
    columns = model.columns
    seen: set[str] = set()
    for name in (columns.prediction, columns.label):
        if name in reference.column_names:
            seen |= _used(categorical(reference[name]))
    if isinstance(columns.score, dict):
        scored = {str(canonical(name)) for name in columns.score}
        if extra := sorted(seen - scored):
            raise SchemaError(f"class {extra[0]!r} of the reference has no column in columns.score: add it")
        return tuple(sorted(scored))
    if model.task == "multiclass":
        return tuple(sorted(seen))
    positive = columns.positive_class
    others = sorted(seen - {positive})
    if positive not in seen:
        raise SchemaError(
            f"columns.positive_class is {positive!r}, which the reference never has; it has {', '.join(sorted(seen))}"
        )
    if len(others) > 1:
        raise SchemaError(
            f"a binary model has two classes, the reference has {', '.join(sorted(seen))}: "
            f"set columns.positive_class to one of two, or task: multiclass"
        )
    return (others[0] if others else f"not {positive}", positive)


def _used(column: CategoryColumn) -> set[str]:
    return {column.names[code] for code in set(column.codes.tolist()) if code >= 0}


def is_judged(model: Model, schema: Schema, feature: str, window: str) -> bool:
    """Say whether a feature's drift counts in a window; what is derived of a column does where the column does."""
    own = (model.columns.features or {}).get(origin(schema, feature))
    return own is None or own.windows is None or window in own.windows


def to_json(schema: Schema) -> dict[str, Any]:
    """Return plain values for the store."""
    derived = {column: derive.to_json(transform) for column, transform in schema.derived.items()}
    return {
        **schema._asdict(),
        "features": dict(schema.features),
        "skipped": dict(schema.skipped),
        "derived": derived,
    }


def from_json(plain: Mapping[str, Any]) -> Schema:
    """Read what `to_json` wrote, also before there were derived features."""
    tuples = {key: tuple(plain[key]) for key in ("text", "classes", "scores")}
    derived = {column: derive.from_json(own) for column, own in plain.get("derived", {}).items()}
    return Schema(features=plain["features"], skipped=plain["skipped"], derived=derived, **tuples)
