"""Several models in one process: what goes wrong in one place changes nothing in any other, and is seen.

The clock is an argument: nothing here waits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from exporter import ingest as ingest_module
from exporter import monitor as monitor_module
from exporter.collector import Board, Filter
from exporter.config import load
from exporter.evaluate.views import Found
from exporter.monitor import Monitor
from exporter.sources import files
from exporter.store import Store, Transaction
from tests.integration.serving import Samples, only, samples, select, states
from tests.integration.small import (
    CITIES,
    DAY,
    HOUR,
    KINDS,
    LABEL_DELAY,
    NOON,
    between,
    labels,
    model,
    predictions,
    rows,
    write,
    write_all,
    write_config,
    write_reference,
)

TASKS = ("drift", "quality", "performance")
OF_THE_PROCESS = ("model_task_", "model_source_", "model_exporter_", "process_", "python_")
EVERY = [*KINDS]
WELL = {(window, task): "ok" for window in ("6h", "1d") for task in TASKS}


class Fleet:
    """The models of a configuration, run by hand on one store and one board."""

    def __init__(self, config: Path, replay: bool = False):
        loaded = load(config).config
        self.store, self.board = Store(loaded.store.url), Board()
        self.monitors = {
            one.name: Monitor(one, self.store, self.board, 90.0 * DAY, 60.0, replay) for one in loaded.models
        }

    def run(self, now: float = NOON) -> Samples:
        for one in self.monitors.values():
            one.run(now)
        return self.page

    @property
    def page(self) -> Samples:
        names = Filter(models=frozenset(self.monitors))
        return samples(self.board.page(openmetrics=False, compressed=False, only=names).body.decode())

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def lasting(found: Samples) -> Samples:
    """What a restart must not change."""
    return {key: value for key, value in found.items() if not key[0].startswith(OF_THE_PROCESS)}


def of(found: Samples, name: str) -> Samples:
    """One model's lasting series."""
    return {key: value for key, value in lasting(found).items() if dict(key[1])["model"] == name}


def differing(one: Samples, other: Samples) -> set[str]:
    """Names of the series that are not the same."""
    return {key[0] for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def failures(found: Samples, name: str) -> dict[tuple[str, str], float]:
    """Counted failures by task and reason."""
    return {
        (dict(pairs)["task"], dict(pairs)["reason"]): value
        for (own, pairs), value in found.items()
        if own == "model_task_failures_total" and dict(pairs)["model"] == name and value
    }


def up(found: Samples, name: str) -> dict[str, float]:
    return {
        dict(pairs)["source"]: value
        for (own, pairs), value in found.items()
        if own == "model_source_up" and dict(pairs)["model"] == name
    }


ALL_UP = {"reference": 1.0, "predictions": 1.0, "labels": 1.0}


def newest(folder: Path, name: str, source: str = "predictions") -> Path:
    return folder / name / source / f"1.{KINDS[name].suffix}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models with a log of two days; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    for name in EVERY:
        write_all(folder, name, NOON)
    write_config(folder, *(model(name) for name in EVERY))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(made, tmp_path / "log"))


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """What one run of the unchanged log shows."""
    return run(Path(shutil.copytree(made, tmp_path_factory.mktemp("whole") / "log")))


def run(folder: Path, now: float = NOON) -> Samples:
    """One run of all models, from nothing."""
    (folder / "model-exporter.db").unlink(missing_ok=True)
    with Fleet(folder / "model-exporter.yml") as fleet:
        return fleet.run(now)


# --- all is well ------------------------------------------------------------------------------------------------------


def test_three_models_of_three_formats(whole: Samples) -> None:
    """Each with the rows, labels and metrics that its log has."""
    found = whole
    for name in EVERY:
        log = rows(name, NOON - 2 * DAY, NOON, 960, seed=2)
        assert states(found, name) == WELL
        assert up(found, name) == ALL_UP
        assert failures(found, name) == {}
        for window, seconds in (("6h", 6 * HOUR), ("1d", DAY)):
            inside = between(log, NOON - seconds, NOON)
            complete = NOON - LABEL_DELAY  # as the reference shows: performance is judged on rows that old
            known = between(log, complete - seconds, complete).to_pandas()
            assert only(found, "model_performance_window_end_timestamp_seconds", model=name, window=window) == complete
            shown = {
                dataset: only(found, "model_window_rows", model=name, window=window, dataset=dataset)
                for dataset in ("current", "labelled", "reference")
            }
            assert shown == {"current": len(inside), "labelled": len(known), "reference": 1500}
            metric, oracle = {
                "credit": ("f1", f1_score),
                "animals": ("accuracy", accuracy_score),
                "prices": ("mae", mean_absolute_error),
            }[name]
            value = oracle(known.label, known.prediction)
            score = only(found, "model_performance_score", model=name, window=window, metric=metric)
            assert score == pytest.approx(value, rel=1e-6)
            coverage = only(found, "model_labels_coverage_ratio", model=name, window=window)
            assert coverage == pytest.approx(1 - LABEL_DELAY / seconds)
            assert only(found, "model_labels_mature_coverage_ratio", model=name, window=window) == 1
            delay = only(found, "model_label_delay_seconds", model=name, window=window, q="0.5")
            assert LABEL_DELAY <= delay <= 1.09 * LABEL_DELAY
        assert only(found, "model_predictions_total", model=name) == 960
        assert only(found, "model_labels_total", model=name) == 920
        assert only(found, "model_newest_row_timestamp_seconds", model=name) == pytest.approx(NOON - 90)


def test_models_do_not_know_of_each_other(folder: Path, whole: Samples) -> None:
    """Each shows the same alone."""
    for name in EVERY:
        write_config(folder, model(name))
        assert lasting(run(folder)) == of(whole, name)


@pytest.mark.parametrize("name", EVERY)
def test_format_of_the_files_does_not_matter(name: str, folder: Path, whole: Samples) -> None:
    """Parquet, CSV and JSON lines say the same."""
    before = of(whole, name)
    log = rows(name, NOON - 2 * DAY, NOON, 960, seed=2)
    for suffix in ("parquet", "csv", "jsonl"):
        one = folder / suffix
        write(rows(name, NOON - 32 * DAY, NOON - 2 * DAY, 1500, seed=1), one / name / "reference.parquet")
        write(predictions(log), one / name / "predictions" / f"all.{suffix}")
        write(between(labels(log), 0, NOON, "label_timestamp"), one / name / "labels" / f"all.{suffix}")
        write_config(one, model(name))
        assert differing(lasting(run(one)), before) == set(), suffix


# --- time -------------------------------------------------------------------------------------------------------------


class Growing:
    """A log that is written as time goes by: files that grow, labels as late as the short window is old."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.logs = {name: rows(name, NOON - 2 * DAY, NOON + DAY, 1440, 3, 10, 5 * HOUR) for name in EVERY}
        for name in EVERY:
            write_reference(folder, name, NOON - 2 * DAY)
        write_config(folder, *(model(name) for name in EVERY))

    def write(self, start: float, end: float) -> None:
        """Write what happened between two times."""
        for name, log in self.logs.items():
            suffix = KINDS[name].suffix
            for source, table, column in (
                ("predictions", predictions(log), "timestamp"),
                ("labels", labels(log), "label_timestamp"),
            ):
                new = between(table, start, end, column)
                if suffix == "parquet":
                    write(new, self.folder / name / source / f"{int(start)}.parquet")
                elif len(new):
                    path = self.folder / name / source / f"log.{suffix}"
                    write(new, path, append=path.exists())


def test_restart_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """A day without a break, with one every three hours, and read from nothing at its end: the same series."""
    lives = {life: Growing(tmp_path / life) for life in ("whole", "broken", "late")}
    config = {life: growing.folder / "model-exporter.yml" for life, growing in lives.items()}
    for growing in lives.values():
        growing.write(NOON - 2 * DAY, NOON)
    with Fleet(config["whole"]) as fleet:
        for hour in range(3, 25, 3):
            now = NOON + hour * HOUR + 1800
            for growing in lives.values():
                growing.write(NOON if hour == 3 else now - 3 * HOUR, now)
            whole = lasting(fleet.run(now))
            with Fleet(config["broken"]) as other:
                assert differing(lasting(other.run(now)), whole) == set(), hour
    with Fleet(config["late"]) as other:
        assert differing(lasting(other.run(now)), whole) == set()
    assert len(whole) > 1000
    assert all(states(whole, name) == WELL for name in EVERY)


@pytest.mark.parametrize("order", ["labels first", "predictions first", "by turns", "newest first"])
def test_labels_come_in_any_order(order: str, folder: Path, whole: Samples) -> None:
    """Before their predictions, long after, or in between: in the end the same."""
    straight = lasting(whole)
    waiting = {
        (name, source, number): folder / name / source / f"{number}.{KINDS[name].suffix}"
        for name in EVERY
        for source in ("predictions", "labels")
        for number in (0, 1)
    }
    for path in waiting.values():
        path.rename(path.with_suffix(path.suffix + ".part"))
    steps = {
        "labels first": [("labels", 0), ("labels", 1), ("predictions", 0), ("predictions", 1)],
        "predictions first": [("predictions", 0), ("predictions", 1), ("labels", 0), ("labels", 1)],
        "by turns": [("labels", 1), ("predictions", 1), ("predictions", 0), ("labels", 0)],
        "newest first": [("predictions", 1), ("labels", 0), ("labels", 1), ("predictions", 0)],
    }[order]
    with Fleet(folder / "model-exporter.yml") as fleet:
        for source, number in steps:
            for name in EVERY:
                path = waiting[name, source, number]
                path.with_suffix(path.suffix + ".part").rename(path)
            found = fleet.run()
    assert differing(lasting(found), straight) == set()


def test_labels_are_not_known_before_their_time(folder: Path) -> None:
    """Also where the file already has them."""
    log = rows("credit", NOON - 2 * DAY, NOON, 960, seed=2)
    write(labels(log), newest(folder, "credit", "labels"))
    with Fleet(folder / "model-exporter.yml") as fleet:
        assert only(fleet.run(), "model_labels_total", model="credit") == 920
        assert only(fleet.run(NOON + HOUR), "model_labels_total", model="credit") == 940
        assert only(fleet.run(NOON + 2 * HOUR), "model_labels_total", model="credit") == 960


def test_future_rows_are_not_seen_as_of_an_earlier_time(folder: Path) -> None:
    """A replay of noon yesterday is what was known at noon yesterday."""
    with Fleet(folder / "model-exporter.yml", replay=True) as fleet:
        seen = lasting(fleet.run(NOON - DAY))
    for name in EVERY:
        for source in ("predictions", "labels"):
            newest(folder, name, source).unlink()
    (folder / "model-exporter.db").unlink()
    with Fleet(folder / "model-exporter.yml") as fleet:
        assert differing(lasting(fleet.run(NOON - DAY)), seen) == set()
    assert all(only(seen, "model_predictions_total", model=name) == 480 for name in EVERY)


@pytest.mark.parametrize("lateness", [None, "2h"])
def test_one_row_from_the_future_makes_no_other_late(lateness: str | None, folder: Path) -> None:
    """A clock that was wrong once: its row is in no window, all others are counted, and the log is as old as it is."""
    more = {"lateness": lateness} if lateness else {}
    write_config(folder, model("credit", **more))
    plain = predictions(rows("credit", NOON + 300 * DAY, NOON + 301 * DAY, 1, seed=9))
    write(plain, folder / "credit" / "predictions" / "0a.parquet")
    with Fleet(folder / "model-exporter.yml") as fleet:
        fleet.run()
        more_rows = predictions(rows("credit", NOON, NOON + HOUR, 20, seed=10))
        write(more_rows, folder / "credit" / "predictions" / "2.parquet")
        found = fleet.run(NOON + HOUR)
        later = fleet.run(NOON + 2 * HOUR)
    assert only(found, "model_window_rows", window="1d", dataset="current") == 480
    assert only(found, "model_rows_rejected_total", reason="late") == 0
    assert NOON < only(later, "model_newest_row_timestamp_seconds") <= NOON + HOUR
    assert states(found, "credit") == WELL


def test_late_rows_are_counted_and_not_used(folder: Path) -> None:
    """Older than the newest by more than `lateness`."""
    write_config(folder, model("credit", lateness="1h"))
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()
        late = predictions(rows("credit", NOON - 3 * HOUR, NOON - 2 * HOUR, 30, seed=9))
        write(late, folder / "credit" / "predictions" / "2.parquet")
        found = fleet.run()
    assert only(found, "model_rows_rejected_total", reason="late") == 30
    assert differing(of(found, "credit"), of(before, "credit")) == {"model_rows_rejected_total"}


# --- too little is not good -------------------------------------------------------------------------------------------


def test_no_rows_are_insufficient(folder: Path) -> None:
    """No score, no verdict, no ratio: nothing that could be taken for health."""
    for name in EVERY:
        for source in ("predictions", "labels"):
            for path in (folder / name / source).iterdir():
                path.unlink()
    found = run(folder)
    for name in EVERY:
        assert set(states(found, name).values()) == {"insufficient"}
        assert set(select(found, "model_window_rows", model=name, dataset="current")) == {0}
        assert up(found, name) == {"reference": 1, "predictions": 0, "labels": 0}
    nothing = ("_drift_score", "_detected", "_performance_score", "_drifted_features_ratio", "_missing_ratio")
    assert not [name for name, _ in found if name.endswith(nothing)]


def test_too_few_rows_are_insufficient(folder: Path) -> None:
    """In the short window; the long one is judged. Labels have a least number of their own."""
    write_config(folder, *(model(name, drift={"min_rows": 121}, performance={"min_rows": 481}) for name in EVERY))
    found = run(folder)
    for name in EVERY:
        assert states(found, name) == {
            ("6h", "drift"): "insufficient",
            ("6h", "quality"): "insufficient",
            ("6h", "performance"): "insufficient",
            ("1d", "drift"): "ok",
            ("1d", "quality"): "ok",
            ("1d", "performance"): "insufficient",
        }
        for family in ("feature_drift_score", "feature_drift_detected", "drifted_features_ratio"):
            assert not select(found, f"model_{family}", model=name, window="6h")
            assert select(found, f"model_{family}", model=name, window="1d")
        assert not select(found, "model_performance_score", model=name)
    write_config(folder, *(model(name, drift={"min_rows": 120}, performance={"min_rows": 480}) for name in EVERY))
    found = run(folder)
    assert all(states(found, name)["6h", "drift"] == "ok" for name in EVERY)
    assert all(states(found, name)["1d", "performance"] == "ok" for name in EVERY)


def test_rows_that_become_old_leave_the_windows(folder: Path) -> None:
    """A day without a new row: first the short window, then the long one is insufficient."""
    with Fleet(folder / "model-exporter.yml") as fleet:
        fleet.run()
        found = fleet.run(NOON + 7 * HOUR)
        assert states(found, "credit")["6h", "drift"] == "insufficient"
        assert states(found, "credit")["1d", "drift"] == "ok"
        found = fleet.run(NOON + 25 * HOUR)
        assert set(states(found, "credit").values()) == {"insufficient"}
        assert only(found, "model_predictions_total", model="credit") == 960


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_broken_file_leaves_all_as_it_was(folder: Path, whole: Samples) -> None:
    """Told, counted, tried again; repaired, it is read as if it had always been whole."""
    path = newest(folder, "credit")
    good = path.read_bytes()
    path.unlink()
    without = run(folder)
    (folder / "model-exporter.db").unlink()
    path.write_bytes(good[:-100])
    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        assert differing(lasting(found), lasting(without)) == set()
        assert up(found, "credit") == ALL_UP | {"predictions": 0}
        assert failures(found, "credit") == {("ingest", "source"): 1}
        assert only(found, "model_task_last_run_success", model="credit", task="ingest") == 0
        assert only(found, "model_task_last_run_success", model="credit", task="drift") == 1
        for name in ("animals", "prices"):
            assert (up(found, name), failures(found, name)) == (ALL_UP, {})
        assert failures(fleet.run(), "credit") == {("ingest", "source"): 2}
        path.write_bytes(good)
        found = fleet.run()
        assert differing(lasting(found), lasting(whole)) == set()
        assert up(found, "credit") == ALL_UP
        assert only(found, "model_task_last_run_success", model="credit", task="ingest") == 1


@pytest.mark.parametrize("name", EVERY)
def test_unreadable_labels_leave_the_predictions(name: str, folder: Path) -> None:
    """Drift and quality go on; performance with the labels that are known."""
    path = newest(folder, name, "labels")
    path.unlink()
    without = run(folder)
    (folder / "model-exporter.db").unlink()
    bad = {".csv": b"id,label\n\xff\xfe,\x00\n", ".jsonl": b"{{{\n", ".parquet": b"PAR1"}
    path.write_bytes(bad[path.suffix])
    found = run(folder)
    differ = differing(lasting(found), lasting(without))
    assert differ <= {"model_rows_rejected_total"}
    assert states(found, name)["6h", "drift"] == "ok"
    if path.suffix == ".csv":  # readable as text: a row whose label is none
        assert sum(select(found, "model_rows_rejected_total", model=name)) == 1
    else:
        assert up(found, name) == ALL_UP | {"labels": 0}
        assert failures(found, name) == {("ingest", "source"): 1}


Change = Callable[[pa.Table], pa.Table]


def replaced(column: str, values: Callable[[int], Any]) -> Change:
    """Put other values into a column."""

    def change(table: pa.Table) -> pa.Table:
        made = values(len(table))
        made = made if isinstance(made, pa.Array) else pa.array(made)
        return table.set_column(table.column_names.index(column), column, made)

    return change


BAD_COLUMNS: dict[str, tuple[Change, str, dict[str, float], tuple[str, ...]]] = {
    # what happens to the column; the column; its quality in the short window; the models whose format can hold it
    "missing": (
        lambda t: t.drop_columns(["amount"]),
        "amount",
        {"missing": 1, "invalid": 0},
        ("credit", "animals", "prices"),
    ),
    "all null": (replaced("amount", pa.nulls), "amount", {"missing": 1, "invalid": 0}, ("credit", "animals", "prices")),
    "numbers to text": (
        replaced("age", lambda n: ["old"] * n),
        "age",
        {"missing": 0, "invalid": 1},
        ("credit", "animals", "prices"),
    ),
    "numbers to lists": (
        replaced("age", lambda n: pa.array([[1, 2]] * n)),
        "age",
        {"missing": 0, "invalid": 1},
        ("credit", "prices"),
    ),
    "infinite": (
        replaced("amount", lambda n: [np.inf] * n),
        "amount",
        {"missing": 0, "invalid": 1},
        ("credit", "animals"),
    ),
    "huge": (
        replaced("amount", lambda n: [(-1) ** i * 1.7e308 for i in range(n)]),
        "amount",
        {"missing": 0, "invalid": 0, "out_of_range": 1},
        ("credit", "animals", "prices"),
    ),
    "categories to numbers": (
        replaced("city", lambda n: [7] * n),
        "city",
        {"missing": 0, "unseen": 1},
        ("credit", "animals", "prices"),
    ),
    "categories to lists": (
        replaced("city", lambda n: pa.array([["Oslo"]] * n)),
        "city",
        {"missing": 0, "unseen": 1},
        ("credit", "prices"),
    ),
    "categories to structs": (
        replaced("city", lambda n: pa.array([{"name": "Oslo"}] * n)),
        "city",
        {"missing": 0, "unseen": 1},
        ("credit", "prices"),
    ),
    "categories to times": (
        replaced("city", lambda n: pa.array([1_700_000_000_000_000] * n).cast(pa.timestamp("us", "UTC"))),
        "city",
        {"missing": 0, "unseen": 1},
        ("credit", "animals", "prices"),
    ),
}
# Corrected or counted across all features by definition, so one feature changes them.
ACROSS = {
    *("model_feature_drift_p_value", "model_drifted_features_ratio", "model_segment_drift_score"),
    "model_quality_checks_failed",
    *("model_feature_moving_drift_p_value", "model_moving_drifted_features_ratio"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, _, _, names) in BAD_COLUMNS.items() for name in names]
)
def test_bad_column_leaves_every_other(kind: str, name: str, folder: Path, whole: Samples) -> None:
    """Of its own model, too: its states are ok, the column shows what is wrong with it, and has no drift of 0."""
    change, column, quality, _ = BAD_COLUMNS[kind]
    before = whole
    log = predictions(between(rows(name, NOON - 2 * DAY, NOON, 960, seed=2), NOON - DAY, NOON))
    write(change(log), newest(folder, name))
    after = run(folder)
    for other in EVERY:
        if other != name:
            assert differing(of(after, other), of(before, other)) == set()

    def beside(found: Samples) -> Samples:
        return {
            key: value
            for key, value in of(found, name).items()
            if dict(key[1]).get("feature") != column and key[0] not in ACROSS
        }

    assert differing(beside(after), beside(before)) == set()
    assert states(after, name) == WELL
    for check, share in quality.items():
        shown = only(after, f"model_feature_{check}_ratio", model=name, window="6h", feature=column)
        assert shown == share, check
    scores = select(after, "model_feature_drift_score", model=name, window="6h", feature=column)
    assert 0 not in scores
    if quality["missing"] or quality.get("invalid"):
        assert scores == []
        assert not select(after, "model_feature_drift_detected", model=name, window="6h", feature=column)
    else:
        assert select(after, "model_feature_drift_detected", model=name, window="6h", feature=column) == [1]
    expected = {("ingest", "data"): 1.0} if kind == "missing" else {}
    assert failures(after, name) == expected


@pytest.mark.parametrize("name", EVERY)
def test_numbers_written_as_text_are_numbers(name: str, folder: Path, whole: Samples) -> None:
    """A type that changed without a value that did."""
    log = predictions(between(rows(name, NOON - 2 * DAY, NOON, 960, seed=2), NOON - DAY, NOON))
    change = replaced("age", lambda n: [f" {age} " for age in log["age"].to_pylist()[:n]])
    write(change(log), newest(folder, name))
    assert differing(lasting(run(folder)), lasting(whole)) == set()


@pytest.mark.parametrize(("name", "column"), [("credit", "id"), ("animals", "timestamp"), ("prices", "prediction")])
def test_file_without_a_needed_column_is_refused(name: str, column: str, folder: Path) -> None:
    """As if it were not there; told with the column."""
    newest(folder, name).rename(folder / "aside")
    without = run(folder)
    log = predictions(between(rows(name, NOON - 2 * DAY, NOON, 960, seed=2), NOON - DAY, NOON))
    write(log.drop_columns([column]), newest(folder, name))
    (folder / "model-exporter.db").unlink()
    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        assert differing(lasting(found), lasting(without)) == set()
        assert failures(found, name) == {("ingest", "data"): 1}
        assert fleet.monitors[name].sources["predictions"].errors == {
            str(newest(folder, name)): f"column '{column}' is missing"
        }
        (folder / "aside").rename(newest(folder, name))
        found = fleet.run()
        assert only(found, "model_predictions_total", model=name) == 960
        assert up(found, name) == ALL_UP


def test_score_that_is_missing_takes_its_own_metrics_only(folder: Path, whole: Samples) -> None:
    """What needs no probability is there."""
    before = whole
    log = predictions(between(rows("credit", NOON - 2 * DAY, NOON, 960, seed=2), NOON - DAY, NOON))
    write(log.drop_columns(["score"]), newest(folder, "credit"))
    after = run(folder)
    for metric in ("accuracy", "precision", "recall", "f1"):
        both = [
            only(found, "model_performance_score", model="credit", window="6h", metric=metric)
            for found in (before, after)
        ]
        assert both[0] == both[1]
    for metric in ("roc_auc", "log_loss", "brier"):
        assert not select(after, "model_performance_score", model="credit", window="6h", metric=metric)
    assert not select(after, "model_prediction_drift_score", model="credit", window="6h", output="score")
    assert select(after, "model_prediction_drift_score", model="credit", window="6h", output="prediction")


def test_rows_that_cannot_be_used_are_counted_one_by_one(folder: Path) -> None:
    """Without a time, without an id; the others are used."""
    log = predictions(between(rows("credit", NOON - 2 * DAY, NOON, 960, seed=2), NOON - DAY, NOON)).to_pylist()
    for row in log[:3]:
        row["timestamp"] = None
    for row in log[2:7]:
        row["id"] = None
    write(pa.Table.from_pylist(log), newest(folder, "credit"))
    found = run(folder)
    assert only(found, "model_rows_rejected_total", model="credit", reason="timestamp") == 3
    assert only(found, "model_rows_rejected_total", model="credit", reason="id") == 4
    assert only(found, "model_predictions_total", model="credit") == 953
    assert failures(found, "credit") == {}


@pytest.mark.parametrize("name", ["animals", "prices"])
def test_line_that_is_no_row_is_counted(name: str, folder: Path, whole: Samples) -> None:
    """And every other line of the file is used."""
    with newest(folder, name).open("a") as file:
        file.write("not a row\n")
    found = run(folder)
    assert only(found, "model_rows_rejected_total", model=name, reason="line") == 1
    assert differing(lasting(found), lasting(whole)) == {"model_rows_rejected_total"}


def test_labels_that_are_no_class_are_counted(folder: Path) -> None:
    """They are none of the model's answers."""
    path = newest(folder, "credit", "labels")
    known = pq.read_table(path).to_pylist()
    for row in known[:5]:
        row["label"] = 9
    write(pa.Table.from_pylist(known), path)
    found = run(folder)
    assert only(found, "model_rows_rejected_total", model="credit", reason="label") == 5
    assert only(found, "model_labels_total", model="credit") == 915


# --- files that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["animals", "prices"])
def test_growing_file_with_half_a_line(name: str, tmp_path: Path) -> None:
    """Written in pieces that end anywhere, with a run after each: in the end what one run of the whole file shows."""
    write_all(tmp_path, name, NOON)
    write_config(tmp_path, model(name))
    config = tmp_path / "model-exporter.yml"
    whole = lasting(run(tmp_path))
    paths = [newest(tmp_path, name, source) for source in ("predictions", "labels")]
    content = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
    (tmp_path / "model-exporter.db").unlink()
    with Fleet(config) as fleet:
        for part in range(12):
            for path, text in content.items():
                with path.open("ab") as file:
                    file.write(text[len(text) * part // 12 : len(text) * (part + 1) // 12])
            found = fleet.run()
            assert failures(found, name) == {}
    assert differing(lasting(found), whole) == set()


def test_rewritten_file_with_ids_counts_nothing_twice(folder: Path, whole: Samples) -> None:
    """A daily file that is written anew with more rows each time."""
    log = predictions(rows("credit", NOON - 2 * DAY, NOON, 960, seed=2))
    with Fleet(folder / "model-exporter.yml") as fleet:
        for part in (100, 300, 480):
            write(between(log, NOON - DAY, NOON).slice(0, part), newest(folder, "credit"))
            found = fleet.run()
            assert only(found, "model_predictions_total", model="credit") == 480 + part
    assert only(found, "model_rows_rejected_total", model="credit", reason="duplicate") == 400
    assert differing(lasting(found), lasting(whole)) == {"model_rows_rejected_total"}
    assert up(found, "credit") == ALL_UP


def test_rewritten_file_without_ids_is_refused(folder: Path) -> None:
    """Old rows cannot be told from new ones: nothing is counted twice, and it is told until the file is put right."""
    plain = model("credit")
    del plain["labels"], plain["columns"]["id"]
    plain["columns"]["ignore"] = ["id"]
    write_config(folder, plain)
    log = rows("credit", NOON - 2 * DAY, NOON, 960, seed=2).drop_columns(["id"])
    for path in (folder / "credit" / "predictions").iterdir():
        path.unlink()
    path = folder / "credit" / "predictions" / "all.parquet"
    write(log.slice(0, 900), path)
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()
        assert only(before, "model_predictions_total") == 900
        write(log, path)
        found = fleet.run()
        assert differing(lasting(found), lasting(before)) == set()
        assert up(found, "credit")["predictions"] == 0
        assert failures(found, "credit") == {("ingest", "data"): 1}
        (error,) = fleet.monitors["credit"].sources["predictions"].errors.values()
        assert "without columns.id" in error
        write(log.slice(900), folder / "credit" / "predictions" / "more.parquet")
        assert only(fleet.run(), "model_predictions_total") == 960


def test_row_that_comes_in_two_files_counts_once(folder: Path, whole: Samples) -> None:
    """By its id."""
    path = newest(folder, "credit")
    (path.parent / "2.parquet").write_bytes(path.read_bytes())
    found = run(folder)
    assert only(found, "model_rows_rejected_total", model="credit", reason="duplicate") == 480
    assert differing(lasting(found), lasting(whole)) == {"model_rows_rejected_total"}


@pytest.mark.parametrize("form", ["2026030912000000{:04d}", "{:06d}", "{}e7", "{}.0"])
def test_ids_that_look_like_numbers_are_names(form: str, tmp_path: Path) -> None:
    """In a CSV file they are rounded as numbers, or written as others than where text stands beside them."""
    own = model("animals", version={"column": "release"})
    write_reference(tmp_path, "animals", NOON - 2 * DAY)
    path = tmp_path / "animals" / "reference.parquet"
    write(pq.read_table(path, columns=[name for name in pq.read_schema(path).names if name != "id"]), path)
    log = rows("animals", NOON - DAY, NOON, 480, seed=2)
    log = log.set_column(0, "id", pa.array([form.format(number) for number in range(1, 481)]))
    release = pa.array(["1.1", "1.10"] * 240)
    write(predictions(log).append_column("release", release), newest(tmp_path, "animals"))
    known = labels(log)
    write(known.slice(0, 300), newest(tmp_path, "animals", "labels"))
    plain = [name.removesuffix(".0") for name in known["id"].to_pylist()[300:]]
    others = known.slice(300).set_column(0, "id", pa.array(plain))
    write(
        pa.concat_tables([others, others.slice(0, 1).set_column(0, "id", pa.array(["x"]))]),
        newest(tmp_path, "animals", "labels").with_name("2.csv"),
    )
    write_config(tmp_path, own)
    found = run(tmp_path, NOON + DAY // 4)
    for version in ("1.1", "1.10"):
        assert only(found, "model_predictions_total", model_version=version) == 240
        assert only(found, "model_labels_total", model_version=version) == 240


# --- the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["gone", "broken"])
def test_reference_that_cannot_be_read_later_stays_in_force(bad: str, folder: Path) -> None:
    """What was made of it is in the store; also after a restart."""
    path = folder / "credit" / "reference.parquet"
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()
    if bad == "gone":
        path.unlink()
    else:
        path.write_bytes(b"no")
    with Fleet(folder / "model-exporter.yml") as fleet:
        for runs in (1, 2):
            found = fleet.run()
            assert differing(lasting(found), lasting(before)) == set()
            assert up(found, "credit") == ALL_UP | {"reference": 0}
            assert failures(found, "credit") == {("ingest", "source"): runs}


def test_no_reference_from_the_start_is_a_failure_of_that_model(folder: Path, whole: Samples) -> None:
    """Every task of it shows as failed; nothing of it reads as good; the others are as they were."""
    before = whole
    path = folder / "credit" / "reference.parquet"
    content = path.read_bytes()
    path.unlink()
    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        assert states(found, "credit") == dict.fromkeys(WELL, "failed")
        assert up(found, "credit")["reference"] == 0
        assert set(failures(found, "credit")) == {
            ("ingest", "source"),
            *((task, "data") for task in (*TASKS, "history")),
        }
        assert not [
            name
            for name, pairs in found
            if dict(pairs)["model"] == "credit" and name.endswith(("_score", "_detected", "_ratio"))
        ]
        for name in ("animals", "prices"):
            assert differing(of(found, name), of(before, name)) == set()
        path.write_bytes(content)
        assert differing(lasting(fleet.run()), lasting(before)) == set()


def test_new_reference_reads_the_log_afresh(folder: Path) -> None:
    """As a first start with it would."""
    with Fleet(folder / "model-exporter.yml") as fleet:
        old = fleet.run()
        write(
            rows("credit", NOON - 30 * DAY, NOON - 2 * DAY, 800, seed=5, shift=30),
            folder / "credit" / "reference.parquet",
        )
        found = fleet.run()
    assert differing(of(found, "animals"), of(old, "animals")) == set()
    assert "model_reference_info" in differing(of(found, "credit"), of(old, "credit"))
    (folder / "model-exporter.db").unlink()
    assert differing(lasting(run(folder)), lasting(found)) == set()


# --- versions ---------------------------------------------------------------------------------------------------------


def test_versions_come_and_go(folder: Path) -> None:
    """Each has series of its own while it has rows in a window, and none afterwards."""
    plain = model("credit", version={"column": "release"})
    write_config(folder, plain)
    log = predictions(rows("credit", NOON - 2 * DAY, NOON, 960, seed=2))
    release = pa.array(["one"] * 720 + ["two"] * 240)
    for path in (folder / "credit" / "predictions").iterdir():
        path.unlink()
    write(log.append_column("release", release), folder / "credit" / "predictions" / "all.parquet")

    def versions(found: Samples) -> set[str]:
        return {dict(pairs)["model_version"] for name, pairs in found if name == "model_window_state"}

    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        assert versions(found) == {"one", "two"}
        assert only(found, "model_window_rows", model_version="two", window="1d", dataset="current") == 240
        assert only(found, "model_window_rows", model_version="one", window="1d", dataset="current") == 240
        found = fleet.run(NOON + 13 * HOUR)
        assert versions(found) == {"two"}
        assert not [
            1 for name, pairs in found if name.startswith("model_feature") and dict(pairs)["model_version"] == "one"
        ]


# --- what the exporter itself cannot do -------------------------------------------------------------------------------


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, where: object, name: str, error: type[Exception]) -> Iterator[None]:
    """Let something raise for a while."""

    def fail(*_: object, **__: object) -> Any:
        raise error("as the test wants it")

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail)
        yield


def test_store_that_fails_shows_as_stale(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of before are not shown as if they were of now; once it is back all is as it was."""
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()
        with broken(monkeypatch, fleet.store, "transaction", OSError):
            found = fleet.run()
            for name in EVERY:
                assert set(states(found, name).values()) <= {"stale", "failed"}
                assert states(found, name).keys() == WELL.keys()
                assert ("ingest", "compute") in failures(found, name)
            later = fleet.run(NOON + 5 * HOUR)
            ends = "model_window_end_timestamp_seconds"
            assert select(later, ends) == select(before, ends), "they say of when they are"
        assert differing(lasting(fleet.run()), lasting(before)) == set()


def test_what_the_store_holds_is_asked_again_after_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is known from run to run."""
    write_config(folder, model("credit"))
    asked: list[str] = []

    def noted(name: str) -> None:
        real = getattr(Transaction, name)
        monkeypatch.setattr(Transaction, name, lambda *args: asked.append(name) or real(*args))

    noted("positions")
    with Fleet(folder / "model-exporter.yml") as fleet:
        fleet.run()
        assert set(asked) == {"positions"}
        asked.clear()
        fleet.run()
        assert asked == []
        with broken(monkeypatch, Transaction, "due_labels", OSError):
            assert failures(fleet.run(), "credit") == {("ingest", "compute"): 1}
        assert asked == []
        fleet.run()
        assert set(asked) == {"positions"}


def test_store_that_fails_in_the_middle_loses_and_doubles_nothing(
    folder: Path, whole: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails, the next run brings all to its end."""
    write_config(folder, model("credit"))
    for step in ("add_to_buckets", "add_predictions", "add_pending", "settle", "set_position", "count", "drop_before"):
        (folder / "model-exporter.db").unlink(missing_ok=True)
        with Fleet(folder / "model-exporter.yml") as fleet:
            with broken(monkeypatch, Transaction, step, RuntimeError):
                assert failures(fleet.run(), "credit"), step
            assert differing(lasting(fleet.run()), of(whole, "credit")) == set(), step


@pytest.mark.parametrize("task", TASKS)
def test_task_that_fails_takes_no_other_with_it(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its series are gone and its state is failed; all others are as they were."""
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()

        def fail(*_: object) -> Found:
            raise ZeroDivisionError("as the test wants it")

        monkeypatch.setitem(monitor_module.EVALUATIONS, task, fail)  # type: ignore[arg-type]
        found = fleet.run()
        for name in EVERY:
            assert states(found, name) == WELL | {(window, task): "failed" for window in ("6h", "1d")}
            assert failures(found, name) == {(task, "compute"): 1}
            assert fleet.monitors[name].notes[task] == "ZeroDivisionError: as the test wants it"
        kept = {key: value for key, value in lasting(found).items() if key[0] != "model_window_state"}
        assert kept.items() <= lasting(before).items()
        other = {"drift": "model_feature_missing_ratio"}.get(task, "model_feature_drift_score")
        own = {"drift": "feature_drift_score", "quality": "feature_missing_ratio", "performance": "performance_score"}[
            task
        ]
        assert select(found, other) == select(before, other)
        assert select(before, f"model_{own}")
        assert not select(found, f"model_{own}")


def test_file_that_no_one_foresaw_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its reading raises, the other files of the source are read in the same run."""
    (folder / "credit" / "predictions" / "0.parquet").rename(folder / "credit" / "predictions" / "2.parquet")
    real = ingest_module.read_log

    def odd(one: Any, schema: Any, table: pa.Table, segments: Any) -> Any:
        if one.name == "credit" and "credit-2-500" in table["id"].to_pylist():
            raise MemoryError("too much")
        return real(one, schema, table, segments)

    monkeypatch.setattr(ingest_module, "read_log", odd)
    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        assert only(found, "model_predictions_total", model="credit") == 480
        assert failures(found, "credit") == {("ingest", "compute"): 1}
        ((path, error),) = fleet.monitors["credit"].sources["predictions"].errors.items()
        assert (Path(path).name, error) == ("1.parquet", "MemoryError: too much")
        monkeypatch.undo()
        assert only(fleet.run(), "model_predictions_total", model="credit") == 960


def test_features_beyond_the_budget_are_left_out_and_counted(folder: Path) -> None:
    """The most drifted stays; the ratios count all."""
    write(predictions(rows("credit", NOON - DAY, NOON, 480, seed=2, shift=60)), newest(folder, "credit"))
    for path in (folder / "credit" / "predictions").glob("0.*"):
        path.unlink()
    before = run(folder)
    write_config(folder, model("credit", max_features=1))
    (folder / "model-exporter.db").unlink()
    with Fleet(folder / "model-exporter.yml") as fleet:
        found = fleet.run()
        shown = {dict(pairs)["feature"] for name, pairs in found if name == "model_feature_drift_score"}
        assert shown == {"amount"}
        assert fleet.board.dropped["max_features"] > 0
    for window in ("6h", "1d"):
        ratio = [only(page, "model_drifted_features_ratio", model="credit", window=window) for page in (before, found)]
        assert ratio[0] == ratio[1] == pytest.approx(1 / 3)


def test_odd_names_come_to_the_page_and_back(folder: Path) -> None:
    """Quotes, line ends and other alphabets in columns, categories and versions."""
    odd = 'a "b"\\c\nd é 日本'
    plain = model("credit", version=odd)
    write_config(folder, plain)
    for path in [folder / "credit" / "reference.parquet", *(folder / "credit" / "predictions").iterdir()]:
        table = pq.read_table(path)
        names = [odd if name == "amount" else name for name in table.column_names]
        cities = [None if city is None else f"{city}{odd}" for city in table["city"].to_pylist()]
        table = table.set_column(table.column_names.index("city"), "city", pa.array(cities)).rename_columns(names)
        pq.write_table(table, path)
    found = run(folder)
    assert states(found, "credit") == WELL
    assert select(found, "model_feature_drift_score", feature=odd, model_version=odd, window="1d", method="ks")
    bins = {
        dict(pairs)["bin"]
        for name, pairs in found
        if name == "model_feature_bin_ratio" and dict(pairs)["feature"] == "city"
    }
    assert {f"{city}{odd}" for city in CITIES} <= bins


def test_file_that_is_being_written_under_another_name_waits(folder: Path) -> None:
    """As writers do that rename at the end."""
    path = newest(folder, "credit")
    path.rename(path.with_suffix(".parquet.tmp"))
    with Fleet(folder / "model-exporter.yml") as fleet:
        assert only(fleet.run(), "model_predictions_total", model="credit") == 480
        path.with_suffix(".parquet.tmp").rename(path)
        assert only(fleet.run(), "model_predictions_total", model="credit") == 960


def test_old_position_survives_a_touched_file(folder: Path) -> None:
    """A copy with new times and the same rows counts nothing twice."""
    with Fleet(folder / "model-exporter.yml") as fleet:
        before = fleet.run()
        for name in EVERY:
            os.utime(newest(folder, name))
        found = fleet.run()
        assert differing(lasting(found), lasting(before)) <= {"model_rows_rejected_total"}
        assert files.paths((str(folder / "credit" / "predictions" / "*"),))
