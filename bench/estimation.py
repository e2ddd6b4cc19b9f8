"""Estimated performance against NannyML's CBPE and DLE, and against what the labels said, window by window.

Sets: flights, flights_status, retail and bikes by calendar week of the log; the sets that NannyML ships in ten windows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.environments import python_of
from bench.run import machine, table, write
from exporter import parts
from exporter.baseline import Baseline
from exporter.performance.expected import interval
from exporter.profile.batch import as_outcomes, labels_of, read_batch
from exporter.profile.counts import add_into, gather
from exporter.reference import fit, select, usable
from exporter.rows import NO_TIME, Ints, local_days, times
from exporter.settings import Model

ROOT = Path(__file__).parents[1]
LEAST = 200
WINDOW, SEEDS = 500, 3
STATUS = ("cancelled_or_diverted", "delayed", "on_time")
OUTCOMES = ["arr_delay_min", "top_stock_code", "top_description", "next_invoice_value_gbp"]
OWN: dict[str, tuple[str, str, Any]] = {
    "flights": ("examples/flights", "binary", "prediction_proba"),
    "flights_status": ("tests/data/flights_status", "multiclass", {name: f"proba_{name}" for name in STATUS}),
    "retail": ("tests/data/retail", "binary", "prediction_proba"),
    "bikes": ("tests/data/bikes", "regression", None),
}
METRICS = {
    "binary": ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc"),
    "multiclass": ("accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc_ovr_macro"),
    "regression": ("mae", "rmse"),
}


class Row(NamedTuple):
    """One metric of one window: ours with its interval, NannyML's with its sampling error, and what came true."""

    ours: float
    low: float
    high: float
    peer: float
    peer_error: float
    realised: float | None


class Found(NamedTuple):
    """One set. rows: metric -> windows. fit, place: seconds to learn, and milliseconds a window of 10,000 rows."""

    name: str
    rows: dict[str, list[Row]]
    fit: float
    place: float


def _read(path: Path) -> pa.Table:
    return pq.read_table(path if path.is_dir() else path.with_suffix(".parquet"))


def export(folder: Path, names: Sequence[str]) -> None:
    """Write some of the repository's four sets in the form that the library's own have."""
    for name in names:
        where, task, score = OWN[name]
        reference = pq.read_table(ROOT / where / "reference.parquet")
        labels = _read(ROOT / where / "labels").select(["request_id", "label"])
        log = _read(ROOT / where / "predictions").join(labels, "request_id").sort_by("timestamp")
        days = pc.days_between(pa.scalar(np.datetime64("1969-12-29", "us")), log["timestamp"].cast(pa.timestamp("us")))
        week = days.to_numpy() // 7
        log = log.append_column("window", pa.array(week - week.min()))
        outputs = {"request_id", "timestamp", "prediction", "label", "label_timestamp", *OUTCOMES}
        outputs |= set(score.values() if isinstance(score, dict) else [score])
        features = [one for one in reference.column_names if one not in outputs and one in log.column_names]
        kept = [*features, "timestamp", "prediction", "label"]
        kept += [] if score is None else list(score.values()) if isinstance(score, dict) else [score]
        rows = log["window"].value_counts().to_pylist()
        large = [one["values"] for one in rows if one["counts"] >= LEAST or task == "regression"]
        log = log.filter(pc.is_in(log["window"], pa.array(large)))
        (folder / name).mkdir()
        about = {"task": task, "label": "label", "prediction": "prediction", "score": score, "features": features}
        (folder / name / "set.json").write_text(json.dumps(about))
        pq.write_table(reference.select(kept), folder / name / "reference.parquet")
        pq.write_table(log.select([*kept, "window"]), folder / name / "windows.parquet")


def settings(name: str, about: dict[str, Any]) -> Model:
    """Return a model's settings, with the estimate on."""
    columns = {key: about[key] for key in ("label", "prediction", "score") if about[key] is not None}
    columns |= {"timestamp": "timestamp", "features": dict.fromkeys(about["features"])}
    return Model.model_validate(
        {
            "name": name,
            "task": about["task"],
            "columns": columns,
            "reference": {"files": "none"},
            "predictions": {"files": "none"},
            "performance": {"estimate": True, "metrics": METRICS[about["task"]]},
        }
    )


def _vectors(model: Model, baseline: Baseline, log: pa.Table) -> tuple[dict[int, Ints], float]:
    """Return each window's profile, and the milliseconds that the estimate's share of 10,000 rows takes."""
    batch = read_batch(model, baseline.schema, log)
    label, _ = labels_of(model, baseline.schema, log, Counter())
    outcomes = as_outcomes(baseline.schema, batch, label)
    bins, without = baseline.bins, baseline.bins.with_estimator(None)
    more = min(_timed(lambda: bins.place_rows(batch)) for _ in range(5))
    more -= min(_timed(lambda: without.place_rows(batch)) for _ in range(5))
    windows, group = np.unique(log["window"].to_numpy(), return_inverse=True)
    placed = bins.place_rows(batch)
    labelled = usable(bins, outcomes)
    rows = np.flatnonzero(labelled)
    placed += [one._replace(row=rows[one.row]) for one in bins.place_outcomes(select(outcomes, labelled))]
    found = {}
    for number, counts in zip(windows.tolist(), gather(placed, group, len(windows), bins.size), strict=True):
        found[number] = np.zeros(bins.size, np.int64)
        add_into(found[number], counts)
    return found, more * 1e3 / len(log) * 10_000


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def judge(own: Path) -> Found:
    """Estimate every window of a set, beside what the library found."""
    about = json.loads((own / "set.json").read_text())
    peer = json.loads((own / "found.json").read_text())
    model = settings(own.name, about)
    started = time.perf_counter()
    reference = pq.read_table(own / "reference.parquet")
    baseline = fit(model, reference)
    learn = time.perf_counter() - started
    plain = model.model_copy(update={"performance": model.performance.model_copy(update={"estimate": False})})
    learn -= _timed(lambda: fit(plain, reference))
    vectors, place = _vectors(model, baseline, pq.read_table(own / "windows.parquet"))
    rows: dict[str, list[Row]] = {}
    assert baseline.bins.estimator is not None
    for at, number in enumerate(peer["windows"]):
        estimates = parts.estimated(model.task, baseline.bins, vectors[number], METRICS[model.task])
        labelled = baseline.bins.labelled_rows(vectors[number])
        count = baseline.bins.estimated_rows(vectors[number])
        realised = parts.performance(model.task, baseline.bins, vectors[number], METRICS[model.task])
        for metric, one in estimates.items():
            more = baseline.misses.get("7d", {}).get(metric)
            low, high = interval(metric, one, count, baseline.bins.estimator.rows, more) or (np.nan, np.nan)
            his = peer["metrics"][metric][at]
            known = realised[metric] if labelled >= 0.95 * count else None
            rows.setdefault(metric, []).append(Row(one.value, low, high, his["value"], his["sampling_error"], known))
    return Found(own.name, rows, learn, place)


def unchanged(own: Path) -> list[str]:
    """Learn from half of the reference's days, estimate windows of 500 rows of the others: how often are we right?"""
    about = json.loads((own / "set.json").read_text())
    model = settings(own.name, about)
    reference = pq.read_table(own / "reference.parquet")
    known = pc.is_valid(reference[about["label"]])
    reference = reference.filter(known)
    moments = times(reference["timestamp"], "UTC")
    at = local_days(moments, moments != NO_TIME, "UTC")
    window = "24h" if 2 * len(reference) >= WINDOW * len(np.unique(at)) else "7d"  # about as long as WINDOW rows are
    within: dict[str, list[bool]] = {}
    off: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        days, day = np.unique(at, return_inverse=True)
        mine = np.random.default_rng(seed).permutation(len(days))[: len(days) // 2]
        learned = np.isin(day, mine)
        baseline = fit(model, reference.filter(pa.array(learned)))
        others = reference.filter(pa.array(~learned)).take(np.argsort(day[~learned], kind="stable"))
        others = others[: len(others) // WINDOW * WINDOW]
        others = others.append_column("window", pa.array(np.arange(len(others)) // WINDOW))
        for vector in _vectors(model, baseline, others)[0].values():
            realised = parts.performance(model.task, baseline.bins, vector, METRICS[model.task])
            for metric, one in parts.estimated(model.task, baseline.bins, vector, METRICS[model.task]).items():
                assert baseline.bins.estimator is not None
                more = baseline.misses.get(window, {}).get(metric)
                bounds, true = interval(metric, one, WINDOW, baseline.bins.estimator.rows, more), realised[metric]
                if bounds is not None and true is not None:
                    within.setdefault(metric, []).append(bounds[0] <= true <= bounds[1])
                    off.setdefault(metric, []).append(one.value - true)
    told = [f"{name} {np.mean(own):.0%} ({np.mean(off[name]):+.2g})" for name, own in within.items()]
    return [own.name, str(len(next(iter(within.values())))), ", ".join(told)]


def described(found: list[Found]) -> Iterator[list[str]]:
    """Write one line a set and metric."""
    for one in found:
        for metric, rows in one.rows.items():
            ours, low, high, peer, error = np.array([row[:5] for row in rows]).T
            both = np.isfinite(peer)
            apart = np.abs(ours - peer)[both]
            known = np.array([row.realised is not None for row in rows]) & both
            true = np.array([np.nan if row.realised is None else row.realised for row in rows])
            line = [one.name, metric, str(both.sum()), f"{apart.max():.2g}", f"{apart.mean():.2g}"]
            line.append(f"{(apart / error[both]).max():.2g}")
            if known.any():
                within = ((low <= true) & (true <= high))[known].mean()
                his = (np.abs(true - peer) <= 3 * error)[known].mean()
                line += [str(known.sum()), f"{true[known].mean():.4g}"]
                line += [f"{ours[known].mean():.4g}", f"{np.abs(ours - true)[known].mean():.2g}"]
                line += [f"{np.abs(peer - true)[known].mean():.2g}", f"{within:.0%}", f"{his:.0%}"]
            yield line + ["-"] * (13 - len(line))


HEAD = (
    *("set", "metric", "windows", "largest difference", "mean difference", "largest / its sampling error"),
    *("labelled windows", "realised", "ours", "error of ours", "error of NannyML's", "in our 95 %", "in its 3 errors"),
)
TEXT = """# Estimated performance: ours and NannyML's

Question: do our estimates, from mergeable counts, agree with NannyML's CBPE and DLE, and with what the labels said?

- Both learn from the reference's labelled rows and estimate the same windows: calendar weeks of the repository's four
  logs (of at least 200 rows; bikes has 168), and the sets that NannyML ships, each cut in ten windows of 5,000 or
  6,000 rows.
- Differences are ours minus NannyML's estimate, absolute, over windows; sampling error is NannyML's own.
- Where at least 95 % of a window's labels are known: the mean of what they say and of our estimates, the mean
  absolute error of ours and of NannyML's estimates, and the share of windows whose realised value is within our 95 %
  interval and within NannyML's band of three sampling errors. Production drifts, so neither needs to hold what it says.
"""


STILL = f"""## Where nothing changes

Half of the reference's days (at random, {SEEDS} times) teach, the others are cut into windows of {WINDOW} rows in order
of time. Of how many windows is the realised value within our 95 % interval? By how much more than chance has it the
estimate is off on days and weeks that it was not learned from, it has learned from those days that teach.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="retail and bikes only; nothing is written")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    python = python_of("nannyml")
    if python is None:
        parser.error("NannyML cannot be imported: set BENCH_NANNYML to a Python that has it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(folder, ("retail", "bikes") if options.quick else tuple(OWN))
        script = str(Path(__file__).with_name("estimation_peer.py"))
        for step in ("estimate",) if options.quick else ("sets", "estimate"):
            subprocess.run([python, script, step, name], check=True)
        found = [judge(path.parent) for path in sorted(folder.glob("*/set.json"))]
        still = [unchanged(path.parent) for path in sorted(folder.glob("*/set.json"))]
    costs = [[one.name, f"{one.fit:.1f}", f"{one.place:.0f}"] for one in found]
    text = f"{TEXT}\n{table(HEAD, list(described(found)))}\n{STILL}\n"
    text += table(["set", "windows", "metric: within 95 % (mean of estimate minus realised)"], still) + "\n## Cost\n\n"
    text += table(["set", "seconds to learn", "ms to place 10,000 rows, over the rest"], costs)
    write(options, "estimation", f"{text}\n{machine('estimation', {'nannyml': python})}")


if __name__ == "__main__":
    main()
