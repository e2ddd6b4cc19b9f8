"""Write the dashboards as JSON: `python -m grafana.build`; `--check` says whether they are up to date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from grafana import business, detail, feature, fleet, quality, service

_BOARDS = (fleet, detail, feature, quality, business, service)
FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, dict[str, Any]]:
    """Build every dashboard, by file name."""
    return {f"{board['uid']}.json": board for board in (one.build() for one in _BOARDS)}


def text(board: dict[str, Any]) -> str:
    """Write a dashboard as JSON that differs only where the dashboard does."""
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def stale(folder: Path = FOLDER) -> list[str]:
    """Name the files that are not what the build gives, missing and surplus ones too."""
    wanted = {name: text(board) for name, board in dashboards().items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m grafana.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    if parser.parse_args(arguments).check:
        old = stale()
        for name in old:
            print(f"{name}: differs from the build; run python -m grafana.build", file=sys.stderr)
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    for name, board in dashboards().items():
        (FOLDER / name).write_text(text(board), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
