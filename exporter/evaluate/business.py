"""Business indicators of each window and slice, and the bounds in force."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.baseline import Baseline
from exporter.evaluate.views import Found, View, slices
from exporter.fields import Levels
from exporter.kpis import expected, least_rows, values_of
from exporter.readings import Readings
from exporter.settings import Model


def business(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute the indicators; one that has too few rows is left out, a window without any indicator is insufficient."""
    out, states = bounds(model), {}
    needed = {
        kpi.name: least_rows(model, kpi, own) for kpi, own in zip(model.business, baseline.bins.kpis, strict=True)
    }
    units = {kpi.name: kpi.unit for kpi in model.business}
    told = {w.name: [k.name for k in model.business if k.windows is None or w.name in k.windows] for w in model.windows}
    estimate = expected if model.performance.estimate else None
    for view in views:
        labels = (model.name, view.version, view.window)
        states[view.version, view.window] = "insufficient"
        for segment, _, current in slices(baseline, view):
            if not baseline.bins.part(current, "rows")[0]:
                continue
            found = values_of(model, baseline.bins, current, view.end - view.start, estimate)
            for name, one in ((name, found[name]) for name in told[view.window]):
                own = (*labels, segment, name, units[name])
                if one.rows < needed[name] or one.value is None:
                    continue
                if current is view.vector:
                    states[view.version, view.window] = "ok"
                out.put("model_business_kpi_value", *own, value=one.value)
                out.put("model_business_kpi_value_lower", *own, value=one.lower)
                out.put("model_business_kpi_value_upper", *own, value=one.upper)
    return Found(out, states, {})


def bounds(model: Model) -> Readings:
    """Return the bounds of the indicators."""
    out = Readings()
    for kpi in model.business:
        for family, limit in (("model_business_kpi_min", kpi.min), ("model_business_kpi_max", kpi.max)):
            for severity, value in (limit or Levels()).items():
                out.put(family, model.name, kpi.name, severity, value=value)
    return out
