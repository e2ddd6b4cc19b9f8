"""Drift of whole rows: two samples -> statistics; what changed between features, not only within each; the table.

A plug point: write a function, add a row to `METHODS`. Nothing here knows of time, store or configuration. The same
samples and seed give the same result. Definitions and sources: `docs/statistics.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from exporter.drift.domain import area, domain_classifier
from exporter.drift.features import Features, Ints, Result, Rows, draw
from exporter.drift.means import mean_shift
from exporter.drift.reconstruction import pca_reconstruction
from exporter.threads import one_thread

__all__ = ["METHODS", "MIN_ROWS", "MOST_ROWS", "Features", "Method", "Result", "Rows", "compare"]

MIN_ROWS = 200
MOST_ROWS = 1_500  # of each sample: without a change an AUC is then within 0.03; a run takes well below a second


class Compare(Protocol):
    """A method: reference and window (rows, features), what the columns are, a seed; None where it has no value.

    blocks: (rows of the reference,) the block in time of each, such as its day. explain: whether contributions are
    wanted.
    """

    def __call__(
        self,
        reference: Rows,
        window: Rows,
        features: Features,
        seed: int,
        blocks: Ints | None = None,
        explain: bool = True,
    ) -> Result | None: ...


def _as_is(size: float) -> float:
    return size


class Method(NamedTuple):
    """One row of the table.

    least: smallest score that ever counts. blind: a threshold above this score cannot tell anything. two_sided: the
    score is the size without its sign. unsize: the score of a size.
    """

    compare: Compare
    least: float
    blind: float
    two_sided: bool = False
    unsize: Callable[[float], float] = _as_is


# least: classes that are 0.2 standard deviations apart (small, in Cohen's words, 1988); an error 5 % up or down;
# 0.2 standard deviations along an axis with a quarter of the variance.
METHODS: dict[str, Method] = {
    "domain_classifier": Method(domain_classifier, 0.556, 0.98, unsize=area),
    "pca_reconstruction": Method(pca_reconstruction, 0.05, 1.4, two_sided=True),
    "mean_shift": Method(mean_shift, 0.1, 4.0),
}


def compare(
    method: str,
    reference: Rows,
    window: Rows,
    features: Features,
    seed: int,
    blocks: Ints | None = None,
    most: tuple[int, int] = (MOST_ROWS, MOST_ROWS),
    min_rows: int = MIN_ROWS,
    explain: bool = True,
) -> Result | None:
    """Compare two samples by one method; None below `min_rows` on a side, or where it has no value.

    most: rows of reference and window; where there are more, that many at random. blocks: one a reference row.
    """
    if min(len(reference), len(window)) < min_rows:
        return None
    random = np.random.default_rng(seed)
    old, new = draw(len(reference), most[0], random), draw(len(window), most[1], random)
    own = None if blocks is None else blocks[old]
    with one_thread():
        return METHODS[method].compare(reference[old], window[new], features, seed, own, explain)
