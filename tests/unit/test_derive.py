"""Numbers derived from text and embeddings: what they are, and that reference and new rows are treated alike."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from exporter import derive
from exporter.baseline import dump, restore
from exporter.derive import Embedding, fit_embedding, fit_text, from_json, names, to_json
from exporter.profile.batch import read_batch
from exporter.profile.counts import ZERO, add
from exporter.reference import fit
from exporter.rows import NumericColumn
from exporter.schema import groups, origin, tells_missing
from tests.unit.helpers.profiles import random_table, settings, take

WORDS = np.array([f"word{number}" for number in range(3000)])
CHANCE = 1 / np.arange(1, 3001) / sum(1 / np.arange(1, 3001))  # Zipf's law


def texts(random: np.random.Generator, count: int, words: int = 8) -> list[str]:
    """Sentences of a vocabulary with a long tail: the next one always has words that were never seen."""
    return [" ".join(row) for row in random.choice(WORDS, (count, words), p=CHANCE)]


def column(values, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def lists(values: np.ndarray) -> pa.ChunkedArray:
    return column(values.tolist(), pa.list_(pa.float64()))


def text_numbers(reference, rows, own: bool = False) -> tuple[list[float], list[float]]:
    found = derive.derive("c", fit_text(column(reference)), column(rows, pa.string()), own)
    assert all(one.valid.all() for one in found.values())
    return tuple(one.values.tolist() for one in found.values())


def vector_numbers(transform: Embedding, rows: pa.ChunkedArray, own: bool = False) -> dict[str, NumericColumn]:
    found = derive.derive("v", transform, rows, own)
    assert tuple(found) == names("v", transform)
    return found


def test_length_and_unknown_words_of_a_text():
    """Words compare in lower case and composed; a text without words has no share, a missing one has nothing."""
    reference = ["The cat sat.", "the CAF\u00c9 sat", "a \u4e2d\u6587 cat"]
    rows = ["the dog, the CAT!", "cafe\u0301", "\U0001f600\U0001f600 ...", "", None, "unicorn"]
    length, unknown = text_numbers(reference, rows)
    np.testing.assert_array_equal(length, [17, 5, 6, 0, np.nan, 7])
    np.testing.assert_array_equal(unknown, [0.25, 0, np.nan, np.nan, np.nan, 1])


@given(
    st.lists(st.tuples(st.text("ab cd", max_size=8) | st.none(), st.integers(0, 4)), min_size=2, max_size=12),
    st.booleans(),
)
def test_a_row_of_the_reference_is_judged_by_the_others(rows, by_day):
    """Leave-one-out: the share is that of a new row where the reference is all the other rows, or days."""
    words = [text for text, _ in rows]
    group = [day for _, day in rows] if by_day else list(range(len(rows)))
    transform = fit_text(column(words, pa.string()), np.array(group))
    own = derive.derive("c", transform, column(words, pa.string()), own=True)["c.unknown_words"].values
    for number, text in enumerate(words):
        others = [other or "" for other, day in zip(words, group, strict=True) if day != group[number]]
        np.testing.assert_array_equal(own[number], text_numbers(others, [text])[1])
    if not by_day:
        assert transform == fit_text(column(words, pa.string()))


def test_days_that_repeat_themselves_are_left_out_as_one():
    """Each day has words of its own; the next one, too."""
    random = np.random.default_rng(8)
    days = np.repeat(np.arange(40), 20)

    def rows(first: int) -> list[str]:
        return [f"{text} topic{first + day}" for text, day in zip(texts(random, 800), days, strict=True)]

    reference, new = rows(0), rows(100)
    by_day, by_row = fit_text(column(reference), days), fit_text(column(reference))
    expected = np.mean(derive.derive("c", by_day, column(new))["c.unknown_words"].values)
    found = [derive.derive("c", one, column(reference), own=True)["c.unknown_words"].values for one in (by_day, by_row)]
    assert np.mean(found[0]) == pytest.approx(expected, abs=0.02)
    assert np.mean(found[1]) < expected - 0.1


def test_reference_and_unchanged_rows_have_the_same_share_of_unknown_words():
    """The means over 60 pairs agree to within four standard errors; had the reference its own words, they would not."""
    random = np.random.default_rng(5)
    gaps, naive = [], []
    for _ in range(60):
        reference, rows = texts(random, 150), texts(random, 150)
        new = np.mean(text_numbers(reference, rows)[1])
        gaps.append(np.mean(text_numbers(reference, reference, own=True)[1]) - new)
        naive.append(np.mean(text_numbers(reference, reference)[1]) - new)
    error = np.std(gaps) / math.sqrt(len(gaps))
    assert abs(np.mean(gaps)) < 4 * error < 0.01
    assert np.mean(naive) < -0.2


def test_real_descriptions_of_days_that_were_not_seen():
    """Half of the days of a shop's orders against the other half, 10 splits, both ways."""
    orders = pq.read_table(Path(__file__).parents[1] / "data" / "retail" / "reference.parquet")
    description = orders["top_description"]
    days = orders["timestamp"].cast(pa.int64()).to_numpy() // 86_400_000_000
    means = []
    for seed in range(10):
        first = np.isin(days, np.random.default_rng(seed).permutation(np.unique(days))[::2])
        for seen in (first, ~first):
            by_day, by_row = fit_text(description.filter(seen), days[seen]), fit_text(description.filter(seen))
            rows = ((by_day, ~seen, False), (by_day, seen, True), (by_row, seen, True))
            shares = [derive.derive("c", one, description.filter(part), own) for one, part, own in rows]
            means.append([np.nanmean(one["c.unknown_words"].values) for one in shares])
    assert np.mean(means, axis=0) == pytest.approx([0.0282, 0.0282, 0.0222], abs=0.0001)


def test_a_full_vocabulary_asks_for_more_rows(monkeypatch: pytest.MonkeyPatch):
    """The commonest words that fit; a row of the reference must not count itself then, either."""
    reference = [*["a b"] * 3, *["a c"] * 2, "a d", "e"]
    monkeypatch.setattr(derive, "MOST_WORDS", 2)
    transform = fit_text(column(reference))
    assert (len(transform.common), len(transform.rare)) == (8, 8)  # a in 6 rows, b in 3; c in 2 does not fit
    assert text_numbers(reference, ["a", "b", "c", "d", "e"])[1] == [0, 0, 1, 1, 1]
    assert text_numbers(reference, reference, own=True)[1] == [*[0.5] * 6, 1]
    monkeypatch.setattr(derive, "MOST_WORDS", 1)
    assert text_numbers(reference, ["a", "b"])[1] == [0, 1]


def test_the_shares_with_a_full_vocabulary_agree_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(derive, "MOST_WORDS", 60)
    random = np.random.default_rng(6)
    gaps = []
    for _ in range(60):
        reference, rows = texts(random, 150), texts(random, 150)
        own = np.mean(text_numbers(reference, reference, own=True)[1])
        gaps.append(own - np.mean(text_numbers(reference, rows)[1]))
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / math.sqrt(len(gaps)) < 0.02


def anisotropic(random: np.random.Generator, rows: int, size: int = 20) -> np.ndarray:
    return random.normal(size=(rows, size)) * 2.0 ** -np.arange(size) + 3.0


def test_axes_are_the_principal_components_of_the_rows_that_do_not_count():
    values = anisotropic(np.random.default_rng(1), 401)
    transform = fit_embedding(lists(values), 20)
    found = vector_numbers(transform, lists(values), own=True)
    held_out = found["v.1"].counted
    assert held_out is not None
    assert (~held_out).sum() == 200
    assert found["v.norm"].counted is None
    fitted = values[~held_out]
    oracle = PCA(8).fit(fitted)
    np.testing.assert_allclose(np.frombuffer(transform.center), fitted.mean(axis=0), rtol=1e-12)
    assert transform.scale == pytest.approx(math.sqrt(fitted.var(axis=0).sum()), rel=1e-12)
    coordinates = oracle.transform(values)
    for number in range(8):
        own = found[f"v.{number + 1}"].values
        assert np.isnan(own[~held_out]).all()
        expected = coordinates[held_out, number]
        sign = np.sign(oracle.components_[number][np.abs(oracle.components_[number]).argmax()])
        np.testing.assert_allclose(own[held_out], sign * expected, atol=1e-5)
    away = np.linalg.norm(values - fitted.mean(axis=0), axis=1) / transform.scale
    np.testing.assert_allclose(vector_numbers(transform, lists(values))["v.distance"].values, away, rtol=1e-12)
    np.testing.assert_allclose(found["v.norm"].values, np.linalg.norm(values, axis=1), rtol=1e-6)


def test_the_reference_is_not_wider_along_its_axes_than_new_rows():
    """Without structure axes follow the noise of the rows they were fitted on: those are left out."""
    random = np.random.default_rng(2)
    values = random.normal(size=(600, 64))
    transform = fit_embedding(lists(values), 64)
    new = vector_numbers(transform, lists(random.normal(size=(4000, 64))))
    for name, one in vector_numbers(transform, lists(values), own=True).items():
        if name not in {"v.norm", "v.distance"}:
            assert np.nanstd(one.values) == pytest.approx(np.std(new[name].values), rel=0.17)
    everything = vector_numbers(transform, lists(values))
    chosen = ~vector_numbers(transform, lists(values), own=True)["v.1"].counted
    assert np.std(everything["v.1"].values[chosen]) > 1.3 * np.std(new["v.1"].values)


def test_half_of_equal_rows_are_fitted_on():
    """So what counts of the reference is a fair sample of it, nulls among it."""
    values = [[1.0, 2.0]] * 40 + [[3.0, 4.0]] * 20 + [None] * 30
    transform = fit_embedding(column(values), 2)
    counted = vector_numbers(transform, column(values), own=True)["v.1"].counted
    assert [int(counted[a:b].sum()) for a, b in ((0, 40), (40, 60), (60, 90))] == [20, 10, 15]


def test_at_most_so_many_rows_are_fitted_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(derive, "MOST_ROWS", 50)
    values = lists(anisotropic(np.random.default_rng(3), 300, 5))
    transform = fit_embedding(values, 5)
    assert vector_numbers(transform, values, own=True)["v.1"].counted.sum() == 250


@pytest.mark.parametrize(
    ("values", "axes"),
    [
        pytest.param(np.ones((30, 3)), 0, id="constant"),
        pytest.param(np.outer(np.arange(30.0), [1, 2, 3]), 1, id="a line"),
        pytest.param(np.random.default_rng(0).normal(size=(8, 40)), 3, id="fewer rows than numbers"),
        pytest.param(np.random.default_rng(0).normal(size=(40, 3)), 3, id="three numbers"),
    ],
)
def test_there_are_as_many_axes_as_directions(values, axes):
    transform = fit_embedding(lists(values), values.shape[1])
    assert len(names("v", transform)) == 2 + axes
    matrix = np.frombuffer(transform.axes, np.float32).reshape(axes, values.shape[1]).astype(np.float64)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(axes), atol=1e-6)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in matrix)


def test_vectors_of_length_one_have_exactly_that_norm():
    """Rounding errors of single precision are no drift."""
    values = np.random.default_rng(4).normal(size=(500, 30))
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    rows = column(unit.tolist(), pa.list_(pa.float32()))
    assert set(vector_numbers(fit_embedding(rows, 30), rows)["v.norm"].values.tolist()) == {1.0}


def test_odd_vectors_are_invalid_and_null_is_missing():
    transform = fit_embedding(lists(anisotropic(np.random.default_rng(1), 50, 2)), 2)
    rows = [[1.0, 2.0], None, [1.0], [1.0, 2.0, 3.0], [1.0, None], [math.nan, 1.0], [math.inf, 1.0], [], [1e300, 1.0]]
    for one in vector_numbers(transform, column(rows)).values():
        assert one.valid.tolist() == [True, True, *[False] * 7]
        assert np.isnan(one.values).tolist() == [False, *[True] * 8]


def test_what_cannot_be_fitted_says_so():
    for values, message in (([None, None], "no valid vector"), ([[1e300, 1.0], [-1e300, 1.0]] * 3, "too large")):
        with pytest.raises(ValueError, match=message):
            fit_embedding(column(values, pa.list_(pa.float64())), 2)
    with pytest.raises(ValueError, match="no list of numbers"):
        derive.commonest_length(column(["a", None]))
    assert derive.commonest_length(column(["[1, 2]", "[1]", "[2]", "[]", "x", "[3, 4]", None])) == 1


@given(st.integers(0, 2**32 - 1))
def test_transforms_come_back_to_the_last_bit(seed):
    random = np.random.default_rng(seed)
    for made in (fit_embedding(lists(random.standard_cauchy((30, 4))), 4), fit_text(column(texts(random, 5)))):
        assert from_json(json.loads(json.dumps(to_json(made)))) == made


def rich_table(seed: int, count: int) -> pa.Table:
    """A small model's rows with a comment and a vector, some of them odd."""
    random = np.random.default_rng(seed)
    rows = random_table(seed, count)
    comments = [None if random.random() < 0.1 else text for text in texts(random, count, 3)]
    vectors = random.normal(size=(count, 6)).astype(np.float32).tolist()
    for number in np.flatnonzero(random.random(count) < 0.2):
        vectors[number] = [None, [1.0], [math.nan] * 6, [0.0] * 6][random.integers(4)]
    rows = rows.append_column("comment", pa.array(comments, pa.string()))
    return rows.append_column("vector", pa.array(vectors, pa.list_(pa.float32())))


FEATURES = {"amount": {}, "comment": "text", "vector": "embedding"}
MODEL = settings(columns={"features": FEATURES})
REFERENCE = rich_table(0, 300)
BASELINE = fit(MODEL, REFERENCE)
DERIVED = ["comment.length", "comment.unknown_words", "vector.norm", "vector.distance"]
DERIVED += [f"vector.{axis}" for axis in range(1, 7)]


@given(st.integers(1, 10**6), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), max_size=6))
def test_neither_order_nor_cuts_of_the_rows_matter(seed, shuffle, cuts):
    """The profile of all rows is the sum of its parts, to the last unit."""
    rows = rich_table(seed, 40)
    mixed = rows.take(np.random.default_rng(shuffle).permutation(40))
    parts = [take(MODEL, BASELINE, mixed[a:b]) for a, b in pairwise([0, *sorted(cuts), 40])]
    found, whole = add(ZERO, *parts), take(MODEL, BASELINE, rows)
    assert found.place.tolist() == whole.place.tolist()
    assert found.amount.tolist() == whole.amount.tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 7, 16, 33, 100, 769]), st.integers(1, 40))
def test_a_vector_has_the_same_numbers_in_any_company(seed, size, count):
    """To the last bit: alone, in a slice, and among others."""
    random = np.random.default_rng(seed)
    axes = random.normal(size=(3, size)).astype(np.float32).tobytes()
    transform = Embedding(random.normal(size=size).tobytes(), axes, 1.5)
    rows = lists(random.normal(size=(count, size)))
    whole = vector_numbers(transform, rows)
    for number in range(count):
        for name, one in vector_numbers(transform, rows.slice(number, 1)).items():
            assert one.values.tobytes() == whole[name].values[number : number + 1].tobytes()


def test_many_rows_are_read_in_slices(monkeypatch: pytest.MonkeyPatch):
    whole = read_batch(MODEL, BASELINE.schema, REFERENCE, own=True)
    monkeypatch.setattr(derive, "_SLICE", 7)
    for name, one in read_batch(MODEL, BASELINE.schema, REFERENCE, own=True).features.items():
        np.testing.assert_array_equal(one.values, whole.features[name].values)
    assert fit(MODEL, REFERENCE).hash == BASELINE.hash


def test_derived_features_are_features_with_an_origin():
    assert list(BASELINE.bins.features) == ["amount", *DERIVED]
    schema = BASELINE.schema
    assert [origin(schema, name) for name in BASELINE.bins.features] == ["amount", *["comment"] * 2, *["vector"] * 8]
    assert origin(schema, "vector.9") == "vector.9"
    assert groups(schema) == {"vector": tuple(DERIVED[2:])}
    told = [name for name in BASELINE.bins.features if tells_missing(schema, name)]
    assert told == ["amount", "comment.length", "vector.norm"]


def test_the_counts_of_the_reference_are_those_of_its_own_rows():
    """Each feature has its shares; the rows that the axes were fitted on are in no count of theirs."""
    comment, vector = REFERENCE["comment"].to_pylist(), REFERENCE["vector"].to_pylist()
    totals = {}
    for name in DERIVED:
        bins, part = BASELINE.bins.features[name], BASELINE.bins.part(BASELINE.vector, f"feature:{name}")
        totals[name] = int(part[: bins.invalid + 1].sum())
        if name == "comment.length":
            assert part[bins.missing] == comment.count(None) > 0
        if name == "vector.norm":
            assert part[bins.missing] == vector.count(None) > 0
        if name == "vector.distance":
            assert abs(part[bins.missing] - vector.count(None) / 2) <= 1
    assert totals == dict.fromkeys(DERIVED[:3], 300) | dict.fromkeys(DERIVED[3:], 150)


def test_neither_the_order_of_the_reference_nor_a_restart_changes_the_baseline():
    mixed = REFERENCE.take(np.random.default_rng(9).permutation(300))
    assert fit(MODEL, mixed).hash == BASELINE.hash
    back = restore(*dump(BASELINE))
    assert (back.hash, back.schema) == (BASELINE.hash, BASELINE.schema)
    log = rich_table(5, 80)
    assert take(MODEL, back, log).amount.tolist() == take(MODEL, BASELINE, log).amount.tolist()


def test_another_transform_is_another_baseline():
    """Even where bins and counts are the same: a word in place of another that the window may have."""
    comments = REFERENCE["comment"].to_pylist()
    words = Counter(word for text in comments if text for word in text.split())
    once = next(word for word, count in words.items() if count == 1)
    other = [None if text is None else text.replace(once, once[::-1]) for text in comments]
    made = [
        fit(MODEL, REFERENCE.set_column(REFERENCE.column_names.index("comment"), "comment", pa.array(own)))
        for own in (comments, other)
    ]
    assert made[0].bins.hash == made[1].bins.hash
    assert made[0].counts.amount.tolist() == made[1].counts.amount.tolist()
    assert made[0].hash != made[1].hash
