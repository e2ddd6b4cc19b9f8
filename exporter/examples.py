"""The bundled examples: where they are, and which moment of each log becomes now."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from exporter.rows import SECOND

_WEEK = 7 * 86_400 * SECOND


class Example(NamedTuple):
    """A log's moments and lengths in microseconds.

    moment: the demo starts here or up to a day later, at the same time of day. end: just after the log's last row.
    cycle: after its end the log goes on with what was so long before.
    """

    name: str
    moment: int
    end: int
    cycle: int

    @property
    def folder(self) -> Path:
        """Reference, predictions, labels and configuration."""
        return share("examples") / self.name


def share(name: str) -> Path:
    """Return a folder that ships with the exporter: of an installed package or of a checkout."""
    installed = Path(__file__).parent / "_share" / name
    return installed if installed.exists() else Path(__file__).parent.parent / name


def _at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[misc, arg-type]


FLIGHTS = Example("flights", _at(2013, 12, 31, 6), _at(2014, 1, 1, 5), 39 * _WEEK)  # no weather since midnight
BIKES = Example("bikes", _at(2014, 4, 14, 6), _at(2014, 12, 29), 52 * _WEEK)  # errors ten times the reference's
EXAMPLES = {example.name: example for example in (FLIGHTS, BIKES)}
