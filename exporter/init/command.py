"""`model-exporter init`: look at the files, write a commented configuration to standard output."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

TEXT = "look at the files and write a commented configuration to standard output"


def arguments(parser: Any) -> None:
    """Add the flags to a parser."""
    parser.add_argument("--reference", required=True, metavar="F", help="file with the reference rows")
    parser.add_argument("--predictions", required=True, metavar="GLOB", help="files of the log of predictions")
    parser.add_argument("--labels", metavar="GLOB", help="files of the labels, where they are not in the log")
    parser.add_argument("--name", metavar="N", help="the model's name (that of the reference's folder)")


def work(arguments: Any) -> int:
    """Write the configuration; raises ValueError with one sentence where the files do not say enough."""
    from exporter.config import load
    from exporter.init.guess import guess
    from exporter.init.write import write
    from exporter.sources import files

    reference = files.read_all((arguments.reference,))
    predictions = _sample("--predictions", arguments.predictions)
    labels = _sample("--labels", arguments.labels) if arguments.labels else None
    if not len(reference):
        raise ValueError(f"{arguments.reference} has no rows")
    found = guess(reference, predictions, labels)
    sources = {"reference": [arguments.reference], "predictions": [arguments.predictions]}
    if arguments.labels:
        sources["labels"] = [arguments.labels]
    text = write(found, arguments.name or _name(arguments.reference), sources)
    with tempfile.TemporaryDirectory() as folder:  # it must at least be read again
        path = Path(folder) / "model-exporter.yml"
        path.write_text(text, encoding="utf-8")
        load(path)
    sys.stdout.write(text)
    return 0


def _sample(flag: str, pattern: str) -> Any:
    """Read the first and the last file."""
    from exporter.sources import files

    paths = files.paths((pattern,))
    if not paths:
        raise ValueError(f"{flag} {pattern}: no file matches")
    table = files.read_all(tuple(dict.fromkeys((paths[0], paths[-1]))))
    if not len(table):
        raise ValueError(f"{flag} {pattern}: the files have no rows")
    return table


def _name(reference: str) -> str:
    path = Path(reference).resolve()
    name = path.parent.name if path.stem == "reference" else path.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "model"
