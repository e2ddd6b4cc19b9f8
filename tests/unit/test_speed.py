"""A guard on speed, by ratio to a fixed kernel: what a change must not make several times as slow."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from exporter.drift.ranks import kolmogorov_smirnov_p
from exporter.drift.univariate import METHODS
from exporter.profile import numeric
from exporter.profile.coding import decode, encode
from exporter.profile.columns import Pieces
from exporter.profile.counts import Counts, add_into
from exporter.profile.numeric import NumericBins
from exporter.profile.tally import Cut, count_column

ROWS = 300_000
RANDOM = np.random.default_rng(11)
REFERENCE, WINDOW = RANDOM.normal(size=100_000), RANDOM.normal(0.1, 1.1, ROWS)


def busy(work: Callable[[], object]) -> float:
    """Return the least processor seconds of this thread in five runs: others' work on the machine counts little."""
    found = []
    for _ in range(5):
        started = time.thread_time()
        work()
        found.append(time.thread_time() - started)
    return min(found)


def sorting() -> float:
    """The fixed kernel: NumPy sorts the window's rows."""
    buffer = np.empty(ROWS)

    def work() -> None:
        buffer[:] = WINDOW
        buffer.sort()

    return busy(work)


def counted(bins: NumericBins, rows: np.ndarray) -> Counts:
    """Count rows as the ledger does."""
    return count_column(bins, Pieces(len(rows), [pa.chunked_array([rows])]), [Cut(None, np.array([0, len(rows)]))])[0][
        0
    ]


def test_counting_a_column_costs_a_few_sorts() -> None:
    """About 2 here; placing each row and adding up takes 60."""
    bins = numeric.fit(REFERENCE, 4_096)
    assert busy(lambda: counted(bins, WINDOW)) < 8 * sorting()


def test_exact_counting_costs_a_few_sorts_more() -> None:
    """About 5 here: 100,000 knots are searched."""
    bins = numeric.fit(REFERENCE, 100_000)
    assert busy(lambda: counted(bins, WINDOW)) < 20 * sorting()


def test_the_statistics_of_a_column_cost_less_than_a_sort() -> None:
    """The default ones and their noise, about a third here, whatever the rows were."""
    bins = numeric.fit(REFERENCE, 4_096)
    vectors = []
    for rows in (REFERENCE, WINDOW):
        vectors.append(np.zeros(bins.size, np.int64))
        add_into(vectors[-1], counted(bins, rows))

    def work() -> None:
        pair = [numeric.sample(bins, vector) for vector in vectors]
        for name in ("ks", "wasserstein", "psi", "jensen_shannon"):
            METHODS[name].score(*pair)
            METHODS[name].noise(*pair, 0.001)
        kolmogorov_smirnov_p(METHODS["ks"].score(*pair), *pair)

    assert busy(work) < 3 * sorting()


def test_an_hour_of_a_feature_is_small_in_the_store() -> None:
    """5,000 rows: at most 2 kB with 4,096 knots, 5 kB where every value of the reference is one; and they come back."""
    for most, bytes_ in ((4_096, 2_048), (100_000, 5_120)):
        counts = counted(numeric.fit(REFERENCE, most), WINDOW[:5_000].copy())
        packed = encode(counts)
        assert len(packed) <= bytes_
        back = decode(packed)
        assert (back.place == counts.place).all()
        assert (back.amount == counts.amount).all()
