"""Readings -> lines of the text format; small because it knows the catalogue, fast because it keeps what stays.

A series' name and labels stay from run to run while its value changes, so their text is kept beside the lines. Numbers
are written many at once by Arrow, in a quarter of the time that Python's `repr` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import add, itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from exporter import arrow
from exporter.catalogue.family import Family
from exporter.readings import Reading

_LABELS, _SUFFIX = itemgetter(0), itemgetter(2)


class Chunk(NamedTuple):
    """An owner's encoded lines of one family, and of each line its labels, its suffix and the text before the value."""

    lines: str
    labels: list[tuple[str, ...]]
    suffixes: list[str]
    heads: list[str]

    @property
    def series(self) -> int:
        """Number of samples."""
        return len(self.heads)


def numbers(families: Iterable[Sequence[Reading]]) -> Iterator[str]:
    """Write the values of all readings, each as the shortest text that reads back as the same number."""
    values = np.array([reading.value for readings in families for reading in readings], np.float64)
    return iter(arrow.array(values, pa.float64()).cast(pa.string()).to_pylist())


def encode_family(
    family: Family, readings: Sequence[Reading], written: Iterator[str], before: Chunk | None = None
) -> Chunk:
    """Write the sample lines of one family.

    written: the values' texts, as `numbers` gives them; those of these readings are taken off its start. before: the
    owner's chunk of the run before, whose text is used again.
    """
    labels, suffixes = [*map(_LABELS, readings)], [*map(_SUFFIX, readings)]
    if before is not None and before.labels == labels and before.suffixes == suffixes:
        labels, suffixes, heads = before.labels, before.suffixes, before.heads
    else:
        heads = _heads(family, labels, suffixes, before)
    lines = "\n".join(map(add, heads, written))
    return Chunk(lines + "\n" if lines else "", labels, suffixes, heads)


def escape(value: str) -> str:
    """Escape a label's value."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def header(family: Family, openmetrics: bool) -> str:
    """Write HELP and TYPE; OpenMetrics names a counter without its _total."""
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def _heads(
    family: Family, labels: list[tuple[str, ...]], suffixes: list[str], before: Chunk | None = None
) -> list[str]:
    """Write the text before the values; most of it is known where lines only came, went or changed places."""
    if before is not None:
        known = dict(zip(zip(before.labels, before.suffixes, strict=True), before.heads, strict=True))
        keys = [*zip(labels, suffixes, strict=True)]
        new = [key for key in keys if key not in known]
        if new:
            known |= zip(new, _heads(family, [own for own, _ in new], [suffix for _, suffix in new]), strict=True)
        return [known[key] for key in keys]
    templates = {suffix: _template(family, suffix) for suffix in set(suffixes)}
    heads = [templates[suffix] % own for own, suffix in zip(labels, suffixes, strict=True)]
    text = "".join(heads)
    quotes = sum(templates[suffix].count('"') for suffix in suffixes)
    if "\\" in text or "\n" in text or text.count('"') != quotes:  # rare: no label needs a look of its own
        heads = [templates[suffix] % (*map(escape, own),) for own, suffix in zip(labels, suffixes, strict=True)]
    return heads


def _template(family: Family, suffix: str) -> str:
    names = (*family.labels, "le") if suffix == "_bucket" else family.labels
    pairs = ",".join(f'{name}="%s"' for name in names)
    return f"{family.name}{suffix}{{{pairs}}} " if pairs else f"{family.name}{suffix} "
