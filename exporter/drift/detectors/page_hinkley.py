"""Page-Hinkley: the sum of the deviations from the running mean, against its lowest and its highest value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.rows import Floats


class PageHinkley(NamedTuple):
    """Settings: delta (a change that is allowed) and threshold (lambda), in standard deviations of a day.

    alpha: what a day leaves of the sums before it. min_days: judged from that many days on. rise: only up is drift.
    """

    delta: float = 0.5
    threshold: float = 12.0
    alpha: float = 0.9999
    min_days: float = 14.0
    rise: bool = False


class Memory(NamedTuple):
    """days: weight so far. mean: of the values. up, down: sums of deviations; lowest, highest: their extremes."""

    days: Floats
    mean: Floats
    up: Floats
    down: Floats
    lowest: Floats
    highest: Floats


_ZERO = np.zeros(())


def begin(settings: PageHinkley) -> Memory:
    """Return an empty memory."""
    return Memory(_ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)


def after(settings: PageHinkley, values: Floats, weights: Floats) -> Memory:
    """Return a memory whose mean is that of the values and whose sums are empty."""
    days, mean = np.asarray(weights.sum()), np.asarray(np.average(values, weights=weights))
    return begin(settings)._replace(days=days, mean=mean)


def update(settings: PageHinkley, memory: Memory, x: Floats, weight: Floats) -> tuple[Memory, Floats]:
    """Add a day to the test (Page 1954; Hinkley 1971; with forgetting: Sebastiao and Fernandes 2017).

    Score: the rise above the lowest sum or, if two-sided, the fall below the highest where that is larger, in
    standard deviations. At weight 1 step by step what river's PageHinkley does.
    """
    days = memory.days + weight
    mean = memory.mean + weight / days * (x - memory.mean)
    forget = settings.alpha**weight
    up = forget * memory.up + weight * (x - mean - settings.delta)
    down = forget * memory.down + weight * (x - mean + settings.delta)
    lowest, highest = np.minimum(memory.lowest, up), np.maximum(memory.highest, down)
    score = up - lowest if settings.rise else np.maximum(up - lowest, highest - down)
    return Memory(days, mean, up, down, lowest, highest), np.where(days < settings.min_days, np.nan, score)
