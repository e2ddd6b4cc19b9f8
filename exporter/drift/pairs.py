"""Many pairs of samples at once: a method's sizes over a series of windows. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from exporter.drift.sample import Floats, Sample
from exporter.drift.univariate import METHODS
from exporter.rows import Bools

Times = Any  # a sparse matrix: without threads, and most of it is 0


class Side:
    """One side of T pairs. bins: T x B rows per bin. cells: T x C rows per cell, increasing; totals: their sums."""

    def __init__(self, bins: Floats, cells: Floats, totals: Floats):
        self.bins, self.cells, self.totals = bins, cells, totals
        self.rows: Floats = bins.sum(axis=1)

    def measured_by(self, reference: Side) -> Side:
        """Return the same counts, with distances in standard deviations of all that the reference has."""
        same = Side(*self._parts)
        whole = Side(*(part.sum(axis=0, keepdims=True) for part in reference._parts))
        same.__dict__["std"] = np.repeat(whole.std, len(same.rows))
        return same

    @cached_property
    def shares(self) -> Floats:
        """Share of the rows per bin."""
        shares: Floats = self.bins / self.rows[:, None]
        return shares

    @cached_property
    def cumulative(self) -> Floats:
        """Share of the rows up to and with each cell."""
        return np.cumsum(self.cells, axis=1) / self.rows[:, None]

    @cached_property
    def places(self) -> Floats:
        """Mean of the values per cell; NaN where a cell has none."""
        places: Floats = np.where(self.cells > 0, self.totals / self.cells, np.nan)
        return places

    @cached_property
    def std(self) -> Floats:
        """Standard deviation (ddof 0), each value taken for the mean of its cell; 0 where all are in one cell."""
        mean = self.totals.sum(axis=1) / self.rows
        away = np.where(self.cells > 0, self.places - mean[:, None], 0.0)
        spread = np.sqrt((self.cells * away**2).sum(axis=1) / self.rows)
        return np.where((self.cells > 0).sum(axis=1) == 1, 0.0, spread)

    def chosen(self, kept: Bools) -> Side:
        """Return some of the T."""
        some = Side(self.bins[kept], self.cells[kept], self.totals[kept])
        if "std" in self.__dict__:
            some.__dict__["std"] = self.std[kept]
        return some

    def merged(self, times: Times) -> Side:
        """Return sums of the T. times: D x T, how often each is in each of the D."""
        return Side(times @ self.bins, times @ self.cells, times @ self.totals)

    def without(self, times: Times) -> Side:
        """Return what the T have, all together, without those that are in each of the D."""
        own = self.merged(times.sign())
        return Side(*(part.sum(axis=0) - gone for part, gone in zip(self._parts, own._parts, strict=True)))

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.bins, self.cells, self.totals


class _Row(Sample):
    """One of the T as a sample; its cells need not be those of the knots."""

    def __init__(self, side: Side, number: int):
        super().__init__(side.bins[number].astype(np.int64), side.cells[number].astype(np.int64), side.totals[number])
        self.__dict__ |= {"places": side.places[number], "std": float(side.std[number])}


def sizes(method: str, reference: Side, current: Side) -> Floats:
    """Return the T sizes; of a method that has no row in the table below, one by one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if method in _MANY:
            return _MANY[method](reference, current)
        own, found = METHODS[method], np.empty(len(current.rows))
        for number in range(len(found)):
            pair = _Row(reference, number), _Row(current, number)
            found[number] = own.size(own.score(*pair), *pair)
        return found


def _floored(reference: Side, current: Side) -> tuple[Floats, Floats]:
    """Return the shares with half a row where a bin has none; both are equal where neither has any."""
    used = (reference.bins > 0) | (current.bins > 0)
    p = np.where(used, np.maximum(reference.bins, 0.5) / reference.rows[:, None], 1.0)
    q = np.where(used, np.maximum(current.bins, 0.5) / current.rows[:, None], 1.0)
    return p, q


def _psi(reference: Side, current: Side) -> Floats:
    p, q = _floored(reference, current)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _kullback_leibler(reference: Side, current: Side) -> Floats:
    p, q = _floored(reference, current)
    return np.asarray((q * np.log(q / p)).sum(axis=1))


def _information(of: Floats, against: Floats) -> Floats:
    return np.asarray(np.where(of > 0, of * np.log(np.where(of > 0, of, 1.0) / against), 0.0).sum(axis=1))


def _jensen_shannon(reference: Side, current: Side) -> Floats:
    p, q = reference.shares, current.shares
    middle = (p + q) / 2
    divergence = (_information(p, middle) + _information(q, middle)) / 2 / np.log(2)
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))


def _hellinger(reference: Side, current: Side) -> Floats:
    return np.asarray(np.linalg.norm(np.sqrt(reference.shares) - np.sqrt(current.shares), axis=1) / np.sqrt(2))


def _l_infinity(reference: Side, current: Side) -> Floats:
    return np.asarray(np.abs(reference.shares - current.shares).max(axis=1))


def _total_variation(reference: Side, current: Side) -> Floats:
    return np.asarray(np.abs(reference.shares - current.shares).sum(axis=1) / 2)


def _pooled(reference: Side, current: Side) -> Floats:
    both: Floats = (reference.bins + current.bins) / (reference.rows + current.rows)[:, None]
    return both


def _cohens_w(reference: Side, current: Side) -> Floats:
    """Return the root of chi-square times 1/n + 1/m: the sum of (p - q)^2 over the pooled share."""
    pooled = _pooled(reference, current)
    squares = np.where(pooled > 0, (reference.shares - current.shares) ** 2 / pooled, 0.0)
    return np.asarray(np.sqrt(squares.sum(axis=1)))


def _g_size(reference: Side, current: Side) -> Floats:
    pooled = _pooled(reference, current)
    n, m = reference.rows, current.rows
    score = 2 * (n * _information(reference.shares, pooled) + m * _information(current.shares, pooled))
    return np.asarray(np.sqrt(np.maximum(score, 0.0) * (1 / n + 1 / m)))


def _kolmogorov_smirnov(reference: Side, current: Side) -> Floats:
    return np.asarray(np.abs(reference.cumulative - current.cumulative).max(axis=1))


def _wasserstein(reference: Side, current: Side) -> Floats:
    """Return the integral of |F - G| in standard deviations: within a cell one side's mean is first, or they agree."""
    low = np.fmin(reference.places, current.places)
    high = np.fmax(reference.places, current.places)
    filled = np.maximum.accumulate(np.where(np.isnan(high), -np.inf, high), axis=1)
    low = np.where(np.isnan(low), filled, low)
    after = reference.cumulative - current.cumulative
    before = np.pad(after, ((0, 0), (1, 0)))[:, :-1]
    alone = np.isnan(reference.places) | np.isnan(current.places)
    first = reference.places <= current.places
    share = np.where(first, reference.cells / reference.rows[:, None], -current.cells / current.rows[:, None])
    inside = np.where(alone, 0.0, np.abs(before + share) * (high - low))
    between = np.abs(after[:, :-1]) * (low[:, 1:] - filled[:, :-1])
    area = np.nansum(inside, axis=1) + np.where(np.isfinite(between), between, 0.0).sum(axis=1)
    same = ((reference.cells > 0) == (current.cells > 0)).all(axis=1)
    return np.where(reference.std > 0, area / reference.std, np.where(same, 0.0, np.inf))


_MANY: dict[str, Callable[[Side, Side], Floats]] = {
    "ks": _kolmogorov_smirnov,
    "wasserstein": _wasserstein,
    "psi": _psi,
    "jensen_shannon": _jensen_shannon,
    "hellinger": _hellinger,
    "l_infinity": _l_infinity,
    "kl": _kullback_leibler,
    "total_variation": _total_variation,
    "chi2": _cohens_w,
    "g_test": _g_size,
}
