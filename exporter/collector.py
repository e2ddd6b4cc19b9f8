"""Readings -> /metrics: finished text per owner, joined to a page when a scrape asks, kept while it is current.

Own encoder, small because it knows the catalogue; `prometheus_client` parses its pages in the tests, and still makes
the process's own series.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.catalogue import FAMILIES, Family
from exporter.readings import Reading, Readings

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FRESH_SECONDS = 5.0
# What a page over its limit gives up first: pictures before verdicts.
_FIRST_TO_GO = (
    "model_feature_bin_ratio",
    "model_feature_quantile",
    "model_feature_mean",
    "model_feature_drift_p_value",
)

Owner = tuple[str, str]  # model and task


class Chunk(NamedTuple):
    """An owner's encoded lines of one family, and how many they are."""

    lines: str
    series: int


class Filter(NamedTuple):
    """What a scrape asks for; an empty set is everything."""

    models: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


class Page(NamedTuple):
    """A finished page."""

    body: bytes
    content_type: str


def escape(value: str) -> str:
    """Escape a label's value."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def encode_family(family: Family, readings: list[Reading]) -> Chunk:
    """Write the sample lines of one family."""
    lines = []
    for labels, value, suffix in readings:
        names = (*family.labels, "le") if suffix == "_bucket" else family.labels
        pairs = ",".join(f'{name}="{escape(text)}"' for name, text in zip(names, labels, strict=True))
        shown = f"{family.name}{suffix}{{{pairs}}}" if pairs else f"{family.name}{suffix}"
        lines.append(f"{shown} {value!r}\n")
    return Chunk("".join(lines), len(lines))


def header(family: Family, openmetrics: bool) -> str:
    """Write HELP and TYPE; OpenMetrics names a counter without its _total."""
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


class Board:
    """The current results of all owners; publishing swaps one reference, so a scrape sees whole results only."""

    def __init__(self, limit: int = 50_000, clock: Callable[[], float] = time.time):
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._chunks: Mapping[Owner, Mapping[str, Chunk]] = {}
        self._kept: dict[tuple[bool, bool], tuple[float, int, Page]] = {}
        self._generation = 0
        self._own: Callable[[], Readings] = Readings
        self.published = 0.0
        self.dropped = {"max_features": 0, "series_limit": 0}
        self._process = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    def own(self, readings: Callable[[], Readings]) -> None:
        """Set where the exporter's own readings come from."""
        self._own = readings

    def publish(self, results: Mapping[Owner, Readings], fresh: bool = True) -> None:
        """Replace what the owners show, all at once; fresh: these are new results, not only news of a task."""
        encoded = {
            owner: {name: encode_family(FAMILIES[name], own) for name, own in readings.items()}
            for owner, readings in results.items()
        }
        with self._lock:
            merged, left_out = _within_limit({**self._chunks, **encoded}, self.limit)
            self.dropped["series_limit"] += left_out
            self._chunks = merged
            self._generation += 1
            if fresh:
                self.published = self._clock()

    def remove(self, model: str) -> None:
        """Take away all that a model shows."""
        with self._lock:
            self._chunks = {owner: own for owner, own in self._chunks.items() if owner[0] != model}
            self._generation += 1

    def renew(self) -> None:
        """Let no kept page be shown again: the exporter's own readings have changed."""
        with self._lock:
            self._generation += 1

    @property
    def series(self) -> int:
        """Number of samples of models."""
        return sum(chunk.series for own in self._chunks.values() for chunk in own.values())

    def page(self, openmetrics: bool, compressed: bool, only: Filter | None = None) -> Page:
        """Return the page in the wanted format; a whole page is kept for as long as it is current."""
        if only is not None:
            return self._encode(openmetrics, compressed, only)
        key = (openmetrics, compressed)
        kept = self._kept.get(key)
        now = self._clock()
        if kept is not None and kept[1] == self._generation and 0 <= now - kept[0] < _FRESH_SECONDS:
            return kept[2]
        generation = self._generation
        page = self._encode(openmetrics, compressed, Filter())
        self._kept[key] = (now, generation, page)
        return page

    def _encode(self, openmetrics: bool, compressed: bool, only: Filter) -> Page:
        own = {name: encode_family(FAMILIES[name], found) for name, found in self._own().items()}
        chunks = {
            owner: mine for owner, mine in {**self._chunks, ("", "exporter"): own}.items() if _wanted(owner, only)
        }
        parts = []
        for name, family in FAMILIES.items():
            if only.names and name not in only.names:
                continue
            lines = [mine[name].lines for mine in chunks.values() if name in mine]
            if lines:
                parts += [header(family, openmetrics), *lines]
        if only == Filter():
            parts.append(self._of_process(openmetrics))
        body = "".join(parts) + ("# EOF\n" if openmetrics else "")
        raw = body.encode()
        return Page(gzip.compress(raw, 5) if compressed else raw, OPENMETRICS if openmetrics else TEXT)

    def _of_process(self, openmetrics: bool) -> str:
        if openmetrics:
            page: bytes = generate_openmetrics(self._process)  # type: ignore[no-untyped-call]
            return page.decode().removesuffix("# EOF\n")
        return generate_latest(self._process).decode()


def _wanted(owner: Owner, only: Filter) -> bool:
    model, task = owner
    return (not only.models or model in only.models) and (not only.tasks or task in only.tasks)


def _within_limit(chunks: dict[Owner, Mapping[str, Chunk]], limit: int) -> tuple[dict[Owner, Mapping[str, Chunk]], int]:
    """Leave out whole families until the rest fits: pictures first, then drift scores of the last models."""
    total = sum(chunk.series for own in chunks.values() for chunk in own.values())
    before = total
    victims = [(name, owner) for name in _FIRST_TO_GO for owner in reversed(chunks)]
    victims += [(name, owner) for owner in reversed(chunks) for name in FAMILIES if "_drift_" in name]
    for name, owner in victims:
        if total <= limit:
            break
        if name in chunks[owner]:
            total -= chunks[owner][name].series
            chunks[owner] = {other: chunk for other, chunk in chunks[owner].items() if other != name}
    return chunks, before - total
