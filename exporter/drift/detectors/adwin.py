"""Adaptive windowing: a window of days that loses its old end when two parts of it differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exporter.rows import Floats


class Adwin(NamedTuple):
    """Settings: delta (confidence); clock: days between two checks; max_cells of a size before two are joined.

    min_window: least days on each side of a cut. grace: no check until more days than that. rise: only up is drift.
    Defaults are river's but the clock, 32 there: a value is a day, not a row.
    """

    delta: float = 0.002
    clock: int = 1
    max_cells: int = 5
    min_window: int = 5
    grace: int = 10
    rise: bool = False

    @property
    def threshold(self) -> float:
        """The score above which there is drift."""
        return -math.log(self.delta)


Cell = tuple[Floats, Floats]


class Memory(NamedTuple):
    """levels: per level i the cells of 2^i days, oldest first, as (sum, sum of squares about their mean).

    width, total, squares: of the whole window. tick: days since the start.
    """

    levels: tuple[tuple[Cell, ...], ...]
    width: int
    total: Floats
    squares: Floats
    tick: int


def begin(settings: Adwin) -> Memory:
    """Return an empty memory."""
    return Memory(((),), 0, np.zeros(()), np.zeros(()), 0)


def after(settings: Adwin, values: Floats, weights: Floats) -> Memory:
    """Return a window with all days of the reference."""
    memory = begin(settings)
    for x in values:
        memory = _insert(memory, np.asarray(x), settings.max_cells)
    return memory._replace(tick=0)


def update(settings: Adwin, memory: Memory, x: Floats, weight: Floats) -> tuple[Memory, Floats]:
    """Add a day to the window and leave it uncut (Bifet and Gavalda 2007). Weights are not known to the method.

    Score: ln(1 / delta) of the smallest delta at which some cut's difference of means is above its bound; at least 0.
    """
    memory = _insert(memory, x, settings.max_cells)
    if memory.tick % settings.clock or memory.width <= settings.grace:
        return memory, np.full(x.shape, np.nan)
    rise, fall = _confidences(settings, memory)
    return memory, rise if settings.rise else np.maximum(rise, fall)


def adapt(settings: Adwin, memory: Memory) -> Memory:
    """Drop the window's old end while two parts differ, a rise or a fall; for one series only.

    After `update` this is, at every check, what river's ADWIN does.
    """
    if memory.tick % settings.clock or memory.width <= settings.grace:
        return memory
    while float(np.maximum(*_confidences(settings, memory))) > settings.threshold:
        memory = _drop_oldest(memory)
    return memory


def _joined(a: Cell, b: Cell, n: int, m: int) -> Cell:
    """Return sum and squares of n and m days together (Babcock et al. 2003)."""
    return a[0] + b[0], a[1] + b[1] + n * m * (a[0] / n - b[0] / m) ** 2 / (n + m)


def _insert(memory: Memory, x: Floats, max_cells: int) -> Memory:
    squares, width = memory.squares, memory.width + 1
    if memory.width:
        squares = squares + memory.width * (x - memory.total / memory.width) ** 2 / width
    levels = list(memory.levels)
    levels[0] = (*levels[0], (x, np.zeros(())))
    for i, cells in enumerate(levels):
        if len(cells) <= max_cells:
            break
        if i + 1 == len(levels):
            levels.append(())
        levels[i + 1] = (*levels[i + 1], _joined(cells[0], cells[1], 1 << i, 1 << i))
        levels[i] = cells[2:]
    return Memory(tuple(levels), width, memory.total + x, squares, memory.tick + 1)


def _drop_oldest(memory: Memory) -> Memory:
    *finer, coarsest = memory.levels
    n, (total, squares) = 1 << len(finer), coarsest[0]
    width, rest = memory.width - n, memory.total - total
    squares = squares + n * width * (total / n - rest / width) ** 2 / (n + width)
    levels = (*finer, coarsest[1:]) if len(coarsest) > 1 else tuple(finer)
    return memory._replace(levels=levels, width=width, total=rest, squares=memory.squares - squares)


def _confidences(settings: Adwin, memory: Memory) -> tuple[Floats, Floats]:
    """Return the largest ln(1 / delta) at which a cut between cells still is one: for a rise, and for a fall.

    A cut's bound is sqrt(2 m variance c) + 2/3 m c with c = ln(2 ln(width) / delta) and m = 1/(old - min_window + 1) +
    1/(new - min_window + 1), as in river; solved for c.
    """
    old, totals = _cuts(memory.levels)
    new = memory.width - old
    kept = np.minimum(old, new) >= settings.min_window
    if not kept.any():
        return np.zeros(memory.total.shape), np.zeros(memory.total.shape)
    shape = (-1, *[1] * memory.total.ndim)
    old, new, totals = old[kept].reshape(shape), new[kept].reshape(shape), totals[kept]
    gap = (memory.total - totals) / new - totals / old
    m = 1 / (old - settings.min_window + 1) + 1 / (new - settings.min_window + 1)
    noise = 2 * m * (np.maximum(memory.squares, 0) / memory.width)
    far = np.abs(gap)
    below = np.sqrt(noise) + np.sqrt(noise + 8 / 3 * m * far)
    confidence = (2 * far / np.where(below > 0, below, 1.0)) ** 2 - math.log(2 * math.log(memory.width))
    rise = np.max(np.where(gap > 0, confidence, 0), axis=0)
    fall = np.max(np.where(gap < 0, confidence, 0), axis=0)
    return np.maximum(rise, 0), np.maximum(fall, 0)


def _cuts(levels: Sequence[Sequence[Cell]]) -> tuple[Floats, Floats]:
    """Return days, and sum, of all that is older than each end of a cell, oldest first."""
    sizes = [1 << i for i in reversed(range(len(levels))) for _ in levels[i]]
    sums = [total for i in reversed(range(len(levels))) for total, _ in levels[i]]
    return np.cumsum(np.array(sizes, float)), np.cumsum(np.array(np.broadcast_arrays(*sums)), axis=0)
