"""What the speed benchmarks share: processes measured side by side, and their table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]


class Ran(NamedTuple):
    """One process: seconds of the clock, of the processors, most memory in MiB, and the JSON line that it printed."""

    wall: float
    cpu: float
    peak: float
    said: dict[str, Any]


def run(command: Sequence[str]) -> Ran:
    """Run a whole process to its end; raises RuntimeError where it fails."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once, not in each process
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    out, err = process.communicate()
    wall = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {err[-2000:]}")
    lines = [line for line in out.splitlines() if line.startswith('{"')]
    said = json.loads(lines[-1]) if lines else {}
    return Ran(wall, float(said.pop("cpu", float("nan"))), float(said.pop("peak", float("nan"))), said)


def report(**said: Any) -> None:
    """Print what a process has to say, with its processor time and its most memory."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the process that started this one
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({**said, "cpu": own.ru_utime + own.ru_stime, "peak": peak}), flush=True)


def side_by_side(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Ran]]:
    """Run all commands in turn, so that a slow minute is slow for each; a command that fails is named and left out."""
    found: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            if number and len(found[name]) < number:
                continue
            try:
                found[name].append(run(command))
            except RuntimeError as error:
                print(f"{name}: {str(error).splitlines()[-1]}", file=sys.stderr)
    return {name: own for name, own in found.items() if own}


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median over the rounds of one over the other."""
    return statistics.median(a / b for a, b in zip(over, under, strict=False))


def options(doc: str | None, rounds: int) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="runs of each, in turn; medians are shown")
    return parser.parse_args()


def machine() -> str:
    """Say where and with what the numbers were made."""
    names = ("numpy", "pyarrow", "scipy", "scikit-learn", "pandas", "sqlalchemy")
    used = ", ".join(f"{name} {version(name)}" for name in names)
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {used}, load {busy:.1f}, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}"
    )


def table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a markdown table."""
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for line in lines:
        print(f"| {' | '.join(f'{one:.3g}' if isinstance(one, float) else str(one) for one in line)} |")
    print()
