"""Drift as the report shows it: by impact, the first features with their distributions. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from exporter.problems import rows
from exporter.readings import Readings
from exporter.segments import ALL

Rows = list[dict[str, Any]]
_MOST_PICTURES = 8


def time_of(moment: float) -> str:
    """Write Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def one_of(readings: Readings, family: str, **wanted: str) -> float | None:
    """Return the only reading with these labels, None where there is none."""
    return next((float(one["value"]) for one in rows(readings, family, **wanted)), None)


def by_impact(readings: Readings) -> Rows:
    """Return a row a feature and window, by impact; the first ones with their distribution."""
    found = []
    moving = list(rows(readings, "model_feature_moving_drift_detected"))
    for one in _worst(readings, "model_feature_drift", "feature", segment=ALL):
        here = {"window": one["window"], "feature": one["feature"]}
        own = [row for row in moving if all(row[name] == value for name, value in here.items())]
        found.append(
            one
            | {
                "impact": one_of(readings, "model_feature_drift_impact", **here),
                "importance": one_of(readings, "model_feature_importance_ratio", feature=one["feature"]),
                "earlier": {row["baseline"]: bool(row["value"]) for row in own},
                "goes_with_performance": one_of(
                    readings, "model_feature_drift_performance_correlation", feature=one["feature"]
                ),
                "mean": {row["dataset"]: row["value"] for row in rows(readings, "model_feature_mean", **here)},
                "bins": [],
            }
        )
    found.sort(key=lambda one: (not one["detected"], -(one["impact"] or 0.0), -(one["severity"] or 0.0)))
    pictured: set[str] = set()
    for one in found:
        if len(pictured) < _MOST_PICTURES and one["feature"] not in pictured:
            pictured.add(one["feature"])
            one["bins"] = _bins(readings, one["window"], one["feature"])
    return found


def _worst(readings: Readings, family: str, name: str, **wanted: str) -> Rows:
    """Return of each subject and window the method that is furthest over its threshold; None: blind, no verdict."""
    detected = {
        (one["window"], one.get(name)): bool(one["value"]) for one in rows(readings, f"{family}_detected", **wanted)
    }
    limits = {
        (one["window"], one.get(name), one["method"]): one["value"]
        for one in rows(readings, f"{family}_threshold", **wanted, severity="warning")
    }
    best: dict[tuple[str, Any], dict[str, Any]] = {}
    for one in rows(readings, f"{family}_score", **wanted):
        key = (one["window"], one.get(name))
        limit = limits.get((*key, one["method"]))
        severity = one["value"] / limit if limit else None
        row = {
            name: key[1],
            "window": key[0],
            "detected": detected.get(key),
            "method": one["method"],
            "score": one["value"],
            "threshold": limit,
            "severity": severity,
        }
        if key not in best or (severity or -math.inf) > (best[key]["severity"] or -math.inf):
            best[key] = row
    return list(best.values())


def _bins(readings: Readings, window: str, feature: str) -> list[list[Any]]:
    shares: dict[str, dict[str, float]] = {}
    for one in rows(readings, "model_feature_bin_ratio", window=window, feature=feature):
        shares.setdefault(one["bin"], {})[one["dataset"]] = one["value"]
    return [[name, own.get("reference"), own.get("current")] for name, own in shares.items()]


def outputs(readings: Readings) -> Rows:
    found = _worst(readings, "model_prediction_drift", "output")
    found += [one | {"output": "label"} for one in _worst(readings, "model_label_drift", "label")]
    found += [one | {"output": "whole rows"} for one in _worst(readings, "model_multivariate_drift", "whole rows")]
    return found


def changed_signals(readings: Readings) -> Rows:
    """Return the daily signals that have changed, the earliest first."""
    found: dict[str, dict[str, Any]] = {}
    for one in rows(readings, "model_sequential_drift_start_timestamp_seconds"):
        own = found.setdefault(one["signal"], {"signal": one["signal"], "since": one["value"], "methods": []})
        own["since"] = min(own["since"], one["value"])
        own["methods"].append(one["method"])
    ordered = sorted(found.values(), key=lambda one: float(one["since"]))
    return [one | {"since": time_of(one["since"])} for one in ordered]
