"""How often does each rule page in a year in which nothing changes?

usage: python -m bench.quiet_pager [--quick] [--wide 20 200]

Half of a reference's days of each weekday makes baseline and thresholds; the other half, resampled in runs of 28 days,
is the year.
Every day the last 24 hours and the last 7 days are judged. An alarm episode is a run of consecutive evaluations of one
window length in which any column is detected; the two window lengths count separately and add up.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from bench.rules import MISSING, OURS, SHARED, Severities, of_columns
from bench.run import (
    Pythons,
    arguments,
    drift_of,
    episodes,
    find_peers,
    machine,
    mean_error,
    parse,
    severities,
    split,
    table,
    used_rules,
    write,
    year,
)
from bench.traffic import WINDOWS

Rates = dict[tuple[str, str, str], float]  # (measure, rule, window) -> number
MEASURES = {
    "episodes": "Alarm episodes of the model per 30 days",
    "share": "Evaluations in alarm, percent",
    "columns": "Alarm episodes of single columns per 30 days, added up (an alert each)",
}


class Task(NamedTuple):
    """One split of one set; features: how many, 0 for the set's own."""

    name: str
    seed: int
    features: int
    days: int
    drift: dict[str, Any]


def measure(task: Task, pythons: Pythons) -> Rates:
    """Return what each rule does in each window length."""
    one = split(task.name, task.seed, task.features, task.drift)
    found = year(one, task.days, pythons)
    rates: Rates = {}
    for rule in used_rules(pythons):
        for window, evaluations in found.items():
            values = severities(rule, evaluations)
            rates["episodes", rule, window] = episodes(values) * 30 / task.days
            rates["share", rule, window] = 100 * sum(value > 1 for value in values) / task.days
            if rule == OURS:
                rates["blind", rule, window] = blind(evaluations)
            if rule not in SHARED:
                rates["columns", rule, window] = by_column(rule, evaluations) * 30 / task.days
    return rates


def blind(evaluations: list[Severities | None]) -> float:
    """Return the percentage of columns that ours says nothing about, because no threshold could tell anything."""
    shares = [1 - len(one["ours"]) / len(one["psi"]) for one in evaluations if one and one["psi"]]
    return 100 * float(np.mean(shares)) if shares else 0.0


def by_column(rule: str, evaluations: list[Severities | None]) -> int:
    """Count the episodes of every column on its own."""
    found = [{} if one is None else of_columns(rule, one) for one in evaluations]
    names = {name for one in found for name in one}
    return sum(episodes([one.get(name, 0.0) for one in found]) for name in names)


def run(options: argparse.Namespace, features: int, seeds: int, days: int, pythons: Pythons) -> dict[str, list[Rates]]:
    """Measure all sets and seeds; per set one entry a seed."""
    tasks = [Task(name, seed, features, days, drift_of(options)) for seed in range(seeds) for name in options.sets]
    with ProcessPoolExecutor(options.workers) as pool:
        found = list(pool.map(measure, tasks, repeat(pythons)))
    return {name: [own for task, own in zip(tasks, found, strict=True) if task.name == name] for name in options.sets}


def report(found: dict[str, list[Rates]], measure: str, rules: list[str]) -> str:
    """Write one table: a line for each rule, a column for each set and window length."""
    head = ["rule", *(f"{name} {window}" for name in found for window in WINDOWS)]
    rows = []
    for rule in rules:
        row = [f"**{rule}**" if rule == OURS else rule]
        for seeds in found.values():
            for window in WINDOWS:
                values = [rates[measure, rule, window] for rates in seeds if (measure, rule, window) in rates]
                row.append(mean_error(values) if values else "-")
        rows.append(row)
    return table(head, rows)


def verdict(found: dict[str, list[Rates]]) -> str:
    """Say plainly where our budget of 1 is kept."""
    lines = []
    for name, seeds in found.items():
        values = [sum(rates["episodes", MISSING, window] for window in WINDOWS) for rates in seeds]
        mean = np.mean(values)
        error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        kept = "kept" if mean <= 1 else ("kept within 2 standard errors" if mean <= 1 + 2 * error else "MISSED")
        over = sum(value > 1 for value in values)
        no_verdict = [np.mean([rates["blind", OURS, window] for rates in seeds]) for window in WINDOWS]
        lines.append(
            f"- {name}: {mean_error(values)} episodes in 30 days where 1 is allowed: **{kept}**; "
            f"{over} of {len(values)} splits had more than 1, the worst {max(values):.2f}. "
            f"No verdict (blind): {no_verdict[0]:.0f} % of the columns by day, {no_verdict[1]:.0f} % by week."
        )
    return "\n".join(lines) + "\n"


def section(title: str, about: str, found: dict[str, list[Rates]], rules: list[str]) -> list[str]:
    """Write all that there is to say of one run."""
    text = [
        f"## {title}\n",
        about,
        "Both window lengths together, columns and quality checks, the whole budget:\n",
        verdict(found),
    ]
    for measure, name in MEASURES.items():
        text += [f"{name}:\n", report(found, measure, rules)]
    return text


ABOUT = """# A quiet pager

Half of each reference's days of each weekday, drawn at random, makes baseline and thresholds; the other half, resampled
in runs of 28 days, is a year in which nothing changes. Each day the last 24 hours and the last 7 days are judged: all
features, prediction, scores and label, by every rule. Numbers are means over random splits, ± their standard error over
the splits. Ours has a budget of 1 alarm episode per 30 days for the whole model: all columns, both window lengths,
against the reference and against the window before (the default baselines).

- A **model's episode** is a run of consecutive evaluations of one window length in which any column is detected. A
  rule that alarms every day has one episode that never ends, and so has few: read it beside the **evaluations in
  alarm**.
- A **column's episode** is the same for one column; each is an alert of its own.
- Windows of a day follow each other as the half's days do. Those of a week see the same days in another order, in which
  each weekday's days follow each other: so a week has one day of each weekday, as real ones have. A weekday on which
  the shop is closed (retail's Saturday) has no rows there.
- The window before is compared with where both lie in one run of days: in 27 of 28 evaluations by day, in 15 of 28 by
  week (fewer on the flights sets, whose halves have 22 days). The week before needs 41 days to learn from: on the
  flights sets it has no thresholds here. `week_ago` is not judged: it is not a default baseline.
- A window with fewer than `min_rows` rows is not judged: 200, for retail and bikes 20.
- The libraries judge with their own packages and defaults. Evidently: the test and threshold that it chooses for each
  column. NannyML: Jensen-Shannon, above mean + 3 standard deviations of the reference's chunks, chunks as long as the
  window.
- Bad values (missing, unseen, out of range, invalid) are judged by checks of their own, learned from the same days; a
  third of the budget is theirs. Their row shows columns' drift and checks together: the whole budget.
- `drift.knots` is {knots} to save time (default 4096): Kolmogorov-Smirnov is then exact to 1/{knots}.
"""

WIDE = """Features are added until there are {count}: copies of the real ones, moved by whole days around the
reference's end (copy j shows each day the rows of the day j further on, drawn with replacement), so that a day's rows
belong together and days resemble their neighbours as they do in the original.
"""


def main() -> None:
    """Run and write bench/results/quiet_pager.md."""
    parser = arguments(__doc__, seeds=20, days=365)
    parser.add_argument("--peer-seeds", type=int, default=2, help="random halves that the libraries judge, too")
    parser.add_argument("--peer-days", type=int, default=90, help="days that they judge")
    parser.add_argument("--wide", type=int, nargs="*", help="numbers of features to widen to, instead of the sets' own")
    options = parse(parser)
    if options.wide:
        widened(options)
        return
    pythons = find_peers(not options.no_peers)
    text = [ABOUT.format(**vars(options)), machine("quiet_pager", pythons)]
    found = run(options, 0, options.seeds, options.days, {})
    text += section(f"The sets' own features, {options.seeds} splits of {options.days} days", "", found, used_rules({}))
    if pythons:
        found = run(options, 0, options.peer_seeds, options.peer_days, pythons)
        title = f"With the libraries, {options.peer_seeds} splits of {options.peer_days} days"
        text += section(title, "", found, used_rules(pythons))
    write(options, "quiet_pager", "\n".join(text))


def widened(options: argparse.Namespace) -> None:
    """Write bench/results/quiet_pager_wide.md."""
    text = [ABOUT.format(**vars(options)), machine("quiet_pager", {})]
    for count in options.wide:
        found = run(options, count, options.seeds, options.days, {})
        title = f"{count} features, {options.seeds} splits of {options.days} days"
        text += section(title, WIDE.format(count=count), found, used_rules({}))
        write(options, "quiet_pager_wide", "\n".join(text))


if __name__ == "__main__":
    main()
