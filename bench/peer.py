"""Severities of windows by Evidently's or NannyML's own functions and defaults; run in that library's environment.

usage: python peer.py evidently|nannyml FOLDER ; reads what bench/rules.py wrote there, writes found.json
"""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ["DO_NOT_TRACK"] = os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import pandas as pd  # noqa: E402

BATCH = 40
FIRST = pd.Timestamp("2020-01-01")


class Rows:
    """The rows of windows, put together from days."""

    def __init__(self, folder: Path):
        self._tables = {}
        for path in folder.glob("*.parquet"):
            table = pd.read_parquet(path)
            self._tables[path.stem] = dict(list(table.groupby("day")))
        self.days = self._tables["reference"]
        self.reference = pd.concat(self.days.values(), ignore_index=True)

    def of(self, job: dict) -> pd.DataFrame:
        """Return the columns of a window's rows."""
        return pd.concat([self._tables[name][day][job["columns"]] for name, day in job["days"]], ignore_index=True)


def is_category(column: pd.Series) -> bool:
    """Numbers come as float64, categories as text."""
    return column.dtype != "float64"


def evidently(rows: Rows, jobs: list[dict]) -> list[dict[str, float]]:
    """Take the default test and threshold that the library chooses for each column (as its DataDriftPreset does)."""
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    reference = {name: column.dropna() for name, column in rows.reference.items() if name != "day"}

    def severity(name: str, current: pd.Series) -> float:
        kind = ColumnType.Categorical if is_category(reference[name]) else ColumnType.Numerical
        test = get_stattest(reference[name], current, kind, None)
        found = test(reference[name], current, kind, threshold=None)
        if test.default_threshold == 0.05:  # a p-value
            return math.log(max(found.drift_score, 1e-300)) / math.log(0.05)
        return found.drift_score / found.actual_threshold

    found = []
    for job in jobs:
        current = rows.of(job)
        columns = {name: column.dropna() for name, column in current.items()}
        found.append({name: severity(name, column) for name, column in columns.items() if len(column)})
    return found


def nannyml(rows: Rows, jobs: list[dict]) -> list[dict[str, float]]:
    """Take UnivariateDriftCalculator as it comes: Jensen-Shannon, above mean + 3 deviations of the reference's chunks.

    A chunk is a window's length of the reference's days. Each window is given as a day of its own, so that the
    library cuts its rows into exactly these windows.
    """
    import nannyml as nml

    calculators: dict[tuple, nml.UnivariateDriftCalculator] = {}
    found: list[dict[str, float]] = [{} for _ in jobs]
    groups: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault((job["window"], tuple(job["columns"])), []).append(number)
    for (window, columns), numbers in groups.items():
        calculator = calculators[window, columns] = nml.UnivariateDriftCalculator(
            column_names=list(columns),
            treat_as_categorical=[name for name in columns if is_category(rows.reference[name])],
            timestamp_column_name="at",
            chunk_period="D",
        )
        length = {"24h": 1, "7d": 7}[window]
        days = list(rows.days.values())
        chunks = [pd.concat(days[i : i + length]) for i in range(0, len(days) - length + 1, length)]
        calculator.fit(dated(chunks))
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH]
            result = calculator.calculate(dated([rows.of(jobs[i]) for i in part])).filter(period="analysis").to_df()
            assert len(result) == len(part)
            for name in columns:
                own = result[name]["jensen_shannon"]
                for i, value, limit in zip(part, own["value"], own["upper_threshold"], strict=True):
                    if math.isfinite(value) and math.isfinite(limit) and limit > 0:
                        found[i][name] = float(value / limit)
    return found


def dated(chunks: list[pd.DataFrame]) -> pd.DataFrame:
    """Put chunks one after the other, each on a day of its own."""
    return pd.concat([c.assign(at=FIRST + pd.Timedelta(days=i)) for i, c in enumerate(chunks)], ignore_index=True)


def main() -> None:
    peer, folder = sys.argv[1], Path(sys.argv[2])
    jobs = json.loads((folder / "jobs.json").read_text())
    found = {"evidently": evidently, "nannyml": nannyml}[peer](Rows(folder), jobs)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
