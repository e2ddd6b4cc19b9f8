"""Business indicators of each window and slice, and the bounds in force."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.baseline import Baseline
from exporter.business.settings import Kpi
from exporter.business.values import Value
from exporter.evaluate.views import Found, View, of_labels, slices
from exporter.fields import Levels
from exporter.kpis import expected_of, least_rows, needs_labels, values_of
from exporter.profile.outcome import ClassBins
from exporter.profile.packed import first
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model


def business(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute the indicators; one that has too few rows is left out, a window without any indicator is insufficient.

    What needs labels is computed on rows that are old enough for them: what is summed of the first labels alone would
    fall short of every bound.
    """
    out, states = bounds(model), {}
    out.extend(matrices(model, baseline))
    kinds = list(zip(model.business, baseline.bins.kpis, strict=True))
    late = {kpi.name for kpi, own in kinds if needs_labels(kpi, own)}
    needed = {kpi.name: least_rows(model, kpi, own) for kpi, own in kinds}
    told = {w.name: [k for k in model.business if k.windows is None or w.name in k.windows] for w in model.windows}
    for view in views:
        states[view.version, view.window] = "insufficient"
        for own, names in ((view, set(needed) - late), (of_labels(view), late)):
            for segment, _, current in slices(baseline, own):
                found = values_of(model, baseline.bins, current, view.end - view.start)
                for kpi in (kpi for kpi in told[view.window] if kpi.name in names):
                    one = found[kpi.name]
                    if first(current) and one.rows >= needed[kpi.name] and one.value is not None:
                        _put(out, "model_business_kpi_value", model, view, segment, kpi, one)
                        if segment == ALL:
                            states[view.version, view.window] = "ok"
        if model.performance.estimate:
            _put_expected(out, model, baseline, view, told[view.window])
    return Found(out, states, {})


def _put_expected(out: Readings, model: Model, baseline: Baseline, view: View, told: list[Kpi]) -> None:
    """Put what decisions are worth by the estimated confusion; a series of its own, as an estimate pages nobody."""
    for segment, _, current in slices(baseline, view):
        for kpi in told:
            one = expected_of(model, baseline.bins, current).get(kpi.name)
            if one is not None and one.rows >= model.performance.min_rows:
                out.put("model_business_kpi_estimated_value", *_labels(model, view, segment, kpi), value=one.value)


def _labels(model: Model, view: View, segment: str, kpi: Kpi) -> tuple[str, ...]:
    return (model.name, view.version, view.window, segment, kpi.name, kpi.unit)


def _put(out: Readings, name: str, model: Model, view: View, segment: str, kpi: Kpi, one: Value) -> None:
    labels = _labels(model, view, segment, kpi)
    out.put(name, *labels, value=one.value)
    out.put(f"{name}_lower", *labels, value=one.lower)
    out.put(f"{name}_upper", *labels, value=one.upper)


def bounds(model: Model) -> Readings:
    """Return the bounds of the indicators."""
    out = Readings()
    for kpi in model.business:
        for family, limit in (("model_business_kpi_min", kpi.min), ("model_business_kpi_max", kpi.max)):
            for severity, value in (limit or Levels()).items():
                out.put(family, model.name, kpi.name, severity, value=value)
    return out


def matrices(model: Model, baseline: Baseline) -> Readings:
    """Return what each decision is worth, of the indicators with a value matrix."""
    out = Readings()
    classes = baseline.bins.outcomes.classes if isinstance(baseline.bins.outcomes, ClassBins) else ()
    for kpi in model.business:
        for actual, worths in zip(classes, kpi.value_matrix or (), strict=False):
            for predicted, worth in zip(classes, worths, strict=True):
                out.put("model_business_decision_value", model.name, kpi.name, kpi.unit, actual, predicted, value=worth)
    return out
