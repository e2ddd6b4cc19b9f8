"""Arrow columns -> plain typed columns: missing, invalid and odd types are settled here, once."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
    blank = text.isna() | (text.str.strip() == "")
    values = to_numeric(text.where(~blank), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    valid = ~np.isinf(values) & (~np.isnan(values) | blank.to_numpy(np.bool_))
    return NumericColumn(np.where(valid, values, np.nan), valid)


def _floats(array: pa.ChunkedArray) -> Floats:
    whole = array.combine_chunks()
    return np.asarray(
        pc.fill_null(whole.cast(pa.float64(), safe=False), float("nan")).to_numpy(zero_copy_only=False),
        np.float64,
    )


def _present(array: pa.ChunkedArray) -> Bools:
    return np.asarray(pc.is_valid(array).combine_chunks().to_numpy(zero_copy_only=False), np.bool_)


def vectors(array: pa.ChunkedArray, size: int) -> VectorColumn:
    """Read vectors of `size` numbers from lists or JSON text; another length or an odd entry makes a row invalid."""
    found, missing = _lists(array)
    values = np.full((len(array), size), np.nan)
    if found is not None:
        right = np.asarray(pc.equal(pc.fill_null(pc.list_value_length(found), -1), size), np.bool_)
        flat = found.filter(pa.array(right)).flatten().cast(pa.float64(), safe=False)
        entries = pc.fill_null(flat, float("nan")).to_numpy(zero_copy_only=False)
        values[right] = np.asarray(entries, np.float64).reshape(-1, size) + 0.0  # -0.0 is 0.0
    odd = ~np.isfinite(values).all(axis=1)
    values[odd] = np.nan
    return VectorColumn(values, missing, missing | ~odd)


def vector_lengths(array: pa.ChunkedArray) -> Ints:
    """Return the length of each row's list, MISSING where there is none, MISSING - 1 where it is no list of numbers."""
    found, missing = _lists(array)
    odd = np.where(missing, MISSING, MISSING - 1)
    if found is None:
        return odd
    lengths = pc.fill_null(pc.list_value_length(found).cast(pa.int64()), MISSING)
    own = np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)
    return np.where(own == MISSING, odd, own)


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
    texts = array.to_pylist()
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
    if pa.types.is_dictionary(array.type):
        array = array.unify_dictionaries()
    whole = array.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], array.type)
    if not pa.types.is_dictionary(whole.type):
        try:
            whole = whole.dictionary_encode()
        except pa.ArrowNotImplementedError:  # lists and the like
            whole = pa.array([canonical(value) for value in whole.to_pylist()], pa.string()).dictionary_encode()
    names = [canonical(value) for value in whole.dictionary.to_pylist()]
    codes = np.asarray(pc.fill_null(whole.indices.cast(pa.int64()), MISSING).to_numpy(zero_copy_only=False), np.int64)
    unique = sorted({name for name in names if name is not None})
    index = {name: i for i, name in enumerate(unique)}
    table = np.array([*(MISSING if name is None else index[name] for name in names), MISSING], np.int64)
    return CategoryColumn(tuple(unique), table[codes])


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
        whole = pc.fill_null(exact.combine_chunks().cast(pa.int64()), NO_TIME)
        return np.asarray(whole.to_numpy(zero_copy_only=False), np.int64)
    if pa.types.is_date(kind):
        return times(array.cast(pa.timestamp("us")), zone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        seconds = _floats(array)
        known = np.isfinite(seconds) & (np.abs(seconds) < 1e11)
        return np.where(known, np.rint(np.where(known, seconds, 0) * SECOND), NO_TIME).astype(np.int64)
    return _times_in_text(array, zone)


def local_days(timestamp: Ints, known: Bools, zone: str) -> Ints:
    """Return the number of each moment's local day; 0 where the time is not known."""
    from pandas import to_datetime

    moments = to_datetime(np.where(known, timestamp, 0), unit="us", utc=True).tz_convert(zone)
    return np.asarray(moments.tz_localize(None).as_unit("us").asi8 // (86_400 * SECOND), np.int64)


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

    return np.array([NO_TIME if text is None else one(text) for text in array.to_pylist()], np.int64)
