"""Drift of a signal's days: a kept budget, steps and slow decay found, and laws on any history."""

from __future__ import annotations

import json
import math
import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.drift.resampling import FUTURES, futures, height
from exporter.drift.sequential import (
    DETECTORS,
    Learned,
    Reading,
    Scale,
    Series,
    follow,
    from_plain,
    learn,
    run,
    scale_of,
    to_plain,
)

METHODS = tuple(DETECTORS)
FIRST = 15_000  # day number of the first day of a reference
WEEK = np.array([0, 0, 0, 0, 0, 1.5, 1.5]) - 3 / 7


def days(seed: int, count: int, phi: float = 0.5) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return an error rate by day: 0.3, an autoregressive part of deviation 0.03 and a weekly rhythm."""
    noise = np.random.default_rng(seed).normal(0, math.sqrt(1 - phi**2), count + 50)
    level = np.zeros(count + 50)
    for place in range(1, count + 50):
        level[place] = phi * level[place - 1] + noise[place]
    return 0.3 + 0.03 * (level[50:] + WEEK[np.arange(count) % 7])


def series(values: Any, first: int = FIRST, rows: float = 500) -> Series:
    return Series(list(range(first, first + len(values))), [float(value) for value in values], [rows] * len(values))


def taught(method: str, seed: int, count: int, ahead: int, allowed: float, **more: Any) -> tuple[Learned, Series]:
    """Return a detector that knows the first days, and the days after them."""
    values = days(seed, count + ahead)
    learned = learn(method, series(values[:count]), allowed, **more)
    assert learned is not None
    return learned, series(values[count:], FIRST + count)


def alarms(learned: Learned, history: Series) -> list[int]:
    """Return the days on which drift begins."""
    found: list[int] = []
    for _, reading in follow(learned, history):
        if reading.since is not None and reading.since not in found[-1:]:
            found.append(reading.since)
    return found


# --- a quiet pager and a quick one -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["page_hinkley", "ewma", "ddm", "adwin"])
def test_the_budget_is_kept(method: str) -> None:
    """Thirty days of an autocorrelated signal with a weekly rhythm are known; then nothing changes for 300 days.

    One alarm a world is allowed, and 60 % of that is meant to be spent; alarms come in bunches of worlds.
    """
    worlds = 12 if method == "adwin" else 40
    count = sum(len(alarms(*taught(method, seed, 30, 300, 1 / 300))) for seed in range(worlds))
    assert worlds / 10 < count <= worlds


@pytest.mark.parametrize("method", METHODS)
def test_a_rarer_budget_is_a_higher_threshold(method: str) -> None:
    reference = series(days(1, 60))
    found = [learn(method, reference, allowed) for allowed in (1 / 10, 1 / 100, 1 / 1000, 1 / 100_000)]
    heights = [one.settings.threshold for one in found if one is not None]
    assert len(heights) == 4
    assert heights == sorted(heights)
    assert heights[0] < heights[3]


def test_fewer_days_are_known_worse() -> None:
    """The same scatter, known from 21 days or from 210: the threshold is wider."""
    for method in ("page_hinkley", "ewma"):
        few, many = ([learn(method, series(days(s, n)), 1 / 300) for s in range(6)] for n in (21, 210))
        mean = [np.mean([one.settings.threshold for one in own if one is not None]) for own in (few, many)]
        assert mean[0] > 1.2 * mean[1]


def test_with_many_independent_days_the_chart_is_lucas_and_saccuccis() -> None:
    """Smoothing 0.1, limit 2.814: one alarm in 500 (Technometrics 32, 1990); 60 % of the budget is spent."""
    values = np.random.default_rng(3).normal(7, 2, 1500)
    learned = learn("ewma", series(values), 1 / (0.6 * 500))
    assert learned is not None
    assert learned.settings.threshold == pytest.approx(2.814, abs=0.3)


@pytest.mark.parametrize(("method", "latest"), [("page_hinkley", 10), ("ewma", 10), ("ddm", 12), ("adwin", 25)])
def test_a_step_is_found_within_days(method: str, latest: int) -> None:
    """From 0.3 to 0.45, five deviations of the autoregressive part, where one alarm in 300 days is allowed."""
    late = 0
    for seed in range(6):
        learned, history = taught(method, seed, 60, 90, 1 / 300, rise=True)
        place = 50
        stepped = history._replace(value=history.value[:place] + [one + 0.15 for one in history.value[place:]])
        before = alarms(learned, history)
        found = [day - history.day[place] for day in alarms(learned, stepped) if day >= history.day[place]]
        late += not found or found[0] > latest
        assert len(before) <= 1
    assert late == 0


@pytest.mark.parametrize("method", ["page_hinkley", "ewma"])
def test_slow_decay_is_found(method: str) -> None:
    """The error grows by 50 % over a year, in a line."""
    for seed in range(4):
        learned, history = taught(method, seed, 90, 365, 1 / 1000, rise=True)
        grown = [value * (1 + 0.5 * place / 365) for place, value in enumerate(history.value)]
        found = alarms(learned, history._replace(value=grown))
        assert found
        assert found[0] - history.day[0] < 250


@pytest.mark.parametrize("method", ["page_hinkley", "ewma", "adwin"])
def test_only_a_rise_is_drift_where_that_is_asked(method: str) -> None:
    for rise, found in ((True, False), (False, True)):
        learned, history = taught(method, 3, 60, 60, 1 / 1000, rise=rise)
        fallen = history._replace(value=[value - 0.2 for value in history.value])
        assert bool(alarms(learned, fallen)) == found


# --- how long drift lasts --------------------------------------------------------------------------------------------


def test_a_change_for_good_ends_when_page_hinkley_has_learned_it() -> None:
    learned, history = taught("page_hinkley", 0, 60, 120, 1 / 3000)
    stepped = history._replace(value=[one + (0.3 if place >= 20 else 0) for place, one in enumerate(history.value)])
    on = [day - history.day[0] for day, reading in follow(learned, stepped) if reading.detected]
    # warms up for 13 days; calm on the seven after them, the last of which ends it
    assert on == list(range(on[0], on[0] + 1 + 13 + 6))
    assert 20 <= on[0] <= 24


def test_ewma_stays_until_the_signal_is_back() -> None:
    learned, history = taught("ewma", 0, 60, 150, 1 / 3000)
    moved = [value + (0.3 if 20 <= place < 100 else 0) for place, value in enumerate(history.value)]
    found = [(day - history.day[0], reading) for day, reading in follow(learned, history._replace(value=moved))]
    on = [place for place, reading in found if reading.detected]
    assert on == list(range(on[0], on[-1] + 1))
    assert 20 <= on[0] <= 24
    assert 107 <= on[-1] <= 135
    assert {reading.since for place, reading in found if reading.detected} == {history.day[0] + on[0]}


# --- laws ------------------------------------------------------------------------------------------------------------

TAUGHT = {method: taught(method, 7, 30, 0, 1 / 20)[0] for method in METHODS}
VALUES = st.one_of(st.just(math.nan), st.floats(0, 1), st.sampled_from([0.3, 0.9]))
HISTORIES = st.lists(
    st.tuples(st.integers(20_000, 20_060), VALUES, st.one_of(st.just(0.0), st.floats(1, 2000))), max_size=40
)


def of(rows: list[tuple[int, float, float]]) -> Series:
    day, value, count = ([row[part] for row in rows] for part in range(3))
    return Series(day, value, count)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(history=HISTORIES, seed=st.integers(0, 99))
def test_order_gaps_and_replays_change_nothing(method: str, history: list[tuple[int, float, float]], seed: int) -> None:
    learned = TAUGHT[method]
    found = run(learned, of(history))
    assert run(learned, of(history)) == found
    mixed = list(history)
    random.Random(seed).shuffle(mixed)
    assert run(learned, of(mixed)) == found
    gaps = [(day, value, rows) for day in range(19_990, 20_070) for value, rows in ((math.nan, 9.0), (0.5, 0.0))]
    assert run(learned, of(history + gaps)) == found
    assert run(from_plain(json.loads(json.dumps(to_plain(learned)))), of(history)) == found


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(history=HISTORIES)
def test_a_reading_is_true_to_itself(method: str, history: list[tuple[int, float, float]]) -> None:
    """What was said on a day does not change by what comes later; since is a day of the history; no NaN."""
    learned = TAUGHT[method]
    told = list(follow(learned, of(history)))
    half = sorted(history)[: len(history) // 2]
    assert list(follow(learned, of(half))) == told[: len(list(follow(learned, of(half))))]
    for day, reading in told:
        assert (reading.detected is True) == (reading.since is not None)
        assert reading.since is None or 20_000 <= reading.since <= day
        assert reading.score is None or math.isfinite(reading.score)
        assert (reading.detected is None) == (reading.score is None)


@pytest.mark.parametrize("method", METHODS)
def test_no_history_is_not_known(method: str) -> None:
    learned = TAUGHT[method]
    assert run(learned, Series([], [], [])) == Reading(None, learned.settings.threshold, None, None)
    assert run(learned, Series([9], [math.nan], [5])).detected is None


@pytest.mark.parametrize("method", METHODS)
def test_learning_is_deterministic_and_of_any_order(method: str) -> None:
    reference = series(days(2, 40))
    backwards = Series(*(part[::-1] for part in reference))
    assert learn(method, reference, 1 / 100) == learn(method, backwards, 1 / 100)


@pytest.mark.parametrize("method", METHODS)
def test_too_little_is_learned_nothing_from(method: str) -> None:
    values = days(2, 30)
    assert learn(method, series(values[:13]), 1 / 100) is None
    assert learn(method, series([*values[:13], math.nan, math.inf]), 1 / 100) is None
    assert learn(method, series([0.3] * 30), 1 / 100) is None
    assert learn(method, series([]), 1 / 100) is None
    assert learn(method, series(values[:14]), 1 / 100) is not None


def test_ddm_reads_error_rates_only() -> None:
    assert learn("ddm", series(days(2, 30) * 10), 1 / 100) is None
    with pytest.raises(ValueError, match="0 to 1"):
        run(TAUGHT["ddm"], series([1.2]))


@pytest.mark.parametrize("method", ["page_hinkley", "adwin", "ewma"])
def test_units_do_not_matter(method: str) -> None:
    learned, history = taught(method, 5, 40, 90, 1 / 100)
    moved = history._replace(value=[value + 0.1 for value in history.value])
    reference = learned.reference
    other = learn(method, reference._replace(value=[1e5 * value - 7e6 for value in reference.value]), 1 / 100)
    assert other is not None
    assert alarms(other, moved._replace(value=[1e5 * value - 7e6 for value in moved.value])) == alarms(learned, moved)
    assert alarms(learned, moved)


@pytest.mark.parametrize("method", METHODS)
def test_days_of_few_rows_weigh_little(method: str) -> None:
    """Five days of one row, all of them errors, are no drift; five usual days are."""
    learned, _ = taught(method, 5, 60, 0, 1 / 1000, rise=True)
    for rows, found in ((1, False), (500, True)):
        history = Series(list(range(FIRST + 60, FIRST + 68)), [0.95] * 8, [rows] * 8)
        assert bool(run(learned, history).detected) == found


def test_adwin_pools_days_of_few_rows() -> None:
    learned, history = taught("adwin", 5, 40, 60, 1 / 100)
    halves = [(2 * day + half, value, 250.0) for day, value, _ in zip(*history, strict=True) for half in (0, 1)]
    whole = history._replace(day=[2 * day + 1 for day in history.day])
    assert run(learned, of(halves)).score == pytest.approx(run(learned, whole).score)


def test_scale_of_a_reference() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    plain = scale_of(series(values, rows=7))
    assert plain is not None
    assert plain == pytest.approx(Scale(3.0, float(np.std(values, ddof=1)), 7.0))
    assert scale_of(Series(list(range(6)), [*values, math.nan, 99.0], [7, 7, 7, 7, 7, 0])) == plain
    light = scale_of(Series(list(range(5)), [*values, 50.0], [8, 8, 8, 8, 1]))
    assert light is not None
    assert light.mean == pytest.approx((12 + 50 / 8) / 4.125)
    assert scale_of(series([0.1] * 9)) is None
    assert scale_of(series([0.1 + 0.2, 0.3])) is None


# --- years that could follow -----------------------------------------------------------------------------------------


def test_futures_scatter_as_a_prediction_does() -> None:
    """Means of weeks to come: 1/7 of a day's variance, and more for what is not known; the rhythm stays."""
    weeks, whole = [], []
    for seed in range(30):
        values = np.random.default_rng(seed).normal(0, 1, 84)
        drawn, weights = futures(values, np.ones(84), 0.0, 140)
        assert drawn.shape == weights.shape == (140, FUTURES)
        weeks.append(drawn.reshape(20, 7, FUTURES).mean(axis=1).var())
        whole.append(drawn.mean(axis=0).var())
    assert 1 / 7 + 1 / 84 < np.mean(weeks) < 2 / 7
    assert 1 / 140 + 1 / 84 < np.mean(whole) < 2 * (1 / 140 + 1 / 84)
    rhythm = np.tile(WEEK, 12)
    drawn, _ = futures(rhythm, np.ones(84), 0.0, 140)
    assert np.abs(drawn.reshape(20, 7, FUTURES).mean(axis=1)).max() < 0.01 * np.abs(rhythm).max()


def test_height_is_a_quantile_and_goes_on_as_an_exponential() -> None:
    maxima = np.random.default_rng(1).exponential(2, 100_000)
    for share in (0.5, 0.01, 1e-5, 1e-7):
        assert height(maxima, share) == pytest.approx(-2 * math.log(share), rel=0.05)
    assert height(np.zeros(400), 1e-9) == 0


def test_learning_takes_a_moment() -> None:
    """Detectors step through all futures at once: a year of days is some hundred steps, not a hundred thousand."""
    started = time.process_time()
    for method in METHODS:
        learn(method, series(days(1, 180)), 1 / 1000)
    assert time.process_time() - started < 2
