"""The messages that people get: two real logs through exporter, Prometheus, Alertmanager and a mail server.

flights: twelve hours into the outage of the weather feed of 31 December 2013. bikes: a model of 2011 in February 2012,
then in April 2014. The log is moved by whole days so that its moment is now; nothing else of it is changed, and
thresholds are learned from the reference. Configuration, rules, routes and templates are those that ship, but for their
patience: an alert fires after a second, a message goes out after eight.

    python -m bench.messages FOLDER     (needs the servers and chromium)

writes flights.txt, flights.html and flights.png, and those of bikes-2012 and bikes-2014.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exporter.demo import Replay, configuration
from tests.e2e.stack import ROOT, Mail, Slack, alertmanager, exporter, prometheus, wait_for

BIKES = """\
store: {url: sqlite:///model-exporter.db}
models:
  - name: bike-rides
    version: "2011"
    team: stations
    task: regression
    columns:
      id: request_id
      timestamp: timestamp
      prediction: prediction
      label: label
      label_timestamp: label_timestamp
      latency: {column: latency_ms, unit: ms}
      features: {day_of_week: categorical, hour: numeric, month: numeric, tmin: numeric, tmax: numeric,
                 precipitation_mm: numeric}
    reference: {files: log/reference.parquet}
    predictions: {files: "log/predictions/*.parquet"}
    labels: {files: "log/labels/*.parquet"}
    schedule: {every: 5s}
    windows: [7d]
    bucket: 1h
    data_delay: 3d
    drift: {min_rows: 100, sequential: [page_hinkley]}
    performance:
      min_rows: 100
      estimate: true
      metrics: [mae, rmse, r2]
      threshold: {mae: {max: {warning: 60, critical: 150}}}
"""


def moment(*parts: int) -> int:
    """Return a time in UTC as microseconds."""
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1e6)  # type: ignore[arg-type,misc]


def set_flights(folder: Path) -> Path:
    """Write the flights' log, in the outage now, with a team."""
    example = ROOT / "examples" / "flights"
    Replay(example, folder / "log", int(time.time() * 1e6), 1, moment(2013, 12, 31, 12))
    path = configuration(example, folder, 1)
    path.write_text(path.read_text().replace("    framework:", "    team: operations\n    framework:", 1))
    return path


def set_bikes(folder: Path, at: int) -> Path:
    """Write the log of rides up to `at`, in microseconds, which becomes now."""
    moved = int(time.time() * 1e6) - at
    for part, column in (("reference", ""), ("predictions", "timestamp"), ("labels", "label_timestamp")):
        table = pq.read_table(ROOT / "tests" / "data" / "bikes" / f"{part}.parquet")
        if column:
            table = table.filter(pc.less(table[column].cast(pa.int64()), at))
        for name in {"timestamp", "label_timestamp"} & set(table.column_names):
            times = pc.add(table[name].cast(pa.int64()), moved).cast(pa.timestamp("us", "UTC"))
            table = table.set_column(table.column_names.index(name), name, times)
        path = folder / "log" / (part if column else "") / f"{part}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    path = folder / "model-exporter.yml"
    path.write_text(BIKES)
    return path


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def play(name: str, act: Callable[[Path], Path], model: str, out: Path) -> None:
    """Run all servers on one act and write its mails: all as text, the first as a page, too."""
    own, prom, am, smtp, hook = (_port() for _ in range(5))
    with tempfile.TemporaryDirectory() as home, Mail(smtp) as mail, Slack(hook) as slack:
        folder = Path(home)
        with exporter(act(folder), own, folder), alertmanager(folder, am, smtp, hook):
            wait_for(
                "the first results", 500, lambda: urllib.request.urlopen(f"http://127.0.0.1:{own}/-/ready", timeout=5)
            )
            with prometheus(folder, prom, own, am):
                wait_for("a mail", 120, lambda: [one for one in mail.messages if model in str(one["Subject"])])
                time.sleep(25)  # what else is told
    texts = []
    for message in (one for one in mail.messages if model in str(one["Subject"])):
        plain, page = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None and page is not None
        texts.append(f"To: {message['To']}\nSubject: {message['Subject']}\n\n{plain.get_content().strip()}\n")
        if len(texts) == 1:
            (out / f"{name}.html").write_text(page.get_content(), encoding="utf-8")
    texts += [f"Slack: {one['attachments'][0]['title']}\n" for one in slack.messages]
    (out / f"{name}.txt").write_text(f"\n{'=' * 100}\n\n".join(texts), encoding="utf-8")
    picture(out / f"{name}.html", out / f"{name}.png")


def picture(page: Path, to: Path) -> None:
    """Draw a page."""
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=760,900", f"--screenshot={to}")
    subprocess.run(["chromium", *flags, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)


ACTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "flights": (set_flights, "flights-delay"),
    "bikes-2012": (lambda folder: set_bikes(folder, moment(2012, 2, 6, 12)), "bike-rides"),
    "bikes-2014": (lambda folder: set_bikes(folder, moment(2014, 4, 21, 12)), "bike-rides"),
}

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for chosen in sys.argv[2:] or ACTS:
        play(chosen, *ACTS[chosen], target)
