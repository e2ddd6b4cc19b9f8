"""The label ledger of a window: how many labels are known, how late they came, and whether they are enough to judge."""

from __future__ import annotations

from exporter.baseline import Baseline
from exporter.evaluate.views import View, of_labels
from exporter.profile import delay
from exporter.readings import Readings
from exporter.settings import Model

COMPLETE = 0.99  # share of labels known from which what is missing cannot matter
QUANTILES = (0.5, 0.9, 0.99)


def judged(model: Model, baseline: Baseline, view: View) -> tuple[View, str]:
    """Return the rows that performance is computed on, and whether they can be trusted: ok, immature, insufficient.

    The newest window of the same length that is old enough for its labels. Where that has too few, the window itself,
    if nearly all its labels are known; if not, they are immature, and nothing is computed from them.
    """
    least, mature = model.performance.min_rows, of_labels(view)
    if baseline.bins.effective_rows(mature.vector) >= least:
        return mature, "ok"
    if view.mature is not None and baseline.bins.effective_rows(view.vector) >= least:
        return (view, "ok") if (_coverage(baseline, view) or 0.0) >= COMPLETE else (mature, "immature")
    return mature, "insufficient"


def _coverage(baseline: Baseline, view: View) -> float | None:
    rows = int(baseline.bins.part(view.vector, "rows")[0])
    return baseline.bins.labelled_rows(view.vector) / rows if rows else None


def put_labels(out: Readings, model: Model, baseline: Baseline, view: View, own: View) -> None:
    """Put what is known of the labels; `own` are the rows that are judged."""
    labels, mature = (model.name, view.version, view.window), of_labels(view)
    out.put("model_labels_coverage_ratio", *labels, value=_coverage(baseline, view))
    if model.columns.label is None:
        return
    out.put("model_labels_mature_coverage_ratio", *labels, value=_coverage(baseline, mature))
    out.put("model_performance_window_end_timestamp_seconds", *labels, value=own.end)
    for q in QUANTILES:
        counts = baseline.bins.part(mature.vector, "delay")
        out.put("model_label_delay_seconds", *labels, f"{q:g}", value=delay.quantile(counts, q))


def bounds(model: Model, baseline: Baseline) -> Readings:
    """Return the age at which labels count as complete, and the share of them that must be there then."""
    out = Readings()
    if model.columns.label is not None:
        out.put("model_labels_coverage_threshold_ratio", model.name, value=_least_coverage(model, baseline))
    out.put("model_label_delay_threshold_seconds", model.name, value=baseline.label_delay(model))
    return out


def _least_coverage(model: Model, baseline: Baseline) -> float | None:
    """Return the least accepted share of labels: as configured, else half of the reference's; None if that has none."""
    if model.label_coverage is not None:
        return model.label_coverage
    rows = int(baseline.bins.part(baseline.vector, "rows")[0])
    labelled = baseline.bins.labelled_rows(baseline.vector)
    return labelled / rows / 2 if rows and labelled else None


def report(model: Model, baseline: Baseline) -> dict[str, object]:
    """Return what is known of the delay of labels, and from where."""
    source = "configuration" if model.label_delay is not None else "reference" if baseline.label_delays else "unknown"
    by_label = dict(sorted(baseline.label_delays.items(), key=lambda pair: -pair[1]))
    return {"seconds": baseline.label_delay(model), "from": source, "by_label": by_label}
