"""What executors read of Parquet files: however these are cut, the sum is what one process counts of their rows."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.cluster import listing, reader, worker
from exporter.cluster.listing import File, Slots
from exporter.cluster.reader import Found, Part, Reading
from exporter.cluster.typed import conform, named
from exporter.profile.coding import decode
from exporter.profile.counts import add
from exporter.rows import SECOND
from exporter.settings import Model
from tests.integration.small import DAY, HOUR, KINDS, NOON, stamps
from tests.unit.test_cluster_worker import ROWS, as_sent, case

DAYS = [((NOON - DAY) * SECOND, NOON * SECOND)]


def kinds(table: pa.Table) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table.schema}


def of(path: Path) -> File:
    stat = path.stat()
    return File(f"file://{path}", stat.st_size, stat.st_mtime_ns // 1_000_000)


def whole(path: Path) -> Part:
    return Part(*of(path), 0, path.stat().st_size)


def found(reading: Reading, parts: list[Part], span: tuple[int, int] = DAYS[0]) -> Found:
    first, *rest = [reader.facts(reading, span, part) for part in parts]
    for one in rest:
        first = first.plus(one)
    return first


def counted(reading: Reading, baseline: object, parts: list[list[Part]], spans: list[tuple[int, int]]) -> dict:
    packed = worker.pack(reading.model, baseline)
    total: dict = {}
    for task in parts:
        for key, (counts, _) in reader.profile(packed, reading, spans, task):
            total.setdefault(key, []).append(decode(counts))
    return {key: [own.tolist() for own in add(*several)] for key, several in total.items()}


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=5)
@given(group=st.integers(20, ROWS), most=st.integers(500, 40_000), tasks=st.integers(1, 5), now=st.integers(0, DAY))
def test_files_however_cut_are_counted_as_their_rows(name: str, group: int, most: int, tasks: int, now: int) -> None:
    """To the last number, with labels as they were known at some time; and what is found adds up, too."""
    model, baseline, log = case(name)
    moment = (NOON - DAY + now) * SECOND
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.parquet" for number in range(3)]
        for number, path in enumerate(paths):
            pq.write_table(log.slice(number * 150, 150), path, row_group_size=group)
        reading = Reading(model, kinds(log), moment)
        parts = listing.cut(map(of, paths), Slots(most, 0, tasks))
        spans = [(DAYS[0][0], min(DAYS[0][1], moment))]
        mine = counted(reading, baseline, parts, spans)
        facts = [found(reading, [p for task in parts for p in task if p[:3] == of(path)], spans[0]) for path in paths]
        assert facts == [reader.facts(reading, spans[0], whole(path)) for path in paths]
    rows = log.filter(pc.less(log["timestamp"].cast(pa.int64()), moment))
    known = pc.less_equal(rows["label_timestamp"].cast(pa.int64()), moment)
    for column in ("label", "label_timestamp"):
        hidden = pc.if_else(known, rows[column], pa.scalar(None, rows.schema.field(column).type))
        rows = rows.set_column(rows.column_names.index(column), column, hidden)
    packed = worker.pack(model, baseline)
    theirs = {
        (row["version"], row["segment"], row["start"]): [own.tolist() for own in decode(row["counts"])]
        for batch in worker.profile(packed, as_sent(rows).to_batches())
        for row in batch.to_pylist()
    }
    assert mine == theirs
    cells = [cell for one in facts for cell in one.cells.values()]
    assert sum(cell.rows for cell in cells) == len(rows) == sum(cell.named for cell in cells)
    assert sum(cell.labels for cell in cells) == len(rows) - rows["label"].null_count
    assert max((cell.newest for cell in cells), default=0) == max(
        rows["timestamp"].cast(pa.int64()).to_pylist(), default=0
    )
    everything_known = not len(log) - sum(pc.and_(known, True).to_pylist())
    assert all(one.settled for one in facts) == everything_known


@cache
def plain() -> tuple[Model, object, pa.Table]:
    model, baseline, log = case("credit")
    return model, baseline, log


def test_types_are_those_of_spark(tmp_path: Path) -> None:
    """INT96, times without a zone, numbers that became wider, names in other cases, a column that came later."""
    model, baseline, log = plain()
    reading = Reading(model, kinds(log), NOON * SECOND)
    pq.write_table(log, tmp_path / "0.parquet")
    expected = counted(reading, baseline, [[whole(tmp_path / "0.parquet")]], DAYS)
    old = log
    for name in ("timestamp", "label_timestamp"):
        old = old.set_column(old.column_names.index(name), name, old[name].cast(pa.timestamp("us")))
    old = old.set_column(old.column_names.index("age"), "age", old["age"].cast(pa.int16()))
    old = old.rename_columns([name.upper() if name == "city" else name for name in old.column_names])
    pq.write_table(old, tmp_path / "1.parquet", use_deprecated_int96_timestamps=True)
    assert pq.ParquetFile(tmp_path / "1.parquet").schema.column(1).physical_type == "INT96"
    pq.write_table(old, tmp_path / "2.parquet")
    for name in ("1", "2"):
        assert counted(reading, baseline, [[whole(tmp_path / f"{name}.parquet")]], DAYS) == expected
    pq.write_table(log.drop_columns(["age"]), tmp_path / "3.parquet")
    nothing = log.set_column(log.column_names.index("age"), "age", pa.nulls(len(log), pa.int64()))
    pq.write_table(nothing, tmp_path / "4.parquet")
    without, of_nulls = (counted(reading, baseline, [[whole(tmp_path / f"{n}.parquet")]], DAYS) for n in (3, 4))
    assert without == of_nulls != expected


@pytest.mark.parametrize(
    ("have", "kind"),
    [
        (pa.array(["1", "2"]), pa.int64()),
        (pa.array([1, 2]), pa.string()),
        (pa.array([2**40]), pa.int32()),
        (stamps([0.0]), pa.timestamp("us")),
        (pa.array([True]), pa.float64()),
    ],
)
def test_what_is_another_type_is_refused(have: pa.Array, kind: pa.DataType) -> None:
    """As Spark refuses it: then Spark is asked, and says so."""
    with pytest.raises(pa.ArrowException):
        conform(pa.chunked_array([have]), kind)


def test_a_name_that_fits_twice_fits_not_at_all() -> None:
    """As for Spark; the exact one comes first."""
    assert named("a", ["A", "b"]) == "A"
    assert named("a", ["A", "a"]) == "a"
    assert named("aB", ["AB", "ab"]) is None


def test_what_statistics_rule_out_is_not_read(tmp_path: Path) -> None:
    """Row groups of other times may be broken: nobody looks at them."""
    model, baseline, log = plain()
    path = tmp_path / "0.parquet"
    early = log.slice(0, 200).set_column(1, "timestamp", stamps(np.arange(200) / 100 + NOON - 10 * DAY))
    pq.write_table(pa.concat_tables([early, log.slice(200)]), path, row_group_size=200)
    second = pq.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    reading = Reading(model, kinds(log), NOON * SECOND)
    before = found(reading, [whole(path)])
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (second - 100))
    assert sum(cell.rows for cell in before.cells.values()) == 200
    assert found(reading, [whole(path)]) == before
    assert counted(reading, baseline, [[whole(path)]], DAYS)
    with pytest.raises(OSError, match=r"0\.parquet: "):
        found(reading, [whole(path)], (0, NOON * SECOND))


def test_rows_without_a_time_are_found_wherever_they_are(tmp_path: Path) -> None:
    """In row groups of other times, too."""
    model, _, log = plain()
    times = [None if number in {0, 7, 57, 399} else number for number in range(ROWS)]
    moved = pa.array([None if t is None else (NOON - 30 * DAY) * SECOND + t for t in times], pa.timestamp("us", "UTC"))
    pq.write_table(log.set_column(1, "timestamp", moved), tmp_path / "0.parquet", row_group_size=100)
    own = found(Reading(model, kinds(log), NOON * SECOND), [whole(tmp_path / "0.parquet")])
    assert (own.timeless, own.cells) == (times.count(None), {})


def test_a_file_written_anew_has_another_mark(tmp_path: Path) -> None:
    """Of the same size, and at the same time."""
    model, _, log = plain()
    path = tmp_path / "0.parquet"
    pq.write_table(log, path, compression="none", use_dictionary=False)
    reading, before = Reading(model, kinds(log), NOON * SECOND), of(path)
    first = found(reading, [whole(path)])
    amount = pc.if_else(pc.equal(log["amount"], pc.max(log["amount"])), 500.0, log["amount"])
    other = log.set_column(log.column_names.index("amount"), "amount", amount)
    pq.write_table(other, path, compression="none", use_dictionary=False)
    os.utime(path, ns=(0, before.changed * 1_000_000))
    second = found(reading, [whole(path)])
    assert of(path) == before
    assert second.cells == first.cells
    assert second.mark != first.mark


@settings(max_examples=30)
@given(st.lists(st.integers(1, 10_000), max_size=30), st.integers(1, 5_000), st.integers(0, 500), st.integers(1, 20))
def test_parts_are_the_files(sizes: list[int], most: int, opening: int, slots: int) -> None:
    """Each byte once, no task with more than Spark gives one."""
    own = [File(f"file:///{number}", size, 0) for number, size in enumerate(sizes)]
    tasks = listing.cut(own, Slots(most, opening, slots))
    assert all(tasks)
    assert all(sum(part.end - part.start for part in task) <= max(most, opening) for task in tasks)
    for file in own:
        parts = sorted((part.start, part.end) for task in tasks for part in task if part[:3] == file)
        assert parts[0][0] == 0
        assert parts[-1][1] == file.size
        assert all(one[1] == other[0] for one, other in pairwise(parts))


@pytest.mark.parametrize("ids", ["text", "numbers", "no UTF-8"])
def test_copies_have_equal_hashes_in_one_share(tmp_path: Path, ids: str) -> None:
    """The same id in the same bucket, in whichever file; in another bucket it is no copy."""
    model, _, log = plain()
    if ids == "numbers":
        log = log.set_column(0, "id", pa.array(range(len(log))))
    if ids == "no UTF-8":
        values = pa.array([b"\xff%d" % number for number in range(len(log))])
        log = log.set_column(0, "id", pa.StringArray.from_buffers(len(log), *values.buffers()[1:]))
    pq.write_table(log, tmp_path / "0.parquet", row_group_size=50)
    copy = log.slice(17, 1)
    later = copy.set_column(1, "timestamp", pc.add(copy["timestamp"], pa.scalar(HOUR * SECOND, pa.duration("us"))))
    none = log.slice(20, 2).set_column(0, "id", pa.nulls(2, log.schema.field("id").type))
    pq.write_table(pa.concat_tables([later, none]), tmp_path / "1.parquet")
    pq.write_table(copy, tmp_path / "2.parquet")
    reading = Reading(model, kinds(log), NOON * SECOND)

    def most(*names: str) -> int:
        shares: dict[int, Counter[int]] = {}
        for part in (whole(tmp_path / f"{name}.parquet") for name in names):
            for share, own in reader.hashes(reading, DAYS, 3, [part]):
                shares.setdefault(share, Counter()).update(np.frombuffer(own, np.uint64).tolist())
        assert len(shares) == 3
        assert sum(own.total() for own in shares.values()) == len(log) + len(names) - 1
        assert not set(shares[0]) & set(shares[1]) | set(shares[1]) & set(shares[2])
        return max(max(own.values()) for own in shares.values())

    assert most("0", "1") == 1
    assert most("0", "1", "2") == 2


def test_files_are_read_as_hadoop_writes_of_them() -> None:
    """Of this machine, with blanks and worse in their names, and of others."""
    lines = [
        "LocatedFileStatus{path=file:/log/day=1 2/a;b%20.parquet; isDirectory=false; length=12; replication=1; "
        "blocksize=33554432; modification_time=1795442665551; access_time=1795442665000; owner=; group=; "
        "permission=rw-rw-rw-; isSymlink=false; hasAcl=false; isEncrypted=false; isErasureCoded=false}",
        "S3AFileStatus{path=s3a://lake/x/0.parquet; isDirectory=false; length=7; replication=1; blocksize=33554432; "
        "modification_time=1795442665000; access_time=0; owner=me; group=me; permission=rw-rw-rw-; isSymlink=false; "
        "hasAcl=false; isEncrypted=true; isErasureCoded=false} isEmptyDirectory=FALSE eTag=abc versionId=null",
        "something that is said otherwise",
    ]
    assert listing.parsed("\n".join(lines)) == [
        File("file:///log/day=1 2/a;b%20.parquet", 12, 1795442665551),
        File("s3a://lake/x/0.parquet", 7, 1795442665000),
    ]


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    """It is not there, it is another one, it is none."""
    path = tmp_path / "0.parquet"
    pq.write_table(plain()[2], path)
    assert reader.look(whole(path)) is None
    assert "is another file here" in str(reader.look(whole(path)._replace(size=5)))
    path.write_bytes(b"PAR1 this is none PAR1")
    assert str(reader.look(whole(path))).startswith(f"file://{path}: ")
    gone = whole(path)
    path.unlink()
    assert "No such file" in str(reader.look(gone))
