"""What a running Alertmanager says of itself: its configuration, its alerts, what it sent. Its API is version 2."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.duration import parse

_PATIENCE = 10.0
_KIND = re.compile(r"(\w+)_configs")
_GLOBAL = {"email": "smtp_", "slack": "slack_", "opsgenie": "opsgenie_", "pagerduty": "pagerduty_"}


class Channel(NamedTuple):
    """One way by which a receiver is told: `kind` is email, slack and so on; `secrets` the files that it reads."""

    receiver: str
    kind: str
    secrets: tuple[str, ...]


class Sent(NamedTuple):
    """How many messages went out and how many tries failed, by (kind, receiver); receiver "" where it is not said."""

    good: Counter[tuple[str, str]]
    bad: Counter[tuple[str, str]]

    def since(self, before: Sent) -> Sent:
        """Return what was sent after `before`."""
        return Sent(self.good - before.good, self.bad - before.bad)


class Alertmanager:
    """Asks one Alertmanager; whatever goes wrong is an OSError that names its address."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def status(self) -> tuple[str, dict[str, Any]]:
        """Return its version and the configuration it runs with; secrets are not in it."""
        found = json.loads(self._ask("/api/v2/status"))
        return found["versionInfo"]["version"], yaml.safe_load(found["config"]["original"])

    def send(self, alert: Mapping[str, object]) -> None:
        """Hand over one alert."""
        self._ask("/api/v2/alerts", json.dumps([alert]).encode())

    def alerts(self, label: str = "", value: str = "") -> list[dict[str, Any]]:
        """Return the alerts that fire, each with its receivers and what mutes it; all, or those with a label."""
        path = "/api/v2/alerts"
        if label:
            path += "?" + urllib.parse.urlencode({"filter": f'{label}="{value}"'})
        found: list[dict[str, Any]] = json.loads(self._ask(path))
        return found

    def sent(self) -> Sent:
        """Return what it has sent since its start."""
        tries: Counter[tuple[str, str]] = Counter()
        bad: Counter[tuple[str, str]] = Counter()
        for family in text_string_to_metric_families(self._ask("/metrics").decode()):
            into = {"alertmanager_notification_requests": tries, "alertmanager_notification_requests_failed": bad}
            for sample in family.samples:
                name = sample.name.removesuffix("_total")
                if name in into:
                    key = sample.labels.get("integration", ""), sample.labels.get("receiver_name", "")
                    into[name][key] += int(sample.value)
        return Sent(tries - bad, bad)

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read(300).decode(errors="replace").strip()
            raise OSError(f"Alertmanager {self.url}{path}: {error.code} {error.reason}: {text}") from error
        except (urllib.error.URLError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise OSError(f"Alertmanager {self.url} cannot be asked: {reason}; give --alertmanager.url") from error


def channels(config: Mapping[str, Any], receivers: Sequence[str]) -> list[Channel]:
    """Return every way by which these receivers are told."""
    found, whole = [], config.get("global") or {}
    for receiver in config.get("receivers") or []:
        for key, ways in receiver.items():
            if receiver["name"] in receivers and (kind := _KIND.fullmatch(key)):
                prefix = _GLOBAL.get(kind[1], "\0")
                shared = {name: value for name, value in whole.items() if name.startswith(prefix)}
                found += [Channel(receiver["name"], kind[1], tuple(sorted(files({**shared, **way})))) for way in ways]
    return found


def files(settings: object) -> set[str]:
    """Return the files that settings name as secrets: values of keys that end in `_file`, at any depth."""
    if isinstance(settings, Mapping):
        own = {str(value) for key, value in settings.items() if str(key).endswith("_file")}
        return own.union(*(files(value) for value in settings.values()))
    if isinstance(settings, list):
        return set().union(*(files(value) for value in settings))
    return set()


def longest_wait(route: Mapping[str, Any]) -> float:
    """Return the longest `group_wait` of a tree of routes, in seconds; it is 30 s where none is set."""
    own = parse(str(route.get("group_wait", "30s")))
    return max([own, *(longest_wait(one) for one in route.get("routes") or [])])
