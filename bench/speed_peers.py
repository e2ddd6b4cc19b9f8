"""W1 and W2 by other libraries, beside the exporter: whole processes in turn, and hourly ticks.

usage: python -m bench.speed_peers [--rounds N] [--only NAME ...]

`python -m bench.environments` installs the libraries; one that cannot be imported is named and left out. W1 takes about
ten minutes a round with all of them, W2 five.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.environments import REQUIREMENTS, python_of, versions
from bench.run import RESULTS
from bench.run import table as markdown
from bench.speed import Ran, machine, ratio, side_by_side
from bench.speed_data import folder, make
from bench.w1 import EXACT

SCRIPT = str(Path(__file__).with_name("speed_peer.py"))
W1 = {
    "nannyml": "KS (from bins), chi-square",
    "nannyml_all": "KS, JS, Wasserstein, Hellinger, L-infinity, chi-square",
    "frouros": "KS, PSI, chi-square",
    "alibi_detect": "KS and p-values, chi-square",
    "deepchecks": "KS, PSI",
    "whylogs": "KS from sketches, chi-square",
    "evidently_ks": "KS, chi-square",
    "evidently": "its default: Wasserstein, JS",
}
OWN = {
    "exporter, 4,096 knots": "all default statistics, thresholds, store, page",
    "engine, exact": "all default statistics",
    "loop": "pandas and scipy: KS, PSI, chi-square",
}
W2 = (("nannyml", "24h"), ("nannyml", "7d"), ("evidently_ks", "24h"))
HOURS = {"24h": 24, "7d": 168}


def library(judge: str) -> str:
    """Return the library that a judge belongs to."""
    return next(name for name in REQUIREMENTS if judge.startswith(name))


def whole(pythons: Mapping[str, str], rounds: int) -> str:
    """Measure W1 and return its table."""
    judges = [judge for judge in W1 if library(judge) in pythons]
    with tempfile.TemporaryDirectory() as place:
        own = [sys.executable, "-m", "bench.w1", "--as"]
        commands = {"exporter, 4,096 knots": [*own, "exporter", "4096", "given", place]}
        commands |= {"engine, exact": [*own, "engine", str(EXACT)], "loop": [*own, "loop"]}
        commands |= {judge: [pythons[library(judge)], SCRIPT, "w1", judge, str(folder())] for judge in judges}
        found = side_by_side(commands, rounds)
    base = found["exporter, 4,096 knots"]

    def line(name: str, runs: list[Ran]) -> list[str]:
        middle = [statistics.median(part) for part in zip(*(one[:3] for one in runs), strict=True)]
        ratios = [ratio([one[part] for one in runs], [one[part] for one in base]) for part in range(3)]
        said = W1.get(name, OWN.get(name, ""))
        return [name, said, *(f"{value:.3g}" for value in middle), *(f"{value:.3g} x" for value in ratios)]

    heads = ("process", "computes", "wall s", "CPU s", "peak MiB", "wall / exporter", "CPU", "peak")
    return markdown(heads, [line(name, runs) for name, runs in found.items()])


def ticks(pythons: Mapping[str, str], rounds: int) -> str:
    """Measure W2 and return its table."""
    wanted = [(judge, window) for judge, window in W2 if library(judge) in pythons]
    commands = {
        f"exporter, {window}": [sys.executable, "-m", "bench.w2", "--as", "exporter", window, "4096"]
        for window in HOURS
    }
    for judge, window in wanted:
        python = pythons[library(judge)]
        commands[f"{judge}, {window}"] = [python, SCRIPT, "w2", judge, str(folder()), str(HOURS[window])]
    found = side_by_side(commands, rounds)
    lines = []
    for name, runs in found.items():
        base = found[f"exporter, {name.rsplit(', ', 1)[1]}"]
        values = [[one.said[key] for one in own] for own in (runs, base) for key in ("ms", "cpu_ms")]
        middle = [f"{statistics.median(own):.3g}" for own in values[:2]]
        lines.append([name, *middle, *(f"{ratio(values[part], values[part + 2]):.3g} x" for part in range(2))])
    return markdown(("tick", "ms", "CPU ms", "ms / exporter", "CPU"), lines)


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turn; medians are shown")
    parser.add_argument("--only", nargs="+", default=list(REQUIREMENTS), choices=list(REQUIREMENTS))
    chosen = parser.parse_args()
    make()
    found = {peer: python_of(peer) for peer in chosen.only}
    for peer in [peer for peer, python in found.items() if python is None]:
        print(f"{peer} cannot be imported: its rows are left out (python -m bench.environments installs it)")
    pythons = {peer: python for peer, python in found.items() if python is not None}
    used = ", ".join(f"{name} {number}" for name, number in versions(pythons).items())
    text = (
        f"# W1 and W2 beside other libraries\n\nWhat W1 and W2 are: [docs/performance.md](../../docs/performance.md). "
        f"Medians of {chosen.rounds}.\n\n{machine()}; {used}.\n\n    python -m bench.speed_peers\n\n"
        f"## W1: 1,000,000 rows, 60 columns, a whole process each\n\n{whole(pythons, chosen.rounds)}\n"
        f"## W2: an hour more, 20 features\n\nTheir rows are in memory already; the exporter reads a file, keeps what "
        f"it counted, and publishes, too.\n\n"
        f"{ticks(pythons, chosen.rounds)}"
    )
    (RESULTS / "speed_peers.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
