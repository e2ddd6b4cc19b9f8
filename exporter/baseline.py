"""The baseline: what the current rows are compared against. Pure."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from exporter import quality_bounds, row_baseline, segments
from exporter.calibrate import WAY, Learned
from exporter.derive import digest
from exporter.drift import sequential
from exporter.drift.calibration import Calibration, from_plain, to_plain
from exporter.drift.settings import REFERENCE
from exporter.history import Day, from_text, to_text
from exporter.importance import FAITHFUL, Importance, effective
from exporter.parts import Columns
from exporter.performance.expected import Misses
from exporter.profile import model as profile
from exporter.profile.coding import decode, encode, renewed
from exporter.profile.counts import ZERO, Counts, add_into
from exporter.profile.model import ModelBins
from exporter.profile.packed import Profile, add_to, empty, spread
from exporter.quality_bounds import QualityBounds
from exporter.row_baseline import RowBaseline
from exporter.rows import Ints
from exporter.schema import Schema, from_json, origin, to_json
from exporter.segments import ALL, Segments
from exporter.settings import Model

_ENOUGH = 0.9
LAYOUT = 3  # of profiles as stored; another number makes the baseline anew and reads the log again


@dataclass(frozen=True, eq=False)
class Baseline:
    """What the current rows are compared against; never changes once it is made.

    packed, slices: the reference's profile, and that of each segment that it has rows of. newest: newest event time in
    seconds, None where it has no times. learned: (segment, baseline) -> window -> thresholds, for what it can teach.
    quality: window -> bounds of bad shares. days: what its local days (days since 1970) were like; day_begins: how many
    hours after midnight they begin. importance: what the features mean to the model, as far as the reference tells.
    sequential: detectors by signal. rows: whole rows to compare with, where that is asked for. label_delays: label
    value -> seconds after which nearly all its labels were known. misses: window -> metric -> how far off its estimate
    was on chunks of the reference that it had not seen.
    """

    schema: Schema
    bins: ModelBins
    packed: bytes
    segments: Segments
    slices: Mapping[str, Counts]
    newest: float | None
    learned: Learned
    quality: Mapping[str, QualityBounds]
    days: Mapping[int, Day]
    day_begins: int
    importance: Importance | None
    sequential: tuple[tuple[str, sequential.Learned], ...]
    rows: RowBaseline | None
    label_delays: Mapping[str, float]
    misses: Mapping[str, Mapping[str, Misses]]

    @property
    def counts(self) -> Counts:
        """The reference's profile."""
        return decode(self.packed)

    def rest(self) -> None:
        """Take less memory until the next use: what follows from the rest and takes room is worked out again."""
        if "columns" in self.__dict__:
            self.__dict__["facts"] = self.columns.facts()
        for name in ("vector", "columns"):
            self.__dict__.pop(name, None)
        self.bins.rest()

    @cached_property
    def vector(self) -> Profile:
        """The reference's profile, with a number at each place."""
        return spread(self.packed, self.bins.size)

    def know(self, counts: Counts) -> None:
        """Take the reference's profile as it was counted: `vector` need not be unpacked."""
        vector = empty(self.bins.size)
        add_to(vector, counts)
        self.__dict__["vector"] = vector

    @cached_property
    def columns(self) -> Columns:
        """The reference's columns."""
        return Columns(self.bins, self.vector, self.facts)

    @cached_property
    def facts(self) -> Mapping[str, dict[str, Any]]:
        """What was known of the reference's columns when they were forgotten last."""
        return {}

    def slice(self, segment: str) -> Profile:
        """Return a segment's profile in the reference, with a number at each place."""
        found = empty(self.bins.size)
        add_to(found, self.slices.get(segment, ZERO))
        return found

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """What was learned of all rows against the reference: window -> thresholds."""
        return self.learned.get((ALL, REFERENCE), {})

    @cached_property
    def coverage(self) -> float:
        """Share of a day's rows whose label must be known for the day's error to count: nearly the reference's."""
        shares = [day.labelled / day.rows for day in self.days.values() if day.rows]
        return _ENOUGH * float(np.median(shares)) if shares else 0.0

    def calibration(self, segment: str, against: str, window: str) -> Calibration | None:
        """Return what the reference taught of a segment, baseline and window; None where it could not."""
        return self.learned.get((segment, against), {}).get(window)

    def label_delay(self, model: Model) -> float | None:
        """Return the age in seconds at which labels count as complete: as configured, else learned, else unknown."""
        if model.label_delay is not None:
            return model.label_delay
        return max(self.label_delays.values(), default=None)

    def importances(self, model: Model) -> dict[str, float]:
        """Return what each feature means to the model: as configured, else as measured where that can be trusted."""
        settings = model.columns.features or {}
        origins = {name: origin(self.schema, name) for name in self.bins.features}
        given = {name: settings[own].importance for name, own in origins.items() if own in settings}
        trusted = self.importance is not None and self.importance.fidelity >= FAITHFUL
        return effective(given, self.importance.shares if trusted and self.importance is not None else {})

    @cached_property
    def hash(self) -> str:
        """Short SHA-256 of bins, segments, what is derived, and counts: which baseline this is."""
        parts = (self.bins.hash.encode(), "\n".join(self.segments.names).encode(), digest(self.schema.derived))
        return hashlib.sha256(b"".join((*parts, renewed(self.packed)))).hexdigest()[:16]


def dense(bins: ModelBins, counts: Counts) -> Ints:
    """Return a profile with a number at each place."""
    vector = np.zeros(bins.size, np.int64)
    add_into(vector, counts)
    return vector


def settings_hash(model: Model) -> str:
    """Hash what the bins and buckets depend on; a change of it needs a new baseline and the whole log."""
    columns = model.columns.model_dump_json(exclude={"features": {"__all__": {"importance", "windows"}}})
    sizes = (model.drift.knots, model.bucket_seconds, model.max_segments, model.judges_rows, model.performance.estimate)
    counted = [(kpi.name, kpi.kind, kpi.terms, kpi.where) for kpi in model.business]
    return _short_hash((LAYOUT, model.task, columns, *sizes, str(model.version), counted, sorted(model.ranked_metrics)))


def learning_hash(model: Model) -> str:
    """Hash what learned thresholds depend on beside the bins; a change of it needs the reference again."""
    windows = [(window.name, window.seconds) for window in model.windows]
    given = {name: own.importance is not None for name, own in (model.columns.features or {}).items()}
    learned = (WAY, windows, model.timezone, model.drift.model_dump_json(), sorted(model.metrics))
    return _short_hash((*learned, bool(given) and all(given.values())))


def has_importances(model: Model, schema: Schema) -> bool:
    """Say whether the configuration gives the importance of every feature: then nobody asks what was measured."""
    settings = model.columns.features or {}
    own = [settings.get(origin(schema, name)) for name in schema.features]
    return all(one is not None and one.importance is not None for one in own)


def _short_hash(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def dump(baseline: Baseline) -> tuple[str, bytes]:
    """Return a baseline as text and bytes (the reference's profile) for the store."""
    plain = {
        "schema": to_json(baseline.schema),
        "bins": profile.to_json(baseline.bins),
        "segments": segments.to_json(baseline.segments),
        "slices": {name: b64encode(encode(own)).decode() for name, own in baseline.slices.items()},
        "newest": baseline.newest,
        "learned": [
            [*key, window, to_plain(one)] for key, own in baseline.learned.items() for window, one in own.items()
        ],
        "quality": {window: quality_bounds.to_plain(one) for window, one in baseline.quality.items()},
        "days": {str(day): to_text(own) for day, own in baseline.days.items()},
        "day_begins": baseline.day_begins,
        "sequential": [[signal, sequential.to_plain(own)] for signal, own in baseline.sequential],
        "rows": row_baseline.to_plain(baseline.rows) if baseline.rows is not None else None,
        "importance": baseline.importance._asdict() if baseline.importance is not None else None,
        "label_delays": dict(baseline.label_delays),
        "misses": {window: dict(own) for window, own in baseline.misses.items()},
    }
    return json.dumps(plain), baseline.packed


def restore(text: str, counts: bytes) -> Baseline:
    """Read what `dump` wrote."""
    plain = json.loads(text)
    learned: dict[tuple[str, str], dict[str, Calibration]] = {}
    for segment, against, window, one in plain["learned"]:
        learned.setdefault((segment, against), {})[window] = from_plain(one)
    return Baseline(
        schema=from_json(plain["schema"]),
        bins=profile.from_json(plain["bins"]),
        packed=counts,
        segments=segments.from_json(plain["segments"]),
        slices={name: decode(b64decode(own)) for name, own in plain["slices"].items()},
        newest=plain["newest"],
        learned=learned,
        quality={window: quality_bounds.from_plain(one) for window, one in plain["quality"].items()},
        days={int(day): from_text(own) for day, own in plain["days"].items()},
        day_begins=plain.get("day_begins", 0),
        sequential=tuple((signal, sequential.from_plain(own)) for signal, own in plain["sequential"]),
        rows=row_baseline.from_plain(plain["rows"]) if plain["rows"] is not None else None,
        importance=Importance(**plain["importance"]) if plain["importance"] is not None else None,
        label_delays=plain["label_delays"],
        misses={window: {n: Misses(*one) for n, one in own.items()} for window, own in plain["misses"].items()},
    )
