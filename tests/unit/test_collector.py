"""Readings become a page that Prometheus' own parsers read back to the last bit; publishing swaps it whole."""

from __future__ import annotations

import gzip
import re
import subprocess
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.catalogue import FAMILIES
from exporter.collector import OPENMETRICS, TEXT, Board, Filter
from exporter.exposition import encode_family, header, numbers
from exporter.readings import Reading, Readings

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
HISTOGRAM = "model_task_duration_seconds"
ODD = ['"', "\\", "\n", '\\"', "\\n", "\\\\n", "{}", "a=b,c", " ", "", "#", "ü", "日本", "\t", "\r", "\u2028", "🦆"]


def samples(families: Iterable[Metric]) -> Samples:
    """Every sample by its name and labels; a sample that comes twice is a mistake."""
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def own(found: Samples) -> Samples:
    """Without the process's own."""
    return {key: value for key, value in found.items() if key[0].startswith("model_")}


def page(board: Board, openmetrics: bool = False, only: Filter | None = None) -> str:
    return board.page(openmetrics, compressed=False, only=only).body.decode()


def parsed(board: Board, openmetrics: bool = False) -> Samples:
    text = page(board, openmetrics)
    return own(samples(parse_openmetrics(text) if openmetrics else parse_text(text)))


def some(count: int, name: str = "model_feature_drift_score", model: str = "m") -> Readings:
    """So many readings of one family."""
    out = Readings()
    labels = FAMILIES[name].labels[1:]
    for number in range(count):
        out.put(name, model, *(f"{label}{number}" for label in labels), value=number)
    return out


def owner(task: str = "drift", model: str = "m") -> tuple[str, str]:
    return model, task


# --- the encoder ------------------------------------------------------------------------------------------------------

label = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
quantile = st.sampled_from(["0.5", "0.99"])
number = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 2**53))


@st.composite
def all_readings(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Readings:
    """Readings of a few families of every kind."""
    out = Readings()
    for name in draw(st.lists(st.sampled_from(sorted(FAMILIES)), unique=True, max_size=4)):
        family = FAMILIES[name]
        keys = st.tuples(*(quantile if name == "quantile" else label for name in family.labels))
        for labels in draw(st.lists(keys, unique=True, min_size=1, max_size=3)):
            if family.kind == "histogram":
                counts = draw(st.lists(st.integers(0, 1000), min_size=3, max_size=3))
                out.put_histogram(name, *labels, bounds=(0.1, 5.0), counts=counts, total=draw(st.floats(0, 1e6)))
            elif family.kind == "counter":
                out.put(name, *labels, value=draw(st.floats(0, 1e12)))
            else:
                value = draw(number)
                out.put(name, *labels, value=abs(value) if family.kind == "summary" else value)
    return out


class Reference:
    """The same readings through prometheus_client's own classes."""

    def __init__(self, readings: Readings):
        self.readings = readings

    def collect(self) -> Iterable[Metric]:
        for name, found in self.readings.items():
            family = FAMILIES[name]
            if family.kind == "histogram":
                yield self.histogram(name)
                continue
            if family.kind == "summary":
                made = Metric(name, family.help, "summary")
                for one in found:
                    made.add_sample(name, dict(zip(family.labels, one.labels, strict=True)), one.value)
                yield made
                continue
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            made = kind(name, family.help, labels=family.labels)
            for one in found:
                made.add_metric(one.labels, one.value)
            yield made

    def histogram(self, name: str) -> Metric:
        family, buckets = FAMILIES[name], {}
        made = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, value, suffix in self.readings[name]:
            if suffix == "_bucket":
                buckets.setdefault(labels[:-1], []).append((labels[-1], value))
            elif suffix == "_sum":
                made.add_metric(labels, buckets[labels], value)
        return made


@pytest.mark.parametrize("openmetrics", [False, True])
@given(readings=all_readings())
def test_equals_prometheus_client(openmetrics: bool, readings: Readings) -> None:
    """Whatever the values and labels: the same samples, HELP and TYPE as the library's own encoder gives."""
    board, registry = Board(), CollectorRegistry()
    board.publish({owner(): readings})
    registry.register(Reference(readings))
    text = page(board, openmetrics)
    theirs = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    parse = parse_openmetrics if openmetrics else parse_text
    assert own(samples(parse(text))) == samples(parse(theirs))
    comments = {line for line in text.split("\n") if re.match("# (HELP|TYPE) model_", line)}
    assert comments == {line for line in theirs.split("\n") if line.startswith(("# HELP", "# TYPE"))}


@given(before=all_readings(), after=all_readings())
def test_what_was_shown_before_leaves_nothing(before: Readings, after: Readings) -> None:
    """Text that is kept from run to run changes no page, whatever came, went or stayed; nor does it the count."""
    board, fresh = Board(), Board()
    fresh.publish({owner(): after})
    moved = Readings({name: [one._replace(value=one.value + 1) for one in found] for name, found in after.items()})
    for results in (before, moved, after):
        board.publish({owner(): results})
    assert parsed(board) == parsed(fresh)
    assert board.series == fresh.series == after.series()


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("openmetrics", [False, True])
def test_odd_label_values_come_back(value: str, openmetrics: bool) -> None:
    """Quotes, backslashes, line ends, empty text, any alphabet."""
    board, readings = Board(), Readings()
    readings.put("model_reference_info", "m", value, "h", value=1)
    board.publish({owner(): readings})
    ((_, labels),) = parsed(board, openmetrics)
    assert dict(labels)["model_version"] == value


@given(number)
def test_numbers_come_back_to_the_last_bit(value: float) -> None:
    """As Go reads them: no comma, no Python type."""
    readings = Readings()
    readings.put("model_exporter_store_bytes", value=value)
    own = readings["model_exporter_store_bytes"]
    line = encode_family(FAMILIES["model_exporter_store_bytes"], own, numbers([own])).lines
    shown = line.removeprefix("model_exporter_store_bytes ").removesuffix("\n")
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", shown)
    assert float(shown) == float(value)


def test_text_of_each_kind() -> None:
    """A gauge, a counter and a histogram, word for word, in both formats."""
    readings = Readings()
    readings.put("model_exporter_leader", "0", value=1)
    readings.put("model_predictions_total", "m", "1", value=3)
    readings.put_histogram(HISTOGRAM, "m", "drift", bounds=(0.5,), counts=(2, 1), total=1.25)
    families = {name: FAMILIES[name] for name in readings}
    shown = {
        name: encode_family(family, readings[name], numbers([readings[name]])).lines
        for name, family in families.items()
    }
    assert shown == {
        "model_exporter_leader": 'model_exporter_leader{shard="0"} 1\n',
        "model_predictions_total": 'model_predictions_total{model="m",model_version="1"} 3\n',
        HISTOGRAM: 'model_task_duration_seconds_bucket{model="m",task="drift",le="0.5"} 2\n'
        'model_task_duration_seconds_bucket{model="m",task="drift",le="+Inf"} 3\n'
        'model_task_duration_seconds_sum{model="m",task="drift"} 1.25\n'
        'model_task_duration_seconds_count{model="m",task="drift"} 3\n',
    }
    counter = FAMILIES["model_predictions_total"]
    assert header(counter, openmetrics=False).endswith("# TYPE model_predictions_total counter\n")
    assert header(counter, openmetrics=True).endswith("# TYPE model_predictions counter\n")


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("openmetrics", "kind", "ends"), [(True, OPENMETRICS, 1), (False, TEXT, 0)])
def test_formats(openmetrics: bool, kind: str, ends: int) -> None:
    """Each with its content type; OpenMetrics ends once, and at its end."""
    board = Board()
    board.publish({owner(): some(3)})
    shown = board.page(openmetrics, compressed=False)
    text = shown.body.decode()
    assert shown.content_type == kind
    assert text.count("# EOF") == ends
    assert text.endswith("# EOF\n") == openmetrics
    assert "process_start_time_seconds" in text
    assert "python_info" in text
    assert "_created" not in text


def test_families_stand_together() -> None:
    """HELP and TYPE once, and all its samples after them, whoever they belong to."""
    board = Board()
    board.publish({owner(model=model): some(2, model=model) for model in "abc"})
    board.publish({owner("quality", "a"): some(2, "model_feature_missing_ratio", "a")})
    names = [
        re.split("[ {]", line.removeprefix("# HELP "))[0] for line in page(board).splitlines() if "# TYPE" not in line
    ]
    blocks = [name for before, name in zip(["", *names], names, strict=False) if name != before]
    assert len(blocks) == len(set(blocks))
    assert page(board).count("# TYPE model_feature_drift_score gauge") == 1
    assert len(parsed(board)) == 8


def test_compressed_is_the_same_page() -> None:
    """Only smaller."""
    board = Board()
    board.publish({owner(): some(50)})
    packed = board.page(False, compressed=True).body
    assert own(samples(parse_text(gzip.decompress(packed).decode()))) == parsed(board)
    assert len(packed) < len(page(board)) / 3


def test_promtool_finds_nothing(need_tool: Callable[[str], str]) -> None:
    """On a page with every family of the catalogue."""
    board, readings = Board(), Readings()
    for name, family in FAMILIES.items():
        labels = ["0.5" if label == "quantile" else f"a {label}" for label in family.labels]
        if family.kind == "histogram":
            readings.put_histogram(name, *labels, bounds=(1.0,), counts=(1, 1), total=3)
        else:
            readings.put(name, *labels, value=1)
    board.publish({owner(): readings})
    found = subprocess.run(
        [need_tool("promtool"), "check", "metrics"], input=page(board), capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_promtool_would_find_something(need_tool: Callable[[str], str]) -> None:
    """The check before can fail."""
    bad = "# HELP model_x_ms_total No.\n# TYPE model_x_ms_total gauge\nmodel_x_ms_total 1\n"
    found = subprocess.run(
        [need_tool("promtool"), "check", "metrics"], input=bad, capture_output=True, text=True, check=False
    )
    assert found.returncode != 0


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed() -> Board:
    board = Board()
    exporter = Readings()
    exporter.put("model_exporter_leader", "0", value=1)
    board.own(lambda: exporter)
    for model in ("a", "b"):
        board.publish({owner("drift", model): some(1, model=model)})
        board.publish({owner("quality", model): some(1, "model_feature_missing_ratio", model)})
    return board


@pytest.mark.parametrize(
    ("only", "names", "models"),
    [
        (Filter(models=frozenset("a")), {"model_feature_drift_score", "model_feature_missing_ratio"}, {"a"}),
        (Filter(tasks=frozenset({"drift"})), {"model_feature_drift_score"}, {"a", "b"}),
        (Filter(names=frozenset({"model_feature_missing_ratio"})), {"model_feature_missing_ratio"}, {"a", "b"}),
        (Filter(models=frozenset("ab"), tasks=frozenset({"quality"})), {"model_feature_missing_ratio"}, {"a", "b"}),
        (Filter(tasks=frozenset({"exporter"})), {"model_exporter_leader"}, {None}),
        (Filter(models=frozenset("x")), set(), set()),
    ],
)
@pytest.mark.parametrize("openmetrics", [False, True])
def test_filters(mixed: Board, only: Filter, names: set[str], models: set[str | None], openmetrics: bool) -> None:
    """By model, task and name, all of them at once; what is not asked for is not there, nor is its HELP."""
    text = page(mixed, openmetrics, only)
    found = samples(parse_openmetrics(text) if openmetrics else parse_text(text))
    assert {name for name, _ in found} == names
    assert {dict(labels).get("model") for _, labels in found} == models
    assert text.count("# HELP") == len(names)
    assert text.count("# EOF") == openmetrics


def test_no_filter_is_everything(mixed: Board) -> None:
    """And an empty one the same as none, but for the process's own."""
    everything = parsed(mixed)
    assert len(everything) == 5
    assert own(samples(parse_text(page(mixed, only=Filter())))) == everything


# --- publishing -------------------------------------------------------------------------------------------------------


def test_publishing_replaces_an_owners_results_whole() -> None:
    """What is not found again is gone; other owners stay."""
    board = Board()
    board.publish({owner("drift"): some(3), owner("quality"): some(1, "model_feature_missing_ratio")})
    board.publish({owner("drift"): some(1)})
    assert sorted(name for name, _ in parsed(board)) == ["model_feature_drift_score", "model_feature_missing_ratio"]
    board.publish({owner("drift"): Readings()})
    assert [name for name, _ in parsed(board)] == ["model_feature_missing_ratio"]


def test_removed_model_vanishes() -> None:
    """All of it, and nothing of another."""
    board = Board()
    for model in ("m", "m2"):
        board.publish({owner("drift", model): some(1, model=model)})
        board.publish({owner("quality", model): some(1, "model_feature_missing_ratio", model)})
    board.remove("m")
    assert {dict(labels)["model"] for _, labels in parsed(board)} == {"m2"}
    assert board.series == 2
    board.remove("m")


def test_page_is_kept_while_it_is_current() -> None:
    """The same bytes until something is published, removed, or a few seconds have passed."""
    now = [100.0]
    board = Board(clock=lambda: now[0])
    count = [0]

    def exporter() -> Readings:
        count[0] += 1
        out = Readings()
        out.put("model_exporter_store_bytes", value=count[0])
        return out

    board.own(exporter)
    board.publish({owner(): some(1)})
    first = board.page(False, False)
    now[0] += 4.9
    assert board.page(False, False) is first
    assert board.page(True, False).body != first.body
    assert board.page(False, True).body != first.body
    now[0] += 0.2
    later = board.page(False, False)
    assert later.body != first.body
    board.publish({owner(): some(2)})
    assert len(samples(parse_text(board.page(False, False).body.decode()))) > len(
        samples(parse_text(later.body.decode()))
    )
    board.remove("m")
    assert parsed(board) == {("model_exporter_store_bytes", ()): count[0]}
    before = count[0]
    board.renew()
    assert parsed(board) == {("model_exporter_store_bytes", ()): before + 1}


def test_clock_that_goes_back_keeps_nothing() -> None:
    """A page from the future is not current."""
    now = [100.0]
    board = Board(clock=lambda: now[0])
    first = board.page(False, False)
    now[0] = 50.0
    assert board.page(False, False) is not first


def test_publishing_notes_the_time() -> None:
    """Of the newest results."""
    board = Board(clock=lambda: 123.0)
    assert board.published == 0
    board.publish({owner("tasks"): some(1, "model_task_running")}, fresh=False)
    assert board.published == 0
    board.publish({owner(): some(1)})
    assert board.published == 123


def test_scrapes_see_whole_results_only() -> None:
    """While results of two families are published together, no page ever has the one without the other."""
    board, stop, torn = Board(), threading.Event(), []

    def scrape() -> None:
        while not stop.is_set():
            text = page(board, only=Filter(models=frozenset("m")))
            shown = {float(line.split()[-1]) for line in text.splitlines() if not line.startswith("#")}
            if len(shown) > 1:
                torn.append(shown)

    threads = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number_ in range(300):
        readings = {"drift": Readings(), "quality": Readings()}
        readings["drift"].put("model_drifted_features_ratio", "m", "1", "1h", "all", value=number_)
        readings["quality"].put("model_feature_missing_ratio", "m", "1", "1h", "all", "f", value=number_)
        board.publish({owner(task): found for task, found in readings.items()})
    stop.set()
    for thread in threads:
        thread.join()
    assert torn == []


# --- the limit --------------------------------------------------------------------------------------------------------


def loaded(model: str) -> dict[tuple[str, str], Readings]:
    """10 scores, 10 thresholds, 30 bins, 10 of data quality and 2 states."""
    drift, quality, ingest = some(10, model=model), some(10, "model_feature_missing_ratio", model), Readings()
    drift.extend(some(10, "model_feature_drift_threshold", model))
    drift.extend(some(30, "model_feature_bin_ratio", model))
    ingest.extend(some(2, "model_window_state", model))
    return {(model, "drift"): drift, (model, "quality"): quality, (model, "ingest"): ingest}


def shown_families(board: Board) -> set[tuple[str, str]]:
    return {(dict(labels)["model"], name.removeprefix("model_")) for name, labels in parsed(board)}


@pytest.mark.parametrize(
    ("limit", "lost", "left"),
    [
        (124, set(), 124),
        (123, {("b", "feature_bin_ratio")}, 94),
        (94, {("b", "feature_bin_ratio")}, 94),
        (93, {("a", "feature_bin_ratio"), ("b", "feature_bin_ratio")}, 64),
        (60, {("a", "feature_bin_ratio"), ("b", "feature_bin_ratio"), ("b", "feature_drift_score")}, 54),
    ],
)
def test_page_over_its_limit_gives_up_pictures_first(limit: int, lost: set[tuple[str, str]], left: int) -> None:
    """Then drift scores, of the last model first; each series that is left out is counted."""
    board = Board(limit)
    everything = set()
    for model in ("a", "b"):
        whole = Board()
        whole.publish(loaded(model))
        everything |= shown_families(whole)
    board.publish({**loaded("a"), **loaded("b")})
    assert shown_families(board) == everything - lost
    assert board.series == left == len(parsed(board))
    assert board.dropped == {"max_features": 0, "series_limit": 124 - left}


def test_states_are_never_given_up() -> None:
    """A limit that nothing can keep leaves what says how it is; what was left out is counted."""
    board = Board(1)
    board.publish(loaded("a"))
    assert shown_families(board) == {("a", "feature_missing_ratio"), ("a", "window_state")}
    assert board.dropped["series_limit"] == 50


def test_a_raised_limit_brings_back_what_was_left_out() -> None:
    """With the next results."""
    board = Board(94)
    board.publish({**loaded("a"), **loaded("b")})
    board.limit = 1000
    board.publish(loaded("b"))
    assert board.series == 124


def test_some_families_are_replaced_and_the_others_stay() -> None:
    """As when a task starts: the page says so, and nothing else of it changes."""
    board, owner = Board(), ("m", "tasks")
    first, second = Readings(), Readings()
    for name in ("ingest", "drift"):
        first.put("model_task_running", "m", name, value=0)
        first.put("model_task_runs_total", "m", name, value=3)
        second.put("model_task_running", "m", name, value=name == "drift")
    board.publish({owner: first})
    before, at = parsed(board), board.published
    board.show(owner, second)
    changed = {key: value for key, value in parsed(board).items() if before.get(key) != value}
    assert [(name, dict(labels)["task"], value) for (name, labels), value in changed.items()] == [
        ("model_task_running", "drift", 1.0)
    ]
    assert len(parsed(board)) == len(before) == board.series
    assert board.published == at
    board.publish({owner: Readings()})
    assert parsed(board) == {}
    assert board.series == 0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_read_back_to_the_last_bit(values: list[float]) -> None:
    written = [*numbers([[Reading((), value) for value in values]])]
    assert [float(text).hex() for text in written] == [value.hex() for value in values]
