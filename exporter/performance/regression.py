"""Metrics of regressions from sums; each equals scikit-learn's on the same rows, where it has one."""

from __future__ import annotations

import math

from exporter.performance import intervals
from exporter.performance.intervals import Interval, Z
from exporter.performance.tables import RegressionOutcomes


def mae(sums: RegressionOutcomes) -> float | None:
    """Return the mean absolute error, in the label's unit."""
    return sums.absolute / sums.rows if sums.rows else None


def mae_interval(sums: RegressionOutcomes) -> Interval | None:
    return intervals.mean(sums.absolute, sums.squared, sums.rows)


def mse(sums: RegressionOutcomes) -> float | None:
    """Return the mean squared error, in the square of the label's unit."""
    return sums.squared / sums.rows if sums.rows else None


def mse_interval(sums: RegressionOutcomes) -> Interval | None:
    """Return the interval of a mean whose logarithm is taken for normal: squared errors have a long tail."""
    found = intervals.mean(sums.squared, sums.fourth, sums.rows)
    if found is None or not sums.squared:
        return None
    value = sums.squared / sums.rows
    wide = math.exp((found[1] - found[0]) / 2 / value)
    return value / wide, value * wide


def rmse(sums: RegressionOutcomes) -> float | None:
    """Return the root of the mean squared error, in the label's unit."""
    return math.sqrt(sums.squared / sums.rows) if sums.rows else None


def rmse_interval(sums: RegressionOutcomes) -> Interval | None:
    found = mse_interval(sums)
    return None if found is None else (math.sqrt(found[0]), math.sqrt(found[1]))


def r2(sums: RegressionOutcomes) -> float | None:
    """Return 1 - squared error / spread of the labels; none where all labels are equal."""
    return 1 - sums.squared / sums.label_spread if sums.rows > 1 and sums.label_spread > 0 else None


def r2_interval(sums: RegressionOutcomes) -> Interval | None:
    """Return the interval by the delta method of the logarithm of squared error / spread."""
    if sums.rows < 2 or sums.label_spread <= 0 or not sums.squared:
        return None
    ratio = sums.squared / sums.label_spread
    variance = sums.fourth - 2 * ratio * sums.squared_spread + ratio**2 * sums.label_fourth
    wide = math.exp(Z * math.sqrt(max(variance, 0.0)) / sums.squared)
    return 1 - ratio * wide, 1 - ratio / wide


def mean_error(sums: RegressionOutcomes) -> float | None:
    """Return the mean of prediction - label: above 0 the model says too much."""
    return sums.error / sums.rows if sums.rows else None


def mean_error_interval(sums: RegressionOutcomes) -> Interval | None:
    return intervals.mean(sums.error, sums.squared, sums.rows)


def wape(sums: RegressionOutcomes) -> float | None:
    """Return sum |error| / sum |label|: a percentage error that zero labels do not break."""
    return sums.absolute / sums.label_absolute if sums.label_absolute else None


def wape_interval(sums: RegressionOutcomes) -> Interval | None:
    """Return the interval of a ratio of sums, by the delta method."""
    value = wape(sums)
    if value is None or sums.rows < 2:
        return None
    variance = sums.squared - 2 * value * sums.error_label + value**2 * sums.label_squares
    half = Z * math.sqrt(max(variance, 0.0)) / sums.label_absolute
    return value - half, value + half


def smape(sums: RegressionOutcomes) -> float | None:
    """Return the mean of 2 |error| / (|label| + |prediction|), 0 to 2; 0 where both are 0."""
    return sums.symmetric / sums.rows if sums.rows else None


def smape_interval(sums: RegressionOutcomes) -> Interval | None:
    return intervals.mean(sums.symmetric, sums.symmetric_squares, sums.rows)
