"""From an alert to CI: two Alertmanagers that each tell two exporters on one PostgreSQL, and one call."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from exporter.store import retraining as table
from exporter.web import app, writes
from exporter.web.config import Kept
from tests.e2e.stack import process
from tests.integration.ci_server import CiServer
from tests.integration.serving import until
from tests.integration.test_retrain_desk import Exporter, model
from tests.postgres import Server

RECEIVER = """
route: {{receiver: retrain, group_by: [model], group_wait: 1s, group_interval: 1s, repeat_interval: 2s}}
receivers:
  - name: retrain
    webhook_configs:
      - {{url: "http://127.0.0.1:{0}/api/v1/alerts", send_resolved: true}}
      - {{url: "http://127.0.0.1:{1}/api/v1/alerts", send_resolved: true}}
"""


@contextmanager
def listening(one: Exporter, port: int) -> Iterator[None]:
    """Serve the endpoints that write, and work in the background, as `serve` does."""
    web = Flask("exporter.web")
    web.register_blueprint(writes.blueprint(SimpleNamespace(desk=one.desk)))  # type: ignore[arg-type]
    server = app.server(web, "127.0.0.1", port, Kept(None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    one.worker.start()
    try:
        yield
    finally:
        server.close()
        assert one.worker.stop(20)
        one.store.close()


def alertmanagers(folder: Path, ports: list[int], cluster: list[int], exporters: list[int]) -> list[Any]:
    """Two that know each other."""
    binary = shutil.which("alertmanager") or "prometheus-alertmanager"
    found = []
    for number, (port, own) in enumerate(zip(ports, cluster, strict=True)):
        home = folder / f"am{number}"
        home.mkdir()
        (home / "alertmanager.yml").write_text(RECEIVER.format(*exporters))
        flags = [
            "--config.file=alertmanager.yml",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--cluster.listen-address=127.0.0.1:{own}",
            f"--cluster.peer=127.0.0.1:{cluster[1 - number]}",
            "--cluster.settle-timeout=1s",
        ]
        found.append(process([binary, *flags], home, "alertmanager"))
    return found


def tell(ports: list[int], start: float, ends: float | None = None) -> None:
    """Send two alerts to each Alertmanager, as Prometheus does again and again."""

    def stamp(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).isoformat()

    alerts = [
        {
            "labels": {"alertname": "ModelPerformanceLow", "model": "flights", "metric": metric},
            "annotations": {"summary": "Performance is low."},
            "startsAt": stamp(start),
            **({"endsAt": stamp(ends)} if ends is not None else {}),
        }
        for metric in ("accuracy", "f1")
    ]
    for port in ports:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.timeout(300)
def test_one_incident_is_one_call(
    tmp_path: Path, free_ports: Callable[[], int], need_tool: Callable[[str], str], postgresql: Server
) -> None:
    """Two alerts, two Alertmanagers, two exporters: one run; with one of each gone, the next incident is one, too."""
    if shutil.which("alertmanager") is None:
        need_tool("prometheus-alertmanager")
    ports, cluster, own = ([free_ports(), free_ports()] for _ in range(3))
    url = postgresql.fresh()
    with CiServer() as ci, ExitStack() as stack:
        section = model(tmp_path, ci.url, when={"alerts": ["ModelPerformanceLow"], "occurrences": 2}, cooldown="0s")
        a, b = (Exporter(url, section, tmp_path, time.time) for _ in range(2))
        first = stack.enter_context(ExitStack())
        first.enter_context(listening(a, own[0]))
        stack.enter_context(listening(b, own[1]))
        one, other = alertmanagers(tmp_path, ports, cluster, own)
        gone = stack.enter_context(ExitStack())
        gone.enter_context(one)
        stack.enter_context(other)
        until(lambda: all(answers(port) for port in ports), 60)
        start = time.time() - 60
        tell(ports, start)
        until(lambda: len(ci.calls) == 1, 60)
        for _ in range(6):  # repeats
            tell(ports, start)
            time.sleep(1)
        assert len(ci.calls) == 1
        assert b.outcomes.count("triggered") == 1
        (run,) = b.runs
        assert {alert["labels"]["metric"] for alert in ci.calls[0].json["alerts"]} == {"accuracy", "f1"}
        b.desk.report("flights", run.id, "succeeded", "4")
        tell(ports, start, time.time())
        until(lambda: known_ends(b) == 2, 60)

        first.close()
        gone.close()
        tell(ports[1:], time.time())
        until(lambda: len(ci.calls) == 2, 60)
        time.sleep(3)
        assert len({call.key for call in ci.calls}) == len(ci.calls) == 2
        assert b.outcomes.count("triggered") == 2


def known_ends(one: Exporter) -> int:
    """How many alerts are resolved as far as the store knows."""
    with one.store.transaction() as tx:
        return sum(row.ends is not None for row in table.alerts(tx, "flights", ["ModelPerformanceLow"], 0))
