"""A search that ranks answers to queries: real files through a monitor, against scikit-learn group by group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from exporter.check import check, show
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.settings import Model
from exporter.store import Store
from tests.integration.small import DAY, HOUR, NOON, stamps, write, write_config

METRICS = ["ndcg", "ndcg@5", "map", "mrr", "precision@5", "recall@5", "hit_rate@1"]
WAIT = 2 * HOUR


def answers(start: float, end: float, queries: int, seed: int, skill: float = 1.0) -> pa.Table:
    """Return five to twelve answers a query, logged within a minute; clicks come two hours later."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 13, queries)
    number = np.repeat(np.arange(queries), sizes)
    moment = start + (number + 0.25) * (end - start) / queries + rng.uniform(0, 60, len(number))
    merit = rng.normal(size=len(number))
    shown = 1 / (1 + np.exp(-(skill * merit + rng.normal(0, 0.8, len(number)))))
    return pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(len(number))],
            "timestamp": stamps(moment),
            "query_id": [f"q{seed}-{one}" for one in number],
            "country": rng.choice(["NO", "SE"], queries)[number].tolist(),
            "merit": np.round(merit + rng.normal(0, 1, len(number)), 3),
            "score": np.round(shown, 1),  # with ties
            "prediction": (shown > 0.5).astype(np.int64),
            "label": (rng.random(len(number)) < 0.5 / (1 + np.exp(-2.5 * merit + 1))).astype(np.int64),
            "label_timestamp": stamps(moment + WAIT),
        }
    )


def by_group(rows: pa.Table, orders: int = 1) -> dict[str, float]:
    """Return the mean over queries with a click, by scikit-learn or over some random orders of tied answers."""
    found = []
    for _, own in rows.to_pandas().groupby("query_id"):
        if own["label"].any():
            found.append(_of_one(own["label"].to_numpy(), own["score"].to_numpy(), orders))
    return pd.DataFrame(found).mean().to_dict()


def _of_one(label: np.ndarray, score: np.ndarray, count: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    orders = [label[np.lexsort((rng.random(len(label)), -score))] for _ in range(count)]
    return {
        "ndcg": ndcg_score([label], [score]),
        "ndcg@5": ndcg_score([label], [score], k=5),
        "map": average_precision_score(label, score),
        "mrr": np.mean([1 / (one.argmax() + 1) for one in orders]),
        "precision@5": np.mean([one[:5].mean() for one in orders]),
        "recall@5": np.mean([one[:5].sum() / label.sum() for one in orders]),
        "hit_rate@1": np.mean([one[0] for one in orders]),
    }


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write(answers(NOON - 32 * DAY, NOON - 2 * DAY, 900, 1), tmp_path / "search" / "reference.parquet")
    settings = {
        "name": "search",
        "task": "binary",
        "columns": {
            "id": "id",
            "timestamp": "timestamp",
            "prediction": "prediction",
            "score": "score",
            "label": "label",
            "label_timestamp": "label_timestamp",
            "group": "query_id",
            "segments": ["country"],
        },
        "reference": {"files": "search/reference.parquet"},
        "predictions": {"files": "search/predictions/*"},
        "labels": {"files": "search/labels/*"},
        "windows": ["1d"],
        "bucket": "1h",
        "performance": {"metrics": METRICS, "threshold": {"ndcg": {"drop": 0.02}, "mrr": {"min": 0.4}}},
    }
    return load(write_config(tmp_path, settings)).config.models[0]


@pytest.fixture
def store() -> Iterator[Store]:
    own = Store("sqlite:///:memory:")
    yield own
    own.close()


def add(model: Model, rows: pa.Table, parts: int, name: str) -> None:
    """Write a log in parts that cut through queries, and the labels in two files, the last rows first."""
    folder = Path(model.reference.files[0]).parent
    for part in range(parts):
        own = rows.take(np.arange(part, len(rows), parts)).drop_columns(["label", "label_timestamp"])
        write(own, folder / "predictions" / f"{name}-{part}.parquet")
    labels = rows.select(["id", "label", "label_timestamp"])
    half = len(rows) // 2
    write(labels.slice(half), folder / "labels" / f"{name}-0.parquet")
    write(labels.slice(0, half), folder / "labels" / f"{name}-1.parquet")


def scores(monitor: Monitor, family: str, segment: str = "all") -> dict[str, float]:
    return {one.labels[-1]: one.value for one in monitor.results()[family] if segment in one.labels}


def test_a_search_is_judged_by_its_queries(model: Model, store: Store) -> None:
    """A day's score is scikit-learn's mean over the queries; a worse day is degraded; a correction is counted."""
    good, bad = answers(NOON - DAY, NOON, 300, 2), answers(NOON, NOON + DAY, 300, 3, skill=0.05)
    add(model, good, 3, "good")
    report, wrong = check(model)
    assert not wrong
    assert report["groups"]["groups"] > 600
    assert any(line.startswith("  groups of ranked rows: ") for line in show(report))
    monitor = Monitor(model, store, Board(50_000), retention=90 * DAY, interval=60)
    assert monitor.run(NOON + WAIT), monitor.notes
    assert monitor.states["1", "1d", "performance"] == "ok"
    for segment in ("all", "country=NO"):
        rows = good if segment == "all" else good.filter(pa.array([one == "NO" for one in good["country"].to_pylist()]))
        found, wanted = scores(monitor, "model_performance_score", segment), by_group(rows, 150)
        assert set(found) == set(METRICS)
        for name in ("ndcg", "ndcg@5", "map"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-9), f"{segment}: {name}"
        for name in ("mrr", "precision@5", "recall@5", "hit_rate@1"):
            assert found[name] == pytest.approx(wanted[name], abs=0.004), f"{segment}: {name}"
    assert not any(scores(monitor, "model_performance_degraded").values())
    base = scores(monitor, "model_performance_score_baseline")
    reference = pq.read_table(model.reference.files[0])
    assert base["ndcg"] == pytest.approx(by_group(reference)["ndcg"], abs=1e-9)
    low, high = (scores(monitor, f"model_performance_score_{end}")["ndcg"] for end in ("lower", "upper"))
    assert low < scores(monitor, "model_performance_score")["ndcg"] < high
    bounds = {one.labels[1]: one.value for one in monitor.results()["model_performance_score_min"]}
    assert bounds == {"ndcg": pytest.approx(base["ndcg"] - 0.02), "mrr": 0.4}
    states = {one.labels[-1]: one.value for one in monitor.results()["model_ranking_groups"] if "all" in one.labels}
    clicked = good.to_pandas().groupby("query_id")["label"].any()
    assert states == {"evaluated": clicked.sum(), "irrelevant": (~clicked).sum(), "incomplete": 0}

    add(model, bad, 2, "bad")
    assert monitor.run(NOON + DAY + WAIT), monitor.notes
    degraded = scores(monitor, "model_performance_degraded")
    assert degraded["ndcg"] == degraded["mrr"] == degraded["map"] == 1
    frame = bad.to_pandas()
    frame["label"] = 1 - frame["label"]
    corrected = pa.Table.from_pandas(frame, preserve_index=False)
    known = stamps([NOON + DAY + WAIT + 30] * len(bad))
    corrected = corrected.set_column(corrected.column_names.index("label_timestamp"), "label_timestamp", [known])
    folder = Path(model.reference.files[0]).parent
    write(corrected.select(["id", "label", "label_timestamp"]), folder / "labels" / "corrected.parquet")
    assert monitor.run(NOON + DAY + WAIT + 60), monitor.notes
    assert scores(monitor, "model_performance_score")["ndcg"] == pytest.approx(by_group(corrected)["ndcg"], abs=1e-9)
    afresh = Monitor(model, Store("sqlite:///:memory:"), Board(50_000), retention=90 * DAY, interval=60)
    assert afresh.run(NOON + DAY + WAIT + 60)
    assert scores(afresh, "model_performance_score") == scores(monitor, "model_performance_score")


def test_few_queries_are_not_judged(model: Model, store: Store) -> None:
    """Rows enough and groups too few: insufficient, and no score."""
    add(model, answers(NOON - DAY, NOON, 40, 4), 1, "few")
    monitor = Monitor(model, store, Board(50_000), retention=90 * DAY, interval=60)
    assert monitor.run(NOON + WAIT), monitor.notes
    assert monitor.states["1", "1d", "performance"] == "insufficient"
    assert "model_performance_score" not in monitor.results()
    (least,) = monitor.results()["model_window_min_groups"]
    assert least.value == 50


def test_a_query_without_all_of_its_labels_waits(model: Model, store: Store) -> None:
    """One answer of each fifth query has no label: those are told as incomplete, and count in nothing."""
    rows = answers(NOON - DAY, NOON, 300, 5)
    frame = rows.to_pandas()
    first = ~frame.duplicated("query_id") & (frame.index % 5 == 0)
    folder = Path(model.reference.files[0]).parent
    write(rows.drop_columns(["label", "label_timestamp"]), folder / "predictions" / "all.parquet")
    kept = rows.filter(pa.array(~first))
    write(kept.select(["id", "label", "label_timestamp"]), folder / "labels" / "some.parquet")
    monitor = Monitor(model, store, Board(50_000), retention=90 * DAY, interval=60)
    assert monitor.run(NOON + WAIT), monitor.notes
    cut = set(frame["query_id"][first])
    states = {one.labels[-1]: one.value for one in monitor.results()["model_ranking_groups"] if "all" in one.labels}
    assert states["incomplete"] == len(cut) > 30
    whole = rows.filter(pa.array([one not in cut for one in rows["query_id"].to_pylist()]))
    assert scores(monitor, "model_performance_score")["map"] == pytest.approx(by_group(whole)["map"], abs=1e-9)
