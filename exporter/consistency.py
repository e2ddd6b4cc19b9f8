"""What the sections of one model's settings must agree on, and what of them this version does not act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from exporter import duration
from exporter.fields import nearest
from exporter.performance import ranking
from exporter.performance.metrics import METRICS, SIGNED, is_known
from exporter.retrain.settings import ALERTS
from exporter.settings import Config, Model

Place = tuple[str | int, ...]


class Conflict(NamedTuple):
    """Settings that do not fit together. place: the one to change. reads: the others that it depends on."""

    place: Place
    message: str
    reads: tuple[Place, ...] = ()


def conflicts(model: Model) -> list[Conflict]:
    """Return everything in a model's settings that cannot hold together."""
    checks = (_windows, _pushed, _in_a_cluster, _columns, _metrics, _business, _serving, _retrain)
    return [found for check in checks for found in check(model)]


def _windows(model: Model) -> Iterator[Conflict]:
    bucket, names = model.bucket_seconds, [window.name for window in model.windows]
    for number, window in enumerate(model.windows):
        place: Place = ("windows", number)
        if window.name in names[:number]:
            yield Conflict(place, f"{window.name} stands here a second time")
        elif window.seconds % bucket:
            sentence = f"{window.name} is not a multiple of the bucket of {duration.show(bucket)}"
            yield Conflict(place, f"{sentence}: change bucket or the window", (("bucket",),))
    for name, feature in (model.columns.features or {}).items():
        for number, window_name in enumerate(feature.windows or ()):
            if window_name not in names:
                place = ("columns", "features", name, "windows", number)
                yield Conflict(place, f"{window_name!r} is none of windows: {', '.join(names)}", (("windows",),))


def _columns(model: Model) -> Iterator[Conflict]:
    columns, score = model.columns, ("columns", "score")
    if model.labels is not None and columns.id is None:
        message = "name the id column: a labels file is joined to the predictions by it"
        yield Conflict(("columns", "id"), message, (("labels",),))
    if model.labels is not None and columns.label is None:
        yield Conflict(("columns", "label"), "name the label column of the labels file", (("labels",),))
    if model.task == "multiclass" and isinstance(columns.score, str):
        yield Conflict(score, "a multiclass model has a score per class: write {class: column}", (("task",),))
    if model.task == "binary" and isinstance(columns.score, dict):
        message = "a binary model has one score: name the column of the positive class's probability"
        yield Conflict(score, message, (("task",),))
    if model.task == "regression" and columns.score is not None:
        yield Conflict(score, "a regression model has no score: leave it out", (("task",),))
    if columns.group is not None:
        yield from _group(model)
    if columns.weight is not None:
        yield from _weight(model)


def _weight(model: Model) -> Iterator[Conflict]:
    columns, place = model.columns, ("columns", "weight")
    if columns.label is None:
        yield Conflict(place, "weights are of labelled rows: name columns.label", (("columns", "label"),))
    if columns.group is not None:
        yield Conflict(
            place, "metrics of groups count each group alike: leave out weight or group", (("columns", "group"),)
        )
    if model.performance.estimate:
        message = "performance without labels counts each row alike: leave out weight or performance.estimate"
        yield Conflict(place, message, (("performance", "estimate"),))


def _group(model: Model) -> Iterator[Conflict]:
    columns, place = model.columns, ("columns", "group")
    if model.task == "multiclass":
        message = "rows are ranked by one number: make it a binary model, or a regression of the relevance"
        yield Conflict(place, message, (("task",),))
    elif model.task == "binary" and columns.score is None:
        yield Conflict(place, "rows are ranked by their score: name columns.score", (("columns", "score"),))
    if columns.id is None:
        message = "name columns.id: a group's rows are found again by it when their labels come"
        yield Conflict(place, message, (("columns", "id"),))
    if columns.label is None:
        yield Conflict(place, "rankings are judged by labels: name columns.label", (("columns", "label"),))


def _pushed(model: Model) -> Iterator[Conflict]:
    if model.reference.push is not None:
        yield Conflict(("reference", "push"), "a reference is files: rows that are sent become predictions or labels")
    for source in ("predictions", "labels"):
        spec = getattr(model, source)
        if spec is not None and spec.push is not None and model.columns.id is None:
            sentence = "rows that are sent may come twice, and are told apart by their id: name columns.id"
            yield Conflict((source, "push"), sentence, (("columns", "id"),))


def _in_a_cluster(model: Model) -> Iterator[Conflict]:
    """Name what counts of a cluster cannot tell: there is no ledger of single rows."""
    if model.labels is not None and model.labels.spark is not None:
        sentence = "labels in a cluster are joined there: make them columns of predictions, with sql: SELECT ... JOIN"
        yield Conflict(("labels",), f"{sentence}, and leave labels out")
    if model.reference.spark is not None and model.reference.spark.reader != "auto":
        sentence = "a reference is read by Spark, and into memory: reader is of predictions only"
        yield Conflict(("reference", "spark", "reader"), sentence)
    if model.predictions.spark is None:
        return
    reads: tuple[Place, ...] = (("predictions",),)
    if model.labels is not None and model.labels.spark is None:
        sentence = "predictions in a cluster bring their labels as columns: join them there, with sql: SELECT ... JOIN"
        yield Conflict(("labels",), f"{sentence}, and leave labels out", reads)
    without = "which a spark source does not bring back"
    if model.columns.group is not None:
        yield Conflict(("columns", "group"), f"rankings need single rows, {without}: leave it out", reads)
    if model.drift.multivariate:
        sentence = f"whole rows are compared by samples, {without}: write multivariate: []"
        yield Conflict(("drift", "multivariate"), sentence, reads)
    for name, own in (model.columns.features or {}).items():
        if own.type == "embedding":
            sentence = f"vectors are compared by samples, {without}: name it in columns.ignore"
            yield Conflict(("columns", "features", name), sentence, reads)
    if model.lateness is not None:
        sentence = "rows of a table have no order of arrival: leave lateness out, or filter late rows with sql"
        yield Conflict(("lateness",), sentence, reads)


def _metrics(model: Model) -> Iterator[Conflict]:
    reads: tuple[Place, ...] = (("task",),)
    known = [*METRICS[model.task], *(ranking.KNOWN if model.columns.group is not None else ())]
    named: list[tuple[Place, str]] = [
        *((("performance", "metrics", i), name) for i, name in enumerate(model.performance.metrics or ())),
        *((("performance", "threshold", name), name) for name in model.performance.threshold),
    ]
    for place, name in named:
        if ranking.is_known(name):
            if model.columns.group is None:
                yield Conflict(place, f"{name} is of groups of rows: name columns.group", (("columns", "group"),))
        elif not is_known(model.task, name) and name not in model.performance.custom:
            sentence = f"unknown metric {name!r} for a {model.task} model"
            yield Conflict(place, f"{sentence}{nearest(name, known)}", reads)
    if model.performance.estimate:
        yield from _estimate(model)
    for name in model.performance.custom:
        if is_known(model.task, name) or ranking.is_known(name) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            sentence = f"{name!r} cannot name a metric of one's own: lower case, and none of the task's own names"
            yield Conflict(("performance", "custom", name), sentence, reads)
    for name, limit in model.performance.threshold.items():
        place = ("performance", "threshold", name)
        if model.lower_is_better(name) and limit.min is not None:
            yield Conflict((*place, "min"), f"of {name} lower is better: bound it by max or drop")
        known_name = is_known(model.task, name) or ranking.is_known(name) or name in model.performance.custom
        if known_name and not (model.lower_is_better(name) or name in SIGNED) and limit.max is not None:
            yield Conflict((*place, "max"), f"of {name} higher is better: bound it by min or drop")


def _estimate(model: Model) -> Iterator[Conflict]:
    place: Place = ("performance", "estimate")
    if model.columns.label is None:
        message = "performance is estimated from the reference's labels: name columns.label"
        yield Conflict(place, message, (("columns", "label"),))
    if model.task != "regression" and model.columns.score is None:
        message = "a classifier's performance is estimated from its probabilities: name columns.score"
        yield Conflict(place, message, (("columns", "score"), ("task",)))


def _business(model: Model) -> Iterator[Conflict]:
    names = [kpi.name for kpi in model.business]
    for number, kpi in enumerate(model.business):
        place: Place = ("business", number)
        if kpi.name in names[:number]:
            yield Conflict((*place, "name"), f"{kpi.name} stands here a second time")
        for index, window in enumerate(kpi.windows or ()):
            if window not in [own.name for own in model.windows]:
                known = ", ".join(own.name for own in model.windows)
                yield Conflict((*place, "windows", index), f"{window!r} is none of windows: {known}", (("windows",),))
        if kpi.value_matrix is not None:
            matrix = (*place, "value_matrix")
            if model.task == "regression":
                yield Conflict(matrix, "a regression model has no classes: write a sum over label", (("task",),))
            elif model.columns.label is None:
                yield Conflict(matrix, "name the label column: columns.label", (("columns", "label"),))
            elif model.task == "binary" and len(kpi.value_matrix) != 2:
                sentence = "a binary model has two classes: give [[a, b], [c, d]]"
                yield Conflict(matrix, f"{sentence}, a row an actual class, the positive one last", (("task",),))
    outcomes = model.columns.outcomes
    if outcomes and model.columns.label is None:
        yield Conflict(("columns", "outcomes"), "they come with the label: name it in columns.label")


def _serving(model: Model) -> Iterator[Conflict]:
    names = model.serving.names
    for name in model.serving.threshold:
        place: Place = ("serving", "threshold", name)
        if name not in names and name != "error_ratio":
            known = [*names, "error_ratio"]
            sentence = f"unknown bound {name!r}{nearest(name, known)}"
            yield Conflict(place, sentence, (("serving", "latency_quantiles"),))
        elif name == "error_ratio" and model.columns.error is None:
            yield Conflict(place, "name the column that says whether a request failed: columns.error")
        elif name != "error_ratio" and model.columns.latency is None:
            yield Conflict(place, "name the column of the latency: columns.latency: {column: ..., unit: ms}")


def _retrain(model: Model) -> Iterator[Conflict]:
    own, place = model.retrain, ("retrain", "mode")
    if own is None or own.mode == "off":
        return
    if own.when is None:
        yield Conflict(place, f"mode {own.mode} listens to alerts: name them, when: {{alerts: [ModelPerformanceLow]}}")
        return
    if own.mode in {"approve", "automatic"} and own.action is None:
        message = f"mode {own.mode} needs an action: http: {{url: ...}} or command: [...]; or write mode: dry_run"
        yield Conflict(place, message, (("retrain", "action"),))
    if own.outcome == "exit" and own.action is not None and own.action.command is None:
        message = "only a command exits: write callback, or none where nobody reports"
        yield Conflict(("retrain", "outcome"), message, (("retrain", "action"),))
    if own.when.min_labels and model.columns.label is None:
        message = "the model has no labels: name columns.label, or leave min_labels out"
        yield Conflict(("retrain", "when", "min_labels"), message, (("columns", "label"),))
    for number, name in enumerate(own.when.alerts):
        slip = name not in ALERTS and difflib.get_close_matches(name, ALERTS, 1, 0.85)
        if slip:
            yield Conflict(("retrain", "when", "alerts", number), f"no alert is called {name}; did you mean {slip[0]}?")


def not_computed(config: Config) -> list[str]:
    """Name each setting that this version reads but does not act on, so that nobody takes its silence for health."""
    return [f"sinks.{name}" for name in config.sinks]
