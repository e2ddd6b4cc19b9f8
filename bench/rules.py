"""Rules that judge windows: ours, fixed thresholds, p-values, and two libraries in their own environments.

Every rule gives each judged column of a window a severity: above 1 it alarms. `of_window` makes one number of them.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import special, stats

from bench.traffic import Case
from exporter import parts
from exporter.baseline import Baseline
from exporter.drift.settings import REFERENCE
from exporter.drift.thresholds import in_force
from exporter.drift.univariate import METHODS, Sample
from exporter.profile.batch import as_outcomes, labels_of, read_batch
from exporter.profile.counts import gather
from exporter.profile.numeric import NumericBins
from exporter.quality import limit_of, shares
from exporter.reference import select, usable
from exporter.rows import Ints
from exporter.segments import ALL

OURS, MISSING = "ours, calibrated", "ours and its quality checks"
RULES = {
    OURS: "ours",
    MISSING: "ours",
    "PSI 0.1": "psi",
    "PSI 0.2": "psi",
    "p < 0.05": "p",
    "p < 0.05, Benjamini-Hochberg": "p",
    "Evidently, any column": "evidently",
    "Evidently, half of the columns": "evidently",
    "NannyML, any column": "nannyml",
}
SHARED = ("Evidently, half of the columns",)  # one verdict for all columns together
PEERS = ("evidently", "nannyml")
Severities = dict[str, dict[str, float]]  # source (ours, missing, psi, p, evidently, nannyml) -> column -> severity


class Job(NamedTuple):
    """A window to judge. days: (table, day) each; columns: which ones, as the data names them.

    before: moving baseline -> its days, where the traffic has them in one run with the window.
    """

    window: str
    days: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    before: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()


def of_columns(rule: str, found: Severities) -> dict[str, float]:
    """Return a window's severity by one rule for each judged column; it is detected above 1."""
    own = found[RULES[rule]]
    if rule == MISSING:
        names = own.keys() | found["missing"].keys()
        return {name: max(own.get(name, 0.0), found["missing"].get(name, 0.0)) for name in names}
    if rule == "PSI 0.2":
        return {name: value / 2 for name, value in own.items()}
    return _adjusted(own) if rule.endswith("Hochberg") else own


def _adjusted(own: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values, given as log p / log 0.05, for their number."""
    found, best = {}, -math.inf
    for place, name in reversed(list(enumerate(sorted(own, key=lambda name: -own[name])))):
        best = max(best, own[name] - math.log(len(own) / (place + 1)) / math.log(20))
        found[name] = best
    return found


def of_window(rule: str, found: Severities) -> float:
    """Return a window's severity by one rule; it alarms above 1."""
    values = sorted(of_columns(rule, found).values(), reverse=True)
    if not values:
        return 0.0
    return values[(len(values) + 1) // 2 - 1] if rule in SHARED else values[0]


class Ours:
    """Scores windows by the exporter's own code, each day's rows counted once."""

    def __init__(self, case: Case, baseline: Baseline):
        self._model, self._baseline = case.model, baseline
        self._days: dict[tuple[str, int], Ints] = {}
        scores = {name: f"score:{i}" for i, name in enumerate(baseline.schema.scores)}
        own = {"prediction": "prediction", "label": "label", **scores}
        self._parts = {name: own.get(name, f"feature:{name}") for name in case.kinds}
        self._bins = parts.bins_of(baseline.bins)
        self._reference = {name: self._sample(baseline.vector, name) for name in self._bins}

    def count(self, name: str, table: pa.Table, day: Ints) -> None:
        """Count a table's rows per day."""
        model, schema, bins = self._model, self._baseline.schema, self._baseline.bins
        batch = read_batch(model, schema, table)
        label, _ = labels_of(model, schema, table, _Ignored())
        outcomes = as_outcomes(schema, batch, label)
        placed = bins.place_rows(batch)
        rows = np.flatnonzero(usable(bins, outcomes))
        placed += [part._replace(row=rows[part.row]) for part in bins.place_outcomes(select(outcomes, rows))]
        days, group = np.unique(day, return_inverse=True)
        for number, counts in zip(days.tolist(), gather(placed, group, len(days), bins.size), strict=True):
            vector = np.zeros(bins.size, np.int64)
            vector[counts.place] = counts.amount
            self._days[name, number] = vector

    def rows(self, days: Sequence[tuple[str, int]]) -> int:
        """Return the number of rows of some days."""
        return sum(int(self._days[day][0]) for day in days)

    def _sample(self, vector: Ints, name: str) -> Sample:
        return parts.sample(self._bins[name], parts.counts(self._baseline.bins, vector, name))

    def _quality(self, vector: Ints, name: str, window: str) -> float:
        """Return the largest share of bad rows over its bound, as the exporter judges them."""
        learned, largest = self._baseline.quality.get(window), 0.0
        feature, rows = name.removeprefix("feature:"), int(vector[0])
        bad = {
            side: shares(self._bins[name], parts.counts(self._baseline.bins, own, name))
            for side, own in (("usual", self._baseline.vector), ("now", vector))
        }
        for check, share in bad["now"].items():
            limit = limit_of(self._model, learned, feature, check, rows, bad["usual"].get(check, 0.0))
            if limit:
                largest = max(largest, share / limit)
        return largest

    def judge(self, job: Job) -> Severities:
        """Return the severities of ours, of PSI over 0.1 and of the p-values (log p over log 0.05)."""
        found: Severities = {"ours": {}, "missing": {}, "psi": {}, "p": {}}
        vector = self._sum(job.days)
        before = {against: self._sum(days) for against, days in job.before if against in self._model.drift.baselines}
        least = self._model.drift.min_rows
        for column in job.columns:
            name = self._parts[column]
            reference, current = self._reference[name], self._sample(vector, name)
            if name.startswith("feature:") and int(vector[0]) >= least:
                found["missing"][column] = self._quality(vector, name, job.window)
            if current.rows < least:
                continue
            ratios = self._ratios(column, REFERENCE, reference, current, job.window)
            for against, old in before.items():
                sample = self._sample(old, name).measured_by(reference)
                if sample.rows >= least:
                    ratios += self._ratios(column, against, sample, current, job.window)
            if ratios:
                found["ours"][column] = max(ratios)
            self._fixed(column, reference, current, found)
        return found

    def _sum(self, days: Sequence[tuple[str, int]]) -> Ints:
        return np.sum([self._days[day] for day in days], axis=0)

    def _methods(self, name: str) -> tuple[str, ...]:
        drift = self._model.drift
        return drift.numeric if isinstance(self._bins[name], NumericBins) else drift.categorical

    def _ratios(self, column: str, against: str, reference: Sample, current: Sample, window: str) -> list[float]:
        """Return score over threshold by each method that has a threshold against this baseline."""
        name, ratios = self._parts[column], []
        learned = self._baseline.learned.get((ALL, against), {}).get(window)
        if learned is None and against != REFERENCE:
            return []
        for method in self._methods(name):
            score = METHODS[method].score(reference, current)
            limits = in_force(name, method, reference, current, self._model.drift.threshold, learned)
            ratios += [score / limit for limit in limits.values() if limit > 0 and math.isfinite(score)]
        return ratios

    def _fixed(self, column: str, reference: Sample, current: Sample, found: Severities) -> None:
        """Put what the fixed rules say."""
        found["psi"][column] = METHODS["psi"].score(reference, current) / 0.1
        method = "ks" if isinstance(self._bins[self._parts[column]], NumericBins) else "chi2"
        score = METHODS[method].score(reference, current)
        found["p"][column] = _log_p(method, score, reference, current) / math.log(0.05)


class _Ignored(dict):  # type: ignore[type-arg]
    def __missing__(self, key: str) -> int:
        return 0


def _log_p(method: str, score: float, reference: Sample, current: Sample) -> float:
    """Return the logarithm of the asymptotic p-value, also where the p-value itself is too small to be written."""
    if method == "ks":
        z = score * math.sqrt(reference.rows * current.rows / (reference.rows + current.rows))
        p = float(special.kolmogorov(z))
        return math.log(p) if p > 0 else math.log(2) - 2 * z * z
    used = int(((reference.bins > 0) | (current.bins > 0)).sum())
    return float(stats.chi2.logsf(score, max(used - 1, 1)))


def judge_by(
    peer: str,
    python: str,
    case: Case,
    reference: tuple[pa.Table, Ints],
    tables: Mapping[str, tuple[pa.Table, Ints]],
    jobs: Sequence[Job],
) -> list[dict[str, float]]:
    """Let a library judge the windows in its own environment; rows go over as Parquet files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (table, day) in {"reference": reference, **tables}.items():
            pq.write_table(_typed(case, table, day), Path(folder, f"{name}.parquet"))
        Path(folder, "jobs.json").write_text(json.dumps([job._asdict() for job in jobs]))
        script = str(Path(__file__).with_name("peer.py"))
        done = subprocess.run([python, script, peer, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{peer} failed: {done.stderr[-2000:]}")
        found: list[dict[str, float]] = json.loads(Path(folder, "found.json").read_text())
    return found


def _typed(case: Case, table: pa.Table, day: Ints) -> pa.Table:
    """Write numbers as float64 and categories as text; both libraries then read the columns as they are meant."""
    columns = {"day": pa.array(day)}
    for name, kind in case.kinds.items():
        values = table[name]
        columns[name] = values.cast(pa.float64() if kind == "numeric" else pa.string())
    return pa.table(columns)
