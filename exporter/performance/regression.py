"""Metrics of regressions from sums; each equals scikit-learn's on the same rows, where it has one."""

from __future__ import annotations

import math

from exporter.performance.tables import RegressionOutcomes


def mae(sums: RegressionOutcomes) -> float | None:
    """Return the mean absolute error, in the label's unit."""
    return sums.absolute / sums.rows if sums.rows else None


def rmse(sums: RegressionOutcomes) -> float | None:
    """Return the root of the mean squared error, in the label's unit."""
    return math.sqrt(sums.squared / sums.rows) if sums.rows else None


def r2(sums: RegressionOutcomes) -> float | None:
    """Return 1 - squared error / spread of the labels; none where all labels are equal."""
    return 1 - sums.squared / sums.label_spread if sums.rows > 1 and sums.label_spread > 0 else None


def mean_error(sums: RegressionOutcomes) -> float | None:
    """Return the mean of prediction - label: above 0 the model says too much."""
    return sums.error / sums.rows if sums.rows else None


def wape(sums: RegressionOutcomes) -> float | None:
    """Return sum |error| / sum |label|: a percentage error that zero labels do not break."""
    return sums.absolute / sums.label_absolute if sums.label_absolute else None


def smape(sums: RegressionOutcomes) -> float | None:
    """Return the mean of 2 |error| / (|label| + |prediction|), 0 to 2; 0 where both are 0."""
    return sums.symmetric / sums.rows if sums.rows else None
