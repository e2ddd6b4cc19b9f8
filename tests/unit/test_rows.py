"""Columns as they come: every type is read, missing, or invalid; none stops the others."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.rows import (
    MISSING,
    NO_TIME,
    SECOND,
    canonical,
    categorical,
    numeric,
    times,
    vector_lengths,
    vectors,
)
from tests.unit.helpers.profiles import chunked

NAN = float("nan")
NEW_YORK = "America/New_York"


def column(values, kind=None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def no_utf8(kind) -> pa.ChunkedArray:
    """Return text with bytes that are none, as a writer that does not look leaves it in a Parquet file."""
    raw = pa.array([b"a", None, b"b\xff"], pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
    return pa.chunked_array([pa.Array.from_buffers(kind, 3, raw.buffers(), raw.null_count)])


def encoded(values) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values).dictionary_encode()])


@pytest.mark.parametrize(
    ("array", "values", "valid"),
    [
        pytest.param(column([1, None, -3]), [1, NAN, -3], [1, 1, 1], id="integers"),
        pytest.param(column([2**64 - 1], pa.uint64()), [2.0**64], [1], id="unsigned"),
        pytest.param(
            column([1.5, NAN, None, np.inf, -np.inf]), [1.5, NAN, NAN, None, None], [1, 1, 1, 0, 0], id="floats"
        ),
        pytest.param(column(np.array([1.5, np.nan, np.inf], np.float16)), [1.5, NAN, None], [1, 1, 0], id="float16"),
        pytest.param(column([True, False, None]), [1, 0, NAN], [1, 1, 1], id="booleans"),
        pytest.param(column([Decimal("1.25"), None]), [1.25, NAN], [1, 1], id="decimals"),
        pytest.param(
            column(["1", " 2.5 ", "-1e3", "", "  ", None, "NA", "x", "inf", "1e999", "nan", "1,5"]),
            [1, 2.5, -1000, NAN, NAN, NAN, *[None] * 6],
            [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
            id="text",
        ),
        pytest.param(column(["1", "x", None], pa.large_string()), [1, None, NAN], [1, 0, 1], id="large text"),
        pytest.param(column(["1", "x", None], pa.string_view()), [1, None, NAN], [1, 0, 1], id="text view"),
        pytest.param(no_utf8(pa.string()), [None, NAN, None], [0, 1, 0], id="bytes that are no text"),
        pytest.param(encoded(["1", "x", None]), [1, None, NAN], [1, 0, 1], id="dictionary of text"),
        pytest.param(encoded([3, 3, None]), [3, 3, NAN], [1, 1, 1], id="dictionary of integers"),
        pytest.param(column([None, None], pa.null()), [NAN, NAN], [1, 1], id="nothing but null"),
        pytest.param(column([[1.0], None]), [None, NAN], [0, 1], id="lists"),
        pytest.param(column([{"a": 1}, None]), [None, NAN], [0, 1], id="structs"),
        pytest.param(column([dt.date(2020, 1, 1), None]), [None, NAN], [0, 1], id="dates"),
        pytest.param(column([b"1", None]), [None, NAN], [0, 1], id="bytes"),
        pytest.param(pa.chunked_array([], pa.float64()), [], [], id="no rows"),
        pytest.param(pa.chunked_array([], pa.string()), [], [], id="no rows of text"),
        pytest.param(pa.chunked_array([[1], [None, 2]], pa.int8()), [1, NAN, 2], [1, 1, 1], id="chunks"),
    ],
)
def test_numbers_are_read_from_any_type(array, values, valid):
    """None stands where there is something that is no finite number; NaN where there is nothing."""
    found = numeric(array)
    assert found.valid.tolist() == [bool(one) for one in valid]
    assert found.values.dtype == np.float64
    for own, value in zip(found.values.tolist(), values, strict=True):
        if value is not None:
            assert own == value or (np.isnan(own) and np.isnan(value))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=20))
def test_numbers_written_as_text_are_the_numbers(values):
    plain, text = (
        numeric(column(values, pa.float64())),
        numeric(column([v if v is None else repr(v) for v in values], pa.string())),
    )
    assert plain.valid.all()
    assert text.valid.all()
    np.testing.assert_array_equal(plain.values, text.values)


FLOATS = pa.list_(pa.float64())
ODD = [[1.0, 2.0], None, [3.0], [4.0, NAN], [5.0, None], [np.inf, 6.0], [], [-0.0, 7.0]]


@pytest.mark.parametrize(
    ("array", "states", "lengths"),
    [
        pytest.param(column(ODD, FLOATS), "v-iiiiiv", [2, -1, 1, 2, 2, 2, 0, 2], id="lists"),
        pytest.param(column(ODD, FLOATS).slice(1, 3), "-ii", [-1, 1, 2], id="slice"),
        pytest.param(column(ODD, pa.large_list(pa.float32())), "v-iiiiiv", [2, -1, 1, 2, 2, 2, 0, 2], id="large lists"),
        pytest.param(column([[1, 2], [3, None], None], pa.list_(pa.int64())), "vi-", [2, 2, -1], id="integers"),
        pytest.param(
            column([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)).slice(1), "-v", [-1, 2], id="fixed size"
        ),
        pytest.param(column([[1, 2, 3]], pa.list_(pa.float16(), 3)), "i", [3], id="fixed size, another"),
        pytest.param(pa.chunked_array([[[1.0, 2.0]], [None, [1.0]]], FLOATS), "v-i", [2, -1, 1], id="chunks"),
        pytest.param(
            column(["[0.1, 2]", " [1,2] ", "[1]", "", "  ", None, "[1, null]", "x", '[1, "2"]', "[true, 1]", "{}"]),
            "vvi---iiiii",
            [2, 2, 1, -1, -1, -1, 2, -2, -2, -2, -2],
            id="text",
        ),
        pytest.param(
            column(["[1, NaN]", "[1, 1e999]", "[" * 9999, f"[1, {10**400}]"]), "iiii", [2, 2, -2, 2], id="odd"
        ),
        pytest.param(encoded(["[1, 2]", None]), "v-", [2, -1], id="dictionary of text"),
        pytest.param(column(["[1, 2]"], pa.string_view()), "v", [2], id="text view"),
        pytest.param(column([["1", "2"], None]), "i-", [-2, -1], id="lists of text"),
        pytest.param(column([1.0, None]), "i-", [-2, -1], id="numbers"),
        pytest.param(column([None], pa.null()), "-", [-1], id="nothing but null"),
        pytest.param(pa.chunked_array([], FLOATS), "", [], id="no rows"),
        pytest.param(pa.chunked_array([], pa.string()), "", [], id="no rows of text"),
    ],
)
def test_vectors_are_read_from_lists_and_text(array, states, lengths):
    """v: valid, i: invalid, -: missing."""
    found = vectors(array, 2)
    assert found.values.shape == (len(states), 2)
    assert "".join("-" if m else "v" if v else "i" for m, v in zip(found.missing, found.valid, strict=True)) == states
    assert (np.isnan(found.values).all(axis=1) == (found.missing | ~found.valid)).all()
    assert not np.signbit(found.values[found.values == 0]).any()
    assert vector_lengths(array).tolist() == lengths


@given(st.lists(st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
def test_vectors_written_as_text_are_the_vectors(rows):
    plain, text = (
        vectors(column(rows, FLOATS), 3),
        vectors(column([None if row is None else repr(row) for row in rows], pa.string()), 3),
    )
    assert plain.values.tobytes() == text.values.tobytes()
    assert plain.values[~plain.missing].tolist() == [row for row in rows if row is not None]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.float32(1), "1"),
        (True, "1"),
        (np.bool_(True), "1"),
        (False, "0"),
        (-0.0, "0"),
        (1e20, "100000000000000000000"),
        (1.5, "1.5"),
        (-7, "-7"),
        ("1", "1"),
        ("1.0", "1.0"),
        ("True", "True"),
        ("007", "007"),
        ("", ""),
        (" a ", " a "),
        ("NA", "NA"),
        (float("inf"), "inf"),
        (None, None),
        (NAN, None),
        (np.float64("nan"), None),
    ],
)
def test_one_rule_writes_a_category(value, name):
    """Numbers and booleans of equal value are one category; text stays as it is."""
    assert canonical(value) == name


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        pytest.param(column([1, 0, None]), ["1", "0", None], id="integers"),
        pytest.param(column([1.0, NAN, None, 2.5]), ["1", None, None, "2.5"], id="floats"),
        pytest.param(column(np.array([1, 0.5], np.float16)), ["1", "0.5"], id="float16"),
        pytest.param(column([True, False, None]), ["1", "0", None], id="booleans"),
        pytest.param(column(["b", "a", None, ""]), ["b", "a", None, ""], id="text"),
        pytest.param(column(["1", "x"], pa.string_view()), ["1", "x"], id="text view"),
        pytest.param(no_utf8(pa.string()), ["a", None, "b\ufffd"], id="bytes that are no text"),
        pytest.param(no_utf8(pa.large_string()), ["a", None, "b\ufffd"], id="bytes that are no long text"),
        pytest.param(no_utf8(pa.string()).dictionary_encode(), ["a", None, "b\ufffd"], id="dictionary of such"),
        pytest.param(encoded(["b", None, "b"]), ["b", None, "b"], id="dictionary"),
        pytest.param(
            pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]),
            ["a", "b", "a"],
            id="chunks with dictionaries of their own",
        ),
        pytest.param(column([None, None], pa.null()), [None, None], id="nothing but null"),
        pytest.param(column([[1], [2], None, [1]]), ["[1]", "[2]", None, "[1]"], id="lists"),
        pytest.param(column([{"a": 1}, None]), ["{'a': 1}", None], id="structs"),
        pytest.param(column([dt.date(2020, 1, 2)]), ["2020-01-02"], id="dates"),
        pytest.param(pa.chunked_array([], pa.string()), [], id="no rows"),
    ],
)
def test_categories_are_read_from_any_type(array, texts):
    found = categorical(array)
    assert found.texts() == texts
    assert list(found.names) == sorted({text for text in texts if text is not None})
    assert [code == MISSING for code in found.codes.tolist()] == [text is None for text in texts]


def test_values_of_one_category_in_two_types_share_its_code():
    """0 and -0.0, 1 and 1.0 stand once among the names."""
    assert categorical(column([0.0, -0.0, 1.0])).codes.tolist() == [0, 0, 1]


NOON = 1_577_880_000 * SECOND  # 2020-01-01 12:00 UTC


@pytest.mark.parametrize(
    ("array", "zone", "expected"),
    [
        pytest.param(column([dt.datetime(2020, 1, 1, 12), None]), "UTC", [NOON, NO_TIME], id="naive"),
        pytest.param(column([dt.datetime(2020, 1, 1, 7)]), NEW_YORK, [NOON], id="naive, in a zone"),
        pytest.param(
            column([dt.datetime(2020, 1, 1, 12)], pa.timestamp("us", "Asia/Tokyo")), NEW_YORK, [NOON], id="aware"
        ),
        pytest.param(column([NOON // SECOND], pa.timestamp("s")), "UTC", [NOON], id="in seconds"),
        pytest.param(column([NOON * 1000 + 999], pa.timestamp("ns")), "UTC", [NOON], id="in nanoseconds"),
        pytest.param(column([10**15], pa.timestamp("s")), "UTC", [NO_TIME], id="seconds beyond any year"),
        pytest.param(column([-(10**18)], pa.timestamp("ms", "UTC")), "UTC", [NO_TIME], id="milliseconds beyond"),
        pytest.param(column([dt.date(2020, 1, 1), None]), "UTC", [NOON - 43200 * SECOND, NO_TIME], id="dates"),
        pytest.param(column([NOON // SECOND, None]), NEW_YORK, [NOON, NO_TIME], id="Unix seconds"),
        pytest.param(
            column([NOON / SECOND + 0.25, NAN, np.inf, -1.0, 1.5e12]),
            "UTC",
            [NOON + 250_000, NO_TIME, NO_TIME, -SECOND, NO_TIME],
            id="Unix seconds with parts; milliseconds are no seconds",
        ),
        pytest.param(
            column(["2020-01-01T12:00:00Z", "2020-01-01 13:00:00+01:00", "20200101T120000Z", "2020-01-01T12:00Z"]),
            NEW_YORK,
            [NOON] * 4,
            id="text with a zone",
        ),
        pytest.param(
            column(["2020-01-01T07:00:00", "2020-01-01T07:00:00.000250", "2020-01-01 07:00:00.000250999"]),
            NEW_YORK,
            [NOON, NOON + 250, NOON + 250],
            id="text without a zone",
        ),
        pytest.param(
            column([None, "", " ", "x", "NaT", "2020-13-01", "2020-01-01T25:00:00", "1577880000"]),
            "UTC",
            [NO_TIME] * 8,
            id="text that is no time",
        ),
        pytest.param(column(["now", "today", "12:00", "12"]), "UTC", [NO_TIME] * 4, id="times of today"),
        pytest.param(
            column(["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"]),
            "UTC",
            [-62_135_596_800 * SECOND, 253_402_214_400 * SECOND],
            id="the first and the last year",
        ),
        pytest.param(encoded(["2020-01-01T12:00Z", None]), "UTC", [NOON, NO_TIME], id="dictionary"),
        pytest.param(column([True]), "UTC", [NO_TIME], id="booleans"),
        pytest.param(column([None], pa.null()), "UTC", [NO_TIME], id="nothing but null"),
        pytest.param(column([[1]]), "UTC", [NO_TIME], id="lists"),
        pytest.param(pa.chunked_array([], pa.timestamp("us")), "UTC", [], id="no rows"),
        pytest.param(pa.chunked_array([], pa.string()), "UTC", [], id="no rows of text"),
    ],
)
def test_times_are_read_from_any_type(array, zone, expected):
    found = times(array, zone)
    assert found.tolist() == expected
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        pytest.param("2013-11-03T01:30:00", "2013-11-03T05:30:00Z", id="shown twice: the first"),
        pytest.param("2013-03-10T02:30:00", "2013-03-10T07:00:00Z", id="left out: the moment of the change"),
    ],
)
def test_hours_that_the_clock_repeats_or_skips_read_the_same_in_text_and_timestamps(local, utc):
    expected = times(column([utc]), "UTC").tolist()
    assert times(column([local]), NEW_YORK).tolist() == expected
    assert times(column([dt.datetime.fromisoformat(local)]), NEW_YORK).tolist() == expected


@given(st.lists(st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2037, 1, 1)), max_size=10))
def test_a_time_in_text_is_the_timestamp(moments):
    text = times(column([moment.isoformat() for moment in moments], pa.string()), NEW_YORK)
    assert text.tolist() == times(column(moments, pa.timestamp("us")), NEW_YORK).tolist()


def test_pandas_nan_is_missing():
    assert np.isnan(numeric(chunked([1.0, NAN])).values).tolist() == [False, True]
