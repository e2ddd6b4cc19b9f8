"""Whole rows of the reference, and what whole-row methods say of its own days. Pure; seeded.

A group is what is compared at once: all features (``), or the numbers that one embedding column gave.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from exporter.calibrate import DAY, budget_parts
from exporter.drift.multivariate_calibration import Null
from exporter.drift.multivariate_calibration import from_plain as nulls_from_plain
from exporter.drift.multivariate_calibration import learn as learn_null
from exporter.drift.multivariate_calibration import to_plain as nulls_to_plain
from exporter.drift.verdicts import Reference, decode, encode, only, thin
from exporter.profile.model import Batch, ModelBins
from exporter.profile.sample import BUCKET_ROWS, WINDOW_ROWS, as_rows, features_of
from exporter.rows import NO_TIME, Ints, NumericColumn
from exporter.schema import Schema, groups, is_judged
from exporter.settings import Model

WHOLE = ""
OF_EMBEDDINGS = ("mean_shift", "domain_classifier")
SEED = 20131231
_LEAST_ROWS = 50


class Group(NamedTuple):
    """What is compared at once in one window: features, and by which methods."""

    name: str
    window: str
    features: tuple[str, ...]
    methods: tuple[str, ...]


class RowBaseline(NamedTuple):
    """A sample of the reference's rows, and (group, window) -> method -> null, where that could be learned.

    bucket_rows: rows to keep of each bucket; enough that the shortest window has a full sample.
    """

    reference: Reference
    nulls: Mapping[tuple[str, str], Mapping[str, Null]]
    bucket_rows: int


def groups_of(model: Model, schema: Schema, bins: ModelBins) -> Iterator[Group]:
    """Return all that is compared: the features that are judged in a window, and each embedding alone."""
    for window in model.windows:
        judged = [name for name in bins.features if is_judged(model, schema, name, window.name)]
        if model.drift.multivariate and len(judged) > 1:
            yield Group(WHOLE, window.name, tuple(judged), model.drift.multivariate)
        for column, parts in groups(schema).items():
            kept = tuple(part for part in parts if part in judged)
            if kept:
                yield Group(column, window.name, kept, OF_EMBEDDINGS)


def learn(model: Model, schema: Schema, bins: ModelBins, batch: Batch, day: Ints) -> RowBaseline:
    """Sample the reference's rows, and learn what its own days do; day: of each row, NO_TIME where unknown.

    Windows that are no whole number of days have scores and no thresholds.
    """
    seconds = {window.name: window.seconds for window in model.windows}
    whole = Reference(as_rows(bins, batch), day, features_of(bins))
    wanted = list(groups_of(model, schema, bins))
    tests = max(sum(len(group.methods) for group in wanted), 1)
    part = budget_parts(model)["rows"]
    allowed: dict[str, float] = {
        severity: rate * DAY * part / tests for severity, rate in model.drift.threshold.false_alarms.items()
    }
    nulls: dict[tuple[str, str], dict[str, Null]] = {}
    for group in wanted:
        steps, rest = divmod(seconds[group.window], DAY)
        known = (day != NO_TIME) & _counted(batch, group.features)
        own = only(whole._replace(rows=whole.rows[known], day=day[known]), group.features)
        for method in group.methods if steps and not rest else ():
            null = learn_null(method, own.rows, own.day, steps, own.features, allowed, SEED)
            if null is not None:
                nulls.setdefault((group.name, group.window), {})[method] = null
    kept = _counted(batch, tuple(bins.features))
    reference = thin(whole._replace(rows=whole.rows[kept], day=day[kept]), SEED)
    return RowBaseline(reference, nulls, _bucket_rows(model))


def _bucket_rows(model: Model) -> int:
    """Return the rows to keep of a bucket: four full samples of the shortest window, 50 to 500."""
    buckets = min(window.seconds for window in model.windows) // model.bucket_seconds
    return max(min(4 * WINDOW_ROWS // buckets, BUCKET_ROWS), _LEAST_ROWS)


def _counted(batch: Batch, features: tuple[str, ...]) -> np.ndarray:
    """Return which rows count in all of the features: an embedding's axes were fitted on the others."""
    kept = np.ones(batch.rows, np.bool_)
    for name in features:
        column = batch.features[name]
        if isinstance(column, NumericColumn) and column.counted is not None:
            kept &= column.counted
    return kept


def to_plain(own: RowBaseline) -> dict[str, Any]:
    """Return plain values for the store."""
    nulls = [[*key, nulls_to_plain(found)] for key, found in own.nulls.items()]
    return {"reference": b64encode(encode(own.reference)).decode(), "nulls": nulls, "bucket_rows": own.bucket_rows}


def from_plain(plain: Mapping[str, Any]) -> RowBaseline:
    """Read what `to_plain` wrote."""
    nulls = {(group, window): nulls_from_plain(found) for group, window, found in plain["nulls"]}
    return RowBaseline(decode(b64decode(plain["reference"])), nulls, plain["bucket_rows"])
