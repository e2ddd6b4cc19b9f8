"""The statistics of ranks, and those of bins that have no table in test_drift: published values and scipy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from exporter.drift import ranks
from exporter.drift.univariate import METHODS, Sample
from exporter.profile import numeric
from exporter.profile.counts import add_into, gather
from tests.unit.helpers.profiles import numeric_samples

A = [38.7, 41.5, 43.8, 44.5, 45.5, 46.0, 47.7, 58.0]
B = [39.2, 39.3, 39.7, 41.4, 41.8, 42.9, 43.3, 45.8]
P, Q = np.array([16, 18, 16, 14, 12, 12]), np.array([16, 16, 16, 16, 16, 8])


def samples(reference: object, current: object, knots_at_all: bool = True) -> tuple[Sample, Sample]:
    """Return two samples; with a knot at every value of both, every statistic is exact."""
    both = [np.asarray(side, np.float64) for side in (reference, current)]
    bins = numeric.fit(np.concatenate(both) if knots_at_all else both[0], 100_000)
    found = []
    for values in both:
        vector = np.zeros(bins.size, np.int64)
        placed = numeric.place(bins, values, np.ones(len(values), np.bool_))
        add_into(vector, gather(placed, np.zeros(len(values), np.int64), 1, bins.size)[0])
        found.append(numeric.sample(bins, vector))
    return found[0], found[1]


def standardised(score: float, n: int, m: int) -> float:
    """Return A2akN as scipy shows it: less 1, over its standard deviation (Scholz and Stephens 1987, equation 4)."""
    total = n + m
    both = 1 / n + 1 / m
    h = float((1 / np.arange(1, total)).sum())
    g = sum(1 / ((total - i) * j) for i in range(1, total - 1) for j in range(i + 1, total))
    a = (4 * g - 6) + (10 - 6 * g) * both
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * both - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * both + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    variance = (a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3))
    return float((score - 1) / np.sqrt(variance))


def scipys_anderson(a: object, b: object) -> float:
    """Return scipy's standardised statistic, without its words about the p-value's range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.anderson_ksamp([a, b], variant="midrank").statistic)


@pytest.mark.parametrize(
    ("method", "published"),
    [("cramer_von_mises", 0.4375), ("mann_whitney", 2 * 49 / 64 - 1)],
)
def test_published_values(method: str, published: float) -> None:
    """Eight rows against eight; U is 49."""
    assert METHODS[method].score(*samples(A, B)) == pytest.approx(published, abs=1e-12)


def test_published_anderson_darling() -> None:
    """1.718310, standardised."""
    score = METHODS["anderson_darling"].score(*samples(A, B))
    assert standardised(score, 8, 8) == pytest.approx(1.718310, abs=5e-7)


def test_published_total_variation() -> None:
    """Values 1 to 6."""
    assert METHODS["total_variation"].score(Sample(P), Sample(Q)) == pytest.approx(0.0681818, abs=5e-8)


def test_g_test_and_kl_are_scipys() -> None:
    """The likelihood ratio of a contingency table; relative entropy."""
    both = (Sample(P), Sample(Q))
    expected = stats.chi2_contingency([P, Q], correction=False, lambda_="log-likelihood")
    assert METHODS["g_test"].score(*both) == pytest.approx(expected.statistic, rel=1e-12)
    p_value = METHODS["g_test"].p_value
    assert p_value is not None
    assert p_value(expected.statistic, *both) == pytest.approx(expected.pvalue, rel=1e-12)
    assert METHODS["kl"].score(*both) == pytest.approx(special.rel_entr(Q / Q.sum(), P / P.sum()).sum(), rel=1e-12)


tied = st.lists(st.integers(0, 6).map(float), min_size=4, max_size=40)
free = st.lists(st.integers(-500, 500).map(lambda i: i / 7), min_size=4, max_size=40, unique=True)


@given(st.one_of(tied, free), st.one_of(tied, free))
def test_ranks_are_scipys(reference: list[float], current: list[float]) -> None:
    """On any rows, ties too; Cramer-von Mises where there are none."""
    both = samples(reference, current)
    n, m = len(reference), len(current)
    u = stats.mannwhitneyu(reference, current, method="asymptotic")
    score = METHODS["mann_whitney"].score(*both)
    assert score == pytest.approx(abs(2 * u.statistic / (n * m) - 1), abs=1e-12)
    if len(set(reference + current)) > 1:
        assert ranks.mann_whitney_p(score, *both) == pytest.approx(min(u.pvalue, 1.0), abs=1e-9)
        found = standardised(METHODS["anderson_darling"].score(*both), n, m)
        assert found == pytest.approx(scipys_anderson(reference, current), abs=1e-8)
    if np.std(reference):
        expected = stats.energy_distance(reference, current) / np.sqrt(np.std(reference))
        assert METHODS["energy"].score(*both) == pytest.approx(expected, abs=1e-6)
    if len(set(reference + current)) == n + m:
        whole = stats.cramervonmises_2samp(reference, current, method="asymptotic")
        score = METHODS["cramer_von_mises"].score(*both)
        assert score == pytest.approx(whole.statistic, abs=1e-10)
        assert ranks.cramer_von_mises_p(score, *both) == pytest.approx(whole.pvalue, abs=1e-9)


@given(tied, tied)
def test_cramer_von_mises_with_ties(reference: list[float], current: list[float]) -> None:
    """By rows: n m / N^2 times the sum of (F - G)^2 at each of them."""
    n, m = len(reference), len(current)
    pooled = np.array(reference + current)
    f = [(np.array(side)[:, None] <= pooled).mean(axis=0) for side in (reference, current)]
    expected = n * m / (n + m) ** 2 * ((f[0] - f[1]) ** 2).sum()
    assert METHODS["cramer_von_mises"].score(*samples(reference, current)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", ["mann_whitney", "cramer_von_mises", "anderson_darling", "energy", "kl", "g_test"])
def test_size_and_score_go_forth_and_back(method: str) -> None:
    """What calibration stores is the score again, at the same rows."""
    both = samples(np.random.default_rng(1).normal(size=400), np.random.default_rng(2).normal(0.3, 1, 300))
    own = METHODS[method]
    score = own.score(*both)
    assert own.unsize(own.size(score, *both), *both) == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_size_does_not_grow_with_the_rows(method: str) -> None:
    """The same difference of shares in ten times the rows is of the same size."""
    random = np.random.default_rng(3)
    a, b = random.normal(size=3000), random.normal(0.5, 1, 2000)
    own = METHODS[method]
    sizes = [own.size(own.score(*pair), *pair) for pair in (samples(a, b), samples(np.tile(a, 10), np.tile(b, 10)))]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_default_effect_is_a_shift_of_three_tenths(method: str) -> None:
    """Each default says the same: a normal feature that moved by 0.3 standard deviations, within a third."""
    random = np.random.default_rng(4)
    both = samples(random.normal(size=200_000), random.normal(0.3, 1, 200_000), knots_at_all=False)
    own = METHODS[method]
    limit = own.threshold(own.warning, *both)
    assert 0.5 < own.score(*both) / limit < 1.5 or method in {"chi2", "g_test", "l_infinity"}


@st.composite
def counts(draw: st.DrawFn) -> tuple[Sample, Sample]:
    """Return two samples: of many or few cells, most of them empty, or none; of few rows, and of billions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([3, 31, 33, 65, 701, 5_001]))
    found = []
    for _ in range(2):
        cells = rng.poisson(draw(st.sampled_from([0.02, 0.5, 40.0])), size) * draw(st.sampled_from([1, 10_000]))
        cells[rng.integers(size)] += 1
        found.append(Sample(cells, cells, np.zeros(size), np.arange(size // 2)))
    return found[0], found[1]


@given(counts())
def test_the_widest_gap_is_that_of_all_places(pair: tuple[Sample, Sample]) -> None:
    """As whole numbers, though floats say where to look."""
    reference, current = pair
    f, g = (np.cumsum(one.cells) for one in pair)
    assert ranks._widest(reference, current) == int(np.abs(f * current.rows - g * reference.rows).max())


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 200, 4_096]), st.sampled_from([0.0, 0.4, -2.0, 50.0]))
def test_distances_by_span_are_those_of_all_places(seed: int, most: int, move: float) -> None:
    """Of spans of one cell and of many, of rows beyond the knots, of knots only, and with either side as reference."""
    rng = np.random.default_rng(seed)
    reference = rng.gamma(2.0, 1.0, rng.integers(2, 400)).round(int(rng.integers(0, 9)))
    current = (rng.gamma(2.0, 1.0 + rng.random(), rng.integers(2, 400)) + move).round(int(rng.integers(0, 9)))
    pair = numeric_samples(reference, current, most=most)
    for one, other in (pair, pair[::-1]):
        plain = [Sample(own.bins, own.cells, own.sums, own.knots) for own in (one, other)]
        for method in ("wasserstein", "energy"):
            score = METHODS[method].score(one, other)
            assert score == pytest.approx(METHODS[method].score(*plain), rel=1e-7, abs=1e-7), method
    for own in pair:
        plain = Sample(own.bins, own.cells, own.sums, own.knots)
        used = np.flatnonzero(own.cells)
        assert [own.place(cell) for cell in used.tolist()] == pytest.approx(plain.places[used].tolist(), rel=1e-12)
        assert own.mean == pytest.approx(plain.mean, rel=1e-12, abs=1e-12)
        assert own.quantiles == pytest.approx(plain.quantiles, rel=1e-12)
