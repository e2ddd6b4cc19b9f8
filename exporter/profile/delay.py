"""Label delays: how long after its prediction a label was known; counts per step, and what a reference shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.profile.counts import Placed, ones
from exporter.rows import Floats, Ints

STEPS = 8  # cells per doubling of the delay
SIZE = 27 * STEPS + 1  # one second to four years
COMPLETE = 0.99  # share of a label value's rows that are known by the needed delay
_LEAST = 20


def place(delay: Floats) -> list[Placed]:
    """Count the known delays (seconds, NaN unknown) of rows: up to 1 s, then cells that are a twelfth wide."""
    rows = np.flatnonzero(~np.isnan(delay)).astype(np.int64)
    steps = np.ceil(np.log2(np.maximum(delay[rows], 1.0)) * STEPS)
    return [ones(rows, np.minimum(steps, SIZE - 1).astype(np.int64))]


def quantile(counts: Ints, q: float) -> float | None:
    """Return the upper end, in seconds, of the cell of a quantile: at most 9 % too long; None without any delay."""
    total = int(counts.sum())
    if not total:
        return None
    cell = int(np.searchsorted(np.cumsum(counts), max(q * total, 1.0)))
    return float(2.0 ** (cell / STEPS)) if cell else 1.0


def learn(delay: Floats, groups: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return, per group of labelled rows, the delay in seconds by which 99 % of them were known.

    delay: seconds, NaN unknown. groups: which rows have a label value (or a low, a high one); a group with fewer than
    20 known delays tells nothing, unless no group has more.
    """
    known = {name: delay[rows & ~np.isnan(delay)] for name, rows in groups.items()}
    told = {name: own for name, own in known.items() if len(own) >= _LEAST}
    found = told or {name: own for name, own in known.items() if len(own)}
    return {name: max(float(np.quantile(own, COMPLETE, method="higher")), 0.0) for name, own in found.items()}
