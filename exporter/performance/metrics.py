"""The table of performance metrics: add a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from exporter.performance import classification as c
from exporter.performance import regression as r


class Metric(NamedTuple):
    """A metric of a task; `scores` says that it needs probabilities, `default` that it is shown unasked."""

    value: Callable[[Any], float | None]
    scores: bool = False
    default: bool = True


METRICS: Mapping[str, Mapping[str, Metric]] = {
    "binary": {
        "accuracy": Metric(c.accuracy),
        "precision": Metric(c.precision),
        "recall": Metric(c.recall),
        "f1": Metric(c.f1),
        "roc_auc": Metric(c.roc_auc, scores=True),
        "log_loss": Metric(c.log_loss, scores=True),
        "brier": Metric(c.brier, scores=True),
        "average_precision": Metric(c.average_precision, scores=True, default=False),
        "balanced_accuracy": Metric(c.balanced_accuracy, default=False),
        "specificity": Metric(c.specificity, default=False),
        "mcc": Metric(c.matthews, default=False),
    },
    "multiclass": {
        "accuracy": Metric(c.accuracy),
        "precision_macro": Metric(c.precision_macro),
        "recall_macro": Metric(c.recall_macro),
        "f1_macro": Metric(c.f1_macro),
        "roc_auc_ovr_macro": Metric(c.roc_auc_ovr_macro, scores=True),
        "log_loss": Metric(c.log_loss, scores=True),
        "brier": Metric(c.brier, scores=True, default=False),
        "balanced_accuracy": Metric(c.balanced_accuracy, default=False),
        "f1_weighted": Metric(c.f1_weighted, default=False),
        "mcc": Metric(c.matthews, default=False),
    },
    "regression": {
        "mae": Metric(r.mae),
        "rmse": Metric(r.rmse),
        "r2": Metric(r.r2),
        "mean_error": Metric(r.mean_error),
        "wape": Metric(r.wape),
        "smape": Metric(r.smape),
    },
}

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse", "wape", "smape"})
SIGNED = frozenset({"mean_error"})


def scores(task: str, outcomes: Any, wanted: tuple[str, ...] | None, has_scores: bool) -> dict[str, float | None]:
    """Return the wanted metrics (None: the task's default ones); None where a metric has no value."""
    table = METRICS[task]
    names = wanted if wanted is not None else tuple(name for name, m in table.items() if m.default)
    return {name: table[name].value(outcomes) if has_scores or not table[name].scores else None for name in names}
