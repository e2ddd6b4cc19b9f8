"""The catalogue: documented word for word, named by the rules, and what the exporter really shows."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.catalogue import FAMILIES, Family
from exporter.catalogue.family import TASKS
from exporter.collector import Board
from exporter.config import load
from exporter.monitor import Monitor
from exporter.scheduler import interval
from exporter.service import Service
from exporter.store import Store
from exporter.store.tables import TABLES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "flights"
AT = datetime(2013, 12, 31, tzinfo=UTC).timestamp()
ROW = re.compile(
    r"^\| `(?P<name>model_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<meaning>.*) \|$", re.MULTILINE
)
# In the catalogue, and not shown by a run of the example: why.
NOT_SHOWN: dict[str, str] = {
    name: "the log of the example has no latency and no error"
    for name in FAMILIES
    if "serving_l" in name or "serving_e" in name
}
NOT_SHOWN["model_owner_info"] = "the example's model has no team"
NOT_SHOWN |= {name: "the log of the example has one version" for name in FAMILIES if "version_comparison" in name}
NOT_SHOWN |= {name: "the example does not retrain" for name in FAMILIES if name.startswith("model_retrain_")}
NOT_SHOWN |= dict.fromkeys(("model_ranking_groups", "model_window_min_groups"), "no rows of the example are ranked")
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def documented() -> dict[str, re.Match[str]]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [*ROW.finditer(text)]
    assert len(rows) == len({row["name"] for row in rows}), "a name stands twice in docs/metrics.md"
    return {row["name"]: row for row in rows}


def test_every_name_is_documented() -> None:
    """And nothing is documented that there is not."""
    assert set(documented()) == set(FAMILIES)


@each_family
def test_documented_as_it_is(family: Family) -> None:
    """Type, labels in their order, and the words of HELP."""
    row = documented()[family.name]
    assert row["kind"] == family.kind
    assert tuple(re.findall(r"`(\w+)`", row["labels"])) == family.labels
    assert row["meaning"] == family.help


@each_family
def test_help_is_a_sentence(family: Family) -> None:
    """With a capital and a full stop, on one line, and of its own."""
    assert re.match(r"[A-Z0-9]", family.help)
    assert family.help.endswith(".")
    assert family.help.isprintable()
    assert "  " not in family.help


@each_family
def test_help_says_the_unit(family: Family) -> None:
    """Of what has one: a share is 0 to 1, a time is in Unix seconds."""
    for ending, word in (
        ("_ratio", "0 to 1"),
        ("_timestamp_seconds", "Unix seconds|last loaded"),
        ("_seconds", "[Ss]econds"),
        ("_bytes", "bytes"),
        ("_info", "always 1"),
        ("_detected", "1 if .* else 0"),
        ("_p_value", "0 to 1"),
    ):
        if family.name.endswith(ending):
            assert re.search(word, family.help), ending


@each_family
def test_results_say_of_which_task_they_are(family: Family) -> None:
    """What is computed from a window is as of a task's run, which HELP names."""
    if "window" in family.labels and family.name != "model_window_state":
        named = re.findall(r"as of the last run of task (\w+)", family.help)
        bound = "_threshold_ratio" in family.name
        assert len(named) == (0 if bound else 1)
        assert set(named) <= set(TASKS)


@each_family
def test_name_follows_the_rules(family: Family) -> None:
    """One prefix, plain letters, base units in the plural, no word of the type; `_total` on counters alone."""
    name = family.name
    assert re.fullmatch(r"model(_[a-z0-9]+)+", name)
    assert not re.search(r"_(count|sum|bucket|created|gauge|counter|histogram|summary|metric)$", name)
    assert not re.search(
        r"(?<!_per)_(ms|milliseconds|minutes|hours|days|percent|kb|mb|kilobytes|megabytes|second|byte)(_|$)", name
    )
    assert name.endswith("_total") == (family.kind == "counter")
    assert "_timestamp_" not in name or name.endswith("_timestamp_seconds")


@each_family
def test_labels_follow_the_rules(family: Family) -> None:
    """None that Prometheus, a target or a histogram owns; the model first, so that results can be joined."""
    assert len(set(family.labels)) == len(family.labels)
    taken = {"job", "instance", "le", "quantile", "type", "env", "environment", "service", "region", "cluster", "owner"}
    assert not (taken - ({"quantile"} if family.kind == "summary" else set())) & set(family.labels)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in family.labels)
    if family.name.startswith("model_exporter_"):
        assert "model" not in family.labels
    else:
        assert family.labels[0] == "model"
        assert ("window" not in family.labels) or family.labels[:3] == ("model", "model_version", "window")


def test_thresholds_are_series_of_what_they_bound() -> None:
    """Each threshold has a score or ratio beside it with the labels to join on."""
    for name, family in FAMILIES.items():
        if "_threshold" in name and name != "model_data_delay_threshold_seconds":
            bounded = FAMILIES[name.replace("_threshold", "_score" if name.endswith("_threshold") else "")]
            assert set(family.labels) - {"severity"} <= set(bounded.labels)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of everything that the example's run and the service itself show, with their labels."""
    folder = tmp_path_factory.mktemp("flights")
    for source in ("predictions", "labels"):
        (folder / "log" / source).mkdir(parents=True)
        for path in sorted((EXAMPLE / source).glob("*.parquet"))[-4:]:
            shutil.copy(path, folder / "log" / source)
    shutil.copy(EXAMPLE / "reference.parquet", folder / "log")
    loaded = load(Path(shutil.copy(EXAMPLE / "model-exporter.yml", folder)))
    (model,) = loaded.config.models
    board = Board()
    monitor = Monitor(model, Store("sqlite:///:memory:"), board, 30 * 86400, interval(model.schedule), replay=True)
    assert monitor.run(AT)
    service = Service(loaded)
    service.start()
    try:
        service.board.publish({})
        pages = [one.page(openmetrics=False, compressed=False).body.decode() for one in (board, service.board)]
    finally:
        assert service.stop(30)
    found: dict[str, set[str]] = {}
    for page in pages:
        for family in parse_text(page):
            for sample in family.samples:
                name = family.name + ("_total" if family.type == "counter" else "")
                found.setdefault(name, set()).update(sample.labels)
    return found


def test_everything_in_the_catalogue_is_shown(shown: dict[str, set[str]]) -> None:
    """By a run of the example, or a reason is given here; and no reason for what is shown."""
    missing = set(FAMILIES) - set(shown)
    assert missing == set(NOT_SHOWN)


def test_nothing_outside_of_the_catalogue_is_shown(shown: dict[str, set[str]]) -> None:
    """But for the process's own."""
    own = {name for name in shown if not name.startswith(("process_", "python_"))}
    assert own <= set(FAMILIES)


def test_shown_with_the_labels_of_the_catalogue(shown: dict[str, set[str]]) -> None:
    """All of them and no others."""
    for name, labels in shown.items():
        if name in FAMILIES:
            extra = {"le"} if FAMILIES[name].kind == "histogram" else set()
            assert labels == {*FAMILIES[name].labels} | extra, name


def test_removal_names_every_table() -> None:
    """Whoever removes the exporter leaves nothing behind."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"`drop table ([\w, ]+)`", text)
    assert named.split(", ") == sorted(TABLES.tables)
    (of_a_model,) = re.findall(r"of the tables\n`([\w, ]+)`", text)
    with_models = {name for name, table in TABLES.tables.items() if "model" in table.columns}
    assert of_a_model.split(", ") == sorted(with_models - {"audit"})
