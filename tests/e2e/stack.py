"""The whole stack on this machine: exporter, Prometheus, Alertmanager, a mail server and a Slack stand-in."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

ROOT = Path(__file__).parents[2]


def wait_for(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    """Look again and again until there is something; fail with what was seen last."""
    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
            seen = found
        except OSError as error:
            seen = error
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s; last seen: {seen!r}")


def wait_equal(what: str, seconds: float, look: Callable[[], Any], expected: object) -> None:
    """Look again and again until it is what is expected."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != expected:
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {seen!r} is not {expected!r}"
        time.sleep(0.2)


def get_json(url: str) -> Any:
    """Fetch JSON."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


class Mail:
    """A real SMTP server that keeps what it gets."""

    def __init__(self, port: int):
        self.messages: list[EmailMessage] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=port)

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"

    def __enter__(self) -> Mail:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


class Slack:
    """An HTTP server where Slack's webhook would be, and others; keeps what is posted. `answer` is its status code."""

    def __init__(self, port: int):
        self.messages: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []  # of the webhook of retraining
        self.answer = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/slack":
                    outer.messages.append(json.loads(body))
                if self.path == "/retrain":
                    outer.calls.append(json.loads(body))
                self.send_response(outer.answer if self.path == "/slack" else 200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)

    def __enter__(self) -> Slack:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def process(command: list[str], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; end it, and fail if it had died before, but for SIGKILL of a test."""
    with (folder / f"{name}.log").open("ab") as output:
        own = {**os.environ, "PYTHONPATH": str(ROOT)}  # of this checkout, whatever is installed
        running = subprocess.Popen(command, cwd=folder, env=own, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield running
            assert running.poll() in {None, -signal.SIGKILL}, (
                f"{name} died: {(folder / f'{name}.log').read_text()[-2000:]}"
            )
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def exporter(config: Path, port: int, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run `model-exporter serve`."""
    command = [sys.executable, "-m", "exporter", "serve", f"--config.file={config}"]
    return process([*command, f"--web.listen-address=127.0.0.1:{port}"], folder, f"exporter-{port}")


def _quick(text: str) -> str:
    """Shorten what makes alerts patient; expressions, labels and annotations stay as they are."""
    text = re.sub(r"\[5m\]", "[10s]", text)
    text = re.sub(r"(\n\s+for: )\w+", r"\g<1>1s", text)
    return re.sub(r"(keep_firing_for: )\w+", r"\g<1>2s", text)


def prometheus(folder: Path, port: int, targets: int | tuple[int, ...], *alertmanagers: int) -> Any:
    """Run Prometheus with the shipped configuration and rules, scraping each second; all of a cluster are told."""
    targets = targets if isinstance(targets, tuple) else (targets,)
    home = folder / "prometheus"
    shutil.copytree(ROOT / "prometheus", home)
    config = home / "prometheus.yml"
    text = config.read_text().replace("127.0.0.1:9877", "', '".join(f"127.0.0.1:{one}" for one in targets))
    members = "', '".join(f"127.0.0.1:{one}" for one in alertmanagers)
    text = text.replace("127.0.0.1:9093", members).replace("127.0.0.1:9090", f"127.0.0.1:{port}")
    text = re.sub(r"(scrape_interval|evaluation_interval): \w+", r"\1: 1s", text)
    config.write_text(text.replace("scrape_timeout: 10s", "scrape_timeout: 1s"))
    for rules in (home / "rules").glob("*.yml"):
        rules.write_text(_quick(rules.read_text()))
    return process(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder,
        "prometheus",
    )


def alertmanager(
    folder: Path,
    port: int,
    smtp: int,
    slack: int,
    group_wait: str = "8s",
    peers: tuple[int, ...] = (),
    retrain: tuple[str, ...] = (),
) -> Any:
    """Run Alertmanager with the shipped configuration and templates; one message an incident, soon.

    peers: of a cluster the ports of all members' gossip, this one's first. retrain: where the webhooks of retraining
    go; left out, to the path /retrain of the server that is Slack's.
    """
    home = folder / f"alertmanager-{port}"
    shutil.copytree(ROOT / "alertmanager", home)
    config = home / "alertmanager.yml"
    text = config.read_text().replace("127.0.0.1:1025", f"127.0.0.1:{smtp}")
    text = text.replace("127.0.0.1:9099", f"127.0.0.1:{slack}")
    hook = "      - url: 'http://127.0.0.1:9877/api/v1/alerts'\n        send_resolved: true\n"
    assert hook in text
    hooks = retrain or (f"http://127.0.0.1:{slack}/retrain",)
    text = text.replace(hook, "".join(hook.replace("http://127.0.0.1:9877/api/v1/alerts", one) for one in hooks))
    text = re.sub(r"group_wait: \w+", f"group_wait: {group_wait}", text)
    text = re.sub(r"group_interval: \w+", f"group_interval: {group_wait}", text)
    config.write_text(text)
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "slack_api_url").write_text(f"http://127.0.0.1:{slack}/slack")
    own, *others = peers or (0,)
    cluster = [f"--cluster.peer=127.0.0.1:{other}" for other in others]
    quick = ["--cluster.peer-timeout=5s", "--cluster.gossip-interval=50ms", "--cluster.pushpull-interval=1s"]
    binary = shutil.which("alertmanager") or "prometheus-alertmanager"
    return process(
        [
            binary,
            "--config.file=alertmanager.yml",
            f"--storage.path={folder / f'alertmanager-data-{port}'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--cluster.listen-address={f'127.0.0.1:{own}' if peers else ''}",
            *(cluster + quick if peers else []),
        ],
        home,
        f"alertmanager-{port}",
    )
