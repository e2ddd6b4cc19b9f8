"""A first configuration: of real files `check` finds no mistake in it, and what cannot be guessed is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from exporter.config import load
from exporter.init.guess import Guess, guess
from exporter.init.write import write
from tests.integration.small import KINDS, NOON, labels, predictions, rows
from tests.unit.test_cli import cli, one_line

ROOT = Path(__file__).parents[2]
COMMON = {
    "id": "request_id",
    "timestamp": "timestamp",
    "prediction": "prediction",
    "label": "label",
    "label_timestamp": "label_timestamp",
}
STATUS = ("cancelled_or_diverted", "delayed", "on_time")
EXPECTED: dict[str, dict[str, Any]] = {
    "flights": {"score": "prediction_proba", "positive_class": "1", "outcomes": ["arr_delay_min"]},
    "bikes": {"latency": {"column": "latency_ms", "unit": "ms"}},
    "retail": {
        "score": "prediction_proba",
        "positive_class": "1",
        "outcomes": ["next_invoice_value_gbp"],
        "latency": {"column": "latency_ms", "unit": "ms"},
    },
    "flights_status": {"score": {name: f"proba_{name}" for name in STATUS}},
}
TASKS = {"flights": "binary", "bikes": "regression", "retail": "binary", "flights_status": "multiclass"}
WINDOWS = {"flights": ["24h", "7d"], "bikes": ["28d", "84d"], "retail": ["7d", "28d"], "flights_status": ["24h", "7d"]}


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set in the working directory: reference, and log and labels in folders."""
    name: str = request.param
    folder = ROOT / "tests" / "data" / name if name != "flights" else ROOT / "examples" / name
    shutil.copy(folder / "reference.parquet", tmp_path)
    for part in ("predictions", "labels"):
        (tmp_path / part).mkdir()
        many = sorted((folder / part).glob("*.parquet"))[-3:] or [folder / f"{part}.parquet"]
        for path in many:
            shutil.copy(path, tmp_path / part)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("data", EXPECTED, indirect=True)
def test_real_files(data: str) -> None:
    """Roles, task and windows are right, and `check` has nothing to say against it."""
    found = cli(
        "init", "--reference", "reference.parquet", "--predictions", "predictions/*.parquet",
        "--labels", "labels/*.parquet", "--name", data,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    Path("model-exporter.yml").write_text(found.stdout)
    (model,) = yaml.safe_load(found.stdout)["models"]
    columns = dict(model["columns"])
    features = columns.pop("features")
    assert columns == COMMON | EXPECTED[data]
    assert (model["name"], model["task"]) == (data, TASKS[data])
    assert model["windows"] == WINDOWS[data]
    reference = set(pq.read_schema("reference.parquet").names)
    outcomes = set(columns.get("outcomes", []))
    scores = columns.get("score", [])
    used = {*COMMON.values(), *outcomes, *(scores.values() if isinstance(scores, dict) else [scores] if scores else [])}
    assert set(features) == reference - used
    checked = cli("check", "--config.file", "model-exporter.yml")
    assert (checked.returncode, checked.stderr.strip()) == (0, "")


def made(name: str = "credit", **renamed: str) -> list[pa.Table]:
    """Reference, log and labels of a small model, columns renamed."""
    table = rows(name, NOON - 86_400 * 10, NOON, 4000, seed=3)
    tables = [table, predictions(table), labels(table)]
    return [one.rename_columns([renamed.get(n, n) for n in one.column_names]) for one in tables]


def values(found: Guess) -> dict[str, Any]:
    return {part: said.value for part, said in found.columns.items()}


@pytest.mark.parametrize("name", KINDS)
def test_small_models(name: str, tmp_path: Path) -> None:
    """Each task; the text is read again as it was meant."""
    found = guess(*made(name))
    assert found.task.value == KINDS[name].task
    assert values(found).get("score") == KINDS[name].score
    assert {name: said.value for name, said in found.features.items()} == {
        "amount": "numeric", "age": "numeric", "city": "categorical",
    }  # fmt: skip
    path = tmp_path / "model-exporter.yml"
    path.write_text(write(found, "a: b #c", {"reference": ["r"], "predictions": ["p"], "labels": ["l"]}))
    (model,) = load(path).config.models
    assert model.name == "a: b #c"
    assert model.columns.label == "label"
    assert "CHECK:" not in path.read_text()


def test_other_names() -> None:
    """As people call them."""
    names = {
        "id": "uuid", "timestamp": "created_at", "prediction": "y_pred", "score": "probability", "label": "y_true",
        "label_timestamp": "known_at",
    }  # fmt: skip
    assert values(guess(*made(**names))) == {
        "id": "uuid",
        "timestamp": "created_at",
        "prediction": "y_pred",
        "score": "probability",
        "positive_class": "1",
        "label": "y_true",
        "label_timestamp": "known_at",
    }


def test_score_of_the_other_class() -> None:
    """The positive class is the one whose score it is, whatever its name."""
    reference, log, late = made()
    turned = [
        one.set_column(one.column_names.index("score"), "score", pa.array(1 - np.asarray(one["score"])))
        for one in (reference, log)
    ]
    assert values(guess(*turned, late))["positive_class"] == "0"


def test_what_is_not_sure_is_marked() -> None:
    """Two times, an id by no name, a class that is only the rarer one."""
    words = {0: "left", 1: "right"}

    def worded(table: pa.Table, name: str) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([words[value] for value in table[name].to_pylist()]))

    reference, log, late = made(id="case", prediction="pred")
    reference, log = (worded(one.drop_columns(["score"]), "pred") for one in (reference, log))
    reference, late = worded(reference, "label"), worded(late, "label")
    log = log.append_column("updated_at", log["timestamp"])
    found = guess(reference, log, late)
    unsure = {part for part, said in found.columns.items() if said.unsure}
    assert unsure == {"id", "timestamp", "positive_class"}
    text = write(found, "x", {"reference": ["r"], "predictions": ["p"]})
    assert text.count("CHECK:") == 3 + len(found.notes)
    assert any("probability" in note for note in found.notes)


def test_version_segments_error_and_what_is_left_out() -> None:
    """Columns of the log that are no features, and columns of the reference that cannot be."""
    reference, log, late = made()
    size = len(log)
    extra = {"model_version": pa.array(["a", "b"] * (size // 2)), "error": pa.array([False] * (size - 1) + [True])}
    for name, values_ in extra.items():
        log = log.append_column(name, values_)
    for name, values_ in {
        "country": pa.array(["DE", "FR"] * (size // 2)),
        "constant": pa.array([1] * size),
        "session": pa.array([f"s{n}" for n in range(size)]),
    }.items():
        reference, log = reference.append_column(name, values_), log.append_column(name, values_)
    reference = reference.append_column("leak", pa.array(range(size)))
    found = guess(reference, log, late)
    assert found.version is not None and found.version.value == {"column": "model_version"}
    assert values(found)["error"] == "error"
    assert values(found)["segments"] == ["country"]
    assert set(found.left_out) == {"constant", "session", "leak"}
    assert "model_version" not in found.features


def without(table: pa.Table, *names: str) -> pa.Table:
    return table.drop_columns(list(names))


def refused() -> dict[str, tuple[list[Any], str]]:
    reference, log, late = made()
    share = [
        one.set_column(one.column_names.index("prediction"), "prediction", one["score"]) for one in (reference, log)
    ]
    return {
        "no time": ([reference, without(log, "timestamp"), late], "an event time is needed"),
        "no id": ([reference, without(log, "id"), late], "an id must join them"),
        "no decision": ([reference, without(log, "prediction"), late], "called prediction, predicted"),
        "only a probability": ([*share, late], "is a probability, but the label has 2 classes"),
        "two labels": (
            [reference, log, late.rename_columns(["id", "a", "label_timestamp"]).append_column("b", late["label"])],
            "more than one could be",
        ),
        "no feature": (
            [without(reference, "amount", "age", "city"), log, late],
            "left to be a feature",
        ),
    }


@pytest.mark.parametrize("case", refused())
def test_refusals(case: str) -> None:
    """One clear sentence each."""
    tables, sentence = refused()[case]
    with pytest.raises(ValueError, match=sentence):
        guess(*tables)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """With the flag and the pattern."""
    reference = tmp_path / "reference.parquet"
    pq.write_table(made()[0], reference)
    assert "no file matches" in one_line(cli("init", "--reference", tmp_path / "x", "--predictions", "y"))
    line = one_line(cli("init", "--reference", reference, "--predictions", tmp_path / "*.none"))
    assert line.endswith("no file matches")
    assert "--predictions" in line


def test_labels_in_the_log(tmp_path: Path) -> None:
    """Without files of their own."""
    table = made()[0]
    pq.write_table(table, tmp_path / "r.parquet")
    found = cli("init", "--reference", tmp_path / "r.parquet", "--predictions", tmp_path / "r.parquet")
    (model,) = yaml.safe_load(found.stdout)["models"]
    assert model["columns"]["label"] == "label"
    assert model["columns"]["label_timestamp"] == "label_timestamp"
    assert "labels" not in model
    assert model["name"] == "r"


def test_names_stay_in_their_comments(tmp_path: Path) -> None:
    """A class with a line break in it does not become a line of the configuration."""
    reference, log, late = made("animals")
    odd = {"ant": "ant\n    task: x", "bee": "bee # b", "cat": "cat: c"}

    def worded(table: pa.Table, name: str) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([odd[value] for value in table[name].to_pylist()]))

    tables = worded(worded(reference, "prediction"), "label"), worded(log, "prediction"), worded(late, "label")
    path = tmp_path / "model-exporter.yml"
    path.write_text(write(guess(*tables), "x", {"reference": ["r"], "predictions": ["p"], "labels": ["l"]}))
    (model,) = load(path).config.models
    assert model.task == "multiclass"
