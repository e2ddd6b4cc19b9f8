"""Two Alertmanagers of a cluster: an incident is told once, whichever of them dies, and whenever."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.alertmanager import Alertmanager
from tests.e2e.incident import EXPECTED, firing, outage, repair
from tests.e2e.stack import Mail, Slack, alertmanager, exporter, get_json, prometheus, wait_equal, wait_for


class Pair(NamedTuple):
    """A cluster of two: who sends first by its place, addresses, and processes."""

    mail: Mail
    slack: Slack
    ports: tuple[int, int]
    members: tuple[Alertmanager, Alertmanager]
    running: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]

    def first(self) -> int:
        """Return the number of the member that sends first; the other one waits whether it has."""
        name = get_json(f"{self.members[0].url}/api/v2/status")["cluster"]["name"]
        peers = [one["name"] for one in get_json(f"{self.members[0].url}/api/v2/status")["cluster"]["peers"]]
        return 0 if name == min(peers) else 1

    def tell(self, firing: bool = True) -> None:
        """Send the same alert to all members that live, as Prometheus does."""
        end = {} if firing else {"endsAt": datetime.now(UTC).isoformat()}
        notes = {"summary": "S.", "description": "D.", "runbook_url": "http://r", "dashboard_url": "http://d"}
        labels = {"alertname": "ModelPerformanceLow", "severity": "critical", "model": "m", "team": "none"}
        for member, process in zip(self.members, self.running, strict=True):
            if process.poll() is None:
                member.send({"labels": labels, "annotations": notes, **end})

    def subjects(self) -> list[str]:
        return [str(one["Subject"]) for one in self.mail.messages]

    def titles(self) -> list[str]:
        return [one["attachments"][0]["title"] for one in self.slack.messages]


@contextlib.contextmanager
def pair_of(folder: Path, ports: Callable[[], int], group_wait: str, retrain: tuple[str, ...] = ()) -> Iterator[Pair]:
    one, other, gossip, other_gossip, smtp, hook = (ports() for _ in range(6))
    with (
        Mail(smtp) as mail,
        Slack(hook) as slack,
        alertmanager(folder, one, smtp, hook, group_wait, peers=(gossip, other_gossip), retrain=retrain) as first,
        alertmanager(folder, other, smtp, hook, group_wait, peers=(other_gossip, gossip), retrain=retrain) as second,
    ):
        members = Alertmanager(f"http://127.0.0.1:{one}"), Alertmanager(f"http://127.0.0.1:{other}")
        for member in members:
            status = f"{member.url}/api/v2/status"
            wait_equal("two members", 30, lambda status=status: cluster(status), ("ready", 2))
        yield Pair(mail, slack, (one, other), members, (first, second))


def cluster(url: str) -> tuple[str, int] | None:
    with contextlib.suppress(OSError):
        found = get_json(url)["cluster"]
        return found["status"], len(found["peers"])
    return None


@pytest.fixture
def pair(tmp_path: Path, need_tool: Callable[[str], str], free_ports: Callable[[], int]) -> Iterator[Pair]:
    need_tool("prometheus-alertmanager")
    with pair_of(tmp_path, free_ports, "3s") as found:
        yield found


ONCE, ENDED = "[CRITICAL] m: ModelPerformanceLow", "[RESOLVED] m: ModelPerformanceLow"


@pytest.mark.parametrize("victim", ["the one that sends", "the one that waits"])
def test_one_dies_before_it_could_send(pair: Pair, victim: str) -> None:
    """Both know of the alert and neither has sent it: the other one does, once."""
    first = pair.first()
    pair.tell()
    pair.running[first if victim == "the one that sends" else 1 - first].kill()
    wait_equal("the mail", 30, pair.subjects, [ONCE])
    wait_equal("Slack", 10, pair.titles, [ONCE])
    time.sleep(7)  # two group intervals
    pair.tell(firing=False)
    wait_equal("its end", 30, pair.subjects, [ONCE, ENDED])
    wait_equal("its end in Slack", 10, pair.titles, [ONCE, ENDED])


def test_the_one_that_sent_dies_just_after(pair: Pair) -> None:
    """The other one knows that it was sent, and does not send it again; the end is told all the same."""
    first = pair.first()
    pair.tell()
    wait_for("the mail", 30, lambda: pair.mail.messages)
    wait_for("Slack", 10, lambda: pair.slack.messages)
    assert sum(pair.members[1 - first].sent().good.values()) == 0
    time.sleep(1)  # gossip takes fractions of a second; a message of that moment may come twice: the cluster says so
    pair.running[first].kill()
    time.sleep(9)  # three group intervals
    assert (pair.subjects(), pair.titles()) == ([ONCE], [ONCE])
    pair.tell(firing=False)
    wait_equal("its end", 30, pair.subjects, [ONCE, ENDED])
    wait_equal("its end in Slack", 10, pair.titles, [ONCE, ENDED])


@pytest.mark.timeout(480)
def test_an_incident_through_the_whole_chain_is_told_once(
    tmp_path: Path, need_tool: Callable[[str], str], free_ports: Callable[[], int]
) -> None:
    """Exporter, Prometheus, two Alertmanagers: one mail, one Slack message; the sender dies; the end is told, too."""
    need_tool("prometheus")
    need_tool("prometheus-alertmanager")
    config, now = outage(tmp_path)
    own, prom = free_ports(), free_ports()
    api = f"http://127.0.0.1:{prom}/api/v1"

    with (
        pair_of(tmp_path, free_ports, "8s") as pair,
        exporter(config, own, tmp_path),
        prometheus(tmp_path, prom, own, *pair.ports),
    ):
        wait_for("Prometheus", 20, lambda: get_json(f"{api}/alerts"))
        wait_equal("alerts", 180, lambda: firing(api), EXPECTED)
        wait_for("an e-mail", 40, pair.subjects)
        wait_for("a Slack message", 20, pair.titles)
        time.sleep(12)
        assert len(pair.subjects()) == len(pair.titles()) == 1
        calls = [alert["labels"]["alertname"] for alert in pair.slack.calls[0]["alerts"]]
        assert set(calls) >= {name for name, *_ in EXPECTED}, "the exporter hears of the same"
        assert {call["receiver"] for call in pair.slack.calls} == {"retrain"}

        pair.running[pair.first()].kill()
        repair(tmp_path / "log", now)
        wait_equal("alerts after the repair", 120, lambda: firing(api), set())
        wait_for("the end by mail", 40, lambda: "RESOLVED" in pair.subjects()[-1])
        wait_for("the end in Slack", 20, lambda: "RESOLVED" in pair.titles()[-1])
        assert len([one for one in pair.subjects() if "RESOLVED" in one]) == 1
