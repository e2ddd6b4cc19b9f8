"""A real `model-exporter serve` in a process of its own, and what its pages say."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]

# The exporter itself, but its runs wait for as long as the file named by HOLD is there.
HELD = """
import os, sys, time
from exporter import cli
from exporter.ingest import Ingest
run = Ingest.run
def held(self, now, *rest):
    while os.path.exists(os.environ["HOLD"]):
        time.sleep(0.01)
    run(self, now, *rest)
Ingest.run = held
sys.exit(cli.main())
"""


class Answer(NamedTuple):
    """An answer to a request; header names in lower case."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def samples(text: str, openmetrics: bool = False) -> Samples:
    """Every sample of a page by name and labels; one that comes twice is a mistake."""
    found: Samples = {}
    for family in parse_openmetrics(text) if openmetrics else parse_text(text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found, key
            found[key] = one.value
    return found


def select(found: Samples, name: str, **labels: str) -> list[float]:
    """Values of a family whose labels have these values."""
    return [value for (own, pairs), value in found.items() if own == name and labels.items() <= dict(pairs).items()]


def only(found: Samples, name: str, **labels: str) -> float:
    """The one value."""
    (value,) = select(found, name, **labels)
    return value


def states(found: Samples, model: str) -> dict[tuple[str, str], str]:
    """The state of each (window, task) of a model; exactly one of them holds."""
    out: dict[tuple[str, str], str] = {}
    for (name, pairs), value in found.items():
        labels = dict(pairs)
        if name == "model_window_state" and labels["model"] == model and value:
            key = (labels["window"], labels["task"])
            assert key not in out
            out[key] = labels["state"]
    return out


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for something to come true, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return found


class Serving:
    """The service on a port of its own; ends with the block, and says whether it ended well."""

    tls: ssl.SSLContext | None = None  # to ask with, where it serves https
    headers: Mapping[str, str] = MappingProxyType({})  # of each request

    def __init__(self, config: Path, port: int, *flags: str, hold: Path | None = None):
        self.port = port
        self.config = config
        self.output = config.parent / f"serve-{port}.log"
        program = ["-m", "exporter"] if hold is None else ["-c", HELD]
        listen = f"127.0.0.1:{port}"
        command = [sys.executable, *program, "serve", "--config.file", config, "--web.listen-address", listen, *flags]
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"HOLD": str(hold or "")}
            )

    def __enter__(self) -> Serving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.output.read_text()

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Ask for a path; `Accept_Encoding` is the header Accept-Encoding."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        if self.tls is not None:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.tls)
        try:
            own = {name.replace("_", "-"): text for name, text in {**self.headers, **headers}.items()}
            connection.request(method, path, body, headers=own)
            answer = connection.getresponse()
            found = {name.lower(): text for name, text in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def healthy(self) -> Serving:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log
            try:
                return self.get("/-/healthy").code == 200
            except OSError:
                return False

        until(answers)
        return self

    def ready(self) -> Serving:
        """Wait until every model has run."""
        self.healthy()
        until(lambda: self.get("/-/ready").code == 200)
        return self

    def metrics(self, query: str = "") -> Samples:
        """The page, read."""
        return samples(self.get(f"/metrics{query}").text)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """End it; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)
