"""The table of performance metrics: add a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from exporter.performance import classification as c
from exporter.performance import margins as m
from exporter.performance import probabilities as p
from exporter.performance import regression as r
from exporter.performance.intervals import Estimate, Interval


class Metric(NamedTuple):
    """A metric of a task; `scores` says that it needs probabilities, `default` that it is shown unasked.

    interval: its 95 % interval; None: not known.
    """

    value: Callable[[Any], float | None]
    interval: Callable[[Any], Interval | None] | None = None
    scores: bool = False
    default: bool = True


def _of_margins(formula: m.Formula, default: bool = False, low: float = 0.0) -> Metric:
    return Metric(partial(m.value, formula), partial(m.interval, formula, low=low), default=default)


METRICS: Mapping[str, Mapping[str, Metric]] = {
    "binary": {
        "accuracy": Metric(c.accuracy, c.accuracy_interval),
        "precision": Metric(c.precision, c.precision_interval),
        "recall": Metric(c.recall, c.recall_interval),
        "f1": Metric(c.f1, c.f1_interval),
        "roc_auc": Metric(c.roc_auc, c.roc_auc_interval, scores=True),
        "log_loss": Metric(c.log_loss, c.log_loss_interval, scores=True),
        "brier": Metric(c.brier, c.brier_interval, scores=True),
        "average_precision": Metric(c.average_precision, c.average_precision_interval, scores=True, default=False),
        "gini": Metric(c.gini, c.gini_interval, scores=True, default=False),
        "ks_statistic": Metric(c.ks_statistic, c.ks_statistic_interval, scores=True, default=False),
        "calibration_error": Metric(p.calibration_error, p.calibration_error_interval, scores=True, default=False),
        "brier_reliability": Metric(p.reliability, partial(p.interval, p.reliability_of), scores=True, default=False),
        "brier_resolution": Metric(p.resolution, partial(p.interval, p.resolution_of), scores=True, default=False),
        "brier_uncertainty": Metric(p.uncertainty, p.uncertainty_interval, scores=True, default=False),
        "balanced_accuracy": _of_margins(m.balanced_accuracy)._replace(value=c.balanced_accuracy),
        "specificity": Metric(c.specificity, c.specificity_interval, default=False),
        "negative_predictive_value": Metric(
            c.negative_predictive_value, c.negative_predictive_value_interval, default=False
        ),
        "mcc": _of_margins(m.matthews, low=-1.0),
        "kappa": _of_margins(m.kappa, low=-1.0)._replace(value=c.kappa),
    },
    "multiclass": {
        "accuracy": Metric(c.accuracy, c.accuracy_interval),
        "precision_macro": _of_margins(m.precision_macro, default=True),
        "recall_macro": _of_margins(m.recall_macro, default=True),
        "f1_macro": _of_margins(m.f1_macro, default=True),
        "roc_auc_ovr_macro": Metric(c.roc_auc_ovr_macro, c.roc_auc_ovr_macro_interval, scores=True),
        "log_loss": Metric(c.log_loss, c.log_loss_interval, scores=True),
        "brier": Metric(c.brier, c.brier_interval, scores=True, default=False),
        "calibration_error": Metric(p.calibration_error, p.calibration_error_interval, scores=True, default=False),
        "balanced_accuracy": _of_margins(m.balanced_accuracy)._replace(value=c.balanced_accuracy),
        "precision_micro": Metric(c.precision_micro, c.precision_micro_interval, default=False),
        "recall_micro": Metric(c.accuracy, c.accuracy_interval, default=False),
        "f1_micro": _of_margins(m.f1_micro),
        "precision_weighted": _of_margins(m.precision_weighted),
        "recall_weighted": Metric(c.accuracy, c.accuracy_interval, default=False),
        "f1_weighted": _of_margins(m.f1_weighted),
        "roc_auc_ovr_weighted": Metric(
            c.roc_auc_ovr_weighted, c.roc_auc_ovr_weighted_interval, scores=True, default=False
        ),
        "mcc": _of_margins(m.matthews, low=-1.0),
        "kappa": _of_margins(m.kappa, low=-1.0)._replace(value=c.kappa),
        **{
            f"top_{k}_accuracy": Metric(partial(c.top_k, k=k), partial(c.top_k_interval, k=k), True, False)
            for k in (2, 3, 5)
        },
    },
    "regression": {
        "mae": Metric(r.mae, r.mae_interval),
        "rmse": Metric(r.rmse, r.rmse_interval),
        "r2": Metric(r.r2, r.r2_interval),
        "mean_error": Metric(r.mean_error, r.mean_error_interval),
        "wape": Metric(r.wape, r.wape_interval),
        "smape": Metric(r.smape, r.smape_interval),
        "mse": Metric(r.mse, r.mse_interval, default=False),
    },
}
# Of one class of many against the rest, `recall:on_time`; `recall:*` stands for each.
PER_CLASS: Mapping[str, Callable[[int], Metric]] = {
    "precision": lambda n: Metric(partial(c.precision, number=n), partial(c.precision_interval, number=n)),
    "recall": lambda n: Metric(partial(c.recall, number=n), partial(c.recall_interval, number=n)),
    "f1": lambda n: Metric(partial(c.f1, number=n), partial(c.f1_interval, number=n)),
    "roc_auc": lambda n: Metric(partial(c.roc_auc, number=n), partial(c.roc_auc_interval, number=n), True),
}

LOWER_IS_BETTER = frozenset(
    {"log_loss", "brier", "calibration_error", "brier_reliability", "mae", "rmse", "mse", "wape", "smape"}
)
SIGNED = frozenset({"mean_error", "brier_uncertainty"})


def is_known(task: str, name: str) -> bool:
    """Return whether a task has a metric; of a class's own, whatever the class."""
    own, _, named = name.partition(":")
    return name in METRICS[task] or (task == "multiclass" and own in PER_CLASS and bool(named))


def chosen(task: str, wanted: Sequence[str] | None, classes: Sequence[str] = ()) -> dict[str, Metric]:
    """Return the wanted metrics by name (None: the task's default ones); unknown classes have none."""
    table, found = METRICS[task], dict[str, Metric]()
    for name in wanted if wanted is not None else [name for name, one in table.items() if one.default]:
        if name in table:
            found[name] = table[name]
            continue
        own, _, named = name.partition(":")
        numbers = [number for number, one in enumerate(classes) if named in (one, "*")]
        found |= {f"{own}:{classes[number]}": PER_CLASS[own](number) for number in numbers if own in PER_CLASS}
    return found


def scores(
    task: str, outcomes: Any, wanted: Sequence[str] | None, has_scores: bool, classes: Sequence[str] = ()
) -> dict[str, float | None]:
    """Return the wanted metrics (None: the task's default ones); None where a metric has no value."""
    return {
        name: one.value(outcomes) if has_scores or not one.scores else None
        for name, one in chosen(task, wanted, classes).items()
    }


def estimates(
    task: str, outcomes: Any, wanted: Sequence[str] | None, has_scores: bool, classes: Sequence[str] = ()
) -> dict[str, Estimate]:
    """Return the wanted metrics that have a value, each with its interval."""
    found = {}
    for name, one in chosen(task, wanted, classes).items():
        value = one.value(outcomes) if has_scores or not one.scores else None
        if value is not None:
            own = one.interval(outcomes) if one.interval is not None else None
            found[name] = Estimate(value, *(own or (None, None)))
    return found
