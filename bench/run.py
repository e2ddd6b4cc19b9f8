"""What both benchmarks share: one split of a reference, a year without change, episodes, and the report's frame."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bench.environments import python_of, versions
from bench.rules import PEERS, RULES, Job, Ours, Severities, judge_by, of_window
from bench.traffic import FILES, LEAD, WINDOWS, Case, Series, halves, is_one_run, load, of_days, traffic, widen
from exporter.calibrate import DAY, lag_of
from exporter.drift.settings import PREVIOUS, WEEK_AGO
from exporter.reference import fit
from exporter.rows import Ints

RESULTS = Path(__file__).with_name("results")
DATE = "2026-11-23"
Pythons = dict[str, str]


class Split(NamedTuple):
    """Baseline from one half of the days, traffic from the other."""

    case: Case
    ours: Ours
    reference: tuple[pa.Table, Ints]
    traffic: tuple[pa.Table, Ints]
    days: Ints
    random: np.random.Generator


def split(name: str, seed: int, count: int, drift: Mapping[str, Any]) -> Split:
    """Split one set's days; count: number of features, 0 for its own."""
    random = np.random.default_rng([seed, sum(name.encode())])
    case = load(name, drift)
    case = widen(case, count, seed) if count else case
    known, unknown = halves(case, random)
    reference, traffic = of_days(case, known), of_days(case, unknown)
    ours = Ours(case, fit(case.model, reference[0]))
    ours.count("base", *traffic)
    return Split(case, ours, reference, traffic, unknown, random)


def judge_all(
    one: Split,
    jobs: Sequence[Job],
    tables: Mapping[str, tuple[pa.Table, Ints]],
    pythons: Pythons,
) -> dict[Job, Severities]:
    """Judge each different job once by all rules; return job -> severities."""
    found = {job: one.ours.judge(job) for job in dict.fromkeys(jobs)}
    different = list(dict.fromkeys(job._replace(before=()) for job in found))
    for peer, python in pythons.items():
        theirs = judge_by(peer, python, one.case, one.reference, tables, different)
        own = dict(zip(different, theirs, strict=True))
        for job, severities in found.items():
            severities[peer] = own[job._replace(before=())]
    return found


def windows(
    one: Split, series: Series, changed: str = "base", columns: tuple[str, ...] = ()
) -> dict[str, list[Job | None]]:
    """Return per window length the job of each daily evaluation; None where the window has too few rows.

    A day of the series that is None has no rows.

    The first evaluation is at the end of day LEAD + 1. changed: the table that has the days from then on.
    """
    columns = columns or tuple(one.case.kinds)
    found: dict[str, list[Job | None]] = {}
    for name, length in WINDOWS.items():
        days = [("base" if number < LEAD else changed, day) for number, day in enumerate(series[length])]
        lags = {against: lag_of(length * DAY, against) for against in (PREVIOUS, WEEK_AGO)}
        jobs = []
        for end in range(LEAD + 1, len(days) + 1):
            starts = {against: end - length - lag // DAY for against, lag in lags.items() if lag is not None}
            before = tuple(
                (against, old)
                for against, start in starts.items()
                if is_one_run(series[length], start, end, length) and (old := _open(days[start : start + length]))
            )
            jobs.append(Job(name, _open(days[end - length : end]), columns, before))
        found[name] = [
            job if one.ours.rows([("base", day) for _, day in job.days]) >= one.case.model.drift.min_rows else None
            for job in jobs
        ]
    return found


def _open(days: Sequence[tuple[str, int | None]]) -> tuple[tuple[str, int], ...]:
    return tuple((table, day) for table, day in days if day is not None)


def year(one: Split, days: int, pythons: Pythons) -> dict[str, list[Severities | None]]:
    """Judge a year (or so many days) in which nothing changes, day by day."""
    jobs = windows(one, traffic(one.days, days + LEAD, one.random))
    flat = [job for own in jobs.values() for job in own if job is not None]
    found = judge_all(one, flat, {"base": one.traffic}, pythons)
    return {name: [None if job is None else found[job] for job in own] for name, own in jobs.items()}


def severities(rule: str, evaluations: Sequence[Severities | None]) -> list[float]:
    """Return one rule's severity of each evaluation; a window that is not judged does not alarm."""
    return [0.0 if found is None else of_window(rule, found) for found in evaluations]


def episodes(values: Sequence[float], threshold: float = 1.0) -> int:
    """Count runs of consecutive evaluations above the threshold."""
    over = np.asarray(values) > threshold
    return int(over[:1].sum() + (over[1:] & ~over[:-1]).sum())


def used_rules(pythons: Pythons) -> list[str]:
    """Return the rules that can be run here."""
    return [rule for rule, source in RULES.items() if source not in PEERS or source in pythons]


def arguments(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return the options that both benchmarks have."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--seeds", type=int, default=defaults["seeds"], help="random halves of the days")
    parser.add_argument("--days", type=int, default=defaults["days"], help="length of the traffic without change")
    parser.add_argument("--knots", type=int, default=512, help="drift.knots; the exporter's default is 4096")
    parser.add_argument("--baselines", nargs="+", help="drift.baselines, instead of the exporter's default")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--no-peers", action="store_true", help="leave Evidently and NannyML out")
    parser.add_argument("--quick", action="store_true", help="a look in seconds: one seed, 60 days, no libraries")
    parser.add_argument("--out", type=Path, help="write the tables there instead of bench/results")
    return parser


def drift_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the drift settings that the options ask for."""
    return {"knots": options.knots} | ({"baselines": options.baselines} if options.baselines else {})


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options; --quick overrides."""
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.days, options.no_peers = 1, 60, True
    return options


def find_peers(wanted: bool) -> Pythons:
    """Return the libraries that can be run; say which cannot."""
    found = {peer: python_of(peer) for peer in PEERS} if wanted else {}
    for peer in [peer for peer, python in found.items() if python is None]:
        print(f"{peer} cannot be imported: its rows are left out (bench/README.md says how to install it)")
    return {peer: python for peer, python in found.items() if python is not None}


def machine(module: str, pythons: Pythons) -> str:
    """Say where, with what and how the numbers were made."""
    own = {name: version(name) for name in ("numpy", "scipy", "pandas", "pyarrow")}
    used = ", ".join(f"{name} {number}" for name, number in {**own, **versions(pythons)}.items())
    command = shlex.join(["python", "-m", f"bench.{module}", *sys.argv[1:]])
    cores = len(os.sched_getaffinity(0))
    where = f"{DATE}, {cores} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"{where}, {used}.\n\n    {command}\n"


def mean_error(values: Sequence[float]) -> str:
    """Write a mean and its standard error over seeds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {float(np.std(values, ddof=1)) / len(values) ** 0.5:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write(options: argparse.Namespace, name: str, text: str) -> None:
    """Write the report, unless it was only a quick look, and print it."""
    print(text, flush=True)
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(text)
