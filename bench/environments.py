"""Libraries to compare with: each wants older packages than the exporter does, so each has an environment of its own.

usage: python -m bench.environments [NAME ...]    install them (a few GiB in all), where they are not there yet

They lie in $BENCH_PEERS, by default in ~/.cache/model-exporter-bench/peers; $BENCH_EVIDENTLY and so on name a Python
elsewhere. One optional dependency for all cannot be: what they need contradicts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REQUIREMENTS = {
    "evidently": ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1"),  # it cannot be imported with pandas 3
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3", "pyarrow==26.0.1"),
    "whylogs": ("whylogs[viz]==1.6.4", "pandas<3", "pyarrow"),
    "frouros": ("frouros==0.9.0", "pandas", "pyarrow"),
    "alibi_detect": ("alibi-detect==0.13.0", "pyarrow<20"),
    "deepchecks": (
        "deepchecks==0.19.1",
        *("setuptools<80", "pandas<2.3", "numpy<2", "scikit-learn<1.4", "pyarrow<20"),
    ),
}


def folder() -> Path:
    """Return where the environments are."""
    return Path(os.environ.get("BENCH_PEERS", Path.home() / ".cache" / "model-exporter-bench" / "peers"))


def python_of(peer: str) -> str | None:
    """Return the interpreter that can import a library: $BENCH_EVIDENTLY or alike, its environment's; None: neither."""
    named = os.environ.get(f"BENCH_{peer.upper()}", str(folder() / peer / "bin" / "python"))
    if not Path(named).exists():
        return None
    done = subprocess.run([named, "-c", f"import {peer}"], capture_output=True, check=False)
    return named if done.returncode == 0 else None


def versions(pythons: Mapping[str, str]) -> dict[str, str]:
    """Return each library's version."""
    found = {}
    for peer, python in pythons.items():
        ask = [python, "-c", f"import importlib.metadata as m; print(m.version({peer!r}))"]
        found[peer] = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return found


def install(peer: str) -> None:
    """Make a library's environment; raises CalledProcessError where that cannot be done."""
    own = folder() / peer
    subprocess.run([sys.executable, "-m", "venv", str(own)], check=True)
    free = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    command = [str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer]]
    subprocess.run(command, check=True, env=free)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REQUIREMENTS)}; all by default")
    chosen = parser.parse_args().names or list(REQUIREMENTS)
    if unknown := set(chosen) - set(REQUIREMENTS):
        parser.error(f"no library of the benchmarks: {', '.join(sorted(unknown))}")
    for name in chosen:
        if python_of(name) is None:
            install(name)
        print(f"{name}: {python_of(name) or 'cannot be imported'}", flush=True)
