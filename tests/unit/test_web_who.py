"""Who is noted for a change: the user whose password was right, else the name that was given, marked as such."""

from __future__ import annotations

from types import SimpleNamespace

import bcrypt
from flask import Flask

from exporter.web.access import guard
from exporter.web.writes import who

HASHED = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


def asked(users: dict[str, str], password: str = "right") -> tuple[int, str]:
    """Ask as alice, giving the name bob."""
    app = Flask("test")
    headers = SimpleNamespace(headers={})
    web = SimpleNamespace(basic_auth_users=users, authenticates=bool(users), http_server_config=headers)
    guard(app, SimpleNamespace(now=lambda: SimpleNamespace(web=web)), "127.0.0.1")  # type: ignore[arg-type]
    app.post("/")(lambda: who({"by": "bob"}))
    found = app.test_client().post("/", auth=("alice", password), headers={"Remote-User": "eve"})
    return found.status_code, found.text


def test_who_is_noted() -> None:
    """A name that nobody checked is never taken for one that was."""
    assert asked({"alice": HASHED}) == (200, "alice")
    assert asked({"alice": HASHED}, "wrong")[0] == 401
    assert asked({}) == (200, "bob (as given)")
