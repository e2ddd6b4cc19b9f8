"""Labelled rows of a classifier -> their counts, by sorting the scores: what `place_classes` and `gather` give.

The scores of a class's rows and of all others are sorted together, the others' with a minus: so one sort in place parts
them, and each lies in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exporter.profile.counts import FRACTION, Counts, gather, keep_rows, sparse
from exporter.profile.ordered import sorted_cells
from exporter.profile.outcome import EPSILON, TENTHS, ClassBins, Outcomes, is_scored, place_classes
from exporter.profile.tally import Cut, groups_of, slices
from exporter.rows import Bools, Floats, Ints
from exporter.threads import each, scratch

_FEW = 1_000  # rows a group below which placing each row costs less than filling all cells
_PIECE = 262_144  # rows that one thread sorts at once: they stay in the processor's cache
_NEAR = 1.5 * 2**20
_NEAR_BITS = int(np.float64(_NEAR).view(np.int64))
_BLOCK = 65_536  # rows whose losses are worked out at once: a thread then seldom waits for Python's lock


class Labelled(NamedTuple):
    """Rows of a batch whose label is known. row: their numbers in the batch, increasing."""

    row: Ints
    outcomes: Outcomes


def count_classes(bins: ClassBins, rows: Outcomes, cut: Cut) -> list[Counts]:
    """Count labelled rows of a classifier by groups, all of them alike; places are the bins' own."""
    if cut.rows < _FEW * cut.groups:
        group = groups_of(cut, len(rows.label))
        placed = [keep_rows(part, group >= 0) for part in place_classes(bins, rows)]
        return gather(placed, group, cut.groups, bins.size)
    return [sparse(_count(bins, rows, part if cut.order is None else cut.order[part])) for part in slices(cut)]


def _count(bins: ClassBins, rows: Outcomes, chosen: slice | Ints) -> Ints:
    """Count one group in pieces, on all threads where there are several."""
    own = Outcomes(rows.prediction[chosen], rows.label[chosen], rows.scores[chosen])

    def piece(start: int) -> Ints:
        part = slice(start, start + _PIECE)
        return _count_piece(bins, Outcomes(own.prediction[part], own.label[part], own.scores[part]))

    starts = range(0, len(own.label), _PIECE)
    total = np.zeros(bins.size, np.int64)
    for found in each(piece, starts) if len(starts) > 1 else map(piece, starts):
        total += found
    return total


def _count_piece(bins: ClassBins, rows: Outcomes) -> Ints:
    vector = np.zeros(bins.size, np.int64)
    if len(bins.classes) == 2 and len(bins.scores) < 2:
        vector[: bins.losses] = _confusion(rows)
        if bins.scores:
            _count_scores(bins, rows.label, rows.scores[:, 0], vector)
        return vector
    for start in range(0, len(rows.label), _BLOCK):
        part = slice(start, start + _BLOCK)
        own = Outcomes(rows.prediction[part], rows.label[part], rows.scores[part])
        placed = place_classes(bins, own, cells=False)
        (counts,) = gather(placed, np.zeros(len(own.label), np.int64), 1, bins.start(0))
        vector[counts.place] += counts.amount
    if bins.scores:
        scored = is_scored(rows.scores)
        for number in range(len(bins.scores)):
            _count_cells(bins, number, (rows.label == number)[scored], rows.scores[scored, number], vector)
    return vector


def _confusion(rows: Outcomes) -> list[int]:
    """Count actual x predicted of a binary model, as `ClassBins` has them."""
    actual, zeros, ones = rows.label == 1, rows.prediction == 0, rows.prediction == 1
    positives, said = _true(actual), [_true(zeros), _true(ones)]
    hits = [_true(actual & zeros), _true(actual & ones)]
    others = [of_all - of_actual for of_all, of_actual in zip(said, hits, strict=True)]
    return [*others, len(actual) - positives - sum(others), *hits, positives - sum(hits)]


def _true(rows: Bools) -> int:
    return int(np.count_nonzero(rows))


def _count_scores(bins: ClassBins, label: Floats, score: Floats, vector: Ints) -> None:
    """Add what the scores of a binary model say."""
    if not (len(score) and score.min() >= 0 and score.max() <= 1):
        scored = is_scored(score[:, None])
        label, score = label[scored], score[scored]
    table = vector[bins.calibration : bins.ranks].reshape(-1, 4)
    for hit, own in enumerate(_count_cells(bins, 0, label == 1, score, vector)):
        bounds = np.array([0, *own.searchsorted(_TENTHS), len(own)])
        table[:, 0] += np.diff(bounds)
        table[:, 1] += hit * np.diff(bounds)
        certain = len(own) - int(own.searchsorted(1.0))
        table[-1, 2:] += certain, -certain * FRACTION
        for start in range(0, len(own), _BLOCK):
            block = own[start : start + _BLOCK]
            rows = np.diff(np.clip(bounds, start, start + _BLOCK))
            some = np.flatnonzero(rows)
            parts = np.add.reduceat(_near(block), np.cumsum(rows[some]) - rows[some])
            table[some, 3] += parts - rows[some] * _NEAR_BITS
            _add_losses(block, hit, vector[bins.losses : bins.calibration])


def _add_losses(score: Floats, hit: int, sums: Ints) -> None:
    """Add the losses of increasing scores of one class, as `place_classes` computes them."""
    loss = scratch("loss", len(score))
    of_label = score if hit else np.subtract(1, score, out=scratch("of_label", len(score)))
    ends = of_label[0], of_label[-1]
    inside = min(ends) >= EPSILON and max(ends) <= 1 - EPSILON
    within = of_label if inside else np.clip(of_label, EPSILON, 1 - EPSILON, out=loss)
    np.negative(np.log(within, out=loss), out=loss)
    _add_sum(loss, hit, sums[0:2])
    _add_sum(np.square(loss, out=loss), hit, sums[4:6])
    np.square(np.subtract(1, of_label, out=loss), out=loss)
    _add_sum(loss, hit, sums[2:4])
    _add_sum(np.square(loss, out=loss), hit, sums[6:8])


def _near(values: Floats) -> Ints:
    """Return numbers from 0 to 2**19 as whole 2**-32 parts of one, ties to even, each of them _NEAR_BITS too large.

    Beside _NEAR a double has 32 bits after its point: adding it rounds, and the bits of the sum are the whole number.
    """
    return np.add(values, _NEAR, out=scratch("near", len(values))).view(np.int64)


def _add_sum(values: Floats, falling: int, both: Ints) -> None:
    """Add up numbers that fall or rise, as `place_sum` does: how often each whole number is reached is searched."""
    parts = int(_near(values).sum()) - len(values) * _NEAR_BITS
    parts = (parts + 2**63) % 2**64 - 2**63  # the sum may have gone around 2**64
    most, whole = int(values[0] if falling else values[-1]), 0
    if most:
        rising = values[::-1] if falling else values
        whole = most * len(values) - int(rising.searchsorted(np.arange(1, most + 1)).sum())
    both += whole, parts - whole * FRACTION


def _count_cells(bins: ClassBins, number: int, hit: Bools, score: Floats, vector: Ints) -> tuple[Floats, Floats]:
    """Add rows by cell of a class's score; return the scores of the others and of the class's rows, each increasing."""
    signed = scratch("signed", len(score))
    np.copysign(score, np.subtract(hit, 0.5, out=signed), out=signed)
    signed.sort()
    others = len(signed) - _true(hit)
    without = np.negative(signed[:others][::-1], out=scratch("without", others))
    start, own = bins.start(number), bins.scores[number]
    for side, values in enumerate((without, signed[others:])):
        if len(values):
            vector[start + side * own.missing : start + (side + 1) * own.missing] += sorted_cells(own.knots, values)[0]
    return without, signed[others:]


def _starts_of_tenths() -> Floats:
    """Return the least number of each tenth but the first, as multiplying by ten and rounding down tells."""
    near = [number / TENTHS for number in range(1, TENTHS)]
    around = [[np.nextafter(at, 0.0), at, np.nextafter(at, 1.0)] for at in near]
    return np.array([min(x for x in own if int(x * TENTHS) >= n) for n, own in enumerate(around, 1)])


_TENTHS = _starts_of_tenths()
