"""Metrics of one's own: called with the counts, shown like the others; what fails is told and takes nothing along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from exporter.check import check
from exporter.consistency import conflicts
from exporter.evaluate.performance import bounds, performance
from exporter.evaluate.views import View
from exporter.performance import custom
from exporter.performance.intervals import Estimate
from exporter.performance.tables import ClassOutcomes, RegressionOutcomes
from exporter.performance.verdicts import judge
from exporter.profile.counts import add_into
from exporter.reference import fit
from tests.unit.helpers.profiles import random_table, settings, take
from tests.unit.test_intervals import draw, read

HERE = "tests.unit.test_custom"


def profit(outcomes: ClassOutcomes) -> float:
    """Return what a row earns: 5 for each hit, -2 for each false alarm."""
    return float((5 * outcomes.confusion[1, 1] - 2 * outcomes.confusion[0, 1]) / outcomes.rows)


def worst(outcomes: RegressionOutcomes) -> float | None:
    return None


def broken(outcomes: ClassOutcomes) -> float:
    raise ZeroDivisionError("nothing sold")


def model(**functions: str):  # type: ignore[no-untyped-def]
    own = {name: {"function": f"{HERE}:{function}"} for name, function in functions.items()}
    return settings(performance={"min_rows": 1, "custom": own, "threshold": {"profit": {"drop": 0.5}}})


def found(own):  # type: ignore[no-untyped-def]
    baseline = fit(own, random_table(0, 300))
    vector = np.zeros(baseline.bins.size, np.int64)
    log = random_table(1, 200)
    add_into(vector, take(own, baseline, log))
    return baseline, log.to_pandas(), performance(own, baseline, [View("1", "1h", 0, 3600, vector)])


def test_a_metric_of_ones_own_is_shown_with_baseline_and_bound():
    own = model(profit="profit")
    baseline, log, result = found(own)
    known = log[log.label.notna()]
    hits, alarms = (known.label * known.prediction).sum(), ((1 - known.label) * known.prediction).sum()
    expected = (5 * hits - 2 * alarms) / len(known)
    scores = {one.labels[-1]: one.value for one in result.readings["model_performance_score"]}
    assert scores["profit"] == pytest.approx(expected)
    assert {"profit", "accuracy", "f1"} <= set(scores)
    told = bounds(own, baseline, ["1"])
    base = {one.labels[-1]: one.value for one in told["model_performance_score_baseline"]}
    (bound,) = told["model_performance_score_min"]
    assert bound.value == pytest.approx(base["profit"] - 0.5)
    low, high = (
        next(one.value for one in result.readings[f"model_performance_score_{end}"] if one.labels[-1] == "profit")
        for end in ("lower", "upper")
    )
    assert low < expected < high
    assert "profit" in {one.labels[-1] for one in result.readings["model_performance_degraded"]}


def lift(outcomes: ClassOutcomes) -> float | None:
    """Return the share of positives in the upper half of the scores, over that of all."""
    (table,) = outcomes.scores
    both = np.cumsum(table.negative + table.positive)
    upper = both > both[-1] / 2
    share = table.positive[upper].sum() / (table.negative + table.positive)[upper].sum()
    return float(share / (table.positive.sum() / both[-1])) if table.positive.sum() else None


def surprise(outcomes: ClassOutcomes) -> float:
    return outcomes.log_loss / outcomes.scored


@pytest.mark.parametrize("function", ["profit", "lift", "surprise"])
def test_95_of_100_intervals_hold_the_truth(function):
    """Over cells of the confusion, of the scores, and over sums."""
    rng = np.random.default_rng(11)
    truth = custom.value(f"{HERE}:{function}", read("binary", draw("binary", rng, 400_000)))
    held = 0
    for _ in range(300):
        one = custom.estimate(f"{HERE}:{function}", read("binary", draw("binary", rng, 400)))
        assert one.lower is not None
        held += one.lower <= truth <= one.upper
    assert 0.91 <= held / 300 <= 0.98


def test_one_that_got_worse_is_degraded():
    """Lower is worse of a profit; of a loss of one's own higher is. A regression's has no interval, so no verdict."""
    good, bad = (Estimate(value, value - 0.1, value + 0.1) for value in (1.0, 0.5))
    assert judge("profit", bad, good, 0.05).degraded
    assert not judge("profit", good, bad, 0.05).degraded
    assert judge("cost", good, bad, 0.05, lower=True).degraded
    sums = RegressionOutcomes(*[100.0] * 13)
    assert custom.estimate(f"{HERE}:mean", sums) == Estimate(1.0)


def mean(outcomes: RegressionOutcomes) -> float:
    return outcomes.absolute / outcomes.rows


def test_one_that_fails_is_named_and_the_others_stay():
    _, _, result = found(model(profit="broken", other="absent"))
    assert result.failed["profit"].endswith("ZeroDivisionError: nothing sold")
    assert result.failed["other"].endswith("has no function absent")
    assert "accuracy" in {one.labels[-1] for one in result.readings["model_performance_score"]}


def test_no_value_is_no_series():
    assert custom.value(f"{HERE}:worst", None) is None  # type: ignore[arg-type]
    assert "quiet" not in {one.labels[-1] for one in found(model(quiet="worst"))[2].readings["model_performance_score"]}


def test_check_tries_them_on_the_reference(tmp_path: Path):
    files = {name: {"files": str(tmp_path / f"{name}.parquet")} for name in ("reference", "predictions")}
    for name in files:
        pq.write_table(random_table(0, 300), tmp_path / f"{name}.parquet")
    sources = {name: getattr(settings(**files), name) for name in files}
    _, wrong = check(model(profit="broken").model_copy(update=sources | {"labels": None}))
    assert wrong[-1].place == ("performance", "custom", "profit", "function")


@pytest.mark.parametrize("entry", ["profit", "module:", ":profit", "a b:c", "module:function()"])
def test_an_entry_point_is_module_and_function(entry):
    with pytest.raises(ValueError, match="write module:function"):
        settings(performance={"custom": {"profit": {"function": entry}}})


def test_names_and_directions_must_fit():
    own = {"f1": {"function": "a:b"}, "Loss": {"function": "a:b"}, "loss": {"function": "a:b", "better": "lower"}}
    wrong = settings(performance={"custom": own, "threshold": {"loss": {"min": 1}, "nothing": {"min": 1}}})
    places = [one.place for one in conflicts(wrong)]
    assert places == [
        ("performance", "threshold", "nothing"),
        ("performance", "custom", "f1"),
        ("performance", "custom", "Loss"),
        ("performance", "threshold", "loss", "min"),
    ]
