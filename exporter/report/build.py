"""One run's results -> the report as plain data (JSON). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from exporter.catalogue import FAMILIES
from exporter.problems import BAD, TITLES, UNKNOWN, WARNING, Key, Problem, Seen, find, rows
from exporter.readings import Reading, Readings
from exporter.report.advice import advise
from exporter.report.drift import Rows, by_impact, changed_signals, one_of, outputs, time_of
from exporter.segments import ALL
from exporter.settings import Model

RUNBOOK = "https://github.com/model-exporter/model-exporter/blob/main/docs/runbook.md"
_CHECKS = ("missing", "unseen", "out_of_range", "invalid")
_HEADLINES = {
    BAD: "Not healthy: what the model does, or what it is worth, is out of bounds.",
    WARNING: "Something has changed; performance is within its bounds as far as it is known.",
    UNKNOWN: "Not known: too little is known to call the model healthy.",
    "healthy": "Healthy: everything that is watched is known and within its bounds.",
}


class Facts(NamedTuple):
    """What a report is made of: a model's settings, one run's results, and what is remembered of earlier ones.

    at: Unix seconds. reference: hash of the baseline. errors: what tasks and sources said, by name.
    """

    model: Model
    at: float
    readings: Readings
    since: Mapping[Key, Seen]
    reference: str | None
    errors: Mapping[str, str]


def build(facts: Facts) -> dict[str, Any]:
    """Return the whole report of the version that most rows of the shortest window have."""
    model, every = facts.model, facts.readings
    counted = sorted(_of(every, "model_window_rows", dataset="current", segment=ALL), key=lambda one: -one["value"])
    shown = {one["model_version"]: None for one in rows(every, "model_info")}
    version = counted[0]["model_version"] if counted else next(iter(shown), "")
    readings = _of_version(every, version)
    problems = find(readings, facts.at)
    windows = [window.name for window in sorted(model.windows, key=lambda one: one.seconds)]
    report: dict[str, Any] = {
        "model": model.name,
        "version": version,
        "versions": list(shown),
        "task": model.task,
        "framework": model.framework,
        "at": time_of(facts.at),
        "reference": _reference(readings, facts.reference),
        "windows": [_window(readings, name) for name in windows],
        "health": _health(problems, facts, bool(counted)),
        "problems": [_problem(one, facts.since) for one in problems],
        "summary": _summary(problems, facts.since),
        "errors": dict(facts.errors),
        "performance": _performance(model, readings),
        "labels": _labels(readings, windows),
        "drift": by_impact(readings),
        "outputs": outputs(readings),
        "signals": changed_signals(readings),
        "quality": _quality(readings),
        "segments": _segments(readings),
        "kpis": _kpis(readings),
        "serving": _serving(readings),
    }
    report["changes"] = _changes(report)
    report["recommendations"] = [one | {"runbook": link(one["kind"])} for one in advise(report)]
    return report


def link(kind: str) -> str:
    """Return the address of a heading of the runbook."""
    return f"{RUNBOOK}#{kind.lower()}"


def _of(readings: Readings, family: str, **wanted: str) -> Rows:
    return list(rows(readings, family, **wanted))


def _of_version(readings: Readings, version: str) -> Readings:
    """Return the readings of one version, and those that have none."""
    own = Readings()
    for family, found in readings.items():
        names = [name for name in _labels_of(family) if name == "model_version"]
        place = _labels_of(family).index("model_version") if names else None
        kept: list[Reading] = [one for one in found if place is None or one.labels[place] == version]
        if kept:
            own[family] = kept
    return own


def _labels_of(family: str) -> tuple[str, ...]:
    return FAMILIES[family].labels


def _reference(readings: Readings, found: str | None) -> dict[str, Any]:
    newest = one_of(readings, "model_reference_timestamp_seconds")
    counted = [one["value"] for one in rows(readings, "model_window_rows", dataset="reference", segment=ALL)]
    return {"hash": found, "newest": time_of(newest) if newest else None, "rows": int(max(counted, default=0))}


def _window(readings: Readings, name: str) -> dict[str, Any]:
    start, end = (one_of(readings, f"model_window_{part}_timestamp_seconds", window=name) for part in ("start", "end"))
    counted = {
        one["dataset"]: int(one["value"]) for one in rows(readings, "model_window_rows", window=name, segment=ALL)
    }
    states = {one["task"]: one["state"] for one in rows(readings, "model_window_state", window=name) if one["value"]}
    return {
        "window": name,
        "start": time_of(start) if start is not None else None,
        "end": time_of(end) if end is not None else None,
        "rows": counted.get("current"),
        "labelled": counted.get("labelled"),
        "states": states,
    }


def _problem(one: Problem, since: Mapping[Key, Seen]) -> dict[str, Any]:
    seen = since.get(one.key)
    at = {"since": time_of(seen.at), "at_least": not seen.exact} if seen else {"since": None, "at_least": False}
    return {**one._asdict(), **at, "runbook": link(one.kind)}


def _summary(problems: Iterable[Problem], since: Mapping[Key, Seen]) -> Rows:
    """Return the problems of one kind and window as one row, since the earliest of them."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for one in problems:
        groups.setdefault((one.level, one.kind, one.window), []).append(one)
    found = []
    for (level, kind, window), own in groups.items():
        first = min((since[one.key] for one in own if one.key in since), default=None)
        found.append(
            {
                "level": level,
                "kind": kind,
                "window": window,
                "title": TITLES[kind],
                "subjects": list(dict.fromkeys(one.subject for one in own)),
                "texts": [one.text for one in own],
                "since": time_of(first.at) if first else None,
                "at_least": bool(first and not first.exact),
                "runbook": link(kind),
            }
        )
    return found


def _health(problems: Iterable[Problem], facts: Facts, any_rows: bool) -> dict[str, Any]:
    """Judge the whole: without rows, or without a reference, nothing is known."""
    found = list(problems)
    levels = {one.level for one in found}
    if not any_rows or facts.reference is None:
        levels.add(UNKNOWN)
    verdict = next((level for level in (BAD, WARNING, UNKNOWN) if level in levels), "healthy")
    own = [facts.since[one.key] for one in found if one.level == verdict and one.key in facts.since]
    first = min(own, default=None)
    return {
        "verdict": verdict,
        "headline": _HEADLINES[verdict],
        "since": time_of(first.at) if first else None,
        "at_least": bool(first and not first.exact),
        "also_unknown": verdict != UNKNOWN and UNKNOWN in levels,
    }


def _performance(model: Model, readings: Readings) -> Rows:
    own = "model_performance_score"
    keys = dict.fromkeys(
        (one["window"], one["metric"])
        for family in (own, "model_performance_estimated_score")
        for one in rows(readings, family, segment=ALL)
    )
    found = []
    for window, metric in keys:
        here = {"window": window, "metric": metric, "segment": ALL}
        estimated = {
            name: one_of(readings, f"model_performance_estimated_score{suffix}", **here)
            for name, suffix in (("estimated", ""), ("estimated_lower", "_lower"), ("estimated_upper", "_upper"))
        }
        bounds = {
            f"{side}_{one['severity']}": one["value"]
            for side in ("min", "max")
            for one in rows(readings, f"{own}_{side}", metric=metric)
        }
        degraded = one_of(readings, "model_performance_degraded", **here)
        found.append(
            {
                "window": window,
                "metric": metric,
                "better": "lower" if model.lower_is_better(metric) else "higher",
                "score": one_of(readings, own, **here),
                "lower": one_of(readings, f"{own}_lower", **here),
                "upper": one_of(readings, f"{own}_upper", **here),
                "baseline": one_of(readings, f"{own}_baseline", metric=metric, segment=ALL),
                "bounds": bounds,
                "degraded": None if degraded is None else bool(degraded),
                **estimated,
                "estimate_error": one_of(readings, "model_performance_estimate_error", window=window, metric=metric),
                "trend_per_day": one_of(readings, "model_performance_trend_per_day", metric=metric),
                "trend_p": one_of(readings, "model_performance_trend_p_value", metric=metric),
            }
        )
    return found


def _labels(readings: Readings, windows: list[str]) -> Rows:
    return [
        {
            "window": name,
            "coverage": one_of(readings, "model_labels_coverage_ratio", window=name),
            "mature_coverage": one_of(readings, "model_labels_mature_coverage_ratio", window=name),
            "delay": one_of(readings, "model_label_delay_seconds", window=name, q="0.9"),
            "delay_threshold": one_of(readings, "model_label_delay_threshold_seconds"),
        }
        for name in windows
    ]


def _quality(readings: Readings) -> Rows:
    """Return a row a feature, window and check: those out of bounds first."""
    found = []
    for check in _CHECKS:
        for one in rows(readings, f"model_feature_{check}_ratio", segment=ALL):
            here = {"window": one["window"], "feature": one["feature"], "segment": ALL}
            bound = one_of(readings, f"model_feature_{check}_threshold_ratio", **here)
            own = {"feature": one["feature"], "window": one["window"], "check": check}
            bad = None if bound is None else one["value"] > bound
            found.append({**own, "share": one["value"], "bound": bound, "bad": bad})
    return sorted(found, key=lambda one: (not one["bad"], -one["share"]))


def _segments(readings: Readings) -> Rows:
    found = []
    for one in rows(readings, "model_segment_state"):
        if not one["value"] or one["segment"] == ALL:
            continue
        here = {"window": one["window"], "segment": one["segment"]}
        scores = {row["metric"]: row["value"] for row in rows(readings, "model_performance_score", **here)}
        worse = [row["metric"] for row in rows(readings, "model_performance_degraded", **here) if row["value"]]
        found.append(
            {
                **here,
                "state": one["state"],
                "rows": one_of(readings, "model_window_rows", dataset="current", **here),
                "severity": one_of(readings, "model_segment_drift_score", **here),
                "scores": scores,
                "degraded": worse,
                "worst_by": [row["by"] for row in rows(readings, "model_segment_worst_info", **here)],
            }
        )
    return sorted(found, key=lambda one: -(one["severity"] or 0.0))


def _kpis(readings: Readings) -> Rows:
    found = []
    for one in rows(readings, "model_business_kpi_value", segment=ALL):
        here = {"kpi": one["kpi"], "window": one["window"], "segment": ALL}
        bounds = {
            f"{side}_{row['severity']}": row["value"]
            for side in ("min", "max")
            for row in rows(readings, f"model_business_kpi_{side}", kpi=one["kpi"])
        }
        lower, upper = (one_of(readings, f"model_business_kpi_value_{end}", **here) for end in ("lower", "upper"))
        own = {"kpi": one["kpi"], "window": one["window"], "unit": one["unit"], "value": one["value"]}
        found.append({**own, "lower": lower, "upper": upper, "bounds": bounds})
    return found


def _serving(readings: Readings) -> Rows:
    found = []
    for one in rows(readings, "model_serving_requests_per_second"):
        window = one["window"]
        latency = {
            row["quantile"]: row["value"] for row in rows(readings, "model_serving_latency_seconds", window=window)
        }
        errors = one_of(readings, "model_serving_errors_ratio", window=window)
        found.append({"window": window, "requests_per_second": one["value"], "errors": errors, "latency": latency})
    return found


def _changes(report: Mapping[str, Any]) -> Rows:
    """Return what is known to have changed, and when."""
    found = [
        {"at": one["since"], "what": f"daily {one['signal']} changed ({', '.join(one['methods'])})"}
        for one in report["signals"]
    ]
    found += [
        {"at": one["since"], "what": one["text"] + (f" ({one['window']})" if one["window"] else "")}
        for one in report["problems"]
        if one["since"] and not one["at_least"] and one["level"] != UNKNOWN
    ]
    found += [
        {"at": None, "what": f"segment {one['segment']} has {one['state']} ({one['window']})"}
        for one in report["segments"]
        if one["state"] in {"appeared", "vanished"}
    ]
    if len(report["versions"]) > 1:
        found.append({"at": None, "what": f"versions in the windows: {', '.join(report['versions'])}"})
    return sorted(found, key=lambda one: one["at"] or "", reverse=True)
