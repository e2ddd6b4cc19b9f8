"""Buckets that take the place of others: what long windows read of them changes, too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exporter.profile.coding import encode
from exporter.profile.counts import Counts, add
from exporter.store import Store, rollup
from exporter.store.replace import digest_name, forget_digests, replace_buckets

HOUR, DAY = 3600, 86_400


def counts(amount: int) -> Counts:
    return Counts(np.array([0, 7]), np.array([amount, 2 * amount]))


def plain(found: Counts) -> list[list[int]]:
    return [part.tolist() for part in found]


def test_what_is_replaced_changes_buckets_and_their_sums(new_url: Callable[[], str]) -> None:
    """A bucket with other numbers, one with a slice less, and one that is gone."""
    store = Store(new_url())
    with store.transaction() as tx:
        old = {("1", "all", hour * HOUR): counts(hour + 1) for hour in range(24)}
        old |= {("1", "city=Oslo", HOUR): counts(1), ("1", "all", DAY): counts(50)}
        tx.add_to_buckets("a", old)
        tx.add_to_buckets("b", {("1", "all", HOUR): counts(9)})
        rollup.roll_up(tx.connection, tx.set_rollups, "a", HOUR, 0, DAY, 10)
        assert rollup.rolled(tx.connection, "a", 0, DAY) == {(DAY, 0)}
    new = {("1", "all", HOUR): counts(10), ("2", "all", HOUR): counts(3)}
    with store.transaction() as tx:
        before, after = replace_buckets(tx, "a", [HOUR, 5 * HOUR], {key: encode(own) for key, own in new.items()})
        assert set(before) == {("1", "all", HOUR), ("1", "city=Oslo", HOUR), ("1", "all", 5 * HOUR)}
        assert {key: plain(own) for key, own in after.items()} == {key: plain(own) for key, own in new.items()}
    with store.transaction() as tx:
        found = {own[:3]: plain(own.counts) for own in tx.buckets("a", 0, 2 * DAY)}
        kept = {key: own for key, own in old.items() if key[2] not in {HOUR, 5 * HOUR}}
        assert found == {key: plain(own) for key, own in (kept | new).items()}
        assert [plain(own.counts) for own in tx.buckets("b", 0, DAY)] == [plain(counts(9))]
        sums = {own[:2]: plain(add(own.counts)) for own in rollup.read(tx.connection, "a", 0, DAY, None)}
    total = sum(range(1, 25)) - 2 - 6 + 10
    assert sums[("1", "all")] == plain(counts(total))
    assert sums[("2", "all")] == plain(counts(3))
    assert sums.get(("1", "city=Oslo"), [[], []]) == [[], []]
    store.close()


def test_old_digests_are_forgotten(new_url: Callable[[], str]) -> None:
    """By time, of this model and source alone."""
    store = Store(new_url())
    with store.transaction() as tx:
        for model, source in (("a", "predictions"), ("a", "labels"), ("b", "predictions")):
            for start in (900, 10_000, 2_000_000_000):
                tx.set_position(model, source, digest_name(start), "x")
        forget_digests(tx, "a", "predictions", 10_000)
        assert {int(name) for name in tx.positions("a", "predictions")} == {10_000, 2_000_000_000}
        assert len(tx.positions("a", "labels")) == len(tx.positions("b", "predictions")) == 3
    store.close()
