"""Who may do what: passwords, and no change from other machines without one."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict

import bcrypt
from flask import Flask, Response, request

from exporter.web.api import failure
from exporter.web.config import Kept

_KEPT = 100
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_MOST_BYTES = 72  # bcrypt reads no more, and other programs that make hashes cut off the rest, too


class Passwords:
    """Compares passwords with bcrypt hashes; remembers what it found, as comparing is slow on purpose.

    Who asks with wrong passwords learns neither from the answer nor from its time whether a name is known, and does not
    drive right ones out of the memory. No password is kept, only keyed hashes.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._lock = threading.Lock()
        self._slow = threading.Lock()

    def right(self, users: dict[str, str], name: str, password: str) -> bool:
        """Return whether a user has this password."""
        known = name in users
        hashed = users[name] if known else _nobody(users)
        parts = (name.encode(), hashed.encode(), password.encode())
        text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        key = hmac.new(self._key, text, hashlib.sha256).digest()
        if (found := self._remembered(key)) is None:
            with self._slow:  # one at a time: each takes a processor for a while
                found = self._remembered(key)
                if found is None:
                    found = _same(password, hashed) and known
                    self._remember(key, found)
        return found

    def _remembered(self, key: bytes) -> bool | None:
        with self._lock:
            for answer, kept in self._kept.items():
                if key in kept:
                    kept.move_to_end(key)
                    return answer
        return None

    def _remember(self, key: bytes, answer: bool) -> None:
        with self._lock:
            self._kept[answer][key] = None
            if len(self._kept[answer]) > _KEPT:
                self._kept[answer].popitem(last=False)


def _same(password: str, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode()[:_MOST_BYTES], hashed.encode())
    except ValueError:
        return False


def _nobody(users: dict[str, str]) -> str:
    """Return a hash that takes as long as the slowest one of the users."""
    cost = max((text.split("$")[2] for text in users.values()), default="10")
    return f"$2b${cost}${'.' * 53}"


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(app: Flask, kept: Kept, host: str) -> None:
    """Let nobody in without a password where there are some; let no stranger on the network change anything."""
    passwords = Passwords()

    @app.before_request
    def allowed() -> tuple[Response, int] | None:
        web = kept.now().web
        if web.basic_auth_users:
            own = request.authorization
            basic = own is not None and own.type == "basic"
            name, word = (own.username or "", own.password or "") if basic and own is not None else ("", "")
            if not basic or not passwords.right(web.basic_auth_users, name, word):
                answer, code = failure(401, "unauthorized", "a name and a password are needed (basic authentication)")
                answer.headers["WWW-Authenticate"] = 'Basic realm="model-exporter", charset="UTF-8"'
                return answer, code
            request.environ["REMOTE_USER"] = name  # who asked, for those who write it down
        if request.method not in _HARMLESS and not web.authenticates and not is_loopback(host):
            sentence = (
                f"{request.method} is refused: the exporter listens on {host} without authentication; give it "
                "--web.config.file with basic_auth_users or client certificates, or a loopback address"
            )
            return failure(403, "forbidden", sentence)
        return None

    @app.after_request
    def headed(answer: Response) -> Response:
        for name, text in kept.now().web.http_server_config.headers.items():
            if text:
                answer.headers[name] = text
        return answer
