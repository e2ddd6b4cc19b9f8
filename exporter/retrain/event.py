"""What a run is told of: the event, the body that is sent, and the environment of a command. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Any
from urllib.parse import quote

FORM = 1  # of the event; raised when a key changes its meaning


def outcome_path(model: str, identity: str) -> str:
    """Return where the outcome of a run is reported."""
    return f"/api/v1/models/{quote(model, safe='')}/retrain/{identity}/outcome"


def callback(model: str, identity: str, token: str, external_url: str | None) -> dict[str, str]:
    """Return how the outcome is reported; without the exporter's own address the path alone."""
    path = outcome_path(model, identity)
    url = {"url": external_url.rstrip("/") + path} if external_url else {}
    return {**url, "path": path, "token": token}


def body(event: Mapping[str, Any], template: Mapping[str, Any] | None) -> bytes:
    """Return what is sent: the event, or the template with its words filled in."""
    sent = event if template is None else _filled(template, event, _words(event))
    return json.dumps(sent, ensure_ascii=False).encode()


def _words(event: Mapping[str, Any]) -> dict[str, str]:
    found = {"id": event["id"], "model": event["model"], "model_version": event["model_version"]}
    found |= {"requested_at": event["requested_at"], "approved_by": event["approved_by"] or ""}
    return found | {f"callback_{key}": text for key, text in event["callback"].items()}


def _filled(value: Any, event: Mapping[str, Any], words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return event if value == "$event" else Template(value).safe_substitute(words)
    if isinstance(value, Mapping):
        return {key: _filled(own, event, words) for key, own in value.items()}
    return [_filled(own, event, words) for own in value] if isinstance(value, list | tuple) else value


def environment(event: Mapping[str, Any]) -> dict[str, str]:
    """Return what a command finds in its environment, beside the event on standard input."""
    names = {"id": "RUN_ID", "model": "MODEL", "model_version": "MODEL_VERSION"}
    found = {f"MODEL_EXPORTER_{name}": str(event[key]) for key, name in names.items()}
    back = event["callback"]
    return found | {f"MODEL_EXPORTER_CALLBACK_{key.upper()}": text for key, text in back.items()}
