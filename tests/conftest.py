"""What all tests share: programs that must be there, a free port."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import Server, find

settings.register_profile("here", deadline=None, print_blob=True)  # a busy machine is no mistake of the program
settings.load_profile("here")


@pytest.fixture(scope="session")
def need_tool() -> Callable[[str], str]:
    """Return the path of a program; without it the test fails, or is skipped where ALLOW_SKIPS=1."""

    def look(name: str) -> str:
        own = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        found = shutil.which(name, path=own)
        if found is not None:
            return found
        _absent(name)
        raise AssertionError

    return look


def _absent(name: str) -> None:
    message = f"{name} is not installed: see tests/install-servers, or set ALLOW_SKIPS=1"
    if os.environ.get("ALLOW_SKIPS") == "1":
        pytest.skip(message)
    pytest.fail(message)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    return _free_port()


@pytest.fixture
def free_ports() -> Callable[[], int]:
    """Return a function that finds one such port after the other."""
    return _free_port


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Return a PostgreSQL server that tests share; each store is a schema of its own in it."""
    if find("postgres") is None:
        _absent("PostgreSQL")
    server = Server(_free_port())
    yield server
    server.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that gives the URL of one empty store after the other; each test runs on both databases."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.fresh
    return lambda: f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
