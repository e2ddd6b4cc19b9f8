"""A sample of rows that merges like counts: the rows whose hashes are smallest, and up to where they are all there.

Which rows are kept depends on their ids alone, not on order, batch, machine or run: bottom-k sampling with the limit of
a theta sketch (Dasgupta, Lang, Rhodes and Thaler 2016, arXiv 1510.01455). Without the limit, merging a busy and a
quiet bucket that are both full would count them alike.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.drift.features import Features, Rows, pack, unpack
from exporter.profile import categorical
from exporter.profile.categorical import CategoryBins
from exporter.profile.model import Batch, ModelBins
from exporter.rows import CategoryColumn, Ints, NumericColumn

Hashes = NDArray[np.uint64]

BUCKET_ROWS = 500
WINDOW_ROWS = 5_000
ALL = 2**64 - 1  # the limit where no row was left out; no hash is that large
_LARGEST = float(np.finfo(np.float32).max)
_HEADER = struct.Struct("<BQII")  # form, limit, rows, columns
_FORM = 1


class RowSample(NamedTuple):
    """Every row of some rows whose hash is below `limit`.

    hashes: uint64, increasing, each once. rows: float32, one a hash. limit: ALL where no row was left out.
    """

    hashes: Hashes
    rows: Rows
    limit: int


def features_of(bins: ModelBins) -> Features:
    """Return which column of a sample is which feature."""
    return Features(
        tuple(bins.features),
        tuple(len(own.categories) if isinstance(own, CategoryBins) else 0 for own in bins.features.values()),
    )


def as_rows(bins: ModelBins, batch: Batch) -> Rows:
    """Return the features of a batch as float32, one row each, columns as `features_of`.

    Numbers are as they are to 24 bits, NaN where missing or invalid. A category is its index in the bins, C where
    unseen, C + 1 where missing. Raises TypeError where a column does not fit its bins.
    """
    rows = np.empty((batch.rows, len(bins.features)), np.float32)
    for at, (name, own) in enumerate(bins.features.items()):
        column = batch.features[name]
        if isinstance(own, CategoryBins) and isinstance(column, CategoryColumn):
            rows[:, at] = categorical.place(own, column.names, column.codes)[0].place
        elif isinstance(column, NumericColumn) and not isinstance(own, CategoryBins):
            rows[:, at] = np.where(column.valid, np.clip(column.values, -_LARGEST, _LARGEST), np.nan)
        else:
            raise TypeError(f"{type(column).__name__} does not fit {type(own).__name__}")
    return rows


def hash_ids(ids: Iterable[str]) -> Hashes:
    """Return a hash of each id: the first 64 bits of its BLAKE2b (RFC 7693), so the same everywhere, for ever."""
    return _hashes(name.encode() for name in ids)


def hash_rows(timestamp: Ints, rows: Rows, number: Ints | None = None) -> Hashes:
    """Return a hash of each row's event time and content, for rows without ids.

    number: tells identical rows apart, such as the row's place in its file. Without it they are one row, and the sample
    has rare combinations too often.
    """
    apart = np.zeros(len(rows), np.int64) if number is None else number
    keys = np.column_stack([timestamp, apart]).astype("<i8").view(np.uint8).reshape(len(rows), 16)
    content = np.ascontiguousarray(_canonical(rows), "<f4").view(np.uint8).reshape(len(rows), 4 * rows.shape[1])
    raw = np.hstack([keys, content])
    width, whole = raw.shape[1], raw.tobytes()
    return _hashes(whole[at : at + width] for at in range(0, len(whole), width))


def _hashes(names: Iterable[bytes]) -> Hashes:
    digests = b"".join(hashlib.blake2b(name, digest_size=8, person=b"row sample").digest() for name in names)
    return np.minimum(np.frombuffer(digests, "<u8").astype(np.uint64), np.uint64(ALL - 1))


def _canonical(rows: Rows) -> Rows:
    """Return rows with one kind of NaN and one kind of zero, so that equal rows are equal bytes."""
    return np.where(np.isnan(rows), np.float32(np.nan), rows + np.float32(0)).astype(np.float32, copy=False)


def take(hashes: Hashes, rows: Rows, most: int = BUCKET_ROWS) -> RowSample:
    """Sample rows: at most `most`, uniformly; rows with equal hashes count as one.

    hashes: one a row. rows: (n, columns). Raises ValueError where the two differ in length.
    """
    if len(hashes) != len(rows):
        raise ValueError(f"{len(hashes)} hashes for {len(rows)} rows")
    return _smallest(hashes, _canonical(rows), ALL, most)


def gather(hashes: Hashes, rows: Rows, group: Ints, groups: int, most: int = BUCKET_ROWS) -> list[RowSample]:
    """Sample each group of rows: `group` has each row's group, 0 to `groups` - 1."""
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1))
    parts = [order[a:b] for a, b in pairwise(ends.tolist())]
    return [take(hashes[part], rows[part], most) for part in parts]


def take_batch(
    bins: ModelBins,
    batch: Batch,
    ids: Sequence[str] | None,
    timestamp: Ints,
    group: Ints,
    groups: int,
    most: int = BUCKET_ROWS,
) -> list[RowSample]:
    """Sample each group of a batch's rows, such as its buckets: by id, or without ids by event time and content.

    ids, timestamp, group: one a row. Samples are of one width, and mergeable, as long as `bins.hash` is the same.
    """
    rows = as_rows(bins, batch)
    return gather(hash_ids(ids) if ids is not None else hash_rows(timestamp, rows), rows, group, groups, most)


def merge(samples: Sequence[RowSample], most: int = WINDOW_ROWS) -> RowSample:
    """Return the sample of all their rows: associative, commutative, and a row in two of them counts once.

    It equals `take` of all rows where every sample was taken with the same `most`. A window of full buckets has about
    the largest bucket's number of rows in it times (all rows / the largest bucket's rows), at most `most`.
    Raises ValueError for no samples, or samples of different width.
    """
    if len({sample.rows.shape[1] for sample in samples}) != 1:
        raise ValueError("samples to merge must be of one width, and at least one")
    limit = min(sample.limit for sample in samples)
    ends = [int(np.searchsorted(sample.hashes, np.uint64(limit))) for sample in samples]
    hashes = np.concatenate([sample.hashes[:end] for sample, end in zip(samples, ends, strict=True)])
    rows = np.concatenate([sample.rows[:end] for sample, end in zip(samples, ends, strict=True)])
    return _smallest(hashes, rows, limit, most)


def _smallest(hashes: Hashes, rows: Rows, limit: int, most: int) -> RowSample:
    """Keep the `most` smallest hashes once each; of rows with one hash, the one whose bytes come first."""
    order = np.argsort(hashes, kind="stable")
    repeated = bool((hashes[order][1:] == hashes[order][:-1]).any())
    if repeated:
        bits = np.ascontiguousarray(rows).view(np.uint32)
        order = np.lexsort((*bits.T[::-1], hashes))
    ordered = hashes[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else order
    if len(first) > most:
        limit = int(ordered[first[most]])
    kept = first[:most]
    return RowSample(ordered[kept], rows[order[kept]], limit)


def encode(sample: RowSample) -> bytes:
    """Pack for the store: the columns' bytes by significance, which zlib packs well."""
    count, columns = sample.rows.shape
    head = _HEADER.pack(_FORM, sample.limit, count, columns)
    return head + sample.hashes.astype("<u8").tobytes() + pack(sample.rows)


def decode(blob: bytes) -> RowSample:
    """Unpack what `encode` packed; raises ValueError for another form."""
    form, limit, count, columns = _HEADER.unpack_from(blob)
    if form != _FORM:
        raise ValueError(f"a sample of form {form}, not {_FORM}")
    end = _HEADER.size + 8 * count
    hashes = np.frombuffer(blob[_HEADER.size : end], "<u8").astype(np.uint64)
    return RowSample(hashes, unpack(blob[end:], count, columns), limit)
