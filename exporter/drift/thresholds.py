"""From a score to a verdict: the threshold in force at the actual numbers of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from exporter.drift.calibration import CHANCE, Calibration, spread_threshold, threshold
from exporter.drift.settings import Thresholds
from exporter.drift.univariate import METHODS, Sample


class Drift(NamedTuple):
    """Drift of one column. scores, p_values: by method. thresholds: (method, severity) -> score above which it counts.

    detected: some score is above its lowest threshold.
    """

    scores: Mapping[str, float]
    p_values: Mapping[str, float]
    thresholds: Mapping[tuple[str, str], float]
    detected: bool

    @property
    def severity(self) -> float:
        """Largest score over its lowest threshold; 1 is at the threshold."""
        ratios = [
            self.scores[method] / threshold
            for (method, _), threshold in self.thresholds.items()
            if method in self.scores and threshold > 0
        ]
        return max(ratios, default=0.0)


def judge(
    column: str,
    reference: Sample,
    current: Sample,
    methods: Sequence[str],
    settings: Thresholds,
    calibration: Calibration | None,
) -> Drift:
    """Compare two samples by each method; a score without a value is left out.

    reference: the baseline: the reference, or for a moving baseline another window. calibration: what was learned for
    windows of this length against this baseline; None where default effects hold; what it does not name is not judged.
    """
    scores: dict[str, float] = {}
    p_values: dict[str, float] = {}
    thresholds: dict[tuple[str, str], float] = {}
    for name in methods:
        method = METHODS[name]
        score = method.score(reference, current)
        if not math.isfinite(score):
            continue
        scores[name] = score
        if method.p_value is not None:
            p_values[name] = method.p_value(score, reference, current)
        for severity, limit in in_force(column, name, reference, current, settings, calibration).items():
            thresholds[name, severity] = limit
    detected = any(scores[method] > threshold for (method, _), threshold in thresholds.items())
    return Drift(scores, p_values, thresholds, detected)


def in_force(
    column: str,
    name: str,
    reference: Sample,
    current: Sample,
    settings: Thresholds,
    calibration: Calibration | None,
) -> dict[str, float]:
    """Return severity -> score above which a column counts as drifted; nothing where it cannot be told (blind).

    In this order: the method's own constants; the default effect where nothing was learned (None); else what was:
    mean + std deviations, or the budget. Never below what chance alone gives at these numbers of rows.
    """
    method, own = METHODS[name], settings.of(name)
    noise = method.noise(reference, current, CHANCE)
    limits: dict[str, float | None]
    if own is not None and own.std is None:
        limits = {level: method.threshold(effect, reference, current) for level, effect in own.items()}
    elif calibration is None:
        limits = {"warning": method.threshold(method.warning, reference, current)}
    elif (null := calibration.nulls.get((column, name))) is None:
        limits = {}
    elif own is not None and own.std is not None:
        limits = {level: spread_threshold(null, k, name, reference, current) for level, k in own.std.items()}
    else:
        heights = calibration.heights.items()
        limits = {level: threshold(null, height, name, reference, current) for level, height in heights}
    return {level: max(limit, noise) for level, limit in limits.items() if limit is not None}


def adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Benjamini-Hochberg p-values over all keys (Benjamini and Hochberg 1995)."""
    names = sorted(p_values, key=lambda name: p_values[name])
    count = len(names)
    raw = np.array([p_values[name] for name in names]) * count / np.arange(1, count + 1)
    lowest = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return dict(zip(names, lowest.tolist(), strict=True))
