"""W1 and W2 by Evidently or NannyML, in that library's environment; prints one JSON line.

usage: python speed_peer.py w1 nannyml_all|evidently_ks FOLDER ; python speed_peer.py w2 nannyml|evidently FOLDER HOURS
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402

NUMERIC = [f"n{number:02d}" for number in range(50)]
TEXT = [f"c{number:02d}" for number in range(10)]


def by_evidently(reference: pd.DataFrame, numeric: list[str], text: list[str]):
    """Return what judges rows by KS and chi-square."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = DataDefinition(numerical_columns=numeric, categorical_columns=text)
    before = Dataset.from_pandas(reference, data_definition=kinds)

    def judge(rows: pd.DataFrame) -> object:
        now = Dataset.from_pandas(rows, data_definition=kinds)
        return Report([DataDriftPreset(num_method="ks", cat_method="chisquare")]).run(now, before).dict()

    return judge


def by_nannyml(reference: pd.DataFrame, numeric: list[str], text: list[str], every: bool, rows: int):
    """Return what judges rows by KS and chi-square, or by all that it has (every)."""
    import nannyml

    methods = {"continuous_methods": ["kolmogorov_smirnov"], "categorical_methods": ["chi2"]}
    if every:
        methods = {
            "continuous_methods": ["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
            "categorical_methods": ["chi2", "jensen_shannon", "hellinger", "l_infinity"],
        }
    made = nannyml.UnivariateDriftCalculator(
        column_names=[*numeric, *text], treat_as_categorical=text, chunk_size=rows, **methods
    )
    made.fit(reference)
    return lambda current: made.calculate(current).to_df()


def w1(peer: str, folder: Path) -> dict:
    """Judge a million rows once."""
    names = [*NUMERIC, *TEXT]
    reference, current = (pd.read_parquet(folder / f"{one}.parquet", columns=names) for one in ("reference", "current"))
    if peer.startswith("evidently"):
        by_evidently(reference, NUMERIC, TEXT)(current)
    else:
        by_nannyml(reference, NUMERIC, TEXT, peer.endswith("all"), len(current))(current)
    return {}


def w2(peer: str, folder: Path, hours: int) -> dict:
    """Judge a window an hour, its rows in memory."""
    names, ticks = [*NUMERIC[:16], *TEXT[:4]], 3
    reference = pd.read_parquet(folder / "few.parquet")
    held = [pd.read_parquet(folder / "hours" / f"h{n:04d}.parquet", columns=names) for n in range(hours + ticks)]
    of = (reference, names[:16], names[16:])
    judge = by_evidently(*of) if peer == "evidently" else by_nannyml(*of, False, hours * 5_000)
    spent = []
    for tick in range(ticks):
        started = time.perf_counter(), time.process_time()
        judge(pd.concat(held[tick + 1 : tick + 1 + hours], ignore_index=True))
        spent.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, busy = (statistics.median(own) * 1e3 for own in zip(*spent, strict=True))
    return {"ms": clock, "cpu_ms": busy}


if __name__ == "__main__":
    kind, name, where, *rest = sys.argv[1:]
    said = w1(name, Path(where)) if kind == "w1" else w2(name, Path(where), int(rest[0]))
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"peer": name, **said, "cpu": own.ru_utime + own.ru_stime, "peak": own.ru_maxrss / 1024}))
