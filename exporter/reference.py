"""Reference rows -> the baseline. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from exporter import row_baseline
from exporter.baseline import Baseline, dense, has_importances
from exporter.business.columns import read
from exporter.calibrate import DAY, budget_parts, calibrations, units_of
from exporter.drift import sequential
from exporter.drift.sequential import DETECTORS
from exporter.estimation import dispersions, learn
from exporter.history import Day, describe, series
from exporter.importance import measure
from exporter.profile import categorical, delay, numeric
from exporter.profile.batch import as_outcomes, delays, labels_of, read_batch
from exporter.profile.columns import Column
from exporter.profile.counts import Counts, Placed, gather, keep_rows
from exporter.profile.kpi import KpiBins, bins_of, needed
from exporter.profile.model import Batch, Bins, ModelBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.profile.serving import ErrorBins, LatencyBins
from exporter.profile.tally import Cut
from exporter.quality_bounds import learn_windows
from exporter.row_baseline import RowBaseline
from exporter.rows import NO_TIME, SECOND, Bools, CategoryColumn, Ints, local_days, times
from exporter.schema import Schema, SchemaError, infer
from exporter.segments import Segments
from exporter.segments import fit as fit_segments
from exporter.settings import Model


def fit(model: Model, reference: pa.Table) -> Baseline:
    """Make the baseline of a model; raises SchemaError where the reference cannot serve."""
    if not len(reference):
        raise SchemaError("the reference has no rows")
    schema = infer(model, reference)
    batch = read_batch(model, schema, reference, own=True)
    label, label_time = labels_of(model, schema, reference, Counter())
    timestamp = _timestamps(model, reference)
    bins, schema = _fit_bins(model, schema, batch, as_outcomes(schema, batch, label), label is not None)
    batch = batch._replace(features={name: batch.features[name] for name in schema.features})
    columns = tuple(name for names in needed(bins.kpis) for name in names)
    outcomes = as_outcomes(schema, batch, label)._replace(
        columns=read(reference, columns), delay=delays(timestamp, label_time)
    )
    labelled = usable(bins, outcomes)
    if model.performance.estimate:
        bins = bins.with_estimator(learn(bins, batch, outcomes, labelled, _days_of(model, timestamp)))
    rows = np.flatnonzero(labelled)
    labels = [part._replace(row=rows[part.row]) for part in bins.place_outcomes(select(outcomes, labelled))]
    whole = Cut(None, np.array([0, batch.rows]))
    counts = bins.count_rows(batch, [whole], labels)[0][0]
    segments = fit_segments(model.columns.segments, reference, model.max_segments)
    members = segments.members(reference)
    in_parts = bool(members.size) or _newest(timestamp) is not None  # else counts of the whole are enough
    placed = [*bins.place_rows(batch), *labels] if in_parts else []
    units, days = _units(model, bins, placed, timestamp)
    of_segments = {
        name: _units(model, bins, placed, timestamp, column == number)[0]
        for column in members.T
        for number, name in enumerate(segments.names)
        if (column == number).any()
    }
    described = _days(model, bins, counts, dict(zip(days, units.get(DAY, []), strict=True)))
    return Baseline(
        schema=schema,
        bins=bins,
        counts=counts,
        segments=segments,
        slices=_slices(segments, bins, placed, members),
        newest=_newest(timestamp),
        learned=calibrations(model, bins, units, of_segments),
        quality=learn_windows(model, bins, units),
        days=described,
        importance=None if has_importances(model, schema) else measure(batch, outcomes, model.task),
        sequential=tuple(_detectors(model, described)),
        rows=_rows(model, schema, bins, batch, timestamp),
        label_delays=_label_delays(bins, outcomes),
        dispersion=dispersions(model.task, bins, (dense(bins, own) for own in units.get(DAY, []))),
    )


def _detectors(model: Model, days: Mapping[int, Day]) -> Iterator[tuple[str, sequential.Learned]]:
    """Learn each detector for each signal; those share their part of the budget evenly."""
    signals = sorted({signal for day in days.values() for signal in day.signals})
    pairs = [(signal, method) for signal in signals for method in model.drift.sequential if fits(model, signal, method)]
    allowed = min(model.drift.threshold.false_alarms.values()) * DAY * budget_parts(model)["sequential"]
    for signal, method in pairs:
        reference = sequential.Series(*series(days, signal))
        learned = sequential.learn(method, reference, allowed / len(pairs), rise=signal == "error")
        if learned is not None:
            yield signal, learned


def fits(model: Model, signal: str, method: str) -> bool:
    """Say whether a detector can read a signal: those of error rates read a classifier's errors alone."""
    return not DETECTORS[method].rates or (signal == "error" and model.task != "regression")


def _rows(model: Model, schema: Schema, bins: ModelBins, batch: Batch, timestamp: Ints) -> RowBaseline | None:
    """Learn of whole rows, where they are judged; a row without a time is of no day."""
    if not model.judges_rows:
        return None
    known = timestamp != NO_TIME
    days = np.where(known, local_days(timestamp, known, model.timezone), NO_TIME)
    return row_baseline.learn(model, schema, bins, batch, days)


def _label_delays(bins: ModelBins, outcomes: Outcomes) -> dict[str, float]:
    """Return the delays that labels need, by class, or of values below and above the mean: the slowest counts."""
    if outcomes.delay is None or bins.outcomes is None:
        return {}
    if isinstance(bins.outcomes, ClassBins):
        groups = {name: outcomes.label == number for number, name in enumerate(bins.outcomes.classes)}
    else:
        groups = {"low": outcomes.label <= bins.outcomes.center, "high": outcomes.label > bins.outcomes.center}
    return delay.learn(outcomes.delay, groups)


def _slices(segments: Segments, bins: ModelBins, placed: list[Placed], members: Ints) -> dict[str, Counts]:
    """Count the reference's rows in each slice."""
    found: dict[str, Counts] = {}
    for column in members.T:
        counted = gather(placed, column, len(segments.names), bins.size)
        found |= {name: own for name, own in zip(segments.names, counted, strict=True) if len(own.place)}
    return found


def usable(bins: ModelBins, outcomes: Outcomes) -> np.ndarray:
    """Return which rows have a label, and a prediction that it can be compared with."""
    known = ~np.isnan(outcomes.label)
    return known if isinstance(bins.outcomes, ClassBins) else known & ~np.isnan(outcomes.prediction)


def select(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """Return some of the rows."""
    columns = {name: own.filter(pa.array(rows)) for name, own in outcomes.columns.items()}
    delay = outcomes.delay[rows] if outcomes.delay is not None else None
    return Outcomes(outcomes.prediction[rows], outcomes.label[rows], outcomes.scores[rows], columns, delay)


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
    bins = ModelBins(features, prediction, scores, label, known, *_of_use(model, schema))
    return bins, schema._replace(features=kinds, skipped=skipped)


def _of_use(model: Model, schema: Schema) -> tuple[LatencyBins | None, ErrorBins | None, tuple[KpiBins, ...]]:
    """Return the places of latencies, of failed requests, and of business indicators."""
    columns, classes = model.columns, schema.classes
    for kpi in model.business:
        if kpi.value_matrix is not None and len(kpi.value_matrix) != len(classes):
            raise SchemaError(
                f"the value_matrix of {kpi.name} is for {len(kpi.value_matrix)} classes, the reference has "
                f"{len(classes)}: give a row and a column each of {', '.join(classes)}"
            )
    of_label = frozenset({*columns.outcomes, *([columns.label] if columns.label is not None else [])})
    latency = LatencyBins(columns.latency.column, columns.latency.unit) if columns.latency else None
    errors = ErrorBins(columns.error) if columns.error is not None else None
    return latency, errors, tuple(bins_of(kpi, of_label) for kpi in model.business)


def _fit_column(column: Column, most: int) -> Bins:
    if isinstance(column, CategoryColumn):
        return categorical.fit(column.names, column.codes)
    return numeric.fit(column.values[column.valid & ~np.isnan(column.values)], most)


def _timestamps(model: Model, reference: pa.Table) -> Ints:
    """Return the reference's event times in microseconds; none at all where it has no such column."""
    if model.columns.timestamp not in reference.column_names:
        return np.full(len(reference), NO_TIME, np.int64)
    return times(reference[model.columns.timestamp], model.columns.timezone)


def _days_of(model: Model, timestamp: Ints) -> Ints | None:
    """Return each row's local day; None where not all have a time."""
    known = timestamp != NO_TIME
    return local_days(timestamp, known, model.timezone) if known.all() else None


def _newest(timestamp: Ints) -> float | None:
    newest = int(timestamp.max())
    return None if newest == NO_TIME else newest / SECOND


def _days(model: Model, bins: ModelBins, counts: Counts, days: Mapping[int, Counts]) -> dict[int, Day]:
    """Describe the reference's own days."""
    reference = dense(bins, counts)
    return {day: describe(model, bins, reference, dense(bins, own)) for day, own in days.items()}


def _units(
    model: Model, bins: ModelBins, placed: list[Placed], timestamp: Ints, own: Bools | None = None
) -> tuple[dict[int, list[Counts]], list[int]]:
    """Cut the reference into its units of time (seconds -> profiles in order), and number its days.

    A day is the model's local day. own: rows to count; units without any are empty.
    """
    known = timestamp != NO_TIME
    if not known.any():
        return {}, []
    rows = [keep_rows(part, known if own is None else known & own) for part in placed]
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
