"""From a score to a verdict: the threshold in force at the actual numbers of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from exporter.drift.univariate import METHODS, Sample
from exporter.settings import Levels

CHANCE = 0.001  # a threshold is never below the score that chance alone exceeds once in a thousand windows


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


def judge(reference: Sample, current: Sample, methods: Sequence[str], settings: Mapping[str, Levels]) -> Drift:
    """Compare two samples by each method; a score without a value is left out.

    A threshold is the configured effect in the score's unit, or the default one, but at least the noise.
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
        noise = method.noise(reference, current, CHANCE)
        for severity, effect in settings.get(name, Levels(warning=method.warning)).items():
            thresholds[name, severity] = max(method.threshold(effect, reference, current), noise)
    detected = any(scores[method] > threshold for (method, _), threshold in thresholds.items())
    return Drift(scores, p_values, thresholds, detected)


def adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Benjamini-Hochberg p-values over all keys (Benjamini and Hochberg 1995)."""
    names = sorted(p_values, key=lambda name: p_values[name])
    count = len(names)
    raw = np.array([p_values[name] for name in names]) * count / np.arange(1, count + 1)
    lowest = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return dict(zip(names, lowest.tolist(), strict=True))
