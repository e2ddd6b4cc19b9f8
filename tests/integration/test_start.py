"""The service starts without the libraries that only computing needs: a scrape right after the start is answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

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


def _scrape(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert process.poll() is None, "it did not start"
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no scrape was answered in a minute")
