"""Arrow columns -> plain typed columns: missing, invalid and odd types are settled here, once."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter import arrow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
MISSING = -1
SECOND = 1_000_000  # event time is kept in whole microseconds since 1970, UTC
NO_TIME = np.iinfo(np.int64).min
_LATEST = 253_402_300_800  # seconds: the year 10000
_DATE = re.compile(r"\s*\d{4}-?\d\d")


class NumericColumn(NamedTuple):
    """values: float64, NaN is missing. valid: False where something is there that is no finite number.

    counted: False where a row does not count in this column at all (None: all rows count).
    """

    values: Floats
    valid: Bools
    counted: Bools | None = None


class VectorColumn(NamedTuple):
    """values: rows x size, a row of NaN where missing or invalid. missing, valid: as in numbers, one entry a row."""

    values: Floats
    missing: Bools
    valid: Bools


class CategoryColumn(NamedTuple):
    """codes index names, MISSING is none."""

    names: tuple[str, ...]
    codes: Ints

    def texts(self) -> list[str | None]:
        """Return one name a row; None is missing."""
        return [None if code == MISSING else self.names[code] for code in self.codes.tolist()]


def canonical(value: object) -> str | None:
    """Write a category as a string: True is `1`, 1.0 is `1`, text stays as it is; None and NaN are missing."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is the one value that differs from itself
        return None
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def numeric(array: pa.ChunkedArray) -> NumericColumn:
    """Read numbers; text that is not a number, and infinity, is invalid."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = _floats(array.cast(pa.int8()) if pa.types.is_boolean(kind) else array)
        valid = ~np.isinf(values)
        return NumericColumn(values, valid)
    if pa.types.is_decimal(kind):
        return numeric(array.cast(pa.float64()))
    if pa.types.is_null(kind):
        return NumericColumn(np.full(len(array), np.nan), np.ones(len(array), np.bool_))
    if pa.types.is_string_view(kind):
        return _numbers_in_text(array.cast(pa.large_string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers_in_text(array)
    return NumericColumn(np.full(len(array), np.nan), ~_present(array))


def _numbers_in_text(array: pa.ChunkedArray) -> NumericColumn:
    from pandas import to_numeric

    text = array.to_pandas()
    try:
        blank = text.isna() | (text.str.strip() == "")
    except (UnicodeDecodeError, pa.ArrowInvalid):  # bytes that are no text
        return _numbers_in_text(pa.chunked_array([pa.array(values_of(array), pa.string())]))
    values = to_numeric(text.where(~blank), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    valid = ~np.isinf(values) & (~np.isnan(values) | blank.to_numpy(np.bool_))
    return NumericColumn(np.where(valid, values, np.nan), valid)


def _floats(array: pa.ChunkedArray) -> Floats:
    values = np.empty(len(array))
    fill(array, values)
    return values


def is_number(kind: pa.DataType) -> bool:
    """Say whether `fill` can read a type."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def fill(array: pa.ChunkedArray, out: Floats) -> None:
    """Write numbers into `out`, NaN where missing."""
    start = 0
    for chunk in array.chunks:
        end = start + len(chunk)
        found = chunk if pa.types.is_float64(chunk.type) else chunk.cast(pa.float64(), safe=False)
        out[start:end] = arrow.numbers(found, "f8")
        if found.null_count:
            out[start:end][~arrow.valid(found)] = np.nan
        start = end


def _present(array: pa.ChunkedArray) -> Bools:
    return np.concatenate([np.empty(0, np.bool_), *(arrow.valid(chunk) for chunk in array.chunks)])


def vectors(array: pa.ChunkedArray, size: int) -> VectorColumn:
    """Read vectors of `size` numbers from lists or JSON text; another length or an odd entry makes a row invalid."""
    found, missing = _lists(array)
    values = np.full((len(array), size), np.nan)
    if found is not None:
        right = _lengths(found) == size
        flat = found.filter(arrow.mask(right)).flatten()
        values[right] = _floats(pa.chunked_array([flat])).reshape(-1, size) + 0.0  # -0.0 is 0.0
    odd = ~np.isfinite(values).all(axis=1)
    values[odd] = np.nan
    return VectorColumn(values, missing, missing | ~odd)


def vector_lengths(array: pa.ChunkedArray) -> Ints:
    """Return the length of each row's list, MISSING where there is none, MISSING - 1 where it is no list of numbers."""
    found, missing = _lists(array)
    odd = np.where(missing, MISSING, MISSING - 1)
    if found is None:
        return odd
    own = _lengths(found)
    return np.where(own == MISSING, odd, own)


def _lengths(lists: pa.Array) -> Ints:
    """Return the length of each list, MISSING where there is none."""
    found = pc.list_value_length(lists).cast(pa.int64())
    return np.where(arrow.valid(found), arrow.numbers(found, "i8"), MISSING)


def is_list(kind: pa.DataType) -> bool:
    """Say whether a type is one of lists of numbers."""
    of_lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(one(kind) for one in of_lists) and bool(
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    )


def is_text(kind: pa.DataType) -> bool:
    """Say whether a type is one of text, plain or encoded by a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _lists(array: pa.ChunkedArray) -> tuple[pa.Array | None, Bools]:
    """Return lists of numbers in one piece, None where there can be none, and which rows are missing."""
    missing = ~_present(array)
    if is_list(array.type):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type), missing
    if not is_text(array.type):
        return None, missing
    texts = values_of(array)
    missing |= np.array([text is None or not text.strip() for text in texts], np.bool_)
    return pa.array([_json_list(text) for text in texts], pa.list_(pa.float64())), missing


def _json_list(text: str | None) -> list[float | None] | None:
    try:
        found: Any = json.loads(text or "", parse_int=float)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(entry is None or isinstance(entry, float) for entry in found):
        return None
    return found


def categorical(array: pa.ChunkedArray) -> CategoryColumn:
    """Read categories as canonical strings."""
    names, raw = coded(array)
    unique = sorted({name for name in names if name is not None})
    index = {name: i for i, name in enumerate(unique)}
    table = np.array([*(MISSING if name is None else index[name] for name in names), MISSING], np.int64)
    return CategoryColumn(tuple(unique), table[raw])


def coded(array: pa.ChunkedArray) -> tuple[list[str | None], Ints]:
    """Read categories as they come: canonical names, of which some may be equal, and codes, the last for missing."""
    if pa.types.is_dictionary(array.type) and array.num_chunks > 1:
        array = array.unify_dictionaries()
    whole = arrow.one(array)
    if not pa.types.is_dictionary(whole.type):
        try:
            whole = whole.dictionary_encode()
        except pa.ArrowNotImplementedError:  # lists and the like
            whole = pa.array([canonical(value) for value in whole.to_pylist()], pa.string()).dictionary_encode()
    names = [canonical(value) for value in values_of(whole.dictionary)]
    indices = whole.indices
    codes = arrow.numbers(indices, f"{'u' if str(indices.type)[0] == 'u' else 'i'}{indices.type.bit_width // 8}")
    if indices.null_count:
        codes = np.where(arrow.valid(indices), codes.astype(np.int64), len(names))
    return names, codes


def values_of(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return plain values; what is no UTF-8 in a text, which Parquet files may hold, is replaced."""
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        raw = array.cast(pa.large_binary()).to_pylist()
        return [one if one is None else one.decode("utf-8", "replace") for one in raw]


def times(array: pa.ChunkedArray, zone: str) -> Ints:
    """Read event times as microseconds UTC; NO_TIME where there is none that can be read.

    Times without a zone are in `zone`: of an hour that the clock shows twice the first, of one that it leaves out
    the moment of the change. Text is ISO 8601 with a date; numbers are Unix seconds.
    """
    kind = array.type
    if pa.types.is_timestamp(kind):
        if kind.unit in {"s", "ms"}:  # may hold times that microseconds cannot
            latest = _LATEST * (1 if kind.unit == "s" else 1000)
            within = pc.less(pc.abs(array.cast(pa.int64())), latest)
            array = pc.if_else(within, array, pa.scalar(None, kind))
        exact = array.cast(pa.timestamp("us", kind.tz), safe=False)
        if kind.tz is None:
            exact = pc.assume_timezone(exact, zone, ambiguous="earliest", nonexistent="latest")
        whole = arrow.one(exact)
        found = arrow.numbers(whole, "i8")
        return np.where(arrow.valid(whole), found, NO_TIME) if whole.null_count else found.copy()
    if pa.types.is_date(kind):
        return times(array.cast(pa.timestamp("us")), zone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        seconds = _floats(array)
        known = np.isfinite(seconds) & (np.abs(seconds) < 1e11)
        return np.where(known, np.rint(np.where(known, seconds, 0) * SECOND), NO_TIME).astype(np.int64)
    return _times_in_text(array, zone)


def local_days(timestamp: Ints, known: Bools, zone: str) -> Ints:
    """Return the number of each moment's local day; 0 where the time is not known."""
    return local_hours(timestamp, known, zone) // 24


def local_hours(timestamp: Ints, known: Bools, zone: str) -> Ints:
    """Return the number of each moment's local hour since 1970; 0 where the time is not known."""
    moments = arrow.array(np.where(known, timestamp, 0).astype(np.int64), pa.timestamp("us", zone))
    return np.asarray(arrow.numbers(pc.local_timestamp(moments), "i8") // (3_600 * SECOND), np.int64)


def _times_in_text(array: pa.ChunkedArray, zone: str) -> Ints:
    from pandas import Timestamp

    def one(text: object) -> int:
        if not _DATE.match(str(text)):  # `10:30` and `now` would be read as of today
            return NO_TIME
        try:
            moment = Timestamp(str(text)).as_unit("us")
            if moment.tzinfo is None:
                moment = moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        except (ValueError, OverflowError):
            return NO_TIME
        return int(moment.asm8.astype(np.int64))

    return np.array([NO_TIME if text is None else one(text) for text in values_of(array)], np.int64)
