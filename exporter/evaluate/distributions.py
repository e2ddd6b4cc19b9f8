"""What values look like: bins, means and quantiles of features, classes and means of outputs."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.parts import Part
from exporter.profile import categorical, numeric
from exporter.profile.categorical import CategoryBins
from exporter.profile.numeric import NumericBins
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model

MOST_BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def put_distribution(out: Readings, labels: tuple[str, str, str], feature: str, part: Part) -> None:
    sides = (("reference", part.reference), ("current", part.current))
    if isinstance(part.bins, NumericBins):
        names = numeric.bin_names(part.bins)
        table = list(zip(names, part.reference.bins.tolist(), part.current.bins.tolist(), strict=True))
        for dataset, side in sides:
            if side.rows:
                out.put("model_feature_mean", *labels, feature, dataset, value=side.mean)
                for q in QUANTILES:
                    value = numeric.quantile(side, q)
                    out.put("model_feature_quantile", *labels, feature, dataset, f"{q:g}", value=value)
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
