"""From rows to a person: a feed outage and a drifted feature become one e-mail and one Slack message, then resolve."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.incident import EXPECTED, WEATHER, firing, outage, repair
from tests.e2e.stack import Mail, Slack, alertmanager, exporter, get_json, prometheus, wait_equal, wait_for


@pytest.mark.timeout(480)
def test_outage_and_drift_reach_people_once_and_resolve(
    tmp_path: Path, need_tool: Callable[[str], str], free_ports: Callable[[], int]
) -> None:
    for tool in ("prometheus", "prometheus-alertmanager"):
        need_tool(tool)
    config, now = outage(tmp_path)
    own, prom, am, smtp, hook = (free_ports() for _ in range(5))
    api = f"http://127.0.0.1:{prom}/api/v1"

    def critical() -> list[object]:
        alerts = get_json(f"{api}/alerts")["data"]["alerts"]
        return [a["labels"] for a in alerts if a["labels"]["severity"] == "critical"]

    with (
        Mail(smtp) as mail,
        Slack(hook) as slack,
        exporter(config, own, tmp_path),
        alertmanager(tmp_path, am, smtp, hook),
        prometheus(tmp_path, prom, own, am),
    ):
        wait_for("Prometheus", 20, lambda: get_json(f"{api}/alerts"))
        wait_equal("alerts", 180, lambda: firing(api), EXPECTED)
        wait_for("an e-mail", 40, lambda: mail.messages)
        wait_for("a Slack message", 20, lambda: slack.messages)
        time.sleep(12)  # a second message for the same incident would come within one group_interval
        assert firing(api) == EXPECTED
        assert critical() == []
        assert len(mail.messages) == 1, [str(message["Subject"]) for message in mail.messages]
        assert len(slack.messages) == 1

        message = mail.messages[0]
        plain = message.get_body(("plain",))
        assert plain is not None
        posted = slack.messages[0]["attachments"][0]
        for text in (plain.get_content(), posted["title"] + posted["text"]):
            assert "flights-delay" in text
            for name in (*WEATHER, "distance"):
                assert name in text
            assert "threshold 5" in text  # of the missing values, in percent
            assert "wasserstein" in text
            assert "(threshold 0.900)" in text
            assert "against the reference" in text
            assert re.search(r"\. Impact [\d.e-]+ \(rank \d+ of \d+\)\. Worst segment: origin=[A-Z]{3} \(", text)
            assert re.search(
                r"Features, highest impact first: distance \(impact [\d.e-]+, \d+\.\d x threshold\)\.", text
            )
            assert re.search(r"Performance: .*roc_auc: realised 0\.\d{3} \(24h\).*, reference 0\.\d{3}", text)
            assert "http://localhost:9877/models/flights-delay" in text
            assert "docs/runbook.md#modelfeaturemissinghigh" in text
            assert "/d/model-feature?var-model=flights-delay" in text

        repair(tmp_path / "log", now)
        wait_equal("alerts after the repair", 120, lambda: firing(api), set())
        wait_for("an e-mail that says so", 40, lambda: "RESOLVED" in str(mail.messages[-1]["Subject"]))
        wait_for("a Slack message, too", 20, lambda: "RESOLVED" in slack.messages[-1]["attachments"][0]["title"])
        assert critical() == []
