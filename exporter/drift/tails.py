"""How much rarer a test must be than theory says, because what the reference does has a heavier tail. Pure.

Each window of the reference is judged by what those teach that share no day with it: the whole rule, on traffic that it
does not know. How small the smallest of a window's p-values are then is what a budget for rarer windows is extrapolated
from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from exporter.rows import Bools, Floats

LEVEL = 0.1  # share of the windows whose p-values make the tail
_PRIOR = 5.0  # of these windows that theory counts for
_STEP = 1.05  # of the heights that are tried
_MOST = 2.0  # times theory's height


class LeftOut(NamedTuple):
    """W windows by K tests, each window judged by what those that share nothing with it teach.

    root: size's root, NaN where it is too small to count or unknown. center, spread: W x K. blind: (K,) height from
    which a test is deaf. room: how many independent windows they are worth.
    """

    root: Floats
    center: Floats
    spread: Floats
    blind: Floats
    room: float


def needed(
    height: float, rate: float, tests: float, left_out: LeftOut | None, above: Callable[[Floats], Floats]
) -> float:
    """Return the lowest height, from theory's on, at which windows like the reference's keep to the rate.

    height: theory's. tests: their effective number. above: height -> p-value of one test. A test that is blind at a
    height does not count there. At most twice theory's.
    """
    if left_out is None:
        return height
    away = (left_out.root - left_out.center) / left_out.spread
    away = np.where(np.isfinite(away), away, -np.inf)
    found, most = height, height * _MOST
    while found < most:
        heard = left_out.center + found * left_out.spread <= left_out.blind
        smallest = np.minimum(tests * above(np.where(heard, away, -np.inf).max(axis=1)), 1.0)
        if tests * float(above(np.asarray(found))) <= rarer(smallest, rate, left_out.room) * (1 + 1e-9):
            return found
        found *= _STEP
    return most


def rarer(smallest: Floats, rate: float, room: float) -> float:
    """Return the p-value that a share `rate` of the windows is below.

    smallest: of each window the smallest p-value of all tests, times their effective number: uniform where theory
    holds. room: how many independent windows they are worth. Below LEVEL the share falls as the p-value to the power of
    a shape that is 1 in theory (Hill 1975), and is never taken for lighter. Both, share and shape, are weighted with
    what theory says.
    """
    below = smallest[smallest < LEVEL]
    count = room * len(below) / max(len(smallest), 1)
    share = (count + _PRIOR) / (room + _PRIOR / LEVEL)
    excess = float(np.log(LEVEL / np.maximum(below, 1e-300)).mean()) if len(below) else 0.0
    heavy = (count * excess + _PRIOR) / (count + _PRIOR)
    if rate >= share:
        return rate
    found: float = min(rate, LEVEL * (rate / share) ** max(heavy, 1.0))
    return found


def without(roots: Floats, sharing: Bools) -> tuple[Floats, Floats, Floats]:
    """Return mean, standard deviation (ddof 1) and largest of each column over the rows that share nothing with a row.

    roots: W x K, NaN where unknown. sharing: W x W. NaN where fewer than two known rows are left.
    """
    apart, known = (~sharing).astype(np.float64), np.isfinite(roots)
    middle = np.nanmean(roots, axis=0)
    moved = np.where(known, roots - middle, 0.0)
    count = apart @ known
    usable = np.where(count > 1, count, np.nan)
    mean = apart @ moved / usable
    variance = (apart @ moved**2 - count * mean**2) / (usable - 1)
    lowest = np.where(known, roots, -np.inf)
    largest = np.array([np.where(shared[:, None], -np.inf, lowest).max(axis=0) for shared in sharing])
    return middle + mean, np.sqrt(np.maximum(variance, 0.0)), largest
