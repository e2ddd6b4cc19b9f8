"""Serving of each window: quantiles of the latency, failed requests, requests per second, and the bounds in force."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.baseline import Baseline
from exporter.evaluate.views import Found, View
from exporter.profile.serving import errors_ratio, quantile
from exporter.readings import Readings
from exporter.settings import Model


def serving(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Read what the rows of each window say of serving; a window with too few rows is insufficient."""
    out, states = bounds(model), {}
    bins = baseline.bins
    for view in views:
        labels = (model.name, view.version, view.window)
        rows = int(bins.part(view.vector, "rows")[0])
        enough = rows >= model.drift.min_rows
        states[view.version, view.window] = "ok" if enough else "insufficient"
        out.put("model_serving_requests_per_second", *labels, value=rows / (view.end - view.start))
        if enough and bins.latency is not None:
            for q in model.serving.latency_quantiles:
                value = quantile(bins.part(view.vector, "latency"), q)
                out.put("model_serving_latency_seconds", *labels, f"{q:g}", value=value)
        if enough and bins.errors is not None:
            out.put("model_serving_errors_ratio", *labels, value=errors_ratio(bins.part(view.vector, "error")))
    return Found(out, states, {})


def bounds(model: Model) -> Readings:
    """Return the bounds of serving."""
    out, names = Readings(), model.serving.names
    for name, limit in model.serving.threshold.items():
        for severity, value in limit.items():
            if name == "error_ratio":
                out.put("model_serving_errors_threshold_ratio", model.name, severity, value=value)
            else:
                q = f"{names[name]:g}"
                out.put("model_serving_latency_threshold_seconds", model.name, q, severity, value=value)
    return out
