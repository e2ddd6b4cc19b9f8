"""The section `retrain` of a model: which alerts lead to which action, and what holds it back."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter import duration
from exporter.fields import Seconds, Settings, Wait

# Alerts of prometheus/rules that carry a model: a name that is nearly one of these is a slip.
ALERTS = (
    "ModelTaskStale",
    "ModelTaskFailing",
    "ModelSourceDown",
    "ModelDataStale",
    "ModelWindowTooSmall",
    "ModelFeatureDriftHigh",
    "ModelPredictionDriftHigh",
    "ModelLabelDriftHigh",
    "ModelDatasetDriftHigh",
    "ModelMultivariateDriftHigh",
    "ModelConceptDriftDetected",
    "ModelFeatureMissingHigh",
    "ModelFeatureUnseenHigh",
    "ModelFeatureOutOfRangeHigh",
    "ModelPerformanceLow",
    "ModelPerformanceDegraded",
    "ModelEstimatedPerformanceLow",
    "ModelBusinessKpiOutOfBounds",
    "ModelServingErrorsHigh",
    "ModelServingLatencyHigh",
)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BUDGET = re.compile(r"\s*(\d+)\s+per\s+(\S+)\s*")


class Budget(Settings):
    """The most runs in a stretch of time, in seconds."""

    count: int = Field(ge=1)
    seconds: float = Field(gt=0)


def _budget(value: object) -> object:
    if isinstance(value, Budget):
        return value
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{value!r} is no budget: write how many runs in which time, as in 4 per 30d")
    seconds = duration.parse(match[2])
    if not seconds:
        raise ValueError(f"{value!r} is no budget: the time must be longer than 0")
    return {"count": int(match[1]), "seconds": seconds}


class When(Settings):
    """Which alerts count, and how many of them it takes.

    occurrences: times that one of them began to fire, which were firing within the last `within` seconds.
    clear: how many may still fire for the next run to be possible. min_labels: labelled rows that are old enough.
    """

    alerts: Annotated[tuple[str, ...], Field(min_length=1)]
    occurrences: int = Field(default=1, ge=1)
    within: Seconds = 86400.0
    clear: int = Field(default=0, ge=0)
    min_labels: int = Field(default=0, ge=0)


def web_address(text: str) -> str:
    """Accept an address that can be called; its credentials have a place of their own."""
    parts = urlsplit(text)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in text):
        raise ValueError("an address as in https://ci.example/hooks/retrain is expected")
    if parts.username is not None:
        raise ValueError("leave the credentials out of the address, and put a header Authorization into headers_file")
    return text


def header_lines(text: str) -> dict[str, str]:
    """Read headers, one `Name: value` a line; raise ValueError naming the line, never its value."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not _HEADER.fullmatch(name.strip()):
            raise ValueError(f"line {number} is no header: write Name: value")
        found[name.strip()] = value.strip()
    return found


def _headers(value: object) -> object:
    if isinstance(value, dict):
        for name, text in value.items():
            if not _HEADER.fullmatch(str(name)) or not str(text).isprintable():
                raise ValueError(f"{name!r} is no header: write Name: value, on one line")
    return value


class Http(Settings):
    """A signed call. body: what is sent instead of the event, with `$event` and the like. accept: further codes."""

    url: Annotated[str, AfterValidator(web_address)] | None = None
    url_file: str | None = None
    headers: Annotated[dict[str, str], BeforeValidator(_headers)] = Field(default_factory=dict, repr=False)
    headers_file: str | None = None
    secret: str | None = Field(default=None, min_length=1, repr=False)
    secret_file: str | None = None
    ca_file: str | None = None
    timeout: Seconds = 10.0
    retries: int = Field(default=5, ge=0, le=20)
    body: dict[str, Any] | None = None
    accept: tuple[Annotated[int, Field(ge=200, le=499)], ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Http:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url or url_file")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("give either secret or secret_file")
        if self.headers and self.headers_file is not None:
            raise ValueError("give either headers or headers_file")
        return self


def _words(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"a list is expected, as in [python, retrain.py]: no shell reads it, not {value!r}")
    return value


class Action(Settings):
    """What a decision leads to: a call, or a command."""

    http: Http | None = None
    command: Annotated[tuple[str, ...] | None, BeforeValidator(_words)] = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Action:
        if (self.http is None) == (self.command is None):
            raise ValueError("give either http, a call, or command, a list of words")
        return self


Mode = Literal["off", "dry_run", "approve", "automatic"]
Reports = Literal["callback", "exit", "none"]


def _mode(value: object) -> object:
    return "off" if value is False else value  # YAML takes off for a truth value


class Retrain(Settings):
    """The whole section. outcome: who says how a run went; left out, the callback of a call, the exit of a command."""

    mode: Annotated[Mode, BeforeValidator(_mode)]
    when: When | None = None
    cooldown: Wait = 86400.0
    budget: Annotated[Budget, BeforeValidator(_budget)] = Budget(count=4, seconds=30 * 86400.0)
    approval_timeout: Seconds = 86400.0
    timeout: Seconds = 6 * 3600.0
    outcome: Reports | None = None
    external_url: Annotated[str, AfterValidator(web_address)] | None = None
    action: Action | None = None

    @property
    def reports(self) -> Reports:
        """Who says how a run went."""
        if self.outcome is not None:
            return self.outcome
        return "exit" if self.action is not None and self.action.command is not None else "callback"

    @property
    def acts(self) -> bool:
        """Whether anything is called."""
        return self.mode in {"approve", "automatic"} and self.action is not None and self.when is not None

    @property
    def judges(self) -> bool:
        """Whether alerts are listened to."""
        return self.mode != "off" and self.when is not None
