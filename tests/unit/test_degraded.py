"""Worse than the reference: beyond chance, beyond what is tolerated; the worst slice; bounds that days teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.baseline import Baseline
from exporter.evaluate.limits import calibrated, limits, spread
from exporter.evaluate.performance import bounds, performance
from exporter.evaluate.views import View
from exporter.history import Day
from exporter.performance.intervals import Estimate, wilson
from exporter.performance.metrics import METRICS
from exporter.performance.verdicts import judge, tolerance
from exporter.profile.coding import decode, encode
from exporter.profile.counts import add_into
from exporter.reference import fit
from exporter.settings import Limit, Model
from tests.unit.helpers.profiles import settings, take

DAY = 86_400
START = 1_600_000_000 // DAY * DAY


def share(value: float, rows: int) -> Estimate:
    return Estimate(value, *(wilson(value * rows, rows) or (None, None)))


@pytest.mark.parametrize(
    ("metric", "current", "base", "degraded"),
    [
        ("accuracy", share(0.7, 1000), share(0.8, 5000), True),
        ("accuracy", share(0.9, 1000), share(0.8, 5000), False),  # better
        ("accuracy", share(0.7, 30), share(0.8, 5000), False),  # chance
        ("accuracy", share(0.7, 1000), share(0.8, 30), False),  # the baseline's chance
        ("accuracy", share(0.79, 10**6), share(0.8, 10**6), False),  # sure, and tolerated
        ("log_loss", Estimate(0.5, 0.48, 0.52), Estimate(0.4, 0.39, 0.41), True),
        ("log_loss", Estimate(0.3, 0.28, 0.32), Estimate(0.4, 0.39, 0.41), False),
        ("mean_error", Estimate(-2.0, -2.1, -1.9), Estimate(0.5, 0.4, 0.6), True),
        ("mean_error", Estimate(2.0, 1.9, 2.1), Estimate(0.5, 0.4, 0.6), True),
        ("mean_error", Estimate(-0.5, -0.6, -0.4), Estimate(0.5, 0.4, 0.6), False),  # as far from 0 as before
        ("mean_error", Estimate(0.1, 0.0, 0.2), Estimate(0.5, 0.4, 0.6), False),
    ],
)
def test_worse_beyond_chance_and_beyond_what_is_tolerated(metric, current, base, degraded):
    found = judge(metric, current, base, 0.02)
    assert found is not None
    assert found.degraded == degraded


def test_what_is_tolerated_unasked():
    """2 points of a score, 5 % of a loss, and of a bias 5 % of the mean absolute error."""
    base = {"f1": share(0.6, 100), "log_loss": share(0.4, 100), "mae": Estimate(20.0), "mean_error": Estimate(0.3)}
    found = {metric: tolerance(metric, base) for metric in base}
    assert found == pytest.approx({"f1": 0.02, "log_loss": 0.02, "mae": 1.0, "mean_error": 1.0})


@given(st.sampled_from([name for table in METRICS.values() for name in table]), st.floats(0.01, 0.99))
def test_no_change_is_never_worse(metric, value):
    one = Estimate(value, value - 0.001, value + 0.001)
    found = judge(metric, one, one, 0.0)
    assert found is not None
    assert (found.loss, found.degraded) == (0, False)


def test_clean_windows_are_rarely_worse():
    """One-sided, at 95 %: one window in 40, as independent rows have it."""
    rng = np.random.default_rng(3)
    base = share(0.8, 4000)
    hits = rng.binomial(500, 0.8, 4000)
    worse = [judge("accuracy", share(h / 500, 500), base, 0.0) for h in hits.tolist()]
    assert 0.015 < np.mean([one.degraded for one in worse if one is not None]) < 0.035


# --- windows ------------------------------------------------------------------------------------------------------


def log(days: int, each: int, seed: int, wrong: float = 0.1, spoiled: float = 0.0) -> pa.Table:
    """Return rows of two shops; `wrong` is the share of wrong predictions, `spoiled` that which shop b has more."""
    rng = np.random.default_rng(seed)
    count = days * each
    shop, label = rng.choice(["a", "b"], count), rng.integers(0, 2, count)
    flip = rng.random(count) < wrong + spoiled * (shop == "b")
    prediction = np.where(flip, 1 - label, label)
    time = (START + np.repeat(np.arange(days), each) * DAY + rng.integers(0, DAY, count)) * 1_000_000
    columns = {"id": [f"{seed}-{row}" for row in range(count)], "shop": shop, "prediction": prediction, "label": label}
    noise = np.clip(0.8 * prediction + 0.1 + rng.normal(0, 0.05, count), 0, 1).round(2)
    return pa.table({**columns, "score": noise, "time": pa.array(time, pa.timestamp("us", "UTC"))})


def shops(**changes: object) -> Model:
    plain = {"windows": ["1d"], "bucket": "1h", "columns": {"segments": ["shop"]}, "performance": {"min_rows": 50}}
    return settings(**{**plain, **changes})


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return fit(shops(), log(30, 300, 1))


def view(model: Model, made: Baseline, rows: pa.Table) -> View:
    """Return a window of the rows, and its slices."""
    vectors = []
    for own in (rows, *(rows.filter(pc.equal(rows["shop"], name)) for name in ("a", "b"))):
        vectors.append(np.zeros(made.bins.size, np.int64))
        add_into(vectors[-1], decode(encode(take(model, made, own))))
    return View("1", "1d", START, START + DAY, vectors[0], {"shop=a": vectors[1], "shop=b": vectors[2]})


def told(model: Model, made: Baseline, rows: pa.Table, name: str) -> dict[tuple[str, ...], float]:
    found = performance(model, made, [view(model, made, rows)]).readings
    return {one.labels[3:]: one.value for one in found.get(name, [])}


def test_the_slice_that_went_bad_is_the_worst(baseline):
    """Shop b is wrong four times as often; a and its scores are as they were."""
    rows = log(1, 1000, 5, spoiled=0.3)
    worse = told(shops(), baseline, rows, "model_performance_degraded")
    assert (worse["shop=b", "accuracy"], worse["all", "accuracy"], worse["shop=a", "accuracy"]) == (1, 1, 0)
    assert told(shops(), baseline, rows, "model_segment_worst_info") == {("shop=b", "performance"): 1}
    lower, upper = (told(shops(), baseline, rows, f"model_performance_score_{end}") for end in ("lower", "upper"))
    scores = told(shops(), baseline, rows, "model_performance_score")
    assert set(lower) == set(upper) == set(scores)
    assert all(lower[key] <= scores[key] <= upper[key] for key in scores)


def test_a_clean_window_is_not_degraded_and_a_drop_can_be_tolerated(baseline):
    assert not any(told(shops(), baseline, log(1, 1000, 6), "model_performance_degraded").values())
    limit = {"min_rows": 50, "threshold": {"accuracy": {"drop": 0.5}}}
    worse = told(shops(performance=limit), baseline, log(1, 1000, 5, spoiled=0.3), "model_performance_degraded")
    assert worse["shop=b", "accuracy"] == 0
    assert worse["shop=b", "f1"] == 1


def test_below_the_least_labels_nothing_is_said(baseline):
    found = performance(shops(), baseline, [view(shops(), baseline, log(1, 49, 7))])
    assert found.states == {("1", "1d"): "insufficient"}
    assert not {name for name in found.readings if name.startswith(("model_performance_score", "model_performance_d"))}
    assert "model_calibration_error" not in found.readings


# --- bounds that the reference's days teach -----------------------------------------------------------------------


def days(values: np.ndarray, labelled: int = 300) -> dict[int, Day]:
    return {18_000 + n: Day(labelled, labelled, {}, {}, {"accuracy": float(v)}) for n, v in enumerate(values)}


def test_calibrated_bounds_keep_their_budget(baseline):
    """Days differ beyond chance: as many are below the bounds of 200 references as 60 % of the budget allows."""
    rng = np.random.default_rng(8)
    model = shops(performance={"min_rows": 50, "threshold": {"accuracy": {"calibrated": "1 per 10d"}}})
    base, below = share(0.9, 9000), []
    for _ in range(200):
        quality = rng.normal(0.9, 0.03, 130)
        scores = rng.binomial(300, np.clip(quality, 0, 1)) / 300
        made = replace(baseline, days=days(scores[:30]))
        (bound,) = [one.value for one in limits(model, made, {"accuracy": base})["model_performance_score_min"]]
        below.append(float((scores[30:] < bound).mean()))
    assert 0.04 < np.mean(below) < 0.08


def test_calibrated_bounds_of_fewer_rows_are_wider(baseline):
    """Chance counts by the rows of a window; what differs between days stays."""
    values = 0.9 + 0.05 * np.sin(np.arange(30))
    day, short = shops(performance={"min_rows": 50}), shops(windows=["6h"], performance={"min_rows": 50})
    made, base = replace(baseline, days=days(values)), share(0.9, 9000)
    wide, narrow = spread(short, made, "accuracy", base), spread(day, made, "accuracy", base)
    assert wide is not None
    assert narrow is not None
    assert narrow.deviation == pytest.approx(np.std(values, ddof=1), rel=0.1)
    assert wide.deviation**2 - narrow.deviation**2 == pytest.approx(0.9 * 0.1 * (1 / 75 - 1 / 300), rel=0.1)
    assert calibrated(1 / (30 * DAY), DAY, narrow) < calibrated(1 / (300 * DAY), DAY, narrow)


def test_too_few_days_teach_no_bound(baseline):
    model = shops(performance={"threshold": {"accuracy": {"calibrated": True, "min": 0.5}}})
    found = limits(model, replace(baseline, days=days(np.full(13, 0.9))), {"accuracy": share(0.9, 900)})
    assert [(one.labels[-1], one.value) for one in found["model_performance_score_min"]] == [("critical", 0.5)]


def test_how_a_calibrated_bound_is_written():
    month, year = 1 / (30 * DAY), 1 / (365 * DAY)
    assert Limit.model_validate({"calibrated": True}).calibrated == {"warning": pytest.approx(month)}
    both = Limit.model_validate({"calibrated": {"warning": "1 per 30d", "critical": "1 per 1y"}}).calibrated
    assert both == {"warning": pytest.approx(month), "critical": pytest.approx(year)}
    assert Limit.model_validate({"calibrated": False}).calibrated is None
    with pytest.raises(ValueError, match="alarms per duration"):
        Limit.model_validate({"calibrated": "often"})


def test_the_reference_teaches_a_bound_of_a_metric_that_is_not_shown_by_default():
    learned = {metric: {"calibrated": True} for metric in ("mcc", "log_loss")}
    model = shops(performance={"min_rows": 50, "threshold": learned})
    made = fit(model, log(30, 300, 1))
    found = bounds(model, made, ["1"])
    low, high = (found[f"model_performance_score_{end}"] for end in ("min", "max"))
    base = {one.labels[-1]: one.value for one in found["model_performance_score_baseline"] if "all" in one.labels}
    assert [one.labels[1:] for one in low] == [("mcc", "warning")]
    assert [one.labels[1:] for one in high] == [("log_loss", "warning")]
    assert base["mcc"] - 0.2 < low[0].value < base["mcc"]
    assert base["log_loss"] < high[0].value < 2 * base["log_loss"]
