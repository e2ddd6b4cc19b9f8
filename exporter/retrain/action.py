"""One attempt of a run: a signed call over HTTP, or a command without a shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exporter.retrain.event import body, environment
from exporter.retrain.secrets import SecretError, read_secret, secret_of
from exporter.retrain.settings import Action, Http, header_lines
from exporter.retrain.signature import HEADER, sign

AGAIN = frozenset({408, 409, 425, 429})  # and 5xx: later it may be well
FIRST_WAIT, LONGEST_WAIT, LONGEST_RETRY_AFTER = 1.0, 300.0, 3600.0
MARGIN = 20.0  # seconds that an attempt's lease is longer than the attempt may take
HOLD = 60.0  # seconds of a command's lease, which is renewed
_OUTPUT = 2000
_GRACE = 5.0


class Result(NamedTuple):
    """What came of an attempt. kind: accepted, again or refused. retry_after: seconds that the receiver asks for."""

    kind: str
    message: str
    retry_after: float | None = None


def backoff(attempt: int, random: float, retry_after: float | None = None) -> float:
    """Return the seconds to wait after an attempt (1, 2, ...): twice as long each time, with jitter.

    random: 0 to 1. What the receiver asks for holds where it is longer, up to an hour.
    """
    wait = min(FIRST_WAIT * 2.0 ** min(attempt - 1, 20), LONGEST_WAIT) * (0.5 + 0.5 * random)
    return max(wait, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def call(http: Http, folder: Path, event: Mapping[str, Any], clock: Callable[[], float] = time.time) -> Result:
    """Send the event once, signed, with the run's id as the key by which a repeat is known."""
    import urllib3  # not before there is something to send

    try:
        url = read_secret(folder, http.url_file).strip() if http.url_file is not None else str(http.url)
        headers = header_lines(read_secret(folder, http.headers_file)) if http.headers_file else dict(http.headers)
        secret = secret_of(Action(http=http), folder)
    except (SecretError, ValueError) as error:
        return Result("again", str(error))
    sent = body(event, http.body)
    own = {"Content-Type": "application/json", "User-Agent": "model-exporter", "Idempotency-Key": str(event["id"])}
    if secret is not None:
        own[HEADER] = sign(secret, sent, clock())
    ca = None if http.ca_file is None else str(folder / http.ca_file)
    try:
        with urllib3.PoolManager(ca_certs=ca, cert_reqs="CERT_REQUIRED") as pool:
            answer = pool.request(
                "POST",
                url,
                body=sent,
                headers=own | headers,
                timeout=urllib3.Timeout(total=http.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            status, wait = answer.status, answer.headers.get("Retry-After")
            answer.close()  # what it says beyond its status is not waited for
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return Result("again", f"no answer: {_sentence(error)}")
    return judged(http, status, wait)


def judged(http: Http, status: int, wait: str | None) -> Result:
    """Say what a status means; 3xx is refused, as a signed body goes to no other address than the configured one."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    message = f"answered {status}"
    if 200 <= status < 300 or status in http.accept:
        return Result("accepted", message)
    if status in AGAIN or status >= 500:
        seconds = None
        with contextlib.suppress(InvalidHeader, ValueError, OverflowError):
            seconds = Retry().parse_retry_after(wait) if wait else None
        return Result("again", message, seconds)
    return Result("refused", message)


def _sentence(error: Exception) -> str:
    """Name a failure without the address, which may be a secret."""
    known = {
        "ConnectTimeoutError": "no connection within the timeout",
        "ReadTimeoutError": "nothing came within the timeout",
        "NewConnectionError": "no connection",
        "NameResolutionError": "the name of the host is not known",
        "SSLError": "the certificate or TLS is not accepted",
        "ProtocolError": "the connection broke",
    }
    return known.get(type(error).__name__, type(error).__name__)


def run(
    command: tuple[str, ...],
    folder: Path,
    event: Mapping[str, Any],
    seconds: float,
    stop: threading.Event,
    hold: Callable[[], bool],
) -> Result:
    """Run a command in a process group of its own: the event on standard input, at most so many seconds.

    hold: called every third of HOLD; once it says False somebody else has the run, and the command is ended.
    """
    with tempfile.TemporaryFile() as sent, tempfile.TemporaryFile() as output:
        sent.write(body(event, None))
        sent.seek(0)
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | environment(event),
                stdin=sent,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Result("refused", f"{command[0]} cannot be started: {getattr(error, 'strerror', None) or error}")
        why = _wait(process, time.monotonic() + seconds, stop, hold)
        if why is not None:
            return why
        return Result("accepted" if process.returncode == 0 else "refused", _said(process.returncode, output))


def _wait(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event, hold: Callable[[], bool]
) -> Result | None:
    renewed = time.monotonic()
    while process.poll() is None:
        if time.monotonic() >= deadline:
            _end(process)
            return Result("refused", "the command took too long and was ended")
        if stop.is_set():
            _end(process)
            return Result("again", "the exporter stopped: the command was ended, and is run again")
        if time.monotonic() - renewed >= HOLD / 3:
            renewed = time.monotonic()
            if not hold():
                _end(process)
                return Result("again", "another exporter has taken the run over: the command was ended")
        stop.wait(0.05)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then not."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _said(code: int, output: Any) -> str:
    """Return how a command ended, and the end of what it wrote."""
    ended = f"ended with exit code {code}" if code >= 0 else f"ended by signal {-code}"
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _OUTPUT, 0))
    text = output.read().decode(errors="replace").strip()
    return f"{ended}: {text}" if text else ended
