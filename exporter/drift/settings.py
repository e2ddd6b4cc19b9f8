"""The section `drift` of a model's configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from exporter import duration
from exporter.drift.multivariate import METHODS as ROW_METHODS
from exporter.drift.sequential import DETECTORS
from exporter.drift.univariate import CATEGORICAL, METHODS, NUMERIC
from exporter.fields import Levels, Settings, Severity, level, one_of

REFERENCE, PREVIOUS, WEEK_AGO = "reference", "previous", "week_ago"
Against = Literal["reference", "previous", "week_ago"]
NumericMethod = Annotated[str, one_of("method", NUMERIC)]
CategoricalMethod = Annotated[str, one_of("method for categories", CATEGORICAL)]
RowMethod = Annotated[str, one_of("method for whole rows", ROW_METHODS)]
DetectorName = Annotated[str, one_of("detector", DETECTORS)]

_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s+per\s+(\w+)\s*")


def _rate(value: object) -> float:
    """Read a budget, `1 per 30d`, as alarms a second."""
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"a number of alarms per duration is expected, as in 1 per 30d, not {value!r}")
    return float(match[1]) / duration.parse(match[2])


Rate = Annotated[float, BeforeValidator(_rate)]


def _budget(value: object) -> object:
    return {"warning": value} if isinstance(value, str) else value


class MethodThreshold(Levels):
    """A method's own threshold: constants, or the mean over the reference's windows plus `std` standard deviations."""

    std: Annotated[Levels | None, level("warning")] = None

    @model_validator(mode="after")
    def _one(self) -> MethodThreshold:
        if self.std is not None and self.items():
            raise ValueError("give either std, or warning and critical")
        return self


class _Thresholds(Settings):
    """How drift is judged: by the false-alarm budget of the whole model, unless a method has its own threshold."""

    false_alarms: Annotated[dict[Severity, Rate], BeforeValidator(_budget), Field(min_length=1)] = Field(
        default={"warning": "1 per 30d"}, validate_default=True
    )

    def of(self, method: str) -> MethodThreshold | None:
        """Return a method's own threshold."""
        own: MethodThreshold | None = getattr(self, method)
        return own

    def is_calibrated(self, method: str) -> bool:
        """Say whether a method's threshold is learned from the reference."""
        own = self.of(method)
        return own is None or own.std is not None


if TYPE_CHECKING:
    Thresholds = _Thresholds
else:
    Thresholds = create_model(
        "Thresholds", __base__=_Thresholds, **dict.fromkeys(METHODS, (MethodThreshold | None, None))
    )


def _baselines(value: tuple[str, ...]) -> tuple[str, ...]:
    if REFERENCE not in value or len(set(value)) < len(value):
        raise ValueError("the reference, and each moving baseline at most once, are expected")
    return value


class Drift(Settings):
    numeric: tuple[NumericMethod, ...] = ("ks", "wasserstein", "psi", "jensen_shannon")
    categorical: tuple[CategoricalMethod, ...] = ("chi2", "psi", "jensen_shannon", "l_infinity")
    multivariate: tuple[RowMethod, ...] = ()
    sequential: tuple[DetectorName, ...] = ()
    baselines: Annotated[tuple[Against, ...], AfterValidator(_baselines)] = ("reference", "previous")
    threshold: Thresholds = Field(default_factory=Thresholds)
    drifted_features: Levels = Levels(warning=0.5)
    min_rows: int = Field(default=200, ge=1)
    knots: int = Field(default=4096, ge=16, le=1_000_000)
