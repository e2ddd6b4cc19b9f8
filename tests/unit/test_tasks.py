"""What is known of tasks and sources: plain counts, and their readings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue.family import TASKS
from exporter.readings import Reading, Readings
from exporter.tasks import DURATIONS, REASONS, SKIPS, SourceRecord, Task, readings


def values(found: Readings, name: str) -> dict[tuple[str, ...], float]:
    """Samples of one family by their labels."""
    return {(*one.labels, *([one.suffix] if one.suffix else [])): one.value for one in found.get(name, [])}


def fresh() -> Readings:
    return readings("m", 60.0, {name: Task() for name in TASKS}, {"predictions": SourceRecord()})


def test_counters_are_there_before_anything_happened() -> None:
    """Every task and every reason from the start, at 0: an increase can be seen."""
    found = fresh()
    assert values(found, "model_task_runs_total") == {("m", task): 0 for task in TASKS}
    assert values(found, "model_task_failures_total") == {("m", task, why): 0 for task in TASKS for why in REASONS}
    assert values(found, "model_task_skipped_total") == {("m", task, why): 0 for task in TASKS for why in SKIPS}
    assert values(found, "model_task_interval_seconds") == {("m", task): 60 for task in TASKS}
    assert values(found, "model_task_running") == {("m", task): 0 for task in TASKS}


def test_what_never_was_is_not_shown() -> None:
    """No time, no duration and no verdict of a run that did not happen: never 0, never good."""
    found = fresh()
    for name in ("last_run_timestamp_seconds", "last_success_timestamp_seconds", "last_run_success"):
        assert f"model_task_{name}" not in found
    assert "model_task_last_duration_seconds" not in found


def test_a_good_run() -> None:
    """Counted, timed, and a success."""
    task = Task(running=True)
    task.ended(now=100.0, seconds=0.25, success=True)
    found = readings("m", 60.0, {"drift": task}, {})
    shown = {
        name: next(iter(values(found, f"model_task_{name}").values()))
        for name in (
            "last_run_timestamp_seconds",
            "last_success_timestamp_seconds",
            "last_run_success",
            "running",
            "last_duration_seconds",
            "runs_total",
        )
    }
    assert list(shown.values()) == [100, 100, 1, 0, 0.25, 1]


def test_a_failed_run_keeps_the_time_of_the_last_success() -> None:
    """By its age one sees how long it has been failing."""
    task = Task()
    task.ended(now=100.0, seconds=0.1, success=True)
    task.failures["data"] += 2
    task.ended(now=160.0, seconds=0.1, success=False)
    found = readings("m", 60.0, {"drift": task}, {})
    assert values(found, "model_task_last_run_timestamp_seconds") == {("m", "drift"): 160}
    assert values(found, "model_task_last_success_timestamp_seconds") == {("m", "drift"): 100}
    assert values(found, "model_task_last_run_success") == {("m", "drift"): 0}
    assert values(found, "model_task_failures_total")["m", "drift", "data"] == 2
    assert values(found, "model_task_runs_total") == {("m", "drift"): 2}


@given(st.lists(st.floats(0, 4000), max_size=30))
def test_histogram_is_cumulative(seconds: list[float]) -> None:
    """Each bucket counts the runs that took at most its bound; the last counts all."""
    task = Task()
    for one in seconds:
        task.ended(0.0, one, True)
    found = values(readings("m", 60.0, {"drift": task}, {}), "model_task_duration_seconds")
    for bound in (*DURATIONS, math.inf):
        le = "+Inf" if bound == math.inf else repr(bound)
        assert found["m", "drift", le, "_bucket"] == sum(one <= bound for one in seconds)
    assert found["m", "drift", "_count"] == len(seconds)
    assert found["m", "drift", "_sum"] == pytest.approx(sum(seconds))


def test_sources() -> None:
    """Up until something could not be read."""
    sources = {"predictions": SourceRecord(), "labels": SourceRecord(up=False, rows=7, seconds=0.5)}
    found = readings("m", 60.0, {}, sources)
    assert values(found, "model_source_up") == {("m", "predictions"): 1, ("m", "labels"): 0}
    assert values(found, "model_source_rows_total") == {("m", "predictions"): 0, ("m", "labels"): 7}
    assert values(found, "model_source_read_seconds") == {("m", "predictions"): 0, ("m", "labels"): 0.5}


def test_readings_know_their_labels() -> None:
    """A reading with too many or too few is a mistake of the program, found at once."""
    out = Readings()
    with pytest.raises(ValueError, match="model_task_running has the labels"):
        out.put("model_task_running", "m", value=1)
    with pytest.raises(KeyError):
        out.put("model_no_such_thing", value=1)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_has_no_value_is_left_out(value: float | None) -> None:
    """No NaN on the page: an alert would never fire on it."""
    out = Readings()
    out.put("model_exporter_leader", "0", value=value)
    assert out == {}
    assert out.series() == 0


def test_readings_add_up() -> None:
    """Of two tasks, family by family."""
    one, two = Readings(), Readings()
    one.put("model_exporter_leader", "0", value=True)
    two.put("model_exporter_leader", "0", value=0)
    two.put("model_exporter_store_bytes", value=5)
    one.extend(two)
    assert one == {
        "model_exporter_leader": [Reading(("0",), 1.0), Reading(("0",), 0.0)],
        "model_exporter_store_bytes": [Reading((), 5.0)],
    }
    assert one.series() == 3
