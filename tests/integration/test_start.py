"""The service starts without the libraries that only computing needs: a scrape right after the start is answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
SLOW = ("pandas", "scipy", "sklearn", "urllib3")
CONFIG = """
models:
  - name: m
    task: binary
    columns: {timestamp: t, prediction: p, score: s, label: y}
    reference: {files: DIR/none.parquet}
    predictions: {files: DIR/none.csv}
    drift: {multivariate: [mean_shift], sequential: [ewma]}
    business: [{name: won, unit: usd, sum: "CASE WHEN p = 1 THEN 2.5 ELSE 0 END", where: "country IN ('NO')"}]
"""


def test_the_first_scrape_needs_no_library_that_only_computing_needs(tmp_path: Path) -> None:
    """The model has no reference yet, so nothing is computed: what is imported is what serving needs."""
    (tmp_path / "c.yaml").write_text(CONFIG.replace("DIR", str(tmp_path)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-X", "importtime", "-m", "exporter", "serve", "--config.file", str(tmp_path / "c.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "imports").open("w") as imports:
        process = subprocess.Popen(
            [*command, "--web.listen-address", address], cwd=tmp_path, env=environment, stderr=imports
        )
        try:
            page = _scrape(address, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    lines = (tmp_path / "imports").read_text().splitlines()
    imported = {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:") and "|" in line}
    assert "model_exporter_build_info" in page
    assert {"numpy", "pyarrow", "flask", "waitress"} <= imported  # so the list is one of this process
    assert not [name for name in SLOW if name in imported]


RUN = """
import sys
from exporter.cli import main
assert main(["run", "--config.file", "DIR/c.yaml", "--at", "2026-01-21T00:00:00Z", "--log.level", "error"]) == 0
print(*(name for name in ("pandas", "scipy.stats", "scipy.sparse", "sklearn", "asyncpg") if name in sys.modules))
"""


def test_a_run_on_numbers_and_text_needs_none_that_only_some_models_need(tmp_path: Path) -> None:
    """They take half a second. Learning from two weeks needs sparse arrays, from two days it does not."""
    rows = 150_000
    start = datetime(2026, 1, 18, tzinfo=UTC)
    at = [start + timedelta(days=3 * number / rows) for number in range(rows)]
    table = pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "p": pa.array(np.arange(rows) % 97 / 7),
            "x": pa.array(np.arange(rows) % 89 / 3),
            "c": pa.array([("a", "b", "c")[number % 3] for number in range(rows)]),
        }
    )
    pq.write_table(table.slice(0, rows * 2 // 3), tmp_path / "reference.parquet")
    pq.write_table(table.slice(rows * 2 // 3), tmp_path / "log.parquet")
    features = "{x: {importance: 1}, c: {importance: 1}}"
    (tmp_path / "c.yaml").write_text(
        f"models: [{{name: m, task: regression, reference: {{files: {tmp_path}/reference.parquet}}, "
        f"predictions: {{files: {tmp_path}/log.parquet}}, "
        f"columns: {{timestamp: at, prediction: p, features: {features}}}}}]"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = RUN.replace("DIR", str(tmp_path))
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    page, _, imported = found.stdout.removesuffix("\n").rpartition("\n")
    assert 'model_feature_drift_score{model="m",model_version="' in page
    assert imported == ""


def _scrape(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert process.poll() is None, "it did not start"
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no scrape was answered in a minute")
