"""Judging two samples as an unnamed column, by a method's own thresholds or the default effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.drift.settings import Thresholds
from exporter.drift.thresholds import Drift
from exporter.drift.thresholds import judge as judge_column
from exporter.drift.univariate import Sample
from exporter.fields import Levels


def judge(reference: Sample, current: Sample, methods: Sequence[str], settings: Mapping[str, Levels]) -> Drift:
    """Compare two samples where the reference taught nothing."""
    own = Thresholds.model_validate({name: levels.model_dump() for name, levels in settings.items()})
    return judge_column("feature:x", reference, current, methods, own, None)
