"""The command `model-exporter demo`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter.examples import EXAMPLES

_USAGE = 2


def arguments(parser: Any) -> None:
    """Add the flags to a parser."""
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="let time in the log pass X times as fast"
    )
    parser.add_argument("--directory", type=Path, metavar="D", help="keep log, store and configuration here")
    parser.add_argument("--no-servers", action="store_true", help="do not start Prometheus and Alertmanager")
    parser.add_argument("--example", choices=tuple(EXAMPLES), default="flights", help="which one (flights)")
    parser.add_argument("--no-history", action="store_true", help="do not load the past into the demo's Prometheus")
    parser.add_argument(
        "--history-only",
        type=Path,
        metavar="DIR",
        help="load the past into this Prometheus data directory, for an exporter at the listen address, and end",
    )


def work(arguments: Any, serve: Callable[..., int]) -> int:
    """Run the example: growing log, service, and the servers that watch it; all of it ends together.

    serve: runs the service with a configuration; it is told what to do when it is ready, and at its end.
    """
    from exporter import past
    from exporter.demo import Servers, Stage, say

    if not 0 < arguments.speed <= 1000:
        print("model-exporter: --speed is a number above 0, at most 1000", file=sys.stderr)
        return _USAGE
    host, port = arguments.listen
    address = f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    stage = Stage(arguments.directory, arguments.speed, EXAMPLES[arguments.example])
    if arguments.history_only is not None:
        try:
            return past.load_once(stage, arguments.speed, address, arguments.history_only)
        finally:
            stage.close()
    history = not (arguments.no_history or arguments.no_servers) and past.can_load()
    servers = Servers(stage.folder, address, past.step_at(arguments.speed) if history else 300.0)
    running: list[past.Background] = []

    def ready() -> None:
        stage.open()
        lines = [] if arguments.no_servers else servers.start()
        if history:
            made = past.prepare(stage, arguments.speed, address, stage.folder / "prometheus-data")
            running.append(past.Background(made, stage.folder / "history.log"))
            lines.append("its past follows in a minute or two (history.log says if not)")
        say(
            [
                "",
                f"model-exporter http://{address}/  (metrics at /metrics)",
                *lines,
                f"log and store: {stage.folder}",
                "Ctrl-C stops all of it.",
                "",
            ]
        )

    def finish() -> None:
        while running:
            running.pop().stop()
        servers.stop()
        stage.close()

    try:
        return serve(arguments, stage.config, ready, finish)
    finally:
        finish()
