"""Model detail: latency, errors and traffic."""

from __future__ import annotations

from typing import Any

from grafana import queries as q
from grafana.panels import Query, lines

_NO_LATENCY = "No latency: the log has none (columns.latency), or too few rows"
_NO_ERRORS = "No errors: the log does not say (columns.error), or too few rows"


def panels() -> list[Any]:
    """Latency and errors beside their bounds, and how many requests there are."""
    latency = q.top("quantile", q.pick("model_serving_latency_seconds", "window"))
    usual = q.top("quantile", q.pick("quantile:model_serving_latency_seconds:band_upper4w", "model", window="$window"))
    errors = q.top("window", q.pick("model_serving_errors_ratio", "window"))
    rate = q.top("window", q.pick("model_serving_requests_per_second", "window"))

    def limits(name: str, by: str, text: str) -> list[Query]:
        return [
            Query(q.low(by, q.pick(name, "model", severity=severity)), f"{severity}{text}", severity)
            for severity in ("warning", "critical")
        ]

    return [
        lines(
            "How long do requests take?",
            "Quantiles of the latency of the window's requests; dashed: the largest accepted, by quantile "
            "(ModelServingLatencyHigh). Grey: what is usual at this hour of the week, at most (from five weeks of "
            "history on). 0.99 rises alone: a few slow requests, look at their inputs. All rise: the machine, or "
            "a larger model.",
            "s",
            [
                Query(latency, "{{quantile}}"),
                *limits("model_serving_latency_threshold_seconds", "quantile", " {{quantile}}"),
                Query(usual, "usual, at most {{quantile}}", "reference"),
            ],
            soft=(0, 0.001),
            size=(8, 7),
            empty=_NO_LATENCY,
        ),
        lines(
            "How many requests fail?",
            "Share of the window's requests that failed; dashed: the largest accepted (ModelServingErrorsHigh). It "
            "jumps at a new version: roll back.",
            "percentunit",
            [Query(errors, "failed", "current"), *limits("model_serving_errors_threshold_ratio", "model", "")],
            soft=(0, 0.01),
            size=(8, 7),
            empty=_NO_ERRORS,
        ),
        lines(
            "How many requests come?",
            "Requests in the window over its length. A fall to nothing: callers are gone, or the log is not written. "
            "Twice as many: see whether requests are repeated.",
            "suffix: req/s",
            [Query(rate, "requests", "current")],
            soft=(0, 0.001),
            size=(8, 7),
            empty="No requests in this window, or serving is not configured",
        ),
    ]
