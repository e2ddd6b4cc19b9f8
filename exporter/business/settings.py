"""The section `business` of a model: indicators, each of one kind, with their bounds."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter.business.expression import parse
from exporter.fields import Levels, Seconds, Settings, level

EVERY = "*"  # stands for one a row
Kind = Literal["sum", "mean", "count", "ratio", "rate", "value_matrix"]
_KINDS: tuple[Kind, ...] = ("sum", "mean", "count", "ratio", "rate", "value_matrix")


def _usable(text: str) -> str:
    parse(text)
    return text


def _usable_or_every(text: str) -> str:
    return text if text.strip() == EVERY else _usable(text)


def _as_text(value: object) -> object:
    return "true" if value is True else "false" if value is False else value


Expression = Annotated[str, BeforeValidator(_as_text), AfterValidator(_usable)]
Counted = Annotated[str, BeforeValidator(_as_text), AfterValidator(_usable_or_every)]


class Shares(Settings):
    """A ratio of two sums."""

    numerator: Counted
    denominator: Counted = EVERY


class Rate(Settings):
    """A sum per stretch of time."""

    of: Counted = EVERY
    per: Seconds = 1.0


def _square(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if len(matrix) < 2 or any(len(row) != len(matrix) for row in matrix):
        raise ValueError(
            "as many columns as rows are expected, two or more: a row an actual class, a column a predicted class"
        )
    return matrix


Matrix = Annotated[tuple[tuple[float, ...], ...], AfterValidator(_square)]


class Kpi(Settings):
    """A business indicator: one of the kinds, over the rows where `where` is true.

    windows: those in which it is told, as a bound of a day's sum is none of a week's; default: all.
    min_rows: rows that it needs to have a value; default: none for a sum, count or rate of predictions, else as many
    as drift (of predictions) or performance (of labelled rows) need.
    """

    name: str = Field(min_length=1)
    unit: str = ""
    sum: Expression | None = None
    mean: Expression | None = None
    count: Counted | None = None
    ratio: Shares | None = None
    rate: Rate | None = None
    value_matrix: Matrix | None = None
    where: Expression | None = None
    windows: tuple[str, ...] | None = None
    min: Annotated[Levels | None, level("critical")] = None
    max: Annotated[Levels | None, level("critical")] = None
    min_rows: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Kpi:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(_KINDS)}{', not ' + ' and '.join(given) if given else ''}")
        if self.value_matrix is not None and self.where is not None:
            raise ValueError("a value_matrix is of all labelled rows: leave out where, or write a sum with case when")
        return self

    @property
    def kind(self) -> Kind:
        """Which of the kinds it is."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def terms(self) -> tuple[str, ...]:
        """The expressions that are summed; EVERY is one a row. A value_matrix has none."""
        if self.ratio is not None:
            return (self.ratio.numerator, self.ratio.denominator)
        of = self.rate.of if self.rate is not None else self.sum or self.mean or self.count
        return (of.strip(),) if of is not None else ()

    @property
    def expressions(self) -> dict[tuple[str, ...], str]:
        """Each expression by its place in the section."""
        found: dict[tuple[str, ...], str] = {}
        if self.ratio is not None:
            found = {("ratio", "numerator"): self.ratio.numerator, ("ratio", "denominator"): self.ratio.denominator}
        elif self.rate is not None:
            found = {("rate", "of"): self.rate.of}
        else:
            found = {(kind,): getattr(self, kind) for kind in ("sum", "mean", "count") if getattr(self, kind)}
        found |= {("where",): self.where} if self.where is not None else {}
        return {place: text for place, text in found.items() if text.strip() != EVERY}

    @property
    def seconds(self) -> float:
        """The stretch of time that a rate is per; infinity is all of the window."""
        return self.rate.per if self.rate is not None else math.inf
