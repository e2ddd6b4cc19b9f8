"""What a configuration means on the real files, before anything runs: one report a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.check import check, show
from exporter.collector import Board
from exporter.config import load
from exporter.mistakes import Wrong
from exporter.monitor import Monitor
from exporter.settings import Model
from exporter.store import Store
from tests.integration.small import NOON, model, write_all, write_config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    for name in ("credit", "animals", "prices"):
        write_all(folder, name, NOON)
    return folder


def read(folder: Path, name: str = "credit", **more: Any) -> Model:
    (one,) = load(write_config(folder, model(name, **more))).config.models
    return one


@pytest.mark.parametrize(
    ("name", "classes", "kinds"),
    [
        ("credit", ["0", "1"], {"amount": "numeric", "age": "numeric", "city": "categorical"}),
        ("animals", ["ant", "bee", "cat"], {"amount": "numeric", "age": "numeric", "city": "categorical"}),
        ("prices", [], {"amount": "numeric", "age": "numeric", "city": "categorical"}),
    ],
)
def test_report_of_a_good_model(made: Path, name: str, classes: list[str], kinds: dict[str, str]) -> None:
    """Columns with their inferred types, windows, and what is expected in them."""
    report, mistakes = check(read(made, name))
    assert mistakes == []
    assert report["reference"] | {"hash": ""} == {"rows": 1500, "labelled": 1500, "hash": "", "classes": classes}
    assert {column: text.split(",")[0] for column, text in report["columns"].items()} == kinds
    assert report["windows"] == {"6h": 21600, "1d": 86400}
    assert report["sample"]["rows"] == 480
    assert report["rows_expected_per_window"]["1d"] == pytest.approx(480, rel=0.01)
    assert report["rows_needed"] == {"drift": 50, "performance": 50}
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("name", ["credit", "animals", "prices"])
def test_number_of_series_is_about_right(made: Path, name: str) -> None:
    """Compared with what a run of the model really shows of drift, quality and performance."""
    one = read(made, name)
    report, _ = check(one)
    monitor = Monitor(one, Store("sqlite:///:memory:"), Board(), 10 * 86400.0, 60.0, replay=True)
    assert monitor.run(NOON)
    shown = sum(monitor._results[name, task].series() for task in ("drift", "quality", "performance"))
    assert report["series_about"] == pytest.approx(shown, rel=0.25)


def test_threshold_that_is_never_reached(made: Path) -> None:
    """A method without a level never counts, and the report says so."""
    report, _ = check(read(made, drift={"min_rows": 50, "threshold": {"psi": {}, "ks": {"critical": 0.3}}}))
    rows = {(row["window"], row["method"]): row for row in report["thresholds"]}
    assert (rows["1d", "psi"]["lowest"], rows["1d", "psi"]["highest"]) == (None, None)
    assert (rows["1d", "ks"]["lowest"], rows["1d", "ks"]["highest"]) == (0.3, 0.3)
    lines = show(report)
    assert any("1d psi: never counts" in line for line in lines)
    assert any("1d ks: counts above 0.3 to 0.3" in line for line in lines)


def test_threshold_below_chance_is_raised(made: Path) -> None:
    """What is in force is at least what chance alone gives."""
    report, _ = check(read(made, drift={"min_rows": 50, "threshold": {"ks": {"warning": 0.001}}}))
    (row,) = [row for row in report["thresholds"] if (row["window"], row["method"]) == ("1d", "ks")]
    assert row["lowest"] > 0.05


def test_reference_columns_that_are_no_features(made: Path, tmp_path: Path) -> None:
    """Named with the reason."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    path = folder / "credit" / "reference.parquet"
    table = pq.read_table(path)
    table = table.append_column("nothing", pa.nulls(len(table))).append_column("lists", pa.array([[1]] * len(table)))
    pq.write_table(table, path)
    report, mistakes = check(read(folder))
    assert mistakes == []
    assert set(report["skipped"]) == {"nothing", "lists"}
    assert any("lists: not monitored" in line for line in show(report))


def test_log_without_rows(made: Path, tmp_path: Path) -> None:
    """An empty newest file is no mistake, and nothing is promised of it."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    path = folder / "credit" / "predictions" / "9.parquet"
    pq.write_table(pq.read_table(folder / "credit" / "predictions" / "0.parquet").slice(0, 0), path)
    report, mistakes = check(read(folder))
    assert mistakes == []
    assert report["sample"] == {"file": str(path), "rows": 0, "seconds": 0.0, "rejected": {}}
    assert show(report)[-1] == f"  newest file {path}: 0 rows"


def test_reference_without_rows(made: Path, tmp_path: Path) -> None:
    """There is nothing to compare with."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    path = folder / "credit" / "reference.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    report, mistakes = check(read(folder))
    assert mistakes == [Wrong(("reference",), "the reference has no rows")]
    assert show(report) == ["model credit (binary), buckets of 3600 s"]


def test_model_without_labels(made: Path) -> None:
    """Nothing is asked of labels."""
    plain = model("credit")
    del plain["labels"]
    for key in ("label", "label_timestamp"):
        del plain["columns"][key]
    plain["columns"]["ignore"] = ["label", "label_timestamp"]
    (one,) = load(write_config(made, plain)).config.models
    report, mistakes = check(one)
    assert (mistakes, report["reference"]["labelled"]) == ([], 0)


def test_columns_of_serving_and_business_are_looked_for(made: Path) -> None:
    """Where they should be: each that is not there is told at its place, with what was meant."""
    columns = model("credit")["columns"]
    one = read(
        made,
        columns=columns
        | {
            "latency": {"column": "latency_ms", "unit": "ms"},
            "error": "failed",
            "outcomes": ["cost"],
            "features": ["age"],
        },
        business=[
            {"name": "good", "sum": "amount * (label = 1)", "where": "city = 'Oslo'"},
            {"name": "typo", "sum": "amuont", "where": "agee > 3"},
            {"name": "late", "ratio": {"numerator": "cost", "denominator": "label_timestamp"}},
        ],
    )
    _, mistakes = check(one)
    told = {wrong.place: wrong.message.split("parquet ")[1] for wrong in mistakes}
    assert told == {
        ("columns", "latency", "column"): "has no column 'latency_ms'; known are age, amount, city, id, prediction, "
        "score, timestamp",
        ("columns", "error"): "has no column 'failed'; known are age, amount, city, id, prediction, score, timestamp",
        ("columns", "outcomes"): "has no column 'cost'; known are id, label, label_timestamp",
        ("business", 1, "sum"): "has no column 'amuont'; did you mean amount?",
        ("business", 1, "where"): "has no column 'agee'; did you mean age?",
        ("business", 2, "ratio", "denominator"): "has no column 'label_timestamp'; it comes with the label: "
        "name it in columns.outcomes",
    }


def test_value_matrix_for_other_classes(made: Path) -> None:
    """It is told with the classes that the reference has."""
    _, mistakes = check(read(made, "animals", business=[{"name": "a", "value_matrix": [[1, 2], [3, 4]]}]))
    assert mistakes == [
        Wrong(
            ("reference",),
            "the value_matrix of a is for 2 classes, the reference has 3: "
            "give a row and a column each of ant, bee, cat",
        )
    ]


@pytest.mark.parametrize(("name", "method"), [("credit", "cbpe: "), ("animals", "cbpe: "), ("prices", "dle: ")])
def test_what_performance_is_estimated_by(made: Path, name: str, method: str) -> None:
    """Where it is asked for; and why it is not possible."""
    report, mistakes = check(read(made, name, performance={"estimate": True, "min_rows": 50}))
    assert mistakes == []
    assert report["estimate"].startswith(method)
    assert any("performance without labels" in line for line in show(report))
    assert "estimate" not in check(read(made, name))[0]
