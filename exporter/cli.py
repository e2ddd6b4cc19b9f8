"""The command line."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from exporter import __version__, logs
from exporter.duration import parse
from exporter.shards import Shard

log = logging.getLogger("exporter")
USAGE, MISTAKE = 2, 1
_COLLECT = 50_000  # objects made until cycles are looked for: looking through what imports make is a tenth of a start


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:9877")
    return host.strip("[]") or "0.0.0.0", int(port)


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, as in 2026-03-01T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(text: str) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 256")
    return int(text)


def _add_share_of_work(served: Any) -> None:
    served.add_argument("--shard.index", dest="shard", type=int, default=0, metavar="I", help="which shard, from 0")
    served.add_argument("--shard.count", dest="shards", type=int, default=1, metavar="N", help="of how many (1)")
    text = "run so many models at a time (as many as there are processors, 2 to 16)"
    served.add_argument("--run.concurrency", dest="concurrency", type=_count, metavar="N", help=text)


def _add_test_alert(add: Callable[..., Any]) -> None:
    test = add("test-alert", test_alert, [], "send a test alert through Alertmanager; exit 1 unless everybody took it")
    test.add_argument(
        "--alertmanager.url",
        dest="urls",
        action="append",
        metavar="URL",
        help="Alertmanager (http://127.0.0.1:9093); of a cluster every member, one flag each",
    )
    test.add_argument("--severity", choices=("critical", "warning", "info"), default="critical", help="of the alert")
    test.add_argument("--model", metavar="M", help="a model's name; left out, one that does not exist")
    test.add_argument("--team", metavar="T", default="none", help="a model's team")
    test.add_argument("--timeout", type=_duration, metavar="D", help="wait so long at most (group_wait and 30s)")


def _web_flags() -> argparse.ArgumentParser:
    web = argparse.ArgumentParser(add_help=False)
    web.add_argument(
        "--web.listen-address",
        dest="listen",
        type=_address,
        default=("127.0.0.1", 9877),
        metavar="HOST:PORT",
        help="where to listen (127.0.0.1:9877)",
    )
    web.add_argument(
        "--web.config.file",
        dest="web_config",
        type=Path,
        metavar="F",
        help="TLS and basic authentication, in the format of the Prometheus exporters",
    )
    web.add_argument("--web.enable-lifecycle", dest="lifecycle", action="store_true", help="allow POST /-/reload")
    return web


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    from exporter import demonstration
    from exporter.backfill import command as backfill
    from exporter.init import command as init
    from exporter.report import command as report

    root = argparse.ArgumentParser(
        prog="model-exporter",
        description="What node_exporter is to machines, model-exporter is to machine-learning models.",
    )
    root.add_argument("--version", action="version", version=f"model-exporter {__version__}")
    messages = argparse.ArgumentParser(add_help=False)
    levels = ("debug", "info", "warning", "error")
    messages.add_argument("--log.level", dest="log_level", choices=levels, default="info", help="least severe messages")
    messages.add_argument(
        "--log.format", dest="log_format", choices=("text", "json"), default="text", help="form of messages"
    )
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument("--config.file", dest="config", type=Path, required=True, metavar="F", help="configuration")
    web = _web_flags()
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, work: Callable[[Any], int], parents: list[argparse.ArgumentParser], text: str) -> Any:
        one = commands.add_parser(name, parents=[*parents, messages], help=text, description=text)
        one.set_defaults(work=work)
        return one

    served = add("serve", serve, [config, web], "run the service: scheduler and HTTP in one process")
    _add_share_of_work(served)
    check = add("check", check_config, [config], "say what a configuration means, and every mistake in it")
    check.add_argument("--format", choices=("text", "json"), default="text", help="form of the report")
    run = add("run", run_once, [config], "evaluate once, print the series, serve nothing; exit 1 if a task failed")
    run.add_argument("--model", metavar="M", help="this model only")
    run.add_argument("--at", type=_moment, metavar="RFC3339", help="as of this time instead of now")
    run.add_argument("--format", choices=("prometheus", "json"), default="prometheus", help="form of the output")
    text = "print the audit log: configurations, baselines, decisions, approvals"
    _audit_flags(add("audit", export_audit, [config], text))
    init.arguments(add("init", init.work, [], init.TEXT))
    past = add("backfill", backfill.work, [config], backfill.TEXT)
    backfill.arguments(past, _moment)
    told = add("report", report.work, [config], report.TEXT)
    report.arguments(told, _moment)
    _add_test_alert(add)
    text = "run a bundled real example, live"
    demonstration.arguments(add("demo", lambda given: demonstration.work(given, _serve), [web], text))
    return root


def _audit_flags(audit: Any) -> None:
    audit.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="form of the output")
    for name in ("from", "to"):
        text = "no entries before this time" if name == "from" else "only entries before this time"
        audit.add_argument(f"--{name}", dest=f"{name}_", type=_moment, metavar="RFC3339", help=text)
    audit.add_argument("--verify", action="store_true", help="print no entries, but whether the chain is whole")
    audit.add_argument("--expect", metavar="HASH", help="with --verify: an entry's hash, noted earlier, must be in it")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code: 0 good, 1 mistake or failure, 2 usage."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it by default
    gc.set_threshold(_COLLECT)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each library's own threads take 50 ms to start; ours count
    parsed = parser().parse_args(arguments)
    from exporter.config import ConfigError
    from exporter.store import StoreError

    logs.configure(parsed.log_level, parsed.log_format == "json")
    try:
        return int(parsed.work(parsed))
    except ConfigError as error:
        print(error, file=sys.stderr)
    except (StoreError, OSError, KeyError, ValueError) as error:
        if parsed.log_level == "debug":
            raise
        print(f"model-exporter: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return MISTAKE


def _nothing() -> None:
    pass


def _serve(
    arguments: argparse.Namespace,
    config: Path,
    ready: Callable[[], None] = _nothing,
    finish: Callable[[], None] = _nothing,
    shard: Shard | None = None,
    concurrency: int | None = None,
) -> int:
    from exporter.config import load
    from exporter.service import Service
    from exporter.web import access, app
    from exporter.web.config import Kept

    kept = Kept(arguments.web_config)
    service = Service(load(config), shard, lambda: kept.error, concurrency)
    host, port = arguments.listen
    server = app.server(app.create(service, kept, host, arguments.lifecycle), host, port, kept)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.close()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=service.reload, daemon=True).start())
    try:
        service.start()
        read = kept.now()
        log.info("listening on %s://%s:%s", "https" if read.context else "http", host, port)
        if not read.web.authenticates and not access.is_loopback(host):
            log.warning(
                "%s is no loopback address and there is no authentication: what changes something (POST, PUT, DELETE) "
                "is refused; --web.config.file gives passwords or client certificates",
                host,
            )
        ready()
        server.run()
    except SystemExit:
        pass
    finally:
        log.info("stopping")
        server.close()
        ended = service.stop()
        finish()
        if not ended:  # each change of the store is one transaction: nothing is lost but the run itself
            log.warning("a run has not ended: it is left, the next start does its work")
            logging.shutdown()
            os._exit(0)
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """Run the service until SIGTERM or SIGINT."""
    if not 0 <= arguments.shard < arguments.shards:
        print("model-exporter: --shard.index is a number from 0 to --shard.count - 1", file=sys.stderr)
        return USAGE
    shard = Shard(arguments.shard, arguments.shards)
    return _serve(arguments, arguments.config, shard=shard, concurrency=arguments.concurrency)


def check_config(arguments: argparse.Namespace) -> int:
    """Print a report a model; exit 1 with every mistake."""
    from exporter.check import check, show
    from exporter.config import load
    from exporter.consistency import not_computed
    from exporter.mistakes import Wrong
    from exporter.scheduler import unusable

    config, lines = (loaded := load(arguments.config)).config, loaded.lines
    reports, wrong = [], unusable(config)
    for number, model in enumerate(config.models):
        report, found = check(model)
        reports.append(report)
        wrong += [Wrong(("models", number, *one.place), one.message) for one in found]
    mistakes = [str(lines.mistake(one, of_model=True)) for one in wrong]
    later = [f"{key} is read, but this version does not compute it" for key in not_computed(config)]
    if arguments.format == "json":
        print(json.dumps({"models": reports, "mistakes": mistakes, "warnings": later}, indent=2))
    else:
        print("\n".join(line for report in reports for line in show(report)))
        print("\n".join([*(f"warning: {line}" for line in later), *mistakes]), file=sys.stderr)
    return MISTAKE if mistakes else 0


def run_once(arguments: argparse.Namespace) -> int:
    """Evaluate the models once on a store in memory and print the page."""
    from exporter.collector import Board, Filter
    from exporter.config import load, model_named
    from exporter.monitor import Monitor
    from exporter.scheduler import interval
    from exporter.store import Store

    config = load(arguments.config).config
    models = [model_named(config, arguments.model)] if arguments.model else list(config.models)
    now = arguments.at if arguments.at is not None else time.time()
    board, store = Board(config.series_limit), Store("sqlite:///:memory:")
    good, results = True, []
    for model in models:
        longest = float(max(window.seconds for window in model.windows) + model.bucket_seconds)
        monitor = Monitor(model, store, board, longest, interval(model.schedule), replay=True)
        good &= monitor.run(now)
        results.append(monitor.results())
    if arguments.format == "json":
        from exporter.catalogue import FAMILIES

        print(
            json.dumps(
                [
                    {
                        "name": name + one.suffix,
                        "labels": dict(zip(FAMILIES[name].labels, one.labels, strict=False)),
                        "value": one.value,
                    }
                    for found in results
                    for name, own in found.items()
                    for one in own
                    if one.suffix != "_bucket"
                ],
                indent=1,
            )
        )
    else:
        only = Filter(models=frozenset(model.name for model in models))
        print(board.page(openmetrics=False, compressed=False, only=only).body.decode(), end="")
    return 0 if good else MISTAKE


def export_audit(arguments: argparse.Namespace) -> int:
    """Print the audit log, or check it: exit 1 where it was changed."""
    from exporter.audit import Chain, between, csv_lines, json_lines
    from exporter.config import load
    from exporter.store import Store, StoreError, audit
    from exporter.store.connect import read_url

    url = load(arguments.config).config.store.url
    file = read_url(url).database if url.startswith("sqlite") else None
    if file and not Path(file).exists():
        raise StoreError(f"store.url: {file} is not there: no exporter has noted anything in it")
    store = Store(url)
    if arguments.verify:
        chain = Chain()
        with store.transaction() as tx:
            end = audit.head(tx)
        for entry in audit.entries(store.transaction):
            chain.add(entry)
        chain.end(*end)
        wrong = chain.wrong(arguments.expect)
        print(wrong or f"{chain.count} entries, unbroken; the last hash is {chain.last}")
        return MISTAKE if wrong else 0
    found = between(audit.entries(store.transaction), arguments.from_, arguments.to_)
    for line in (csv_lines if arguments.format == "csv" else json_lines)(found):
        sys.stdout.write(line)
    return 0


def test_alert(arguments: argparse.Namespace) -> int:
    """Send one alert through the running Alertmanager and print who took it."""
    from exporter.drill import labels_of, run, show

    labels = labels_of(arguments.severity, arguments.model, arguments.team)
    urls = arguments.urls or ["http://127.0.0.1:9093"]
    found = run(urls, labels, arguments.timeout, lambda line: print(line, file=sys.stderr, flush=True))
    print("\n".join(show(found)))
    return 0 if found.good else MISTAKE
