"""Metrics of one's own: a Python function over what is counted of the labelled rows, named `module:function`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.performance.intervals import Estimate, Z
from exporter.performance.resampling import draws
from exporter.performance.tables import CalibrationTable, ClassOutcomes, RegressionOutcomes, ScoreTable

_REPLICATES = 200
_MOST_CELLS = 128  # of a score, in what is drawn again
_KNOWN = 0.9  # share of replicates that must have a value


@lru_cache
def load(entry: str) -> Callable[[Any], Any]:
    """Import a function; raise ValueError with a sentence where there is none."""
    module, _, name = entry.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"{entry}: module {module} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(found, name, None)
    if not callable(function):
        raise ValueError(f"{entry}: module {module} has no function {name}")
    return function  # type: ignore[no-any-return]


def value(entry: str, outcomes: ClassOutcomes | RegressionOutcomes) -> float | None:
    """Return what a function says of labelled rows, None for no value; raise ValueError where it fails."""
    function = load(entry)
    try:
        found = function(outcomes)
        number = None if found is None else float(found)
    except Exception as error:
        raise ValueError(f"{entry}: {type(error).__name__}: {error}") from error
    return number if number is None or math.isfinite(number) else None


def estimate(entry: str, outcomes: ClassOutcomes | RegressionOutcomes) -> Estimate | None:
    """Return the value with its 95 % interval: 1.96 standard deviations of what it is of rows drawn again.

    Of a regression there are sums only, from which no rows can be drawn: there is no interval. Tables of counts are
    drawn each for itself, given the classes' rows.
    """
    found = value(entry, outcomes)
    if found is None or not isinstance(outcomes, ClassOutcomes) or outcomes.rows < 2:
        return None if found is None else Estimate(found)
    again = [value(entry, one) for one in _resampled(outcomes)]
    known = [one for one in again if one is not None]
    if len(known) < _KNOWN * len(again):
        return Estimate(found)
    half = Z * float(np.std(known))
    return Estimate(found, found - half, found + half)


def _resampled(outcomes: ClassOutcomes) -> list[ClassOutcomes]:
    shape = outcomes.confusion.shape
    confusion = draws(outcomes.confusion.astype(np.float64).ravel(), _REPLICATES).reshape(-1, *shape)
    if not outcomes.scores or not outcomes.scored:
        return [outcomes._replace(confusion=_whole(one)) for one in confusion]
    rows, hits, total = (np.asarray(own, np.float64) for own in outcomes.calibration)
    tenths = draws(np.concatenate([hits, np.maximum(rows - hits, 0.0)]), _REPLICATES)
    confidence = np.divide(total, rows, out=np.zeros(len(rows)), where=rows > 0)
    tables = [_tables(_coarse(table)) for table in outcomes.scores]
    ranks = draws(outcomes.ranks.astype(np.float64), _REPLICATES) if outcomes.ranks.sum() else None
    noise = np.random.default_rng(_REPLICATES).standard_normal((_REPLICATES, 2))
    sums = (outcomes.log_loss, outcomes.log_loss_squares), (outcomes.squared, outcomes.squared_squares)
    spread = [math.sqrt(max(squares - total**2 / outcomes.scored, 0.0)) for total, squares in sums]
    found = []
    for at, one in enumerate(confusion):
        came, missed = np.split(tenths[at], 2)
        found.append(
            outcomes._replace(
                confusion=_whole(one),
                log_loss=max(outcomes.log_loss + spread[0] * noise[at, 0], 0.0),
                squared=max(outcomes.squared + spread[1] * noise[at, 1], 0.0),
                calibration=CalibrationTable(_whole(came + missed), _whole(came), (came + missed) * confidence),
                ranks=outcomes.ranks if ranks is None else _whole(ranks[at]),
                scores=tuple(own[at] for own in tables),
            )
        )
    return found


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)


def _coarse(table: ScoreTable) -> ScoreTable:
    """Merge neighbouring cells until few are left, of about as many rows each."""
    both = np.cumsum(table.negative + table.positive)
    group = np.minimum(both * _MOST_CELLS / max(float(both[-1]), 1.0), _MOST_CELLS - 1).astype(np.int64)
    start = np.flatnonzero(np.diff(group, prepend=-1))
    return ScoreTable(np.add.reduceat(table.negative, start), np.add.reduceat(table.positive, start))


def _tables(table: ScoreTable) -> list[ScoreTable]:
    cells = draws(np.concatenate([table.negative, table.positive]).astype(np.float64), _REPLICATES)
    return [ScoreTable(*np.split(_whole(one), 2)) for one in cells]
