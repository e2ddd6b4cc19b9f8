"""Whole rows through the monitor: sampled per bucket as they come, judged by window, the same after a restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.profile.sample import decode
from exporter.readings import Readings
from exporter.settings import Model
from exporter.store import Store

DAYS, EACH = 30, 300
START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = 3600


def table(seed: int, first: int, days: int, together: float) -> pa.Table:
    """Return rows of two features that go together; each alone is always standard normal."""
    rng = np.random.default_rng(seed)
    count = days * EACH
    x, noise, z = rng.normal(size=(3, count))
    return pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(count)],
            "time": [START + timedelta(days=first, seconds=86_400 / EACH * row) for row in range(count)],
            "x": x,
            "y": together * x + np.sqrt(1 - together**2) * noise,
            "z": z,
            "prediction": (x + rng.normal(size=count) > 0).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a reference, a day like it, and a day on which x and y no longer go together."""
    path = tmp_path_factory.mktemp("rows")
    pq.write_table(table(1, 0, DAYS, 0.9), path / "reference.parquet")
    pq.write_table(table(2, DAYS, 1, 0.9), path / "log1.parquet")
    pq.write_table(table(3, DAYS + 1, 1, 0.0), path / "log2.parquet")
    return path


def model(folder: Path) -> Model:
    return Model.model_validate(
        {
            "name": "m",
            "task": "binary",
            "columns": {"id": "id", "timestamp": "time", "prediction": "prediction"},
            "reference": {"files": str(folder / "reference.parquet")},
            "predictions": {"files": str(folder / "log*.parquet")},
            "windows": ["24h"],
            "drift": {"multivariate": ["domain_classifier", "pca_reconstruction"], "min_rows": 100},
        }
    )


def at(days: float) -> float:
    return (START + timedelta(days=days)).timestamp()


def of(found: Readings, family: str) -> dict[tuple[str, ...], float]:
    return {one.labels[3:]: one.value for one in found.get(f"model_multivariate_drift_{family}", [])}


def test_rows_that_no_longer_go_together_are_seen(folder: Path, new_url: Callable[[], str]) -> None:
    """By whole rows alone: each feature is as it was. A second monitor on the same store says the same."""
    store = Store(new_url())
    monitor = Monitor(model(folder), store, Board(), 90 * 86400.0, 60.0)
    assert monitor.run(at(DAYS + 1))
    quiet = monitor.results()
    assert set(of(quiet, "detected").values()) == {0}
    assert monitor.run(at(DAYS + 2))
    broken = monitor.results()
    assert of(broken, "detected") == {("domain_classifier",): 1, ("pca_reconstruction",): 1}
    assert not any(one.value for one in broken["model_feature_drift_detected"])
    shares = of(broken, "contribution_ratio")
    assert sum(value for (method, _), value in shares.items() if method == "domain_classifier") == pytest.approx(1)
    assert shares["domain_classifier", "z"] < min(shares["domain_classifier", name] for name in "xy")
    again = Monitor(model(folder), store, Board(), 90 * 86400.0, 60.0)
    assert again.run(at(DAYS + 2))
    assert of(again.results(), "score") == of(broken, "score")
    store.close()


def test_a_window_is_judged_when_it_has_moved(folder: Path, new_url: Callable[[], str]) -> None:
    """By a 24th of its length: a run between two such moments shows what was said before."""
    store = Store(new_url())
    monitor = Monitor(model(folder), store, Board(), 90 * 86400.0, 60.0)
    scores = []
    for minutes in (0, 20, 59, 61):
        assert monitor.run(at(DAYS + 1) + minutes * 60)
        scores.append(of(monitor.results(), "score"))
    assert scores[0] == scores[1] == scores[2] != scores[3]
    store.close()


def test_samples_do_not_depend_on_how_the_rows_came(folder: Path, new_url: Callable[[], str], tmp_path: Path) -> None:
    """In one file or many, in any order, some twice: the same rows are kept of each bucket."""
    whole = table(2, DAYS, 1, 0.9)
    kept = []
    for number, parts in enumerate(([whole], [whole.slice(200), whole.slice(100, 150), whole.slice(0, 200)])):
        (tmp_path / str(number)).mkdir()
        for name, part in enumerate(parts):
            pq.write_table(part, tmp_path / str(number) / f"log{name}.parquet")
        own = model(folder).model_copy(
            update={"predictions": type(model(folder).predictions)(files=str(tmp_path / str(number) / "*.parquet"))}
        )
        store = Store(new_url())
        assert Monitor(own, store, Board(), 90 * 86400.0, 60.0).run(at(DAYS + 1))
        with store.transaction() as tx:
            kept.append({(version, start): decode(blob) for version, start, blob in tx.samples("m", 0, 2**40)})
        store.close()
    assert kept[0].keys() == kept[1].keys()
    assert len(kept[0]) == 24
    for key, sample in kept[0].items():
        assert (sample.hashes == kept[1][key].hashes).all()
        assert np.array_equal(sample.rows, kept[1][key].rows, equal_nan=True)


def test_too_few_rows_say_nothing(folder: Path, new_url: Callable[[], str]) -> None:
    store = Store(new_url())
    monitor = Monitor(model(folder), store, Board(), 90 * 86400.0, 60.0)
    monitor.run(at(DAYS) + HOUR)
    assert not of(monitor.results(), "score")
    states = {one.labels[3:]: one.value for one in monitor.results()["model_window_state"]}
    assert states["multivariate", "insufficient"] == 1
    store.close()
