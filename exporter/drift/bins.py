"""Distances of two samples over bins: deciles of a number, or categories."""

from __future__ import annotations

import numpy as np
from scipy import special

from exporter.drift.sample import Sample, inverse_size


def population_stability_index(reference: Sample, current: Sample) -> float:
    """Return sum((q - p) ln(q / p)) over bins; a zero share counts as half a row, an empty bin as nothing."""
    used = (reference.bins > 0) | (current.bins > 0)
    p = np.maximum(reference.bins[used], 0.5) / reference.rows
    q = np.maximum(current.bins[used], 0.5) / current.rows
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: Sample, current: Sample) -> float:
    """Return the Jensen-Shannon distance with base 2, 0 to 1: the root of the divergence."""
    p, q = reference.shares, current.shares
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum() / 2 / np.log(2)
    return float(np.sqrt(max(divergence, 0.0)))


def hellinger(reference: Sample, current: Sample) -> float:
    """Return the Hellinger distance, 0 to 1: |sqrt p - sqrt q| / sqrt 2."""
    return float(np.linalg.norm(np.sqrt(reference.shares) - np.sqrt(current.shares)) / np.sqrt(2))


def l_infinity(reference: Sample, current: Sample) -> float:
    """Return the largest difference of a bin's share, 0 to 1."""
    return float(np.abs(reference.shares - current.shares).max())


def chi_square(reference: Sample, current: Sample) -> float:
    """Return the statistic of the 2 x B contingency table, without Yates' correction.

    All unseen categories are one column: the statistic is the same as with a column each, the degrees of freedom
    are fewer.
    """
    table = np.vstack([reference.bins, current.bins])
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def _degrees(reference: Sample, current: Sample) -> int:
    return max(int(((reference.bins > 0) | (current.bins > 0)).sum()) - 1, 1)


def chi_square_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the p-value of the contingency table."""
    return float(special.chdtrc(_degrees(reference, current), score))


def chi_square_quantile(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the statistic that chance exceeds with probability alpha."""
    return float(special.chdtri(_degrees(reference, current), alpha))


def noise_psi(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the chi-square limit of PSI."""
    return chi_square_quantile(reference, current, alpha) * inverse_size(reference, current)


def noise_jensen_shannon(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the chi-square limit of the distance."""
    return float(np.sqrt(noise_psi(reference, current, alpha) / (8 * np.log(2))))


def noise_hellinger(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the chi-square limit of the distance."""
    return float(np.sqrt(noise_psi(reference, current, alpha) / 8))


def noise_l_infinity(reference: Sample, current: Sample, alpha: float) -> float:
    """Return a normal bound over all bins."""
    variance = (reference.shares * (1 - reference.shares)).max() * inverse_size(reference, current)
    return float(-special.ndtri(alpha / (2 * reference.bins.size)) * np.sqrt(variance))


def cramers_v_as_chi_square(effect: float, reference: Sample, current: Sample) -> float:
    """Return the statistic at a Cramer's V."""
    return effect**2 * (reference.rows + current.rows)


def cohens_w(score: float, reference: Sample, current: Sample) -> float:
    """Return Cohen's w of a statistic: its size whatever the rows."""
    return float(np.sqrt(score * inverse_size(reference, current)))


def chi_square_of_w(size: float, reference: Sample, current: Sample) -> float:
    """Return the statistic at a Cohen's w."""
    return size**2 / inverse_size(reference, current)


def kullback_leibler(reference: Sample, current: Sample) -> float:
    """Return sum q ln(q / p) over bins; a zero share counts as half a row, an empty bin as nothing."""
    used = (reference.bins > 0) | (current.bins > 0)
    p = np.maximum(reference.bins[used], 0.5) / reference.rows
    q = np.maximum(current.bins[used], 0.5) / current.rows
    return float((q * np.log(q / p)).sum())


def total_variation(reference: Sample, current: Sample) -> float:
    """Return half the sum of |p - q|, 0 to 1."""
    return float(np.abs(reference.shares - current.shares).sum() / 2)


def g_test(reference: Sample, current: Sample) -> float:
    """Return the likelihood-ratio statistic of the 2 x B contingency table: 2 sum O ln(O / E)."""
    table = np.vstack([reference.bins, current.bins])
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(2 * special.rel_entr(table.astype(np.float64), expected).sum())


def noise_kullback_leibler(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the chi-square limit: half that of PSI."""
    return noise_psi(reference, current, alpha) / 2


def noise_total_variation(reference: Sample, current: Sample, alpha: float) -> float:
    """Return a bound from the chi-square distance (Cauchy and Schwarz)."""
    return float(np.sqrt(noise_psi(reference, current, alpha)) / 2)
