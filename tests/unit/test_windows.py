"""Windows that slide: always equal to one summed afresh."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.profile.counts import Counts, add, add_into, negative
from exporter.settings import Window
from exporter.store import Store
from exporter.windows import Windows
from tests.unit.helpers.profiles import random_table, settings

BUCKET = 10
SIZE = 5
WINDOWS = (Window(name="short", seconds=20), Window(name="long", seconds=70))


class Stored:
    """Buckets as a store has them."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], Counts] = {}

    def add(self, deltas: dict[tuple[str, int], Counts]) -> None:
        for key, counts in deltas.items():
            self.counts[key] = add(self.counts[key], counts) if key in self.counts else counts

    def between(self, start: int, end: int) -> list[tuple[str, int, Counts]]:
        return [(version, at, counts) for (version, at), counts in self.counts.items() if start <= at < end]

    def afresh(self, version: str, seconds: int, end: int) -> list[int]:
        vector = np.zeros(SIZE, np.int64)
        for own, _, counts in self.between(end - seconds, end):
            if own == version:
                add_into(vector, counts)
        return vector.tolist()


def counts_of(amounts: list[int]) -> Counts:
    places = np.flatnonzero(amounts)
    return Counts(places.astype(np.int64), np.array(amounts, np.int64)[places])


versions = st.sampled_from(["1", "2"])
starts = st.integers(0, 20).map(lambda number: number * BUCKET)
rows_ = st.integers(1, 9)
arrived = st.tuples(st.just("rows"), versions, starts, rows_, st.lists(st.integers(0, 9), min_size=4, max_size=4))
labelled = st.tuples(st.just("labels"), versions, starts, st.lists(st.integers(-3, 3), min_size=4, max_size=4))
moved = st.tuples(st.just("move"), starts)


@given(st.lists(arrived | labelled | moved, max_size=40))
def test_windows_that_slid_equal_windows_summed_afresh(events):
    """Whatever arrives where, and however far the windows move, forwards or back.

    Place 0 is the number of rows; labels change the others.
    """
    store = Stored()
    windows = Windows(WINDOWS, SIZE, store.between)
    end: int | None = None
    for event in [*events, ("move", 100)]:
        if event[0] == "move":
            end = event[1]
            windows.move(end)
        else:
            kind, version, start, *amounts = event
            if kind == "labels" and (version, start) not in store.counts:
                continue  # a label changes a bucket that has its row
            counts = counts_of([amounts[0], *amounts[1]] if kind == "rows" else [0, *amounts[0]])
            store.add({(version, start): counts})
            windows.change({(version, start): counts})
        if end is not None:
            compare(windows, store, end)


def compare(windows: Windows, store: Stored, end: int) -> None:
    """Assert that the views are those of windows summed afresh, of each version that has rows in one."""
    found = {(view.version, view.window): view for view in windows.views("1")}
    fresh = {(v, w.name): store.afresh(v, w.seconds, end) for v in ("1", "2") for w in WINDOWS}
    alive = {version for (version, _), vector in fresh.items() if vector[0]} | {"1"}
    assert {key: view.vector.tolist() for key, view in found.items()} == {
        key: vector for key, vector in fresh.items() if key[0] in alive
    }
    assert all((found[v, w.name].start, found[v, w.name].end) == (end - w.seconds, end) for v in alive for w in WINDOWS)


def test_a_version_without_rows_is_gone_but_the_configured_one_stays():
    store = Stored()
    windows = Windows(WINDOWS, SIZE, store.between)
    store.add({("2", 0): counts_of([3, 0, 0, 0, 0])})
    windows.move(70)
    assert [(v.version, v.window, int(v.vector[0])) for v in windows.views("1")] == [
        *(("1", "short", 0), ("1", "long", 0)),
        *(("2", "short", 0), ("2", "long", 3)),
    ]
    windows.move(80)
    assert {view.version for view in windows.views("1")} == {"1"}
    assert windows.views(None) == []


def test_what_is_taken_back_is_gone():
    """A corrected label takes its old outcome away from the window that it is in."""
    store = Stored()
    windows = Windows(WINDOWS, SIZE, store.between)
    store.add({("1", 60): counts_of([1, 0, 5, 0, 0])})
    windows.move(70)
    delta = {("1", 60): add(negative(counts_of([0, 0, 5, 0, 0])), counts_of([0, 0, 0, 7, 0]))}
    store.add(delta)
    windows.change(delta)
    assert [view.vector.tolist() for view in windows.views("1")] == [[1, 0, 0, 7, 0]] * 2


@pytest.mark.parametrize("retention", [3600.0, 6 * 3600.0, 90 * 86400.0])
@pytest.mark.parametrize("step", [600, 4000])
def test_a_retention_as_short_as_the_windows_keeps_them_right(tmp_path, retention, step):
    """Old buckets are dropped only after they have left the windows."""
    model = settings(
        reference={"files": str(tmp_path / "reference.parquet")},
        predictions={"files": str(tmp_path / "log.parquet")},
        columns={"label": None, "label_timestamp": None},
    )
    reference, log = random_table(0, 100), random_table(1, 500)
    pq.write_table(reference, tmp_path / "reference.parquet")
    pq.write_table(log, tmp_path / "log.parquet")
    times = [moment.timestamp() for moment in log["time"].to_pylist()]
    store = Store("sqlite:///:memory:")
    monitor = Monitor(model, store, Board(10_000), retention=retention, interval=60)
    for now in range(1_600_000_000 + 6 * 3600, 1_600_000_000 + 13 * 3600, step):
        assert monitor.run(now)
        end = now // 600 * 600
        found = {
            (one.labels[2]): one.value for one in monitor.results()["model_window_rows"] if one.labels[-1] == "current"
        }
        assert found == {
            name: sum(end - seconds <= t < end for t in times) for name, seconds in (("1h", 3600), ("6h", 21600))
        }
    store.close()
