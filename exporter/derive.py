"""Numbers derived from text and embedding columns, by transforms that are fixed on the reference. Pure, row by row.

The rows on which a transform is fixed know it too well: their own words are in its vocabulary, its axes lean towards
them. So the reference's own numbers are those that new rows of the same kind would have (`own`): a word counts as known
only if the rows of *other* days have it (leave-one-out, as in Good, Biometrika 40, 1953), and the rows that axes were
fitted on do not count.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.rows import (
    MISSING,
    Bools,
    CategoryColumn,
    Floats,
    Ints,
    NumericColumn,
    categorical,
    values_of,
    vector_lengths,
    vectors,
)

MOST_WORDS = 20_000
MOST_ROWS = 5_000  # of the reference, to fit axes on
MOST_AXES = 8
_FEW = 100
_SLICE = 8_192  # rows at a time, so that wide vectors fit into memory
_LEAST_TEXTS = 100  # of fewer nobody can say that they never repeat
_WORD = re.compile(r"\w+")
_Hashes = NDArray[np.uint64]


class Text(NamedTuple):
    """A vocabulary as sorted 64-bit hashes: words in more days of the reference than needed, and in just as many."""

    common: bytes
    rare: bytes


class Embedding(NamedTuple):
    """center: float64, one a dimension. axes: float32, axis by axis. scale: total standard deviation, 1 if it is 0."""

    center: bytes
    axes: bytes
    scale: float

    @property
    def size(self) -> int:
        return len(self.center) // 8


Transform = Text | Embedding


def seem_sentences(array: pa.ChunkedArray) -> bool:
    """Say whether text is sentences: most rows differ, with three words on average; an id or a time has fewer."""
    texts = [text for text in values_of(pc.unique(array)) if text is not None]
    if len(texts) < _LEAST_TEXTS or 2 * len(texts) <= len(array) - array.null_count:
        return False
    some = sorted(texts)[:: max(len(texts) // 1000, 1)]
    return sum(any(map(str.isalpha, word)) for text in some for word in text.split()) >= 3 * len(some)


def seem_lists(array: pa.ChunkedArray) -> bool:
    """Say whether all of some text begins as a JSON list does."""
    return _begin_lists(array.slice(0, _FEW), 0) and _begin_lists(array, 1)  # most text shows at once that it is none


def _begin_lists(array: pa.ChunkedArray, least: int) -> bool:
    begins = pc.starts_with(pc.ascii_ltrim_whitespace(array.cast(pa.large_string())), "[")
    return bool(pc.all(begins, min_count=least).as_py())


def is_of_one_length(array: pa.ChunkedArray) -> bool:
    """Say whether each row that is not missing is a list of the same number of numbers, two at least."""
    lengths, _ = _lengths(array)
    return len(lengths) == 1 and lengths[0] >= 2


def commonest_length(array: pa.ChunkedArray) -> int:
    """Return the length of most lists, the shortest of several; raises ValueError where there is no list."""
    lengths, rows = _lengths(array)
    rows[lengths < 1] = 0
    if not rows.any():
        raise ValueError("the reference has no list of numbers in it")
    return int(lengths[rows.argmax()])


def _lengths(array: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Return the distinct lengths of rows that are not missing, and how many rows have each."""
    found = np.concatenate([np.empty(0, np.int64), *(vector_lengths(part) for part in _slices(array))])
    return np.unique(found[found != MISSING], return_counts=True)


def names(column: str, transform: Transform) -> tuple[str, ...]:
    """Return the names of the derived features; the first one tells what is missing or invalid in the column."""
    if isinstance(transform, Text):
        return f"{column}.length", f"{column}.unknown_words"
    axes = len(transform.axes) // (4 * transform.size)
    return f"{column}.norm", f"{column}.distance", *(f"{column}.{number + 1}" for number in range(axes))


def derive(column: str, transform: Transform, array: pa.ChunkedArray, own: bool = False) -> dict[str, NumericColumn]:
    """Return the derived columns by name; own: the rows are those that the transform was fixed on."""
    if isinstance(transform, Text):
        return dict(zip(names(column, transform), _of_text(transform, categorical(array), own), strict=True))
    found = [_of_vectors(transform, part) for part in _slices(array)]
    numbers = np.concatenate([np.empty((0, len(names(column, transform)))), *(values for values, _ in found)])
    valid = np.concatenate([np.empty(0, np.bool_), *(valid for _, valid in found)])
    norm, *others = (NumericColumn(np.ascontiguousarray(values), valid) for values in numbers.T)
    if own:
        counted = ~_chosen(array, transform.size)
        others = [NumericColumn(np.where(counted, one.values, np.nan), valid, counted) for one in others]
    return dict(zip(names(column, transform), (norm, *others), strict=True))


def fit_text(array: pa.ChunkedArray, group: Ints | None = None) -> Text:
    """Fix the vocabulary: words by the number of groups of rows that have them, as many as fit into MOST_WORDS.

    group: each row's group, best its day, as a day's rows repeat each other; None: each row is one. A word is known to
    a row where at least t other groups of the reference have it: t is 1, or the least for which at most MOST_WORDS
    words are in t groups.
    """
    column = categorical(array)
    words, word, text = _tokens(column.names)
    owner = np.unique(np.arange(len(array)) if group is None else group, return_inverse=True)[1]
    groups = _groups_with(word, text, column, owner, len(words))
    least = 1
    if len(groups) > MOST_WORDS:
        least = int(np.sort(groups)[-MOST_WORDS - 1]) + 1
    hashes = _hashes(words)
    return Text(np.sort(hashes[groups > least]).tobytes(), np.sort(hashes[groups == least]).tobytes())


def _groups_with(word: Ints, text: Ints, column: CategoryColumn, group: Ints, words: int) -> Ints:
    """Return per word in how many groups of rows it is; `word` is in the text `text` of the column's names."""
    present = column.codes != MISSING
    most = max(len(group), 1)
    whose, of = np.divmod(np.unique(column.codes[present] * most + group[present]), most)  # text, group; by text
    texts = max(len(column.names), 1)
    word, text = np.divmod(np.unique(word * texts + text), texts)
    first = np.searchsorted(whose, text)
    count = np.searchsorted(whose, text, side="right") - first
    each = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    pairs = np.unique(np.repeat(word, count) * most + of[np.repeat(first, count) + each])
    return np.bincount(pairs // most, minlength=words).astype(np.int64)


def fit_embedding(array: pa.ChunkedArray, size: int) -> Embedding:
    """Fix center, scale and principal axes on half of the rows, at most MOST_ROWS; raise ValueError without any."""
    chosen = _chosen(array, size)
    found = vectors(array.filter(pa.array(chosen)), size)
    values = found.values[found.valid & ~found.missing]
    if not len(values):
        raise ValueError(f"no valid vector of {size} numbers in the reference")
    values = values[np.argsort(_row_hashes(values), kind="stable")]  # sums must not depend on the order of the rows
    with np.errstate(over="ignore", invalid="ignore"):
        center = values.mean(axis=0)
        values = values - center
        total = float((values * values).mean(axis=0).sum())
    if not np.isfinite(total):
        raise ValueError("the reference's vectors are too large to be squared")
    return Embedding(center.tobytes(), _axes(values).tobytes(), total**0.5 or 1.0)


def to_json(transform: Transform) -> dict[str, Any]:
    """Return plain values; bytes as base64, so that numbers come back to the last bit."""
    plain = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in transform._asdict().items()}
    return {"kind": type(transform).__name__, **plain}


def from_json(plain: Mapping[str, Any]) -> Transform:
    """Read what `to_json` wrote."""
    if plain["kind"] == "Text":
        return Text(base64.b64decode(plain["common"]), base64.b64decode(plain["rare"]))
    return Embedding(base64.b64decode(plain["center"]), base64.b64decode(plain["axes"]), plain["scale"])


def digest(transforms: Mapping[str, Transform]) -> bytes:
    """Return what changes when any transform does; nothing where there is none."""
    if not transforms:
        return b""
    plain = {column: to_json(transform) for column, transform in transforms.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).digest()


def _of_text(transform: Text, column: CategoryColumn, own: bool) -> tuple[NumericColumn, NumericColumn]:
    known = np.frombuffer(transform.common, np.uint64)
    if not own:
        known = np.union1d(known, np.frombuffer(transform.rare, np.uint64))
    words, word, text = _tokens(column.names)
    unknown = ~np.isin(_hashes(words), known)
    count = np.bincount(text, minlength=len(column.names))
    strange = np.bincount(text, weights=unknown[word], minlength=len(column.names))
    share = np.divide(strange, count, out=np.full(len(count), np.nan), where=count > 0)
    length = np.array([len(name) for name in column.names], np.float64)
    valid = np.ones(len(column.codes), np.bool_)
    return (
        NumericColumn(np.append(length, np.nan)[column.codes], valid),
        NumericColumn(np.append(share, np.nan)[column.codes], valid),
    )


def _tokens(texts: Iterable[str]) -> tuple[list[str], Ints, Ints]:
    """Return the distinct words of some texts, and for each occurrence its word and its text as indices."""
    index: dict[str, int] = {}
    word: list[int] = []
    text: list[int] = []
    for number, one in enumerate(texts):
        found = _WORD.findall(unicodedata.normalize("NFC", one).lower())
        word += [index.setdefault(name, len(index)) for name in found]
        text += [number] * len(found)
    return list(index), np.array(word, np.int64), np.array(text, np.int64)


def _hashes(words: list[str]) -> _Hashes:
    digests = (hashlib.blake2b(word.encode(), digest_size=8).digest() for word in words)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _of_vectors(transform: Embedding, array: pa.ChunkedArray) -> tuple[Floats, Bools]:
    """Return rows x derived numbers, and which rows are valid.

    Sums are numpy's own, row by row: those of a matrix product depend, in the last bit, on how many rows there are.
    """
    column = vectors(array, transform.size)
    center = np.frombuffer(transform.center, np.float64)
    axes = np.frombuffer(transform.axes, np.float32).astype(np.float64).reshape(-1, transform.size)
    away = column.values - center
    with np.errstate(over="ignore", invalid="ignore"):
        norm = _short(np.sqrt((column.values * column.values).sum(axis=1)))
        distance = np.sqrt((away * away).sum(axis=1)) / transform.scale
        numbers = np.column_stack([norm, distance, *((away * axis).sum(axis=1) for axis in axes)])
    whole = np.isfinite(numbers).all(axis=1)
    numbers[~whole] = np.nan
    return numbers, column.missing | (column.valid & whole)


def _short(values: Floats) -> Floats:
    """Round to 20 bits: vectors of length 1 are written with rounding errors, which are no drift."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 2**20), exponent - 20), np.float64)


def _slices(array: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    for start in range(0, len(array), _SLICE):
        yield array.slice(start, _SLICE)


def _chosen(array: pa.ChunkedArray, size: int) -> Bools:
    """Return the rows to fit on: evenly spread over all rows as sorted by a hash of what is in them.

    So neither the order of the rows nor chance matters, and of equal rows half are chosen.
    """
    parts = (vectors(part, size) for part in _slices(array))
    hashes = np.concatenate([np.empty(0, np.uint64), *(_row_hashes(part.values) + part.missing for part in parts)])
    chosen = np.zeros(len(array), np.bool_)
    count = min(max(len(array) // 2, 1), MOST_ROWS)
    chosen[np.argsort(hashes, kind="stable")[np.arange(count) * len(array) // count]] = True
    return chosen


def _row_hashes(values: Floats) -> _Hashes:
    """Hash rows: a sum of their bits times fixed odd numbers, mixed as in splitmix64; one hash for all rows of NaN."""
    bits = np.where(np.isnan(values), np.inf, values).view(np.uint64)
    factors = _mixed(np.arange(1, values.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    return _mixed((_mixed(bits) * factors).sum(axis=1, dtype=np.uint64))


def _mixed(bits: _Hashes) -> _Hashes:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _axes(values: Floats) -> NDArray[np.float32]:
    """Return the principal axes of centered rows, the longest first; the largest entry of each is positive.

    In single precision, which hides the last bits, in which two machines may differ.
    """
    from scipy.linalg import eigh  # for embeddings alone: the start does without

    rows, size = values.shape
    few = rows < size
    products = values @ values.T if few else values.T @ values
    most = min(MOST_AXES, *values.shape)
    lengths, found = eigh(products, subset_by_index=[len(products) - most, len(products) - 1])
    kept = np.flatnonzero(lengths > 1e-9 * np.trace(products))[::-1]
    axes = (values.T @ found if few else found)[:, kept].T
    axes = (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(np.float32)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return np.asarray(axes * np.sign(largest), np.float32)
