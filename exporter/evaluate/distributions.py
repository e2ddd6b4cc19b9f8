"""What values look like: bins, means and quantiles of features, classes and means of outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.drift.sample import QUANTILES
from exporter.parts import Part
from exporter.profile import categorical
from exporter.profile.categorical import CategoryBins
from exporter.profile.numeric import NumericBins
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model

MOST_BINS = 20
_QUANTILES = [f"{q:g}" for q in QUANTILES]


def put_distribution(out: Readings, labels: tuple[str, str, str], feature: str, part: Part) -> None:
    sides = (("reference", part.reference), ("current", part.current))
    table: Sequence[tuple[str, int, int]]
    if isinstance(part.bins, NumericBins):
        table = [*zip(part.bins.names, part.reference.bins.tolist(), part.current.bins.tolist(), strict=True)]
        for dataset, side in sides:
            if side.rows:
                out.put("model_feature_mean", *labels, feature, dataset, value=side.mean)
                for q, value in zip(_QUANTILES, side.quantiles, strict=True):
                    out.put("model_feature_quantile", *labels, feature, dataset, q, value=value)
    else:
        table = categorical.bin_shares(part.bins, *part.raw, MOST_BINS)
    for name, *rows in table:
        for (dataset, side), count in zip(sides, rows, strict=True):
            if side.rows:
                out.put("model_feature_bin_ratio", *labels, feature, name, dataset, value=count / side.rows)


def put_outputs(out: Readings, model: Model, labels: tuple[str, str, str], parts: Mapping[str, Part]) -> None:
    prediction = parts.get("prediction")
    if prediction is not None and isinstance(prediction.bins, CategoryBins):
        for dataset, side in (("reference", prediction.reference), ("current", prediction.current)):
            for name, count in zip(prediction.bins.categories, side.bins.tolist(), strict=False):
                share = count / side.rows if side.rows else None
                out.put("model_prediction_class_ratio", *labels, ALL, name, dataset, value=share)
    mean_of = parts.get("prediction" if model.task == "regression" else "score:0")
    if mean_of is not None and model.task != "multiclass":
        for dataset, side in (("reference", mean_of.reference), ("current", mean_of.current)):
            out.put("model_prediction_mean", *labels, ALL, dataset, value=side.mean)
