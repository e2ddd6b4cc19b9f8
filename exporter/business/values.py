"""Sums of rows -> an indicator's value with its 95 % interval. Pure; definitions in `docs/statistics.md`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from exporter.rows import Floats
from exporter.special import special

Z = 1.959963984540054  # the normal distribution's quantile of 0.975


class Value(NamedTuple):
    """A value and its 95 % interval, in the indicator's unit; None where the rows do not tell. rows: it is made of."""

    value: float | None
    lower: float | None
    upper: float | None
    rows: int


def count(rows: int, scale: float = 1.0) -> Value:
    """Return a number of rows times `scale`, with the exact interval of a Poisson mean (Garwood 1936)."""
    low = float(special.gammaincinv(rows, 0.025)) if rows else 0.0
    high = float(special.gammaincinv(rows + 1, 0.975))
    return Value(rows * scale, low * scale, high * scale, rows)


def total(rows: int, x: float, xx: float, scale: float = 1.0) -> Value:
    """Return a sum times `scale`; rows come as a Poisson process, so its variance is the sum of squares."""
    half = Z * math.sqrt(xx)
    return Value(x * scale, (x - half) * scale, (x + half) * scale, rows)


def mean(rows: int, x: float, xx: float) -> Value:
    """Return a mean; its interval is normal, or Wilson's where every value is 0 or 1."""
    return ratio(rows, x, xx, float(rows), float(rows), x)


def ratio(rows: int, x: float, xx: float, y: float, yy: float, xy: float) -> Value:
    """Return sum x / sum y, its variance by the delta method; None where sum y is not positive.

    Where every x is 0 or 1, and only where y is 1, it is a share, and has the interval of Wilson (1927).
    """
    if y <= 0:
        return Value(None, None, None, rows)
    value = x / y
    if x == xx == xy and y == yy:
        return Value(value, *_wilson(value, y), rows)
    if rows < 2:
        return Value(value, None, None, rows)
    squares = xx - 2 * value * xy + value**2 * yy
    if squares <= 1e-12 * (xx + value**2 * yy):
        squares = 0.0  # no more than rounding: all rows have the same ratio
    half = Z * math.sqrt(squares * rows / (rows - 1)) / y
    return Value(value, value - half, value + half, rows)


def _wilson(share: float, n: float) -> tuple[float, float]:
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return min(max(center - half, 0.0), share), max(min(center + half, 1.0), share)


def of_decisions(matrix: tuple[tuple[float, ...], ...], confusion: Floats) -> Value:
    """Return what decisions were worth: the sum of value x rows over actual (row) and predicted class (column).

    confusion: rows by actual and predicted class, C x C or wider (predictions that are no class are worth nothing);
    counted, or as estimated, when it need not be whole.
    """
    worth = np.asarray(matrix, np.float64)
    cells = np.asarray(confusion, np.float64)[:, : len(worth)]
    rows = round(float(np.sum(confusion)))
    return total(rows, float((worth * cells).sum()), float((worth**2 * cells).sum()))
