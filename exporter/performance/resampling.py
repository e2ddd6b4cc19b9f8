"""The bootstrap over counts: rows drawn again from the cells that they fell into (Efron 1979); seeded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPLICATES = 400
_SEED = 20131231
_ENDS = (0.025, 0.975)


def draws(cells: Floats, replicates: int = REPLICATES) -> Floats:
    """Return replicates x cells: as many rows as there are, each cell as likely as it was.

    Weighted rows, real numbers, are drawn as the whole number of rows that they are worth.
    """
    total = float(cells.sum())
    return np.random.default_rng(_SEED).multinomial(round(total), cells / total, replicates).astype(np.float64)


def basic(value: float, drawn: Floats) -> tuple[float, float]:
    """Return the basic bootstrap interval: replicates lie about the value as it lies about the truth.

    It also takes away the bias of what is above 0 by chance alone.
    """
    low, high = np.quantile(drawn, _ENDS)
    return float(2 * value - high), float(2 * value - low)
