"""How fast is /metrics? Fresh text, text of which one model in a hundred changed, and scrapes over HTTP."""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import waitress
from flask import Flask
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bench.run import machine, table, write
from exporter.catalogue import FAMILIES
from exporter.collector import Board, Owner
from exporter.readings import Readings
from exporter.web import metrics

NAME = "model_feature_drift_score"
METHODS = ("ks", "wasserstein", "psi", "jensen_shannon", "energy")
MODELS = 100
CONNECTIONS = 4
FRAME = """Text of drift scores with six labels, medians; the library's collector makes its family for each page.
Scraped over four connections by a client on the same cores; the exporter keeps the compressed page while nothing is
published, the library makes and compresses it for every scrape."""


class Scrapes(NamedTuple):
    """Answers a second, and the time that 99 of 100 took at most, in milliseconds."""

    rate: float
    p99: float


class Families:
    """The same readings through the library's collector."""

    def __init__(self, results: dict[Owner, Readings]):
        self.results = results

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Make the family anew, as for every scrape."""
        family = GaugeMetricFamily(NAME, FAMILIES[NAME].help, labels=FAMILIES[NAME].labels)
        for readings in self.results.values():
            for labels, value, _ in readings[NAME]:
                family.add_metric(labels, value)
        yield family


def results(series: int, seed: int) -> dict[Owner, Readings]:
    """Make the drift scores of a hundred models."""
    values = iter(np.random.default_rng(seed).random(series).tolist())
    out = {}
    for model in range(MODELS):
        own = Readings()
        for number in range(series // MODELS):
            feature, method = divmod(number, len(METHODS))
            labels = (f"model-{model}", "3", "24h", "all", f"feature_{feature}", METHODS[method])
            own.put(NAME, *labels, value=next(values))
        out[f"model-{model}", "drift"] = own
    return out


def seconds(work: Callable[[int], object], times: int) -> float:
    """Return the median time of one call."""
    taken = []
    for turn in range(times):
        started = time.perf_counter()
        work(turn)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def samples(page: bytes) -> set[tuple[frozenset[tuple[str, str]], float]]:
    """Return what a page says of the family."""
    (family,) = (one for one in text_string_to_metric_families(page.decode()) if one.name == NAME)
    return {(frozenset(sample.labels.items()), sample.value) for sample in family.samples}


def render(series: int, times: int) -> tuple[float, float, float]:
    """Return the seconds of the library, of a fresh page, and of one where one model changed."""
    runs = [results(series, seed) for seed in range(3)]
    ones = [{owner: own for owner, own in run.items() if owner[0] == "model-7"} for run in runs]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(runs[0]))  # type: ignore[arg-type]
    board = Board(10**9)
    board.publish(runs[0])
    if samples(generate_latest(registry)) != samples(board.page(False, False).body):
        raise SystemExit("the two pages differ")

    def page(some: dict[Owner, Readings]) -> None:
        board.publish(some)
        board.page(False, False)

    library = seconds(lambda _: generate_latest(registry), times)
    fresh = seconds(lambda turn: page(runs[(turn + 1) % 3]), times)
    return library, fresh, seconds(lambda turn: page(ones[turn % 3]), 3 * times)


def ours(series: int) -> Any:
    """Return the exporter's own route over a board."""
    board = Board(10**9)
    board.publish(results(series, 0))
    app = Flask("bench")
    app.register_blueprint(metrics.blueprint(lambda: board))
    return app


def library(series: int) -> Any:
    """Return the library's WSGI application."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(results(series, 0)))  # type: ignore[arg-type]
    return make_wsgi_app(registry)


def _serve(make: Callable[[int], Any], series: int, port: Any) -> None:
    running = waitress.create_server(make(series), host="127.0.0.1", port=0, threads=8)
    port.send(running.effective_port)
    running.run()


def scrapes(make: Callable[[int], Any], series: int, duration: float) -> Scrapes:
    """Serve in a process of its own and scrape it, compressed, over a few connections that stay open."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(make, series, theirs), daemon=True)
    process.start()
    address = ("127.0.0.1", mine.recv())
    taken: list[float] = []
    until = time.perf_counter() + duration
    threads = [threading.Thread(target=_scrape, args=(address, until, taken)) for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    process.terminate()
    process.join()
    return Scrapes(len(taken) / elapsed, 1e3 * float(np.quantile(taken, 0.99)))


def _scrape(address: tuple[str, int], until: float, taken: list[float]) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n"
    buffer = bytearray(1 << 20)
    with socket.create_connection(address) as connection:
        while (started := time.perf_counter()) < until:
            connection.sendall(request)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            names, _, body = head.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in names.split(b"\r\n")[1:])
            missing = int(fields[b"content-length"]) - len(body)
            while missing > 0:
                missing -= connection.recv_into(buffer, min(missing, len(buffer)))
            taken.append(time.perf_counter() - started)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.exposition", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 series, few repetitions, no report")
    parser.add_argument("--out", type=Path, help="write the tables there instead of bench/results")
    options = parser.parse_args()
    rows = []
    for series in (10_000,) if options.quick else (10_000, 100_000):
        theirs, fresh, changed = render(series, 3 if options.quick else 7)
        own = [f"{1e3 * own:.1f} | {theirs / own:.0f}" for own in (fresh, changed)]
        rows.append([f"{series}", f"{1e3 * theirs:.0f}", *own])
    head = ["series", "prometheus_client, ms", "all values new, ms | ratio", "one model in 100 new, ms | ratio"]
    text = machine("exposition", {}) + "\n" + table(head, rows).replace("| --- | --- | --- | --- |", "|" + " --- |" * 6)
    rows = []
    for name, make in (("exporter", ours), ("prometheus_client", library)):
        one = scrapes(make, 10_000, 2 if options.quick else 10)
        rows.append([name, f"{one.rate:.0f}", f"{one.p99:.1f}"])
    text += "\n" + table(["10,000 series, gzip, waitress", "scrapes a second", "p99, ms"], rows)
    write(options, "exposition", f"# /metrics\n\n{FRAME}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
