"""Detectors of change: equal to river step by step, to published values, and the same one by one as side by side."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.drift.detectors import adwin, ddm, ewma, page_hinkley

DATA = Path(__file__).parents[1] / "data" / "sequential"
MODULES: dict[str, ModuleType] = {"page_hinkley": page_hinkley, "adwin": adwin, "ddm": ddm, "ewma": ewma}
RIVER: dict[tuple[str, str], Any] = {
    ("page_hinkley", "river"): page_hinkley.PageHinkley(0.005, 50, 0.9999, 30),
    ("page_hinkley", "ours"): page_hinkley.PageHinkley(0.25, 12, 0.9999, 30),
    ("page_hinkley", "forgetful"): page_hinkley.PageHinkley(0.1, 6, 0.98, 10),
    ("adwin", "river"): adwin.Adwin(clock=32),
    ("adwin", "every"): adwin.Adwin(),
    ("adwin", "eager"): adwin.Adwin(0.3, 3, 3, 2, 20),
    ("ddm", "river"): ddm.Ddm(),
    ("ddm", "eager"): ddm.Ddm(2, 100),
}
ONE = np.ones(())


def steps(method: str, chosen: Any, values: Iterable[float], weight: float = 1.0) -> list[tuple[Any, float, bool]]:
    """Return memory, score and signal after each value; a detector begins anew after a signal."""
    module, found = MODULES[method], []
    memory = module.begin(chosen)
    for value in values:
        memory, score = module.update(chosen, memory, np.asarray(float(value)), np.asarray(weight))
        if method == "adwin":
            memory = adwin.adapt(chosen, memory)
        signal = bool(score > chosen.threshold)
        found.append((memory, float(score), signal))
        if signal and method != "ewma":
            memory = module.begin(chosen)
    return found


def signals(method: str, chosen: Any, values: Iterable[float], weight: float = 1.0) -> list[int]:
    """Return the places of the values that signal."""
    return [place for place, (_, _, signal) in enumerate(steps(method, chosen, values, weight)) if signal]


def normal(seed: int, *parts: tuple[int, float]) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, 1) for length, mean in parts for _ in range(length)]


def recorded(method: str, case: str) -> list[dict[str, str]]:
    with (DATA / f"{method}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["case"] == case]


def near(text: str) -> object:
    return pytest.approx(float(text), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("method", "case"), RIVER)
def test_every_step_is_rivers(method: str, case: str) -> None:
    lines = recorded(method, case)
    assert sum(row["detected"] == "1" for row in lines) >= 2, "the recording must hold restarts"
    found = steps(method, RIVER[method, case], [float(row["x"]) for row in lines])
    for place, (row, (memory, score, signal)) in enumerate(zip(lines, found, strict=True)):
        assert signal == (row["detected"] == "1"), place
        if method == "page_hinkley":
            assert float(memory.mean) == near(row["mean"])
            assert np.isnan(score) or score == near(row["score"])
        elif method == "adwin":
            assert (memory.width, float(memory.total)) == (int(row["width"]), near(row["total"])), place
        else:
            assert float(memory.rate) == near(row["rate"])
            assert bool(np.isnan(memory.lowest)) == (row["lowest"] == "")
            assert row["lowest"] == "" or float(memory.lowest) == near(row["lowest"])
            assert row["lowest"] == "" or float(memory.spread) == near(row["spread"])


def test_detections_that_rivers_documentation_prints() -> None:
    rng = random.Random(12345)
    jump = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    assert signals("adwin", adwin.Adwin(clock=32), jump) == [1023]
    assert signals("page_hinkley", RIVER["page_hinkley", "river"], jump) == [1006]
    rng = random.Random(42)
    assert signals("ddm", ddm.Ddm(), rng.choices([0, 1], k=1000) + rng.choices([0, 1], k=1000, weights=[0.3, 0.7])) == [
        1334
    ]


def test_average_is_that_of_the_nist_handbook() -> None:
    """NIST/SEMATECH e-Handbook 6.3.2.4: centre 50, s 2.0539, smoothing 0.3; limits 47.4115 and 52.5884."""
    values = [52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5]
    values += [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
    printed = [50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33]
    printed += [50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99]
    found = steps("ewma", ewma.Ewma(0.3), [(value - 50) / 2.0539 for value in values])
    for (level, score, signal), average in zip(found, printed, strict=True):
        assert 50 + 2.0539 * float(level) == pytest.approx(average, abs=0.0051)
        assert score == pytest.approx(abs(average - 50) / (52.5884 - 50) * 3, abs=0.01)
        assert not signal


def run_length(chosen: Any, shift: float, streams: int) -> float:
    """Return the mean number of normal values until the chart signals, over streams side by side."""
    rng = np.random.default_rng(1)
    level, length = np.zeros(streams), np.zeros(streams)
    alive = np.ones(streams, np.bool_)
    while alive.any():
        level, score = ewma.update(chosen, level, rng.normal(shift, 1, streams), ONE)
        length += alive
        alive &= score <= chosen.threshold
    return float(length.mean())


# Lucas and Saccucci (Technometrics 32, 1990): schemes with 500 values to a false alarm, their run lengths after a
# shift. SAS/QC user's guide, PROC MACONTROL, "Computing Average Run Lengths": limit 3.
@pytest.mark.parametrize(
    ("smoothing", "limit", "shift", "printed"),
    [
        (0.4, 3.054, 0.5, 71.2),
        (0.4, 3.054, 1, 14.3),
        (0.1, 2.814, 0, 500),
        (0.1, 2.814, 0.5, 31.3),
        (0.1, 2.814, 1, 10.3),
        (0.25, 3, 0.5, 48.453),
        (0.5, 3, 1, 15.7378),
        (0.25, 3, 2, 3.61677),
    ],
)
def test_run_lengths_are_the_published_ones(smoothing: float, limit: float, shift: float, printed: float) -> None:
    streams = 4000
    found = run_length(ewma.Ewma(smoothing, limit), shift, streams)
    assert found == pytest.approx(printed, rel=4 / streams**0.5)  # four standard errors, a run length's std is its mean


def test_the_nile_fell_in_1898() -> None:
    with (DATA / "nile.csv").open(newline="") as file:
        series = {int(row["year"]): float(row["volume"]) for row in csv.DictReader(file)}
    early = [volume for year, volume in series.items() if year <= 1890]
    scaled = [(volume - np.mean(early)) / np.std(early, ddof=1) for volume in series.values()]
    found = [1871 + place for place in signals("page_hinkley", page_hinkley.PageHinkley(0.25), scaled)]
    assert len(found) == 1
    assert 1899 <= found[0] <= 1908
    assert 1899 <= 1871 + signals("ewma", ewma.Ewma(), scaled)[0] <= 1908


# --- laws ------------------------------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {
    "page_hinkley": page_hinkley.PageHinkley(min_days=2),
    "adwin": adwin.Adwin(min_window=1, grace=2, max_cells=2),
    "ddm": ddm.Ddm(min_rows=2),
    "ewma": ewma.Ewma(),
}
TABLES = st.integers(1, 40).flatmap(
    lambda days: st.lists(
        st.lists(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)), min_size=3, max_size=3),
        min_size=days,
        max_size=days,
    )
)


@pytest.mark.parametrize("method", QUICK)
@settings(deadline=None, max_examples=25)
@given(table=TABLES, weight=st.sampled_from([0.25, 1.0]))
def test_side_by_side_is_one_by_one(method: str, table: list[list[float]], weight: float) -> None:
    module, chosen = MODULES[method], QUICK[method]
    values = np.array(table)
    together = module.begin(chosen)
    alone = [module.begin(chosen) for _ in range(3)]
    for row in values:
        together, scores = module.update(chosen, together, row, np.full(3, weight))
        for place in range(3):
            alone[place], score = module.update(chosen, alone[place], row[place], np.asarray(weight))
            np.testing.assert_allclose(np.broadcast_to(scores, 3)[place], score, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["page_hinkley", "adwin", "ewma"])
@given(values=st.lists(st.floats(-9, 9), min_size=1, max_size=40))
def test_two_sides_are_a_rise_and_a_rise_upside_down(method: str, values: list[float]) -> None:
    one = QUICK[method]._replace(rise=True)
    memories = [MODULES[method].begin(one)] * 3
    for value in values:
        scores = []
        for place, (chosen, x) in enumerate([(one, value), (one, -value), (QUICK[method], value)]):
            memories[place], score = MODULES[method].update(chosen, memories[place], np.asarray(x), ONE)
            scores.append(score)
        np.testing.assert_allclose(scores[2], np.maximum(scores[0], scores[1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", QUICK)
@pytest.mark.parametrize("place", range(3))
def test_after_a_reference_the_mean_is_known(method: str, place: int) -> None:
    """A detector that has seen the reference is calm where it goes on, and alarms at once where it does not."""
    rng = np.random.default_rng(place)
    values, weights = np.clip(rng.normal(0.3, 0.02, 60), 0, 1), np.full(60, 5.0)
    module, chosen = MODULES[method], QUICK[method]
    x, level = (values, 0.3) if method == "ddm" else ((values - 0.3) / 0.02, 0.0)
    same = module.update(chosen, module.after(chosen, x, weights), np.asarray(level), ONE)[1]
    far = module.after(chosen, x, weights)
    for _ in range(10):
        far, score = module.update(chosen, far, np.asarray(0.9 if method == "ddm" else 30.0), np.asarray(1.0))
    assert 0 <= same < 1.1
    assert score > 1.5 * max(float(same), 1)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=20))
def test_ddm_rate_of_days_is_that_of_their_rows(days: list[list[bool]]) -> None:
    chosen = ddm.Ddm(100)
    memory = ddm.begin(chosen)
    for rows in days:
        memory, _ = ddm.update(chosen, memory, np.asarray(sum(rows) / len(rows)), np.asarray(float(len(rows))))
    flat = [row for rows in days for row in rows]
    assert float(memory.rows) == len(flat)
    assert float(memory.rate) == pytest.approx(sum(flat) / len(flat), abs=1e-12)


def test_ddm_without_errors_alarms_at_the_first_one() -> None:
    assert signals("ddm", ddm.Ddm(), [0.0] * 40 + [1.0]) == [40]


def test_adwin_survives_rounding() -> None:
    """Cutting off values of a million leaves a sum of squares below 0, by rounding."""
    below, chosen = False, adwin.Adwin(0.5, 1, 2, 1, 2)
    for seed in range(20):
        rng = random.Random(seed)
        values = [rng.choice([1e6, 3e5]) + rng.random() for _ in range(rng.randint(3, 40))] + [0.1] * 60
        for memory, score, _ in steps("adwin", chosen, values):
            below |= float(memory.squares) < 0
            assert np.isfinite(score) or memory.width <= chosen.grace
    assert below


@pytest.mark.parametrize("method", ["page_hinkley", "ewma"])
def test_small_days_weigh_little(method: str) -> None:
    """A thousandth of a day, twenty deviations away, moves nothing; a whole day would."""
    module, chosen = MODULES[method], QUICK[method]
    memory, before, _ = steps(method, chosen, normal(2, (60, 0)))[-1]
    small = module.update(chosen, memory, np.asarray(20.0), np.asarray(0.001))[1]
    large = module.update(chosen, memory, np.asarray(20.0), ONE)[1]
    assert float(small) == pytest.approx(before, abs=0.025)
    assert abs(float(large) - before) > 0.5


def test_a_small_day_hardly_forgets() -> None:
    chosen = page_hinkley.PageHinkley(threshold=99, alpha=0.5)
    memory, before, _ = steps("page_hinkley", chosen, normal(2, (60, 0)))[-1]
    small, large = (page_hinkley.update(chosen, memory, np.zeros(()), np.asarray(w))[1] for w in (0.001, 1.0))
    assert float(small) == pytest.approx(before, abs=0.01)
    assert float(large) != pytest.approx(before, abs=0.05)
