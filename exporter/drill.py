"""`model-exporter test-alert`: one alert through the running Alertmanager, and who took it."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from exporter.alertmanager import Alertmanager, Channel, Sent, channels, longest_wait

TEST_ALERT = "ModelExporterTestAlert"
SEVERITIES = ("critical", "warning", "info")
_DOCS = "https://github.com/model-exporter/model-exporter/blob/main/docs/alerting.md#does-it-arrive"
_GRACE = 10.0  # seconds from the first failure: a relay that is slow once may answer the second time
_MARGIN = 30.0
_POLL = 0.5


class Result(NamedTuple):
    """What became of a channel: it took the alert, it failed, or nothing was sent."""

    channel: Channel
    state: Literal["took", "failed", "silent"]
    text: str


class Drill(NamedTuple):
    """What came of a test alert. trouble: what is to be said beside the channels, a sentence each."""

    title: str
    results: list[Result]
    trouble: list[str]

    @property
    def good(self) -> bool:
        """Whether there is somebody to tell, and each of them was told."""
        return bool(self.results) and all(one.state == "took" for one in self.results)


def labels_of(severity: str, model: str | None, team: str) -> dict[str, str]:
    """Return the labels of a new test alert; without a model it is an incident of its own."""
    test = secrets.token_hex(3)
    return {
        "alertname": TEST_ALERT,
        "job": "model-exporter",
        "severity": severity,
        "model": model or f"test-{test}",
        "team": team,
        "test": test,
    }


def run(
    urls: Sequence[str],
    labels: dict[str, str],
    timeout: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Drill:
    """Send a test alert to every Alertmanager of a cluster, wait until it was told or is late, and end it.

    timeout: seconds; left out, the longest `group_wait` of the configuration and half a minute. Raises OSError if an
    Alertmanager does not answer.
    """
    members = [Alertmanager(url) for url in urls]
    version, config = members[0].status()
    wait = longest_wait(config["route"]) + _MARGIN if timeout is None else timeout
    before = _total(members)
    started = datetime.now(UTC)
    title = f"Alertmanager {version} at {', '.join(urls)}: test alert {labels['test']}"
    alert = {"labels": labels, "annotations": _notes(labels), "startsAt": started.isoformat()}
    _send(members, {**alert, "endsAt": (started + timedelta(seconds=wait + 300)).isoformat()})
    try:
        told, muted = _routed(members[0], labels)
        ways = channels(config, told)
        say(f"{title}, for {', '.join(told)}; waiting up to {wait:.0f} s")
        results = [] if muted else _watch(members, before, ways, wait)
    finally:
        _send(members, {**alert, "endsAt": datetime.now(UTC).isoformat()})
    trouble = muted or _trouble(members[0], config, told, ways, results)
    return Drill(title, results, trouble)


def _send(members: Iterable[Alertmanager], alert: dict[str, object]) -> None:
    for member in members:
        member.send(alert)


def _total(members: Iterable[Alertmanager]) -> Sent:
    found = [member.sent() for member in members]
    return Sent(sum((one.good for one in found), Counter()), sum((one.bad for one in found), Counter()))


def _notes(labels: dict[str, str]) -> dict[str, str]:
    return {
        "summary": "This is a test of the way from an alert to you: nothing is wrong.",
        "description": f"Test alert {labels['test']} (severity {labels['severity']}, team {labels['team']}), sent by "
        "model-exporter test-alert. Nothing is to be done.",
        "runbook_url": _DOCS,
        "dashboard_url": _DOCS,
    }


def _routed(member: Alertmanager, labels: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the receivers that the alert goes to, and what mutes it, a sentence each."""
    deadline = time.monotonic() + 10
    while True:
        if found := [one for one in member.alerts("test", labels["test"]) if one["status"]["state"] != "unprocessed"]:
            break
        if time.monotonic() > deadline:
            raise OSError(f"Alertmanager {member.url} does not show the test alert it has taken")
        time.sleep(_POLL)
    alert = found[0]
    status = alert["status"]
    muted = [f"The test alert is muted by silence {one}: nobody is told." for one in status["silencedBy"]]
    if status["inhibitedBy"]:
        muted.append("The test alert is muted by an alert that fires (inhibition): nobody is told.")
    return [one["name"] for one in alert["receivers"]], muted


def _watch(members: Sequence[Alertmanager], before: Sent, ways: list[Channel], wait: float) -> list[Result]:
    """Look at what was sent until all channels are told, one has failed for a while, or time is up."""
    began = time.monotonic()
    failed: float | None = None
    while True:
        now = time.monotonic()
        results = judge(ways, _total(members).since(before), now - began)
        states = {one.state for one in results}
        if states <= {"took"} or now - began > wait:
            return results
        if "failed" in states:
            failed = failed or now
            if now - failed > _GRACE and "silent" not in states:
                return results
        time.sleep(_POLL)


def judge(ways: Sequence[Channel], sent: Sent, after: float) -> list[Result]:
    """Return what became of each channel. Alertmanager counts by kind, newer ones by receiver, too, if asked to."""
    by_receiver = any(receiver for _, receiver in [*sent.good, *sent.bad])
    keys = [(way.kind, way.receiver if by_receiver else "") for way in ways]
    expected, results = Counter(keys), []
    for way, key in zip(ways, keys, strict=True):
        good, bad, of = sent.good[key], sent.bad[key], expected[key]
        if good >= of:
            results.append(Result(way, "took", f"took it within {after:.0f} s"))
        elif bad:
            which = "" if of == 1 else f", {good} of {of} by {way.kind} sent and Alertmanager does not say which"
            reads = f"; it reads {', '.join(way.secrets)}" if way.secrets else ""
            tries = f"{bad} {'try' if bad == 1 else 'tries'}"
            results.append(Result(way, "failed", f"FAILED, {tries}{which}{reads}; Alertmanager's log has the reason"))
        else:
            results.append(Result(way, "silent", f"not sent within {after:.0f} s"))
    return results


def _trouble(
    member: Alertmanager, config: Mapping[str, Any], told: list[str], ways: list[Channel], results: list[Result]
) -> list[str]:
    """Return what a person must know to read the results."""
    telling = {way.receiver for way in ways}
    found = [f"Receiver {name} sends nothing to anybody." for name in told if name not in telling]
    if any(one.state == "silent" for one in results):
        found.append(
            "Not sent: a model that has alerts already waits for its group_interval; another member of the cluster may "
            "have sent it (give every --alertmanager.url); or a time interval of the route mutes it."
        )
    others = {one["name"] for alert in member.alerts() for one in alert["receivers"]} - set(told)
    shared = {way.kind for way in channels(config, sorted(others))} & {way.kind for way in ways}
    return found + [f"Other alerts go out by {kind}, too, and are counted with this one." for kind in sorted(shared)]


def show(drill: Drill) -> list[str]:
    """Return the lines that tell of a drill: a table of channels, then sentences."""
    rows = [
        ("receiver", "by", "result"),
        *((one.channel.receiver, one.channel.kind, one.text) for one in drill.results),
    ]
    first, second = (max(len(row[place]) for row in rows) for place in (0, 1))
    table = [f"{name:{first}}  {kind:{second}}  {text}" for name, kind, text in rows]
    return [drill.title, *(table if drill.results else []), *drill.trouble]
