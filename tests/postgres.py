"""A PostgreSQL server of one's own in a temporary folder, on a port that stays the same when it is started again."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

_FLAGS = ("fsync=off", "full_page_writes=off", "max_connections=60", "listen_addresses=127.0.0.1")


def find(name: str) -> str | None:
    """Return the path of a program of PostgreSQL's; Debian keeps them out of the search path."""
    newest = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))[::-1]
    return shutil.which(name) or next(iter(newest), None)


class Server:
    """Runs until `close`. The superuser is `exporter`, without a password."""

    def __init__(self, port: int):
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # initdb refuses to be root
            user = pwd.getpwnam("nobody")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._data = self._folder / "data"
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self._data), "-U", "exporter", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        ended = subprocess.run(
            [str(find(name)), *arguments], cwd=self._folder, capture_output=True, text=True, check=False, **self._as
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [word for one in _FLAGS for word in ("-c", one)]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [str(find("postgres")), "-D", str(self._data), "-p", str(self.port), "-k", str(self._folder), *settings],
            cwd=self._folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            **self._as,
        )
        log.close()
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                return self.do("SELECT 1")
            assert self._process.poll() is None and time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends all sessions, SIGQUIT is as if the power failed."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(30)

    def do(self, sql: str) -> None:
        """Run a statement by itself."""
        with psycopg.connect(f"postgresql://exporter@127.0.0.1:{self.port}/postgres", autocommit=True) as own:
            own.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with psycopg.connect(f"postgresql://exporter@127.0.0.1:{self.port}/postgres", autocommit=True) as own:
            return own.execute(sql).fetchall()

    def url(self, schema: str, user: str = "exporter") -> str:
        """Return the URL of a store in a schema."""
        options = quote(f"-csearch_path={schema}")
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/postgres?options={options}"

    def fresh(self) -> str:
        """Return the URL of an empty store."""
        name = f"s{next(self._numbers)}"
        self.do(f"CREATE SCHEMA {name}")
        return self.url(name)

    def close(self) -> None:
        """End it and remove what it wrote."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)
