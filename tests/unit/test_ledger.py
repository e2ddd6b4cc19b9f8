"""Predictions and labels in any order, twice, late or corrected: the same counts; a kill loses and doubles nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exporter import ledger
from exporter.baseline import Baseline
from exporter.buckets import Deltas, merged
from exporter.ledger import Limits
from exporter.profile import kpi
from exporter.profile.batch import read_labels, read_log
from exporter.profile.counts import Counts, add
from exporter.reference import fit
from exporter.settings import Model
from exporter.store import Store, Transaction
from tests.unit.helpers.profiles import random_table, settings, take

START = 1_600_000_000
BUCKET = 600
ROWS = 14
FAR = 1e10
LIMITS = Limits(now=START + 1e7, bucket=BUCKET, oldest=0)
TASKS = ("binary", "multiclass", "regression")
BUSINESS = [
    {"name": "requests", "count": "*"},
    {"name": "amounts", "sum": "amount", "where": "colour in ('red', 'green')"},
    {"name": "worth of the red", "sum": "worth + coalesce(amount, 0)", "where": "colour = 'red' and label is not null"},
    {"name": "worth a label", "ratio": {"numerator": "worth", "denominator": "*"}, "where": "amount < 0"},
]
MODELS: dict[str, Model] = {
    task: settings(
        task,
        version={"column": "release"},
        columns={"segments": ["colour", "amount"], "features": ["amount", "colour"], "outcomes": ["worth"]},
        max_segments=3,
        business=BUSINESS,
    )
    for task in TASKS
}
BASELINES: dict[str, Baseline] = {task: fit(MODELS[task], random_table(0, 100, task)) for task in TASKS}
Buckets = dict[tuple[str, str, int], tuple[list[int], list[int]]]


def log_of(task: str, seed: int = 1, rows: int = ROWS) -> pa.Table:
    """Return predictions of two versions in a few buckets, with labels of their own time."""
    rng = np.random.default_rng(seed)
    times = START // BUCKET * BUCKET + rng.integers(0, 4 * BUCKET, rows)
    base = random_table(seed, rows, task).drop_columns(["time", "label_time"])
    return with_worth(
        base.append_column("time", pa.array(times * 1_000_000, pa.timestamp("us", "UTC")))
        .append_column("label_time", pa.array((times + 50) * 1_000_000, pa.timestamp("us", "UTC")))
        .append_column("release", pa.array(rng.choice(["1", "2"], rows).tolist()))
    )


def worth(name: str, label: object) -> float | None:
    """Return what comes with a label."""
    return None if label is None else len(name) * 0.1 + sum(str(label).encode()) / 7


def with_worth(log: pa.Table) -> pa.Table:
    """Add what comes with the label, or renew it."""
    values = [worth(*both) for both in zip(log["id"].to_pylist(), log["label"].to_pylist(), strict=True)]
    kept = log.drop_columns(["worth"]) if "worth" in log.column_names else log
    return kept.append_column("worth", pa.array(values, pa.float64()))


def plain(buckets: dict[tuple[str, str, int], Counts]) -> Buckets:
    return {
        key: (counts.place.tolist(), counts.amount.tolist()) for key, counts in buckets.items() if len(counts.place)
    }


def stored(store: Store) -> Buckets:
    with store.transaction() as tx:
        return plain({(own.version, own.segment, own.start): own.counts for own in tx.buckets("m", 0, 2**40)})


def counters(store: Store) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    with store.transaction() as tx:
        for _, name, reason, value in tx.counters("m"):
            found[name, reason] += value
    return found


def expected(
    task: str, log: pa.Table, labels: dict[str, object] | None = None, at: dict[str, float] | None = None
) -> Buckets:
    """Count each bucket afresh, every row with its last label and its delay, in the whole and in each segment.

    labels: by id, in place of the log's own; at: when they were known, in seconds, in place of the log's own.
    """
    ids = log["id"].to_pylist()
    if labels is not None:
        values = [labels.get(name) for name in ids]
        log = with_worth(log.set_column(log.column_names.index("label"), "label", pa.array(values, log["label"].type)))
    if at is not None:
        known = [round(at[name] * 1e6) if name in at else None for name in ids]
        log = log.set_column(
            log.column_names.index("label_time"), "label_time", pa.array(known, pa.timestamp("us", "UTC"))
        )
    starts = [int(t.timestamp()) // BUCKET * BUCKET for t in log["time"].to_pylist()]
    segments = BASELINES[task].segments
    names = np.array(segments.names)[segments.members(log)].tolist()
    found: dict[tuple[str, str, int], Counts] = {}
    for row, (version, start) in enumerate(zip(log["release"].to_pylist(), starts, strict=True)):
        one = take(MODELS[task], BASELINES[task], log[row : row + 1])
        for segment in ("all", *names[row]):
            key = (version, segment, start)
            found[key] = add(found[key], one) if key in found else one
    return plain(found)


def labels_of(log: pa.Table) -> dict[str, object]:
    return dict(zip(log["id"].to_pylist(), log["label"].to_pylist(), strict=True))


def add_log(store: Store, task: str, log: pa.Table, limits: Limits = LIMITS) -> Deltas:
    own = BASELINES[task]
    rows = read_log(MODELS[task], own.schema, log, own.segments)
    with store.transaction() as tx:
        return ledger.add_log(tx, "m", own, rows, limits)


def add_labels(store: Store, task: str, ids: list[str], labels: list[object], times: list[float]) -> None:
    kind = {"binary": pa.int64(), "multiclass": pa.string(), "regression": pa.float64()}[task]
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "label": pa.array(labels, kind),
            "label_time": pa.array([round(t * 1e6) for t in times], pa.timestamp("us", "UTC")),
        }
    )
    table = with_worth(table)
    with store.transaction() as tx:
        ledger.add_labels(tx, "m", "1", BASELINES[task], read_labels(MODELS[task], BASELINES[task].schema, table))


def settle(store: Store, task: str, now: float = FAR) -> Deltas:
    with store.transaction() as tx:
        return ledger.settle_labels(tx, "m", BASELINES[task], now)


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    own = Store(new_url())
    yield own
    own.close()


def without_labels(log: pa.Table) -> pa.Table:
    return log.drop_columns(["label", "label_time", "worth"])


# --- any order, repetition and correction ----------------------------------------------------------------------------


@st.composite
def arrivals(draw):
    """Return a task and events in any order: parts of the log, parts of the labels, some twice, and settlements.

    Each label has a first value and, for some, a correction with a later time.
    """
    task = draw(st.sampled_from(TASKS))
    log = log_of(task, draw(st.integers(1, 1000)))
    label = {"binary": st.integers(0, 1), "multiclass": st.sampled_from("abc"), "regression": st.floats(50, 150)}[task]
    news = []
    for name in log["id"].to_pylist():
        news += [(name, draw(label), START + at) for at in draw(st.lists(st.integers(0, 9), max_size=3, unique=True))]
    rows = draw(st.permutations(range(ROWS)))
    cuts = sorted(draw(st.lists(st.integers(0, ROWS), max_size=3)))
    events = [("log", list(rows[a:b])) for a, b in zip([0, *cuts], [*cuts, ROWS], strict=True)]
    events += [("labels", [one]) for one in news]
    events += draw(st.lists(st.sampled_from(events), max_size=6))
    events += [("settle", START + draw(st.integers(0, 9))) for _ in range(draw(st.integers(0, 4)))]
    return task, log, news, draw(st.permutations(events))


@given(drawn=arrivals())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_repetition_and_correction_ends_in_the_same_counts(new_url, drawn):
    """The last label of each prediction counts, once; as if all had come at once."""
    task, log, news, events = drawn
    store = Store(new_url())
    deltas: Deltas = {}
    for kind, what in [*events, ("settle", FAR)]:
        if kind == "log":
            deltas = merged(deltas, add_log(store, task, without_labels(log.take(np.array(what, np.int64)))))
        elif kind == "labels":
            ids, labels, times = zip(*what, strict=True)
            add_labels(store, task, list(ids), list(labels), list(times))
        else:
            deltas = merged(deltas, settle(store, task, what))
    last = {name: label for name, label, _ in sorted(news, key=lambda one: one[2])}
    times = {name: at for name, _, at in sorted(news, key=lambda one: one[2])}
    assert stored(store) == expected(task, log, last, times)
    assert plain(deltas) == stored(store)  # what was reported as changed is what changed
    assert counters(store)["predictions", ""] == ROWS
    store.close()


@given(task=st.sampled_from(TASKS), rows=st.permutations(range(ROWS)), cut=st.integers(0, ROWS))
@hypothesis_settings(max_examples=30)
def test_labels_in_the_log_itself_count_as_labels_of_their_own(new_url, task, rows, cut):
    """Known at once, or only when the row comes a second time with its label: the same counts."""
    log = log_of(task)
    at_once, later = Store(new_url()), Store(new_url())
    add_log(at_once, task, log)
    add_log(later, task, without_labels(log.take(np.array(rows[:cut], np.int64))))
    add_log(later, task, log.take(rows))
    settle(later, task)
    assert stored(at_once) == stored(later) == expected(task, log)
    assert counters(later)["rejected", "duplicate"] == cut
    at_once.close()
    later.close()


@pytest.mark.parametrize("task", TASKS)
def test_a_label_waits_until_it_is_known(store, task):
    """As of a time, labels of later times do not count yet, in the log as in a file of their own."""
    log = log_of(task)
    times = [t.timestamp() for t in log["label_time"].to_pylist()]
    middle = sorted(times)[ROWS // 2]
    known = {n: y if t <= middle else None for (n, y), t in zip(labels_of(log).items(), times, strict=True)}
    add_log(store, task, log, LIMITS._replace(now=middle))
    settle(store, task, middle)
    assert stored(store) == expected(task, log, known) != expected(task, log)
    settle(store, task)
    assert stored(store) == expected(task, log)


def test_two_labels_of_one_time_are_settled_alike_in_any_order(store):
    """Nothing says which came first, so the larger one counts."""
    log = log_of("binary", rows=1)
    (name,) = log["id"].to_pylist()
    add_log(store, "binary", without_labels(log))
    for label in (1, 0):
        add_labels(store, "binary", [name], [label], [START])
        settle(store, "binary")
    assert stored(store) == expected("binary", log, {name: 1}, {name: START})


def test_what_comes_with_a_label_is_corrected_as_a_label_is(store):
    """The same label with another worth, later or larger, takes the place of the first; an earlier one does not."""
    log = log_of("regression", seed=6, rows=1)
    log = log.set_column(log.column_names.index("colour"), "colour", pa.array(["red"]))
    (name,) = log["id"].to_pylist()
    add_log(store, "regression", without_labels(log))
    own = BASELINES["regression"]
    for worth_now, at in ((5.0, 10), (7.25, 20), (6.0, 15), (7.5, 20)):
        table = pa.table({"id": [name], "label": [80.0], "label_time": [START + at], "worth": [worth_now]})
        with store.transaction() as tx:
            ledger.add_labels(tx, "m", "1", own, read_labels(MODELS["regression"], own.schema, table))
        settle(store, "regression")
    (counts,) = [stored(store)[key] for key in stored(store) if key[1] == "all"]
    vector = np.zeros(own.bins.size, np.int64)
    vector[counts[0]] = counts[1]
    amount = log["amount"].to_pylist()[0]
    sums = kpi.read(own.bins.kpis[2], own.bins.part(vector, "kpi:worth of the red"))
    assert (sums.rows, sums.x) == (1, 7.5 + amount)


def test_a_label_for_an_unknown_prediction_waits(store):
    log = log_of("binary", rows=1)
    (name,) = log["id"].to_pylist()
    add_labels(store, "binary", [name, "nobody"], [1, 0], [START, START])
    assert settle(store, "binary") == {}
    add_log(store, "binary", without_labels(log))
    settle(store, "binary")
    assert stored(store) == expected("binary", log, {name: 1}, {name: START})


def test_without_ids_every_row_is_new(store):
    model = settings(columns={"id": None})
    baseline = fit(model, random_table(0, 100))
    for _ in range(2):
        with store.transaction() as tx:
            ledger.add_log(tx, "m", baseline, read_log(model, baseline.schema, random_table(1, 5)), LIMITS)
    assert counters(store)["predictions", ""] == 10


# --- limits and counters ---------------------------------------------------------------------------------------------


def test_what_is_left_out_is_counted_by_reason(store):
    log = log_of("binary", rows=8)
    time = [t.timestamp() for t in log["time"].to_pylist()]
    ids = log["id"].to_pylist()
    ids[0], ids[2] = None, ids[1]
    moments = [round(t * 1e6) for t in time]
    moments[3] = None
    moments[4] = (START - 10_000) * 1_000_000  # expired
    moments[5] = (START - 5_000) * 1_000_000  # late
    log = log.set_column(log.column_names.index("id"), "id", pa.array(ids, pa.string()))
    log = log.set_column(log.column_names.index("time"), "time", pa.array(moments, pa.timestamp("us", "UTC")))
    log = log.set_column(log.column_names.index("label"), "label", pa.array([7, *[1] * 7]))
    limits = LIMITS._replace(oldest=START - 9_000, late=START - 4_000)
    add_log(store, "binary", log, limits)
    assert counters(store) == {
        ("rejected", "id"): 1,
        ("rejected", "timestamp"): 1,
        ("rejected", "duplicate"): 1,
        ("rejected", "expired"): 1,
        ("rejected", "late"): 1,
        ("predictions", ""): 3,
        ("labels", ""): 3,
    }


def test_a_replayed_log_has_no_future(store):
    """Rows that are newer than the clock are neither counted nor remembered; they come when their time has come."""
    log = log_of("binary")
    times = sorted(t.timestamp() for t in log["time"].to_pylist())
    early = LIMITS._replace(now=times[4] + 0.5, replay=True)
    add_log(store, "binary", without_labels(log), early)
    first = counters(store)["predictions", ""]
    assert first == sum(t < early.now for t in times) < ROWS
    add_log(store, "binary", without_labels(log), LIMITS._replace(replay=True))
    assert counters(store)["predictions", ""] == ROWS
    assert stored(store) == expected("binary", log, {})


def test_corrections_are_counted_as_labels(store):
    log = log_of("binary", rows=2)
    ids = log["id"].to_pylist()
    add_log(store, "binary", without_labels(log))
    for at, labels in enumerate([[0, 1], [1, 1], [1, 1]]):
        add_labels(store, "binary", ids, labels, [START + at] * 2)
        settle(store, "binary")
    assert counters(store)["labels", ""] == 3  # two, and one that was corrected


def test_the_newest_time_is_kept_per_version(store):
    log = log_of("binary")
    add_log(store, "binary", log.take([3]))
    add_log(store, "binary", log)
    newest: dict[str, float] = {}
    for version, time in zip(log["release"].to_pylist(), log["time"].to_pylist(), strict=True):
        newest[version] = max(newest.get(version, 0), time.timestamp())
    with store.transaction() as tx:
        assert {version: at / 1e6 for version, at in tx.newest("m").items()} == newest


# --- a kill ----------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of the process."""


WRITES = ("add_to_buckets", "add_predictions", "add_pending", "settle", "count", "raise_newest")


def round_of(store: Store, task: str, log: pa.Table, labels: dict[str, object]) -> None:
    """Take a log and its labels, as one transaction."""
    own = BASELINES[task]
    with store.transaction() as tx:
        rows = read_log(MODELS[task], own.schema, without_labels(log), own.segments)
        ledger.add_log(tx, "m", own, rows, LIMITS)
        table = pa.table({"id": list(labels), "label": list(labels.values()), "label_time": [START + 5] * len(labels)})
        table = with_worth(table)
        ledger.add_labels(tx, "m", "1", BASELINES[task], read_labels(MODELS[task], BASELINES[task].schema, table))
        ledger.settle_labels(tx, "m", BASELINES[task], FAR)


@pytest.mark.parametrize("where", WRITES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_loses_nothing_and_doubles_nothing(store, monkeypatch, where, moment):
    """Killed at any write, the store is as it was before; the next run does it all."""
    log = log_of("binary")
    labels = {name: row % 2 for row, name in enumerate(log["id"].to_pylist())}
    round_of(store, "binary", log[:5], dict(list(labels.items())[:3]))
    before, counted = stored(store), counters(store)
    whole = getattr(Transaction, where)

    def killed(self, *args, **kwargs):
        if moment == "after":
            whole(self, *args, **kwargs)
        raise Killed

    monkeypatch.setattr(Transaction, where, killed)
    with pytest.raises(Killed):
        round_of(store, "binary", log, labels)
    monkeypatch.undo()
    assert stored(store) == before
    assert counters(store) == counted
    round_of(store, "binary", log, labels)
    assert stored(store) == expected("binary", log, labels, dict.fromkeys(labels, START + 5))
    assert counters(store)["predictions", ""] == ROWS
    assert counters(store)["labels", ""] == ROWS


KILL = """
import os, sys
from exporter import ledger
from tests.unit.test_ledger import BASELINES, LIMITS, MODELS, log_of, read_log, without_labels
from exporter.store import Store
store = Store(sys.argv[1])
with store.transaction() as tx:
    log = read_log(MODELS["binary"], BASELINES["binary"].schema, without_labels(log_of("binary")))
    ledger.add_log(tx, "m", BASELINES["binary"], log, LIMITS)
    os._exit(9)
"""


def test_a_killed_process_leaves_the_store_as_it_was(new_url):
    """A process that ends inside a transaction, for real."""
    url = new_url()
    log = log_of("binary")
    store = Store(url)
    add_log(store, "binary", without_labels(log[:5]))
    before = stored(store)
    store.close()
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", KILL, url], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 9, ended.stderr
    store = Store(url)
    assert stored(store) == before
    add_log(store, "binary", without_labels(log))
    assert stored(store) == expected("binary", log, {})
    store.close()
