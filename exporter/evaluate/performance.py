"""Performance of each window and slice over its labelled rows: scores, intervals, verdicts, and the bounds in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from exporter import parts
from exporter.baseline import Baseline
from exporter.evaluate import labels as ledger
from exporter.evaluate.limits import limits
from exporter.evaluate.views import Found, View, slices
from exporter.performance import custom
from exporter.performance.intervals import Estimate
from exporter.performance.probabilities import calibration_error
from exporter.performance.tables import ClassOutcomes
from exporter.performance.verdicts import PART, Verdict, judge, tolerance
from exporter.profile import outcome
from exporter.profile.outcome import ClassBins
from exporter.profile.packed import Profile
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model

# baseline -> the settings that it was measured by, and segment -> its metrics and those that failed
_KNOWN: WeakKeyDictionary[Baseline, tuple[Model, dict[str, tuple[dict[str, Estimate], dict[str, str]]]]] = (
    WeakKeyDictionary()
)


class Measured(NamedTuple):
    """A slice's metrics beside those of the same slice of the reference, and what follows."""

    current: Mapping[str, Estimate]
    verdicts: Mapping[str, Verdict]

    def worst(self) -> float | None:
        """Return how many standard errors the worst metric lies below its baseline; None without any verdict."""
        return max((one.errors for one in self.verdicts.values()), default=None)


def _measure(model: Model, baseline: Baseline, vector: Profile, failed: dict[str, str]) -> dict[str, Estimate]:
    """Return the metrics of a profile with enough labels, else none; those of one's own that fail are named."""
    if baseline.bins.effective_rows(vector) < model.performance.min_rows:
        return {}
    found = parts.measured(model.task, baseline.bins, vector, model.metrics)
    if not _has_groups(model, baseline, vector):
        found = {name: one for name, one in found.items() if name not in model.ranked_metrics}
    outcomes = parts.outcomes(baseline.bins, vector)
    for name, own in model.performance.custom.items():
        if outcomes is None:
            break
        try:
            one = custom.estimate(own.function, outcomes)
        except ValueError as error:
            failed[name] = str(error)
            continue
        found |= {name: one} if one is not None else {}
    return found


def _has_groups(model: Model, baseline: Baseline, vector: Profile) -> bool:
    """Return whether a profile has the groups that metrics of groups need."""
    groups = parts.groups(baseline.bins, vector)
    return groups is not None and groups.groups >= model.performance.min_groups


def _of_reference(model: Model, baseline: Baseline, segment: str, failed: dict[str, str]) -> dict[str, Estimate]:
    """Return the metrics of a slice of the reference; they never change, so they are measured once a baseline."""
    known = _KNOWN.get(baseline)
    if known is None or known[0] is not model:
        known = _KNOWN[baseline] = (model, {})
    if segment not in known[1]:
        wrong: dict[str, str] = {}
        vector = baseline.vector if segment == ALL else baseline.slice(segment)
        known[1][segment] = (_measure(model, baseline, vector, wrong), wrong)
    found, wrong = known[1][segment]
    failed.update(wrong)
    return found


def _compare(model: Model, baseline: Baseline, segment: str, current: Profile, failed: dict[str, str]) -> Measured:
    now, base = _measure(model, baseline, current, failed), _of_reference(model, baseline, segment, failed)
    verdicts: dict[str, Verdict] = {}
    for metric in now.keys() & base.keys():
        limit = model.performance.threshold.get(metric)
        drops = [drop for _, drop in limit.drop.items()] if limit is not None and limit.drop is not None else []
        own = metric in model.performance.custom
        usual = PART * abs(base[metric].value) if own else tolerance(metric, base)
        lower = own and model.lower_is_better(metric)
        found = judge(metric, now[metric], base[metric], min(drops) if drops else usual, lower)
        verdicts |= {metric: found} if found is not None else {}
    return Measured(now, verdicts)


def performance(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute the metrics over each window's labelled rows, once they are old enough for their labels."""
    out, states, failed = Readings(), {}, dict[str, str]()
    for view in views:
        labels = (model.name, view.version, view.window)
        own, state = ledger.judged(model, baseline, view)
        if state == "ok" and set(model.metrics) == set(model.ranked_metrics):
            state = "ok" if _has_groups(model, baseline, own.vector) else "insufficient"
        states[view.version, view.window] = state
        ledger.put_labels(out, model, baseline, view, own)
        worst: dict[str, float] = {}
        for segment, _, current in slices(baseline, own):
            found = _compare(model, baseline, segment, current, failed)
            _put(out, (*labels, segment), found)
            _put_groups(out, baseline, (*labels, segment), current)
            errors = found.worst()
            worst |= {segment: errors} if errors is not None and segment != ALL else {}
        if worst:
            name = max(worst, key=lambda segment: worst[segment])
            out.put("model_segment_worst_info", *labels, name, "performance", value=1)
        if state == "ok":
            out.put("model_calibration_error", *labels, value=_calibration(baseline, own.vector))
            _put_confusion(out, baseline, labels, own.vector)
    return Found(out, states, failed)


def _put(out: Readings, labels: tuple[str, str, str, str], found: Measured) -> None:
    for metric, one in found.current.items():
        out.put("model_performance_score", *labels, metric, value=one.value)
        out.put("model_performance_score_lower", *labels, metric, value=one.lower)
        out.put("model_performance_score_upper", *labels, metric, value=one.upper)
        if metric in found.verdicts:
            out.put("model_performance_degraded", *labels, metric, value=found.verdicts[metric].degraded)


def _put_groups(out: Readings, baseline: Baseline, labels: tuple[str, str, str, str], vector: Profile) -> None:
    found = parts.groups(baseline.bins, vector)
    if found is not None:
        states = {"evaluated": found.groups, "irrelevant": found.irrelevant, "incomplete": found.incomplete}
        for state, count in states.items():
            out.put("model_ranking_groups", *labels, state, value=count)


def _calibration(baseline: Baseline, vector: Profile) -> float | None:
    found = parts.outcomes(baseline.bins, vector)
    return calibration_error(found) if isinstance(found, ClassOutcomes) else None


def _put_confusion(out: Readings, baseline: Baseline, labels: tuple[str, str, str], vector: Profile) -> None:
    bins = baseline.bins.outcomes
    if not isinstance(bins, ClassBins):
        return
    table = outcome.read_classes(bins, baseline.bins.part(vector, "outcome")).confusion
    for actual, row in zip(bins.classes, table.tolist(), strict=True):
        for predicted, count in zip((*bins.classes, "(other)"), row, strict=True):
            if predicted != "(other)" or count:
                out.put("model_confusion_rows", *labels, actual, predicted, value=count)


def bounds(model: Model, baseline: Baseline, versions: Sequence[str]) -> Readings:
    """Return what follows from settings and reference alone: baselines and bounds in force."""
    out = Readings()
    failed: dict[str, str] = {}  # told by the task itself
    base = parts.measured(model.task, baseline.bins, baseline.vector, model.metrics)
    base |= _of_reference(model, baseline, ALL, failed)
    of_segments = {name: _of_reference(model, baseline, name, failed) for name in baseline.segments.names}
    for segment, found in {ALL: base, **of_segments}.items():
        for metric, one in found.items():
            for version in versions:
                out.put("model_performance_score_baseline", model.name, version, segment, metric, value=one.value)
    out.extend(limits(model, baseline, base))
    for severity, value in model.drift.drifted_features.items():
        out.put("model_drifted_features_threshold_ratio", model.name, severity, value=value)
    out.put("model_window_min_rows", model.name, "current", value=model.drift.min_rows)
    if model.columns.label is not None:
        out.put("model_window_min_rows", model.name, "labelled", value=model.performance.min_rows)
    if model.columns.group is not None:
        out.put("model_window_min_groups", model.name, value=model.performance.min_groups)
    out.put("model_data_delay_threshold_seconds", model.name, value=model.data_delay_seconds)
    out.extend(ledger.bounds(model, baseline))
    return out
