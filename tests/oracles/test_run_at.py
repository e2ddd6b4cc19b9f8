"""Replaying time with `run --at`: a past week with the labels that were known then, a week later, and in the end."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.cli import main
from tests.oracles.conftest import AS_OF, DATA, WEEK, _settings

WEEKS = {"retail": "2011-05-02", "bikes": "2013-06-03"}
LATER = {"week_end": 0, "week_end_plus_7d": WEEK, "all": 40 * WEEK}
EXACT = {
    "retail": ("accuracy", "precision", "recall", "f1", "mcc", "log_loss", "brier"),
    "bikes": ("mae", "rmse", "r2", "mean_error", "wape"),
}


def write_config(folder: Path, name: str) -> Path:
    """Write the settings of the replay, with labels that need as long as they are waited for."""
    for kind in ("reference", "predictions", "labels"):
        (folder / kind).mkdir()
        pq.write_table(pq.read_table(DATA / name / f"{kind}.parquet"), folder / kind / "all.parquet")
    plain = _settings(name, folder).model_dump(mode="json", include={"task", "columns", "bucket"}, exclude_none=True)
    plain["bucket"] = "1d"
    sources = {kind: {"files": str(folder / kind / "*.parquet")} for kind in ("reference", "predictions", "labels")}
    models = [
        plain
        | sources
        | {"name": f"{name} {as_of}", "windows": ["7d"], "label_delay": f"{wait}s"}
        | {"performance": {"metrics": EXACT[name], "min_rows": 1}}
        for as_of, wait in LATER.items()
    ]
    path = folder / "model-exporter.yml"
    path.write_text(yaml.safe_dump({"models": models, "store": {"retention": {"profiles": "600d"}}}))
    return path


@pytest.mark.parametrize("name", WEEKS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_a_past_week_as_it_was_known(name: str, as_of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of the week's end, of a week later and of the end, the log and its labels are cut to what was there."""
    end = pd.Timestamp(WEEKS[name], tz="UTC").timestamp() + WEEK
    at = pd.Timestamp(end + LATER[as_of], unit="s", tz="UTC").isoformat().replace("+00:00", "Z")
    config = write_config(tmp_path, name)
    more = ["--model", f"{name} {as_of}"]
    assert main(["run", "--config.file", str(config), "--at", at, *more, "--log.level", "error"]) == 0
    families = {one.name: one for one in text_string_to_metric_families(capsys.readouterr().out)}
    found = {one.labels["metric"]: one.value for one in families["model_performance_score"].samples}
    oracle = pd.read_csv(DATA / "oracles" / f"{name}_performance.csv")
    (expected,) = oracle[(oracle["week"] == WEEKS[name]) & (oracle["labels_as_of"] == as_of)].to_dict("records")
    assert set(found) == set(EXACT[name])
    for metric, value in found.items():
        assert value == pytest.approx(expected[metric], rel=1e-8, abs=1e-8), metric
