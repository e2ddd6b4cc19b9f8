"""Changes between features are found, no change is not, and the numbers equal independent computations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: F401 - loaded before threads are limited
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from exporter.drift import domain
from exporter.drift import reconstruction as pca
from exporter.drift.domain import domain_classifier
from exporter.drift.means import mean_shift
from exporter.drift.multivariate import METHODS, Features, compare
from exporter.drift.reconstruction import pca_reconstruction

JOINT = ("domain_classifier", "pca_reconstruction")  # those that see what changed between features


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Methods called by themselves, too, do not fight other tests for processors."""
    with threadpool_limits(1):
        yield


def plain(width: int) -> Features:
    """Numeric features f0, f1, ..."""
    return Features(tuple(f"f{i}" for i in range(width)), (0,) * width)


def normal(seed: int, rows: int, width: int = 5, correlation: float = 0.0) -> np.ndarray:
    """Standard normal columns, the first two correlated: each column alone is the same for any correlation."""
    x = np.random.default_rng(seed).normal(size=(rows, width))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    return x.astype(np.float32)


@pytest.mark.parametrize("method", JOINT)
def test_correlation_flip_is_found_where_columns_alone_show_nothing(method: str) -> None:
    """All marginals stay; both methods see it, and name the two features."""
    reference, window = normal(1, 1_500, correlation=0.7), normal(2, 1_500, correlation=-0.7)
    alone = [stats.ks_2samp(reference[:, i], window[:, i]).pvalue for i in range(5)]
    assert min(alone) > 0.01
    result = compare(method, reference, window, plain(5), 0)
    assert result is not None and result.p_value is not None
    assert result.score > max(result.chance, METHODS[method].least)
    assert result.p_value < 0.001
    assert set(list(result.contributions)[:2]) == {"f0", "f1"}
    same = compare(method, reference, normal(3, 1_500, correlation=0.7), plain(5), 0)
    assert same is not None
    assert same.score < same.chance


@pytest.mark.parametrize("moved", [0, 3])
def test_shifted_feature_is_named_first(moved: int) -> None:
    """One of five features moved by 0.8 standard deviations."""
    reference, window = normal(4, 800), normal(5, 800)
    window[:, moved] += 0.8
    result = domain_classifier(reference, window, plain(5), 0)
    assert result is not None
    assert result.score > result.chance
    first, second = list(result.contributions.items())[:2]
    assert first[0] == f"f{moved}"
    assert first[1] > 5 * abs(second[1])


def test_auc_of_no_change_stays_within_its_null() -> None:
    """Over 60 no-change pairs the score varies as the null says, and p < 0.05 about as often as it should.

    The null of fixed scores would be too narrow by a third: out-of-fold scores are not fixed.
    """
    results = [compare("domain_classifier", normal(s, 200, 3), normal(s + 999, 200, 3), plain(3), s) for s in range(60)]
    z = [r.size / r.noise for r in results if r is not None]
    assert len(z) == 60
    assert abs(np.mean(z)) < 0.4
    assert 0.65 < np.std(z) < 1.15
    assert 1.5 * np.std(z) > 1.1
    assert sum(r.p_value < 0.05 for r in results if r is not None and r.p_value is not None) <= 7


@pytest.mark.parametrize(("n", "m"), [(1_000, 1_000), (400, 1_500), (1_500, 400)])
def test_pca_error_of_no_change_stays_within_its_null(n: int, m: int) -> None:
    """Over 60 no-change pairs the score varies as its noise says; a category of many values does no harm."""
    features = Features(("a", "b", "c", "d", "e"), (0, 0, 0, 0, 80))
    z = []
    for seed in range(60):
        reference, window = normal(seed, n), normal(1_000 + seed, m)
        for rows in (reference, window):
            rows[:, 4] = np.random.default_rng([seed, len(rows), rows is window]).integers(0, 80, len(rows))
        result = pca_reconstruction(reference, window, features, seed)
        assert result is not None
        assert result.score == abs(result.size)
        z.append(result.size / result.noise)
    assert abs(np.mean(z)) < 0.5
    assert 0.75 < np.std(z) < 1.25
    assert result.chance == pytest.approx(stats.norm.isf(0.0005) * result.noise)


def test_blocks_are_kept_out_together() -> None:
    """Each day lies on a line of its own: by days, what is expected of a day that was never seen is more."""
    random = np.random.default_rng(0)
    day = np.repeat(np.arange(10), 60)
    place = 5 * random.normal(size=(10, 8))[day]
    rows = (place + random.normal(size=(600, 8))).astype(np.float32)
    features = plain(8)
    by_row, by_day = (pca.mean_errors(rows, rows, features, 0, blocks) for blocks in (None, day))
    assert by_row is not None and by_day is not None
    assert by_day[0].mean() > 1.3 * by_row[0].mean()
    np.testing.assert_array_equal(by_day[1], by_row[1])


def test_null_is_mann_whitneys_and_hanley_mcneils() -> None:
    """Equal to scipy's test with ties, and to the published formula at 0.5."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 70).astype(float)
    current = np.arange(70) >= 40
    z = (domain.auc(current, scores) - 0.5) / domain.auc_null_sd(40, 30, scores)
    wanted = stats.mannwhitneyu(
        scores[current], scores[~current], alternative="greater", method="asymptotic", use_continuity=False
    )
    assert stats.norm.sf(z) == pytest.approx(wanted.pvalue, rel=1e-12)
    n, m, area = 40, 30, 0.5
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (n * m)
    assert domain.auc_null_sd(n, m) == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert domain.cross_validated_null_sd(n, m) == pytest.approx(1.5 * np.sqrt(variance), rel=1e-12)


def test_score_is_scikit_learns_auc_of_predictions_on_rows_not_seen() -> None:
    """The same out-of-fold scores, ties too; and a memorised label does not leak into them."""
    reference, window = normal(6, 300, 3), normal(7, 250, 3, correlation=0.6)
    rows = np.concatenate([reference, window]).astype(np.float64)
    current = np.arange(550) >= 300
    scores, _ = domain.out_of_fold(rows, current, [False] * 3, 11)
    result = domain_classifier(reference, window, plain(3), 11)
    assert result is not None
    assert result.score == pytest.approx(roc_auc_score(current, scores), abs=1e-12)
    assert result.p_value == pytest.approx(
        stats.norm.sf(result.score - 0.5, scale=1.5 * domain.auc_null_sd(300, 250, scores)), rel=1e-9
    )
    shuffled = np.random.default_rng(0).permutation(current)
    assert roc_auc_score(shuffled, domain.out_of_fold(rows, shuffled, [False] * 3, 11)[0]) < 0.6


def test_pca_error_equals_a_direct_computation() -> None:
    """Against numpy's singular values, and scikit-learn's choice of components for 65 % of the variance."""
    reference, window = normal(10, 400, 6, 0.8), normal(11, 300, 6, 0.1)
    window[::7, 2] = np.nan
    scaled = (reference - reference.mean(0, dtype=float)) / reference.std(0, dtype=float)
    new = np.nan_to_num((window - reference.mean(0, dtype=float)) / reference.std(0, dtype=float))
    count = PCA(n_components=0.65).fit(scaled).n_components_
    assert 1 < count < 6
    axes = np.linalg.svd(scaled, full_matrices=False)[2][:count]
    found = pca.mean_errors(reference, window, plain(6), 0)
    assert found is not None
    np.testing.assert_allclose(found[1], (new - new @ axes.T @ axes) ** 2, rtol=1e-5, atol=1e-9)


def test_pca_score_is_the_log_ratio_of_mean_errors() -> None:
    """Twice the spread is twice the error, half of it half: as far up as down."""
    reference = normal(22, 900, 5)
    center = reference.mean(axis=0)
    results = [pca_reconstruction(reference, center + k * (reference - center), plain(5), 0) for k in (2.0, 0.5)]
    wide, narrow = (result for result in results if result is not None)
    assert wide.size == pytest.approx(np.log(2), abs=0.06)
    assert narrow.size == pytest.approx(-np.log(2), abs=0.06)
    assert min(wide.score, narrow.score) > max(wide.chance, narrow.chance)


def test_pca_error_of_categories_equals_a_direct_computation() -> None:
    """Indicators of each category and one for the rest, scaled so that the feature has variance 1."""
    rng = np.random.default_rng(12)
    features = Features(("x", "c"), (0, 3))
    reference = np.column_stack([rng.normal(size=500), rng.integers(0, 3, 500)]).astype(np.float32)
    window = np.column_stack([rng.normal(size=300), rng.integers(0, 5, 300)]).astype(np.float32)  # 3: unseen, 4: none

    def encoded(rows: np.ndarray) -> np.ndarray:
        share = np.array([(reference[:, 1] == c).mean() for c in range(3)] + [0.0])
        own = np.column_stack([rows[:, 1] == 0, rows[:, 1] == 1, rows[:, 1] == 2, rows[:, 1] > 2])
        x = reference[:, 0].astype(float)
        return np.column_stack(
            [(rows[:, 0] - x.mean()) / x.std(), (own - share) / np.sqrt((share * (1 - share)).sum())]
        )

    known, new = encoded(reference), encoded(window)
    assert known.var(axis=0)[1:].sum() == pytest.approx(1)
    axes = np.linalg.svd(known, full_matrices=False)[2][:2]  # two of three: one dimension must stay
    found = pca.mean_errors(reference, window, features, 0)
    result = pca_reconstruction(reference, window, features, 0)
    assert found is not None and result is not None
    wanted = np.linalg.norm(new - new @ axes.T @ axes, axis=1)
    np.testing.assert_allclose(np.sqrt(found[1].sum(axis=1)), wanted, rtol=1e-6)
    assert result.score > result.chance
    assert next(iter(result.contributions)) == "c"


@pytest.mark.parametrize("method", JOINT)
def test_unseen_categories_and_missing_values_are_found(method: str) -> None:
    """A third of one column's categories is new; other columns are missing here and there, one altogether."""
    rng = np.random.default_rng(13)
    features = Features(("x", "y", "c", "d", "gone"), (0, 0, 4, 300, 0))

    def rows(new: float) -> np.ndarray:
        x, y = rng.normal(size=600), rng.normal(size=600)
        c = np.where(rng.random(600) < new, 4, rng.integers(0, 4, 600))
        d = np.where(rng.random(600) < 0.1, 301, rng.integers(0, 300, 600))
        x[rng.random(600) < 0.2] = np.nan
        return np.column_stack([x, y, c, d, np.full(600, np.nan)]).astype(np.float32)

    reference = rows(0)
    changed, still = (compare(method, reference, rows(new), features, 0) for new in (0.33, 0))
    assert changed is not None and still is not None
    assert changed.score > changed.chance
    assert next(iter(changed.contributions)) == "c"
    assert still.score < still.chance
    assert changed.contributions["gone"] == 0
    assert set(changed.contributions) == set(features.names)


@pytest.mark.parametrize("method", METHODS)
def test_constant_columns_change_nothing(method: str) -> None:
    """With and without them the score is the same."""
    reference, window = normal(14, 300, 3), normal(15, 300, 3)
    constant = np.full((300, 1), 0.1, np.float32)
    bare = compare(method, reference, window, plain(3), 0)
    more = compare(method, np.hstack([reference, constant]), np.hstack([window, constant]), plain(4), 0)
    assert bare is not None and more is not None
    assert more.score == pytest.approx(bare.score, rel=1e-12)
    assert more.contributions["f3"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_judged_has_no_value(method: str) -> None:
    """Too few rows on either side, nothing but constants, nothing but missing values: None, never 0 or 0.5."""
    rows = normal(16, 300, 2)
    assert compare(method, rows[:199], rows, plain(2), 0) is None
    assert compare(method, rows, rows[:199], plain(2), 0) is None
    assert compare(method, rows[:200], rows[:200], plain(2), 0) is not None
    assert compare(method, rows[:0], rows[:0], plain(2), 0, min_rows=0) is None
    for value in (0.1, np.nan):
        empty = np.full((300, 2), value, np.float32)
        assert compare(method, empty, empty, plain(2), 0) is None
    assert pca_reconstruction(rows[:, :1], rows[:, :1], plain(1), 0) is None


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_result_whatever_the_global_seed(method: str) -> None:
    """Twice the same to the last bit; another seed draws other rows of more than 1,500."""
    reference, window = normal(17, 1_700, 2), normal(18, 400, 2)
    np.random.seed(1)
    first = compare(method, reference, window, plain(2), 3)
    np.random.seed(2)
    assert compare(method, reference, window, plain(2), 3) == first
    assert compare(method, reference, window, plain(2), 4) != first


def test_same_result_on_one_thread_and_on_two() -> None:
    """In processes of their own; sums that threads share would differ in the last bits."""
    code = """
import numpy as np
from exporter.drift.multivariate import METHODS, Features, compare
x = np.random.default_rng(0).normal(size=(2_000, 80)).astype(np.float32)
features = Features(tuple(map(str, range(80))), (0,) * 80)
for method in METHODS:
    print(repr(compare(method, x[:1_200], x[1_200:], features, 0, explain=method != "domain_classifier")))
"""
    outputs = []
    for threads in ("1", "2"):
        own = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        run = [sys.executable, "-c", code]
        outputs.append(subprocess.run(run, env=own, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert outputs[0].count("Result") == 3
    assert outputs[0] == outputs[1]


def test_features_that_say_the_same_have_no_error_until_they_part() -> None:
    """Two equal columns: rounding alone is no change; one that stops following is."""
    for seed in range(20):
        x = normal(seed, 700, 2)[:, :1].astype(np.float64)
        both = np.hstack([x, 0.3 * x + 0.1]).astype(np.float32)
        reference, window = both[:400], both[400:]
        still = pca_reconstruction(reference, window, plain(2), 0)
        window[0, 1] += 1
        parted = pca_reconstruction(reference, window, plain(2), 0)
        assert still is not None and parted is not None
        assert still.score < METHODS["pca_reconstruction"].least
        assert parted.score > 2


def test_one_absurd_value_does_not_decide() -> None:
    """1e30 in one row of 1,000 is within what chance does."""
    reference, window = normal(20, 1_000), normal(21, 1_000)
    window[0, 0] = 1e30
    result = pca_reconstruction(reference, window, plain(5), 0)
    assert result is not None
    assert result.score < result.chance


def test_two_independent_features_still_have_an_error() -> None:
    """65 % of their variance needs both components: then nothing could fail, so one is left out."""
    reference = normal(22, 600, 2)
    still = pca_reconstruction(reference, normal(23, 600, 2), plain(2), 0)
    wider = pca_reconstruction(reference, 2 * normal(23, 600, 2), plain(2), 0)
    assert still is not None and wider is not None
    assert still.score < still.chance < wider.score
    assert wider.size == pytest.approx(np.log(2), abs=0.1)


def test_order_of_categories_means_nothing_to_the_classifier() -> None:
    """Every second category became commoner: as well seen as if they stood side by side."""
    rng = np.random.default_rng(24)
    current = np.arange(3_000) >= 1_500
    codes = np.where(current & (rng.random(3_000) < 0.7), 2 * rng.integers(0, 30, 3_000), rng.integers(0, 60, 3_000))
    beside = codes // 2 + 30 * (codes % 2)
    areas = [
        domain.auc(current, domain.out_of_fold(c[:, None].astype(float), current, [True], 0)[0])
        for c in (codes, beside)
    ]
    assert areas[0] > 0.6
    assert areas[0] == pytest.approx(areas[1], abs=0.003)


def test_mean_shift_equals_a_direct_computation() -> None:
    """Means and variances by numpy, a column with missing values too; categories take no part."""
    random = np.random.default_rng(30)
    reference = (random.normal(size=(400, 4)) * [1, 2, 3, 1]).astype(np.float32)
    window = (random.normal(size=(250, 4)) * [1, 1, 3, 1] + [1, 0, 0, 0]).astype(np.float32)
    window[::3, 2] = np.nan
    features = Features(("a", "b", "c", "d"), (0, 0, 0, 5))
    result = mean_shift(reference, window, features, 0)
    assert result is not None
    old, new = reference[:, :3].astype(float), window[:, :3].astype(float)
    total = old.var(axis=0, ddof=1).sum()
    known = (~np.isnan(new)).sum(axis=0)
    chance = old.var(axis=0, ddof=1) / 400 + np.nanvar(new, axis=0, ddof=1) / known
    squared = (np.nanmean(new, axis=0) - old.mean(axis=0)) ** 2
    assert result.score == pytest.approx(np.sqrt((squared - chance).sum() / total), rel=1e-9)
    assert next(iter(result.contributions)) == "a"
    assert result.contributions["d"] == 0
    assert result.score == pytest.approx(1 / np.sqrt(14), rel=0.2)


@pytest.mark.parametrize("m", [200, 1_500])
def test_mean_shift_without_a_change_has_mean_zero_and_its_p_value_is_uniform(m: int) -> None:
    """200 pairs of 30 unequal, correlated components: small windows are not read as drift."""
    random = np.random.default_rng(31)
    mix = random.normal(size=(30, 30)) * (0.8 ** np.arange(30))[:, None]
    results = []
    for _ in range(200):
        x = (random.normal(size=(500 + m, 30)) @ mix).astype(np.float32)
        result = mean_shift(x[:500], x[500:], plain(30), 0)
        assert result is not None and result.p_value is not None
        results.append(result)
    q = np.array([np.sign(r.size) * r.size**2 for r in results])
    assert abs(q.mean()) < 4 * q.std() / np.sqrt(200)
    assert stats.kstest([r.p_value for r in results], "uniform").pvalue > 0.001
    assert sum(r.score > r.chance for r in results) <= 3
    sizes = np.array([r.size for r in results])
    assert sizes.std() == pytest.approx(np.mean([r.noise for r in results]), rel=0.2)
    moved = mean_shift(x[:500], x[500:] + 0.3 * x[:500].std(axis=0), plain(30), 0)
    assert moved is not None
    assert moved.score == pytest.approx(0.3, rel=0.15)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-20, 20))
def test_mean_shift_knows_no_unit_and_no_order(seed: int, scale: float, shift: float) -> None:
    """One scale and one shift of all columns, and columns in another order, leave the score as it is."""
    x = normal(seed, 120, 3).astype(np.float64)
    first, other, turned = (
        mean_shift(y[:70].astype(np.float32), y[70:].astype(np.float32), plain(3), 0)
        for y in (x, scale * x + shift, x[:, ::-1])
    )
    assert first is not None and other is not None and turned is not None
    assert other.size == pytest.approx(first.size, rel=1e-2, abs=2e-3)
    assert turned.size == pytest.approx(first.size, rel=1e-6, abs=1e-6)


@given(st.floats(-3.5, 3.5))
def test_discriminability_is_the_distance_of_two_normals(size: float) -> None:
    """And back; beyond an area of 0.999 it says no more."""
    assert domain.discriminability(domain.area(size)) == pytest.approx(size, abs=1e-9)
    assert domain.area(size) == pytest.approx(stats.norm.cdf(size, scale=np.sqrt(2)), rel=1e-9)
    assert np.isfinite([domain.discriminability(a) for a in (0.0, 1.0)]).all()
