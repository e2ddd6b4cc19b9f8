"""Bins and estimators as plain values, for the store; numbers come back to the last bit."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.performance import calibrators, losses
from exporter.performance.losses import Losses
from exporter.profile.categorical import CategoryBins
from exporter.profile.estimate import Estimator
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins, RegressionBins

Pack = Callable[[NDArray[Any]], Any]


def packed(values: NDArray[Any]) -> list[str]:
    """Return an array as text: its type, and its bytes."""
    kind = "<f8" if values.dtype.kind == "f" else "<i4"
    return [kind, b64encode(values.astype(kind, copy=False).data).decode()]


def bins_to_plain(bins: Any, pack: Pack = packed) -> Any:
    """Return one column's bins, or none, as plain values; pack: writes an array."""
    if bins is None:
        return None
    plain = {key: pack(value) if isinstance(value, np.ndarray) else value for key, value in bins._asdict().items()}
    if isinstance(bins, ClassBins):
        plain["scores"] = [bins_to_plain(score, pack) for score in bins.scores]
    return {"kind": type(bins).__name__, **plain}


def _unpacked(plain: list[str]) -> Any:
    found = np.frombuffer(b64decode(plain[1]), plain[0])
    return found.astype(np.float64 if plain[0] == "<f8" else np.int64)


def bins_from_plain(plain: Any) -> Any:
    """Read what `bins_to_plain` wrote."""
    if plain is None:
        return None
    kind = plain["kind"]
    if kind == "NumericBins":
        knots, starts, spans = (_unpacked(plain[name]) for name in ("knots", "starts", "spans"))
        return NumericBins(knots, starts, plain["exact"], spans)
    if kind == "CategoryBins":
        return CategoryBins(tuple(plain["categories"]), plain["complete"])
    if kind == "ClassBins":
        return ClassBins(tuple(plain["classes"]), tuple(bins_from_plain(score) for score in plain["scores"]))
    return RegressionBins(plain["center"], plain["scale"])


def estimator_to_plain(estimator: Estimator) -> dict[str, Any]:
    """Return what estimates performance as plain values."""
    if isinstance(estimator, Losses):
        return {"losses": losses.to_plain(estimator)}
    return {"calibrators": calibrators.to_plain(estimator)}


def estimator_from_plain(plain: dict[str, Any] | None) -> Estimator | None:
    """Read what `estimator_to_plain` wrote."""
    if plain is None:
        return None
    return losses.from_plain(plain["losses"]) if "losses" in plain else calibrators.from_plain(plain["calibrators"])
