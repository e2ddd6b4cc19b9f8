"""Prometheus durations: `90s`, `1h30m`, `7d`."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_WHOLE = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")


def parse(text: object) -> float:
    """Return the seconds of a Prometheus duration; raise ValueError for anything else."""
    match = _WHOLE.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a whole number and a unit, as in 30s, 15m, 24h, 7d")
    return sum(
        int(number) * UNITS[unit]
        for number, unit in zip(match.groups(), ("y", "w", "d", "h", "m", "s", "ms"), strict=True)
        if number
    )


def show(seconds: float) -> str:
    """Write seconds as a short duration: 90 is `1m30s`."""
    rest = round(seconds)
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(UNITS[unit]))
        text += f"{count}{unit}" if count else ""
    return text or "0s"
