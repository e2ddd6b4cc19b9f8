"""From rows to a person: a feed outage and a drifted feature become one e-mail and one Slack message, then resolve."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exporter.demo import Replay, configuration
from tests.e2e.stack import Mail, Slack, alertmanager, exporter, get_json, prometheus, wait_equal, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
WEATHER = ("humid", "precip", "temp", "visib", "wind_speed")
SHOWN = ("alertname", "window", "feature", "segment", "baseline")
EXPECTED = {("ModelFeatureMissingHigh", "24h", name, "", "") for name in WEATHER} | {
    ("ModelFeatureDriftHigh", "24h", "distance", "all", "reference"),
}
DAY = 86_400_000_000
OUTAGE = 1_388_491_200_000_000  # 2013-12-31 12:00 UTC: no weather for twelve hours
CONSTANT = """\
    drift:
      baselines: [reference, previous, week_ago]
      numeric: [ks, wasserstein]
      threshold:
        ks: {warning: 0.7}
        wasserstein: {warning: 0.9}
        psi: {warning: 3}
        jensen_shannon: {warning: 0.7}
        chi2: {warning: 0.5}
        l_infinity: {warning: 0.5}
"""


def _times(table: pa.Table) -> np.ndarray:
    return table["timestamp"].cast(pa.int64()).to_numpy()


def drift(log: Path, now: int) -> None:
    """Double the distances of the last day, up to the largest one of the reference."""
    path = log / "predictions" / "history.parquet"
    table = pq.read_table(path)
    longest = pc.max(pq.read_table(log / "reference.parquet")["distance"]).as_py()
    distance = table["distance"].to_numpy()
    changed = np.where(_times(table) >= now - DAY, np.minimum(distance * 2, longest), distance)
    place = table.column_names.index("distance")
    pq.write_table(table.set_column(place, "distance", pa.array(changed)), path)


def repair(log: Path, now: int) -> None:
    """Let many good rows arrive: those of the reference, within the last 20 hours."""
    columns = pq.read_schema(log / "predictions" / "history.parquet").names
    table = pq.read_table(log / "reference.parquet").select(columns)
    times = now - DAY * 20 // 24 + np.arange(len(table)) * (DAY * 19 // 24) // len(table)
    ids = pc.binary_join_element_wise(table["request_id"].cast(pa.string()), "repaired", "/")
    table = table.set_column(columns.index("request_id"), "request_id", ids)
    stamps = pa.array(times).cast(pa.timestamp("us", "UTC"))
    table = table.set_column(columns.index("timestamp"), "timestamp", stamps)
    pq.write_table(table, log / "predictions" / "repaired.parquet")


@pytest.mark.timeout(240)
def test_outage_and_drift_reach_people_once_and_resolve(
    tmp_path: Path, need_tool: Callable[[str], str], free_ports: Callable[[], int]
) -> None:
    for tool in ("prometheus", "prometheus-alertmanager"):
        need_tool(tool)
    now = int(time.time() * 1e6)
    Replay(EXAMPLE, tmp_path / "log", now, speed=1, anchor=OUTAGE)
    drift(tmp_path / "log", now)
    config = configuration(EXAMPLE, tmp_path, speed=1)
    text = config.read_text().replace("every: 15s", "every: 2s")
    text, blocks = re.subn(r"    drift:\n(?: {6}.*\n)+", CONSTANT, text)
    assert blocks == 1
    config.write_text(text)
    own, prom, am, smtp, hook = (free_ports() for _ in range(5))
    api = f"http://127.0.0.1:{prom}/api/v1"

    def firing() -> set[tuple[str, ...]]:
        alerts = get_json(f"{api}/alerts")["data"]["alerts"]
        return {
            tuple(a["labels"].get(name, "") for name in SHOWN)
            for a in alerts
            if a["state"] == "firing" and a["labels"]["severity"] in {"warning", "critical"}
        }

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
        wait_equal("alerts", 60, firing, EXPECTED)
        wait_for("an e-mail", 40, lambda: mail.messages)
        wait_for("a Slack message", 20, lambda: slack.messages)
        time.sleep(12)  # a second message for the same incident would come within one group_interval
        assert firing() == EXPECTED
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
            assert "docs/runbook.md#modelfeaturemissinghigh" in text
            assert "/d/model-feature?var-model=flights-delay" in text

        repair(tmp_path / "log", now)
        wait_equal("alerts after the repair", 60, firing, set())
        wait_for("an e-mail that says so", 40, lambda: "RESOLVED" in str(mail.messages[-1]["Subject"]))
        wait_for("a Slack message, too", 20, lambda: "RESOLVED" in slack.messages[-1]["attachments"][0]["title"])
        assert critical() == []
