"""A real incident in the example's log: no weather for twelve hours, and distances that doubled; and its end."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exporter.demo import Replay, configuration
from tests.e2e.stack import get_json

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


def outage(folder: Path) -> tuple[Path, int]:
    """Write the log, in its outage now, and a configuration; return that and now, in microseconds."""
    now = int(time.time() * 1e6)
    Replay(EXAMPLE, folder / "log", now, speed=1, anchor=OUTAGE)
    drift(folder / "log", now)
    config = configuration(EXAMPLE, folder, speed=1)
    text = config.read_text().replace("every: 15s", "every: 2s")
    text = text.replace(
        "    framework:", "    label_coverage: 0\n    framework:"
    )  # the repair brings rows without labels
    text, blocks = re.subn(r"    drift:\n(?: {6}.*\n)+", CONSTANT, text)
    assert blocks == 1
    config.write_text(text)
    return config, now


def firing(api: str) -> set[tuple[str, ...]]:
    """Return the warnings and pages that fire, by what is `SHOWN` of them; `api` is that of Prometheus."""
    alerts = get_json(f"{api}/alerts")["data"]["alerts"]
    return {
        tuple(a["labels"].get(name, "") for name in SHOWN)
        for a in alerts
        if a["state"] == "firing" and a["labels"]["severity"] in {"warning", "critical"}
    }
