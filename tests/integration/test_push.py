"""Rows that are sent: counted as rows of files are, once, and in the store before it is said that they are taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.collector import Board
from exporter.config import load
from exporter.inbox import Inbox, Refused
from exporter.monitor import Monitor
from exporter.settings import Model
from exporter.sources.push import FORMATS, Unreadable, parse
from exporter.store import Store
from tests.integration.serving import Answer, Serving, only, select, until
from tests.integration.small import (
    DAY,
    NOON,
    labels,
    model,
    predictions,
    rows,
    write_all,
    write_config,
    write_reference,
)
from tests.postgres import Server

ARROW, LINES, JSON = "application/vnd.apache.arrow.stream", "application/x-ndjson", "application/json"
PUSH = {"predictions": {"push": {}}, "labels": {"push": {}}}


def body(table: pa.Table, kind: str) -> bytes:
    """Write rows as a client would."""
    if kind == ARROW:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())
    plain = [{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()} for row in table.to_pylist()]
    return (json.dumps(plain) if kind == JSON else "\n".join(map(json.dumps, plain))).encode()


@pytest.fixture(params=["credit", "animals", "prices"])
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    own = Store(new_url())
    yield own
    own.close()


def settings(folder: Path, name: str, **more: Any) -> Model:
    return load(write_config(folder, model(name, **more))).config.models[0]


def monitored(own: Model, store: Store) -> Monitor:
    return Monitor(own, store, Board(), 90.0 * DAY, 60.0)


def readings(monitor: Monitor) -> dict[str, Any]:
    process = ("model_task_", "model_source_")
    return {family: found for family, found in monitor.results().items() if not family.startswith(process)}


@pytest.mark.parametrize("kind", [ARROW, LINES, JSON])
def test_what_is_sent_counts_as_what_is_in_files(tmp_path: Path, store: Store, name: str, kind: str) -> None:
    """In each format, in parts, some of them twice: the same readings to the last one."""
    log = write_all(tmp_path, name, NOON)
    from_files = monitored(settings(tmp_path, name), Store("sqlite:///:memory:"))
    assert from_files.run(NOON)
    own = settings(tmp_path, name, **PUSH)
    sent = monitored(own, store)
    assert sent.run(NOON)  # the baseline alone
    inbox = Inbox(store)
    parts = [log.slice(0, 500), log.slice(400), log.slice(0, 960)]
    for number, part in enumerate(parts):
        assert inbox.take(own, "labels", *parse(body(labels(part), kind), kind)).accepted == len(part)
        taken = inbox.take(own, "predictions", *parse(body(predictions(part), kind), kind))
        if number == 1:
            assert sent.run(NOON)
            with store.transaction() as tx:
                assert tx.waiting_rows(name, "predictions") == tx.waiting_rows(name, "labels") == 0
    assert (taken.accepted, taken.rejected, taken.waiting) == (0, {"duplicate": 960}, 0)
    assert sent.run(NOON)
    found, expected = readings(sent), readings(from_files)
    rejected = {one.labels[-1]: one.value for one in found.pop("model_rows_rejected_total") if one.value}
    expected.pop("model_rows_rejected_total")
    assert rejected == {"duplicate": 100}
    assert found == expected


def test_a_new_baseline_counts_what_was_sent_again(tmp_path: Path, store: Store) -> None:
    """It cannot be sent again; so it is kept for as long as counts are."""
    log = write_all(tmp_path, "credit", NOON)
    own = settings(tmp_path, "credit", **PUSH)
    monitor, inbox = monitored(own, store), Inbox(store)
    assert monitor.run(NOON)
    assert inbox.take(own, "predictions", predictions(log), 0).accepted == 960
    assert monitor.run(NOON)
    pq.write_table(rows("credit", NOON - 40 * DAY, NOON - 3 * DAY, 1400, seed=9), tmp_path / "credit/reference.parquet")
    assert monitor.run(NOON)
    (counted,) = monitor.results()["model_predictions_total"]
    assert counted.value == 960
    late = Monitor(own, store, Board(), 90.0 * DAY, 60.0)
    assert late.run(NOON + 95 * DAY)
    with store.transaction() as tx:
        assert tx.next_batch("credit", "predictions", 0) is None
        tx.forget("credit")
        assert tx.next_batch("credit", "predictions", 0) is None  # it is gone


def test_a_row_that_is_sent_again_brings_its_label(tmp_path: Path, store: Store) -> None:
    """As one of a file does, also where no other row of what is sent is new."""
    log = write_all(tmp_path, "credit", NOON)
    own = settings(tmp_path, "credit", predictions={"push": {}}, labels=None)
    monitor, inbox = monitored(own, store), Inbox(store)
    assert monitor.run(NOON)
    assert inbox.take(own, "predictions", predictions(log), 0).accepted == 960
    assert monitor.run(NOON)
    known = readings(monitor)["model_labels_total"]
    taken = inbox.take(own, "predictions", log.slice(0, 10), 0)
    assert (taken.accepted, taken.rejected) == (0, {"duplicate": 10})
    assert monitor.run(NOON)
    assert [one.value for one in readings(monitor)["model_labels_total"]] == [10 + sum(one.value for one in known)]


def test_rows_that_are_left_out_are_told(tmp_path: Path, store: Store) -> None:
    """With the reason; the others are taken."""
    log = predictions(write_all(tmp_path, "credit", NOON)).to_pylist()[:6]
    own = settings(tmp_path, "credit", **PUSH)
    monitor, inbox = monitored(own, store), Inbox(store)
    with pytest.raises(Refused, match="no baseline yet") as refused:
        inbox.take(own, "predictions", pa.Table.from_pylist(log), 0)
    assert refused.value.code == 503
    assert monitor.run(NOON)
    plain = [row | {"timestamp": row["timestamp"].isoformat()} for row in log]
    plain[1]["timestamp"] = "yesterday"
    plain[2]["id"] = None
    plain[3]["id"] = plain[4]["id"]
    text = "\n".join([*map(json.dumps, plain), "{", "[1]"]).encode()
    taken = inbox.take(own, "predictions", *parse(text, LINES))
    assert taken == (3, {"timestamp": 1, "id": 1, "duplicate": 1, "line": 2}, 6)
    assert monitor.run(NOON)
    counts = {one.labels[-1]: one.value for one in monitor.results()["model_rows_rejected_total"] if one.value}
    assert counts == taken.rejected
    assert [one.value for one in monitor.results()["model_predictions_total"]] == [3]
    wrong = inbox.take(own, "labels", pa.table({"id": ["a", None, "b"], "label": [1, 0, 7]}), 0)
    assert wrong.accepted == 1
    assert sum(wrong.rejected.values()) == 2
    with pytest.raises(Refused, match="column 'label' is missing") as refused:
        inbox.take(own, "labels", pa.table({"id": ["a"]}), 0)
    assert refused.value.code == 400


def test_a_batch_that_cannot_be_counted_leaves_the_others(tmp_path: Path, store: Store) -> None:
    """It is named, and tried again."""
    log = predictions(write_all(tmp_path, "credit", NOON))
    own = settings(tmp_path, "credit", **PUSH)
    monitor, inbox = monitored(own, store), Inbox(store)
    assert monitor.run(NOON)
    with store.transaction() as tx:
        tx.put_batch("credit", "predictions", 5, NOON, b"no Arrow stream")
    assert inbox.take(own, "predictions", log, 0).accepted == 960
    assert not monitor.run(NOON)
    assert [one.value for one in monitor.results()["model_predictions_total"]] == [960]
    ((path, error),) = monitor.sources["predictions"].errors.items()
    assert path.startswith("push ")
    assert "cannot be read" in error


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (b"{", JSON, "the body is no application/json: "),
        (b"\xff\xfe", JSON, "the body is no application/json: "),
        (b"[" * 100_000, JSON, "the body is no application/json: "),
        (b"no", LINES, "the body is no application/x-ndjson: "),
        (b"no", ARROW, "the body is no application/vnd.apache.arrow.stream: "),
        (b"", ARROW, "the body is no application/vnd.apache.arrow.stream: "),
        (b"[]", "text/plain", "the content type text/plain is not known: send application/json, "),
        (b"[]", "", "the content type of the request is not known"),
        (body(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), ARROW), ARROW, "stands in it twice"),
    ],
)
def test_what_cannot_be_read_is_said(text: bytes, kind: str, expected: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text, kind)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_object_is_one_row() -> None:
    table, unread = parse(b'{"a": 1, "b": "x"}', JSON)
    assert (table.to_pylist(), unread) == ([{"a": 1, "b": "x"}], 0)
    assert parse(b'[{"a": 1}, 2, {"a": "x"}]', JSON)[1] == 1
    assert set(FORMATS) >= {ARROW, LINES, JSON}


def send(serving: Serving, path: str, table: pa.Table, kind: str = ARROW) -> Answer:
    return serving.get(f"/api/v1/models/{path}", "POST", body(table, kind), Content_Type=kind)


def test_over_http(tmp_path: Path, free_port: int) -> None:
    """Taken, refused, and too much of it; what was taken is there after a kill."""
    now = time.time()
    write_reference(tmp_path, "credit", now - 3 * DAY)
    write_all(tmp_path, "prices", now)
    push = {"predictions": {"push": {"most_rows": 1000}}, "labels": {"push": {}}, "schedule": {"every": "1h"}}
    config = write_config(tmp_path, model("credit", **push), model("prices"))
    log = rows("credit", now - DAY, now, 900, seed=4)
    with Serving(config, free_port) as serving:
        serving.ready()
        answer = send(serving, "credit/predictions", predictions(log.slice(0, 600)))
        assert answer.code == 202, answer.text
        assert answer.json == {"status": "success", "data": {"accepted": 600, "rejected": {}, "waiting": 600}}
        answer = send(serving, "credit/predictions", predictions(log.slice(600)), JSON)
        assert answer.json["data"] == {"accepted": 300, "rejected": {}, "waiting": 900}
        assert send(serving, "credit/labels", labels(log), LINES).json["data"]["accepted"] == 900
        answer = send(serving, "credit/predictions", predictions(rows("credit", now - DAY, now, 101, seed=5)))
        assert (answer.code, answer.json["errorType"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "10"
        for path, code in (("nobody/predictions", 404), ("prices/predictions", 409), ("credit/reference", 404)):
            assert send(serving, path, predictions(log)).code == code
        answer = serving.get("/api/v1/models/credit/predictions", "POST", b"x", Content_Type=JSON)
        assert (answer.code, answer.json["errorType"]) == (400, "bad_data")
        answer = serving.get("/api/v1/models/credit/predictions", "POST", b"x" * (65 << 20), Content_Type=JSON)
        assert (answer.code, answer.json["errorType"]) == (413, "request_entity_too_large")
        assert serving.get("/api/v1/models/credit/predictions").code == 405
        serving.process.kill()
    with Serving(config, free_port) as serving:
        serving.ready()
        page = serving.metrics()
        assert only(page, "model_predictions_total", model="credit") == 900
        assert sum(select(page, "model_rows_rejected_total", model="credit")) == 0
        assert only(page, "model_labels_total", model="credit") > 500


def test_the_one_that_stands_by_takes_rows_too(
    tmp_path: Path, postgresql: Server, free_ports: Callable[[], int]
) -> None:
    """The other one counts them, once, wherever and how often they were sent."""
    now = time.time()
    write_reference(tmp_path, "credit", now - 3 * DAY)
    own = model("credit", **PUSH, schedule={"every": "1s"})
    config = write_config(tmp_path, own, store={"url": postgresql.fresh(), "lease": "3s"})
    log = predictions(rows("credit", now - DAY, now, 900, seed=4))
    with ExitStack() as stack:
        both = [stack.enter_context(Serving(config, free_ports())) for _ in range(2)]
        for one in both:
            one.ready()
        leader, other = sorted(both, key=lambda one: only(one.metrics(), "model_exporter_leader"), reverse=True)
        until(lambda: send(other, "credit/predictions", log.slice(0, 10)).code == 202)
        assert send(other, "credit/predictions", log.slice(0, 500)).code == 202
        assert send(leader, "credit/predictions", log.slice(300)).code == 202
        until(lambda: sum(select(leader.metrics(), "model_predictions_total")) == 900)
        leader.process.kill()
        assert send(other, "credit/predictions", log).json["data"]["rejected"] == {"duplicate": 900}
        more = predictions(rows("credit", now - DAY, now, 50, seed=6))
        assert send(other, "credit/predictions", more).json["data"]["accepted"] == 50
        until(lambda: sum(select(other.metrics(), "model_predictions_total")) == 950)
