"""What does the exporter say on the four production logs, where the truth is known in words?

usage: python -m bench.real_logs [--quick]

Each log is replayed day by day through the exporter's own code (bench/replay.py), against the reference and both moving
baselines. Told apart are silence with room below the threshold, and silence because there is no threshold (blind).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.replay import BASELINES, Replay, judged, replay, settings
from bench.run import episodes, machine, table, write
from bench.traffic import FILES, WINDOWS

CONTROLS = ("hour", "day_of_week")
WEATHER = ("temp", "humid", "wind_speed", "precip", "visib", "pressure", "wind_gust")
OUTAGE_HOURS = 48  # before the end of the flights log: the weather stops in them
SEASON = ("2013-04-01", "2013-11-30")
PAIRS = [(window, against) for window in WINDOWS for against in BASELINES if (window, against) != ("7d", "week_ago")]


def number_of(date: str) -> int:
    """Return the number of a day."""
    return int(np.datetime64(date, "D").astype(int))


def date_of(day: float) -> str:
    """Return the date of a day's number."""
    return str(np.datetime64(int(day), "D"))


def columns(found: Replay) -> pd.DataFrame:
    """Return a row a day, window, baseline and column: detected (NaN: blind), and the largest score over threshold."""
    rows = found.drift[found.drift["whole"]].assign(room=lambda one: one["score"] / one["threshold"])
    keys = ["window", "baseline", "column", "day"]
    return rows.groupby(keys).agg(detected=("detected", "max"), room=("room", "max")).reset_index()


def of_pair(rows: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """Return the evaluations of one window against one baseline."""
    return rows[(rows["window"] == pair[0]) & (rows["baseline"] == pair[1])]


def share(detected: pd.Series) -> str:
    """Write the share of the evaluations in alarm, or that there is no verdict at all."""
    if detected.isna().all():
        return "blind" if len(detected) else "-"
    alarms = int(detected.sum())
    return f"{100 * alarms / detected.notna().sum():.1f} %" if alarms else "0"


def per_month(days: pd.DataFrame) -> str:
    """Write the episodes of a model per 30 days; days: a row an evaluation, in order."""
    return f"{episodes(days['detected'].fillna(0).tolist(), 0.5) * 30 / len(days):.2f}"


def whole_model(found: dict[str, Replay]) -> str:
    """Write how often any column is in alarm."""
    lines = []
    for name, one in found.items():
        of_model = columns(one).groupby(["window", "baseline", "day"])["detected"].max().reset_index()
        for pair in PAIRS:
            own = of_pair(of_model, pair)
            if len(own):
                lines.append([name, *pair, str(len(own)), share(own["detected"]), per_month(own)])
    return table(["set", "window", "baseline", "evaluations", "in alarm", "episodes in 30 days"], lines)


def by_column(found: Replay) -> str:
    """Write one line a column: the share of the evaluations in alarm, by window and baseline; and the first alarm."""
    rows = columns(found)
    lines = []
    for column, own in rows.groupby("column", sort=False):
        lines.append([column, *(verdict(of_pair(own, pair)) for pair in PAIRS)])
    return table(["column", *(f"{window} {against}" for window, against in PAIRS)], lines)


def verdict(own: pd.DataFrame) -> str:
    """Write a column's share of alarms with the first one, and how often it is blind."""
    text = share(own["detected"])
    if text in {"blind", "-"}:
        return text
    blind = own["detected"].isna().mean()
    first = own.loc[own["detected"] == 1, "day"].min()
    parts = [text, f"from {date_of(first)}" if pd.notna(first) else "", f"blind {100 * blind:.0f} %" if blind else ""]
    return ", ".join(part for part in parts if part)


def controls(found: Replay) -> str:
    """Write, for each control and method, the scores and the thresholds in force."""
    rows = found.drift[found.drift["whole"] & found.drift["column"].isin(CONTROLS)]
    lines = []
    for (column, window, against, method), own in rows.groupby(["column", "window", "baseline", "method"]):
        limit = own["threshold"]
        alarms = (own["score"] > limit).sum()
        known = "blind" if limit.isna().all() else f"{limit.min():.3g} to {limit.max():.3g}"
        text = [f"{len(own)}", f"{own['score'].max():.3g}", known, "no verdict" if known == "blind" else str(alarms)]
        lines.append([column, window, against, method, *text])
    return table(
        ["column", "window", "baseline", "method", "evaluations", "largest score", "threshold", "above"], lines
    )


def faults(found: Replay) -> str:
    """Write which faults of the controls are seen: whole weeks and days, every 28 days, with the fault put in."""
    log = pq.read_table(found.model.predictions.files[0]).to_pandas().sort_values("timestamp")
    day = log["timestamp"].astype("int64") // (86_400 * 10**6)
    lines = []
    for name, column, window, break_it in FAULTS:
        seen, blind, room = [], 0, []
        for start in range(day.min(), day.max() - 7, 28):
            rows = break_it(log[(day >= start) & (day < start + WINDOWS[window])].copy())
            told = judged(found.model, found.baseline, pa.Table.from_pandas(rows), window)
            own = [one for one in told if one["column"] == column]
            blind += not own or own[0]["detected"] is None
            seen.append(bool(own) and own[0]["detected"] == 1)
            room += [max((one["score"] / one["threshold"] for one in own if one["threshold"]), default=0.0)]
        text = f"{sum(seen)} of {len(seen)}" + (f" ({blind} blind)" if blind else "")
        lines.append([name, column, window, text, f"{np.median(room):.2f}"])
    return table(["fault", "column", "window", "windows in which it is seen", "score over threshold, median"], lines)


def _set(column: str, value: Any) -> Any:
    return lambda rows: rows.assign(**{column: value})


FAULTS = (
    ("stuck at 0", "hour", "24h", _set("hour", 0)),
    ("stuck at 0", "hour", "7d", _set("hour", 0)),
    ("the night (0 to 5) is lost", "hour", "7d", lambda rows: rows[rows["hour"] >= 6]),
    ("the afternoon (12 to 23) is lost", "hour", "7d", lambda rows: rows[rows["hour"] < 12]),
    ("stuck", "day_of_week", "7d", lambda rows: rows.assign(day_of_week=rows["day_of_week"].iloc[0])),
    ("the weekend is lost", "day_of_week", "7d", lambda rows: rows[~rows["day_of_week"].isin(["Sat", "Sun"])]),
    (
        "other names",
        "day_of_week",
        "7d",
        lambda rows: rows.assign(day_of_week="day " + rows["day_of_week"].astype(str)),
    ),
)


def by_half_year(found: Replay) -> str:
    """Write MAE by half year beside what the controls and the detectors of the error say."""
    rows = columns(found)
    control = rows[rows["column"].isin(CONTROLS) & (rows["baseline"] == "reference")]
    weekly = scores(found, "mae")
    lines = []
    for name, first, last in halves(found):
        days = [one for day, one in found.days.items() if first <= day <= last and "mae" in one.scores]
        mae = np.average([one.scores["mae"] for one in days], weights=[one.labelled for one in days])
        own = control[control["day"].between(first, last)]
        weeks = weekly[weekly["day"].between(first, last)]["score"]
        told = [in_alarm(found, method, first, last) for method in ("page_hinkley", "ewma")]
        label = rows[(rows["column"] == "label") & rows["day"].between(first, last) & (rows["window"] == "7d")]
        text = f"{int(own['detected'].sum())} of {own['detected'].notna().sum()}"
        lines.append(
            [name, f"{mae:.0f}", f"{weeks.min():.0f} to {weeks.max():.0f}", text, share(label["detected"]), *told]
        )
    head = ["half year", "MAE", "by week", "controls in alarm (reference, both windows)", "label in alarm (7d)"]
    return table([*head, "days in alarm of page_hinkley on the error", "of ewma"], lines)


def halves(found: Replay) -> Iterator[tuple[str, int, int]]:
    """Return the half years of a log: name, first and last day."""
    for year in range(2000, 2030):
        for name, start, end in (("first", "01-01", "06-30"), ("second", "07-01", "12-31")):
            first, last = number_of(f"{year}-{start}"), number_of(f"{year}-{end}")
            if any(first <= day <= last for day in found.days):
                yield f"{year}, {name}", first, last


def in_alarm(found: Replay, method: str, first: int, last: int, signal: str = "error") -> str:
    """Write the share of days in which a detector is in alarm."""
    rows = found.sequential
    if rows.empty:
        return "-"
    own = rows[(rows["signal"] == signal) & (rows["method"] == method) & rows["day"].between(first, last)]
    return share(own["detected"].astype(float))


def scores(found: Replay, metric: str) -> pd.DataFrame:
    """Return a metric of whole weeks, each for itself: Monday to Sunday, local time."""
    rows = found.performance
    sunday = (rows["day"] + 3) % 7 == 6  # 1970-01-01 was a Thursday
    return rows[(rows["metric"] == metric) & (rows["window"] == "7d") & sunday]


def detectors(found: dict[str, Replay]) -> str:
    """Write when each detector alarmed."""
    lines = []
    for name, one in found.items():
        for (signal, method), own in one.sequential.groupby(["signal", "method"]):
            starts = sorted(own["since"].dropna().unique())
            shown = ", ".join(map(date_of, starts[:4])) + (f" and {len(starts) - 4} more" if len(starts) > 4 else "")
            lines.append([name, signal, method, str(len(own)), share(own["detected"].astype(float)), shown or "never"])
    return table(["set", "signal", "method", "days", "in alarm", "alarms begin"], lines)


def season(found: Replay) -> str:
    """Write what the features say in the season, and in the outage: drift and missing values side by side."""
    first, last = map(number_of, SEASON)
    end = found.quality["day"].max()
    rows, bad = columns(found), found.quality[found.quality["check"] == "missing"]
    names = [*WEATHER, *(name for name in dict.fromkeys(bad["feature"]) if name not in WEATHER)]
    lines = []
    for name in names:
        own = rows[rows["column"] == name]
        line = [name]
        line += [share(of_pair(own[own["day"].between(first, last)], pair)["detected"]) for pair in PAIRS]
        at_end = own[own["day"] == end]
        told = [" ".join(pair) for pair in PAIRS if of_pair(at_end, pair)["detected"].max() == 1]
        line.append(", ".join(told) or ("none" if at_end["detected"].notna().any() else "no verdict"))
        line += [missing(bad[(bad["feature"] == name) & (bad["window"] == w)], first, last, end) for w in WINDOWS]
        lines.append(line)
    head = ["feature", *(f"drift {window} {against}, season" for window, against in PAIRS), "drift, outage"]
    return table([*head, *(f"missing {window}, season; outage" for window in WINDOWS)], lines)


def missing(own: pd.DataFrame, first: int, last: int, end: int) -> str:
    """Write the days above the bound in the season, and the share in the outage with its bound."""
    if own.empty:
        return "-"
    inside = own[own["day"].between(first, last)]
    now = own[own["day"] == end].iloc[0]
    if pd.isna(now["bound"]):
        return f"blind; {now['share']:.2f}"
    over = int((inside["share"] > inside["bound"]).sum())
    return (
        f"{over} days; {now['share']:.2f} above {now['bound']:.2f}"
        if now["share"] > now["bound"]
        else f"{over} days; no"
    )


def outage(found: Replay) -> str:
    """Write when each feature's missing values were told, hour by hour."""
    rows = found.hourly[found.hourly["check"] == "missing"]
    lines = []
    for (feature, window), own in rows.groupby(["feature", "window"], sort=False):
        if feature not in WEATHER:
            continue
        over = own[own["share"] > own["bound"]]
        first = pd.Timestamp(over["day"].min(), unit="s", tz=found.model.timezone) if len(over) else None
        known = "blind" if own["bound"].isna().all() else f"{own['bound'].iloc[-1]:.2f}"
        at = first.strftime("%Y-%m-%d %H:%M") if first is not None else "never"
        lines.append([feature, window, f"{own['share'].iloc[-1]:.2f}", known, at])
    return table(["feature", "window", "missing at the end of the log", "bound", "first above it (local time)"], lines)


def by_month(found: Replay) -> str:
    """Write performance and temperature by month."""
    rows, weekly = columns(found), scores(found, "roc_auc")
    temp = rows[rows["column"] == "temp"]
    month = pd.PeriodIndex(pd.to_datetime(temp["day"], unit="D"), freq="M")
    lines = []
    for name in month.unique().sort_values():
        own = temp[month == name]
        weeks = weekly[pd.PeriodIndex(pd.to_datetime(weekly["day"], unit="D"), freq="M") == name]["score"]
        told = [share(of_pair(own, pair)["detected"]) for pair in PAIRS]
        first, last = int(own["day"].min()), int(own["day"].max())
        ewma = in_alarm(found, "ewma", first, last, "feature:temp")
        lines.append([str(name), f"{weeks.min():.2f} to {weeks.max():.2f}" if len(weeks) else "-", *told, ewma])
    return table(["month", "ROC AUC by week", *(f"temp {w} {b}" for w, b in PAIRS), "ewma of temp, days"], lines)


def bad_shares(found: Replay) -> str:
    """Write every feature and check that was above its bound, or is blind."""
    lines = []
    for (feature, check, window), own in found.quality.groupby(["feature", "check", "window"], sort=False):
        over = own[own["share"] > own["bound"]]
        if own["bound"].isna().all() and own["share"].max() > 0:
            lines.append([feature, check, window, "blind", f"{own['share'].max():.2f}", "", ""])
        elif len(over):
            limit = f"{own['bound'].min():.2f} to {own['bound'].max():.2f}"
            lines.append(
                [feature, check, window, limit, f"{own['share'].max():.2f}", str(len(over)), date_of(over["day"].min())]
            )
    return table(["feature", "check", "window", "bound", "largest share", "days above", "first"], lines)


ABOUT = """# On real logs

The four production logs, replayed day by day through the exporter's own code: baseline and thresholds from the whole
reference, default methods and budget (1 false alarm in 30 days), baselines `reference`, `previous` and `week_ago`,
`day_of_week` judged by the week, detectors `page_hinkley` and `ewma`. At the end of each local day the last 24 hours
and the last 7 days are judged. Labels are all that ever came (in service some come later).

- **In alarm**: share of the evaluations with a verdict. `0`: there were verdicts, and none was an alarm. **blind**: a
  score, but no threshold that could tell anything, so no verdict: silence that says nothing. `-`: never judged.
- Evaluations count from the first whose window, and the one that it is compared with, lie inside the log.
- These logs are full of real changes (`tests/data/README.md`): none of the rates is a false-alarm rate. Those are in
  [quiet_pager.md](quiet_pager.md).
"""


def report(found: dict[str, Replay]) -> str:
    """Write all tables."""
    text = ["## How often the whole model alarms\n", whole_model(found)]
    if "bikes" in found:
        own = found["bikes"]
        text += ["## bikes: the controls stay silent while performance decays\n", by_half_year(own)]
        text += ["Scores and thresholds of the controls:\n", controls(own)]
        text += ["Are they silent, or deaf? Faults put into days and weeks of the log, every 28 days:\n", faults(own)]
    if "flights" in found:
        own = found["flights"]
        text += ["## flights: the season and the outage\n", season(own), "The outage, hour by hour:\n", outage(own)]
        text += ["The season, month by month:\n", by_month(own), "Shares above their bounds:\n", bad_shares(own)]
    text.append("## Every column\n")
    for name, one in found.items():
        text += [f"### {name}\n", by_column(one)]
    return "\n".join([*text, "## The detectors, day by day\n", detectors(found)])


def one_log(name: str, knots: int) -> Replay:
    """Replay one of the four logs."""
    return replay(settings(name, knots), OUTAGE_HOURS if name == "flights" else 0)


def main() -> None:
    """Run and write bench/results/real_logs.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--knots", type=int, default=512, help="drift.knots; the exporter's default is 4096")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help="bikes alone, nothing written")
    parser.add_argument("--out", type=Path, help="write the tables there instead of bench/results")
    options = parser.parse_args()
    names: Sequence[str] = ["bikes"] if options.quick else options.sets
    with ProcessPoolExecutor(options.workers) as pool:
        found = dict(zip(names, pool.map(one_log, names, repeat(options.knots)), strict=True))
    write(options, "real_logs", "\n".join([ABOUT, machine("real_logs", {}), report(found)]))


if __name__ == "__main__":
    main()
