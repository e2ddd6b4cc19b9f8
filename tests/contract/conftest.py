"""What the contract tests share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


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
