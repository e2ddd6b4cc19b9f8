"""Counting by sorting: the same whole numbers as placing each row and adding up, however rows are cut into groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from exporter.drift.ranks import kolmogorov_smirnov
from exporter.profile import categorical, numeric
from exporter.profile.columns import Pieces, Unread
from exporter.profile.counts import Counts, add_into, gather, keep_rows
from exporter.profile.labelled import count_classes
from exporter.profile.model import Batch, ModelBins
from exporter.profile.ordered import learn_numbers
from exporter.profile.outcome import ClassBins, Outcomes, place_classes
from exporter.profile.tally import Cut, count_column, cut, groups_of, learn_categories
from exporter.rows import NumericColumn
from exporter.rows import categorical as read_categories
from exporter.rows import numeric as read_numbers
from exporter.sources import files, parquet
from tests.unit.helpers.profiles import chunked, numeric_bins, numeric_vector

few = st.floats(-5, 5).map(lambda x: round(x, 1))
odd = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e300, -1e300, 5e-324, 1.7e308])
columns = st.lists(few | st.floats(-1e6, 1e6), min_size=1, max_size=60)


def same(found: list[Counts], expected: list[Counts]) -> bool:
    return [tuple(map(list, one)) for one in found] == [tuple(map(list, one)) for one in expected]


def pieces(array: pa.ChunkedArray) -> Pieces:
    """Return a column as it is read: a part a chunk."""
    return Pieces(len(array), (pa.chunked_array([chunk]) for chunk in array.chunks))


def whole(rows: int) -> Cut:
    return Cut(None, np.array([0, rows]))


@given(
    columns, st.lists(few | odd | st.floats(-1e7, 1e7), min_size=1, max_size=80), st.sampled_from([16, 4096]), st.data()
)
def test_numbers_are_counted_as_they_are_placed(reference, values, most, data):
    bins = numeric_bins(reference, most)
    values = np.array(values + data.draw(st.lists(st.sampled_from(bins.knots.tolist()), max_size=20)))
    column = read_numbers(chunked(values.copy()))
    key = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=len(values), max_size=len(values))))
    keys, own = cut(key, key >= 0)
    assert keys.tolist() == sorted({*key.tolist()} - {-1})
    group = groups_of(own, len(values))
    assert (np.where(group >= 0, keys[group], -1) == key).all() if len(keys) else (group == -1).all()
    placed = [keep_rows(part, group >= 0) for part in numeric.place(bins, column.values, column.valid)]
    expected = gather(placed, group, own.groups, bins.size)
    read = pa.chunked_array(
        [pa.array(part, from_pandas=data.draw(st.booleans())) for part in np.array_split(values, 3)]
    )
    for given_as in (
        pieces(read),
        column,
    ):  # two cuts: what the first does with the values must not be seen by the second
        found = count_column(bins, given_as, [own, own])
        assert same(found[0], expected)
        assert same(found[1], expected)


@pytest.mark.parametrize("rows", [700, 3_000, 200_000])
@pytest.mark.parametrize("most", [256, 4_096, 100_000])
@pytest.mark.parametrize("kind", ["normal", "rounded", "zeros", "cauchy"])
def test_long_columns_are_counted_as_they_are_placed(rows, most, kind):
    """Each way of counting: few rows in many knots, many rows in few, several blocks, several groups."""
    random = np.random.default_rng(rows)
    draw = {
        "normal": lambda n: random.normal(size=n),
        "rounded": lambda n: random.normal(100, 15, n).round(2),
        "zeros": lambda n: np.where(random.random(n) < 0.4, 0.0, random.gamma(2, 1, n)),
        "cauchy": random.standard_cauchy,
    }[kind]
    bins, values = numeric.fit(draw(20_000), most), draw(rows)
    for groups in (1, 3):
        keys, own = cut(np.arange(rows) * groups // rows, np.ones(rows, np.bool_))
        placed = numeric.place(bins, values, np.isfinite(values))
        expected = gather(placed, groups_of(own, rows), groups, bins.size)
        assert len(keys) == groups
        assert same(count_column(bins, pieces(pa.chunked_array([values])), [own])[0], expected)


def test_rows_that_do_not_count_in_a_column_are_left_out():
    bins = numeric_bins([1.0, 2.0, 3.0])
    column = NumericColumn(
        np.array([1.0, np.nan, 2.0, 9.0, np.nan]),
        np.array([True, False, True, True, True]),
        np.array([True, True, False, True, True]),
    )
    (found,) = count_column(bins, column, [whole(5)])[0]
    vector = np.zeros(bins.size, np.int64)
    add_into(vector, found)
    assert (vector[1], vector[bins.missing - 1], vector[bins.missing], vector[bins.invalid]) == (1, 1, 1, 1)
    assert vector[: bins.invalid + 1].sum() == 4


texts = st.lists(st.sampled_from(["a", "b", "c", "", None]), min_size=1, max_size=40)


@given(texts.filter(any), texts, st.booleans(), st.data())
def test_categories_are_counted_as_they_are_placed(reference, values, encoded, data):
    known = read_categories(chunked(reference, pa.string()))
    bins = categorical.fit(known.names, known.codes)
    column = chunked(values, pa.string())
    typed = read_categories(column)
    key = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(values), max_size=len(values))))
    _, own = cut(key, key >= 0)
    group = groups_of(own, len(values))
    placed = [keep_rows(part, group >= 0) for part in categorical.place(bins, typed.names, typed.codes)]
    expected = gather(placed, group, own.groups, bins.size)
    parts = pa.chunked_array([column.chunk(0)[: len(values) // 2], column.chunk(0)[len(values) // 2 :]])
    read = pa.chunked_array([one.dictionary_encode() for one in parts.chunks]) if encoded else parts
    assert same(count_column(bins, pieces(read), [own])[0], expected)
    assert same(count_column(bins, typed, [own])[0], expected)


def test_a_column_of_the_other_kind_is_refused():
    numbers, categories = numeric_bins([1.0, 2.0]), categorical.fit(["a"], np.array([0]))
    with pytest.raises(TypeError, match="does not fit NumericBins"):
        count_column(numbers, read_categories(chunked(["a"])), [whole(1)])
    with pytest.raises(TypeError, match="does not fit CategoryBins"):
        count_column(categories, read_numbers(chunked([1.0])), [whole(1)])


@given(columns, st.lists(few | st.floats(-1e6, 1e6), min_size=1, max_size=80))
def test_ks_is_scipys_where_every_value_of_the_reference_is_a_knot(reference, window):
    """Ties, repeats and values out of range; to 1e-12, whatever the rows."""
    bins = numeric_bins(reference)
    samples = []
    for values in (reference, window):
        vector = np.zeros(bins.size, np.int64)
        add_into(vector, count_column(bins, pieces(chunked(np.array(values))), [whole(len(values))])[0][0])
        assert (vector == numeric_vector(bins, values)).all()
        samples.append(numeric.sample(bins, vector))
    assert kolmogorov_smirnov(*samples) == pytest.approx(
        ks_2samp(reference, window, method="asymp").statistic, abs=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [5, 4_000, 300_000])
def test_a_classifiers_outcomes_are_counted_as_they_are_placed(classes, rows):
    """Ties, scores at a tenth, of 0 and 1, missing or not there, predictions of no class; in one group and several."""
    random = np.random.default_rng(rows + classes)
    scores = random.random((rows, 1 if classes == 2 else classes))
    rounded = random.random(scores.shape) < 0.5
    scores[rounded] = scores[rounded].round(2)
    fitted = tuple(numeric.beyond(numeric.fit(column.clip(0.01, 0.99), 500)) for column in scores[:1_000].T)
    scores[random.random(rows) < 0.01] = random.choice([0.0, -0.0, 1.0, 1.5, -0.5, np.nan, 5e-324])
    label, said = random.integers(0, classes, rows), random.integers(-1, classes, rows)
    for known, columns in ((fitted, scores), (fitted, np.abs(scores).clip(0, 0.99)), ((), scores[:, :0])):
        outcomes = Outcomes(said.astype(np.float64), label.astype(np.float64), columns)
        bins = ClassBins(tuple("abc"[:classes]), known)
        for groups in (1, 3):
            _, own = cut(random.integers(0, groups, rows), random.random(rows) < 0.9)
            group = groups_of(own, rows)
            placed = [keep_rows(part, group >= 0) for part in place_classes(bins, outcomes)]
            assert same(count_classes(bins, outcomes, own), gather(placed, group, own.groups, bins.size))


@pytest.mark.parametrize("wrong", [0.0, -0.0, 1.0])
def test_a_classifier_of_one_class_and_one_score_is_counted_as_it_is_placed(wrong):
    bins = ClassBins(("0", "1"), (numeric.beyond(numeric.fit(np.linspace(0, 1, 11), 500)),))
    for label in (0.0, 1.0):
        rows = Outcomes(np.zeros(2_000), np.full(2_000, label), np.full((2_000, 1), wrong))
        expected = gather(place_classes(bins, rows), np.zeros(2_000, np.int64), 1, bins.size)
        assert same(count_classes(bins, rows, whole(2_000)), expected)


@given(
    st.lists(few | odd | st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=80),
    st.sampled_from([4, 16, 4096]),
    st.sampled_from(["float64", "text", "whole"]),
)
def test_what_is_fitted_and_counted_at_once_is_what_is_fitted_and_then_counted(values, most, kind):
    if kind == "whole":
        values = [None if one is None or not abs(one) < 1e6 else int(one) for one in values]
    array = pa.array([None if one is None else str(one) for one in values] if kind == "text" else values)
    column = pa.chunked_array([array[:3], array[3:]])
    typed = read_numbers(column)
    valid = typed.values[typed.valid & ~np.isnan(typed.values)]
    if not len(valid):
        with pytest.raises(ValueError, match="no valid value"):
            learn_numbers(column, most)
        return
    bins, counts = learn_numbers(column, most)
    apart = numeric.fit(valid, most)
    assert [np.asarray(one).tolist() for one in bins] == [np.asarray(one).tolist() for one in apart]
    assert same([counts], count_column(apart, pieces(column), [whole(len(values))])[0])


@given(texts.filter(any))
def test_categories_are_fitted_and_counted_at_once_as_one_after_the_other(values):
    column = chunked(values, pa.string())
    typed = read_categories(column)
    bins, counts = learn_categories(column)
    assert bins == categorical.fit(typed.names, typed.codes)
    assert same([counts], count_column(bins, typed, [whole(len(values))])[0])


@pytest.mark.parametrize("at_once", [1, 10_000, 131_072])
def test_a_file_is_counted_by_column_as_a_table_in_memory_is(tmp_path: Path, monkeypatch, at_once):
    """Row groups, nulls, categories, rows left out: read as they are counted, on all threads, in pieces."""
    monkeypatch.setattr(parquet, "_AT_ONCE", at_once)
    random = np.random.default_rng(5)
    rows = 30_000
    data = {f"x{i}": pa.array(random.normal(size=rows), mask=random.random(rows) < 0.01) for i in range(20)}
    data |= {"c": pa.array(random.choice(["u", "v", None], rows)), "i": pa.array(random.integers(0, 50, rows))}
    table = pa.table(data)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7_000)
    kinds = {name: "categorical" if name == "c" else "numeric" for name in data}
    bins = ModelBins(
        {name: _fitted(table[name], kind) for name, kind in kinds.items()},
        _fitted(table["i"], "numeric"),
        (),
        None,
        None,
    )
    chunk, *others = files.read_new((str(tmp_path / "a.parquet"),), {}, at_once=files.MANY)
    assert not others
    assert isinstance(chunk.table, parquet.Rows)
    kept = pa.array(random.random(rows) < 0.7)
    in_memory, in_file = table.filter(kept), chunk.table.filter(kept)
    assert len(in_memory) == len(in_file)
    key = random.integers(0, 4, len(in_file))
    _, own = cut(key, key < 3)
    found = [
        bins.count_rows(Batch(len(one), features, read_numbers(one["i"]), ()), [own, whole(len(one))])
        for one, features in (
            (in_file, Unread(in_file, kinds, {})),
            (in_memory, dict(Unread(in_memory, kinds, {}))),
        )
    ]
    batch = Batch(len(in_memory), Unread(in_memory, kinds, {}), read_numbers(in_memory["i"]), ())
    group = groups_of(own, len(in_memory))
    expected = gather([keep_rows(part, group >= 0) for part in bins.place_rows(batch)], group, 3, bins.size)
    assert same(found[0][0], expected)
    assert same(found[1][0], expected)
    assert same(found[0][1], found[1][1])


def _fitted(column: pa.ChunkedArray, kind: str) -> numeric.NumericBins | categorical.CategoryBins:
    if kind == "categorical":
        own = read_categories(column)
        return categorical.fit(own.names, own.codes)
    values = read_numbers(column).values
    return numeric.fit(values[~np.isnan(values)], 4096)


def test_a_file_that_breaks_in_the_middle_is_unreadable(tmp_path: Path):
    """Its end is there, so it opens; what cannot be read is told when it is."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({f"x{i}": np.random.default_rng(i).normal(size=30_000) for i in range(20)}), path)
    raw = bytearray(path.read_bytes())
    raw[1_000:2_000_000] = bytes(1_999_000)
    path.write_bytes(raw)
    (chunk,) = files.read_new((str(path),), {}, at_once=files.MANY)
    assert chunk.table is not None
    with pytest.raises(files.Unreadable):
        chunk.table["x0"]
