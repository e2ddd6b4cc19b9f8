"""Retraining over HTTP, from Alertmanager's notification to the outcome, as its callers and a person see it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from exporter.retrain.signature import HEADER, sign, valid
from tests.integration.ci_server import CiServer
from tests.integration.serving import Answer, Serving, only, select, until
from tests.integration.small import HOUR, model, rows, write, write_all, write_config

NAMES = ("ModelPerformanceLow", "ModelDatasetDriftHigh")


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def notification(*fingerprints: str, name: str = "credit", status: str = "firing", **more: Any) -> dict[str, Any]:
    """What Alertmanager sends."""
    alerts = [
        {
            "status": status,
            "labels": {"alertname": NAMES[0], "model": name, "metric": one, "severity": "critical"},
            "annotations": {"summary": "<b>Performance</b> is low."},
            "startsAt": stamp(STARTED),
            "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else stamp(time.time()),
            "fingerprint": one,
        }
        for one in fingerprints
    ]
    return {"version": "4", "status": status, "receiver": "retrain", "groupKey": "{}", "alerts": alerts, **more}


STARTED = time.time() - 120


def post(serving: Serving, path: str, body: Any, **headers: str) -> Answer:
    """Send JSON, or what is bytes as it is; `Content_Type` is the header Content-Type."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=20)
    try:
        connection.request("POST", path, sent, own)
        answer = connection.getresponse()
        found = {name.lower(): text for name, text in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def retrain(url: str, mode: str = "approve", **more: Any) -> dict[str, Any]:
    return {
        "mode": mode,
        "when": {"alerts": list(NAMES), "occurrences": 2, "min_labels": 20},
        "external_url": "http://exporter.example:9877",
        "action": {"http": {"url": url, "secret_file": "secret"}},
        **more,
    }


@pytest.fixture(scope="module")
def ci() -> Iterator[CiServer]:
    with CiServer(202) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ci: CiServer) -> Iterator[Serving]:
    """One model that asks before it retrains, one that has no such section."""
    from tests.conftest import _free_port

    folder = tmp_path_factory.mktemp("retrain")
    for name in ("credit", "prices"):
        write_all(folder, name, time.time())
    (folder / "secret").write_text("of CI\n")
    own = retrain(ci.url, cooldown="0s", budget="9 per 1d")
    config = write_config(folder, model("credit", retrain=own), model("prices"))
    with Serving(config, _free_port()) as serving:
        yield serving.ready()
        assert serving.stop() == 0
        assert "Traceback" not in serving.log


def known(serving: Serving, name: str = "credit") -> dict[str, Any]:
    found: dict[str, Any] = serving.get(f"/api/v1/models/{name}/retrain").json["data"]
    return found


def test_the_whole_loop(server: Serving, ci: CiServer) -> None:
    """Notification, request, approval on the page, signed call, outcome; each step is told in JSON and in metrics."""
    sent = post(server, "/api/v1/alerts", notification("a"))
    assert (sent.code, sent.json["data"]) == (200, {"accepted": 1, "ignored": 0})
    until(lambda: [one["outcome"] for one in known(server)["decisions"]] == ["too_few_alerts"])
    for _ in range(3):
        assert post(server, "/api/v1/alerts", notification("a", "b")).code == 200
    found = until(lambda: (now := known(server))["runs"] and now)
    assert [one["outcome"] for one in found["decisions"]] == ["awaiting_approval", "too_few_alerts"]
    (run,) = found["runs"]
    assert (run["state"], len(ci.calls)) == ("awaiting_approval", 0)
    assert '"token"' not in json.dumps(found)

    address = f"/models/credit/retrain/{run['id']}"
    assert f'href="retrain/{run["id"]}"' in server.get("/models/credit/retrain").text
    page = server.get(address).text
    assert "&lt;b&gt;Performance" in page
    (confirm,) = re.findall(r'name="confirm" value="(\w+)"', page)
    form = {"by": "alice", "comment": "go", "decision": "approve", "confirm": confirm}
    kind = "application/x-www-form-urlencoded"
    foreign = post(server, address, urlencode(form).encode(), Content_Type=kind, Origin="http://evil.example")
    other = post(server, address, urlencode(form).encode(), Content_Type=kind, Sec_Fetch_Site="cross-site")
    without = post(server, address, urlencode(form | {"confirm": "x"}).encode(), Content_Type=kind)
    assert (foreign.code, other.code, without.code, len(ci.calls)) == (403, 403, 400, 0)
    origin = f"http://127.0.0.1:{server.port}"
    done = post(server, address, urlencode(form).encode(), Content_Type=kind, Origin=origin)
    assert (done.code, done.headers["location"]) == (303, "/models/credit/retrain")

    call = until(lambda: ci.calls and ci.calls[0])
    assert valid(b"of CI", call.body, call.headers[HEADER.lower()], time.time())
    assert (call.key, call.json["approved_by"]) == (run["id"], "alice (as given)")
    path = call.json["callback"]["path"]
    assert call.json["callback"]["url"] == f"http://exporter.example:9877{path}"
    until(lambda: known(server)["runs"][0]["state"] == "running")
    until(lambda: select(server.metrics("?model[]=credit"), "model_retrain_in_progress") == [1])

    outcome = json.dumps({"status": "succeeded", "version": "4", "message": "roc_auc 0.81"}).encode()
    assert post(server, path, outcome).code == 401
    wrong = sign(b"another", outcome, time.time())
    assert post(server, path, outcome, **{HEADER: wrong}).code == 401
    old = sign(b"of CI", outcome, time.time() - 3600)
    assert post(server, path, outcome, **{HEADER: old}).code == 401
    right = sign(b"of CI", outcome, time.time())
    assert post(server, path, outcome, **{HEADER: right}).json["data"] == {"news": True}
    assert post(server, path, outcome, **{HEADER: right}).json["data"] == {"news": False}

    (run,) = known(server)["runs"]
    assert (run["state"], run["version"], run["decided_by"]) == ("succeeded", "4", "alice (as given)")
    found = until(
        lambda: (m := server.metrics("?model[]=credit")) and not select(m, "model_retrain_in_progress")[0] and m
    )
    counted = {name: only(found, "model_retrain_decisions_total", outcome=name) for name in ("triggered", "succeeded")}
    assert counted == {"triggered": 1, "succeeded": 1}
    assert only(found, "model_retrain_last_trigger_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert len(ci.calls) == 1


def test_the_api_approves_and_rejects(server: Serving, ci: CiServer) -> None:
    """With JSON alone, and a name."""
    before = len(ci.calls)
    assert post(server, "/api/v1/alerts", notification("a", "b", status="resolved")).code == 200
    later = [one | {"startsAt": stamp(time.time())} for one in notification("e", "f")["alerts"]]
    assert post(server, "/api/v1/alerts", notification() | {"alerts": later}).code == 200
    run = until(lambda: (one := known(server)["runs"][0])["state"] == "awaiting_approval" and one)
    path = f"/api/v1/models/credit/retrain/{run['id']}"
    assert post(server, f"{path}/approve", {}).json["error"] == "by is missing"
    assert post(server, f"{path}/approve", b"by=eve", Content_Type="application/x-www-form-urlencoded").code == 415
    assert post(server, f"{path}/approve", {"by": "eve"}, Origin="http://evil.example").code == 403
    assert post(server, f"{path}/outcome", {"status": "succeeded"}, X_Model_Exporter_Token="guessed").code == 401
    assert post(server, f"{path}/reject", {"by": "bob", "comment": "holiday"}).code == 200
    again = post(server, f"{path}/approve", {"by": "bob"})
    assert (again.code, again.json["errorType"]) == (409, "conflict")
    assert post(server, "/api/v1/models/credit/retrain/none/approve", {"by": "bob"}).code == 404
    assert post(server, "/api/v1/models/none/retrain/none/reject", {"by": "bob"}).code == 404
    time.sleep(0.3)
    assert len(ci.calls) == before
    assert known(server)["runs"][0]["message"] == "holiday"


@pytest.mark.parametrize(
    ("body", "kind", "code", "sentence"),
    [
        (b"{", "application/json", 400, "the body is not JSON"),
        (b"{}", "text/plain", 415, "send JSON, with the header Content-Type: application/json"),
        (b"[]", "application/json", 400, "a notification of Alertmanager's webhook is expected"),
        (b'{"version": "3", "alerts": []}', "application/json", 400, "version 4 of Alertmanager's webhook is expected"),
    ],
)
def test_what_is_no_notification_is_refused(server: Serving, body: bytes, kind: str, code: int, sentence: str) -> None:
    """With one sentence; nothing of it is kept."""
    found = post(server, "/api/v1/alerts", body, Content_Type=kind)
    assert found.code == code
    assert found.json["error"].startswith(sentence)


def test_alerts_of_nobody_are_ignored(server: Serving) -> None:
    """Alertmanager is told that all is well, lest it send them for ever."""
    sent = post(server, "/api/v1/alerts", notification("x", "y", name="prices"))
    assert (sent.code, sent.json["data"]) == (200, {"accepted": 0, "ignored": 2})
    assert post(server, "/api/v1/alerts", notification("x", name="unknown")).json["data"]["ignored"] == 1


def test_a_model_without_retraining(server: Serving) -> None:
    """Has no page of it, and says which have."""
    for path in ("/models/prices/retrain", "/api/v1/models/prices/retrain", "/api/v1/models/none/retrain"):
        found = server.get(path)
        assert found.code == 404
        assert found.json["error"].endswith("is configured; of credit it is")
    assert server.get("/models/credit/retrain/none").code == 404


def test_landing_page_leads_there(server: Serving) -> None:
    """For the model that has it."""
    page = server.get("/").text
    assert 'href="models/credit/retrain">retraining: approve</a>' in page
    assert "models/prices/retrain" not in page


def test_a_notification_that_was_answered_survives_a_kill(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    """Answered with 200 and killed at once: the next start makes the call."""
    write_all(tmp_path, "credit", time.time())
    (tmp_path / "secret").write_text("of CI\n")
    with CiServer() as ci:
        own = retrain(ci.url, mode="automatic", when={"alerts": list(NAMES)})
        config = write_config(tmp_path, model("credit", retrain=own))
        with Serving(config, free_ports()) as serving:
            serving.healthy()
            assert post(serving, "/api/v1/alerts", notification("a")).code == 200
            serving.process.kill()
        with Serving(config, free_ports()) as serving:
            serving.healthy()
            until(lambda: ci.calls)
            until(lambda: [run["state"] for run in known(serving)["runs"]] == ["running"], 60)
            assert len({call.key for call in ci.calls}) == 1
            assert serving.stop() == 0


def audit(config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", "audit", "--config.file", str(config), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_adopting_a_version_is_one_change_of_the_configuration(tmp_path: Path, free_port: int) -> None:
    """New version, new reference, one reload: a new baseline; the old version's series go; all of it is in the log."""
    now = time.time()
    write_all(tmp_path, "credit", now)
    (tmp_path / "secret").write_text("of CI\n")
    section = retrain("http://127.0.0.1:1/hook/of-a-secret")
    config = write_config(tmp_path, model("credit", version="3", retrain=section))
    with Serving(config, free_port) as serving:
        serving.ready()
        before = only(serving.metrics(), "model_reference_info", model_version="3")
        assert before == 1
        fresh = rows("credit", now - 20 * 24 * HOUR, now, 1500, seed=9, shift=30)
        write(fresh, tmp_path / "credit" / "reference-4.parquet")
        section["cooldown"] = "12h"
        changed = model("credit", version="4", retrain=section)
        changed["reference"] = {"files": "credit/reference-4.parquet"}
        write_config(tmp_path, changed)
        serving.process.send_signal(1)
        until(
            lambda: {dict(key)["model_version"] for (name, key) in serving.metrics() if name == "model_info"} == {"4"}
        )
        until(lambda: select(serving.metrics(), "model_performance_score", model_version="4"))
        shown = serving.metrics()
        assert not [key for key in shown if dict(key[1]).get("model_version") == "3"]
        lines = audit(config).stdout
        entries = [json.loads(line) for line in lines.splitlines()]
    kinds = [entry["kind"] for entry in entries]
    assert kinds == ["config.loaded", "baseline.adopted"] * 2
    reload = [entry["detail"] for entry in entries if entry["kind"] == "config.loaded"][1]
    key = "models[credit]"
    assert reload["changed"][f"{key}.version"] == ["3", "4"]
    assert reload["added"] == {f"{key}.retrain.cooldown": 43200.0}
    assert "of-a-secret" not in lines
    assert audit(config, "--verify").stdout.endswith(f"the last hash is {entries[-1]['hash']}\n")


def test_a_reference_that_was_replaced_is_a_new_baseline(tmp_path: Path, free_port: int) -> None:
    """Without any change of the configuration, at the next run."""
    now = time.time()
    write_all(tmp_path, "credit", now)
    config = write_config(tmp_path, model("credit", schedule={"every": "1s"}))
    with Serving(config, free_port) as serving:
        serving.ready()
        (before,) = [dict(key)["hash"] for (name, key) in serving.metrics() if name == "model_reference_info"]
        fresh = rows("credit", now - 20 * 24 * HOUR, now, 1500, seed=9, shift=30)
        write(fresh, tmp_path / "new.parquet").rename(tmp_path / "credit" / "reference.parquet")

        def hashes() -> list[str]:
            return [dict(key)["hash"] for (name, key) in serving.metrics() if name == "model_reference_info"]

        until(lambda: len(found := hashes()) == 1 and found != [before])
