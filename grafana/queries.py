"""PromQL that more than one panel asks for.

Raw series, so that the dashboards also work where the recording rules are not loaded; only what is usual (bands over
weeks) is recorded. Replicas of one
exporter show the same values: every query takes the maximum by the labels it names, so a pair draws one line.
"""

from __future__ import annotations

_LEVELS: dict[str, tuple[str, ...]] = {
    "exporter": (),
    "instance": ("instance",),
    "model": ("model",),
    "version": ("model", "model_version"),
    "window": ("model", "model_version", "window"),
    "slice": ("model", "model_version", "window", "segment"),
}
_VARIABLES = {"instance": "$instance", "model": "$model", "model_version": "$version", "window": "$window"}
_VERSION = "model, model_version"

STATES = (
    "Healthy",
    "Too few rows",
    "Drift",
    "Bad values",
    "Performance low",
    "No fresh rows",
    "No fresh results",
    "Task failed",
)
"""What `state` answers, by number: the worst is the highest."""
HEALTHY, FEW, DRIFTED, BAD, LOW, LATE, STALE, FAILED = range(len(STATES))

_USUAL = "=~roc_auc|roc_auc_ovr_macro|mae"

CHECKS = {"missing": "missing", "unseen": "unseen", "out_of_range": "out of range", "invalid": "invalid"}
"""Data quality checks: part of the series name, and the words for it."""


BASELINES = ("previous", "week_ago")
"""Earlier windows that are compared against, beside the reference."""

SEGMENT_STATES = ("insufficient", "ok", "appeared", "vanished")
"""What can become of a segment; what is gone or new is worse than any drift, too few rows tell nothing."""


def pick(name: str, level: str, many: bool = False, **labels: str) -> str:
    """Select `name` by the dashboard's variables, down to `level` of the label scheme.

    `many`: the variables hold several values. `labels`: more matchers, `=` unless the value starts otherwise.
    """
    matchers = ['job=~"$job"']
    for label in _LEVELS[level]:
        if label in labels:
            continue
        if label == "segment":
            matchers.append('segment="all"')
        else:
            several = label == "instance" or (many and label != "window")
            matchers.append(f'{label}{"=~" if several else "="}"{_VARIABLES[label]}"')
    return f"{name}{{{', '.join([*matchers, *_matchers(labels)])}}}"


def _matchers(labels: dict[str, str]) -> list[str]:
    """Write label matchers: `=` unless the value starts with another operator."""
    made = []
    for label, value in labels.items():
        operator = next((each for each in ("=~", "!~", "!=") if value.startswith(each)), "")
        made.append(f'{label}{operator or "="}"{value[len(operator) :]}"')
    return made


def top(by: str, expr: str) -> str:
    """Take the largest value for each combination of the labels `by`."""
    return f"max by ({by}) ({expr})"


def low(by: str, expr: str) -> str:
    """Take the smallest value for each combination of the labels `by`."""
    return f"min by ({by}) ({expr})"


def drift_per_threshold(what: str, labels: str, many: bool = False, **matchers: str) -> str:
    """Divide the scores of `what` (feature, prediction, label) by the lowest threshold in force."""
    by = f"{_VERSION}, window, {labels}"
    score = pick(f"model_{what}_drift_score", "slice" if what == "feature" else "window", many, **matchers)
    threshold = pick(f"model_{what}_drift_threshold", "slice" if what == "feature" else "window", many, **matchers)
    return f"{top(by, score)} / {low(by, threshold)}"


def worst(expr: str, most: int) -> str:
    """Take the series of `expr` that are the highest in the time range at any moment; the same at every moment."""
    return f"topk({most}, max_over_time(({expr})[$__range:$__rate_interval] @ end()))"


def moving_per_threshold(labels: str, baseline: str, **matchers: str) -> str:
    """Divide the features' scores against an earlier window by the lowest threshold in force."""
    score, threshold = (
        pick(f"model_feature_moving_drift_{kind}", "window", baseline=baseline, **matchers)
        for kind in ("score", "threshold")
    )
    by = f"{_VERSION}, window, {labels}"
    return f"{top(by, score)} / {low(by, threshold)}"


def score(many: bool = False, **matchers: str) -> str:
    """Realised performance of the whole model, by metric."""
    return top(f"{_VERSION}, metric", pick("model_performance_score", "slice", many, **matchers))


def floor(many: bool = False, **matchers: str) -> str:
    """The strictest lower bound in force, by model and metric."""
    return top("model, metric", pick("model_performance_score_min", "model", many, **matchers))


def ceiling(many: bool = False, **matchers: str) -> str:
    """The strictest upper bound in force, by model and metric."""
    return low("model, metric", pick("model_performance_score_max", "model", many, **matchers))


def margin(many: bool = False) -> str:
    """Performance over its bound, turned so that below 1 is beyond it whatever the metric's direction."""
    join = "on (model, metric) group_left ()"
    return f"({score(many)} / {join} {floor(many)}) or 1 / ({score(many)} / {join} {ceiling(many)})"


def estimated(many: bool = False, end: str = "", **matchers: str) -> str:
    """Performance estimated without labels, by metric; `end`: `_lower` or `_upper` of its interval."""
    return top(f"{_VERSION}, metric", pick(f"model_performance_estimated_score{end}", "slice", many, **matchers))


def headline_score(many: bool = False) -> str:
    """The score of the metric closest to its bound; without bounds ROC AUC or the mean absolute error."""
    closest = f"bottomk by ({_VERSION}) (1, {margin(many)})"
    return f"({score(many)} and on ({_VERSION}, metric) {closest}) or on ({_VERSION}) {score(many, metric=_USUAL)}"


def headline_estimate(many: bool = False) -> str:
    """What the metric of `headline_score` is estimated to be; without labels ROC AUC or the mean absolute error."""
    usual = estimated(many, metric=_USUAL)
    same = f"{estimated(many)} and on ({_VERSION}, metric) ({headline_score(many)})"
    return f"({same}) or on ({_VERSION}) ({usual} unless on ({_VERSION}) {score(many)})"


def headline_bound(many: bool = False) -> str:
    """The bound in force on the metric of `headline_score`."""
    return f"0 * ({headline_score(many)}) + on (model, metric) group_left () ({floor(many)} or {ceiling(many)})"


def headline_baseline(many: bool = False) -> str:
    """What the metric of `headline_score`, or of `headline_estimate`, was on the reference."""
    baseline = top(f"{_VERSION}, metric", pick("model_performance_score_baseline", "version", many, segment="all"))
    return f"{baseline} and on ({_VERSION}, metric) ({headline_score(many)} or {headline_estimate(many)})"


def beyond_bound(many: bool = False) -> str:
    """Every metric beyond its bound, once for each exporter that shows it: for those who count or fold them."""
    join, shown = "on (model, metric) group_left ()", pick("model_performance_score", "slice", many)
    return f"{shown} < {join} {floor(many)} or {shown} > {join} {ceiling(many)}"


def drifted(many: bool = False) -> str:
    """1 where any verdict of a model says drift: a feature's, the prediction's or the label's."""
    verdicts = (
        f"({pick('model_drifted_features_ratio', 'slice', many)} > bool 0)",
        pick("model_prediction_drift_detected", "window", many),
        pick("model_label_drift_detected", "window", many),
    )
    return top(_VERSION, " or ".join(verdicts))


def newest_row_age(by: str, many: bool = False) -> str:
    """The age of the newest row when it was told; it does not grow between tellings, which may be far apart."""
    told = pick("model_newest_row_timestamp_seconds", "version", many)
    return low(by, f"timestamp({told}) - {told}")


def late(many: bool = False) -> str:
    """Every model version whose model got no new row for longer than allowed."""
    age = newest_row_age("model", many)
    allowed = top("model", pick("model_data_delay_threshold_seconds", "model", many))
    info = top(_VERSION, pick("model_info", "version", many))
    return f"{info} * on (model) group_left () ({age} > {allowed})"


def bad_values(many: bool = False) -> str:
    """Every model version with a data quality check above its bound."""
    return f"{top(_VERSION, pick('model_quality_checks_failed', 'window', many))} > 0"


def worst_drift(many: bool = False) -> str:
    """The largest drift score of any feature over its threshold in force."""
    return top(_VERSION, pick("model_segment_drift_score", "slice", many))


def window_state(many: bool = False) -> str:
    """The number of the state that each task's result is in."""
    numbers = {"failed": FAILED, "stale": STALE, "insufficient": FEW, "immature": FEW, "ok": HEALTHY}
    parts = (f"{pick('model_window_state', 'window', many, state=name)} * {at}" for name, at in numbers.items())
    return " or ".join(parts)


def state(many: bool = False) -> str:
    """The worst thing to say about each model version, as a number into `STATES`; without any result, that."""

    def task(states: str) -> str:
        return f"{top(_VERSION, pick('model_window_state', 'window', many, state=states))} == 1"

    # `or` keeps the left of two with the same labels: the worst first. One series a version from the start, as this is
    # asked for every model at every moment.
    worst_first = (
        (FAILED, task("failed")),
        (STALE, task("stale")),
        (LATE, late(many)),
        (LOW, f"count by ({_VERSION}) ({beyond_bound(many)})"),
        (BAD, bad_values(many)),
        (DRIFTED, f"{drifted(many)} == 1"),
        (FEW, task("=~insufficient|immature")),
        (HEALTHY, task("ok")),
        (STALE, top(_VERSION, pick("model_info", "version", many))),
    )
    return "(" + " or ".join(f"0 * ({expr}) + {number}" for number, expr in worst_first) + ")"


def alerts(name: str = "ALERTS", **labels: str) -> str:
    """Alerts of this project on the chosen models, and on the exporter itself (those have no model)."""
    matchers = _matchers({"alertname": "=~Model.+", "model": "=~$model|", **labels})
    return f"{name}{{{', '.join(matchers)}}}"


def firing(severities: str) -> str:
    """How many alerts fire; nothing where the always firing Watchdog does not, for then no rule is looked at."""
    shown = alerts(alertstate="firing", severity=f"=~{severities}")
    return f'count({shown}) or 0 * count(ALERTS{{alertname="Watchdog", alertstate="firing"}})'


def quality(kind: str) -> str:
    """Every data quality check of the chosen model by feature: `kind` is `ratio` or `threshold_ratio`."""
    shares = {words: top("feature", pick(f"model_feature_{check}_{kind}", "slice")) for check, words in CHECKS.items()}
    return " or ".join(f'label_replace({expr}, "check", "{words}", "", "")' for words, expr in shares.items())


def quality_of_bound() -> str:
    """Every data quality check of the chosen model by feature, divided by its bound; a blind one is left out."""
    return f"({quality('ratio')}) / on (feature, check) ({quality('threshold_ratio')})"


def quality_blind() -> str:
    """The share of bad values of each feature and check that has no bound in force."""
    return f"({quality('ratio')}) unless on (feature, check) ({quality('threshold_ratio')})"


def segment_state() -> str:
    """The number of what became of each segment; see `SEGMENT_STATES`."""
    parts = (
        f"({pick('model_segment_state', 'window', state=name)} == 1) * {number}"
        for number, name in enumerate(SEGMENT_STATES)
    )
    return top("segment", " or ".join(parts))


def per_threshold_against() -> dict[str, str]:
    """Each feature's largest score over its threshold: against the reference, and against earlier windows."""
    static = f"max by (feature) ({drift_per_threshold('feature', 'feature, method')})"
    moving = {
        baseline: f"max by (feature) ({moving_per_threshold('feature, method', baseline)})" for baseline in BASELINES
    }
    return {"reference": static, **moving}


def season() -> str:
    """What each feature differs from: 4 for the reference, 2 for the window before, 1 for the same a week ago."""
    static, previous, week_ago = per_threshold_against().values()
    # A window of a week has no window of a week ago but the one before.
    return f"4 * ({static} > bool 1) + 2 * ({previous} > bool 1) + (({week_ago} or {previous}) > bool 1)"


def of_exporter(name: str, kind: str = "max") -> str:
    """Take a series of the chosen exporters, each by itself."""
    return f"{kind} by (instance) ({pick(name, 'instance')})"


def task_lateness(many: bool) -> str:
    """Time since each task's last success, or since the exporter started, divided by its interval."""
    success = top("model, task", pick("model_task_last_success_timestamp_seconds", "model", many))
    interval = top("model, task", pick("model_task_interval_seconds", "model", many))
    start = f"max({pick('process_start_time_seconds', 'exporter')})"
    return f"(time() - ({success} > 0 or 0 * {success} + on () group_left () {start})) / {interval}"


def versions() -> str:
    """Which versions of the chosen model have rows in the window: 1, else 0."""
    rows = pick("model_window_rows", "slice", model_version="=~.+", dataset="current")
    return top("model_version", f"{rows} > bool 0")
