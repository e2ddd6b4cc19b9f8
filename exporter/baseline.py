"""Reference rows -> the baseline: schema, bins and the reference's own profile. Pure."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa

from exporter.calibrate import DAY, calibrations, units_of
from exporter.derive import digest
from exporter.drift.calibration import Calibration, from_plain, to_plain
from exporter.history import Day, describe, from_text, to_text
from exporter.importance import FAITHFUL, Importance, effective, measure
from exporter.profile import categorical, numeric
from exporter.profile import model as profile
from exporter.profile.batch import as_outcomes, labels_of, read_batch
from exporter.profile.counts import ZERO, Counts, Placed, add_into, decode, encode, gather, keep_rows
from exporter.profile.model import Batch, Bins, Column, ModelBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.rows import NO_TIME, SECOND, CategoryColumn, Ints, local_days, times
from exporter.schema import Schema, SchemaError, from_json, infer, origin, to_json
from exporter.segments import Segments
from exporter.segments import fit as fit_segments
from exporter.segments import from_json as segments_from_json
from exporter.segments import to_json as segments_to_json
from exporter.settings import Model


class Baseline:
    """What the current rows are compared against; never changes once it is made.

    newest: newest event time of the reference in seconds, None where it has no times. calibrations: window ->
    thresholds learned from the reference, for the windows that it can teach. slices: the counts of each segment that
    the reference has rows of. days: what its local days (days since 1970) were like, each.
    importance: what the features mean to the model, as far as the reference tells.
    """

    def __init__(
        self,
        schema: Schema,
        bins: ModelBins,
        counts: Counts,
        newest: float | None,
        calibrations: Mapping[str, Calibration],
        segments: Segments,
        slices: Mapping[str, Counts],
        days: Mapping[int, Day],
        importance: Importance | None,
    ):
        self.schema = schema
        self.bins = bins
        self.counts = counts
        self.newest = newest
        self.calibrations = calibrations
        self.segments = segments
        self.slices = slices
        self.days = days
        self.importance = importance

    @cached_property
    def vector(self) -> Ints:
        """The reference's profile, dense."""
        return dense(self.bins, self.counts)

    def slice(self, segment: str) -> Ints:
        """Return a segment's profile in the reference, dense."""
        return dense(self.bins, self.slices.get(segment, ZERO))

    def calibration(self, segment: str, against: str, window: str) -> Calibration | None:
        """Return what the reference taught of a segment, baseline and window; None where it could not."""
        return self.calibrations.get(window) if (segment, against) == ("all", "reference") else None

    def importances(self, model: Model) -> dict[str, float]:
        """Return what each feature means to the model: as configured, else as measured where that can be trusted."""
        settings = model.columns.features or {}
        origins = {name: origin(self.schema, name) for name in self.bins.features}
        given = {name: settings[own].importance for name, own in origins.items() if own in settings}
        trusted = self.importance is not None and self.importance.fidelity >= FAITHFUL
        return effective(given, self.importance.shares if trusted and self.importance is not None else {})

    @cached_property
    def hash(self) -> str:
        """Short SHA-256 of bins, segments, what is derived, and counts: which baseline this is."""
        parts = (self.bins.hash.encode(), "\n".join(self.segments.names).encode(), digest(self.schema.derived))
        return hashlib.sha256(b"".join((*parts, encode(self.counts)))).hexdigest()[:16]


def fit(model: Model, reference: pa.Table) -> Baseline:
    """Make the baseline of a model; raises SchemaError where the reference cannot serve."""
    if not len(reference):
        raise SchemaError("the reference has no rows")
    schema = infer(model, reference)
    batch = read_batch(model, schema, reference, own=True)
    label, _ = labels_of(model, schema, reference, Counter())
    bins, schema = _fit_bins(model, schema, batch, as_outcomes(schema, batch, label), label is not None)
    batch = batch._replace(features={name: batch.features[name] for name in schema.features})
    placed = bins.place_rows(batch)
    outcomes = as_outcomes(schema, batch, label)
    labelled = usable(bins, outcomes)
    rows = np.flatnonzero(labelled)
    for part in bins.place_outcomes(select(outcomes, labelled)):
        placed.append(part._replace(row=rows[part.row]))
    counts = gather(placed, np.zeros(batch.rows, np.int64), 1, bins.size)[0]
    timestamp = _timestamps(model, reference)
    units, days = _units(model, bins, placed, timestamp)
    learned = calibrations(model, bins, units)
    segments = fit_segments(model.columns.segments, reference, model.max_segments)
    return Baseline(
        schema,
        bins,
        counts,
        _newest(timestamp),
        learned,
        segments,
        _slices(segments, bins, placed, reference),
        _days(model, bins, counts, dict(zip(days, units.get(DAY, []), strict=True))),
        measure(batch, outcomes, model.task),
    )


def _slices(segments: Segments, bins: ModelBins, placed: list[Placed], reference: pa.Table) -> dict[str, Counts]:
    """Count the reference's rows in each slice."""
    found: dict[str, Counts] = {}
    for members in segments.members(reference).T:
        counted = gather(placed, members, len(segments.names), bins.size)
        found |= {name: own for name, own in zip(segments.names, counted, strict=True) if len(own.place)}
    return found


def usable(bins: ModelBins, outcomes: Outcomes) -> np.ndarray:
    """Return which rows have a label, and a prediction that it can be compared with."""
    known = ~np.isnan(outcomes.label)
    return known if isinstance(bins.outcomes, ClassBins) else known & ~np.isnan(outcomes.prediction)


def select(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """Return some of the rows."""
    return Outcomes(outcomes.prediction[rows], outcomes.label[rows], outcomes.scores[rows])


def _fit_bins(
    model: Model, schema: Schema, batch: Batch, outcomes: Outcomes, labelled: bool
) -> tuple[ModelBins, Schema]:
    most = model.drift.knots
    features: dict[str, Bins] = {}
    skipped = dict(schema.skipped)
    for name, column in batch.features.items():
        try:
            features[name] = _fit_column(column, most)
        except ValueError as error:
            skipped[name] = str(error)
    try:
        prediction = _fit_column(batch.prediction, most)
        scores = tuple(numeric.fit(s.values[s.valid & ~np.isnan(s.values)], most) for s in batch.scores)
    except ValueError as error:
        raise SchemaError(f"the reference's prediction and score columns are needed: {error}") from error
    label = None
    known: ClassBins | RegressionBins | None = None
    if schema.classes:
        known = ClassBins(schema.classes, tuple(map(numeric.beyond, scores))) if model.columns.label else None
    elif labelled and (values := outcomes.label[~np.isnan(outcomes.label)]).size:
        label = numeric.fit(values, most)
        known = RegressionBins(float(values.mean()), float(values.std()) or 1.0)
    kinds = {name: schema.features[name] for name in features}
    return ModelBins(features, prediction, scores, label, known), schema._replace(features=kinds, skipped=skipped)


def _fit_column(column: Column, most: int) -> Bins:
    if isinstance(column, CategoryColumn):
        return categorical.fit(column.names, column.codes)
    return numeric.fit(column.values[column.valid & ~np.isnan(column.values)], most)


def _timestamps(model: Model, reference: pa.Table) -> Ints:
    """Return the reference's event times in microseconds; none at all where it has no such column."""
    if model.columns.timestamp not in reference.column_names:
        return np.full(len(reference), NO_TIME, np.int64)
    return times(reference[model.columns.timestamp], model.columns.timezone)


def _newest(timestamp: Ints) -> float | None:
    newest = int(timestamp.max())
    return None if newest == NO_TIME else newest / SECOND


def _days(model: Model, bins: ModelBins, counts: Counts, days: Mapping[int, Counts]) -> dict[int, Day]:
    """Describe the reference's own days."""
    reference = dense(bins, counts)
    return {day: describe(model, bins, reference, dense(bins, own)) for day, own in days.items()}


def dense(bins: ModelBins, counts: Counts) -> Ints:
    """Return a profile with a number at each place."""
    vector = np.zeros(bins.size, np.int64)
    add_into(vector, counts)
    return vector


def _units(
    model: Model, bins: ModelBins, placed: list[Placed], timestamp: Ints
) -> tuple[dict[int, list[Counts]], list[int]]:
    """Cut the reference into its units of time (seconds -> profiles in order), and number its days.

    A day is the model's local day.
    """
    known = timestamp != NO_TIME
    if not known.any():
        return {}, []
    rows = [keep_rows(part, known) for part in placed]
    found: dict[int, list[Counts]] = {}
    days: list[int] = []
    for unit in {DAY, *(units_of(window.seconds) for window in model.windows)}:
        start = local_days(timestamp, known, model.timezone) if unit == DAY else timestamp // (unit * SECOND)
        starts, group = np.unique(start[known], return_inverse=True)
        groups = np.zeros(len(timestamp), np.int64)
        groups[known] = group
        found[unit] = gather(rows, groups, len(starts), bins.size)
        if unit == DAY:
            days = starts.tolist()
    return found, days


def settings_hash(model: Model) -> str:
    """Hash what the bins and buckets depend on; a change of it needs a new baseline and the whole log."""
    columns = model.columns.model_dump_json(exclude={"features": {"__all__": {"importance", "windows"}}})
    return _short_hash(
        (model.task, columns, model.drift.knots, model.bucket_seconds, model.max_segments, str(model.version))
    )


def learning_hash(model: Model) -> str:
    """Hash what learned thresholds depend on beside the bins; a change of it needs the reference again."""
    return _short_hash(([window.seconds for window in model.windows], model.timezone, model.drift.model_dump_json()))


def _short_hash(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def dump(baseline: Baseline) -> tuple[str, bytes]:
    """Return a baseline as text (schema and bins) and bytes (the reference's profile) for the store."""
    plain = {
        "schema": to_json(baseline.schema),
        "bins": profile.to_json(baseline.bins),
        "newest": baseline.newest,
        "calibrations": {window: to_plain(one) for window, one in baseline.calibrations.items()},
        "segments": segments_to_json(baseline.segments),
        "slices": {name: b64encode(encode(own)).decode() for name, own in baseline.slices.items()},
        "days": {str(day): to_text(own) for day, own in baseline.days.items()},
        "importance": baseline.importance._asdict() if baseline.importance is not None else None,
    }
    return json.dumps(plain), encode(baseline.counts)


def restore(text: str, counts: bytes) -> Baseline:
    """Read what `dump` wrote."""
    plain = json.loads(text)
    bins = profile.from_json(plain["bins"])
    learned = {window: from_plain(one) for window, one in plain["calibrations"].items()}
    segments = segments_from_json(plain["segments"])
    slices = {name: decode(b64decode(own)) for name, own in plain["slices"].items()}
    days = {int(day): from_text(own) for day, own in plain["days"].items()}
    importance = Importance(**plain["importance"]) if plain["importance"] is not None else None
    return Baseline(
        from_json(plain["schema"]),
        bins,
        decode(counts),
        plain["newest"],
        learned,
        segments,
        slices,
        days,
        importance,
    )
