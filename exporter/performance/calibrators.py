"""Scores -> probabilities: isotonic regression per class, only where it helps on rows it has not seen.

As in NannyML's CBPE (0.13, `nannyml.calibration`), so that both decide alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SPLITS = 10
_HELD_OUT = 0.1
_SEED = 42  # NannyML's: the same splits give the same decision
_BINS = 10
_PERFECT = 0.999


class Calibrator(NamedTuple):
    """A piecewise linear, never falling map from score to probability; flat beyond its ends."""

    score: Floats
    probability: Floats

    def __call__(self, scores: Floats) -> Floats:
        return np.asarray(np.interp(scores, self.score, self.probability), np.float64)


class Calibrators(NamedTuple):
    """One map a scored class (binary: of class 1), None where the scores are best as they are.

    rows: labelled rows of the reference that they were learned from.
    """

    maps: tuple[Calibrator | None, ...]
    rows: int

    def probabilities(self, scores: Floats) -> Floats:
        """Return (n, C) of scores (n, 1) of class 1, or (n, C); the sum of each row is 1."""
        raw = [column if own is None else own(column) for own, column in zip(self.maps, scores.T, strict=True)]
        if len(raw) == 1:
            return np.column_stack([1 - raw[0], raw[0]])
        table = np.column_stack(raw)
        total = table.sum(axis=1, keepdims=True)
        uniform = np.full_like(table, 1 / table.shape[1])
        return np.asarray(np.divide(table, total, out=uniform, where=total != 0), np.float64)


def fit(scores: Floats, label: Floats) -> Calibrators:
    """Learn the maps from labelled rows: scores (n, S) from 0 to 1, label (n,) as class index."""
    binary = scores.shape[1] == 1
    maps = [_fit_one(column, label == (1 if binary else number)) for number, column in enumerate(scores.T)]
    return Calibrators(tuple(maps), len(label))


def again(known: Calibrators, scores: Floats, label: Floats) -> Calibrators:
    """Learn the maps of the same classes from other rows; one whose class is alone there stays as it is."""
    maps: list[Calibrator | None] = []
    for number, (own, column) in enumerate(zip(known.maps, scores.T, strict=True)):
        hit = label == (1 if len(known.maps) == 1 else number)
        maps.append(own if own is None or hit.all() or not hit.any() else _fitted(column, hit))
    return Calibrators(tuple(maps), len(label))


def _fit_one(scores: Floats, hit: NDArray[np.bool_]) -> Calibrator | None:
    return _fitted(scores, hit) if helps(scores, hit) else None


def _fitted(scores: Floats, hit: NDArray[np.bool_]) -> Calibrator:
    fitted = _isotonic(scores, hit)
    return Calibrator(np.asarray(fitted.X_thresholds_, np.float64), np.asarray(fitted.y_thresholds_, np.float64))


def _isotonic(scores: Floats, hit: NDArray[np.bool_]) -> Any:
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(out_of_bounds="clip").fit(scores, hit.astype(np.float64))


def helps(scores: Floats, hit: NDArray[np.bool_]) -> bool:
    """Say whether calibration lowers the calibration error of rows held out, ten times a tenth of them.

    Not where one class is alone or has a single row, nor where the scores tell the classes apart (ROC AUC above 0.999).
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedShuffleSplit

    if min(hit.sum(), (~hit).sum()) < 2 or len(hit) * _HELD_OUT < 2 or roc_auc_score(hit, scores) > _PERFECT:
        return False
    splits = StratifiedShuffleSplit(SPLITS, test_size=_HELD_OUT, random_state=_SEED)
    tests, calibrated = [], []
    for train, test in splits.split(scores, hit):
        tests.append(test)
        calibrated.append(_isotonic(scores[train], hit[train]).predict(scores[test]))
    held_out = np.concatenate(tests)
    after = calibration_error(np.concatenate(calibrated), hit[held_out])
    return calibration_error(scores[held_out], hit[held_out]) > after


def calibration_error(probability: Floats, hit: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over ten groups of equally many rows: mean of |mean p - share of hits|."""
    order = np.argsort(probability)
    groups = min(_BINS, len(order) // 2)
    width = len(order) // groups
    edges = [*range(0, width * groups, width)]
    sizes = np.diff([*edges, len(order)])
    gap = np.add.reduceat(probability[order] - hit[order], edges)
    return float(np.abs(gap).sum() / sizes.sum())


def to_plain(calibrators: Calibrators) -> dict[str, Any]:
    """Return plain values for the store; numbers come back to the last bit."""
    maps = [None if own is None else [own.score.tolist(), own.probability.tolist()] for own in calibrators.maps]
    return {"maps": maps, "rows": calibrators.rows}


def from_plain(plain: dict[str, Any]) -> Calibrators:
    """Read what `to_plain` wrote."""
    maps = [None if own is None else Calibrator(np.array(own[0]), np.array(own[1])) for own in plain["maps"]]
    return Calibrators(tuple(maps), plain["rows"])
