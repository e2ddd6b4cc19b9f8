"""Distances of two samples over bins: deciles of a number, or categories."""

from __future__ import annotations

import math

import numpy as np

from exporter.drift.noise import Terms, absolute_limit, largest_limit, limit
from exporter.drift.sample import Floats, Sample, inverse_size
from exporter.special import special


def _shares(current: Floats, reference: Floats, m: int, n: int) -> tuple[Floats, Floats]:
    """Return q and p with half a row for none; both zero where neither side has any."""
    q, p = np.maximum(current, 0.5) / m, np.maximum(reference, 0.5) / n
    none = current + reference <= 0
    if none.any():
        q[none] = p[none] = 0.0
    return q, p


def _psi(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    q, p = _shares(current, reference, m, n)
    parts: Floats = special.rel_entr(q, p) + special.rel_entr(p, q)
    return parts


def _kullback_leibler(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    """Less q - p, which adds up to nothing: so a bin's part is small where its shares are alike."""
    q, p = _shares(current, reference, m, n)
    parts: Floats = special.rel_entr(q, p) - (current / m - reference / n)
    return parts


def _jensen_shannon(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    q, p = current / m, reference / n
    middle = (p + q) / 2
    parts: Floats = special.rel_entr(p, middle) + special.rel_entr(q, middle)
    return parts * (0.5 / math.log(2))


def _hellinger(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    parts: Floats = (np.sqrt(current / m) - np.sqrt(reference / n)) ** 2 / 2
    return parts


def _total_variation(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    parts: Floats = np.abs(current / m - reference / n) / 2
    return parts


def _chi_square(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    both = current + reference
    expected = both * m / (n + m)
    scale = expected * n / (n + m)
    return np.divide((current - expected) ** 2, scale, out=np.zeros_like(scale), where=scale > 0)


def _g_test(current: Floats, reference: Floats, m: int, n: int) -> Floats:
    both = current + reference
    parts: Floats = special.rel_entr(current, both * m / (n + m)) + special.rel_entr(reference, both * n / (n + m))
    return 2 * parts


def _total(terms: Terms, reference: Sample, current: Sample) -> float:
    return float(np.add.reduce(terms(current.weights, reference.weights, current.rows, reference.rows)))


def population_stability_index(reference: Sample, current: Sample) -> float:
    """Return sum((q - p) ln(q / p)) over bins; a zero share counts as half a row, an empty bin as nothing."""
    return _total(_psi, reference, current)


def kullback_leibler(reference: Sample, current: Sample) -> float:
    """Return sum q ln(q / p) over bins; a zero share counts as half a row, an empty bin as nothing."""
    return _total(_kullback_leibler, reference, current)


def jensen_shannon(reference: Sample, current: Sample) -> float:
    """Return the Jensen-Shannon distance with base 2, 0 to 1: the root of the divergence."""
    return float(np.sqrt(max(_total(_jensen_shannon, reference, current), 0.0)))


def hellinger(reference: Sample, current: Sample) -> float:
    """Return the Hellinger distance, 0 to 1: |sqrt p - sqrt q| / sqrt 2."""
    return float(np.sqrt(_total(_hellinger, reference, current)))


def total_variation(reference: Sample, current: Sample) -> float:
    """Return half the sum of |p - q|, 0 to 1."""
    return _total(_total_variation, reference, current)


def l_infinity(reference: Sample, current: Sample) -> float:
    """Return the largest difference of a bin's share, 0 to 1."""
    return float(np.abs(reference.shares - current.shares).max())


def chi_square(reference: Sample, current: Sample) -> float:
    """Return the statistic of the 2 x B contingency table, without Yates' correction.

    All unseen categories are one column: the statistic is the same as with a column each, the degrees of freedom
    are fewer.
    """
    return _total(_chi_square, reference, current)


def g_test(reference: Sample, current: Sample) -> float:
    """Return the likelihood-ratio statistic of the 2 x B contingency table: 2 sum O ln(O / E)."""
    return _total(_g_test, reference, current)


def _degrees(reference: Sample, current: Sample) -> int:
    return max(int(((reference.bins > 0) | (current.bins > 0)).sum()) - 1, 1)


def chi_square_p(score: float, reference: Sample, current: Sample) -> float:
    """Return the p-value of the contingency table."""
    return float(special.chdtrc(_degrees(reference, current), score))


def noise_psi(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of PSI: chi-square over the harmonic size where rows are plenty."""
    return limit(_psi, inverse_size(reference, current), reference, current, alpha)


def noise_kullback_leibler(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the divergence: half that of PSI where rows are plenty."""
    return limit(_kullback_leibler, inverse_size(reference, current) / 2, reference, current, alpha)


def noise_jensen_shannon(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the distance."""
    base = inverse_size(reference, current) / (8 * np.log(2))
    return float(np.sqrt(limit(_jensen_shannon, base, reference, current, alpha)))


def noise_hellinger(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the distance."""
    return float(np.sqrt(limit(_hellinger, inverse_size(reference, current) / 8, reference, current, alpha)))


def noise_chi_square(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the statistic."""
    return limit(_chi_square, 1.0, reference, current, alpha)


def noise_g_test(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the statistic."""
    return limit(_g_test, 1.0, reference, current, alpha)


def noise_total_variation(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the smaller of two limits: of chi-square (Cauchy and Schwarz), and of the sum of sizes."""
    chi_square = noise_chi_square(reference, current, alpha)
    schwarz = float(np.sqrt(chi_square * inverse_size(reference, current))) / 2
    if (reference.bins > 0).sum() < 2:
        return schwarz
    return min(schwarz, absolute_limit(_total_variation, reference, current, alpha))


def noise_l_infinity(reference: Sample, current: Sample, alpha: float) -> float:
    """Return the limit of the largest of all differences."""
    return largest_limit(reference, current, alpha)


def cramers_v_as_chi_square(effect: float, reference: Sample, current: Sample) -> float:
    """Return the statistic at a Cramer's V."""
    return effect**2 * (reference.rows + current.rows)


def cohens_w(score: float, reference: Sample, current: Sample) -> float:
    """Return Cohen's w of a statistic: its size whatever the rows."""
    return float(np.sqrt(score * inverse_size(reference, current)))


def chi_square_of_w(size: float, reference: Sample, current: Sample) -> float:
    """Return the statistic at a Cohen's w."""
    return size**2 / inverse_size(reference, current)
