"""Performance of each window and slice as it is expected without labels, and how far off that was where they came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter import parts
from exporter.baseline import Baseline
from exporter.evaluate.views import Found, View, of_labels, slices
from exporter.performance import expected
from exporter.performance.expected import Estimate
from exporter.performance.losses import Losses
from exporter.profile.packed import Profile
from exporter.readings import Readings
from exporter.settings import Model

MATURE = 0.95  # share of labels that are known, from which an estimate is compared with what they say


def estimation(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Estimate the metrics over each window's predictions."""
    out, states = Readings(), {}
    bins = baseline.bins
    for view in views:
        labels = (model.name, view.version, view.window)
        enough = bins.estimated_rows(view.vector) >= model.performance.min_rows
        states[view.version, view.window] = "ok" if enough else "insufficient"
        for segment, _, current in slices(baseline, view):
            rows = bins.estimated_rows(current)
            if rows >= model.performance.min_rows:
                found = _estimates(model, baseline, current)
                _put(out, baseline, (*labels, segment), found, rows)
        _put_error(out, model, baseline, of_labels(view))
    return Found(out, states, {})


def _estimates(model: Model, baseline: Baseline, vector: Profile) -> dict[str, Estimate]:
    return parts.estimated(model.task, baseline.bins, vector, wanted(model))


def wanted(model: Model) -> tuple[str, ...] | None:
    """Return the metrics to show, bounded ones among them; None are the task's default ones."""
    metrics = model.performance.metrics
    return None if metrics is None else tuple(dict.fromkeys((*metrics, *model.performance.threshold)))


def _put(
    out: Readings, baseline: Baseline, labels: tuple[str, str, str, str], found: Mapping[str, Estimate], rows: int
) -> None:
    estimator = baseline.bins.estimator
    method = "dle" if isinstance(estimator, Losses) else "cbpe"
    learned = estimator.rows if estimator is not None else 0
    for metric, estimate in found.items():
        out.put("model_performance_estimated_score", *labels, metric, method, value=estimate.value)
        bounds = expected.interval(metric, estimate, rows, learned, baseline.misses.get(labels[2], {}).get(metric))
        for name, value in zip(("lower", "upper"), bounds or (), strict=False):
            out.put(f"model_performance_estimated_score_{name}", *labels, metric, method, value=value)


def _put_error(out: Readings, model: Model, baseline: Baseline, view: View) -> None:
    """Put how far off the estimate was, over the rows on which performance is judged."""
    bins = baseline.bins
    labelled = bins.labelled_rows(view.vector)
    if labelled < max(model.performance.min_rows, MATURE * int(bins.part(view.vector, "rows")[0])):
        return
    found = _estimates(model, baseline, view.vector)
    realised = parts.performance(model.task, bins, view.vector, tuple(found))
    for metric, estimate in found.items():
        value = realised[metric]
        if value is not None:
            error = estimate.value - value
            out.put("model_performance_estimate_error", model.name, view.version, view.window, metric, value=error)
