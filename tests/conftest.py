"""What all tests share: programs that must be there, a free port."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None, print_blob=True)  # a busy machine is no mistake of the program
settings.load_profile("here")


@pytest.fixture(scope="session")
def need_tool() -> Callable[[str], str]:
    """Return the path of a program; without it the test fails, or is skipped where ALLOW_SKIPS=1."""

    def find(name: str) -> str:
        own = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        found = shutil.which(name, path=own)
        if found is not None:
            return found
        message = f"{name} is not installed: see tests/install-servers, or set ALLOW_SKIPS=1"
        if os.environ.get("ALLOW_SKIPS") == "1":
            pytest.skip(message)
        pytest.fail(message)

    return find


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
