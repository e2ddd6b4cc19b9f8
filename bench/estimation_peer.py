"""NannyML's CBPE and DLE over given windows, and the sets that it ships; run in that library's environment.

usage: python estimation_peer.py sets FOLDER ; python estimation_peer.py estimate FOLDER
A set is a folder with set.json, reference.parquet and windows.parquet (column `window`); writes found.json beside them.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ["DO_NOT_TRACK"] = os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml as nml  # noqa: E402
import pandas as pd  # noqa: E402

FIRST = pd.Timestamp("2020-01-01")
CHUNKS = 10  # windows cut of each shipped set, in the order of its rows
SHIPPED = {
    "car_loan": (nml.load_synthetic_car_loan_dataset, "binary", "repaid", "y_pred_proba"),
    "work_home": (nml.load_synthetic_binary_classification_dataset, "binary", "work_home_actual", "y_pred_proba"),
    "credit_card": (
        nml.load_synthetic_multiclass_classification_dataset,
        "multiclass",
        "y_true",
        {name: f"y_pred_proba_{name}" for name in ("prepaid_card", "highstreet_card", "upmarket_card")},
    ),
    "car_price": (nml.load_synthetic_car_price_dataset, "regression", "y_true", None),
}
NAMES = {  # ours -> NannyML's
    "binary": {name: name for name in ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc")},
    "multiclass": {
        "accuracy": "accuracy",
        "precision_macro": "precision",
        "recall_macro": "recall",
        "f1_macro": "f1",
        "roc_auc_ovr_macro": "roc_auc",
    },
    "regression": {"mae": "mae", "rmse": "rmse"},
}


def sets(folder: Path) -> None:
    """Write the shipped sets in the form of the others."""
    for name, (load, task, label, score) in SHIPPED.items():
        reference, analysis, target = load()
        joined = analysis.merge(target, on="id") if "id" in target else analysis.join(target)
        joined["window"] = [row * CHUNKS // len(joined) for row in range(len(joined))]
        kept = {"timestamp", "y_pred", label, *(score.values() if isinstance(score, dict) else [score])}
        features = [c for c in reference if c not in kept | {"id", "period", "identifier", None}]
        if task == "binary":
            reference, joined = (one.astype({"y_pred": int, label: int}) for one in (reference, joined))
        own = folder / name
        own.mkdir()
        described = {"task": task, "label": label, "prediction": "y_pred", "score": score, "features": features}
        (own / "set.json").write_text(json.dumps(described))
        used = [*features, *sorted(kept - {None})]
        reference[used].to_parquet(own / "reference.parquet")
        joined[[*used, "window"]].to_parquet(own / "windows.parquet")


def estimate(folder: Path) -> None:
    """Estimate every window of every set."""
    for own in sorted(path.parent for path in folder.glob("*/set.json")):
        about = json.loads((own / "set.json").read_text())
        reference, windows = (pd.read_parquet(own / f"{name}.parquet") for name in ("reference", "windows"))
        reference = reference.dropna(subset=[about["label"]])
        if about["task"] == "binary":
            kinds = {about["label"]: int, about["prediction"]: int}
            reference, windows = reference.astype(kinds), windows.astype({about["prediction"]: int})
        windows["at"] = FIRST + pd.to_timedelta(windows["window"], unit="D")
        reference["at"] = FIRST - pd.Timedelta(days=9)
        names = NAMES[about["task"]]
        shared = {
            "y_pred": about["prediction"],
            "y_true": about["label"],
            "timestamp_column_name": "at",
            "metrics": list(names.values()),
            "chunk_period": "D",
        }
        if about["task"] == "regression":
            estimator = nml.DLE(feature_column_names=about["features"], **shared)  # LightGBM as it comes
        else:
            problem = f"classification_{about['task']}"
            estimator = nml.CBPE(y_pred_proba=about["score"], problem_type=problem, **shared)
        estimator.fit(reference)
        result = estimator.estimate(windows.drop(columns=about["label"])).filter(period="analysis").to_df()
        assert len(result) == windows["window"].nunique()
        keys = sorted(windows["window"].unique().tolist())
        wanted = ("value", "sampling_error")
        found = {
            mine: [dict(zip(wanted, row, strict=True)) for row in result[his][list(wanted)].astype(float).values]
            for mine, his in names.items()
        }
        (own / "found.json").write_text(json.dumps({"windows": keys, "metrics": found}))


if __name__ == "__main__":
    {"sets": sets, "estimate": estimate}[sys.argv[1]](Path(sys.argv[2]))
