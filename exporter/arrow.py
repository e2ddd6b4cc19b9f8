"""Arrow arrays as NumPy arrays and back, by their buffers.

Arrow's own ways in and out (`to_numpy`, `pyarrow.array`) import pandas on first use, which takes a second.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Arrow's own pools keep tens of MiB that were freed; the system's gives them to NumPy next.
pa.set_memory_pool(pa.system_memory_pool())
_ARENA_MAX = -8  # malloc.h
with suppress(AttributeError, OSError, TypeError):  # another C library than glibc has no such thing
    # Each thread would allocate from a pool of its own: what one has freed the others could not use.
    ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def one(array: pa.ChunkedArray) -> pa.Array:
    """Return a chunked array in one piece."""
    if array.num_chunks == 1:
        return array.chunk(0)
    return pa.concat_arrays(array.chunks) if array.num_chunks else empty(array.type)


def empty(kind: pa.DataType) -> pa.Array:
    """Return an array without entries."""
    return pa.nulls(0, kind)


def valid(array: pa.Array) -> NDArray[np.bool_]:
    """Return which entries are there."""
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    bitmap = array.buffers()[0]
    if bitmap is None:  # the null type, and others whose nulls have no bitmap of their own
        return valid(array.is_valid()) & bools(array.is_valid())
    return _bits(bitmap, array.offset, len(array))


def bools(array: pa.Array) -> NDArray[np.bool_]:
    """Return truth values; those of nulls are not defined."""
    if not len(array):
        return np.empty(0, np.bool_)
    return _bits(array.buffers()[1], array.offset, len(array))


def numbers(array: pa.Array, kind: str) -> NDArray[Any]:
    """Return a view of whole or real numbers, or times, of NumPy's type `kind`; those of nulls are not defined."""
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * np.dtype(kind).itemsize)


def mask(kept: NDArray[np.bool_]) -> pa.Array:
    """Return truth values as an Arrow array."""
    bits = np.packbits(kept, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(kept), [None, pa.py_buffer(bits)])


def array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers, or times as whole numbers, as an Arrow array of the same width, without nulls."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _bits(buffer: pa.Buffer, offset: int, length: int) -> NDArray[np.bool_]:
    first = offset // 8
    raw = np.frombuffer(buffer, np.uint8)[first : (offset + length + 7) // 8]
    found = np.unpackbits(raw, bitorder="little")[offset - 8 * first : offset - 8 * first + length]
    return found.view(np.bool_)
