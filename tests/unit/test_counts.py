"""Sparse vectors of whole numbers: the laws of addition, packing, sums of real numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profile import packed
from exporter.profile.coding import decode, encode, renewed
from exporter.profile.counts import (
    LARGEST,
    ZERO,
    Counts,
    Placed,
    add,
    add_into,
    gather,
    joined,
    moved,
    negative,
    ones,
    place_sum,
    read_sum,
    short,
)
from exporter.profile.counts import sparse as all_of

SIZE = 60
amounts = st.integers(-(2**40), 2**40).filter(bool)
sparse = st.dictionaries(st.integers(0, SIZE - 1), amounts, max_size=12).map(
    lambda found: Counts(
        np.array(sorted(found), np.int64), np.array([found[place] for place in sorted(found)], np.int64)
    )
)


def dense(counts: Counts) -> list[int]:
    vector = np.zeros(SIZE, np.int64)
    add_into(vector, counts)
    return vector.tolist()


def same(first: Counts, second: Counts) -> bool:
    return first.place.tolist() == second.place.tolist() and first.amount.tolist() == second.amount.tolist()


@given(sparse, sparse, sparse)
def test_addition_is_associative_and_commutative_and_zero_changes_nothing(a, b, c):
    assert same(add(add(a, b), c), add(a, add(b, c)))
    assert same(add(a, b), add(b, a))
    assert same(add(a, b, c), add(c, a, b))
    assert same(add(a, ZERO), a)
    assert dense(add(a, b)) == [x + y for x, y in zip(dense(a), dense(b), strict=True)]


@given(st.lists(st.dictionaries(st.integers(0, 10_000), amounts, max_size=8), max_size=4))
def test_far_apart_places_are_added_as_a_dictionary_adds_them(parts):
    expected: dict[int, int] = {}
    for part in parts:
        for place, amount in part.items():
            expected[place] = expected.get(place, 0) + amount
    found = add(
        *(
            Counts(np.array(sorted(part), np.int64), np.array([part[at] for at in sorted(part)], np.int64))
            for part in parts
        )
    )
    assert dict(zip(found.place.tolist(), found.amount.tolist(), strict=True)) == {
        place: amount for place, amount in expected.items() if amount
    }
    assert found.place.tolist() == sorted(found.place.tolist())


@given(sparse)
def test_the_negative_takes_away_and_leaves_no_zeros_behind(a):
    assert same(add(a, negative(a)), ZERO)
    assert same(negative(negative(a)), a)


@given(sparse)
def test_what_was_packed_comes_back(a):
    back = decode(encode(a))
    assert same(back, a)
    assert back.place.dtype == back.amount.dtype == np.int64


@pytest.mark.parametrize("amount", [1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**62, -(2**62)])
def test_large_amounts_are_packed_whole(amount):
    assert decode(encode(Counts(np.array([7]), np.array([amount])))).amount.tolist() == [amount]


placements = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(-5, 5)), min_size=1, max_size=30)


@given(
    st.lists(st.integers(0, 300) | st.integers(-(2**63), 2**63 - 1), max_size=70),
    st.lists(st.sampled_from([0, 7, 254, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, -1]), max_size=300),
    st.integers(1, 300),
)
def test_a_vector_that_rested_is_the_same(some, others, length):
    vector = np.array([*some, *others, *[3] * length], np.int64)
    resting = packed.pack(vector)
    assert packed.unpack(resting).tolist() == vector.tolist()
    assert packed.unpack(resting).dtype == np.int64
    assert packed.pack(np.arange(10_000)).small.nbytes == 20_000
    assert packed.pack(np.arange(10_000) % 250).small.nbytes == 10_000


@given(placements, st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_gathering_by_group_equals_gathering_each_group_alone(placed, groups):
    row = np.arange(len(placed), dtype=np.int64)
    place, amount = (np.array(column, np.int64) for column in zip(*placed, strict=True))
    group = np.array(groups[: len(placed)], np.int64)
    found = gather([Placed(row, place, amount), ones(row, place)], group, 4, SIZE)
    for number, counts in enumerate(found):
        expected = [0] * SIZE
        for at, by, own in zip(place.tolist(), amount.tolist(), group.tolist(), strict=True):
            expected[at] += (by + 1) * (own == number)
        assert dense(counts) == expected
        assert (counts.amount != 0).all()
        assert (np.diff(counts.place) > 0).all()


def test_a_group_without_rows_is_zero():
    row = np.array([0, 1], np.int64)
    assert same(gather([ones(row, row)], np.array([0, 2]), 3, SIZE)[1], ZERO)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_a_sum_of_real_numbers_is_exact_to_half_a_part_a_value(values):
    row = np.arange(len(values), dtype=np.int64)
    (counts,) = gather(place_sum(row, 3, np.array(values)), np.zeros(len(values), np.int64), 1, SIZE)
    vector = np.zeros(SIZE, np.int64)
    add_into(vector, counts)
    assert read_sum(vector, 3) == pytest.approx(math.fsum(values), rel=1e-15, abs=len(values) * 2.0**-33)


def test_a_value_beyond_the_largest_counts_as_the_largest():
    row = np.arange(3, dtype=np.int64)
    (counts,) = gather(place_sum(row, 0, np.array([1e300, np.inf, -1e300])), np.zeros(3, np.int64), 1, SIZE)
    assert dense(counts)[:2] == [int(LARGEST), 0]


long = st.builds(
    lambda seed, most, large, gap: (
        np.random.default_rng(seed).integers(0, most, 40_000) + gap * (np.arange(40_000) % 1_000 == large)
    ),
    st.integers(0, 99),
    st.sampled_from([2, 300, 70_000]),
    st.integers(0, 1_500),
    st.sampled_from([0, 254, 255, 256, 2**40, -(2**40)]),
)


@settings(max_examples=25)
@given(long, long, sparse)
def test_a_long_stretch_is_the_same_numbers(first, second, few):
    """Whatever is done with numbers that are kept as a stretch, it gives what it gives without."""
    after = moved(few, len(first) + len(second))
    kept = joined([short(first), short(second), few], [0, len(first), len(first) + len(second)])
    plain = joined([all_of(first), all_of(second), few], [0, len(first), len(first) + len(second)])
    assert kept.stretches
    assert not plain.stretches
    assert same(kept, plain)
    assert same(add(kept, after), add(plain, after))
    assert same(add(kept, negative(kept)), ZERO)
    assert same(moved(kept, 7), moved(plain, 7))
    assert encode(kept) == encode(plain) == renewed(encode(plain))
    assert same(decode(encode(kept)), plain)
    size = len(first) + len(second) + SIZE
    vector, expected = np.zeros(size, np.int64), np.zeros(size, np.int64)
    add_into(vector, kept)
    expected[plain.place] = plain.amount
    assert (vector == expected).all()
    assert bool(kept) == bool(plain)


def test_a_stretch_takes_a_byte_or_two_a_number():
    (one,) = short(np.arange(1, 40_001) % 250).stretches
    assert one.small.nbytes == 40_000
    (one,) = short(np.arange(40_000)).stretches
    assert one.small.nbytes == 80_000
    assert not short(np.arange(40_000) // 39_000).stretches


@settings(max_examples=10)
@given(st.integers(0, 99), st.sampled_from([1, 100, 700]), st.sampled_from([0.01, 0.5]))
def test_a_stored_profile_is_read_part_by_part(seed, most, share):
    random = np.random.default_rng(seed)
    vector = np.where(random.random(2**22 + 5) < share, random.integers(0, most + 1, 2**22 + 5), 0)
    vector[random.integers(0, len(vector), 5)] = [2**40, -1, 254, 255, 256]
    found = packed.spread(encode(all_of(vector)), len(vector))
    for start, end in ((0, len(vector)), (5, 70_000), (2**22, 2**22 + 5), (9, 9)):
        own = found.part(start, end) if isinstance(found, packed.Packed) else found[start:end]
        assert own.dtype == np.int64
        assert (own == vector[start:end]).all()
    assert isinstance(found, packed.Packed) == (most < 700 or share < 0.5)
    few = packed.spread(encode(all_of(vector[:90])), 90)
    assert isinstance(few, np.ndarray)
    assert (few == vector[:90]).all()


amounts_ = st.sampled_from([0, 1, 254, 255, 256, 65_535, 65_536, 2**32, -1, -300]) | st.integers(-9, 9)
added = st.dictionaries(st.integers(0, SIZE - 1), amounts_.filter(bool), max_size=SIZE)


@given(st.lists(added | st.tuples(st.integers(0, SIZE - 1), st.lists(amounts_, max_size=9)), max_size=8))
def test_a_packed_profile_is_added_to_as_a_vector_is(steps):
    kept, vector = packed.Packed(np.zeros(SIZE, np.uint8), ZERO), np.zeros(SIZE, np.int64)
    for step in steps:
        before = kept.copy()
        if isinstance(step, dict):
            places = sorted(step)
            counts = Counts(np.array(places, np.int64), np.array([step[at] for at in places], np.int64))
            packed.add_to(kept, counts)
            packed.add_to(vector, counts)
        else:
            start, values = step[0], np.array(step[1], np.int64)[: SIZE - step[0]]
            packed.put(kept, start, values)
            packed.put(vector, start, values)
        assert packed.unpack(kept).tolist() == vector.tolist()
        assert packed.first(kept) == packed.first(vector)
        assert (np.diff(kept.wide.place) > 0).all()
        packed.add_to(before, counts_between(packed.unpack(before), vector))
        assert packed.unpack(before).tolist() == vector.tolist()  # the copy was not changed with it


def counts_between(before: np.ndarray, after: np.ndarray) -> Counts:
    return all_of(after - before)


@settings(max_examples=25)
@given(long, long, long)
def test_a_packed_profile_is_added_stretches_to(first, second, third):
    kept, vector = packed.Packed(np.zeros(80_000, np.uint8), ZERO), np.zeros(80_000, np.int64)
    for start, own in ((0, first), (40_000, second), (0, third), (40_000, third)):
        packed.add_to(kept, moved(short(own), start))
        vector[start : start + 40_000] += own
        assert packed.unpack(kept).tolist() == vector.tolist()
    assert len(kept.wide.place) * 32 <= len(kept)


def test_a_reference_of_which_every_value_is_a_knot_takes_hardly_any_room():
    own = all_of(np.arange(200_001) % 2)
    packed_ = encode(own)
    assert len(packed_) < 1_000
    assert same(decode(packed_), own)
    assert decode(packed_).stretches  # nor when it is read


def test_what_does_not_fit_into_a_stretch_stands_apart_when_it_is_read():
    vector = np.arange(200_001) % 3
    vector[[0, 5, 70_000, 200_000]] = [255, -1, 2**40, 254]
    own = all_of(vector)
    back = decode(encode(own))
    assert back.stretches
    assert same(back, own)
    assert same(add(back, negative(own)), ZERO)
    kept = packed.Packed(np.zeros(len(vector), np.uint8), ZERO)
    packed.add_to(kept, back)
    assert (packed.unpack(kept) == vector).all()
    packed.take_from(kept, back)
    assert not packed.unpack(kept).any()
    assert not len(kept.wide.place)
