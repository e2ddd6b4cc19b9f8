"""A real HTTP server that stands in for CI: answers as it is told to, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

HANG, DROP = "hang", "drop"


class Call(NamedTuple):
    """A request; header names in lower case."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


class CiServer:
    """Answers with `script`, step by step, its last for ever: a status, (status, headers), seconds, HANG or DROP."""

    def __init__(self, *script: Any):
        self.script = list(script) or [202]
        self.calls: list[Call] = []
        self.closed = threading.Event()
        lock = threading.Lock()
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): text for name, text in self.headers.items()}
                with lock:
                    step = own.script[min(len(own.calls), len(own.script) - 1)]
                    own.calls.append(Call(time.time(), self.path, headers, body))
                if step == HANG:
                    own.closed.wait(60)
                    return
                if step == DROP:
                    self.connection.close()
                    return
                if isinstance(step, float):
                    own.closed.wait(step)
                    step = 202
                status, more = step if isinstance(step, tuple) else (step, {})
                self.send_response(status)
                for name, text in more.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a caller that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/retrain"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> CiServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
