"""A sample of rows merges like the rows themselves, is uniform, and comes back from the store as it was."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.profile import categorical, numeric
from exporter.profile import sample as s
from exporter.profile.model import Batch, ModelBins
from exporter.rows import CategoryColumn, NumericColumn

NAN = float("nan")


def rows_of(ids: list[int]) -> np.ndarray:
    """One row an id, with missing values."""
    values = np.array(ids, np.float32)
    return np.column_stack([values, np.where(values % 3 == 0, np.nan, values)]).reshape(-1, 2).astype(np.float32)


def taken(ids: list[int], most: int = 10) -> s.RowSample:
    """Sample rows with these ids."""
    return s.take(s.hash_ids(str(i) for i in ids), rows_of(ids), most)


def same(a: s.RowSample, b: s.RowSample) -> bool:
    """Equal to the last bit."""
    return (a.limit, a.hashes.tolist(), a.rows.tobytes()) == (b.limit, b.hashes.tolist(), b.rows.tobytes())


IDS = st.lists(st.integers(0, 60), max_size=40)


@settings(max_examples=200, deadline=None)
@given(IDS, IDS, IDS)
def test_merging_samples_is_sampling_all_rows(a: list[int], b: list[int], c: list[int]) -> None:
    """Associative, commutative, idempotent, and no different from one sample of everything."""
    x, y, z = taken(a), taken(b), taken(c)
    whole = taken(a + b + c)
    assert same(s.merge([x, y, z], 10), whole)
    assert same(s.merge([s.merge([x, y], 10), z], 10), whole)
    assert same(s.merge([z, s.merge([y, x], 10)], 10), whole)
    assert same(s.merge([x, x], 10), x)
    assert len(whole.rows) == min(len(set(a + b + c)), 10)


def test_rows_with_one_hash_and_different_content_do_not_depend_on_the_order() -> None:
    """An id that came twice keeps the same row in any order of merging."""
    hashes = np.array([7], np.uint64)
    parts = [s.take(hashes, np.array([[v, 1.0]], np.float32)) for v in (2.0, NAN, -1.0)]
    results = [s.merge(order) for order in permutations(parts)]
    assert len(results[0].rows) == 1
    assert all(same(results[0], other) for other in results)


def test_keeps_the_smallest_hashes_and_says_up_to_where() -> None:
    """All rows below the limit are there; the limit is the first hash that is not."""
    ids = list(range(50))
    hashes = np.sort(s.hash_ids(map(str, ids)))
    found = taken(ids, 10)
    assert found.hashes.tolist() == hashes[:10].tolist()
    assert found.limit == hashes[10]
    assert taken(ids[:10]).limit == s.ALL


def test_hash_is_blake2b_of_the_id_in_any_process() -> None:
    """Equal to the published function, and in another process with another hash seed."""
    wanted = int.from_bytes(hashlib.blake2b("ü-1".encode(), digest_size=8, person=b"row sample").digest(), "little")
    assert s.hash_ids(["ü-1"]).tolist() == [wanted]
    code = "from exporter.profile.sample import hash_ids; print(hash_ids(['ü-1'])[0])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(run.stdout) == wanted


@pytest.mark.parametrize("seed", range(5))
def test_sample_is_uniform_over_ids(seed: int) -> None:
    """Of 20,000 numbered ids each tenth has its share."""
    found = s.take(
        s.hash_ids(f"{seed}-{i}" for i in range(20_000)), np.arange(20_000, dtype=np.float32)[:, None], 2_000
    )
    per_tenth = np.bincount((found.rows[:, 0] // 2_000).astype(int), minlength=10)
    assert stats.chisquare(per_tenth).pvalue > 0.001
    assert np.ptp(per_tenth) > 0


def test_a_window_has_busy_and_quiet_buckets_by_their_rows() -> None:
    """Two full buckets of 20,000 and 1,000 rows are not merged half and half."""
    busy = s.take(s.hash_ids(f"b{i}" for i in range(20_000)), np.zeros((20_000, 1), np.float32), 500)
    quiet = s.take(s.hash_ids(f"q{i}" for i in range(1_000)), np.ones((1_000, 1), np.float32), 500)
    window = s.merge([busy, quiet])
    assert 500 <= len(window.rows) <= 560
    assert stats.binomtest(int(window.rows.sum()), len(window.rows), 1 / 21).pvalue > 0.001


def test_window_of_many_unequal_buckets_is_uniform() -> None:
    """Twenty buckets of 50 to 8,000 rows: each has its share, whatever the order, and by halves that were merged."""
    sizes = np.geomspace(50, 8_000, 20).astype(int)
    buckets = [
        s.take(s.hash_ids(f"{b}-{i}" for i in range(n)), np.full((n, 1), b, np.float32)) for b, n in enumerate(sizes)
    ]
    window = s.merge(buckets)
    assert same(s.merge(buckets[::-1]), window)
    assert same(s.merge([s.merge(buckets[:7]), s.merge(buckets[7:])]), window)
    found = np.bincount(window.rows[:, 0].astype(int), minlength=20)
    assert 500 <= found.sum() <= s.WINDOW_ROWS
    expected = sizes / sizes.sum() * found.sum()
    busy, rest = expected >= 5, expected < 5
    observed, wanted = [*found[busy], found[rest].sum()], [*expected[busy], expected[rest].sum()]
    assert stats.chisquare(observed, wanted).pvalue > 0.001
    alike = np.bincount(np.concatenate([b.rows[:, 0] for b in buckets]).astype(int))  # without the limit
    assert stats.chisquare(alike, sizes / sizes.sum() * alike.sum()).pvalue < 1e-9


def test_window_of_equal_buckets_holds_up_to_most_rows() -> None:
    """Ten buckets of 500 rows give 5,000, all of the smallest hashes."""
    ids = [[f"{b}-{i}" for i in range(3_000)] for b in range(10)]
    buckets = [s.take(s.hash_ids(own), np.zeros((3_000, 1), np.float32)) for own in ids]
    window = s.merge(buckets)
    every = np.sort(np.concatenate([s.hash_ids(own) for own in ids]))
    assert window.limit == min(own.limit for own in buckets)
    assert window.hashes.tolist() == every[every < window.limit].tolist()
    assert 4_000 < len(window.hashes) <= 5_000


def test_gather_is_take_per_group() -> None:
    """Groups without rows have an empty sample."""
    ids = list(range(100))
    group = np.array([i % 3 if i % 3 < 2 else 3 for i in ids])
    found = s.gather(s.hash_ids(map(str, ids)), rows_of(ids), group, 4, 10)
    for number in range(4):
        assert same(found[number], taken([i for i in ids if group[i] == number]))
    assert len(found[2].rows) == 0
    assert found[2].limit == s.ALL


def test_rows_without_ids_hash_by_time_and_content() -> None:
    """Equal rows are one; another time, value or number makes another; NaN and zero have one form each."""
    odd = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    rows = np.array([[1, NAN], [1, odd], [2, NAN], [0.0, NAN], [-0.0, NAN]], np.float32)
    time = np.zeros(5, np.int64)
    a = s.hash_rows(time, rows)
    assert a[0] == a[1] and a[3] == a[4]
    assert len(set(a.tolist())) == 3
    assert not set(a.tolist()) & set(s.hash_rows(time + 1, rows).tolist())
    numbered = s.hash_rows(time, rows, np.arange(5))
    assert len(set(numbered.tolist())) == 5
    assert numbered.tolist() == [int(s.hash_rows(time[:1], rows[[i]], np.array([i]))[0]) for i in range(5)]


def test_row_holds_numbers_and_category_indices() -> None:
    """Unseen is C, missing C + 1; invalid and missing numbers are NaN; what float32 cannot hold is its largest."""
    bins = ModelBins(
        {"x": numeric.fit(np.array([1.0, 2.0]), 10), "c": categorical.fit(["a", "b"], np.array([0, 1]))},
        categorical.fit(["p"], np.array([0])),
        (),
        None,
        None,
    )
    batch = Batch(
        4,
        {
            "c": CategoryColumn(("b", "new"), np.array([0, 1, -1, 0])),
            "x": NumericColumn(np.array([1.5, NAN, np.inf, 1e300]), np.array([True, True, False, True])),
        },
        CategoryColumn(("p",), np.zeros(4, np.int64)),
        (),
    )
    rows = s.as_rows(bins, batch)
    np.testing.assert_array_equal(rows, np.array([[1.5, 1], [NAN, 2], [NAN, 3], [np.finfo(np.float32).max, 1]], "f4"))
    assert s.features_of(bins) == (("x", "c"), (0, 2))
    wrong = batch._replace(features={"x": batch.features["c"], "c": batch.features["x"]})
    with pytest.raises(TypeError, match="does not fit"):
        s.as_rows(bins, wrong)


def test_batch_is_sampled_by_bucket() -> None:
    """By id, or without ids by time and content; two halves of a batch merge to the whole, in any order."""
    bins = ModelBins({"x": numeric.fit(np.arange(9.0), 10)}, categorical.fit(["p"], np.array([0])), (), None, None)
    values, time, bucket = np.arange(300.0) % 7, np.arange(300) // 2, np.arange(300) % 3
    ids = [f"r{i}" for i in range(300)]

    def batch(rows: slice) -> Batch:
        own = values[rows]
        column = NumericColumn(own, np.ones(len(own), bool))
        return Batch(len(own), {"x": column}, CategoryColumn(("p",), np.zeros(len(own), np.int64)), ())

    for names in (ids, None):
        parts = [
            s.take_batch(bins, batch(own), names and names[own], time[own], bucket[own], 3, 40)
            for own in (slice(None), slice(0, 110), slice(110, None))
        ]
        for whole, one, other in zip(*parts, strict=True):
            assert same(s.merge([other, one], 40), whole)
            assert len(whole.rows) == 40
    first = s.take_batch(bins, batch(slice(None)), ids, time, bucket, 3, 40)[1]
    own = [i for i in range(300) if bucket[i] == 1]
    assert same(first, s.take(s.hash_ids(ids[i] for i in own), values[own, None].astype("f4"), 40))


@pytest.mark.parametrize("ids", [[], [3], list(range(40))])
def test_comes_back_from_the_store_to_the_last_bit(ids: list[int]) -> None:
    """Empty and cut samples, too."""
    assert same(s.decode(s.encode(taken(ids))), taken(ids))


def test_packs_smaller_than_its_numbers() -> None:
    """Categories and rounded numbers cost little."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 9, (1_000, 10)), rng.normal(50, 9, (1_000, 10)).round(1)]).astype("f4")
    found = s.take(s.hash_ids(map(str, range(1_000))), rows, 1_000)
    assert len(s.encode(found)) < 0.6 * (found.rows.nbytes + found.hashes.nbytes)


def test_refuses_what_does_not_fit() -> None:
    """Lengths, widths, nothing to merge, another form."""
    with pytest.raises(ValueError, match="2 hashes for 1 rows"):
        s.take(np.zeros(2, np.uint64), np.zeros((1, 1), np.float32))
    narrow = s.take(np.zeros(1, np.uint64), np.zeros((1, 1), np.float32))
    for wrong in ([], [narrow, taken([1])]):
        with pytest.raises(ValueError, match="one width"):
            s.merge(wrong)
    with pytest.raises(ValueError, match="form 9"):
        s.decode(b"\x09" + s.encode(narrow)[1:])
