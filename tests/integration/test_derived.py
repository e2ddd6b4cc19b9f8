"""Text and embeddings from files to drift: a change of topic and of a mean is seen, no change is silent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from exporter.check import check, show
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.readings import Readings
from exporter.settings import Model
from exporter.store import Store
from tests.integration import small
from tests.integration.small import DAY, NOON

WORDS = np.array([f"w{number}" for number in range(2000)])
CHANCE = 1 / np.arange(1, 2001) / sum(1 / np.arange(1, 2001))
AXES = ["vector.norm", "vector.distance", *(f"vector.{number}" for number in range(1, 9))]
DERIVED = {"comment.length", "comment.unknown_words", *AXES}


def with_text(table: pa.Table, seed: int, new: float = 0.0, shift: float = 0.0, as_text: bool = False) -> pa.Table:
    """Add comments, of which a share `new` of the words is new, and vectors of 12 numbers moved by `shift`."""
    random = np.random.default_rng(seed)
    words = random.choice(WORDS, (len(table), 12), p=CHANCE)
    words = np.where(random.random(words.shape) < new, np.char.add("new", words), words)
    comments = [" ".join(row[: random.integers(5, 13)]) for row in words]
    vectors = (random.normal(size=(len(table), 12)) * np.linspace(2, 0.5, 12) + shift).astype(np.float32)
    values = pa.array([repr(row) for row in vectors.tolist()]) if as_text else pa.array(vectors.tolist())
    return table.append_column("comment", pa.array(comments)).append_column("vector", values)


def write(folder: Path, suffix: str = "parquet", **change: float) -> Model:
    """Write 30 days of reference and a day of log; return the model's settings."""
    reference = small.rows("credit", NOON - 32 * DAY, NOON - 2 * DAY, 3000, seed=1)
    small.write(with_text(reference, 1), folder / "credit" / "reference.parquet")
    log = small.predictions(small.rows("credit", NOON - DAY, NOON, 800, seed=2))
    small.write(with_text(log, 2, as_text=suffix == "csv", **change), folder / "credit" / "predictions" / f"1.{suffix}")
    return settings(folder)


def settings(folder: Path, **more: Any) -> Model:
    drift = {"min_rows": 50, "numeric": ["ks", "psi"], "knots": 256}
    own = small.model("credit", windows=["1d"], drift=drift, **more)
    del own["labels"]
    (model,) = load(small.write_config(folder, own)).config.models
    return model


def run(model: Model) -> tuple[Monitor, Readings]:
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(), 90.0 * DAY, 60.0, replay=True)
    assert monitor.run(NOON), monitor.notes
    return monitor, monitor.results()


def detected(results: Readings) -> dict[str, bool]:
    return {one.labels[-1]: bool(one.value) for one in results["model_feature_drift_detected"]}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_no_change_is_silent(tmp_path: Path, suffix: str) -> None:
    """In every format; each derived feature has a verdict."""
    monitor, results = run(write(tmp_path, suffix))
    found = detected(results)
    assert set(found) == {"amount", "age", "city", *DERIVED}
    assert not any(found.values()), found
    assert monitor.tasks["ingest"].failures.total() == 0
    shares = {one.labels[-1]: one.value for one in results["model_feature_missing_ratio"]}
    assert shares == dict.fromkeys(["amount", "age", "city", "comment.length", "vector.norm"], 0.0)
    assert {one.labels[-1] for one in results["model_feature_out_of_range_ratio"]} > DERIVED


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_new_topic_and_a_moved_mean_are_seen(tmp_path: Path, suffix: str) -> None:
    """Each by what is derived of its own column alone; the next columns stay quiet."""
    _, results = run(write(tmp_path, suffix, new=0.25))
    found = {name for name, drifted in detected(results).items() if drifted}
    assert found - {"comment.length"} == {"comment.unknown_words"}
    _, results = run(write(tmp_path, suffix, shift=0.8))
    found = {name for name, drifted in detected(results).items() if drifted}
    assert {"vector.distance", "vector.norm"} <= found <= set(AXES)
    assert len(found & set(AXES[2:])) >= 1
    scores = {one.labels[4:]: one.value for one in results["model_feature_drift_score"]}
    assert scores["vector.distance", "ks"] > 0.2 > scores["comment.unknown_words", "ks"]


def test_columns_that_the_log_does_not_have_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All derived values are missing; the column is named once, and its missing share is told once."""
    model = write(tmp_path)
    path = tmp_path / "credit" / "predictions" / "1.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["comment", "vector"]), path)
    monitor = Monitor(model, Store("sqlite:///:memory:"), Board(), 90.0 * DAY, 60.0, replay=True)
    assert not monitor.run(NOON)
    assert monitor.tasks["ingest"].failures["data"] == 2
    told = [record.message for record in caplog.records if "is missing in the log" in record.message]
    assert [message.split(":")[1] for message in told] == [
        " column comment is missing in the log",
        " column vector is missing in the log",
    ]
    results = monitor.results()
    shares = {one.labels[-1]: one.value for one in results["model_feature_missing_ratio"]}
    assert {name: share for name, share in shares.items() if share} == {"comment.length": 1.0, "vector.norm": 1.0}
    assert not DERIVED & set(detected(results))


def test_odd_vectors_are_told_once_by_check_and_by_quality(tmp_path: Path) -> None:
    """A vector of another length is invalid."""
    model = write(tmp_path)
    path = tmp_path / "credit" / "predictions" / "1.parquet"
    table = pq.read_table(path)
    odd = [row[:3] if number % 4 == 0 else row for number, row in enumerate(table["vector"].to_pylist())]
    pq.write_table(table.set_column(table.column_names.index("vector"), "vector", pa.array(odd)), path)
    _, results = run(model)
    shares = {one.labels[-1]: one.value for one in results["model_feature_invalid_ratio"]}
    assert {name: share for name, share in shares.items() if share} == {"vector.norm": 0.25}
    report, mistakes = check(model)
    assert [one.message for one in mistakes] == [f"{path}: 25.0% of 'vector' are no vectors of 12 numbers"]
    lines = show(report)
    assert any(line.startswith("    vector.1: numeric, ") for line in lines)
    assert sum(line.endswith(", from embedding of 12 numbers 'vector'") for line in lines) == 10
    assert sum(line.endswith(", from text 'comment'") for line in lines) == 2


def test_bounds_of_the_column_hold_for_what_is_derived(tmp_path: Path) -> None:
    """Unless the derived feature has its own."""
    write(tmp_path)
    own = {"vector": {"out_of_range": {"max": 0.3}}, "vector.2": {"out_of_range": {"max": 0.4}}}
    _, results = run(settings(tmp_path, quality={"features": own}))
    bounds = {one.labels[-1]: one.value for one in results["model_feature_out_of_range_threshold_ratio"]}
    assert {name: bounds[name] for name in AXES} == dict.fromkeys(AXES, 0.3) | {"vector.2": 0.4}


def test_a_restart_keeps_transforms_and_counts(tmp_path: Path, new_url: Callable[[], str]) -> None:
    """From a store on disk; nothing of the log is read again, and the readings are the same."""
    model = write(tmp_path, new=0.25, shift=0.8)
    url = new_url()
    found = []
    for _ in range(2):
        store = Store(url)
        monitor = Monitor(model, store, Board(), 90.0 * DAY, 60.0, replay=True)
        assert monitor.run(NOON), monitor.notes
        found.append({name: own for name, own in monitor.results().items() if name.startswith("model_feature")})
        rows = monitor.sources["predictions"].rows
        store.close()
    assert rows == 0
    assert found[0] == found[1]


def test_real_vectors(tmp_path: Path) -> None:
    """Handwritten digits as vectors of 64: a random half is no drift from the other, digits of one half of them are."""
    digits, target = load_digits(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(digits))
    model = write(tmp_path)
    reference = pq.read_table(tmp_path / "credit" / "reference.parquet").drop_columns(["vector"])
    rows = pa.array(digits[order[: len(digits) // 2]].tolist())
    reference = reference.slice(0, len(rows)).append_column("vector", rows)
    pq.write_table(reference, tmp_path / "credit" / "reference.parquet")
    path = tmp_path / "credit" / "predictions" / "1.parquet"
    log, rest = pq.read_table(path).drop_columns(["vector"]), order[len(digits) // 2 :]
    for chosen, drifts in ((rest, False), (rest[target[rest] < 5], True)):
        vectors = pa.array(digits[chosen][: len(log)].tolist())
        shutil.rmtree(tmp_path / "credit" / "predictions")
        small.write(log.slice(0, len(vectors)).append_column("vector", vectors), path)
        found = {name for name, drifted in detected(run(model)[1]).items() if drifted and name in AXES}
        assert bool(found) == drifts, found
