"""Exponentially weighted moving average of the distance from the reference's mean, as a control chart."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from exporter.rows import Floats


class Ewma(NamedTuple):
    """Settings: smoothing (lambda, the weight of the newest day); threshold, in standard deviations of the average.

    A small smoothing bears values that are not normal (Borror, Montgomery and Runger 1999). rise: only up is drift.
    """

    smoothing: float = 0.1
    threshold: float = 3.0
    rise: bool = False


def begin(settings: Ewma) -> Floats:
    """Return the average of no days, 0."""
    return np.zeros(())


def after(settings: Ewma, values: Floats, weights: Floats) -> Floats:
    """Return an average at the reference's mean."""
    return begin(settings)


def update(settings: Ewma, level: Floats, x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Add a day to the average (Roberts 1959; Lucas and Saccucci 1990); a day of weight w counts as w of a day.

    Score: the average, or its absolute value if two-sided, in the standard deviations that it has in the long run if
    days are independent.
    """
    part = settings.smoothing * weight
    level = (1 - part) * level + part * x
    score = level / math.sqrt(settings.smoothing / (2 - settings.smoothing))
    return level, score if settings.rise else np.abs(score)
