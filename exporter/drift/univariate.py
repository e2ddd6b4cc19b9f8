"""Drift of one column: two counts over the same places -> statistics; the table of methods.

A plug point: write a function in `bins` or `ranks`, add a row to `METHODS`. Nothing here knows of rows, time or
configuration. Definitions, sources and error bounds: `docs/statistics.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from exporter.drift import bins as b
from exporter.drift import ranks as r
from exporter.drift.sample import Sample

__all__ = ["CATEGORICAL", "METHODS", "NUMERIC", "Method", "Sample"]


def _as_is(effect: float, reference: Sample, current: Sample) -> float:
    return effect


Turn = Callable[[float, Sample, Sample], float]


class Method(NamedTuple):
    """One row of the table.

    score: the statistic. warning: default effect from which it matters. least: smallest effect that ever counts, as
    a size. noise: largest score that chance alone gives at these numbers of rows (one in 1/alpha). p_value: of a
    score, where a null distribution is known. threshold: turns an effect into the score's unit. size, unsize: the
    score as something that does not grow with the rows, and back. rate: noise shrinks as rows ** -rate. blind: a
    threshold above this size cannot tell anything; None: above what a window in one bin only would have.
    """

    score: Callable[[Sample, Sample], float]
    warning: float
    least: float
    noise: Callable[[Sample, Sample, float], float]
    p_value: Turn | None = None
    threshold: Turn = _as_is
    size: Turn = _as_is
    unsize: Turn = _as_is
    rate: float = 0.5
    blind: float | None = None


# The default effects say the same thing in each unit: a normal feature that moved by 0.3 standard deviations; the
# least ones: by 0.2, a small effect in Cohen's words (1988).
METHODS: dict[str, Method] = {
    "ks": Method(r.kolmogorov_smirnov, 0.125, 0.08, r.noise_ks, r.kolmogorov_smirnov_p, blind=0.95),
    "wasserstein": Method(r.wasserstein, 0.3, 0.2, r.noise_wasserstein, blind=4.0),
    "cramer_von_mises": Method(
        r.cramer_von_mises,
        0.0083,
        0.0037,
        r.noise_cramer_von_mises,
        r.cramer_von_mises_p,
        r.grown,
        r.shrunk,
        r.grown,
        rate=1.0,
        blind=0.3,
    ),
    "anderson_darling": Method(
        r.anderson_darling,
        0.043,
        0.019,
        r.noise_anderson_darling,
        None,
        r.grown,
        r.shrunk,
        r.grown,
        rate=1.0,
        blind=2.0,
    ),
    "mann_whitney": Method(r.mann_whitney, 0.168, 0.112, r.noise_mann_whitney, r.mann_whitney_p, blind=0.95),
    "energy": Method(r.energy, 0.225, 0.15, r.noise_energy, blind=2.8),
    "psi": Method(b.population_stability_index, 0.1, 0.04, b.noise_psi, rate=1.0),
    "jensen_shannon": Method(b.jensen_shannon, 0.135, 0.085, b.noise_jensen_shannon),
    "hellinger": Method(b.hellinger, 0.11, 0.07, b.noise_hellinger),
    "l_infinity": Method(b.l_infinity, 0.1, 0.05, b.noise_l_infinity),
    "kl": Method(b.kullback_leibler, 0.045, 0.02, b.noise_kullback_leibler, rate=1.0),
    "total_variation": Method(b.total_variation, 0.12, 0.08, b.noise_total_variation),
    "chi2": Method(
        b.chi_square,
        0.1,
        0.2,
        b.noise_chi_square,
        b.chi_square_p,
        b.cramers_v_as_chi_square,
        b.cohens_w,
        b.chi_square_of_w,
    ),
    "g_test": Method(
        b.g_test,
        0.1,
        0.2,
        b.noise_g_test,
        b.chi_square_p,
        b.cramers_v_as_chi_square,
        b.cohens_w,
        b.chi_square_of_w,
    ),
}
NUMERIC = tuple(METHODS)
_RANKS = {"ks", "wasserstein", "cramer_von_mises", "anderson_darling", "mann_whitney", "energy"}
CATEGORICAL = tuple(name for name in METHODS if name not in _RANKS)
