"""W1 and W2 by another library, in that library's environment; prints one JSON line.

usage: python speed_peer.py w1 JUDGE FOLDER ; python speed_peer.py w2 JUDGE FOLDER HOURS ; JUDGE is a name in JUDGES
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ |= {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True"}

import pandas as pd  # noqa: E402

NUMERIC = [f"n{number:02d}" for number in range(50)]
TEXT = [f"c{number:02d}" for number in range(10)]
Judge = Callable[[pd.DataFrame], object]


def evidently(reference: pd.DataFrame, numeric: list[str], text: list[str], **methods: str) -> Judge:
    """Judge by a preset."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = DataDefinition(numerical_columns=numeric, categorical_columns=text)
    before = Dataset.from_pandas(reference, data_definition=kinds)

    def judge(rows: pd.DataFrame) -> object:
        now = Dataset.from_pandas(rows, data_definition=kinds)
        return Report([DataDriftPreset(**methods)]).run(now, before).dict()

    return judge


def nannyml(
    reference: pd.DataFrame, numeric: list[str], text: list[str], continuous: list[str], categorical: list[str]
) -> Judge:
    """Judge all rows as one chunk, by some methods."""
    from nannyml import UnivariateDriftCalculator

    def judge(rows: pd.DataFrame) -> object:
        return made.calculate(rows).to_df()

    made = UnivariateDriftCalculator(
        column_names=[*numeric, *text],
        treat_as_categorical=text,
        continuous_methods=continuous,
        categorical_methods=categorical,
        chunk_number=1,
    )
    made.fit(reference)
    return judge


def whylogs(reference: pd.DataFrame, numeric: list[str], text: list[str]) -> Judge:
    """Profile the rows by sketches, and judge by those."""
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    before = why.log(pandas=reference).profile().view()

    def judge(rows: pd.DataFrame) -> object:
        now = why.log(pandas=rows).profile().view()
        return calculate_drift_scores(target_view=now, reference_view=before, with_thresholds=True)

    return judge


def frouros(reference: pd.DataFrame, numeric: list[str], text: list[str]) -> Judge:
    """Judge by KS, PSI and chi-square, column by column."""
    from frouros.detectors.data_drift import PSI, ChiSquareTest, KSTest

    def judge(rows: pd.DataFrame) -> object:
        for name in [*numeric, *text]:
            for detector in (KSTest(), PSI(num_bins=10)) if name in numeric else (ChiSquareTest(),):
                detector.fit(X=reference[name].to_numpy())
                detector.compare(X=rows[name].to_numpy())
        return None

    return judge


def alibi(reference: pd.DataFrame, numeric: list[str], text: list[str]) -> Judge:
    """Judge by KS and chi-square; it wants one array of numbers."""
    from alibi_detect.cd import TabularDrift

    codes = {name: {value: code for code, value in enumerate(sorted(reference[name].unique()))} for name in text}

    def array(rows: pd.DataFrame):
        return rows.assign(**{name: rows[name].map(codes[name]) for name in text}).to_numpy(float)

    places = {len(numeric) + number: None for number in range(len(text))}
    made = TabularDrift(array(reference), p_val=0.05, categories_per_feature=places)
    return lambda rows: made.predict(array(rows), drift_type="feature")


def deepchecks(reference: pd.DataFrame, numeric: list[str], text: list[str]) -> Judge:
    """Judge all rows by KS and PSI; by itself it would take 100,000 of them."""
    from deepchecks.tabular import Dataset
    from deepchecks.tabular.checks import FeatureDrift

    before = Dataset(reference, cat_features=text)
    check = FeatureDrift(n_samples=10**9, numerical_drift_method="KS", categorical_drift_method="PSI")
    return lambda rows: check.run(before, Dataset(rows, cat_features=text), with_display=False)


_KS, _ALL = (
    {"continuous": ["kolmogorov_smirnov"], "categorical": ["chi2"]},
    {
        "continuous": ["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
        "categorical": ["chi2", "jensen_shannon", "hellinger", "l_infinity"],
    },
)
JUDGES: dict[str, tuple[Callable[..., Judge], dict]] = {
    "evidently": (evidently, {}),
    "evidently_ks": (evidently, {"num_method": "ks", "cat_method": "chisquare"}),
    "nannyml": (nannyml, _KS),
    "nannyml_all": (nannyml, _ALL),
    "whylogs": (whylogs, {}),
    "frouros": (frouros, {}),
    "alibi_detect": (alibi, {}),
    "deepchecks": (deepchecks, {}),
}


def w1(name: str, folder: Path) -> dict:
    """Judge a million rows once, from Parquet to results."""
    judge, options = JUDGES[name]
    columns = [*NUMERIC, *TEXT]
    reference, current = (
        pd.read_parquet(folder / f"{one}.parquet", columns=columns) for one in ("reference", "current")
    )
    judge(reference, NUMERIC, TEXT, **options)(current)
    return {}


def w2(name: str, folder: Path, hours: int) -> dict:
    """Judge a window an hour, its rows in memory."""
    judge, options = JUDGES[name]
    columns, ticks = [*NUMERIC[:16], *TEXT[:4]], 3
    reference = pd.read_parquet(folder / "few.parquet")
    held = [pd.read_parquet(folder / "hours" / f"h{n:04d}.parquet", columns=columns) for n in range(hours + ticks)]
    made = judge(reference, columns[:16], columns[16:], **options)
    spent = []
    for tick in range(ticks):
        started = time.perf_counter(), time.process_time()
        made(pd.concat(held[tick + 1 : tick + 1 + hours], ignore_index=True))
        spent.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, busy = (statistics.median(own) * 1e3 for own in zip(*spent, strict=True))
    return {"ms": clock, "cpu_ms": busy}


if __name__ == "__main__":
    kind, name, where, *rest = sys.argv[1:]
    said = w1(name, Path(where)) if kind == "w1" else w2(name, Path(where), int(rest[0]))
    times = os.times()
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"peer": name, **said, "cpu": times.user + times.system, "peak": peak}))
