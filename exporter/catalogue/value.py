"""Business indicators and serving."""

from __future__ import annotations

from exporter.catalogue.family import BUSINESS, SERVING, Family, S, W

KPI = ("kpi", "unit")
FAMILIES: tuple[Family, ...] = (
    Family("model_business_kpi_value", (*S, *KPI), f"Value of a business indicator over the window; {BUSINESS}."),
    Family(
        "model_business_kpi_estimated_value",
        (*S, *KPI),
        f"Expected value of the window's decisions, labels known or not, in the indicator's unit; {BUSINESS}.",
    ),
    Family(
        "model_business_kpi_value_lower",
        (*S, *KPI),
        f"Lower end of the 95 % interval of a business indicator, in its unit; {BUSINESS}.",
    ),
    Family(
        "model_business_kpi_value_upper",
        (*S, *KPI),
        f"Upper end of the 95 % interval of a business indicator, in its unit; {BUSINESS}.",
    ),
    Family(
        "model_business_kpi_min",
        ("model", "kpi", "severity"),
        "Lowest accepted value of a business indicator, in its unit.",
    ),
    Family(
        "model_business_kpi_max",
        ("model", "kpi", "severity"),
        "Highest accepted value of a business indicator, in its unit.",
    ),
    Family(
        "model_business_decision_value",
        ("model", *KPI, "actual", "predicted"),
        "Worth of one decision by actual and predicted class, as the value matrix of a business indicator says, in its "
        "unit.",
    ),
    Family(
        "model_serving_latency_seconds",
        (*W, "quantile"),
        f"Quantiles of the latency of the window's requests, in seconds, to within 1 %; {SERVING}.",
        "summary",
    ),
    Family(
        "model_serving_latency_threshold_seconds",
        ("model", "quantile", "severity"),
        "Largest accepted quantile of the latency, in seconds.",
        "summary",
    ),
    Family(
        "model_serving_errors_ratio",
        W,
        f"Share of the window's requests that failed, 0 to 1, lower is better; {SERVING}.",
    ),
    Family(
        "model_serving_errors_threshold_ratio",
        ("model", "severity"),
        "Largest accepted share of failed requests, 0 to 1.",
    ),
    Family(
        "model_serving_requests_per_second",
        W,
        f"Requests in the window over its length, per second; {SERVING}.",
    ),
)
