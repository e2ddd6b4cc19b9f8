"""Readings: what a task found, by family; the plain form between evaluation and exposition."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import compress, repeat
from typing import NamedTuple

from exporter.catalogue import FAMILIES

_LABELS = {name: len(family.labels) for name, family in FAMILIES.items()}


class Reading(NamedTuple):
    """One sample; labels in the order of its family. suffix: of a histogram's sample; a `_bucket` has `le` last."""

    labels: tuple[str, ...]
    value: float
    suffix: str = ""


class Readings(dict[str, list[Reading]]):
    """Family name -> readings."""

    def put(self, name: str, *labels: str, value: float | None) -> None:
        """Add a reading; what has no finite value is left out. Raises ValueError on a wrong number of labels."""
        if len(labels) != _LABELS[name]:
            raise ValueError(f"{name} has the labels {FAMILIES[name].labels}, not {labels}")
        if value is not None and math.isfinite(value):
            own = self.get(name)
            if own is None:
                own = self[name] = []
            own.append(tuple.__new__(Reading, (labels, float(value), "")))

    def put_each(
        self, name: str, labels: tuple[str, ...], ends: Collection[tuple[str, ...]], values: Collection[float | None]
    ) -> None:
        """Add a reading a value as `put` does, in a fraction of its time; its labels are `labels` and its own end."""
        if {*map(len, ends)} - {_LABELS[name] - len(labels)}:
            raise ValueError(f"{name} has the labels {FAMILIES[name].labels}, not {labels} and one of {[*ends]}")
        known = [value is not None and math.isfinite(value) for value in values]
        if any(known):
            told = zip(
                map(labels.__add__, compress(ends, known)),
                (float(value) for value in compress(values, known) if value is not None),
                repeat(""),
            )
            self.setdefault(name, []).extend(map(tuple.__new__, repeat(Reading), told))

    def put_histogram(
        self, name: str, *labels: str, bounds: Sequence[float], counts: Sequence[int], total: float
    ) -> None:
        """Add a histogram: counts per bucket, one more than bounds, and the sum of all values."""
        own = self.setdefault(name, [])
        running = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            running += count
            le = "+Inf" if math.isinf(bound) else repr(float(bound))
            own.append(Reading((*labels, le), running, "_bucket"))
        own += [Reading(labels, total, "_sum"), Reading(labels, running, "_count")]

    def extend(self, other: Readings) -> None:
        """Add all readings of another."""
        for name, readings in other.items():
            self.setdefault(name, []).extend(readings)

    def series(self) -> int:
        """Return the number of samples."""
        return sum(map(len, self.values()))
