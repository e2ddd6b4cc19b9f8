"""The processes of a Spark session on this machine: found by their command line, and killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def executors(of: int) -> list[int]:
    """Return the processes of executors among the offspring of a process."""
    found = []
    for own in Path("/proc").glob("[0-9]*"):
        try:
            command = (own / "cmdline").read_bytes()
        except OSError:
            continue
        if b"CoarseGrainedExecutorBackend" in command and of in _ancestors(int(own.name)):
            found.append(int(own.name))
    return found


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        try:
            text = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return
        process = int(text.rpartition(")")[2].split()[1])
        yield process


def _below(process: int) -> Iterator[bytes]:
    for own in Path("/proc").glob("[0-9]*"):
        try:
            if process in _ancestors(int(own.name)):
                yield (own / "cmdline").read_bytes()
        except OSError:
            continue


@contextmanager
def one_is_killed(counting: threading.Event) -> Iterator[list[int]]:
    """Kill one executor that has a Python worker as soon as rows are counted; gives the killed ones, one in the end."""
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while not done.is_set() and not killed:
            for executor in executors(os.getpid()) if counting.is_set() else []:
                if any(b"pyspark" in line for line in _below(executor)):
                    os.kill(executor, signal.SIGKILL)
                    killed.append(executor)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        done.set()
        killer.join()
