"""The audit log: a chain that shows what was changed, configurations without secrets, and its export."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from exporter import cli
from exporter.audit import FIRST, Chain, Entry, between, changes, csv_lines, flatten, json_lines, moment, sealed
from exporter.store import Store, audit
from exporter.store.tables import NEW_COLUMNS, PREDICTION

CONFIG = """
models:
  - name: flights
    task: binary
    columns: {timestamp: t, prediction: p}
    reference: {files: r.parquet}
    predictions: {files: p.parquet}
"""


def chain(*details: str) -> list[Entry]:
    found: list[Entry] = []
    for number, detail in enumerate(details, 1):
        previous = found[-1].hash if found else FIRST
        found.append(sealed(Entry(number, number * 1_000_000, "test", "m", "alice", json.dumps(detail), previous)))
    return found


def broken(entries: list[Entry], end: Entry) -> str:
    one = Chain()
    for entry in entries:
        one.add(entry)
    one.end(end.number, end.hash)
    return one.wrong()


fields = st.sampled_from(["at", "kind", "model", "actor", "detail", "previous", "hash", "number"])


@given(st.lists(st.text(max_size=5), min_size=2, max_size=6), st.data())
def test_every_change_shows(details: list[str], data: st.DataObject) -> None:
    """Of a field, an entry that is gone, two that changed places, one too many."""
    entries = chain(*details)
    end = entries[-1]
    assert broken(entries, end) == ""
    index = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(fields)
    value: Any = getattr(entries[index], field)
    other = value + 1 if isinstance(value, int) else value + "x"
    forged = [*entries[:index], entries[index]._replace(**{field: other}), *entries[index + 1 :]]
    assert broken(forged, end)
    assert broken([*entries[:index], *entries[index + 1 :]], end)
    swapped = [*entries]
    swapped[0], swapped[index] = swapped[index], swapped[0]
    assert bool(broken(swapped, end)) == (index != 0)


def test_a_log_that_was_written_anew_lacks_the_hash_that_somebody_noted() -> None:
    """A whole chain of other content is only found out by a hash from outside."""
    noted = chain("a", "b")[1].hash
    one = Chain()
    for entry in chain("a", "c", "d"):
        one.add(entry)
    assert one.wrong() == ""
    assert one.wrong(noted) == f"no entry has the hash {noted}: the log was written anew"
    assert one.wrong(chain("a")[0].hash) == ""


def test_secrets_are_hidden_and_their_places_are_not() -> None:
    """Also what is below them; a model may be called secret all the same."""
    settings = {
        "store": {"url": "postgresql://me:pw@db/x", "url_file": "secrets/url"},
        "models": [
            {
                "name": "secret",
                "windows": ["1d", "7d"],
                "retrain": {"action": {"http": {"url": "https://h", "headers": {"A": "b"}, "secret_file": "s"}}},
            }
        ],
    }
    assert dict(flatten(settings)) == {
        "store.url": "(hidden)",
        "store.url_file": "secrets/url",
        "models[secret].name": "secret",
        "models[secret].windows": ["1d", "7d"],
        "models[secret].retrain.action.http.url": "(hidden)",
        "models[secret].retrain.action.http.headers.A": "(hidden)",
        "models[secret].retrain.action.http.secret_file": "s",
    }


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)),
)
def test_changes_lead_from_one_to_the_other(old: dict[str, int], new: dict[str, int]) -> None:
    """Applied to the old settings they are the new ones."""
    found = changes(old, new)
    applied = {key: value for key, value in old.items() if key not in found["removed"]}
    applied |= found["added"] | {key: after for key, (_, after) in found["changed"].items()}
    assert applied == new
    assert all(old[key] == before for key, (before, _) in found["changed"].items())


def test_forms_of_export() -> None:
    """Both have every field; what a spreadsheet would compute is text."""
    entries = [sealed(Entry(1, 1_772_366_400_123_456, "k", "m", "=1+1", '{"a": "ä"}', FIRST))]
    (line,) = json_lines(entries)
    plain = json.loads(line)
    assert plain["detail"] == {"a": "ä"}
    assert (plain["at"], plain["at_microseconds"]) == ("2026-03-01T12:00:00.123456Z", 1_772_366_400_123_456)
    (row,) = csv.DictReader(csv_lines(entries))
    assert (row["actor"], row["detail"], row["hash"]) == ("'=1+1", '{"a": "ä"}', entries[0].hash)
    assert moment(0) == "1970-01-01T00:00:00Z"


def test_between() -> None:
    """Half open."""
    assert [one.number for one in between(chain("a", "b", "c"), 2.0, 3.0)] == [2]
    assert len([*between(chain("a", "b", "c"), None, None)]) == 3


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(CONFIG)
    store = Store(f"sqlite:///{tmp_path / 'model-exporter.db'}")
    for number in range(3):
        with store.transaction() as tx:
            audit.append(tx, 1_772_366_400.0 + number, "test", {"n": number}, "flights", "alice")
    store.close()
    return path


def test_command(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints, cuts, and verifies."""
    base = ["audit", "--config.file", str(config)]
    assert cli.main([*base, "--from", "2026-03-01T12:00:01Z", "--to", "2026-03-01T12:00:02Z"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["detail"] == {"n": 1}
    assert cli.main([*base, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert cli.main([*base, "--verify"]) == 0
    last = capsys.readouterr().out
    assert last.startswith("3 entries, unbroken; the last hash is ")
    assert cli.main([*base, "--verify", "--expect", last.split()[-1]]) == 0
    assert cli.main([*base, "--verify", "--expect", "0" * 64]) == 1


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE audit SET actor = 'bob' WHERE number = 2", "entry 2 was changed"),
        ("DELETE FROM audit WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM audit WHERE number = 3", "the log ends at entry 2, the store noted 3"),
    ],
)
def test_what_somebody_changed_in_the_database_shows(
    config: Path, capsys: pytest.CaptureFixture[str], statement: str, sentence: str
) -> None:
    """The database refuses it; who takes the trigger away is found out."""
    connection = sqlite3.connect(config.parent / "model-exporter.db")
    with pytest.raises(sqlite3.IntegrityError, match="the audit log only grows"):
        connection.execute(statement)
    for name in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    connection.commit()
    connection.close()
    assert cli.main(["audit", "--config.file", str(config), "--verify"]) == 1
    assert capsys.readouterr().out.startswith(sentence)


def test_a_store_of_the_version_before_keeps_what_it_has(new_url: Callable[[], str]) -> None:
    """Its rows stay; tables and columns that came since are made, on both databases."""
    url = new_url()
    store = Store(url)
    with store.transaction() as tx:
        for table in ("audit", "retrain_alert", "retrain_desk", "retrain_decision", "retrain_count", "retrain_run"):
            tx.connection.execute(sa.text(f"DROP TABLE {table}"))
        for index in PREDICTION.indexes:
            if any(column in NEW_COLUMNS for column in index.columns):
                index.drop(tx.connection)
        for column in NEW_COLUMNS:
            tx.connection.execute(sa.text(f"ALTER TABLE prediction DROP COLUMN {column.name}"))
        tx.connection.execute(sa.text("UPDATE meta SET value = '3' WHERE key = 'schema'"))
        tx.connection.execute(sa.text("INSERT INTO counter VALUES ('m', '1', 'predictions', '', 7)"))
    store.close()
    for _ in range(2):  # the second time there is nothing left to do
        store = Store(url)
        with store.transaction() as tx:
            assert tx.counters("m") == [("1", "predictions", "", 7)]
            audit.append(tx, 0.0, "test", {})
            found = {column["name"] for column in sa.inspect(tx.connection).get_columns("prediction")}
        store.close()
        assert found >= {column.name for column in NEW_COLUMNS}
    store = Store(url)
    assert [one.kind for one in audit.entries(store.transaction)] == ["test", "test"]
    store.close()


def test_a_store_that_is_not_there_is_no_unbroken_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path must not read as an audit log that is well, and asking makes no file."""
    config = tmp_path / "c.yml"
    config.write_text("store: {url: sqlite:///none.db}\n" + CONFIG)
    assert cli.main(["audit", "--config.file", str(config), "--verify"]) == 1
    told = capsys.readouterr()
    assert (told.out, "none.db is not there" in told.err) == ("", True)
    assert not (tmp_path / "none.db").exists()
