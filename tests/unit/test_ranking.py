"""Metrics of groups: each group's value against scikit-learn or all orders of tied rows; and how groups are counted."""

from __future__ import annotations

import itertools
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from exporter import ledger
from exporter.baseline import Baseline, dump, restore
from exporter.buckets import Deltas, merged
from exporter.consistency import conflicts
from exporter.ledger import Limits
from exporter.performance import ranking
from exporter.performance.ranking import DEFAULT, RankingOutcomes, estimates, of_groups, ranked
from exporter.profile.batch import read_labels, read_log
from exporter.profile.counts import add_into
from exporter.profile.ranking import Answers, RankingBins, place, read
from exporter.reference import fit
from exporter.schema import SchemaError
from exporter.settings import Model
from exporter.store import Store
from tests.unit.helpers.profiles import counted, settings

NAMES = (*DEFAULT, "ndcg@2", "precision@2", "recall@3", "hit_rate@2")
START = 1_600_000_000 // 600 * 600
LIMITS = Limits(now=START + 1e7, bucket=600, oldest=0)
FAR = 1e10


@st.composite
def groups(draw):
    """Return a few groups as (scores, relevance), with ties; each has a relevant row."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 5))
        scores = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=count, max_size=count))
        gains = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 0.5]), min_size=count, max_size=count))
        gains[draw(st.integers(0, count - 1))] = 1.0
        found.append((np.array(scores), np.array(gains)))
    return found


def by_hand(name: str, scores: np.ndarray, gains: np.ndarray) -> float:
    """Return a metric as the mean over all orders that the scores allow; `map` as scikit-learn has it."""
    if name == "map":
        return float(average_precision_score(gains > 0, scores))
    k, values = ranking.cut(name) or len(gains), []
    discount = 1 / np.log2(np.arange(len(gains)) + 2) * (np.arange(len(gains)) < k)
    for order in itertools.permutations(range(len(gains))):
        best = sorted(order, key=lambda row: -scores[row])
        hits = gains[best] > 0
        kind = name.partition("@")[0]
        if kind == "ndcg":
            values.append(gains[best] @ discount / (np.sort(gains)[::-1] @ discount))
        elif kind == "mrr":
            values.append(1 / (hits.argmax() + 1))
        else:
            first = hits[:k].sum()
            values.append({"precision": first / k, "recall": first / hits.sum(), "hit_rate": first > 0}[kind])
    return float(np.mean(values))


def rows_of(many) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    number = np.repeat(np.arange(len(many)), [len(scores) for scores, _ in many])
    return number, np.concatenate([one for one, _ in many]), np.concatenate([one for _, one in many])


@given(groups(), st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=60, deadline=None)
def test_each_groups_value_is_that_of_its_orders(many, random):
    """In any order of the rows; NDCG is scikit-learn's, cut and ties included."""
    number, scores, gains = rows_of(many)
    order = np.array(random.sample(range(len(number)), len(number)))
    rows = ranked(number[order], scores[order], gains[order])
    for name in NAMES:
        found = of_groups(name, rows)
        for at, (own, gain) in enumerate(many):
            assert found[at] == pytest.approx(by_hand(name, own, gain), abs=1e-12), name
            if name.startswith("ndcg") and len(own) > 1:
                assert found[at] == pytest.approx(ndcg_score([gain], [own], k=ranking.cut(name)), abs=1e-12)


def test_textbook_values():
    """One query: gains 3 2 3 0 1 2 in the order shown (Jarvelin and Kekalainen's way): DCG 6.861, ideal 7.141."""
    gains = np.array([3.0, 2, 3, 0, 1, 2])
    rows = ranked(np.zeros(6, np.int64), -np.arange(6.0), gains)
    assert of_groups("ndcg", rows)[0] == pytest.approx(6.861 / 7.141, abs=1e-4)
    assert of_groups("mrr", rows)[0] == 1
    assert of_groups("precision@10", rows)[0] == 0.5
    assert of_groups("map", rows)[0] == pytest.approx((1 + 1 + 1 + 4 / 5 + 5 / 6) / 5)


@pytest.mark.parametrize("name", ["ndcg@0", "map@3", "recall", "precision@x", "ndcg@-1", "hit_rate"])
def test_what_is_no_metric_of_groups(name):
    assert not ranking.is_known(name)


# --- profiles of groups ----------------------------------------------------------------------------------------------

BINS = RankingBins("query", NAMES)


def profile(group, score, relevance, moment=None):  # type: ignore[no-untyped-def]
    count = len(group)
    rows = Answers(
        np.array(group, np.int64),
        np.arange(count) if moment is None else np.array(moment),
        np.array(score, np.float64),
        np.array(relevance, np.float64),
    )
    return counted(place(BINS, rows), count, BINS.size)


def test_only_whole_groups_count():
    """Without a label, a score, or with a relevance below 0 a group is incomplete; without a relevant row, told."""
    group = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]
    score = [0.5, 0.1, 0.5, 0.1, np.nan, 0.1, 0.5, 0.1, 0.5, 0.1, 1]
    relevance = [0, 1, 0, np.nan, 0, 1, 0, 0, -1, 1, 1]
    found = read(BINS, profile(group, score, relevance))
    assert found[:3] == (1, 1, 3)
    assert found.sums["mrr"] == (0.5, 0.25)


def test_a_group_counts_at_its_earliest_row():
    rows = Answers(np.zeros(3, np.int64), np.array([5, 3, 4]), np.arange(3.0), np.ones(3))
    assert {int(one.row[0]) for one in place(BINS, rows)} == {1}


@given(groups(), st.data())
@hypothesis_settings(max_examples=40, deadline=None)
def test_profiles_of_groups_add_up(many, data):
    number, scores, gains = rows_of(many)
    side = np.array([data.draw(st.booleans()) for _ in many])[number]
    parts = [profile(number[own], scores[own], gains[own]) if own.any() else 0 for own in (side, ~side)]
    assert (profile(number, scores, gains) == parts[0] + parts[1]).all()
    assert read(BINS, profile(number, scores, gains)).groups == len(many)


def test_95_of_100_intervals_hold_the_mean_of_many_groups():
    """80 groups of 2 to 15 rows; groups vary, not rows."""
    rng = np.random.default_rng(8)

    def sample(count: int) -> RankingOutcomes:
        sizes = rng.integers(2, 16, count)
        number = np.repeat(np.arange(count), sizes)
        gains = (rng.random(len(number)) < 0.3) * 1.0
        scores = np.round(gains * 0.5 + rng.normal(0, 0.6, len(number)) + rng.normal(0, 1, count)[number], 1)
        return read(BINS, profile(number, scores, gains))

    truth = estimates(sample(60_000), NAMES)
    held = dict.fromkeys(NAMES, 0)
    for _ in range(600):
        for name, one in estimates(sample(80), NAMES).items():
            held[name] += one.lower <= truth[name].value <= one.upper
    assert all(0.92 <= count / 600 <= 0.985 for count in held.values()), held


# --- through the ledger ----------------------------------------------------------------------------------------------

COLUMNS = {"group": "query", "segments": ["colour"], "features": ["colour"]}
MODELS: dict[str, Model] = {
    task: settings(task, columns=COLUMNS, performance={"min_rows": 1, "min_groups": 1, "metrics": NAMES})
    for task in ("binary", "regression")
}
ROWS = 16


def table(task: str, seed: int, rows: int = ROWS) -> pa.Table:
    """Return rows of a few groups, some of them over more than a bucket; some rows are of none."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(rows) * 4) / 4
    data = {
        "id": [f"{seed}-{row}" for row in range(rows)],
        "time": pa.array((START + rng.integers(0, 2400, rows)) * 1_000_000, pa.timestamp("us", "UTC")),
        "query": rng.choice(["a", "b", "c", None], rows, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
        "colour": rng.choice(["red", "green"], rows).tolist(),
        "prediction": (score > 0.5).astype(np.int64) if task == "binary" else score,
        "label": rng.integers(0, 2, rows) if task == "binary" else rng.integers(0, 4, rows) * 1.0,
    }
    data |= {"score": score} if task == "binary" else {}
    return pa.table(data).append_column("label_time", data["time"])


BASELINES: dict[str, Baseline] = {task: fit(MODELS[task], table(task, 0, 200)) for task in MODELS}
Told = dict[tuple[str, int], tuple[int, int, int, tuple[float, ...]]]


def ranks(baseline: Baseline, vector: np.ndarray) -> tuple[int, int, int, tuple[float, ...]]:
    """Return the groups, and the sum of each metric to nine digits."""
    found = read(baseline.bins.ranking, baseline.bins.part(vector, "ranking"))
    return (*found[:3], tuple(round(total, 9) for total, _ in found.sums.values()))


def told(deltas: Deltas, baseline: Baseline) -> Told:
    """Return what buckets have of groups: (segment, start) -> what is there."""
    found = {}
    for (_, segment, start), counts in deltas.items():
        vector = np.zeros(baseline.bins.size, np.int64)
        add_into(vector, counts)
        if baseline.bins.part(vector, "ranking").any():
            found[segment, start] = ranks(baseline, vector)
    return found


def stored(store: Store, task: str) -> Told:
    with store.transaction() as tx:
        own = {(one.version, one.segment, one.start): one.counts for one in tx.buckets("m", 0, 2**40)}
    return told(own, BASELINES[task])


def expected(task: str, log: pa.Table, labels: dict[str, float | None]) -> Told:
    """Take the groups one by one, in the whole and in each segment, and work each out by hand."""
    frame = log.to_pandas()
    frame["relevance"] = [np.nan if (own := labels.get(name)) is None else own for name in frame["id"]]
    frame["rank_by"] = frame["score" if task == "binary" else "prediction"]
    frame["start"] = frame["time"].astype("int64") // 10**6 // 600 * 600
    known = frame.dropna(subset=["query"])
    found: Told = {}
    whole = [("all", own) for _, own in known.groupby("query")]
    for segment, own in [*whole, *((f"colour={key[0]}", own) for key, own in known.groupby(["colour", "query"]))]:
        place = (segment, int(own["start"].min()))
        old = found.get(place, (0, 0, 0, (0.0,) * len(NAMES)))
        missing, relevance = own["relevance"].isna().any(), own["relevance"].to_numpy()
        state = 2 if missing else int(not (relevance > 0).any())
        values = [by_hand(name, own["rank_by"].to_numpy(), relevance) for name in NAMES] if state == 0 else []
        counts = tuple(count + (at == state) for at, count in enumerate(old[:3]))
        sums = tuple(np.add(old[3], values or 0.0))
        found[place] = (*counts, sums)
    return {key: (*one[:3], tuple(round(total, 9) for total in one[3])) for key, one in found.items()}


def close(found: Told, wanted: Told) -> bool:
    """Compare; sums are kept to 2**-32 a group."""
    return found.keys() == wanted.keys() and all(
        one[:3] == wanted[key][:3] and np.allclose(one[3], wanted[key][3], rtol=0, atol=1e-8)
        for key, one in found.items()
    )


def add_log(store: Store, task: str, log: pa.Table) -> Deltas:
    own = BASELINES[task]
    with store.transaction() as tx:
        return ledger.add_log(tx, "m", own, read_log(MODELS[task], own.schema, log, own.segments), LIMITS)


def add_labels(store: Store, task: str, ids: list[str], labels: list[float], times: list[float]) -> None:
    rows = pa.table({"id": ids, "label": pa.array(labels, pa.float64()), "label_time": times})
    with store.transaction() as tx:
        read_rows = read_labels(MODELS[task], BASELINES[task].schema, rows)
        ledger.add_labels(tx, "m", "1", BASELINES[task], read_rows)


def settle(store: Store, task: str, now: float = FAR) -> Deltas:
    with store.transaction() as tx:
        return ledger.settle_labels(tx, "m", BASELINES[task], now)


@pytest.fixture
def store() -> Iterator[Store]:
    own = Store("sqlite:///:memory:")
    yield own
    own.close()


@st.composite
def arrivals(draw):
    """Return a task, a log, labels with corrections, and all of it as events in any order, some twice."""
    task = draw(st.sampled_from(sorted(MODELS)))
    log = table(task, draw(st.integers(1, 1000)), rows=10)
    label = st.integers(0, 1) if task == "binary" else st.integers(0, 3)
    news = []
    for name in log["id"].to_pylist():
        moments = draw(st.lists(st.integers(0, 9), max_size=2, unique=True))
        news += [(name, float(draw(label)), START + at) for at in moments]
    rows = draw(st.permutations(range(10)))
    cuts = sorted(draw(st.lists(st.integers(0, 10), max_size=3)))
    events = [("log", list(rows[a:b])) for a, b in zip([0, *cuts], [*cuts, 10], strict=True)]
    events += [("labels", [one]) for one in news]
    events += draw(st.lists(st.sampled_from(events), max_size=4))
    events += [("settle", START + draw(st.integers(0, 9))) for _ in range(draw(st.integers(0, 4)))]
    return task, log, news, draw(st.permutations(events))


@given(arrivals())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_of_rows_and_labels_ends_in_the_same_groups(drawn):
    """As if all had come at once, with the last label of each row; what is told as changed is what changed."""
    task, log, news, events = drawn
    store, deltas = Store("sqlite:///:memory:"), Deltas()
    for kind, what in [*events, ("settle", FAR)]:
        if kind == "log":
            part = log.take(np.array(what, np.int64)).drop_columns(["label", "label_time"])
            deltas = merged(deltas, add_log(store, task, part))
        elif kind == "labels":
            ids, labels, times = zip(*what, strict=True)
            add_labels(store, task, list(ids), list(labels), list(times))
        else:
            deltas = merged(deltas, settle(store, task, what))
    last = {name: label for name, label, _ in sorted(news, key=lambda one: one[2])}
    assert close(stored(store, task), expected(task, log, last))
    assert told(deltas, BASELINES[task]) == stored(store, task)
    store.close()


@pytest.mark.parametrize("task", sorted(MODELS))
def test_the_reference_is_counted_as_a_log_is(store, task):
    """The whole and each segment; and it comes back from the store."""
    log = table(task, 0, 200)
    own = BASELINES[task]
    add_log(store, task, log)
    found = stored(store, task)
    for segment, vector in {"all": own.vector, "colour=red": own.slice("colour=red")}.items():
        parts = [one for (name, _), one in found.items() if name == segment]
        assert tuple(np.sum([one[:3] for one in parts], axis=0)) == ranks(own, vector)[:3]
        assert np.allclose(np.sum([one[3] for one in parts], axis=0), ranks(own, vector)[3], rtol=0, atol=1e-7)
    again = restore(*dump(own))
    assert again.bins.ranking == own.bins.ranking
    assert again.bins.hash == own.bins.hash


def test_a_group_that_has_lost_rows_to_the_retention_is_left_as_it_is(store):
    """Its first bucket is gone with what it counted: a later correction takes nothing away that is not there."""
    log = table("binary", 1, 2)
    moments = pa.array([(START + at) * 1_000_000 for at in (0, 1200)], pa.timestamp("us", "UTC"))
    columns = {"query": pa.array(["a", "a"]), "time": moments, "label": pa.array([1, 0]), "colour": ["red", "red"]}
    for name, values in columns.items():
        log = log.set_column(log.column_names.index(name), name, [values])
    add_log(store, "binary", log)
    assert set(stored(store, "binary")) == {("all", START), ("colour=red", START)}
    with store.transaction() as tx:
        tx.drop_before("m", START + 600)
    assert stored(store, "binary") == {}
    late = log.slice(0, 1).set_column(0, "id", [["late"]])
    late = late.set_column(1, "time", pa.array([(START + 1800) * 1_000_000], pa.timestamp("us", "UTC")))
    add_log(store, "binary", late)
    add_labels(store, "binary", ["1-1", "late"], [1.0, 0.0], [START + 5000.0, START + 5000.0])
    settle(store, "binary")
    assert stored(store, "binary") == {}


def test_a_store_of_before_is_taken_over(tmp_path):
    """Its predictions are of no group."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store(url).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("DROP INDEX prediction_group")
        for column in ("group_name", "group_start"):
            connection.execute(f"ALTER TABLE prediction DROP COLUMN {column}")
        connection.execute("UPDATE meta SET value = '4' WHERE key = 'schema'")
    connection.close()
    for _ in range(2):
        store = Store(url)
        add_log(store, "binary", table("binary", 5))
        assert stored(store, "binary")
        with store.transaction() as tx:
            assert tx.members("m", ["a"])
        store.close()


def test_versions_rank_apart(store):
    """The same query answered by two versions is two groups."""
    model = settings(version={"column": "release"}, columns=COLUMNS, performance={"metrics": ["mrr"]})
    baseline = fit(model, table("binary", 0, 200).append_column("release", pa.array(["1"] * 200)))
    log = table("binary", 3, 2).append_column("release", pa.array(["1", "2"]))
    log = log.set_column(log.column_names.index("query"), "query", pa.array(["a", "a"]))
    with store.transaction() as tx:
        deltas = ledger.add_log(tx, "m", baseline, read_log(model, baseline.schema, log, baseline.segments), LIMITS)
    seen = defaultdict(int)
    for (version, segment, _), counts in deltas.items():
        vector = np.zeros(baseline.bins.size, np.int64)
        add_into(vector, counts)
        seen[version] += int(baseline.bins.part(vector, "ranking")[:3].sum()) if segment == "all" else 0
    assert seen == {"1": 1, "2": 1}


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "columns", "sentence"),
    [
        ("multiclass", {}, "rows are ranked by one number"),
        ("binary", {"score": None}, "name columns.score"),
        ("binary", {"id": None, "label_timestamp": None}, "name columns.id"),
        ("regression", {"label": None}, "name columns.label"),
    ],
)
def test_what_a_ranking_needs(task, columns, sentence):
    own = settings(task, columns={"group": "query", **columns})
    assert any(sentence in one.message for one in conflicts(own))


def test_metrics_of_groups_need_groups():
    (one,) = conflicts(settings(performance={"metrics": ["ndcg@5"]}))
    assert one.place == ("performance", "metrics", 0)
    assert "name columns.group" in one.message
    assert conflicts(settings(columns={"group": "query"}, performance={"metrics": ["ndcg@5"]})) == []
    (typo,) = conflicts(settings(columns={"group": "query"}, performance={"metrics": ["ndgc"]}))
    assert "ndcg" in typo.message


def test_relevance_is_not_negative():
    reference = table("regression", 0, 50)
    labels = pa.array([-1.0, *[1.0] * 49])
    with pytest.raises(SchemaError, match="at least 0; the reference has -1"):
        fit(MODELS["regression"], reference.set_column(reference.column_names.index("label"), "label", labels))
