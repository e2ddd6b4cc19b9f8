"""The same statistics from rows or plain counts, by scipy or by their formula: a second oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

Array = NDArray[np.float64]
Counted = NDArray[np.int64]


def binned(reference: Array, values: Array) -> Counted:
    """Count values per decile of the reference: one on an inner edge goes up, a repeated decile has its own bin."""
    deciles = np.quantile(reference, np.linspace(0, 1, 11))
    unique, times = np.unique(deciles, return_counts=True)
    edges = {*unique[times > 1], *np.nextafter(unique[times > 1], np.inf)}
    edges |= {edge for edge in unique if deciles[0] < edge < deciles[-1]}
    return np.bincount(np.searchsorted(sorted(edges), values, side="right"), minlength=len(edges) + 1)


def half_row_psi(p: Counted, q: Counted) -> float:
    """Compute PSI by its formula; a zero share counts as half a row."""
    used = (p > 0) | (q > 0)
    a, b = (np.where(n[used] == 0, 0.5, n[used]) / n.sum() for n in (p, q))
    return float(((b - a) * np.log(b / a)).sum())


def statistics(p: Counted, q: Counted) -> dict[str, float]:
    """Compute the statistics of bins, given the rows per bin of both sides."""
    used = (p > 0) | (q > 0)
    a, b = p / p.sum(), q / q.sum()
    table = np.vstack([p, q])[:, used]
    return {
        "jensen_shannon": float(jensenshannon(a, b, base=2)),
        "hellinger": float(np.sqrt(((np.sqrt(a) - np.sqrt(b)) ** 2).sum() / 2)),
        "l_infinity": float(np.abs(a - b).max()),
        "psi": half_row_psi(p, q),
        "chi2": float(stats.chi2_contingency(table, correction=False).statistic) if used.sum() > 1 else 0.0,
    }
