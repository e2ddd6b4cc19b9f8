"""How long does each panel take at 100 models x 100 features? Asked of a real Prometheus.

The series of the catalogue are made for every model and written into Prometheus' own blocks (promtool); then each
query of each dashboard is sent as Grafana sends it, over the time range that the dashboard opens with. The first model
has all of them in one window, the others those that a dashboard of many models asks for. Those of single features have
no history there, as such a dashboard asks for one moment alone (a contract test keeps it so).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from bench.run import RESULTS, machine, table
from exporter.catalogue import FAMILIES, Family
from exporter.catalogue.family import TASKS
from grafana.build import dashboards

HOUR, STEP, SPAN = 3600, 280, 24  # seconds, seconds, hours
WIDTH, SCRAPE = 1366, 15
METHODS = {
    "model_multivariate": ("domain_classifier", "pca_reconstruction"),
    "model_sequential": ("page_hinkley", "ewma"),
    "model_performance": ("cbpe",),
    "model_": ("ks", "wasserstein", "psi", "jensen_shannon"),
}
STATES = {
    "model_segment": ("insufficient", "ok", "appeared", "vanished"),
    "model_version": ("better", "worse", "undecided"),
    "model_": ("ok", "insufficient", "immature", "failed", "stale"),
}
LABELS: dict[str, tuple[str, ...]] = {
    "model_version": ("1",),
    "window": ("24h",),
    "segment": ("all",),
    "metric": ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"),
    "severity": ("warning", "critical"),
    "output": ("prediction", "score"),
    "task": tuple(TASKS),
    "dataset": ("reference", "current", "labelled"),
    "baseline": ("previous", "week_ago"),
    "q": ("0.05", "0.5", "0.95"),
    "quantile": ("0.5", "0.95", "0.99"),
    "class": ("0", "1"),
    "actual": ("0", "1"),
    "predicted": ("0", "1"),
    "kpi": tuple(f"kpi_{number}" for number in range(5)),
    "unit": ("usd",),
    "signal": ("error", "score", "feature:f000"),
    "source": ("reference", "predictions", "labels"),
    "reason": ("source", "data", "compute"),
    "bin": tuple(f"bin {number:02}" for number in range(20)),
    "by": ("drift",),
    "hash": ("abc",),
    "framework": ("scikit-learn",),
    "champion": ("1",),
    "challenger": ("2",),
    "outcome": ("triggered", "cooldown", "failed"),
    "version": ("1.0",),
    "revision": ("abc",),
    "python_version": ("3.11",),
}
SEGMENTS = ("all", "origin=EWR", "origin=JFK")
OWN = ("up", "scrape_duration_seconds", "process_start_time_seconds", "process_resident_memory_bytes")
OWN += ("process_open_fds", "process_max_fds", "process_cpu_seconds_total")
CHOSEN = {
    "job": ".+",
    "instance": ".+",
    "version": "1",
    "window": "24h",
    "segment": "all",
    "feature": "f000",
    "metric": "roc_auc",
    "kpi": "kpi_0",
    "method": "ks",
    "rows_method": "domain_classifier",
}
SEVERAL = {"model-fleet", "model-exporter"}


class Server(NamedTuple):
    """A Prometheus: where it answers, and its process."""

    url: str
    process: int


class Took(NamedTuple):
    """What one panel or annotation took: the sum of its queries, each the median of three."""

    seconds: float
    series: int
    board: str
    what: str


def _values(label: str, family: Family, features: int) -> tuple[str, ...]:
    if family.name.startswith("model_performance_score_m") and label == "metric":
        return ("f1", "roc_auc") if family.name.endswith("min") else ("log_loss",)
    if label == "severity" and "drift_threshold" in family.name:
        return ("warning",)  # as learned
    if label == "dataset" and "feature" in family.labels:
        return ("reference", "current")
    own = {"method": METHODS, "state": STATES}.get(label)
    if own is not None:
        return next(values for prefix, values in own.items() if family.name.startswith(prefix))
    if label == "feature":
        return tuple(f"f{number:03}" for number in range(features))
    return LABELS.get(label, ("other",))


def _series(family: Family, model: str, features: int, whole: bool) -> Iterator[str]:
    """The label sets of one model's series of a family, written out."""
    choices = [_values(label, family, features) for label in family.labels if label != "model"]
    names = [label for label in family.labels if label != "model"]
    if whole and "segment" in names:
        choices[names.index("segment")] = SEGMENTS
    of_model = [f'model="{model}"'] if "model" in family.labels else []
    for values in itertools.product(*choices):
        pairs = [f'{name}="{value}"' for name, value in zip(names, values, strict=True)]
        yield ",".join([*of_model, *pairs, 'job="model-exporter"', 'instance="i"'])


def _value(name: str, now: int, dice: random.Random) -> float:
    if "timestamp" in name:
        return now - 60.0
    if name.endswith(("_info", "_interval_seconds", "_success", "up")):
        return 1.0
    if name.endswith(("_detected", "_state", "_degraded")):
        return float(dice.random() < 0.1)
    return round(dice.random() * (0.8 if name.endswith("score") else 1), 3) + 0.3 * ("threshold" in name)


def _write(out: TextIO, models: int, features: int, now: int) -> int:
    """Write all series as OpenMetrics; return their number."""
    dice, count = random.Random(0), 0
    every = range(now - SPAN * HOUR, now + 1, STEP)
    last = range(now - 2 * STEP, now + 1, STEP)
    asked = {name for uid in SEVERAL for name in re.findall(r"\bmodel_\w+", json.dumps(dashboards()[f"{uid}.json"]))}
    for family in FAMILIES.values():
        kinds = {"histogram": ("_bucket", "_sum", "_count")}.get(family.kind, ("",))
        counts = family.kind in ("counter", "histogram")
        single = "feature" in family.labels
        for number in range(models if "model" in family.labels and family.name in asked else 1):
            history = every if number == 0 or not single else last
            for labels, end in itertools.product(_series(family, f"m{number:03}", features, number == 0), kinds):
                count += 1
                text = (
                    f"{family.name}{end}{{{labels}}}"
                    if end != "_bucket"
                    else f'{family.name}_bucket{{{labels},le="1"}}'
                )
                start = _value(family.name, now, dice)
                for at in history:
                    out.write(f"{text} {start + (at - now) // STEP + 1000 if counts else start} {at}\n")
    for name in OWN:
        out.writelines(f'{name}{{job="model-exporter",instance="i"}} {1 + (at - now) / 10} {at}\n' for at in every)
    for number, name in itertools.product(range(models), ("ModelFeatureDriftHigh", "ModelPerformanceLow")):
        labels = f'alertname="{name}",severity="warning",model="m{number:03}",model_version="1",job="model-exporter"'
        for at in every:
            out.write(
                f'ALERTS{{{labels},alertstate="firing"}} 1 {at}\nALERTS_FOR_STATE{{{labels}}} {now - HOUR} {at}\n'
            )
    out.write("# EOF\n")
    return count


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[Server]:
    """Run Prometheus on the blocks in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "prometheus.yml").write_text("{}")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += ["--storage.tsdb.retention.time=10y", "--query.timeout=10m", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).close()
                    break
                time.sleep(0.2)
            yield Server(f"http://127.0.0.1:{port}/api/v1", running.pid)
        finally:
            running.terminate()
            running.wait(30)


def _worked(process: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ask(server: Server, **query: str) -> tuple[float, int]:
    """Send a query three times; return the median of Prometheus' processor seconds, and the number of series."""
    path = "query_range" if "step" in query else "query"
    took = []
    for _ in range(3):
        before = _worked(server.process)
        data = urllib.parse.urlencode(query).encode()
        with urllib.request.urlopen(f"{server.url}/{path}", data, timeout=300) as answer:
            body = json.load(answer)
        took.append(_worked(server.process) - before)
    return statistics.median(took), len(body["data"]["result"])


def _filled(expr: str, board: str, step: int) -> str:
    """Put values where Grafana would."""
    for name, value in (
        ("__rate_interval", max(4 * SCRAPE, step + SCRAPE)),
        ("__range", SPAN * HOUR),
        ("__interval", step),
    ):
        expr = expr.replace(f"${name}", f"{value}s")
    chosen = CHOSEN | {"model": ".+" if board in SEVERAL else "m000"}
    if board in SEVERAL:
        chosen["version"] = ".+"
    return re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: chosen.get(found[1], found[0]), expr)


def _measure(server: Server, now: int) -> Iterator[Took]:
    for board in dashboards().values():
        uid = board["uid"]
        for panel in (each for top in board["panels"] for each in (top, *top.get("panels", []))):
            if panel["type"] == "row":
                continue
            points = panel.get("maxDataPoints") or panel["gridPos"]["w"] * WIDTH // 24
            step = max(SCRAPE, SPAN * HOUR // points)
            yield _panel(server, uid, panel["title"], panel["targets"], step, now)
        for mark in board["annotations"]["list"]:
            target = {"expr": mark["expr"], "range": True}
            yield _panel(server, uid, f"annotation {mark['name']}", [target], 60, now)


def _panel(server: Server, uid: str, title: str, targets: list[dict[str, Any]], step: int, now: int) -> Took:
    found = []
    for target in targets:
        ends = {"start": str(now - SPAN * HOUR), "end": str(now), "step": str(step)} if target.get("range") else {}
        at = ends or {"time": str(now)}
        found.append(_ask(server, query=_filled(target["expr"], uid, step), **at))
    return Took(sum(seconds for seconds, _ in found), sum(series for _, series in found), uid, title)


def _make(folder: Path, models: int, features: int) -> None:
    """Write the blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    now = int(time.time()) // HOUR * HOUR
    with (folder / "series.om").open("w", encoding="utf-8") as out:
        count = _write(out, models, features, now)
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=48h"]
    subprocess.run([*blocks, str(folder / "series.om"), str(folder / "data")], check=True)
    (folder / "series.om").unlink()
    (folder / "made.json").write_text(json.dumps({"now": now, "series": count}))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="3 models x 10 features, and no report is written")
    parser.add_argument("--data", type=Path, help="keep the blocks in this folder, and use those that are there")
    options = parser.parse_args()
    models, features = (3, 10) if options.quick else (options.models, options.features)
    if missing := [name for name in ("prometheus", "promtool") if shutil.which(name) is None]:
        print(f"not on PATH: {', '.join(missing)}", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        name = options.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-dashboards-"))
        folder = Path(name)
        if not (folder / "made.json").exists():
            _make(folder, models, features)
        made = json.loads((folder / "made.json").read_text())
        found = sorted(_measure(stack.enter_context(_prometheus(folder)), made["now"]), reverse=True)
    silent = sum(one.series == 0 for one in found)
    text = f"# Time that panels take\n\n{(__doc__ or '').strip()}\n\n{machine('dashboards', {})}\n"
    text += f"{models} models x {features} features, {made['series']:,} series; {len(found)} panels and annotations of "
    text += (
        f"{len(dashboards())} dashboards, {silent} without an answer. Seconds: of Prometheus' processor, summed over a "
    )
    text += "panel's queries, each the median of three; on an idle machine one waits less. The slowest:\n\n"
    slowest = [[f"{one.seconds:.2f}", str(one.series), one.board, one.what] for one in found[:15]]
    text += table(["seconds", "series", "dashboard", "panel"], slowest)
    text = text.replace(f" --data {options.data}", "")  # where the blocks are is nobody else's
    print(text)
    if not options.quick:
        (RESULTS / "dashboards.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
