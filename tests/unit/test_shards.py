"""Several exporters of one configuration: each model is watched by exactly one, and few move when one is added."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from exporter.shards import Shard, number

MODELS = [f"model-{each}" for each in range(2000)]


@given(st.text(max_size=20), st.integers(1, 12))
def test_one_owner(model: str, count: int) -> None:
    """Whatever the name and the number of shards."""
    assert sum(Shard(index, count).owns(model) for index in range(count)) == 1


def test_evenly_and_stable() -> None:
    """Shares are even; a fifth shard takes a fifth, and nothing moves between the other four."""
    four, five = ({model: owner(model, count) for model in MODELS} for count in (4, 5))
    assert all(400 <= share <= 600 for share in Counter(four.values()).values())
    moved = [model for model in MODELS if four[model] != five[model]]
    assert {five[model] for model in moved} == {4}
    assert 300 <= len(moved) <= 500


def test_the_same_in_every_process() -> None:
    """A hash that differs from process to process would leave models unwatched."""
    assert number("flights-delay", "0") == 2655945489652414542


def owner(model: str, count: int) -> int:
    return next(index for index in range(count) if Shard(index, count).owns(model))
