"""Hours and days of buckets: the same sums in fewer rows, whatever came late, was taken away or forgotten."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profile.counts import Counts
from exporter.store import Store, rollup
from exporter.store.tables import Bucket

BUCKET, DAY = 900, 86_400
DAYS = 4
KEYS = [("1", "all"), ("1", "a=x"), ("2", "all")]

starts = st.integers(0, DAYS * DAY // BUCKET - 1).map(lambda number: number * BUCKET)
changes = st.dictionaries(
    st.tuples(st.sampled_from(KEYS), starts), st.tuples(st.integers(0, 3), st.integers(-2, 5)), min_size=1, max_size=12
)
ranges = st.tuples(starts, starts).map(sorted)
steps = st.lists(
    st.one_of(
        changes.map(lambda own: ("add", own)),
        st.tuples(st.just("roll"), ranges, st.integers(1, 40)),
        starts.map(lambda start: ("drop", start)),
    ),
    max_size=8,
)


def summed(buckets: list[Bucket]) -> Counter[tuple[str, str, int]]:
    found: Counter[tuple[str, str, int]] = Counter()
    for one in buckets:
        for place, amount in zip(one.counts.place.tolist(), one.counts.amount.tolist(), strict=True):
            found[one.version, one.segment, place] += amount
    return Counter({key: amount for key, amount in found.items() if amount})


@settings(max_examples=60)
@given(steps, ranges)
def test_what_is_rolled_up_is_the_sum_of_its_buckets(steps, within):
    store = Store("sqlite:///:memory:")
    for kind, what, *more in steps:
        with store.transaction() as tx:
            if kind == "add":
                deltas = {
                    (*key, start): Counts(np.array([place]), np.array([amount]))
                    for (key, start), (place, amount) in what.items()
                    if amount
                }
                tx.add_to_buckets("m", deltas)
            elif kind == "roll":
                rollup.roll_up(tx.connection, tx.set_rollups, "m", BUCKET, *what, more[0])
            else:
                tx.drop_before("m", what)
        with store.transaction() as tx:
            for start, end in ((0, DAYS * DAY), within):
                for segment in (None, "all", "a=x"):
                    assert summed(rollup.read(tx.connection, "m", start, end, segment)) == summed(
                        tx.buckets("m", start, end, segment)
                    )
            assert not list(rollup.read(tx.connection, "other", 0, DAYS * DAY, None))
    store.close()


def test_thirty_days_of_minutes_are_read_in_few_rows():
    """43,200 buckets; days, then hours, then minutes at both ends. A late row is in the hour and the day."""
    store, minutes, end = Store("sqlite:///:memory:"), 30 * 1_440, 40 * DAY + 5_000 * 60
    one = Counts(np.array([0]), np.array([1]))
    with store.transaction() as tx:
        tx.add_to_buckets("m", {("1", "all", end - 60 * minute): one for minute in range(1, minutes + 1)})
    rounds = 0
    while rounds < 100:
        rounds += 1
        with store.transaction() as tx:
            if rollup.roll_up(tx.connection, tx.set_rollups, "m", 60, end - 60 * minutes, end, 24):
                break
    assert rounds <= 32  # of at most 24 each: 719 hours, then 29 days
    with store.transaction() as tx:
        tx.add_to_buckets("m", {("1", "all", end - 60 * 30_000): one})
        found = list(rollup.read(tx.connection, "m", end - 60 * minutes, end, None))
        assert len(found) < 30 + 2 * 24 + 2 * 60
        assert sum(int(bucket.counts.amount.sum()) for bucket in found) == minutes + 1
    store.close()


def test_buckets_of_a_day_are_not_rolled_up():
    store = Store("sqlite:///:memory:")
    with store.transaction() as tx:
        tx.add_to_buckets("m", {("1", "all", 0): Counts(np.array([0]), np.array([1]))})
        assert rollup.roll_up(tx.connection, tx.set_rollups, "m", DAY, 0, DAYS * DAY, 10)
        assert [bucket.start for bucket in rollup.read(tx.connection, "m", 0, DAYS * DAY, None)] == [0]
    store.close()
