"""What all sections of the configuration are made of: the frozen section, and fields with a rule."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from exporter import duration

Severity = Literal["warning", "critical"]
Ratio = Annotated[float, Field(ge=0, le=1)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was meant, or else which there are."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _seconds(value: object) -> float:
    seconds = duration.parse(value)
    if seconds <= 0:
        raise ValueError("a duration must be longer than 0")
    return seconds


def whole_seconds(value: object) -> int:
    """Read a duration of whole seconds."""
    seconds = _seconds(value)
    if seconds != int(seconds):
        raise ValueError(f"{value!r} is not a whole number of seconds")
    return int(seconds)


Wait = Annotated[float, BeforeValidator(duration.parse)]  # a duration that may be 0s
Seconds = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds = Annotated[int, BeforeValidator(whole_seconds)]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}: use a name like Europe/Berlin") from error
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


class Settings(BaseModel):
    """A frozen section in which unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class Levels(Settings):
    """A threshold per severity; a severity that is left out never alerts."""

    warning: float | None = None
    critical: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """Return the (severity, threshold) pairs that are set."""
        pairs = (("warning", self.warning), ("critical", self.critical))
        return [(severity, value) for severity, value in pairs if value is not None]


def level(severity: str) -> BeforeValidator:
    """Let a plain number stand for a threshold of one severity."""

    def read(value: object) -> object:
        if value is not None and not isinstance(value, int | float | dict):
            raise ValueError(f"a number, or {{warning: number, critical: number}}, is expected, not {value!r}")
        return {severity: value} if isinstance(value, int | float) else value

    return BeforeValidator(read)


def one_of(kind: str, known: Iterable[str]) -> AfterValidator:
    """Accept known names only, and say which was meant."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}{nearest(name, known)}")
        return name

    return AfterValidator(check)
