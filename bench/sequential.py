"""How often do the time-series detectors alarm without a change, and when do they on the real production logs?

usage: python -m bench.sequential [--quick]

Signals are days of the four sets: error (share of wrong predictions; bikes: mean absolute error; only a rise counts)
and score (mean probability; bikes: mean prediction). Without a change: a random half of a reference's days is learned
from, the other half, resampled in runs of a week, is the traffic. Production: the whole reference is learned from.
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from bench.run import machine, mean_error, parse, table, write
from bench.traffic import FILES, ROOT, Case, halves, load, resample
from exporter.drift.sequential import DETECTORS, Learned, Series, follow, learn
from exporter.rows import local_days, times

ALLOWED = 1 / 300  # alarms a day for one signal and method
EPOCH = date(1970, 1, 1)
SIGNALS = ("error", "score")


class Found(NamedTuple):
    """first: day of the first alarm. alarms: how many. share: of the days in alarm."""

    first: int | None
    alarms: int
    share: float


def production(case: Case) -> pd.DataFrame:
    """Return the production log of a set with its labels and local days."""
    folder = (ROOT / FILES[case.name]).parent
    frames = [pq.read_table(_part(folder, part)).to_pandas() for part in ("predictions", "labels")]
    rows = frames[0].merge(frames[1][["request_id", "label"]], on="request_id", how="left")
    stamps = times(pq.read_table(_part(folder, "predictions"))["timestamp"], case.model.timezone)
    return rows.assign(day=local_days(stamps, np.ones(len(rows), np.bool_), case.model.timezone))


def _part(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder / f"{name}.parquet"


def signal(case: Case, rows: pd.DataFrame, name: str) -> Series | None:
    """Return a signal by day; None where the set has none."""
    if name == "score":
        score = "prediction" if case.model.task == "regression" else case.model.columns.score
        if not isinstance(score, str):
            return None
        values = rows[score]
    elif case.model.task == "regression":
        values = (rows["prediction"] - rows["label"]).abs()
    else:
        values = (rows["prediction"] != rows["label"]).astype(float).where(rows["label"].notna())
    days = values.groupby(rows["day"]).agg(["mean", "count"])
    return Series(days.index.tolist(), days["mean"].tolist(), days["count"].tolist())


def of_days(series: Series, days: list[int]) -> Series:
    """Return the days in that order, as days that follow each other."""
    place = {day: at for at, day in enumerate(series.day)}
    at = [place[day] for day in days if day in place]
    return Series(list(range(len(at))), [series.value[i] for i in at], [series.rows[i] for i in at])


def judge(learned: Learned, series: Series) -> Found:
    """Run a detector over a series."""
    readings = list(follow(learned, series))
    since = [reading.since for _, reading in readings]
    starts = [now for before, now in zip([None, *since], since, strict=False) if now is not None and now != before]
    return Found(starts[0] if starts else None, len(starts), sum(day is not None for day in since) / len(readings))


def reference_rows(case: Case) -> pd.DataFrame:
    """Return the reference with its local days."""
    rows: pd.DataFrame = case.table.to_pandas()
    return rows.assign(day=case.day)


def quiet(case: Case, name: str, method: str, seeds: int, days: int) -> list[float]:
    """Return alarms in 30 days, one entry a split; nothing where nothing can be learned."""
    series = signal(case, reference_rows(case), name)
    rates: list[float] = []
    for seed in range(seeds if series is not None else 0):
        random = np.random.default_rng([seed, sum(case.name.encode())])
        known, unknown = halves(case, random)
        learned = learn(method, of_days(series, known.tolist()), ALLOWED, name == "error")
        if learned is not None:
            traffic = of_days(series, resample(unknown, days, random))
            rates.append(judge(learned, traffic).alarms * 30 / len(traffic.day))
    return rates


def log(case: Case, rows: pd.DataFrame, name: str, method: str) -> list[str] | None:
    """Return a line about the production log."""
    reference, series = signal(case, reference_rows(case), name), signal(case, rows, name)
    learned = learn(method, reference, ALLOWED, name == "error") if reference is not None else None
    if learned is None or series is None:
        return None
    found = judge(learned, series)
    first = "never" if found.first is None else f"{EPOCH + timedelta(found.first)} (day {found.first - series.day[0]})"
    alone = f"{learned.scale.mean:.4g} ± {learned.scale.std:.3g}"
    limit = f"{learned.settings.threshold:.2f}"
    numbers = [str(len(learned.reference.day)), alone, limit, first, str(found.alarms), f"{100 * found.share:.0f} %"]
    return [case.name, name, method, *numbers]


def simulated(method: str, known: int, rarity: int, worlds: int) -> str:
    """Return alarms over what is allowed, where `known` days are learned from and 300 more are like them."""
    counts = []
    for world in range(worlds):
        random = np.random.default_rng([world, known])
        noise, level = random.normal(0, 0.75**0.5, known + 350), np.zeros(known + 350)
        for day in range(1, len(level)):
            level[day] = 0.5 * level[day - 1] + noise[day]
        value = 0.3 + 0.03 * (level[50:] + np.where(np.arange(known + 300) % 7 < 5, 0, 1.5))
        series = Series(list(range(len(value))), value.tolist(), [500.0] * len(value))
        learned = learn(method, Series(*(part[:known] for part in series)), 1 / rarity)
        assert learned is not None
        counts.append(judge(learned, Series(*(part[known:] for part in series))).alarms * rarity / 300)
    return mean_error(counts)


ABOUT = """# Time-series detectors

Signals are days of the four sets: error (share of wrong predictions; bikes: mean absolute error; only a rise counts)
and score (mean probability; bikes: mean prediction; both directions). Each detector may alarm once in 300 days: ten
signals and methods share a budget of one in 30 days so. An alarm is one stretch of detected drift.
"""


def main() -> None:
    """Run and write bench/results/sequential.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="random halves of the days")
    parser.add_argument("--days", type=int, default=365, help="length of the traffic without change")
    parser.add_argument("--quick", action="store_true", help="a look in seconds: one seed, 60 days")
    parser.add_argument("--out", type=Path, help="write the tables there instead of bench/results")
    parser.set_defaults(no_peers=True)
    options = parse(parser)
    cases = [load(name, {"knots": 512}) for name in FILES]
    rates = [rate(case, options) for case in cases]
    lines: list[list[str]] = []
    for case in cases:
        rows = production(case)
        found = [log(case, rows, name, method) for name in SIGNALS for method in DETECTORS if reads(method, name)]
        lines += [line for line in found if line is not None]
    head = [
        "set",
        "signal",
        "method",
        "reference days",
        "reference",
        "threshold",
        "first alarm",
        "alarms",
        "days in alarm",
    ]
    worlds = 10 if options.quick else 100
    invented = [
        [str(known), f"1 in {rarity} days", *(simulated(method, known, rarity, worlds) for method in DETECTORS)]
        for known in (14, 30, 90)
        for rarity in (300, 3000)
    ]
    text = [
        ABOUT,
        machine("sequential", {}),
        f"## Without a change: alarms in 30 days, {options.seeds} splits of {options.days} days; 0.1 is allowed\n",
        table(["set and signal", *DETECTORS], [line for own in rates for line in own]),
        f"## Without a change, {worlds} invented series: alarms over those allowed\n",
        "300 days after the reference; autoregressive (0.5 from one day to the next), with a weekly rhythm.\n",
        table(["reference days", "allowed", *DETECTORS], invented),
        "## Production\n",
        table(head, lines),
    ]
    write(options, "sequential", "\n".join(text))


def reads(method: str, name: str) -> bool:
    """Say whether a method is meant for a signal: some read error rates only."""
    return name == "error" or not DETECTORS[method].rates


def rate(case: Case, options: Any) -> list[list[str]]:
    """Return a line a signal: alarms in 30 days without a change, by method."""
    lines = []
    for name in SIGNALS:
        found = [
            quiet(case, name, method, options.seeds, options.days) if reads(method, name) else []
            for method in DETECTORS
        ]
        if any(found):
            lines.append([f"{case.name} {name}", *(mean_error(rates) if rates else "-" for rates in found)])
    return lines


if __name__ == "__main__":
    main()
