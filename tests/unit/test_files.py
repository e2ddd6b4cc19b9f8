"""Rows from files: each row once, as soon as it is whole; what cannot be read is told and stands in nobody's way."""

from __future__ import annotations

import glob
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.rows import times
from exporter.sources import files
from exporter.sources.files import Chunk

AN_HOUR_AGO = time.time() - 3600


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return rows as dictionaries; of a Parquet file's rows each column is read on its own."""
    columns = [table[name].to_pylist() for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


class Reader:
    """Reads what is new of a folder, as the monitor does; remembers positions."""

    def __init__(self, folder: Path, text: tuple[str, ...] = (), at_once: int = files.FEW):
        self.at_once = at_once
        self.pattern = (f"{folder}/*",)
        self.text = text
        self.seen: dict[str, str] = {}
        self.chunks: list[Chunk] = []

    def __call__(self) -> list[dict[str, Any]]:
        self.chunks = list(files.read_new(self.pattern, self.seen, self.text, self.at_once))
        self.seen |= {chunk.path: chunk.position for chunk in self.chunks if chunk.position}
        return [row for chunk in self.chunks if chunk.table is not None for row in rows_of(chunk.table)]

    @property
    def errors(self) -> dict[str, str]:
        return {Path(chunk.path).name: chunk.error for chunk in self.chunks if chunk.error is not None}


def rest(path: Path) -> None:
    """Let a file look as if nobody had written to it for an hour."""
    os.utime(path, (AN_HOUR_AGO, AN_HOUR_AGO))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "parquet": write_parquet,
    "pq": write_parquet,
    "csv": write_csv,
    "jsonl": write_json,
    "ndjson": write_json,
    "json": write_json,
}
ROWS = [{"id": "x1", "n": 1, "f": 0.5}, {"id": "x2", "n": 2, "f": 1.5}]


@pytest.mark.parametrize("kind", WRITERS)
def test_reads_each_format_once(kind: str, tmp_path: Path) -> None:
    """And nothing a second time."""
    WRITERS[kind](tmp_path / f"a.{kind}", ROWS)
    read = Reader(tmp_path)
    assert read() == ROWS
    assert read() == []
    assert read.chunks == []


@pytest.mark.parametrize("kind", WRITERS)
def test_reads_a_new_file(kind: str, tmp_path: Path) -> None:
    """What was read before is not read with it."""
    read = Reader(tmp_path)
    WRITERS[kind](tmp_path / f"a.{kind}", ROWS)
    read()
    WRITERS[kind](tmp_path / f"b.{kind}", [{"id": "x3", "n": 3, "f": 2.5}])
    assert [row["id"] for row in read()] == ["x3"]


def test_an_unknown_ending_is_parquet(tmp_path: Path) -> None:
    """As many writers leave it out."""
    write_parquet(tmp_path / "part-0000", ROWS)
    assert Reader(tmp_path)() == ROWS


def test_paths_are_sorted_files_that_are_whole(tmp_path: Path) -> None:
    """Folders, hidden files and those being written are left out; two patterns find a file once."""
    for name in ("b.csv", "a.csv", "c.csv.tmp", "d.csv.part", ".e.csv"):
        (tmp_path / name).touch()
    (tmp_path / "f.csv").mkdir()
    found = files.paths((f"{tmp_path}/*", f"{tmp_path}/*.csv"))
    assert [Path(path).name for path in found] == ["a.csv", "b.csv"]


def test_folders_below(tmp_path: Path) -> None:
    """Two stars go down."""
    (tmp_path / "day=1").mkdir()
    write_json(tmp_path / "day=1" / "a.jsonl", ROWS)
    assert files.paths((f"{tmp_path}/**/*.jsonl",)) == [str(tmp_path / "day=1" / "a.jsonl")]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_growing_file_gives_only_its_new_lines(kind: str, tmp_path: Path) -> None:
    """Whatever the writer flushes, down to single bytes, each row comes once, whole, and in order."""
    rows = [{"id": f"x{number}", "n": number} for number in range(40)]
    WRITERS[kind](tmp_path / f"whole.{kind}", rows)
    text = (tmp_path / f"whole.{kind}").read_bytes()
    (tmp_path / f"whole.{kind}").unlink()
    order, read, found, start = random.Random(7), Reader(tmp_path), [], 0
    while start < len(text):
        end = min(len(text), start + order.choice([1, 2, 5, 30, 90]))
        with (tmp_path / f"log.{kind}").open("ab") as file:
            file.write(text[start:end])
        found += read()
        assert read.errors == {}
        start = end
    assert found == rows


@pytest.mark.parametrize(("kind", "whole"), [("csv", "id,n\na,1\n"), ("jsonl", '{"id": "a", "n": 1}\n')])
def test_half_a_line_waits(kind: str, whole: str, tmp_path: Path) -> None:
    """Until it has its end, or until the file has rested for a minute."""
    path = tmp_path / f"log.{kind}"
    half = {"csv": "b,2", "jsonl": '{"id": "b", "n": 2}'}[kind]
    path.write_text(whole + half)
    read = Reader(tmp_path)
    assert read() == [{"id": "a", "n": 1}]
    assert read() == []
    assert read.chunks == []
    rest(path)
    assert read() == [{"id": "b", "n": 2}]
    assert read() == []


def test_a_header_alone_is_no_row(tmp_path: Path) -> None:
    """Rows that come later are read under it."""
    path = tmp_path / "log.csv"
    path.write_text("id,n\n")
    read = Reader(tmp_path)
    assert read() == []
    with path.open("a") as file:
        file.write("a,1\n")
    assert read() == [{"id": "a", "n": 1}]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_replaced_file_is_read_again_and_says_so(kind: str, tmp_path: Path) -> None:
    """The ledger tells old rows from new ones by their ids; without ids the monitor refuses."""
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, ROWS)
    read = Reader(tmp_path)
    read()
    assert [chunk.changed for chunk in read.chunks] == [False]
    WRITERS[kind](tmp_path / "new.tmp", [*ROWS, {"id": "x3", "n": 3, "f": 2.5}])
    (tmp_path / "new.tmp").replace(path)
    assert [row["id"] for row in read()] == ["x1", "x2", "x3"]
    assert [chunk.changed for chunk in read.chunks] == [True]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_renamed_file_is_not_read_again(kind: str, tmp_path: Path) -> None:
    """As rotation leaves it: what was added before is read, and what is new under the old name is; a copy is new."""
    path, old = tmp_path / f"b.{kind}", tmp_path / f"a.{kind}"
    WRITERS[kind](path, ROWS)
    read = Reader(tmp_path)
    assert len(read()) == 2
    path.rename(old)
    assert [read(), [chunk.changed for chunk in read.chunks], read(), read.chunks] == [[], [False], [], []]
    (tmp_path / f"c.{kind}").write_bytes(old.read_bytes())
    assert len(read()) == 2


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_that_is_rotated_loses_nothing(kind: str, tmp_path: Path) -> None:
    """What was added before it got its new name is read under that; what comes under the old name is another file's."""
    path, rows = tmp_path / f"a.{kind}", [{"id": f"x{number}", "n": number} for number in range(9)]
    WRITERS[kind](path, rows[:3])
    read = Reader(tmp_path)
    assert read() == rows[:3]
    WRITERS[kind](path, rows[:6])
    path.rename(tmp_path / f"b.{kind}")
    WRITERS[kind](path, rows[6:])
    found = {}
    for chunk in files.read_new(read.pattern, read.seen):
        read.seen[chunk.path] = chunk.position  # as the monitor does
        found[Path(chunk.path).stem] = rows_of(chunk.table), chunk.changed
    assert found == {"a": (rows[6:], True), "b": (rows[3:6], False)}


def test_a_truncated_text_file_is_read_again(tmp_path: Path) -> None:
    """As log rotation by copying leaves it."""
    path = tmp_path / "a.jsonl"
    write_json(path, ROWS)
    read = Reader(tmp_path)
    read()
    write_json(path, [{"id": "y"}])
    assert read() == [{"id": "y"}]
    assert [chunk.changed for chunk in read.chunks] == [True]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("more", [0, 3])
def test_a_text_file_written_anew_in_its_place_is_read_again(kind: str, more: int, tmp_path: Path) -> None:
    """Other rows under the same name, as many or more of them: they do not begin where the old ones ended."""
    path = tmp_path / f"a.{kind}"
    old, new = ([{"id": f"{name}{n}", "n": n} for n in range(5 + many)] for name, many in (("old", 0), ("new", more)))
    WRITERS[kind](path, old)
    read = Reader(tmp_path)
    assert read() == old
    WRITERS[kind](path, new)
    os.utime(path, (time.time(), time.time() + 1))
    assert read() == new
    assert [chunk.changed for chunk in read.chunks] == [True]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_text_file_written_anew_with_the_same_and_more_goes_on(kind: str, tmp_path: Path) -> None:
    """As a table that is saved whole each time; positions of earlier versions have no mark and go on as well."""
    path = tmp_path / f"a.{kind}"
    rows = [{"id": f"x{n}", "n": n} for n in range(900)]
    read = Reader(tmp_path)
    for end in (300, 600, 900):
        WRITERS[kind](path, rows[:end])
        assert read() == rows[end - 300 : end]
        assert [chunk.changed for chunk in read.chunks] == [False]
        read.seen = {name: json.dumps(json.loads(one)[: 4 if end == 300 else 5]) for name, one in read.seen.items()}


def test_a_touched_file_is_not_read_again(tmp_path: Path) -> None:
    """Text that did not grow has no new rows."""
    path = tmp_path / "a.jsonl"
    write_json(path, ROWS)
    read = Reader(tmp_path)
    read()
    rest(path)
    assert read() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b"PAR1 but not really"), ("a.parquet", b""), ("a.jsonl", b"neither {} nor []\n\x00\n")],
)
def test_unreadable_file_is_told_and_tried_again(name: str, content: bytes, tmp_path: Path) -> None:
    """The others are read; once it is repaired it is read, too."""
    (tmp_path / name).write_bytes(content)
    write_json(tmp_path / "b.jsonl", ROWS)
    read = Reader(tmp_path)
    assert read() == ROWS
    assert list(read.errors) == [name]
    assert "\n" not in read.errors[name]
    assert read() == []
    assert list(read.errors) == [name]
    WRITERS[name.split(".")[1]](tmp_path / name, [{"id": "repaired"}])
    assert read() == [{"id": "repaired"}]
    assert read.errors == {}


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's word for it; the other files are read."""

    def refuse(path: str, _part: files.Part) -> files.Read:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setitem(files._READERS, ".csv", refuse)
    write_csv(tmp_path / "a.csv", ROWS)
    write_json(tmp_path / "b.jsonl", ROWS)
    read = Reader(tmp_path)
    assert read() == ROWS
    assert "Permission denied" in read.errors["a.csv"]


def test_parquet_cut_short(tmp_path: Path) -> None:
    """As a copy that is under way looks; its rows come when it is whole, all of them."""
    path = tmp_path / "a.parquet"
    write_parquet(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    read = Reader(tmp_path)
    assert (read(), list(read.errors)) == ([], ["a.parquet"])
    path.write_bytes(whole)
    assert (read(), read.errors) == (ROWS, {})


def test_large_parquet_comes_in_parts(tmp_path: Path) -> None:
    """Only the last part carries the new position: a break in between loses nothing."""
    write_parquet(tmp_path / "a.parquet", [{"n": number} for number in range(35)])
    read = Reader(tmp_path, at_once=10)
    assert [row["n"] for row in read()] == list(range(35))
    assert [len(chunk.table) for chunk in read.chunks if chunk.table is not None] == [10, 10, 10, 5]
    assert [bool(chunk.position) for chunk in read.chunks] == [False, False, False, True]


def test_lines_that_are_no_row_are_left_out_and_counted(tmp_path: Path) -> None:
    """One bad line takes no other with it."""
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2\n[3]\n\n"text"\n{"n": 4}\n')
    (tmp_path / "b.csv").write_text("n,m\n1,1\n2\n3,3,3\n4,4\n")
    read = Reader(tmp_path)
    assert read() == [{"n": 1}, {"n": 4}, {"n": 1, "m": 1}, {"n": 4, "m": 4}]
    assert [chunk.unread for chunk in read.chunks] == [3, 2]
    assert read.errors == {}


def test_column_of_several_types_is_text(tmp_path: Path) -> None:
    """Within one JSON file, too; the other columns stay what they are."""
    rows = [{"a": 1, "b": 1}, {"a": "x", "b": 2}, {"a": None, "b": 3}, {"a": True, "b": 4}, {"a": 2.0, "b": 5}]
    write_json(tmp_path / "a.jsonl", rows)
    read = Reader(tmp_path)
    assert [row["a"] for row in read()] == ["1", "x", None, "1", "2"]
    (chunk,) = read.chunks
    assert chunk.table is not None
    assert chunk.table.schema.field("b").type == pa.int64()


def test_column_that_some_lines_do_not_have(tmp_path: Path) -> None:
    """It is missing there, whether the fast way or the slow one reads it."""
    write_json(tmp_path / "a.jsonl", [{"a": 1}, {"b": "x"}])
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n{"b": "x"}\n{"b": 1}\n')
    assert Reader(tmp_path)() == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
        {"a": None, "b": "1"},
    ]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    """One odd value, in a text column, too; every row is there."""
    (tmp_path / "a.csv").write_bytes(b"t,n\ncaf\xe9,1\nbar,2\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"t": "caf\xe9", "n": 1}\n{"t": "bar", "n": 2}\n')
    rows = [{"t": "caf\ufffd", "n": 1}, {"t": "bar", "n": 2}]
    assert Reader(tmp_path, text=("t",))() == rows + rows


def test_bytes_that_are_no_utf8_do_not_move_the_position(tmp_path: Path) -> None:
    """What is replaced has another length; the next line is found nevertheless."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"t": "\xe9\xe9\xe9"}\n')
    read = Reader(tmp_path)
    read()
    with path.open("ab") as file:
        file.write(b'{"t": "next"}\n')
    assert read() == [{"t": "next"}]


def test_text_of_a_csv_file_stays_text(tmp_path: Path) -> None:
    """Where the reference has text, `007` is no number."""
    (tmp_path / "a.csv").write_text("code,n\n007,007\n")
    assert Reader(tmp_path, text=("code", "not there"))() == [{"code": "007", "n": 7}]


def test_empty_fields_of_a_csv_file_are_missing(tmp_path: Path) -> None:
    """Numbers and text alike."""
    (tmp_path / "a.csv").write_text("code,n\n,\nx,1\n")
    assert Reader(tmp_path, text=("code",))() == [{"code": None, "n": None}, {"code": "x", "n": 1}]


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00.000Z", "2026-03-01 12:00:00+00:00"],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_times_keep_their_zone(kind: str, text: str, tmp_path: Path) -> None:
    """A zone in the text is not overruled by the one that the configuration gives to times without."""
    WRITERS[kind](tmp_path / f"a.{kind}", [{"t": text}])
    read = Reader(tmp_path)
    read()
    (chunk,) = read.chunks
    assert chunk.table is not None
    assert times(chunk.table["t"], "America/New_York").tolist() == [1772366400 * 1_000_000]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_times_without_a_zone(kind: str, tmp_path: Path) -> None:
    """Are in the zone that the configuration names."""
    WRITERS[kind](tmp_path / f"a.{kind}", [{"t": "2026-03-01T12:00:00"}])
    read = Reader(tmp_path)
    read()
    (chunk,) = read.chunks
    assert chunk.table is not None
    assert times(chunk.table["t"], "America/New_York").tolist() == [(1772366400 + 5 * 3600) * 1_000_000]


def test_all_files_as_one_table(tmp_path: Path) -> None:
    """Types that differ are widened; a column that one file does not have is missing there."""
    write_parquet(tmp_path / "a.parquet", [{"n": 1, "s": "x"}])
    write_parquet(tmp_path / "b.parquet", [{"n": 2.5}])
    assert files.read_all((f"{tmp_path}/*",)).to_pylist() == [{"n": 1.0, "s": "x"}, {"n": 2.5, "s": None}]


def test_all_files_or_a_sentence(tmp_path: Path) -> None:
    """With the path in it."""
    with pytest.raises(FileNotFoundError, match="no file matches"):
        files.read_all((f"{tmp_path}/*",))
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"a\.parquet: "):
        files.read_all((f"{tmp_path}/*",))
    write_parquet(tmp_path / "a.parquet", [{"n": 1}])
    write_parquet(tmp_path / "b.parquet", [{"n": "x"}])
    with pytest.raises(ValueError, match="the files do not fit together"):
        files.read_all((f"{tmp_path}/*",))


def test_files_without_rows_are_a_table_without_rows(tmp_path: Path) -> None:
    """Not a mistake of the reading."""
    (tmp_path / "a.csv").write_text("n,m\n")
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "b.parquet")
    assert len(files.read_all((f"{tmp_path}/*",))) == 0
    assert Reader(tmp_path)() == []


def test_fingerprint_changes_with_any_file(tmp_path: Path) -> None:
    """A file more, a file that changed; not by being read."""
    write_json(tmp_path / "a.jsonl", ROWS)
    pattern = (f"{tmp_path}/*",)
    first = files.fingerprint(files.paths(pattern))
    files.read_all(pattern)
    assert files.fingerprint(files.paths(pattern)) == first
    rest(tmp_path / "a.jsonl")
    second = files.fingerprint(files.paths(pattern))
    write_json(tmp_path / "b.jsonl", ROWS)
    assert len({first, second, files.fingerprint(files.paths(pattern))}) == 3


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    """A folder, a link that leads nowhere, and files of a folder that is hidden, or not there."""
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden.jsonl").touch()
    watch = files.Watch()
    for pattern in (f"{tmp_path}/*", f"{tmp_path}/*.jsonl", f"{tmp_path}/none/*", f"{tmp_path}/folder.jsonl"):
        assert files.paths((pattern,)) == []
        assert [*files.read_new((pattern,), {}, watch=watch)] == []
        assert not watch.any
    assert files.paths((f"{tmp_path}/.h*",)) == [str(tmp_path / ".hidden.jsonl")]


@pytest.mark.parametrize(
    "pattern",
    ["*", "a*.csv", "?.csv", "[ab].csv", "*/x.csv", "**/*.csv", "a.csv", "sub/*", "./*.csv", "sub/../a.csv", ""],
)
def test_what_matches_is_what_glob_finds(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name alone, in a folder, in folders below; relative and absolute."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "ab.csv", ".c.csv", "d.tmp", "sub/x.csv", "sub/.y.csv", "sub/deep/z.csv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for own in (pattern, f"{tmp_path}/{pattern}"):
        wanted = [path for path in glob.glob(own, recursive=True) if Path(path).is_file() and not path.endswith(".tmp")]
        assert files.paths((own,)) == sorted(wanted)


def test_file_that_vanishes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the reading: told, and no other file suffers."""
    write_json(tmp_path / "a.jsonl", ROWS)
    found = files.paths((f"{tmp_path}/*",))
    monkeypatch.setattr(files.Watch, "look", lambda *_: [str(tmp_path / "gone.jsonl"), *found])
    read = Reader(tmp_path)
    assert read() == ROWS
    assert "No such file" in read.errors["gone.jsonl"]


def test_files_that_lie_still_are_looked_at_in_turn(tmp_path: Path) -> None:
    """Within ten calls each but the latest; one that has changed is looked at in each call until it is read."""
    paths = [tmp_path / f"{number:02d}.parquet" for number in range(90)]
    for path in paths:
        write_parquet(path, ROWS)
        os.utime(path, (AN_HOUR_AGO - 60, AN_HOUR_AGO - 60))
    pattern, watch, seen = (f"{tmp_path}/*",), files.Watch(), dict[str, str]()
    seen |= {chunk.path: chunk.position for chunk in files.read_new(pattern, seen, watch=watch)}
    assert [*files.read_new(pattern, seen, watch=watch)] == []
    turns = [watch.look(pattern, seen) for _ in range(10)]
    assert sorted(path for turn in turns for path in turn[:-50]) == sorted(map(str, paths[:40]))
    assert all(turn[-50:] == list(map(str, paths[40:])) for turn in turns)
    assert max(map(len, turns)) < 90
    write_parquet(paths[7], ROWS * 2)
    found = [[*files.read_new(pattern, seen, watch=watch)] for _ in range(20)]
    first = next(number for number, chunks in enumerate(found) if chunks)
    assert first < 10
    assert all([(chunk.path, chunk.changed) for chunk in own] == [(str(paths[7]), True)] for own in found[first:])


def test_files_that_lie_still_are_read_again_where_they_are_not_known(tmp_path: Path) -> None:
    """As after a new baseline: what lies still does so for what was known of it alone. And a new file is never late."""
    for name in ("a", "b"):
        write_parquet(tmp_path / name, ROWS)
        os.utime(tmp_path / name, (AN_HOUR_AGO - 60, AN_HOUR_AGO - 60))
    pattern, watch = (f"{tmp_path}/*",), files.Watch()
    seen = {chunk.path: chunk.position for chunk in files.read_new(pattern, {}, watch=watch)}
    for _ in range(12):
        assert [*files.read_new(pattern, seen, watch=watch)] == []
        assert watch.any
    write_parquet(tmp_path / "c", ROWS)
    assert [chunk.path for chunk in files.read_new(pattern, seen, watch=watch)] == [str(tmp_path / "c")]
    assert len([*files.read_new(pattern, {}, watch=watch)]) == 3
    for name in ("a", "b", "c"):
        (tmp_path / name).unlink()
    assert [*files.read_new(pattern, seen, watch=watch)] == []
    assert not watch.any
