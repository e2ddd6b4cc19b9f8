"""Windows that slide: always equal to one summed afresh."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.profile import packed
from exporter.profile.counts import Counts, add, add_into, negative
from exporter.settings import Window
from exporter.store import Store
from exporter.store.tables import Bucket, Key
from exporter.windows import Frame, Windows, frames
from tests.unit.helpers.profiles import random_table, settings

BUCKET = 10
SIZE = 5
WINDOWS = (Window(name="short", seconds=20), Window(name="long", seconds=70))
FRAMES = [
    *(Frame("short", "reference", 20, 0), Frame("short", "previous", 20, 20), Frame("short", "week_ago", 20, 50)),
    *(Frame("long", "reference", 70, 0), Frame("long", "previous", 70, 70)),
    *(Frame("short", "mature", 20, 30), Frame("long", "mature", 70, 30)),
]


@pytest.fixture(params=["as they are", "packed"], scope="module", autouse=True)
def kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep windows as those of few places are kept, and of very many."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "packed":
            patch.setattr(packed, "_MANY", 1)
        yield


def numbers(profile: packed.Profile) -> list[int]:
    return (packed.unpack(profile) if isinstance(profile, packed.Packed) else profile).tolist()


class Stored:
    """Buckets as a store has them."""

    def __init__(self) -> None:
        self.counts: dict[Key, Counts] = {}

    def add(self, deltas: dict[Key, Counts]) -> None:
        for key, counts in deltas.items():
            self.counts[key] = add(self.counts[key], counts) if key in self.counts else counts

    def between(self, start: int, end: int, segment: str | None) -> list[Bucket]:
        every = [Bucket(*key, counts) for key, counts in self.counts.items()]
        return [own for own in every if start <= own.start < end and segment in (None, own.segment)]

    def afresh(self, version: str, frame: Frame, end: int, segment: str = "all") -> list[int]:
        vector = np.zeros(SIZE, np.int64)
        for own in self.between(end - frame.behind - frame.seconds, end - frame.behind, segment):
            if own.version == version:
                add_into(vector, own.counts)
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
rested = st.tuples(st.just("rest"))


@given(st.lists(arrived | labelled | moved | rested, max_size=40))
def test_windows_that_slid_equal_windows_summed_afresh(events):
    """Whatever arrives where, however far the windows move, forwards or back, and whether they rest in between.

    Place 0 is the number of rows; labels change the others.
    """
    store = Stored()
    windows = Windows(FRAMES, SIZE)
    end: int | None = None
    for event in [*events, ("move", 100)]:
        if event[0] == "move":
            end = event[1]
            windows.move(end, store.between)
        elif event[0] == "rest":
            windows.rest()
            continue  # looking at them would wake them
        else:
            kind, version, start, *amounts = event
            if kind == "labels" and (version, "all", start) not in store.counts:
                continue  # a label changes a bucket that has its row
            counts = counts_of([amounts[0], *amounts[1]] if kind == "rows" else [0, *amounts[0]])
            deltas = {(version, segment, start): counts for segment in ("all", "a" if start % 20 else "b")}
            store.add(deltas)
            windows.change(deltas)
        if end is not None:
            compare(windows, store, end)


def compare(windows: Windows, store: Stored, end: int) -> None:
    """Assert that the views are those of windows summed afresh, of each version that has rows in one."""
    found = {(view.version, view.window): view for view in windows.views("1")}
    judged = [frame for frame in FRAMES if not frame.behind]
    fresh = {(v, frame.window): store.afresh(v, frame, end) for v in ("1", "2") for frame in judged}
    alive = {version for (version, _), vector in fresh.items() if vector[0]} | {"1"}
    assert {key: numbers(view.vector) for key, view in found.items()} == {
        key: vector for key, vector in fresh.items() if key[0] in alive
    }
    assert all((found[v, w.name].start, found[v, w.name].end) == (end - w.seconds, end) for v in alive for w in WINDOWS)
    for (version, window), view in found.items():
        own = [frame for frame in FRAMES if frame.window == window]
        for segment in ("a", "b"):
            afresh = store.afresh(version, own[0], end, segment)
            assert numbers(view.slices.get(segment, np.zeros(SIZE, np.int64))) == afresh
            (mature,) = [frame for frame in own if frame.against == "mature"]
            assert view.mature is not None
            assert (view.mature.start, view.mature.end) == (end - 30 - mature.seconds, end - 30)
            assert numbers(view.mature.vector) == store.afresh(version, mature, end)
            afresh = store.afresh(version, mature, end, segment)
            assert numbers(view.mature.slices.get(segment, np.zeros(SIZE, np.int64))) == afresh
        earlier = {f.against: store.afresh(version, f, end) for f in own if f.against not in ("reference", "mature")}
        assert {name: numbers(vector) for name, vector in view.earlier.items()} == {
            name: vector for name, vector in earlier.items() if vector[0]
        }


def test_a_version_without_rows_is_gone_but_the_configured_one_stays():
    store = Stored()
    windows = Windows(FRAMES, SIZE)
    store.add({("2", "all", 0): counts_of([3, 0, 0, 0, 0])})
    windows.move(70, store.between)
    assert [(v.version, v.window, numbers(v.vector)[0]) for v in windows.views("1")] == [
        *(("1", "short", 0), ("1", "long", 0)),
        *(("2", "short", 0), ("2", "long", 3)),
    ]
    windows.move(80, store.between)
    assert {view.version for view in windows.views("1")} == {"1"}
    assert windows.views(None) == []


def test_a_version_that_returns_finds_its_earlier_windows():
    """While only an earlier window has rows of it, it is not shown, and not forgotten either."""
    store = Stored()
    windows = Windows(FRAMES, SIZE)
    store.add({("2", "all", 0): counts_of([3, 0, 0, 0, 0])})
    windows.move(80, store.between)
    assert windows.views(None) == []
    delta = {("2", "all", 80): counts_of([4, 0, 0, 0, 0])}
    store.add(delta)
    windows.change(delta)
    windows.move(90, store.between)
    (_, long) = windows.views(None)
    assert (numbers(long.vector)[0], {name: numbers(vector)[0] for name, vector in long.earlier.items()}) == (
        4,
        {"previous": 3},
    )


def test_a_week_ago_of_a_week_is_the_previous_window():
    week = [Window(name="7d", seconds=7 * 86400), Window(name="1h", seconds=3600)]
    assert [(f.window, f.against, f.behind) for f in frames(week, 3600, ["reference", "previous", "week_ago"])] == [
        *(("7d", "reference", 0), ("7d", "previous", 7 * 86400)),
        *(("1h", "reference", 0), ("1h", "previous", 3600), ("1h", "week_ago", 7 * 86400)),
    ]
    assert len(frames(week, 3600, ["reference"])) == 2


def test_each_window_has_a_twin_that_is_old_enough_for_its_labels():
    """By whole buckets, and none where labels come at once."""
    hour = [Window(name="1h", seconds=3600)]
    assert frames(hour, 600, ["reference"], 0.0) == frames(hour, 600, ["reference"])
    assert frames(hour, 600, ["reference"], 601.0)[1] == Frame("1h", "mature", 3600, 1200)
    assert frames(hour, 600, ["reference"], 600.0)[1] == Frame("1h", "mature", 3600, 600)


def test_what_is_taken_back_is_gone():
    """A corrected label takes its old outcome away from the window that it is in."""
    store = Stored()
    windows = Windows(FRAMES, SIZE)
    store.add({("1", "all", 60): counts_of([1, 0, 5, 0, 0])})
    windows.move(70, store.between)
    delta = {("1", "all", 60): add(negative(counts_of([0, 0, 5, 0, 0])), counts_of([0, 0, 0, 7, 0]))}
    store.add(delta)
    windows.change(delta)
    assert [numbers(view.vector) for view in windows.views("1")] == [[1, 0, 0, 7, 0]] * 2


@pytest.mark.parametrize("retention", [3600.0, 6 * 3600.0, 90 * 86400.0])
@pytest.mark.parametrize("step", [600, 4000])
def test_a_retention_as_short_as_the_windows_keeps_them_right(tmp_path, new_url, retention, step):
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
    store = Store(new_url())
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
