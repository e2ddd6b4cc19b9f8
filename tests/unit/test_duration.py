"""Durations are read as Prometheus reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.duration import parse, show

DAY = 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("1y", 365 * DAY),
        ("1d12h", 1.5 * DAY),
        ("1500ms", 1.5),
        ("1s500ms", 1.5),
        ("0s", 0),
    ],
)
def test_reads_what_prometheus_reads(text: str, seconds: float) -> None:
    """Each unit, alone and together."""
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 m",
        " 5m",
        "5m ",
        "5m\n",
        "1.5h",
        "-5m",
        "5M",
        "5min",
        "30m1h",
        "5m5m",
        "٣s",
        300,
        5.0,
        None,
        True,
        [],
    ],
)
def test_refuses_anything_else(text: object) -> None:
    """No bare numbers, no fractions, no other order: the sentence shows what was given and how to write it."""
    with pytest.raises(ValueError, match="is not a duration: write a whole number and a unit") as error:
        parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["293y", "999999999999999d"])
def test_refuses_what_prometheus_cannot_hold(text: str) -> None:
    """64 bits of nanoseconds are 292 years."""
    with pytest.raises(ValueError, match="longer than 292 years"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.6, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (DAY, "1d"),
        (DAY + 1, "1d1s"),
        (7 * DAY, "7d"),
    ],
)
def test_shows_the_shortest_form(seconds: float, text: str) -> None:
    """Whole seconds, units that are zero left out."""
    assert show(seconds) == text


@given(st.integers(1, 292 * 365 * DAY))
def test_reads_what_it_shows(seconds: int) -> None:
    """`show` and `parse` undo each other for whole seconds."""
    assert parse(show(seconds)) == seconds


@given(st.text(alphabet="0123456789ywdhms. -", max_size=12))
def test_only_says_value_error(text: str) -> None:
    """Whatever is written, it is a number of seconds or a ValueError."""
    try:
        assert parse(text) >= 0
    except ValueError as error:
        assert text in str(error) or repr(text) in str(error)
