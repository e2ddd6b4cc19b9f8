"""Two exporters on one PostgreSQL, two Alertmanagers: an incident is one mail, one Slack message and one retraining."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.incident import EXPECTED, firing, outage
from tests.e2e.stack import exporter, get_json, prometheus, wait_equal, wait_for
from tests.e2e.test_cluster import pair_of
from tests.integration.ci_server import CiServer
from tests.integration.serving import only, samples
from tests.postgres import Server

RETRAIN = """\
    retrain:
      mode: automatic
      when: {{alerts: [ModelFeatureDriftHigh]}}
      action: {{http: {{url: "{url}"}}}}
"""


def leads(port: int) -> bool:
    """Say whether the exporter at a port computes."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return only(samples(answer.read().decode()), "model_exporter_leader") == 1
    except OSError:
        return False


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["before it is told", "just after it was told"])
def test_one_of_each_kind_dies_and_all_is_told_once(
    tmp_path: Path,
    need_tool: Callable[[str], str],
    free_ports: Callable[[], int],
    postgresql: Server,
    moment: str,
) -> None:
    """The exporter that computes and the Alertmanager that sends are killed together; nothing is lost or doubled."""
    need_tool("prometheus")
    need_tool("prometheus-alertmanager")
    config, _ = outage(tmp_path)
    prom, *own = (free_ports() for _ in range(3))
    api = f"http://127.0.0.1:{prom}/api/v1"
    with ExitStack() as stack:
        ci = stack.enter_context(CiServer())
        text = config.read_text().replace("    label_coverage:", RETRAIN.format(url=ci.url) + "    label_coverage:")
        own_store = "sqlite:///model-exporter.db"
        assert text.count(own_store) == 1
        config.write_text(text.replace(own_store, f"'{postgresql.fresh()}'\n  lease: 3s"))
        hooks = tuple(f"http://127.0.0.1:{port}/api/v1/alerts" for port in own)
        pair = stack.enter_context(pair_of(tmp_path, free_ports, "8s", hooks))
        exporters: dict[int, subprocess.Popen[bytes]] = {
            port: stack.enter_context(exporter(config, port, tmp_path)) for port in own
        }
        stack.enter_context(prometheus(tmp_path, prom, tuple(own), *pair.ports))

        def kill() -> None:
            exporters[next(port for port in own if leads(port))].send_signal(signal.SIGKILL)
            pair.running[pair.first()].send_signal(signal.SIGKILL)

        wait_for("Prometheus", 20, lambda: get_json(f"{api}/alerts"))
        wait_for("an exporter that computes", 60, lambda: any(map(leads, own)))
        if moment == "before it is told":
            wait_for("the first alert", 180, lambda: firing(api))
            kill()
        wait_equal("alerts", 180, lambda: firing(api) & EXPECTED, EXPECTED)
        wait_for("an e-mail", 60, pair.subjects)
        wait_for("a Slack message", 20, pair.titles)
        wait_for("the retraining", 60, lambda: ci.calls)
        if moment == "just after it was told":
            time.sleep(1)  # gossip takes fractions of a second
            kill()
        time.sleep(25)  # the standby takes over, and three group intervals pass
        assert [one for one in own if leads(one)] == [port for port in own if exporters[port].poll() is None]
        wait_equal("alerts of the other exporter", 60, lambda: firing(api) & EXPECTED, EXPECTED)
        about_models = [one for one in pair.subjects() if "flights-delay" in one]
        assert len(about_models) == 1, pair.subjects()
        assert len([one for one in pair.titles() if "flights-delay" in one]) == 1, pair.titles()
        assert len({call.key for call in ci.calls}) == len(ci.calls) == 1
        assert not [one for one in pair.subjects() if "CRITICAL" in one], pair.subjects()
