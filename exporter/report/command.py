"""`model-exporter report`: the monitoring report of one model, as a file."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "write the monitoring report of a model, with its recommendations"
FORMATS = ("html", "markdown", "json")


def arguments(parser: Any, moment: Callable[[str], float]) -> None:
    """Add the flags to a parser; `moment` reads a time."""
    parser.add_argument("--model", required=True, metavar="M", help="the model")
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="as of this time instead of now")
    parser.add_argument("--format", choices=FORMATS, default="html", help="form of the report (html)")
    parser.add_argument("--output", type=Path, required=True, metavar="F", help="file to write; - is standard output")
    parser.add_argument(
        "--days", type=int, default=14, metavar="N", help="days to look back for since when something is wrong (14)"
    )


def work(arguments: Any) -> int:
    """Write the report; exit code 1 where a task failed, and then the report says so."""
    from exporter.config import load, model_named
    from exporter.report import render
    from exporter.report.build import build
    from exporter.report.evaluation import facts, replayed

    if arguments.days < 0:
        raise ValueError("--days is 0 or more")
    config = load(arguments.config).config
    model = model_named(config, arguments.model)
    at = arguments.at if arguments.at is not None else time.time()
    with tempfile.TemporaryDirectory(prefix="model-exporter-report-") as folder:
        monitor, good = replayed(model, config.store.retention, at, arguments.days, Path(folder))
        text = render.FORMATS[arguments.format](build(facts(monitor)))
    if str(arguments.output) == "-":
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if good else 1
