"""A PostgreSQL server of a test's own: a fresh cluster in a folder, on a free port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLACES = "/usr/lib/postgresql"


def _program(name: str) -> str:
    own = sorted(Path(_PLACES).glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(own[-1]) if own else None)
    if found is not None:
        return found
    message = f"{name} is not installed: PostgreSQL is needed, or set ALLOW_SKIPS=1"
    if os.environ.get("ALLOW_SKIPS") == "1":
        pytest.skip(message)
    pytest.fail(message)


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """Start a server; give the address of its database. It will not run as root: then it runs as user postgres."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    data, control = folder / "data", _program("pg_ctl")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def do(*command: str | Path) -> None:
        subprocess.run([*user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

    do(_program("initdb"), "-D", data, "-U", "exporter", "-A", "trust", "-E", "UTF8", "--no-sync")
    do(control, "-D", data, "-o", options, "-w", "-l", folder / "log", "start")
    try:
        yield f"postgresql+psycopg://exporter@127.0.0.1:{port}/postgres"
    finally:
        do(control, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
