"""One window against the reference by whole-row methods: scores, verdicts, and which features. Pure."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from exporter.drift.features import Features, Ints, Rows, draw, pack, unpack
from exporter.drift.multivariate import MIN_ROWS, MOST_ROWS, compare
from exporter.drift.multivariate_calibration import Null, thresholds

_HEADER = struct.Struct("<BIII")  # form, rows, length of the features, length of the days
_FORM = 1


class Reference(NamedTuple):
    """A sample of the reference: rows (n, features), day (n,) number of each row's local day, features."""

    rows: Rows
    day: Ints
    features: Features


class Verdict(NamedTuple):
    """What one method says of a window.

    thresholds: severity -> score above which it counts. detected: the score is above the lowest; None where there is no
    threshold. contributions: each feature's share, the largest first; their sum is 1, or all are 0 where no feature
    stands out at all.
    """

    score: float
    thresholds: dict[str, float]
    p_value: float | None
    detected: bool | None
    contributions: dict[str, float]


def thin(reference: Reference, seed: int, most: int = MOST_ROWS) -> Reference:
    """Return at most `most` rows, each as likely: what a baseline keeps to compare with."""
    kept = draw(len(reference.rows), most, np.random.default_rng(seed))
    return reference._replace(rows=reference.rows[kept], day=reference.day[kept])


def only(reference: Reference, names: Sequence[str]) -> Reference:
    """Return the reference's columns of some features; raises ValueError for a name that it has not."""
    return reference._replace(
        rows=reference.rows[:, reference.features.places(names)], features=reference.features.only(names)
    )


def evaluate(
    methods: Sequence[str],
    reference: Reference,
    window: Rows,
    nulls: Mapping[str, Null],
    seed: int,
    min_rows: int = MIN_ROWS,
) -> dict[str, Verdict]:
    """Judge a window by each method that has a value for it.

    window: (rows, features), columns as the reference's. nulls: method -> what `learn` found for windows of this length
    and these features; without one there is a score and no verdict. Nothing below `min_rows` on a side.
    """
    found = {}
    for method in methods:
        null = nulls.get(method)
        most = null.rows if null is not None else (MOST_ROWS, MOST_ROWS)
        result = compare(method, reference.rows, window, reference.features, seed, reference.day, most, min_rows)
        if result is None:
            continue
        limits = thresholds(method, null, result) if null is not None else {}
        detected = result.score > min(limits.values()) if limits else None
        found[method] = Verdict(result.score, limits, result.p_value, detected, _shares(result.contributions))
    return found


def _shares(contributions: Mapping[str, float]) -> dict[str, float]:
    total = sum(contributions.values())
    return {name: part / total if total else 0.0 for name, part in contributions.items()}


def encode(reference: Reference) -> bytes:
    """Pack for the store."""
    features = json.dumps(reference.features).encode()
    days = zlib.compress(reference.day.astype("<i8").tobytes())
    head = _HEADER.pack(_FORM, len(reference.rows), len(features), len(days))
    return head + features + days + pack(reference.rows)


def decode(blob: bytes) -> Reference:
    """Unpack what `encode` packed; raises ValueError for another form."""
    form, count, width, length = _HEADER.unpack_from(blob)
    if form != _FORM:
        raise ValueError(f"a reference sample of form {form}, not {_FORM}")
    start, end = _HEADER.size + width, _HEADER.size + width + length
    names, categories = json.loads(blob[_HEADER.size : start])
    day = np.frombuffer(zlib.decompress(blob[start:end]), "<i8").astype(np.int64)
    features = Features(tuple(names), tuple(categories))
    return Reference(unpack(blob[end:], count, len(names)), day, features)
