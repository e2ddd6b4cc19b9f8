"""Mean shift: how far did the mean of all columns together move? For the components of an embedding."""

from __future__ import annotations

import math

import numpy as np

from exporter.drift.features import Features, Floats, Ints, Result, Rows, ranked
from exporter.special import special

_FARTHEST = 10.0  # standard deviations: one absurd value shall not decide a mean
_CHANCE = 0.001
_HALF_NORMAL = math.sqrt(2 / math.pi)


def mean_shift(
    reference: Rows, window: Rows, features: Features, seed: int, blocks: Ints | None = None, explain: bool = True
) -> Result | None:
    """Return the distance between the means of window and reference, in total standard deviations of the reference.

    sqrt(max(q, 0)); q = (|mean difference|^2 - tr S / n - tr T / m) / tr S, with S and T the covariances of reference
    and window: without a change its mean is 0 for any number of rows (Bai and Saranadasa 1996, Chen and Qin 2010).
    Columns are not standardised: they are to be of one unit. Values are cut at 10 standard deviations; what is missing
    is left out of its column's mean; a column that a side has fewer than twice, and categories, take no part. None
    where no column is left.

    size: q's root with q's sign. p_value: q without a change is about a scaled chi-square with tr(S)^2 / tr(S^2)
    degrees of freedom (Box 1954), blind to tails. contributions: a column's part of the squared distance.
    seed, blocks: not used.
    """
    names, before, after = _columns(reference, window, features)
    if not names:
        return None
    (n, mean, variance), (m, new_mean, new_variance) = _moments(before), _moments(after)
    total = float(variance.sum())
    squared = (new_mean - mean) ** 2
    q = float((squared - variance / n - new_variance / m).sum()) / total
    inverse = float((variance / n + variance / m).sum()) / total
    freedom = total**2 / _squared_trace(before - mean, n)
    noise = math.sqrt(2 / freedom) * inverse  # of q
    # a chi-square of `freedom` degrees has its mean at q = 0
    p_value = float(special.chdtrc(freedom, max(freedom * (1 + q / inverse), 0.0)))
    bound = (float(special.chdtri(freedom, _CHANCE)) / freedom - 1) * inverse
    by_name = dict(zip(names, (squared / total).tolist(), strict=True)) if explain else {}
    return Result(
        score=math.sqrt(max(q, 0.0)),
        size=math.copysign(math.sqrt(abs(q)), q),
        noise=math.sqrt(_HALF_NORMAL * noise),  # of the signed root, as if q were normal
        chance=math.sqrt(bound),
        p_value=p_value,
        contributions=ranked(features, by_name),
    )


def _columns(reference: Rows, window: Rows, features: Features) -> tuple[list[str], Floats, Floats]:
    """Return the numeric columns that vary in the reference and are known in the window: names, values cut."""
    numeric = [at for at, categories in enumerate(features.categories) if not categories]
    before = reference[:, numeric].astype(np.float64)
    known = ~np.isnan(before)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, before, 0).sum(axis=0) / count
    std = np.sqrt((np.where(known, before - mean, 0) ** 2).sum(axis=0) / count)
    after = window[:, numeric].astype(np.float64)
    used = (std > 1e-9 * np.abs(mean)) & ((~np.isnan(after)).sum(axis=0) >= 2)
    low, high = mean[used] - _FARTHEST * std[used], mean[used] + _FARTHEST * std[used]
    names = [features.names[at] for at, own in zip(numeric, used.tolist(), strict=True) if own]
    return names, np.clip(before[:, used], low, high), np.clip(after[:, used], low, high)


def _moments(values: Floats) -> tuple[Ints, Floats, Floats]:
    """Return the known rows, mean and variance (ddof 1) of each column."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(n, 1)
    variance = (np.where(known, values - mean, 0) ** 2).sum(axis=0) / np.maximum(n - 1, 1)
    return n, mean, variance


def _squared_trace(centered: Floats, n: Ints) -> float:
    """Return tr(S^2), without what n rows add to it by chance: tr(S)^2 / n."""
    filled = np.nan_to_num(centered)
    covariance = filled.T @ filled / (len(filled) - 1)
    trace = float(np.trace(covariance))
    found = float((covariance**2).sum()) - trace**2 / float(n.mean())
    return float(max(found, trace**2 / centered.shape[1]))
