"""Write what river's detectors say, step by step. Needs river (see README.md); the project itself does not."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from river import drift

HERE = Path(__file__).parent


def normal(seed: int, *parts: tuple[int, float]) -> list[float]:
    """Return (length, mean) after (length, mean) of normal values with deviation 1, three decimals."""
    rng = random.Random(seed)
    return [round(rng.gauss(mean, 1), 3) for length, mean in parts for _ in range(length)]


def errors(seed: int, *parts: tuple[int, float]) -> list[int]:
    """Return (length, rate) after (length, rate) of 0 and 1."""
    rng = random.Random(seed)
    return [int(rng.random() < rate) for length, rate in parts for _ in range(length)]


def page_hinkley(detector: drift.PageHinkley) -> list[str]:
    up = detector._sum_increase - detector._min_increase
    down = detector._max_decrease - detector._sum_decrease
    return [f"{detector._x_mean.get():.8g}", f"{max(up, down):.8g}"]


def adwin(detector: drift.ADWIN) -> list[str]:
    return [f"{detector.width:.0f}", f"{detector.total:.8g}"]


def ddm(detector: drift.binary.DDM) -> list[str]:
    lowest, spread = detector._p_min, detector._s_min
    return [f"{detector._p.get():.8g}", *("" if x is None else f"{x:.8g}" for x in (lowest, spread))]


MOVES = normal(11, (300, 0), (150, 1.5), (150, -1))
STEPS = normal(12, (700, 0), (700, 1), (600, -0.5))
RATES = errors(13, (700, 0.1), (500, 0.3), (400, 0.05))
CASES: dict[str, tuple[list[str], list[tuple[str, Any, list[Any]]]]] = {
    "page_hinkley": (
        ["mean", "score"],
        [
            ("river", drift.PageHinkley(), MOVES),
            ("ours", drift.PageHinkley(min_instances=30, delta=0.25, threshold=12, alpha=0.9999), MOVES),
            ("forgetful", drift.PageHinkley(min_instances=10, delta=0.1, threshold=6, alpha=0.98), MOVES),
        ],
    ),
    "adwin": (
        ["width", "total"],
        [
            ("river", drift.ADWIN(), STEPS),
            ("every", drift.ADWIN(clock=1), STEPS),
            ("eager", drift.ADWIN(delta=0.3, clock=3, max_buckets=3, min_window_length=2, grace_period=20), STEPS),
        ],
    ),
    "ddm": (
        ["rate", "lowest", "spread"],
        [
            ("river", drift.binary.DDM(), RATES),
            ("eager", drift.binary.DDM(warm_start=100, drift_threshold=2), RATES),
        ],
    ),
}


def rows(name: str) -> Iterator[list[Any]]:
    """Yield one line per case and value: what the detector says once it has read the value."""
    columns, cases = CASES[name]
    yield ["case", "x", "detected", *columns]
    for case, detector, stream in cases:
        for x in stream:
            detector.update(x)
            yield [case, x, int(detector.drift_detected), *globals()[name](detector)]


if __name__ == "__main__":
    for name in CASES:
        with (HERE / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows(name))
