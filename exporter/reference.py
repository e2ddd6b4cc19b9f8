"""Reference rows -> the baseline. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter import row_baseline
from exporter.baseline import Baseline, dense, has_importances
from exporter.business.columns import read
from exporter.calibrate import DAY, budget_parts, calibrations, units_of
from exporter.drift import sequential
from exporter.drift.sequential import DETECTORS
from exporter.estimation import NOTHING, learn, misses
from exporter.history import Day, describe, series
from exporter.importance import measure
from exporter.parts import Columns
from exporter.profile import categorical, delay, numeric, weight
from exporter.profile.batch import as_outcomes, delays, groups_of, labels_of, read_batch, weights_of
from exporter.profile.coding import encode
from exporter.profile.columns import Column, Unread
from exporter.profile.counts import Counts, Placed, gather, keep_rows
from exporter.profile.kpi import KpiBins, bins_of, needed
from exporter.profile.model import WORTH_THREADS, Batch, Bins, ModelBins
from exporter.profile.ordered import learn_numbers
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.profile.ranking import RankingBins, together
from exporter.profile.serving import ErrorBins, LatencyBins
from exporter.profile.tally import Cut, learn_categories
from exporter.profile.weight import WeightBins
from exporter.quality_bounds import learn_windows
from exporter.reference_days import cut
from exporter.rows import NO_TIME, SECOND, Bools, CategoryColumn, Ints, times
from exporter.schema import Schema, SchemaError, Skipped, Type, candidates, infer, look
from exporter.segments import Segments
from exporter.segments import fit as fit_segments
from exporter.settings import Model
from exporter.threads import each


class Learned(NamedTuple):
    """What one read of a column told: what it is; if that is a number or a category its bins, and its rows by them."""

    kind: Type | Skipped
    bins: Bins | None = None
    counts: Counts | None = None


class Rows(NamedTuple):
    """The reference's rows as they are compared: columns, what came of them, times in microseconds.

    counted: features whose rows are counted already, by part of a profile.
    """

    schema: Schema
    bins: ModelBins
    batch: Batch
    outcomes: Outcomes
    timestamp: Ints
    counted: Mapping[str, Counts]


def fit(model: Model, reference: pa.Table) -> Baseline:
    """Make the baseline of a model; raises SchemaError where the reference cannot serve."""
    schema, bins, batch, outcomes, timestamp, counted = _read(model, reference)
    labelled = usable(bins, outcomes)
    begins, days = cut(timestamp, model.timezone)
    day = days if (days != NO_TIME).all() else None
    learned = learn(bins, batch, outcomes, labelled, day) if model.performance.estimate else NOTHING
    bins = bins.with_estimator(learned.estimator)
    rows = np.flatnonzero(labelled)
    known = [part._replace(row=rows[part.row]) for part in bins.place_outcomes(select(outcomes, labelled))]
    groups = _groups(model, reference)

    def ranked(segments: Ints) -> list[Placed]:
        return bins.place_groups(together(groups, segments), timestamp, outcomes)

    in_groups = ranked(np.zeros(batch.rows, np.int64))
    whole = Cut(None, np.array([0, batch.rows]))
    counts = bins.count_rows(batch, [whole], known + in_groups, counted=counted)[0][0]
    segments = fit_segments(model.columns.segments, reference, model.max_segments)
    members = segments.members(reference)
    in_parts = bool(members.size) or _newest(timestamp) is not None  # else counts of the whole are enough
    placed = [*bins.place_rows(batch), *known] if in_parts else []
    starts = _starts(model, timestamp, days)
    units = _units(bins, placed + in_groups, starts)
    of_segments = {
        name: _units(bins, placed, starts, column == number)
        for column in members.T
        for number, name in enumerate(segments.names)
        if (column == number).any()
    }
    numbers = _numbers(starts)
    described = _days(model, bins, counts, dict(zip(numbers, units.get(DAY, []), strict=True)))
    baseline = Baseline(
        schema=schema,
        bins=bins,
        packed=encode(counts),
        segments=segments,
        slices=_slices(segments, bins, placed, members, ranked),
        newest=_newest(timestamp),
        learned=calibrations(model, bins, units, of_segments, numbers),
        quality=learn_windows(model, bins, units, numbers),
        days=described,
        day_begins=begins,
        importance=None if has_importances(model, schema) else measure(batch, outcomes, model.task),
        sequential=tuple(_detectors(model, described)),
        rows=row_baseline.learn(model, schema, bins, batch, days) if model.judges_rows else None,
        label_delays=_label_delays(bins, outcomes),
        misses=misses(model, bins, known + bins.place_expected(learned.held_out), day, labelled),
    )
    baseline.know(counts)
    return baseline


def _read(model: Model, reference: pa.Table) -> Rows:
    if not len(reference):
        raise SchemaError("the reference has no rows")
    learned = _learn_columns(model, reference)
    schema = infer(model, reference, {name: own.kind for name, own in learned.items()})
    batch = read_batch(model, schema, reference, own=True)
    label, label_time = labels_of(model, schema, reference, Counter())
    timestamp = _timestamps(model, reference)
    own = as_outcomes(schema, batch, label)._replace(weight=weights_of(model, reference))
    bins, schema = _fit_bins(model, schema, batch, own, label is not None, learned)
    kept = batch.features.only(schema.features) if isinstance(batch.features, Unread) else None
    batch = batch._replace(features={name: batch.features[name] for name in schema.features} if kept is None else kept)
    columns = tuple(name for names in needed(bins.kpis) for name in names)
    outcomes = as_outcomes(schema, batch, label)._replace(
        columns=read(reference, columns), delay=delays(timestamp, label_time), weight=weights_of(model, reference)
    )
    counted = {f"feature:{n}": learned[n].counts for n in bins.features if n in learned}
    return Rows(schema, bins, batch, outcomes, timestamp, {n: own for n, own in counted.items() if own is not None})


def _learn_columns(model: Model, reference: pa.Table) -> dict[str, Learned]:
    """Look at each column that may be a feature, on all threads: each is read once."""
    chosen = candidates(model, reference)

    def learn_one(name: str) -> Learned:
        return _learn_column(reference[name], chosen[name], model.drift.knots)

    wide = len(reference) * len(chosen) >= WORTH_THREADS
    return dict(zip(chosen, each(learn_one, chosen) if wide else map(learn_one, chosen), strict=True))


def _learn_column(column: pa.ChunkedArray, chosen: Type | None, most: int) -> Learned:
    kind = look(column, chosen)
    try:
        if kind == "numeric":
            return Learned(kind, *learn_numbers(column, most))
        return Learned(kind, *learn_categories(column)) if kind == "categorical" else Learned(kind)
    except ValueError as error:
        return Learned(Skipped(str(error)))


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


def _groups(model: Model, reference: pa.Table) -> Ints:
    """Return the number of each row's group; -1 where it has none."""
    names = groups_of(model, reference)
    if names is None:
        return np.full(len(reference), -1, np.int64)
    numbers: dict[str, int] = {}
    return np.array([-1 if name is None else numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _label_delays(bins: ModelBins, outcomes: Outcomes) -> dict[str, float]:
    """Return the delays that labels need, by class, or of values below and above the mean: the slowest counts."""
    if outcomes.delay is None or bins.outcomes is None:
        return {}
    if isinstance(bins.outcomes, ClassBins):
        groups = {name: outcomes.label == number for number, name in enumerate(bins.outcomes.classes)}
    else:
        groups = {"low": outcomes.label <= bins.outcomes.center, "high": outcomes.label > bins.outcomes.center}
    return delay.learn(outcomes.delay, groups)


def _slices(
    segments: Segments, bins: ModelBins, placed: list[Placed], members: Ints, ranked: Callable[[Ints], list[Placed]]
) -> dict[str, Counts]:
    """Count the reference's rows in each slice; ranked: what its groups count, cut into segments."""
    found: dict[str, Counts] = {}
    for column in members.T:
        counted = gather([*placed, *ranked(column)], column, len(segments.names), bins.size)
        found |= {name: own for name, own in zip(segments.names, counted, strict=True) if own}
    return found


def usable(bins: ModelBins, outcomes: Outcomes) -> np.ndarray:
    """Return which rows have a label, and a prediction that it can be compared with."""
    known = ~np.isnan(outcomes.label)
    return known if isinstance(bins.outcomes, ClassBins) else known & ~np.isnan(outcomes.prediction)


def select(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """Return some of the rows."""
    columns = {name: own.filter(pa.array(rows)) for name, own in outcomes.columns.items()}
    delay = outcomes.delay[rows] if outcomes.delay is not None else None
    weight = outcomes.weight[rows] if outcomes.weight is not None else None
    return Outcomes(outcomes.prediction[rows], outcomes.label[rows], outcomes.scores[rows], columns, delay, weight)


def _fit_bins(
    model: Model,
    schema: Schema,
    batch: Batch,
    outcomes: Outcomes,
    labelled: bool,
    learned: Mapping[str, Learned],
) -> tuple[ModelBins, Schema]:
    most = model.drift.knots
    features: dict[str, Bins] = {}
    skipped = dict(schema.skipped)
    for name in schema.features:
        fitted = learned[name].bins if name in learned else None
        try:
            features[name] = fitted or _fit_column(batch.features[name], most)
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
        if model.columns.group is not None and values.min() < 0:
            raise SchemaError(f"a ranked row's label is its relevance, at least 0; the reference has {values.min():g}")
        label = numeric.fit(values, most)
        known = RegressionBins(float(values.mean()), float(values.std()) or 1.0)
    kinds = {name: schema.features[name] for name in features}
    ranked = RankingBins(model.columns.group, model.ranked_metrics) if known and model.columns.group else None
    weights = _weights(model, outcomes) if known else None
    bins = ModelBins(
        features, prediction, scores, label, known, *_of_use(model, schema), ranked=ranked, weights=weights
    )
    return bins, schema._replace(features=kinds, skipped=skipped)


def _weights(model: Model, outcomes: Outcomes) -> WeightBins | None:
    if model.columns.weight is None or outcomes.weight is None:
        return None
    try:
        return weight.fit(model.columns.weight, outcomes.weight[~np.isnan(outcomes.label)])
    except ValueError as error:
        raise SchemaError(f"{error}: give each labelled row one") from error


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


def _newest(timestamp: Ints) -> float | None:
    newest = int(timestamp.max())
    return None if newest == NO_TIME else newest / SECOND


def _days(model: Model, bins: ModelBins, counts: Counts, days: Mapping[int, Counts]) -> dict[int, Day]:
    """Describe the reference's own days."""
    if not days:
        return {}
    reference = Columns(bins, dense(bins, counts))
    return {day: describe(model, bins, reference, dense(bins, own)) for day, own in days.items()}


def _starts(model: Model, timestamp: Ints, days: Ints) -> dict[int, Ints]:
    """Return the number of each row's unit, by the unit's length in seconds; NO_TIME where it has no time.

    days: number of each row's day, as `reference_days` cuts them.
    """
    lengths = {DAY, *(units_of(window.seconds) for window in model.windows)}
    known = timestamp != NO_TIME
    return {
        unit: days if unit == DAY else np.where(known, timestamp // (unit * SECOND), NO_TIME)
        for unit in (lengths if known.any() else ())
    }


def _numbers(starts: Mapping[int, Ints]) -> list[int]:
    """Return the numbers of the days."""
    found = np.unique(starts.get(DAY, np.empty(0, np.int64)))
    return [number for number in found.tolist() if number != NO_TIME]


def _units(
    bins: ModelBins, placed: list[Placed], starts: Mapping[int, Ints], own: Bools | None = None
) -> dict[int, list[Counts]]:
    """Cut the reference into its units of time: seconds -> profiles in order. own: rows to count."""
    found: dict[int, list[Counts]] = {}
    for unit, start in starts.items():
        known = start != NO_TIME
        numbers, group = np.unique(start[known], return_inverse=True)
        groups = np.zeros(len(start), np.int64)
        groups[known] = group
        rows = [keep_rows(part, known if own is None else known & own) for part in placed]
        found[unit] = gather(rows, groups, len(numbers), bins.size)
    return found
