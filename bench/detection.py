"""How soon does each rule see a shift of known kind and size, at its own threshold and at an equal false-alarm rate?

usage: python -m bench.detection [--quick]

Traffic without change as in bench.quiet_pager; then one column changes for good. Counted are the days, at most 14,
until the first alarm that names this column and that the same traffic without the change does not have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from bench.rules import MISSING, OURS, SHARED, Job, Severities, of_columns, of_window
from bench.run import (
    Pythons,
    Split,
    arguments,
    drift_of,
    episodes,
    find_peers,
    judge_all,
    machine,
    parse,
    severities,
    split,
    table,
    used_rules,
    windows,
    write,
)
from bench.traffic import LEAD, SEGMENTS, SIZES, WINDOWS, Case, Shift, features, inject, of_days, traffic

SPAN = 14
BUDGET = 1 / 30 / len(WINDOWS)  # alarm episodes a day in one window length
Series = dict[tuple[str, str], list[float]]  # (rule, window) -> severity of each daily evaluation


class Trial(NamedTuple):
    """One shift from its first day on: the changed column's severities with the change, and without it.

    rows: how many had come by the end of each day.
    """

    name: str
    shift: Shift
    changed: Series
    unchanged: Series
    rows: list[int]


class Found(NamedTuple):
    """One split: what the rules say where nothing changes, and of each trial."""

    name: str
    seed: int
    quiet: Series
    trials: list[Trial]


class Task(NamedTuple):
    """One split of one set."""

    name: str
    seed: int
    days: int
    drift: dict[str, Any]
    trials: int


def shifts(case: Case, random: np.random.Generator) -> list[Shift]:
    """Draw a column for each kind of shift; each of its sizes then changes that column."""
    names = features(case)
    numbers = [name for name in names if case.kinds[name] == "numeric" and name != SEGMENTS[case.name][0]]
    categories = [name for name in names if case.kinds[name] == "categorical"]
    found = []
    for kind, sizes in SIZES.items():
        column = str(random.choice({"swap": categories, "missing": names}.get(kind, numbers)))
        found += [Shift(kind, size, column) for size in sizes]
    return found


def measure(task: Task, pythons: Pythons) -> Found:
    """Judge a year without change and all trials of one split."""
    one = split(task.name, task.seed, 0, task.drift)
    tables = {"base": one.traffic}
    quiet = windows(one, traffic(one.days, task.days + LEAD, one.random))
    plans = []
    for trial in range(task.trials):
        series = traffic(one.days, SPAN + LEAD, one.random)
        before = windows(one, series)
        later = {day for own in series.values() for day in own[LEAD:] if day is not None}
        for number, shift in enumerate(shifts(one.case, one.random)):
            name = f"shift_{trial}_{number}"
            rows, day = of_days(one.case, np.array(sorted(later)))
            tables[name] = (inject(one.case, rows, shift, one.random), day)
            one.ours.count(name, *tables[name])
            plans.append((shift, series[1], before, windows(one, series, name, (shift.column,))))
    every = [quiet, *(jobs for plan in plans for jobs in plan[2:])]
    found = judge_all(one, [job for jobs in every for own in jobs.values() for job in own if job], tables, pythons)
    rules = used_rules(pythons)
    trials = [_trial(one, rules, found, *plan) for plan in plans]
    return Found(task.name, task.seed, _series(rules, {w: [found.get(job) for job in quiet[w]] for w in quiet}), trials)


Jobs = dict[str, list[Job | None]]


def _trial(
    one: Split,
    rules: list[str],
    found: dict[Job, Severities],
    shift: Shift,
    series: list[int],
    before: Jobs,
    after: Jobs,
) -> Trial:
    """Compare the windows of a shift with the same windows without it."""
    changed: Series = {}
    unchanged: Series = {}
    for window, jobs in before.items():
        pairs = [
            (found[old], found[new]) if old and new else None for old, new in zip(jobs, after[window], strict=True)
        ]
        merged = [pair and _merged(*pair, shift.column) for pair in pairs]
        for rule in rules:
            unchanged[rule, window] = [_of(rule, pair and pair[0], shift.column) for pair in pairs]
            changed[rule, window] = [_of(rule, one, shift.column) for one in merged]
    rows = np.cumsum([one.ours.rows([("base", day)]) for day in series[LEAD:]])
    return Trial(one.case.name, shift, changed, unchanged, rows.tolist())


def _merged(old: Severities, new: Severities, column: str) -> Severities:
    """Put the changed column's severities in the place of what it had."""
    return {
        source: {name: value for name, value in own.items() if name != column} | new[source]
        for source, own in old.items()
    }


def _of(rule: str, found: Severities | None, column: str) -> float:
    """Return one column's severity; a verdict for all columns together counts for each."""
    if found is None:
        return 0.0
    return of_window(rule, found) if rule in SHARED else of_columns(rule, found).get(column, 0.0)


def _series(rules: list[str], judged: dict[str, list[Severities | None]]) -> Series:
    return {(rule, window): severities(rule, own) for rule in rules for window, own in judged.items()}


def in_alarm(quiet: Sequence[Sequence[float]], threshold: float) -> tuple[int, int]:
    """Return the alarm episodes, and the evaluations in alarm, of several series."""
    return sum(episodes(own, threshold) for own in quiet), sum(value > threshold for own in quiet for value in own)


def lowest(quiet: Sequence[Sequence[float]], most: tuple[float, float]) -> float:
    """Return the lowest threshold with at most so many episodes and evaluations in alarm, coming down from none."""
    found = max(max(own) for own in quiet)
    for height in sorted({value for own in quiet for value in own}, reverse=True):
        if any(are > may for are, may in zip(in_alarm(quiet, height), most, strict=True)):
            break
        found = height
    return found


Thresholds = dict[tuple[str, str, str], float]  # (set, rule, window) -> severity that alarms


def thresholds(found: list[Found], rules: list[str], mode: str) -> Thresholds:
    """Scale every rule's threshold. mode: own (not at all), ours (to as many episodes as ours has), budget (to 1)."""
    scaled: Thresholds = {}
    for name in dict.fromkeys(one.name for one in found):
        for window, length in WINDOWS.items():
            quiet = {rule: [one.quiet[rule, window] for one in found if one.name == name] for rule in rules}
            most: tuple[float, float] = in_alarm(quiet[OURS], 1)
            if mode == "budget":
                allowed = BUDGET * sum(len(own) for own in quiet[OURS])
                most = (allowed, allowed * length)
            for rule in rules:
                keep = mode == "own" or (mode == "ours" and rule == OURS)
                scaled[name, rule, window] = 1.0 if keep else lowest(quiet[rule], most)
    return scaled


def delay(trial: Trial, rule: str, scaled: Thresholds) -> int:
    """Return the days until the first alarm that is the change's; one more than there are, if none came."""
    for day in range(SPAN):
        for window in WINDOWS:
            threshold = scaled[trial.name, rule, window]
            if trial.changed[rule, window][day] > threshold >= trial.unchanged[rule, window][day]:
                return day + 1
    return SPAN + 1


def _cell(trials: list[Trial], rule: str, scaled: Thresholds, with_rows: bool) -> str:
    days = [delay(trial, rule, scaled) for trial in trials]
    seen = 100 * sum(day <= SPAN for day in days) / len(days)
    text = f"{seen:.0f} %, {np.mean(days):.1f} d"
    if with_rows:
        rows = np.mean([trial.rows[min(day, SPAN) - 1] for trial, day in zip(trials, days, strict=True)])
        text += f", {rows:,.0f}"
    return text


def report(trials: list[Trial], rules: list[str], scaled: Thresholds, with_rows: bool = False) -> str:
    """Write one table: a line for each kind and size, a column for each rule."""
    rows = []
    for kind, sizes in SIZES.items():
        for size in sizes:
            own = [trial for trial in trials if trial.shift.kind == kind and trial.shift.size == size]
            rows.append([f"{kind} {size:g}", *(_cell(own, rule, scaled, with_rows) for rule in rules)])
    rows.append(["**all**", *(_cell(trials, rule, scaled, with_rows) for rule in rules)])
    return table(["shift", *rules], rows)


def later(trials: list[Trial], rules: list[str], scaled: Thresholds) -> str:
    """Name where another rule is sooner than ours, beyond two standard errors of the paired difference."""
    lines = []
    groups = {(trial.name, trial.shift.kind): None for trial in trials}
    for name, kind in groups:
        own = [trial for trial in trials if (trial.name, trial.shift.kind) == (name, kind)]
        ours = OURS if kind != "missing" else MISSING
        for rule in rules:
            gain = np.array([delay(trial, ours, scaled) - delay(trial, rule, scaled) for trial in own])
            error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
            if rule not in (OURS, MISSING) and gain.mean() > 2 * error and gain.mean() > 0:
                lines.append(f"- {name}, {kind}: {rule} is {gain.mean():.1f} ± {error:.1f} days sooner than {ours}.")
    return "\n".join(lines or ["- nowhere."]) + "\n"


ABOUT = """# Detection

Half of each reference's days of each weekday, drawn at random, makes baseline and thresholds; the other half, resampled
in runs of 28 days, is the traffic (as in quiet_pager.md). In each trial one feature, drawn at random, changes for good,
and the last 24 hours and the last 7 days are judged at the end of each day for {span} days. An alarm counts when it
names the changed feature and when the same window without the change has none: luck is not counted, and a rule that is
in alarm anyway cannot tell anything. A cell is: share of the trials detected within {span} days; mean days until then
(never: counted as {none}); in the tables of single sets also the mean number of rows that had come by then.

- mean: numbers move up by so many standard deviations of the reference. variance: their distance from the mean is
  multiplied. swap: this share of the rows gets the category of middling frequency. missing: this share loses its
  value. segment: as mean, in one segment's rows only ({segments}). Whole numbers stay whole.
- At an equal false-alarm rate: for each set and window length, a rule's severity (score over threshold, largest over
  the columns) is scaled by one factor, down to the lowest with at most as many alarm episodes, and evaluations in
  alarm, as ours has in the same traffic without change ({seeds} splits of {days} days). The other rules so know the
  test's own traffic; ours has seen the other half of the days only.
- Drift scores leave missing values out, in ours and in both libraries; ours has checks of their own for bad values
  (missing, unseen, out of range, invalid), whose row is "{missing}".
"""


def main() -> None:
    """Run and write bench/results/detection.md."""
    parser = arguments(__doc__, seeds=8, days=120)
    parser.add_argument("--trials", type=int, default=3, help="shifts of each kind and size in each split")
    options = parse(parser)
    pythons = find_peers(not options.no_peers)
    rules = used_rules(pythons)
    tasks = [
        Task(name, seed, options.days, drift_of(options), options.trials)
        for seed in range(options.seeds)
        for name in options.sets
    ]
    with ProcessPoolExecutor(options.workers) as pool:
        found = list(pool.map(measure, tasks, repeat(pythons)))
    write(options, "detection", text_of(options, found, rules, pythons))


def text_of(options: argparse.Namespace, found: list[Found], rules: list[str], pythons: Pythons) -> str:
    """Write the whole report."""
    segments = ", ".join(f"{name}: {column} {bound}" for name, (column, bound) in SEGMENTS.items())
    about = {"span": SPAN, "none": SPAN + 1, "segments": segments, "missing": MISSING, **vars(options)}
    text = [ABOUT.format(**about), machine("detection", pythons)]
    trials = [trial for one in found for trial in one.trials]
    scaled = thresholds(found, rules, "ours")
    text += ["## At ours' false-alarm rate, all sets\n", report(trials, rules, scaled)]
    text += ["Another rule is sooner (by set and kind, beyond 2 standard errors):\n", later(trials, rules, scaled)]
    scaled = thresholds(found, rules, "budget")
    text += ["## All rules, ours too, scaled to 1 alarm episode per 30 days, all sets\n", report(trials, rules, scaled)]
    text += ["Another rule is sooner:\n", later(trials, rules, scaled)]
    text += ["## At the rules' own defaults, all sets\n", report(trials, rules, thresholds(found, rules, "own"))]
    scaled = thresholds(found, rules, "ours")
    for name in options.sets:
        own = [trial for trial in trials if trial.name == name]
        text += [f"## {name}, at ours' false-alarm rate\n", report(own, rules, scaled, with_rows=True)]
    return "\n".join(text)


if __name__ == "__main__":
    main()
