"""What Alertmanager's webhook sends (version 4) -> alerts. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

VERSION = "4"
MICRO = 1_000_000


class Alert(NamedTuple):
    """One alert of a notification; starts and ends in microseconds, ends None while it fires."""

    fingerprint: str
    name: str
    model: str
    starts: int
    ends: int | None
    labels: Mapping[str, str]
    summary: str


class NotificationError(ValueError):
    """A notification that cannot be read; one sentence."""


def read(payload: Any) -> list[Alert]:
    """Return the alerts of a notification that name a model; raise NotificationError for any other form."""
    if not isinstance(payload, dict) or not isinstance(payload.get("alerts"), list):
        raise NotificationError("a notification of Alertmanager's webhook is expected: an object with a list alerts")
    if (version := payload.get("version")) != VERSION:
        raise NotificationError(f"version {VERSION} of Alertmanager's webhook is expected, not {version!r}")
    found = (_alert(number, raw) for number, raw in enumerate(payload["alerts"]))
    return [one for one in found if one is not None]


def _alert(number: int, raw: Any) -> Alert | None:
    labels = raw.get("labels") if isinstance(raw, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(one, str) for one in labels.values()):
        raise NotificationError(f"alerts[{number}]: labels, a mapping of text, are expected")
    if not labels.get("model") or not labels.get("alertname"):
        return None
    if (status := raw.get("status")) not in {"firing", "resolved"}:
        raise NotificationError(f"alerts[{number}]: status firing or resolved is expected, not {status!r}")
    annotations = raw.get("annotations")
    summary = annotations.get("summary", "") if isinstance(annotations, dict) else ""
    return Alert(
        fingerprint=str(raw.get("fingerprint") or _fingerprint(labels)),
        name=labels["alertname"],
        model=labels["model"],
        starts=_moment(number, "startsAt", raw.get("startsAt")),
        ends=_moment(number, "endsAt", raw.get("endsAt")) if status == "resolved" else None,
        labels=labels,
        summary=str(summary),
    )


def _fingerprint(labels: Mapping[str, str]) -> str:
    """Stand in for the fingerprint of Alertmanagers before 0.19; of the labels, so the same from each replica."""
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def _moment(number: int, key: str, text: Any) -> int:
    """Read RFC 3339, to microseconds."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotificationError(f"alerts[{number}]: {key} is no time with its zone: {text!r}") from error
    return (since.days * 86_400 + since.seconds) * MICRO + since.microseconds
