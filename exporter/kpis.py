"""Business indicators of a profile: each with its value, and whether there are enough rows to tell it. Pure."""

from __future__ import annotations

import numpy as np

from exporter.business import values
from exporter.business.settings import Kpi
from exporter.business.values import Value
from exporter.profile import estimate, outcome
from exporter.profile import kpi as profile
from exporter.profile.kpi import KpiBins
from exporter.profile.model import ModelBins
from exporter.profile.outcome import ClassBins
from exporter.profile.packed import Profile
from exporter.rows import Floats
from exporter.settings import Model


def counted(bins: ModelBins, vector: Profile) -> Floats | None:
    """Return the realised confusion over the labelled rows of a dense profile, actual x predicted."""
    if not isinstance(bins.outcomes, ClassBins):
        return None
    table = outcome.read_classes(bins.outcomes, bins.part(vector, "outcome")).confusion
    return np.asarray(table, np.float64)


def expected(bins: ModelBins, vector: Profile) -> Floats | None:
    """Return the confusion to be expected of all rows of a dense profile, actual x predicted; None where it is not."""
    if bins.estimator is None or not isinstance(bins.outcomes, ClassBins):
        return None
    return estimate.read_classes(bins.outcomes, bins.part(vector, "estimate")).confusion


def values_of(model: Model, bins: ModelBins, vector: Profile, seconds: float) -> dict[str, Value]:
    """Return the value of each indicator over the rows of a dense profile that cover so many seconds."""
    parts = {own.name: own for own in bins.kpis}
    return {kpi.name: _value(kpi, parts[kpi.name], bins, vector, seconds) for kpi in model.business}


def expected_of(model: Model, bins: ModelBins, vector: Profile) -> dict[str, Value]:
    """Return what decisions are to be expected to be worth, all rows of a dense profile counted: value matrices."""
    confusion = expected(bins, vector)
    if confusion is None:
        return {}
    matrices = {kpi.name: kpi.value_matrix for kpi in model.business if kpi.value_matrix is not None}
    return {name: values.of_decisions(matrix, confusion) for name, matrix in matrices.items()}


def _value(kpi: Kpi, own: KpiBins, bins: ModelBins, vector: Profile, seconds: float) -> Value:
    if kpi.value_matrix is not None:
        confusion = counted(bins, vector)
        return values.of_decisions(kpi.value_matrix, confusion) if confusion is not None else Value(None, None, None, 0)
    sums = profile.read(own, bins.part(vector, f"kpi:{own.name}"))
    scale = kpi.seconds / seconds if kpi.rate is not None else 1.0
    if not sums.rows and sums.unknown:
        return Value(None, None, None, 0)
    if kpi.ratio is not None:
        return values.ratio(sums.rows, *sums[2:])
    if kpi.mean is not None:
        return values.mean(sums.rows, sums.x, sums.xx)
    if not profile.adds_up(own):
        return values.count(sums.rows, scale)
    return values.total(sums.rows, sums.x, sums.xx, scale)


def needs_labels(kpi: Kpi, own: KpiBins) -> bool:
    """Return whether an indicator is known of labelled rows only."""
    return bool(own.outcomes) or kpi.value_matrix is not None


def least_rows(model: Model, kpi: Kpi, own: KpiBins) -> int:
    """Return the rows that an indicator needs: as configured, or what its kind needs."""
    if kpi.min_rows is not None:
        return kpi.min_rows
    if needs_labels(kpi, own):
        return model.performance.min_rows
    return model.drift.min_rows if kpi.kind in {"mean", "ratio"} else 0
