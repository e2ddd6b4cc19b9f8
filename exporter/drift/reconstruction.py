"""PCA reconstruction: do the reference's main directions still describe the window's rows?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from exporter.drift.features import Features, Floats, Ints, Result, Rows, ranked
from exporter.special import special

FOLDS = 5
_VARIANCE = 0.65  # share of the variance in the kept components, as NannyML
_INDICATORS = 20  # commonest categories with an indicator of their own
_FARTHEST = 10.0  # standard deviations: one absurd value shall not decide a mean over a window
_ROUNDING = 1e-5  # standard deviations: a smaller error is float32's, not the data's
_CHANCE = 0.001


class _Encoded(NamedTuple):
    """How one feature becomes columns: (value - center) / scale; codes: of the indicators, empty if numeric."""

    column: int
    codes: Floats
    center: Floats
    scale: float

    def apply(self, rows: Rows) -> Floats:
        values = rows[:, self.column].astype(np.float64)
        if not len(self.codes):
            return np.nan_to_num(np.clip((values - self.center) / self.scale, -_FARTHEST, _FARTHEST))[:, None]
        own = values[:, None] == self.codes
        return (np.column_stack([own, ~own.any(axis=1)]) - self.center) / self.scale


def _encoding(reference: Rows, features: Features) -> list[_Encoded]:
    """Fix on the reference how features become columns; a feature that is constant there is left out."""
    plan = []
    for at, categories in enumerate(features.categories):
        values = reference[:, at].astype(np.float64)
        if not categories:
            known = values[~np.isnan(values)]
            if len(known) and known.min() < known.max():
                plan.append(_Encoded(at, np.empty(0), np.array([known.mean()]), float(known.std())))
            continue
        codes, counts = np.unique(values, return_counts=True)
        commonest = np.argsort(-counts, kind="stable")[:_INDICATORS]
        shares = counts[commonest] / len(values)
        shares = np.append(shares, max(1 - shares.sum(), 0.0))
        if len(codes) > 1:
            plan.append(_Encoded(at, codes[commonest], shares, float(np.sqrt((shares * (1 - shares)).sum()))))
    return plan


class _Directions(NamedTuple):
    """A fitted PCA: mean (D,) and principal axes (count, D) of the encoded features."""

    plan: list[_Encoded]
    mean: Floats
    axes: Floats

    def squared_errors(self, rows: Rows, width: int) -> Floats:
        """Return what is not reconstructed, squared: (rows, features), 0 for a feature that takes no part."""
        centered = _encode(self.plan, rows) - self.mean
        residuals = centered - centered @ self.axes.T @ self.axes
        errors = np.zeros((len(rows), width))
        ends = np.cumsum([len(own.center) for own in self.plan])
        for own, part in zip(self.plan, np.split(residuals**2, ends[:-1], axis=1), strict=True):
            errors[:, own.column] = part.sum(axis=1)
        return errors


def _encode(plan: list[_Encoded], rows: Rows) -> Floats:
    return np.hstack([own.apply(rows) for own in plan])


def _directions(reference: Rows, features: Features, count: int | None = None) -> _Directions | None:
    """Fit on the reference; None where fewer than two features vary.

    Without `count` as few axes as have 65 % of the variance, but at least one dimension stays without: else nothing
    could ever fail to be reconstructed.
    """
    plan = _encoding(reference, features)
    if len(plan) < 2:
        return None
    encoded = _encode(plan, reference)
    variance, axes = np.linalg.eigh(np.cov(encoded.T, ddof=0))
    variance, axes = np.maximum(variance[::-1], 0), axes.T[::-1]
    if count is None:
        share = np.cumsum(variance) / variance.sum()
        rank = int((variance > 1e-9 * variance[0]).sum())
        count = max(min(int(np.searchsorted(share, _VARIANCE, side="right")) + 1, rank - 1), 1)
    return _Directions(plan, encoded.mean(axis=0), axes[:count])


def _held_out(reference: Rows, features: Features, fold: Ints, fitted: _Directions) -> Floats:
    """Return the squared errors of each row by directions (and an encoding) that were fitted without its fold."""
    errors = np.empty((len(reference), len(features.names)))
    for own in np.unique(fold):
        test = fold == own
        without = None if test.all() else _directions(reference[~test], features, len(fitted.axes))
        errors[test] = (without or fitted).squared_errors(reference[test], len(features.names))
    return errors


def mean_errors(
    reference: Rows, window: Rows, features: Features, seed: int, blocks: Ints | None = None
) -> tuple[Floats, Floats] | None:
    """Return the squared errors of reference rows, by components fitted without them, and of the window's.

    (rows, features) each. blocks: the block in time of each reference row, such as its day: what is fitted without a
    row is then also fitted without its block and the neighbours of that. None for fewer than two features.
    """
    if min(len(reference), len(window)) < FOLDS or (fitted := _directions(reference, features)) is None:
        return None
    if blocks is None:
        fold = np.random.default_rng(seed).permutation(len(reference)) % FOLDS
    else:
        dense = np.unique(blocks, return_inverse=True)[1].astype(np.int64)
        fold = dense * FOLDS // (int(dense.max()) + 1)
    return _held_out(reference, features, fold, fitted), fitted.squared_errors(window, len(features.names))


def pca_reconstruction(
    reference: Rows, window: Rows, features: Features, seed: int, blocks: Ints | None = None, explain: bool = True
) -> Result | None:
    """Return how far the window's reconstruction error is from the reference's: abs(ln(error / expected)).

    Error: mean over rows of the Euclidean distance between a row and its projection on the reference's main axes.
    Expected: that of reference rows by axes fitted without them. Two-sided; size: the logarithm with its sign, above 0
    where the relations between features broke or their spread grew, below 0 where rows became more alike.

    As NannyML's data reconstruction: standardise on the reference, missing as its mean, keep the components with 65 %
    of the variance. Unlike it: values are cut at 10 standard deviations; a category is an indicator, of the 20
    commonest and of the rest (unseen too), scaled so that each feature has variance 1 (a share in place of the category
    loses a binary one, half and half); a feature constant in the reference is left out. None below two features.

    contributions: change of the mean squared error of each feature's columns, up or down: where the error is, which
    need not be the feature that moved. blocks: as in `mean_errors`.
    """
    found = mean_errors(reference, window, features, seed, blocks)
    if found is None:
        return None
    expected, squares = found
    errors = np.sqrt(expected.sum(axis=1))
    usual = float(errors.mean()) + _ROUNDING
    size = math.log((float(np.sqrt(squares.sum(axis=1)).mean()) + _ROUNDING) / usual)
    # Folds share training rows, which widens the held-out mean: see `domain.cross_validated_null_sd`.
    inverse = 1 / len(window) + (1 + FOLDS / (FOLDS - 1)) / len(reference)
    noise = float(errors.std()) * math.sqrt(inverse) / usual
    p_value = float(2 * special.ndtr(-abs(size) / noise)) if noise else None
    change = np.abs(squares.mean(axis=0) - expected.mean(axis=0)).tolist()
    by_name = dict(zip(features.names, change, strict=True)) if explain else {}
    chance = -float(special.ndtri(_CHANCE / 2)) * noise
    return Result(abs(size), size, noise, chance, p_value, ranked(features, by_name))
