"""From a score to a verdict: the threshold in force, what chance alone exceeds, and many columns at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.drift.thresholds import CHANCE, Drift, adjusted
from exporter.drift.univariate import CATEGORICAL, METHODS, NUMERIC, Sample
from exporter.fields import Levels
from exporter.profile import numeric
from tests.unit.helpers.judging import judge
from tests.unit.helpers.profiles import numeric_bins, numeric_samples, numeric_vector

NORMAL = np.random.default_rng(11).normal(size=(2, 4000))


@pytest.mark.parametrize("method", NUMERIC)
def test_the_threshold_in_force_is_the_larger_of_effect_and_noise(method):
    """With many rows the effect decides, with few the noise."""
    row = METHODS[method]
    many = numeric_samples(*NORMAL)
    few = numeric_samples(NORMAL[0][:100], NORMAL[1][:20])
    for samples, decides in ((many, "effect"), (few, "noise")):
        effect, noise = row.threshold(row.warning, *samples), row.noise(*samples, CHANCE)
        assert (effect > noise) == (decides == "effect")
        assert judge(*samples, [method], {}).thresholds == {(method, "warning"): max(effect, noise)}


def test_configured_effects_replace_the_default_and_have_a_severity_each():
    samples = numeric_samples(*NORMAL)
    found = judge(*samples, ["psi", "ks"], {"psi": Levels(warning=0.2, critical=0.6)})
    assert found.thresholds == {
        ("psi", "warning"): 0.2,
        ("psi", "critical"): 0.6,
        ("ks", "warning"): METHODS["ks"].warning,
    }
    assert judge(*samples, ["psi"], {"psi": Levels()}).thresholds == {}


def test_no_configured_effect_is_below_the_noise():
    samples = numeric_samples(NORMAL[0][:300], NORMAL[1][:200])
    noise = METHODS["psi"].noise(*samples, CHANCE)
    found = judge(*samples, ["psi"], {"psi": Levels(warning=0.001, critical=2.0)})
    assert found.thresholds == {("psi", "warning"): noise, ("psi", "critical"): 2.0}


def test_the_effect_of_chi_square_is_cramers_v():
    samples = (Sample(np.array([200, 800])), Sample(np.array([400, 600])))
    found = judge(*samples, ["chi2"], {"chi2": Levels(warning=0.2, critical=0.3)})
    assert found.thresholds["chi2", "warning"] == pytest.approx(0.2**2 * 2000)
    assert found.detected
    assert found.severity == pytest.approx(found.scores["chi2"] / (0.2**2 * 2000))


def test_detected_and_severity_say_the_same():
    def drift(**scores: float) -> Drift:
        thresholds = {("psi", "warning"): 0.1, ("psi", "critical"): 0.5, ("ks", "warning"): 0.2}
        detected = any(scores[m] > t for (m, _), t in thresholds.items() if m in scores)
        return Drift(scores, {}, thresholds, detected)

    assert drift(psi=0.05, ks=0.1).severity == pytest.approx(0.5)
    assert drift(psi=0.3, ks=0.1).severity == pytest.approx(3)
    assert drift(ks=0.1).severity == pytest.approx(0.5)
    assert Drift({}, {}, {}, False).severity == 0


@pytest.mark.parametrize("method", NUMERIC)
def test_noise_shrinks_with_the_rows(method):
    """Four times the rows on both sides: half the noise, a quarter of a square, the same of a test statistic."""
    small = numeric_samples(NORMAL[0][:1000], NORMAL[1][:500])
    large = numeric_samples(NORMAL[0][:4000], NORMAL[1][:2000])
    ratio = METHODS[method].noise(*small, CHANCE) / METHODS[method].noise(*large, CHANCE)
    statistics = dict.fromkeys(("chi2", "g_test", "cramer_von_mises", "anderson_darling"), 1)
    expected = {"psi": 4, "kl": 4, **statistics}.get(method, 2)
    assert ratio == pytest.approx(expected, rel=0.15)


# --- what chance alone exceeds ------------------------------------------------------------------------------------

RUNS = 4000
ALLOWED = 10  # a rate of 0.001 gives more than 10 in 4,000 once in 350; 0.005 gives so few once in 90


def uniform(bins: int) -> np.ndarray:
    return np.full(bins, 1 / bins)


def zipf(bins: int) -> np.ndarray:
    shares = 1 / np.arange(1, bins + 1)
    return shares / shares.sum()


def exceeded(
    methods: tuple[str, ...], draw: Callable[[np.random.Generator], tuple[Sample, Sample]], runs: int = RUNS
) -> dict[str, int]:
    """Count, of windows in which nothing changed, those with a score above the noise."""
    rng = np.random.default_rng(2024)
    hits = dict.fromkeys(methods, 0)
    for _ in range(runs):
        samples = draw(rng)
        for name in methods:
            hits[name] += METHODS[name].score(*samples) > METHODS[name].noise(*samples, CHANCE)
    return hits


def categories(
    shares: np.ndarray, reference: int, window: int
) -> Callable[[np.random.Generator], tuple[Sample, Sample]]:
    """Draw both sides from the same shares; what the reference did not see is unseen, as in a log."""

    def draw(rng: np.random.Generator) -> tuple[Sample, Sample]:
        before, after = rng.multinomial(reference, shares), rng.multinomial(window, shares)
        seen = before > 0
        return Sample(np.append(before[seen], 0)), Sample(np.append(after[seen], after[~seen].sum()))

    return draw


@pytest.mark.parametrize(
    ("shares", "reference", "window"),
    [
        pytest.param(uniform(3), 200, 200, id="3 categories, 200 against 200 rows"),
        pytest.param(uniform(10), 1000, 200, id="10 categories, 1,000 against 200 rows"),
        pytest.param(uniform(10), 5000, 1000, id="10 categories, 5,000 against 1,000 rows"),
        pytest.param(np.array([0.9, 0.1]), 1000, 300, id="one in ten"),
        pytest.param(zipf(20), 40_000, 6500, id="20 categories, the rarest one in 72"),
    ],
)
def test_chance_exceeds_the_noise_of_categories_once_in_a_thousand(shares, reference, window):
    """For every method, where the window has five rows and more of each category."""
    hits = exceeded(CATEGORICAL, categories(shares, reference, window))
    assert max(hits.values()) <= ALLOWED, hits


@pytest.mark.parametrize(
    ("shares", "reference", "window"),
    [
        pytest.param(zipf(100), 1000, 200, id="100 categories, 1,000 against 200 rows"),
        pytest.param(zipf(1000), 40_000, 6500, id="1,000 categories, 40,000 against 6,500 rows"),
    ],
)
def test_chance_exceeds_the_noise_of_rare_categories_once_in_a_thousand(shares, reference, window):
    """For every method: most categories have fewer than five rows in the window, many none in the reference."""
    hits = exceeded(CATEGORICAL, categories(shares, reference, window), RUNS // 4)
    assert max(hits.values()) <= 5, hits  # more than 5 in 1,000: once in 1,700; of 0.02, in 93 of 100


@pytest.mark.parametrize("method", CATEGORICAL)
def test_the_noise_of_rare_categories_is_not_far_above_chance(method):
    """At most a quarter above what one window in 500 reaches; else a floor would hide what the score can tell."""
    rng = np.random.default_rng(5)
    draw = categories(zipf(200), 5000, 1000)
    pairs = [draw(rng) for _ in range(1000)]
    reached = np.quantile([METHODS[method].score(*pair) for pair in pairs], 0.998)
    assert METHODS[method].noise(*pairs[0], CHANCE) < 1.25 * reached


@pytest.mark.parametrize("method", CATEGORICAL)
def test_a_category_that_the_reference_just_missed_is_chance(method):
    """One category in 200 rows; in a window of 200 four rows of another are within what chance does, 40 are not."""
    row, reference = METHODS[method], Sample(np.array([200, 0]))
    few, many = Sample(np.array([196, 4])), Sample(np.array([160, 40]))
    assert row.score(reference, few) <= row.noise(reference, few, CHANCE)
    assert row.score(reference, many) > row.noise(reference, many, CHANCE)


DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "integers": lambda rng, n: rng.integers(0, 24, n).astype(float),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.exponential(size=n)),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_chance_exceeds_the_noise_of_numbers_once_in_a_thousand(kind):
    """For every method, 2,000 against 500 rows; ten windows each of 400 references.

    The limit of Anderson and Darling is that of rows without ties.
    """
    rng = np.random.default_rng(77)
    hits = dict.fromkeys(NUMERIC, 0)
    for _ in range(RUNS // 10):
        reference = DRAWS[kind](rng, 2000)
        bins = numeric_bins(reference)
        base = numeric.sample(bins, numeric_vector(bins, reference))
        for _ in range(10):
            current = numeric.sample(bins, numeric_vector(bins, DRAWS[kind](rng, 500)))
            for name in NUMERIC:
                hits[name] += METHODS[name].score(base, current) > METHODS[name].noise(base, current, CHANCE)
    if kind == "zero-inflated":
        del hits["anderson_darling"]
    assert max(hits.values()) <= ALLOWED, hits


# --- many columns -------------------------------------------------------------------------------------------------


def test_benjamini_and_hochberg_as_published():
    raw = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    expected = [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.1057143, 0.216, 0.216, 0.216]
    names = [f"column {i}" for i in range(10)]
    found = adjusted(dict(zip(names, raw, strict=True)))
    assert [found[name] for name in names] == pytest.approx(expected, abs=1e-7)
    backwards = adjusted(dict(zip(reversed(names), reversed(raw), strict=True)))
    assert backwards == found


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=30))
def test_benjamini_and_hochberg_is_scipys(p_values):
    found = adjusted(p_values)
    theirs = stats.false_discovery_control(list(p_values.values())) if p_values else []
    assert [found[name] for name in p_values] == pytest.approx(list(theirs), rel=1e-12, abs=1e-300)
