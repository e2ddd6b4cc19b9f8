"""`model-exporter check`: what a configuration means on the real files, before anything runs."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from exporter import duration, parts, reference_days
from exporter.baseline import Baseline
from exporter.business.expression import parse
from exporter.calibrate import told
from exporter.cluster.plan import Rows
from exporter.derive import Embedding, names
from exporter.drift.thresholds import in_force
from exporter.drift.univariate import Sample
from exporter.evaluate import labels
from exporter.evaluate.business import business
from exporter.evaluate.drift import drift
from exporter.evaluate.estimation import estimation
from exporter.evaluate.performance import performance
from exporter.evaluate.serving import serving
from exporter.evaluate.views import View
from exporter.fields import nearest
from exporter.mistakes import Wrong
from exporter.parts import sample
from exporter.performance import custom
from exporter.performance.losses import MIN_ROWS, Losses
from exporter.profile.batch import Log, read_labels, read_log
from exporter.profile.counts import add_into, gather
from exporter.profile.numeric import NumericBins
from exporter.quality import quality
from exporter.reference import fit
from exporter.rows import SECOND, NumericColumn
from exporter.schema import Schema, SchemaError, origin, tells_missing, text_in_csv
from exporter.settings import Model
from exporter.sources import files, spark, whole
from exporter.tasks import TaskError

Report = dict[str, Any]


def check(model: Model) -> tuple[Report, list[Wrong]]:
    """Look at a model's reference and the newest of its log; return a report and the mistakes found."""
    report: Report = {
        "model": model.name,
        "task": model.task,
        "bucket_seconds": model.bucket_seconds,
        "windows": {window.name: window.seconds for window in model.windows},
    }
    try:
        baseline = fit(model, whole.read(model.reference))
    except (OSError, ValueError, SchemaError) as error:
        return report, [Wrong(("reference",), str(error))]
    report["reference"] = {
        "rows": int(baseline.bins.part(baseline.vector, "rows")[0]),
        "labelled": baseline.bins.labelled_rows(baseline.vector),
        "hash": baseline.hash,
        "classes": list(baseline.schema.classes),
    }
    report |= _groups(model, baseline)
    if model.performance.estimate:
        report["estimate"] = _estimate(baseline)
    report["columns"] = _columns(baseline)
    report["skipped"] = dict(baseline.schema.skipped)
    if model.columns.label is not None:
        report["label_delay"] = labels.report(model, baseline)
    table, path, mistakes = _newest(model, "predictions", baseline)
    if table is not None and not len(table):
        report["sample"] = {"file": path, "rows": 0, "seconds": 0.0, "rejected": {}}
    elif table is not None:
        try:
            rows = read_log(model, baseline.schema, table)
        except KeyError as error:
            return report, [*mistakes, Wrong(("predictions",), f"{path}: {error.args[0]}")]
        report["sample"] = _sample(path, rows)
        mistakes += _log_mistakes(path, baseline.schema, rows)
        mistakes += _use_mistakes(model, path, table)
        report |= _judgement(model, baseline, rows)
    if model.labels is not None:
        mistakes += _label_mistakes(model, baseline)
    mistakes += _group_mistakes(report)
    mistakes += _custom_mistakes(model, baseline)
    return report, mistakes


def _columns(baseline: Baseline) -> dict[str, str]:
    found = {
        name: f"numeric, {'every value' if bins.exact else 'quantiles'} as knots ({len(bins.knots)})"
        if isinstance(bins, NumericBins)
        else f"categorical, {len(bins.categories)} categories"
        for name, bins in baseline.bins.features.items()
    }
    for column, transform in baseline.schema.derived.items():
        kind = f"embedding of {transform.size} numbers" if isinstance(transform, Embedding) else "text"
        for name in set(names(column, transform)) & set(found):
            found[name] += f", from {kind} {column!r}"
    return found


def _groups(model: Model, baseline: Baseline) -> Report:
    """Count the reference's groups of ranked rows, where there are any."""
    found = parts.groups(baseline.bins, baseline.vector)
    if found is None:
        return {}
    counts = {"groups": found.groups, "irrelevant": found.irrelevant, "incomplete": found.incomplete}
    return {"groups": counts | {"needed": model.performance.min_groups}}


def _group_mistakes(report: Report) -> list[Wrong]:
    found = report.get("groups")
    if found is None or found["groups"] >= found["needed"]:
        return []
    sentence = f"the reference has {found['groups']} whole groups with a relevant row"
    return [Wrong(("columns", "group"), f"{sentence}, performance.min_groups asks for {found['needed']}")]


def _estimate(baseline: Baseline) -> str:
    """Say what performance is estimated by."""
    estimator = baseline.bins.estimator
    if estimator is None:
        return f"not possible: the reference has fewer than {MIN_ROWS} labelled rows with all that it needs"
    if isinstance(estimator, Losses):
        return f"dle: its model of the absolute error has R2 {estimator.absolute.r2:.2f} on rows held out"
    used = sum(own is not None for own in estimator.maps)
    return f"cbpe: scores of {used} of {len(estimator.maps)} classes are calibrated, the others are best as they are"


def _newest(model: Model, source: str, baseline: Baseline) -> tuple[pa.Table | None, str, list[Wrong]]:
    """Read the last file of a source, or some rows of a cluster."""
    spec = getattr(model, source)
    if spec.push is not None:
        return None, "", []
    try:
        if spec.spark is not None:
            Rows(model, baseline, spark.frame(spec.spark), 0.0)
        return *whole.newest(spec, text_in_csv(model, baseline.schema)), []
    except (OSError, ValueError, TaskError) as error:
        return None, "", [Wrong((source,), str(error))]


def _sample(path: str, rows: Log) -> Report:
    seconds = (int(rows.timestamp.max()) - int(rows.timestamp.min())) / SECOND if rows.batch.rows else 0.0
    return {
        "file": path,
        "rows": rows.batch.rows,
        "seconds": seconds,
        "rejected": dict(rows.rejected),
    }


def _log_mistakes(path: str, schema: Schema, rows: Log) -> list[Wrong]:
    found = [f"column {name!r} is missing" for name in rows.absent if name in _judged(schema)]
    found += [f"{count} rows have no usable {reason}" for reason, count in rows.rejected.items()]
    for name, column in rows.batch.features.items():
        if isinstance(column, NumericColumn) and not column.valid.all() and tells_missing(schema, name):
            transform = schema.derived.get(origin(schema, name))
            what = f"vectors of {transform.size} numbers" if isinstance(transform, Embedding) else "numbers"
            found.append(f"{1 - column.valid.mean():.1%} of {origin(schema, name)!r} are no {what}")
    return [Wrong(("predictions",), f"{path}: {one}") for one in found]


def _judged(schema: Schema) -> set[str]:
    return {*(origin(schema, name) for name in schema.features), *schema.scores}


def _use_mistakes(model: Model, path: str, table: pa.Table) -> list[Wrong]:
    """Find columns of serving and business indicators that are not where they should be, or say nothing."""
    columns, known = model.columns, table.column_names
    found = []
    if columns.latency and columns.latency.column not in known:
        sentence = f"{path} has no column {columns.latency.column!r}{nearest(columns.latency.column, known)}"
        found.append(Wrong(("columns", "latency", "column"), sentence))
    if columns.error is not None and columns.error not in known:
        found.append(
            Wrong(("columns", "error"), f"{path} has no column {columns.error!r}{nearest(columns.error, known)}")
        )
    labelled, of_labels = _labels(model, path, table)
    for name in columns.outcomes:
        if name not in of_labels:
            sentence = f"{labelled} has no column {name!r}{nearest(name, of_labels)}"
            found.append(Wrong(("columns", "outcomes"), sentence))
    late = {columns.label, *columns.outcomes}
    for number, kpi in enumerate(model.business):
        for place, text in kpi.expressions.items():
            for name in [name for name in parse(text).columns if name not in late and name not in known]:
                mend = nearest(name, known)
                if name in of_labels:
                    mend = "; it comes with the label: name it in columns.outcomes"
                found.append(Wrong(("business", number, *place), f"{path} has no column {name!r}{mend}"))
    return found


def _labels(model: Model, path: str, table: pa.Table) -> tuple[str, list[str]]:
    """Return the newest file in which labels come, and its columns."""
    if model.labels is None:
        return path, table.column_names
    if model.labels.push is not None:
        return "what is sent", list(model.columns.outcomes)
    paths = files.paths(model.labels.files)
    if not paths:
        return ", ".join(model.labels.files), list(model.columns.outcomes)
    try:
        return paths[-1], files.read_all((paths[-1],)).column_names
    except (OSError, ValueError):
        return paths[-1], list(model.columns.outcomes)  # told where the labels are looked at


def _judgement(model: Model, baseline: Baseline, rows: Log) -> Report:
    """Evaluate the sample as if it were a window: series, and the smallest effects that can be told from chance."""
    vector = np.zeros(baseline.bins.size, np.int64)
    placed = baseline.bins.place_rows(rows.batch)
    if rows.batch.rows:
        add_into(vector, gather(placed, np.zeros(rows.batch.rows, np.int64), 1, baseline.bins.size)[0])
    evaluated = [
        drift,
        quality,
        performance,
        *([estimation] if model.performance.estimate else []),
        *([business] if model.business else []),
        *([serving] if model.serves else []),
    ]
    for part in ("outcome", "label", "delay", "ranking", "weight", "weighted"):  # as if its labels were known
        baseline.bins.part(vector, part)[:] = baseline.bins.part(baseline.vector, part)
    views = [View("1", window.name, 0, window.seconds, vector) for window in model.windows]
    series = sum(one(model, baseline, views).readings.series() for one in evaluated)
    seconds = (int(rows.timestamp.max()) - int(rows.timestamp.min())) / SECOND if rows.batch.rows else 0
    per_second = rows.batch.rows / seconds if seconds else 0.0
    expected = {window.name: round(per_second * window.seconds) for window in model.windows}
    return {
        "series_about": series,
        "rows_needed": {"drift": model.drift.min_rows, "performance": model.performance.min_rows},
        "rows_expected_per_window": expected,
        "learned": [*chain(*told(model, baseline.learned)), *reference_days.told(baseline.day_begins, model.timezone)],
        "thresholds": _thresholds(model, baseline, expected),
    }


def _thresholds(model: Model, baseline: Baseline, expected: dict[str, int]) -> list[Report]:
    """Return per window and method, in the score's unit: the lowest and the highest threshold in force over features.

    At the number of rows to be expected. blind: features that the method cannot judge in this window.
    """
    table = []
    for window, rows in expected.items():
        if rows < model.drift.min_rows:
            continue
        calibration = baseline.calibrations.get(window)
        limits: dict[str, list[float]] = {}
        blind: dict[str, list[str]] = {}
        for name, bins in baseline.bins.features.items():
            reference = sample(bins, baseline.bins.part(baseline.vector, f"feature:{name}"))
            if not reference.rows:
                continue
            current = Sample(np.maximum(reference.bins * rows // reference.rows, 0))
            current.rows = rows
            for method in model.drift.numeric if isinstance(bins, NumericBins) else model.drift.categorical:
                settings = model.drift.threshold
                found = in_force(f"feature:{name}", method, reference, current, settings, calibration)
                limits.setdefault(method, []).extend(list(found.values())[:1])
                if not found and settings.is_calibrated(method):
                    blind.setdefault(method, []).append(name)
        table += [
            {
                "window": window,
                "method": method,
                "lowest": min(found, default=None),
                "highest": max(found, default=None),
                "blind": blind.get(method, []),
            }
            for method, found in limits.items()
        ]
    return table


def _label_mistakes(model: Model, baseline: Baseline) -> list[Wrong]:
    table, path, found = _newest(model, "labels", baseline)
    if table is None:
        return found
    try:
        labels = read_labels(model, baseline.schema, table)
    except KeyError as error:
        return [*found, Wrong(("labels",), f"{path}: {error.args[0]}")]
    sentences = [f"{path}: {count} rows have no usable {reason}" for reason, count in labels.rejected.items()]
    return found + [Wrong(("labels",), one) for one in sentences]


def _delay_lines(found: Report | None) -> list[str]:
    if found is None:
        return []
    if found["seconds"] is None:
        return ["labels: how late they come is not known: each window counts as complete; give label_delay"]
    by = ", ".join(f"{name} {duration.show(seconds)}" for name, seconds in list(found["by_label"].items())[:5])
    lines = [f"labels: complete after {duration.show(found['seconds'])} (from the {found['from']})"]
    return lines + ([f"  99 % of the reference's labels were known after: {by}"] if by else [])


def _custom_mistakes(model: Model, baseline: Baseline) -> list[Wrong]:
    """Try the metrics of one's own on the reference."""
    found, outcomes = [], parts.outcomes(baseline.bins, baseline.vector)
    for name, own in model.performance.custom.items():
        if outcomes is None:
            break
        try:
            custom.value(own.function, outcomes)
        except ValueError as error:
            found.append(Wrong(("performance", "custom", name, "function"), str(error)))
    return found


def show(report: Report) -> list[str]:
    """Write a report for a person."""
    lines = [f"model {report['model']} ({report['task']}), buckets of {report['bucket_seconds']} s"]
    if "reference" in report:
        reference = report["reference"]
        lines.append(f"  reference {reference['hash']}: {reference['rows']} rows, {reference['labelled']} with a label")
        lines += [f"  performance without labels: {report['estimate']}"] if "estimate" in report else []
        if groups := report.get("groups"):
            also = f"{groups['irrelevant']} without a relevant row, {groups['incomplete']} incomplete"
            lines.append(f"  groups of ranked rows: {groups['groups']}; {also}; {groups['needed']} are needed")
        lines += [f"    {name}: {kind}" for name, kind in report["columns"].items()]
        lines += [f"    {name}: not monitored, {reason}" for name, reason in report["skipped"].items()]
    lines += [f"  {line}" for line in _delay_lines(report.get("label_delay"))]
    if "sample" in report:
        newest = report["sample"]
        lines.append(f"  newest file {newest['file']}: {newest['rows']} rows")
        for window, rows in report.get("rows_expected_per_window", {}).items():
            needed = report["rows_needed"]["drift"]
            verdict = "enough" if rows >= needed else f"too few, {needed} are needed: the window will be insufficient"
            lines.append(f"  window {window}: about {rows} rows expected, {verdict}")
        lines += [f"    {line}" for line in report.get("learned", [])]
        for row in report.get("thresholds", []):
            blind = f"; blind: {', '.join(row['blind'])}" if row["blind"] else ""
            above = f"counts above {row['lowest']:.4g} to {row['highest']:.4g}" if row["lowest"] else "never counts"
            lines.append(f"    {row['window']} {row['method']}: {above}, by feature{blind}")
        if "series_about" in report:
            lines.append(f"  about {report['series_about']} series")
    return lines
