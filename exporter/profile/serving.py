"""Serving: latencies on a logarithmic scale, and failed requests.

A latency is counted in a bin whose ends are 1.01 / 0.99 apart, so a value read back is within 1 % of it: the scheme of
DDSketch (Masson, Rim and Lee, VLDB 2019), with bins that never move, so that counts add up and can be taken away.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter.business.columns import as_truths, load
from exporter.profile.counts import Placed, ones
from exporter.rows import Floats, Ints, numeric

ERROR = 0.01  # largest relative error of a latency, from LEAST to MOST
LEAST, MOST = 1e-6, 3600.0  # seconds; below counts as 0, above as MOST
_GROWTH = (1 + ERROR) / (1 - ERROR)
_STEPS = math.ceil(math.log(MOST / LEAST, _GROWTH))
_EDGES: Floats = LEAST * np.power(_GROWTH, np.arange(_STEPS + 1, dtype=np.float64))
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# What a row in each bin is read as: nothing, the middle that is as far from both ends, MOST.
VALUES: Floats = np.concatenate([[0.0], 2 * _EDGES[:-1] * _GROWTH / (1 + _GROWTH), [MOST]])


class LatencyBins(NamedTuple):
    """Places for latencies. Layout: a bin each of VALUES, missing, invalid (negative, or no finite number)."""

    column: str
    unit: str

    @property
    def size(self) -> int:
        return len(VALUES) + 2


class ErrorBins(NamedTuple):
    """Places for requests: answered, failed, neither true nor false."""

    column: str

    @property
    def size(self) -> int:
        return 3


def place_latency(bins: LatencyBins, table: pa.Table) -> list[Placed]:
    """Place the latencies of all rows; without the column all are missing."""
    rows = np.arange(len(table), dtype=np.int64)
    where = np.full(len(table), len(VALUES))
    if bins.column in table.column_names:
        values, valid, _ = numeric(table[bins.column])
        seconds = values * _SECONDS[bins.unit]
        bad = ~valid | (seconds < 0)
        known = np.minimum(np.searchsorted(_EDGES, seconds), len(VALUES) - 1)
        where = np.where(bad, len(VALUES) + 1, np.where(np.isnan(values), len(VALUES), known))
    return [ones(rows, where.astype(np.int64))]


def place_errors(bins: ErrorBins, table: pa.Table) -> list[Placed]:
    """Place requests by whether they failed; one without a value did not. Without the column none is placed."""
    if bins.column not in table.column_names:
        return []
    column = table[bins.column]
    truths = as_truths(load(column))
    unread = np.asarray(truths.is_null()) & np.asarray(column.is_valid())
    failed = np.asarray(truths.fill_null(False))
    return [ones(np.arange(len(table), dtype=np.int64), np.where(unread, 2, failed).astype(np.int64))]


def latencies(counts: Ints) -> int:
    """Return the number of rows with a latency."""
    return int(counts[: len(VALUES)].sum())


def quantile(counts: Ints, q: float) -> float | None:
    """Return the quantile between the two ranks around (n - 1) q, as numpy does by default; None without any latency.

    Within 1 % of that of the rows from LEAST to MOST: so is each of the two, and what lies between them.
    """
    cumulative, rows = np.cumsum(counts[: len(VALUES)]), latencies(counts)
    if not rows:
        return None
    rank = (rows - 1) * q
    low, high = VALUES[np.searchsorted(cumulative, (math.floor(rank), math.ceil(rank)), side="right")].tolist()
    return float(low + (high - low) * (rank - math.floor(rank)))


def errors_ratio(counts: Ints) -> float | None:
    """Return the share of failed requests among those of which it is known; None without any."""
    known = int(counts[:2].sum())
    return int(counts[1]) / known if known else None
