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
_DATASETS = ("reference", "current")
_QUANTILES = [(f"{q:g}",) for q in QUANTILES]


def put_distribution(out: Readings, labels: tuple[str, str, str], feature: str, part: Part) -> None:
    """Put a feature's bins and, of a number, mean and quantiles, of reference and window."""
    own, names, counts = (*labels, feature), *_bins(part)
    for dataset, side, rows in zip(_DATASETS, (part.reference, part.current), counts, strict=True):
        if side.rows:
            out.put_each("model_feature_bin_ratio", own, [(n, dataset) for n in names], [n / side.rows for n in rows])
            if isinstance(part.bins, NumericBins):
                out.put("model_feature_mean", *own, dataset, value=side.mean)
                out.put_each("model_feature_quantile", (*own, dataset), _QUANTILES, side.quantiles)


def count_distribution(part: Part) -> int:
    """Return how many series `put_distribution` puts."""
    if isinstance(part.bins, NumericBins):
        each = len(part.bins.starts) + 1 + len(_QUANTILES)
    else:
        each = min(len(part.bins.categories) + 1, MOST_BINS)
    return each * sum(1 for side in (part.reference, part.current) if side.rows)


def _bins(part: Part) -> tuple[Sequence[str], tuple[Sequence[int], Sequence[int]]]:
    """Return the names of the bins that are shown, and the rows of reference and window in each."""
    if isinstance(part.bins, NumericBins):
        return part.bins.names, (part.reference.bins.tolist(), part.current.bins.tolist())
    table = categorical.bin_shares(part.bins, *part.raw, MOST_BINS)
    return [name for name, _, _ in table], ([before for _, before, _ in table], [now for _, _, now in table])


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
