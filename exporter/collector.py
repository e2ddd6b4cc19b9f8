"""What /metrics shows: finished text per family and owner, joined to a page when a scrape asks, kept while current.

`prometheus_client` makes the process's own series.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.catalogue import FAMILIES
from exporter.exposition import Chunk, encode_family, header, numbers
from exporter.readings import Readings

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FRESH_SECONDS = 5.0
_GZIP_LEVEL = 1  # three times as fast as 6, and a seventh of the bytes in place of an eighth
# What a page over its limit gives up first: pictures before verdicts.
_FIRST_TO_GO = (
    "model_feature_bin_ratio",
    "model_feature_quantile",
    "model_feature_mean",
    "model_feature_drift_p_value",
)

Owner = tuple[str, str]  # model and task


class Filter(NamedTuple):
    """What a scrape asks for; an empty set is everything."""

    models: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


class Page(NamedTuple):
    """A finished page."""

    body: bytes
    content_type: str


class Board:
    """The current results of all owners; publishing changes them all at once, so a scrape sees whole results only.

    Work grows with what is published, not with what is shown: encoded text is kept by family and owner.
    """

    def __init__(self, limit: int = 50_000, clock: Callable[[], float] = time.time):
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: dict[str, dict[Owner, Chunk]] = {name: {} for name in FAMILIES}
        self._families: dict[Owner, set[str]] = {}
        self._kept: dict[tuple[bool, bool], tuple[float, int, Page]] = {}
        self._generation = 0
        self._own: Callable[[], Readings] = Readings
        self.series = 0  # samples of models
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
        written = numbers(own for readings in results.values() for own in readings.values())
        encoded = {owner: self._encoded(owner, readings, written) for owner, readings in results.items()}
        with self._lock:
            for owner, chunks in encoded.items():
                for name in self._families.pop(owner, set()) - chunks.keys():
                    self.series -= self._shown[name].pop(owner).series
                self._add(owner, chunks)
            if self.series > self.limit:
                self._shorten()
            self._generation += 1
            if fresh:
                self.published = self._clock()

    def show(self, owner: Owner, readings: Readings) -> None:
        """Replace some families of an owner at once; its others stay as they are."""
        chunks = self._encoded(owner, readings, numbers(readings.values()))
        with self._lock:
            self._add(owner, chunks)
            self._generation += 1

    def _encoded(self, owner: Owner, readings: Readings, written: Iterator[str]) -> dict[str, Chunk]:
        return {
            name: encode_family(FAMILIES[name], own, written, self._shown[name].get(owner))
            for name, own in readings.items()
        }

    def _add(self, owner: Owner, chunks: Mapping[str, Chunk]) -> None:
        for name, chunk in chunks.items():
            before = self._shown[name].get(owner)
            self.series += chunk.series - (before.series if before else 0)
            self._shown[name][owner] = chunk
        if chunks:
            self._families.setdefault(owner, set()).update(chunks)

    def _shorten(self) -> None:
        """Leave out whole families until the rest fits: pictures first, then drift scores of the last models."""
        before = self.series
        owners = [*reversed(self._families)]
        victims = [(name, owner) for name in _FIRST_TO_GO for owner in owners]
        victims += [(name, owner) for owner in owners for name in FAMILIES if "_drift_" in name]
        for name, owner in victims:
            if self.series <= self.limit:
                break
            if name in self._families[owner]:
                self._families[owner].remove(name)
                self.series -= self._shown[name].pop(owner).series
        self.dropped["series_limit"] += before - self.series

    def remove(self, model: str) -> None:
        """Take away all that a model shows."""
        with self._lock:
            for owner in [owner for owner in self._families if owner[0] == model]:
                for name in self._families.pop(owner):
                    self.series -= self._shown[name].pop(owner).series
            self._generation += 1

    def renew(self) -> None:
        """Let no kept page be shown again: the exporter's own readings have changed."""
        with self._lock:
            self._generation += 1

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
        found = self._own()
        written = numbers(found.values())
        own = {name: encode_family(FAMILIES[name], readings, written) for name, readings in found.items()}
        parts = []
        with self._lock:  # text is only joined here: a run that publishes waits for no more than that
            for name, family in FAMILIES.items():
                if only.names and name not in only.names:
                    continue
                lines = [chunk.lines for owner, chunk in self._shown[name].items() if _wanted(owner, only)]
                if name in own and _wanted(("", "exporter"), only):
                    lines.append(own[name].lines)
                if lines:
                    parts += [header(family, openmetrics), *lines]
        if only == Filter():
            parts.append(self._of_process(openmetrics))
        body = "".join(parts) + ("# EOF\n" if openmetrics else "")
        raw = body.encode()
        return Page(gzip.compress(raw, _GZIP_LEVEL) if compressed else raw, OPENMETRICS if openmetrics else TEXT)

    def _of_process(self, openmetrics: bool) -> str:
        if openmetrics:
            page: bytes = generate_openmetrics(self._process)  # type: ignore[no-untyped-call]
            return page.decode().removesuffix("# EOF\n")
        return generate_latest(self._process).decode()


def _wanted(owner: Owner, only: Filter) -> bool:
    model, task = owner
    return (not only.models or model in only.models) and (not only.tasks or task in only.tasks)
