"""An OpenMetrics file and rules -> blocks in a Prometheus data directory, made beside it and moved in when whole."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

from exporter.backfill import incidents
from exporter.backfill.feed import Grid
from exporter.backfill.incidents import Rule

log = logging.getLogger("exporter.backfill")
_BLOCK = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
# The importer reads the whole file once a block: few blocks are made sooner. Prometheus cuts none of them up.
_BLOCK_HOURS = 31 * 24
_START_SECONDS = 60.0


def load(history: Path, rules: Iterable[Rule], grid: Grid, target: Path) -> int:
    """Put history and what rules say of it into a data directory; return the number of blocks.

    The Prometheus of that directory may run: it takes up new blocks within a minute or so. Raises OSError where
    promtool or prometheus is missing or fails.
    """
    rules = list(rules)
    work = target / "backfill"  # in the same file system; no name of a block, so Prometheus passes it by
    shutil.rmtree(work, ignore_errors=True)
    data = work / "data"
    data.mkdir(parents=True)
    try:
        _make(history, data)
        for number, level in enumerate(incidents.levels(rules)):
            if level:
                said = work / f"rules-{number}.om"
                with _prometheus(work, data) as url:
                    series = incidents.write(said, ((rule, incidents.ask(url, rule, grid)) for rule in level), grid)
                if series:
                    _make(said, data)
        blocks = [path for path in sorted(data.iterdir()) if _BLOCK.fullmatch(path.name)]
        for block in blocks:
            block.replace(target / block.name)
        return len(blocks)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make(openmetrics: Path, data: Path) -> None:
    tool = _program("promtool")
    command = [tool, "tsdb", "create-blocks-from", f"--max-block-duration={_BLOCK_HOURS}h", "--quiet", "openmetrics"]
    ended = subprocess.run([*command, str(openmetrics), str(data)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OSError(f"promtool: {openmetrics.name}: {(ended.stderr or ended.stdout).strip()}")


@contextlib.contextmanager
def _prometheus(work: Path, data: Path) -> Iterator[str]:
    """Run a Prometheus that scrapes nothing; yield its address."""
    config = work / "prometheus.yml"
    config.write_text("global: {}\n", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        _program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (work / "prometheus.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, work / "prometheus.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, said: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
            return
        time.sleep(0.1)
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
    raise OSError(f"prometheus did not start; its last word: {lines[-1]}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise OSError(f"{name} is not on PATH: install Prometheus, or leave out --blocks")
    return found
