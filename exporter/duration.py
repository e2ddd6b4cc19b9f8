"""Prometheus durations: `90s`, `1h30m`, `7d`."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_ORDER = ("y", "w", "d", "h", "m", "s", "ms")
_WHOLE = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _ORDER))
_LONGEST = 292 * UNITS["y"]  # Prometheus keeps nanoseconds in 64 bits


def parse(text: object) -> float:
    """Return the seconds of a Prometheus duration; raise ValueError for anything else."""
    match = _WHOLE.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a whole number and a unit, as in 30s, 15m, 24h, 7d")
    pairs = zip(match.groups(), _ORDER, strict=True)
    seconds = sum(int(number) * UNITS[unit] for number, unit in pairs if number)
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is longer than 292 years")
    return seconds


def show(seconds: float) -> str:
    """Write seconds as a short duration: 90 is `1m30s`."""
    rest = round(seconds)
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(UNITS[unit]))
        text += f"{count}{unit}" if count else ""
    return text or "0s"
