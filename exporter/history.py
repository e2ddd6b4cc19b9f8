"""One local day in a few numbers: what the sequential detectors, trends and correlations read. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from exporter.drift.bins import jensen_shannon
from exporter.kpis import values_of
from exporter.parts import Columns, columns, estimated, performance
from exporter.profile import serving
from exporter.profile.model import ModelBins
from exporter.profile.numeric import NumericBins
from exporter.profile.packed import Profile
from exporter.settings import Model

FEATURE = "feature:"
DAY = 86_400.0
_SIGNALS = {"score:0": "score"}


class Day(NamedTuple):
    """What is known of a day's rows.

    signals: name -> (value, rows it is the mean of): `error` (share of wrong predictions, or mean absolute error),
    `score` or `prediction`, `feature:x` of numeric features. drift: feature -> Jensen-Shannon distance from the
    reference, 0 to 1. scores: metric -> value over the labelled rows. estimated: metric -> value expected of all rows.
    kpis: business indicator -> value. Signals are also `kpi:x` of indicators, and `latency_p50` and `latency_p95` in
    seconds.
    """

    rows: int
    labelled: int
    signals: dict[str, tuple[float, int]]
    drift: dict[str, float]
    scores: dict[str, float]
    estimated: Mapping[str, float] = MappingProxyType({})
    kpis: Mapping[str, float] = {}


def describe(model: Model, bins: ModelBins, reference: Columns, vector: Profile) -> Day:
    """Describe the rows of a day by their dense profile."""
    parts = columns(reference, Columns(bins, vector), {})
    signals = {}
    for name, part in parts.items():
        if isinstance(part.bins, NumericBins) and part.current.rows and _is_signal(model, name):
            signals[_SIGNALS.get(name, name)] = (float(part.current.mean), int(part.current.rows))
    features = {name.removeprefix(FEATURE): part for name, part in parts.items() if name.startswith(FEATURE)}
    labelled = bins.labelled_rows(vector)
    wanted = (*model.metrics, "mae" if model.task == "regression" else "accuracy")
    found = {
        metric: value for metric, value in performance(model.task, bins, vector, wanted).items() if value is not None
    }
    kpis = values_of(model, bins, vector, DAY)
    signals |= {
        f"kpi:{name}": (own.value, own.rows) for name, own in kpis.items() if own.value is not None and own.rows
    }
    signals |= _latencies(bins, vector)
    error = found.get("mae", 1 - found["accuracy"] if "accuracy" in found else None)
    if error is not None:
        signals["error"] = (error, labelled)
    return Day(
        rows=int(bins.part(vector, "rows")[0]),
        labelled=labelled,
        signals=signals,
        drift={name: jensen_shannon(p.reference, p.current) for name, p in features.items() if p.current.rows},
        scores=found,
        estimated={name: one.value for name, one in estimated(model.task, bins, vector, None).items()},
        kpis={name: own.value for name, own in kpis.items() if own.value is not None},
    )


def series(days: Mapping[int, Day], signal: str, coverage: float = 0.0) -> tuple[list[int], list[float], list[float]]:
    """Return a signal's days: numbers, values and rows.

    coverage: share of a day's rows whose label must be known for its error to count: labels that come late are seldom
    like those that come first.
    """
    known = [
        (day, *one.signals[signal])
        for day, one in sorted(days.items())
        if signal in one.signals and (signal != "error" or one.labelled >= coverage * one.rows)
    ]
    return [day for day, _, _ in known], [value for _, value, _ in known], [float(rows) for *_, rows in known]


def _latencies(bins: ModelBins, vector: Profile) -> dict[str, tuple[float, int]]:
    """Return the signals of the latency, where there are any."""
    if bins.latency is None:
        return {}
    counts = bins.part(vector, "latency")
    rows = serving.latencies(counts)
    found = {f"latency_p{100 * q:.0f}": serving.quantile(counts, q) for q in (0.5, 0.95)}
    return {name: (value, rows) for name, value in found.items() if value is not None}


def _is_signal(model: Model, part: str) -> bool:
    """A class's score alone says little of a model of many classes."""
    return part.startswith(FEATURE) or part == "prediction" or (part == "score:0" and model.task == "binary")


def to_text(day: Day) -> str:
    """Return a day as JSON; numbers come back to the last bit."""
    return json.dumps(day._asdict() | {"estimated": dict(day.estimated)}, allow_nan=False)


def from_text(text: str) -> Day:
    """Read what `to_text` wrote, also before there were estimates and business indicators."""
    plain = json.loads(text)
    signals = {name: (value, rows) for name, (value, rows) in plain.pop("signals").items()}
    return Day(signals=signals, **plain)
