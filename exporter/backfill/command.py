"""`model-exporter backfill`: the past of the configured models as an OpenMetrics file."""

from __future__ import annotations

import contextlib
import glob
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from exporter.duration import parse

log = logging.getLogger("exporter.backfill")
TEXT = "replay the log into OpenMetrics with timestamps, for promtool tsdb create-blocks-from openmetrics"
# As prometheus/prometheus.yml scrapes the exporter: so past and present are one series.
SCRAPED = {"job": "model-exporter", "instance": "127.0.0.1:9877"}


def arguments(parser: Any, moment: Callable[[str], float]) -> None:
    """Add the flags to a parser; `moment` reads a time."""
    parser.add_argument("--from", dest="start", type=moment, required=True, metavar="T", help="first time evaluated")
    parser.add_argument("--to", dest="end", type=moment, required=True, metavar="T", help="last time, at most now")
    parser.add_argument("--step", default="1h", metavar="D", help="time between two evaluations (1h)")
    parser.add_argument("--output", type=Path, required=True, metavar="F", help="file to write, as in history.om")
    parser.add_argument("--model", metavar="M", help="this model only")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="label that a scrape adds; without value: none of this name (job=model-exporter, instance=127.0.0.1:9877)",
    )
    parser.add_argument(
        "--blocks",
        type=Path,
        metavar="DIR",
        help="also put it into this data directory of a Prometheus, as blocks (needs promtool and prometheus on PATH)",
    )
    parser.add_argument(
        "--rules",
        action="append",
        default=[],
        metavar="GLOB",
        help="with --blocks: rule files whose recorded series and past alerts (ALERTS) are put there, too",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=("multivariate", "estimation", "business", "serving"),
        help="leave out a task, as multivariate, which takes most of the time",
    )


def work(arguments: Any) -> int:
    """Replay; exit code 1 where a task failed in some step. Raises ValueError on a range that makes no sense."""
    from exporter.backfill.blocks import load as load_blocks
    from exporter.backfill.feed import Grid
    from exporter.backfill.incidents import read
    from exporter.backfill.replay import Plan, Replay
    from exporter.config import load, model_named

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not finished is not 0
    config = load(arguments.config).config
    models = (model_named(config, arguments.model),) if arguments.model else config.models
    step, labels = parse(arguments.step), _labels(arguments.label)
    if step < 1 or step != int(step):
        raise ValueError(f"--step {arguments.step}: a whole number of seconds is needed")
    if arguments.end < arguments.start:
        raise ValueError("--to is before --from")
    if arguments.end > time.time():
        raise ValueError("--to is in the future: what has not happened cannot be replayed")
    grid = Grid(int(arguments.start), int(arguments.end), int(step))
    plan = Plan(models, grid, labels, config.store.retention, frozenset(arguments.without))
    output: Path = arguments.output
    rules = read(_rule_files(arguments))
    replay = Replay(plan, output.with_name(output.name + ".part"))
    with _bar(plan.steps, replay.done) as tell:
        samples = replay.run(output, tell)
    log.info("%s: %d samples of %d steps", output, samples, plan.steps)
    if arguments.blocks is not None:
        count = load_blocks(output, rules, grid, arguments.blocks)
        log.info(
            "%s: %d blocks; keep them: --storage.tsdb.retention.time reaches back to --from", arguments.blocks, count
        )
    if replay.progress.failed:
        log.error("in %d of %d steps a task failed: its series are left out there", replay.progress.failed, plan.steps)
        return 1
    return 0


def _rule_files(arguments: Any) -> list[Path]:
    if arguments.rules and arguments.blocks is None:
        raise ValueError("--rules needs --blocks: rules are asked of the series that are loaded there")
    found = []
    for pattern in arguments.rules:
        paths = sorted(glob.glob(pattern))
        if not paths:
            raise ValueError(f"--rules {pattern}: no file matches")
        found += [Path(path) for path in paths]
    return found


def _labels(given: list[str]) -> dict[str, str]:
    labels = dict(SCRAPED)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not name.isascii():
            raise ValueError(f"--label {text!r} is not NAME=VALUE, as in instance=127.0.0.1:9877")
        labels[name] = value
    return {name: value for name, value in labels.items() if value}


@contextlib.contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, left"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=total, completed=done)
        yield lambda steps: bar.update(task, completed=steps)
