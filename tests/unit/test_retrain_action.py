"""One attempt: a signed call to a real server, or a real command; what a status, an error or a silence means."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.retrain import action
from exporter.retrain.action import Result, backoff, call, judged
from exporter.retrain.event import body, callback, environment, outcome_path
from exporter.retrain.settings import Http
from exporter.retrain.signature import HEADER, TOLERANCE, sign, valid
from tests.integration.ci_server import DROP, HANG, CiServer
from tests.integration.serving import until

EVENT: dict[str, Any] = {
    "form": 1,
    "id": "5f0c",
    "model": "flights delay",
    "model_version": "3",
    "requested_at": "2026-03-01T12:00:00Z",
    "mode": "automatic",
    "approved_by": None,
    "reasons": ["3 of 3 occurrences"],
    "alerts": [],
    "callback": callback("flights delay", "5f0c", "right", "https://exporter.example/"),
}


def http(url: str, **more: Any) -> Http:
    return Http.model_validate({"url": url, "timeout": "2s", **more})


# --- the signature ----------------------------------------------------------------------------------------------------


def test_signature_is_hmac_over_time_and_body() -> None:
    """As a receiver would check it in a few lines of its own."""
    header = sign(b"secret", b'{"a": 1}', 1_700_000_000.9)
    right = hmac.new(b"secret", b'1700000000.{"a": 1}', hashlib.sha256).hexdigest()
    assert header == f"t=1700000000,v1={right}"


@given(st.binary(), st.binary(min_size=1), st.integers(0, 2**32), st.floats(-2 * TOLERANCE, 2 * TOLERANCE))
def test_signature_holds_for_this_body_secret_and_time(sent: bytes, secret: bytes, now: int, late: float) -> None:
    """And for nothing else."""
    header = sign(secret, sent, now)
    assert valid(secret, sent, header, now + late) == (abs(late) <= TOLERANCE)
    assert not valid(secret + b"x", sent, header, now)
    assert not valid(secret, sent + b"x", header, now)
    assert not valid(secret, sent, header.replace("t=", "t=1"), now)


@given(st.text())
def test_a_header_that_is_none_is_not_valid(header: str) -> None:
    """And breaks nothing."""
    assert not valid(b"secret", b"", header, 1_700_000_000)
    assert not valid(b"secret", b"", f"t=1700000000,v1={header}", 1_700_000_000)


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_body_is_the_event_or_what_the_receiver_wants() -> None:
    """Words are filled in, the whole event where a value is $event; a dollar that is no word stays."""
    assert json.loads(body(EVENT, None)) == EVENT
    template = {
        "event_type": "retrain",
        "n": 5,
        "client_payload": {"event": "$event", "run": ["$id", "${model}!", "$x $$"]},
    }
    assert json.loads(body(EVENT, template)) == {
        "event_type": "retrain",
        "n": 5,
        "client_payload": {"event": EVENT, "run": ["5f0c", "flights delay!", "$x $"]},
    }


def test_where_the_outcome_is_reported() -> None:
    """With the exporter's address where that is known; the path is usable as it is."""
    assert outcome_path("a b/c", "1") == "/api/v1/models/a%20b%2Fc/retrain/1/outcome"
    assert EVENT["callback"]["url"] == "https://exporter.example/api/v1/models/flights%20delay/retrain/5f0c/outcome"
    assert "url" not in callback("m", "1", "t", None)
    assert environment(EVENT)["MODEL_EXPORTER_CALLBACK_TOKEN"] == "right"


def test_call_is_signed_and_says_which_run_it_is(tmp_path: Path) -> None:
    """Over the bytes that arrive; headers and secret come from their files, read anew at each call."""
    (tmp_path / "headers").write_text("# of CI\nAuthorization: Bearer one\n")
    (tmp_path / "secret").write_text("first\n")
    with CiServer(204) as ci:
        own = http(ci.url, headers_file="headers", secret_file="secret")
        assert call(own, tmp_path, EVENT) == Result("accepted", "answered 204")
        (tmp_path / "secret").write_text("second\n")
        assert call(own, tmp_path, EVENT).kind == "accepted"
    for sent, secret in zip(ci.calls, (b"first", b"second"), strict=True):
        assert valid(secret, sent.body, sent.headers[HEADER.lower()], sent.at)
        assert (sent.path, sent.key, sent.json) == ("/hooks/retrain", "5f0c", EVENT)
        assert sent.headers["authorization"] == "Bearer one"
        assert sent.headers["content-type"] == "application/json"


def test_url_may_be_a_secret(tmp_path: Path) -> None:
    """It is read from its file, and no message tells it."""
    with CiServer() as ci:
        (tmp_path / "url").write_text(ci.url + "\n")
        own = Http.model_validate({"url_file": "url", "timeout": "1s"})
        assert call(own, tmp_path, EVENT).kind == "accepted"
    gone = call(own, tmp_path, EVENT)
    assert gone == Result("again", "no answer: no connection")
    (tmp_path / "url").unlink()
    assert call(own, tmp_path, EVENT) == Result("again", "url cannot be read: No such file or directory")


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (200, "accepted", "answered 200"),
        (500, "again", "answered 500"),
        (429, "again", "answered 429"),
        (404, "refused", "answered 404"),
        ((302, {"Location": "http://127.0.0.1:1/"}), "refused", "answered 302"),
        (HANG, "again", "no answer: nothing came within the timeout"),
        (DROP, "again", "no answer: the connection broke"),
        (0.3, "accepted", "answered 202"),
    ],
)
def test_answers(script: Any, kind: str, message: str, tmp_path: Path) -> None:
    """Accepted, to be tried again, or refused for good; one attempt is one request."""
    with CiServer(script) as ci:
        found = call(http(ci.url, timeout="1s"), tmp_path, EVENT)
        assert (found.kind, found.message, len(ci.calls)) == (kind, message, 1)


def test_further_codes_may_be_well() -> None:
    """As of a receiver that answers 409 where it knows the run already."""
    own = http("http://ci.example/", accept=[409])
    assert judged(own, 409, None).kind == "accepted"
    assert judged(http("http://ci.example/"), 409, None).kind == "again"


@pytest.mark.parametrize(("wait", "seconds"), [("7", 7.0), ("soon", None), (None, None), ("", None), ("-5", 0.0)])
def test_retry_after_is_read(wait: str | None, seconds: float | None) -> None:
    """Seconds or a date; what cannot be read is nothing."""
    assert (judged(http("http://ci.example/"), 503, wait).retry_after or 0.0) == (seconds or 0.0)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert judged(http("http://ci.example/"), 503, date).retry_after == pytest.approx(100, abs=3)


@given(st.integers(1, 100), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_backoff_doubles_up_to_five_minutes(attempt: int, random: float, asked: float | None) -> None:
    """With jitter of half; what the receiver asks for holds where it is longer, up to an hour."""
    full = min(2.0 ** min(attempt - 1, 20), 300.0)
    wait = backoff(attempt, random, asked)
    assert wait >= min(asked or 0, 3600)
    assert full / 2 <= wait <= max(full, min(asked or 0, 3600))


# --- a command --------------------------------------------------------------------------------------------------------


def run(
    folder: Path,
    code: str,
    seconds: float = 20,
    stop: threading.Event | None = None,
    hold: Callable[[], bool] | None = None,
) -> Result:
    command = (sys.executable, "-c", code)
    return action.run(command, folder, EVENT, seconds, stop or threading.Event(), hold or (lambda: True))


def test_command_has_the_event_on_stdin_and_in_its_environment(tmp_path: Path) -> None:
    """And runs in the folder of the configuration, without a shell: nothing in a word is special."""
    code = (
        "import sys, os, json; e = json.load(sys.stdin); "
        "json.dump([e, os.environ['MODEL_EXPORTER_RUN_ID'], sys.argv[1]], open('out', 'w')); print('well; done')"
    )
    command = (sys.executable, "-c", code, "$(touch no) ; *")
    found = action.run(command, tmp_path, EVENT, 20, threading.Event(), lambda: True)
    assert found == Result("accepted", "ended with exit code 0: well; done")
    assert json.loads((tmp_path / "out").read_text()) == [EVENT, "5f0c", "$(touch no) ; *"]
    assert not (tmp_path / "no").exists()


def test_command_that_fails_or_is_not_there(tmp_path: Path) -> None:
    """Is not tried again: its exit code and its last words are told."""
    failed = run(tmp_path, "print('x' * 5000 + 'no data'); raise SystemExit(3)")
    assert failed.kind == "refused"
    assert failed.message.startswith("ended with exit code 3: x")
    assert failed.message.endswith("no data")
    assert len(failed.message) < 2100
    gone = action.run(("./not-there",), tmp_path, EVENT, 1, threading.Event(), lambda: True)
    assert gone == Result("refused", "./not-there cannot be started: No such file or directory")


CHILD = (
    "import subprocess, sys, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); open('child', 'w').write(str(p.pid));"
    "time.sleep(60)"
)


def alive(folder: Path) -> bool:
    pid = int((folder / "child").read_text())
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_command_that_takes_too_long_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it does not listen to SIGTERM."""
    monkeypatch.setattr(action, "_GRACE", 0.3)
    found = run(tmp_path, CHILD, seconds=1.5)
    assert found == Result("refused", "the command took too long and was ended")
    until(lambda: not alive(tmp_path))


@pytest.mark.parametrize("why", ["stop", "hold"])
def test_command_ends_with_its_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """When that stops, or when another one has the run."""
    monkeypatch.setattr(action, "_GRACE", 0.3)
    monkeypatch.setattr(action, "HOLD", 0.3)
    stop = threading.Event()

    def hold() -> bool:
        return not (why == "hold" and (tmp_path / "child").exists())

    if why == "stop":
        threading.Thread(target=lambda: (until((tmp_path / "child").exists), stop.set())).start()
    found = run(tmp_path, CHILD, stop=stop, hold=hold)
    assert found.kind == "again"
    assert ("stopped" in found.message) == (why == "stop")
    until(lambda: not alive(tmp_path))
