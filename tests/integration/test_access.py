"""TLS, passwords and certificates on the running service, as Prometheus, a stranger and a port scanner meet it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.integration.serving import Serving, only, samples, until
from tests.integration.small import model, write_all, write_config
from tests.unit.test_web_config import HASHES, TLS, certificates

USERS = f"basic_auth_users: {{ann: {HASHES['ann']}}}\n"


def basic(name: str, word: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()}


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.pem")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_all(tmp_path, "credit", time.time())
    certificates(tmp_path)
    return write_config(tmp_path, model("credit"))


@pytest.fixture
def serve(config: Path, free_ports: Callable[[], int]) -> Iterator[Callable[..., Serving]]:
    """Start it with a web configuration, and ask with these headers."""
    with contextlib.ExitStack() as stack:

        def start(text: str, *flags: str, wait: bool = True, **headers: str) -> Serving:
            (config.parent / "web.yml").write_text(text)
            web = (f"--web.config.file={config.parent / 'web.yml'}",) if text else ()
            serving = stack.enter_context(Serving(config, free_ports(), *web, *flags))
            serving.headers = headers
            if "tls_server_config" in text:
                serving.tls = trusting(config.parent)
            return serving.healthy() if wait else serving

        yield start


def test_https_with_a_password(serve: Callable[..., Serving], config: Path) -> None:
    """Each page asks for it, health too, as with other exporters; the answer to a stranger says nothing more."""
    serving = serve(TLS % "" + USERS, "--web.enable-lifecycle", **basic("ann", "ann-word")).ready()
    assert only(serving.metrics(), "model_exporter_leader") == 1
    for path in ("/metrics", "/-/healthy", "/-/ready", "/", "/api/v1/status", "/nowhere"):
        for headers in (
            basic("ann", "wrong"),
            basic("zoe", "ann-word"),
            {"Authorization": "Bearer x"},
            {"Authorization": ""},
        ):
            answer = serving.get(path, **headers)
            assert (answer.code, answer.json["errorType"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Basic ")
    assert serving.get("/-/reload", "POST").code == 200
    assert serving.get("/-/reload", "POST", **basic("ann", "no")).code == 401
    assert serving.get("/metrics", "HEAD").body == b""
    assert f"listening on https://127.0.0.1:{serving.port}" in serving.log
    assert serving.stop() == 0
    assert "Traceback" not in serving.log
    assert HASHES["ann"] not in serving.log
    assert "ann-word" not in serving.log


def test_prometheus_scrapes_it(
    serve: Callable[..., Serving], tmp_path: Path, need_tool: Callable[[str], str], free_port: int
) -> None:
    """A real one, with a certificate of its own and a password."""
    extra = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: client-ca.pem"
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    own = authority.issue_cert("prometheus.example")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    serving = serve(TLS % extra + USERS, wait=False, **basic("ann", "ann-word"))
    serving.tls = trusting(tmp_path)
    serving.tls.load_cert_chain(tmp_path / "client.pem")
    serving.ready()
    (tmp_path / "word").write_text("ann-word")
    (tmp_path / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "model-exporter",
                        "scheme": "https",
                        "tls_config": {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.pem"},
                        "basic_auth": {"username": "ann", "password_file": "word"},
                        "static_configs": [{"targets": [f"127.0.0.1:{serving.port}"]}],
                    }
                ],
            }
        )
    )
    command = [need_tool("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{free_port}"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    try:

        def scraped() -> bool:
            url = f"http://127.0.0.1:{free_port}/api/v1/query?query=model_info"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return bool(json.load(answer)["data"]["result"])
            except OSError:
                return False

        until(scraped)
    finally:
        running.terminate()
        running.wait(15)
    stranger = trusting(tmp_path)
    for how in (stranger, None):
        serving.tls = how
        with pytest.raises(OSError):
            serving.get("/metrics")


def test_who_connects_and_says_nothing_holds_up_nobody(serve: Callable[..., Serving], config: Path) -> None:
    """Scanners, dead clients, and those that stop in the middle of the handshake."""
    serving = serve(TLS % "").ready()
    with contextlib.ExitStack() as stack:
        for number in range(60):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", serving.port)))
            one.sendall(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
        times = []
        for _ in range(5):
            started = time.monotonic()
            assert serving.get("/metrics").code == 200
            times.append(time.monotonic() - started)
    assert min(times) < 1.0
    assert max(times) < 5.0


def test_versions(serve: Callable[..., Serving]) -> None:
    serving = serve(TLS % ", min_version: TLS13")
    assert serving.tls is not None
    serving.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        serving.get("/-/healthy")


def test_a_renewed_certificate_needs_no_restart(serve: Callable[..., Serving], config: Path) -> None:
    """A new authority: who trusts the old one alone gets no more; a bad file changes nothing but what is said."""
    serving = serve(TLS % "").ready()
    certificates(config.parent)
    with pytest.raises(ssl.SSLError):
        serving.get("/-/healthy")
    serving.tls = trusting(config.parent)
    assert serving.get("/-/healthy").code == 200
    (config.parent / "own.pem").write_text("no certificate")
    assert serving.get("/-/healthy").code == 200
    until(lambda: only(serving.metrics(), "model_exporter_config_last_reload_successful") == 0)
    status = serving.get("/api/v1/status").json["data"]["config"]
    assert "own.pem and own.key cannot be used" in status["last_reload_error"]
    certificates(config.parent)
    serving.tls = trusting(config.parent)
    until(lambda: only(serving.metrics(), "model_exporter_config_last_reload_successful") == 1)


def test_a_large_page_and_many_at_once(serve: Callable[..., Serving]) -> None:
    """The same bytes as without TLS, to each of many that ask at the same time."""
    serving = serve(TLS % "").ready()
    answers: list[bytes] = []

    def ask() -> None:
        page = serving.get("/metrics").body
        answers.append(page)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == 20
    assert all(page.startswith(b"# HELP") and len(page) > 20_000 for page in answers)
    assert {len(samples(page.decode())) > 300 for page in answers} == {True}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_strangers_on_the_network_change_nothing(serve: Callable[..., Serving], free_ports, method: str) -> None:
    """Neither what there is nor what there may be; reading is as ever."""
    serving = serve("", "--web.enable-lifecycle", wait=False)
    serving.stop()
    port = free_ports()
    open_to_all = serve("", "--web.enable-lifecycle", f"--web.listen-address=0.0.0.0:{port}", wait=False)
    open_to_all.port = port
    open_to_all.healthy()
    for path in ("/-/reload", "/api/v1/anything", "/"):
        answer = open_to_all.get(path, method)
        assert (answer.code, answer.json["errorType"]) == (403, "forbidden")
        assert "without authentication" in answer.json["error"]
    assert open_to_all.get("/metrics").code == 200
    assert "what changes something (POST, PUT, DELETE) is refused" in open_to_all.log


def test_with_a_password_changes_are_allowed(serve: Callable[..., Serving], free_ports: Callable[[], int]) -> None:
    port = free_ports()
    flags = ("--web.enable-lifecycle", f"--web.listen-address=0.0.0.0:{port}")
    serving = serve(USERS, *flags, wait=False, **basic("ann", "ann-word"))
    serving.port = port
    serving.healthy()
    assert serving.get("/-/reload", "POST").code == 200
    assert "is refused" not in serving.log
    outcome = "/api/v1/models/churn/retrain/5f0c/outcome"  # its own token takes the place of no password
    assert "X-Model-Exporter-Token" in serving.get(outcome, "POST").json["error"]
    answer = serving.get(outcome, "POST", **{"Authorization": "", "X-Model-Exporter-Token": "t"})
    assert (answer.code, "basic authentication" in answer.json["error"]) == (401, True)


def test_headers(serve: Callable[..., Serving]) -> None:
    serving = serve("http_server_config: {headers: {X-Frame-Options: deny, X-XSS-Protection: ''}}\n")
    assert serving.get("/").headers["x-frame-options"] == "deny"
    assert serving.get("/nowhere").headers["x-frame-options"] == "deny"
    assert "x-xss-protection" not in serving.get("/").headers


def test_a_bad_file_at_the_start(serve: Callable[..., Serving]) -> None:
    """Ends it, with the line."""
    serving = serve("basic_auth_users: {ann: geheim}\n", wait=False)
    assert serving.process.wait(30) == 1
    assert "web.yml:1: basic_auth_users: the password of ann is no bcrypt hash" in serving.log
    assert "geheim" not in serving.log
