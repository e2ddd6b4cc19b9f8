"""When a model runs: at once, then on schedule; never twice at a time; nothing is lost and nothing is left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from exporter.config import parse
from exporter.runs import AGAIN
from exporter.scheduler import Scheduler, interval, timeout, trigger, unusable
from exporter.settings import Schedule

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


@pytest.fixture
def skipped() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def scheduler(skipped: list[tuple[str, str]]) -> Iterator[Scheduler]:
    made = Scheduler(lambda name, reason: skipped.append((name, reason)))
    made.start()
    yield made
    made.stop(5)


def every(seconds: float) -> Schedule:
    return Schedule.model_construct(every=seconds, cron=None, timeout=None)


def following(line: str, start: datetime, count: int) -> list[datetime]:
    """The next moments of a cron line."""
    own, moments, previous = trigger(Schedule(cron=line)), [], None
    for _ in range(count):
        previous = own.get_next_fire_time(previous, start if previous is None else previous + timedelta(seconds=1))
        moments.append(previous)
    return moments


def test_models_of_one_interval_are_spread_over_it() -> None:
    """A thousand models of one minute: no second has many of them, and a restart changes no moment."""
    moments = [
        trigger(Schedule(every="1m"), f"model-{number}").get_next_fire_time(None, MONDAY) for number in range(1000)
    ]
    again = trigger(Schedule(every="1m"), "model-7").get_next_fire_time(None, MONDAY + timedelta(hours=1))
    assert again == moments[7] + timedelta(hours=1)
    of_second = Counter(int((moment - MONDAY).total_seconds()) for moment in moments)
    assert max(of_second.values()) < 40
    assert all(MONDAY <= moment < MONDAY + timedelta(minutes=1) for moment in moments)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "Mon Tue Wed Thu Fri Sat Sun"),
        ("1", "Mon"),
        ("0", "Sun"),
        ("7", "Sun"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("5-7", "Fri Sat Sun"),
        ("*/2", "Tue Thu Sat Sun"),
        ("1-5/2", "Mon Wed Fri"),
        ("3/2", "Wed Fri"),
        ("0,6", "Sat Sun"),
        ("mon-fri", "Mon Tue Wed Thu Fri"),
        ("SUN,Wed", "Wed Sun"),
    ],
)
def test_weekdays_are_those_of_cron(field: str, days: str) -> None:
    """Cron's week starts on Sunday with 0; the library's own would start on Monday."""
    wanted = days.split()
    found = following(f"30 6 * * {field}", MONDAY, len(wanted))
    assert [moment.strftime("%a") for moment in found] == wanted
    assert all((moment.hour, moment.minute) == (6, 30) for moment in found)
    assert found[-1] - MONDAY < timedelta(days=7)


@pytest.mark.parametrize("field", ["8", "x", "5-1", "1-", "-1", "1/0", "1/x", "1//2", "mon-8", ""])
def test_weekdays_that_there_are_not(field: str) -> None:
    """A mistake is a ValueError with the field in it."""
    with pytest.raises(ValueError, match="is no day of the week") if field else pytest.raises(ValueError):
        trigger(Schedule.model_construct(every=None, cron=f"* * * * {field}"))


def test_other_cron_fields() -> None:
    """Minute, hour, day and month in their places, in UTC."""
    assert following("15 3 1 */6 *", MONDAY, 2) == [
        datetime(2026, 7, 1, 3, 15, tzinfo=UTC),
        datetime(2027, 1, 1, 3, 15, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ({"every": "90s"}, 90),
        ({"cron": "*/5 * * * *"}, 300),
        ({"cron": "0 * * * *"}, 3600),
        ({"cron": "0 6 * * *"}, 86400),
        ({"cron": "0 6 * * 1-5"}, 3 * 86400),
        ({"cron": "0 6 * * 0"}, 7 * 86400),
    ],
)
def test_interval_is_the_longest_pause(schedule: dict[str, str], seconds: float) -> None:
    """What alerts about a late task compare with: over the weekend, too."""
    assert interval(Schedule.model_validate(schedule)) == seconds


def test_unusable_lines_are_told_with_their_place() -> None:
    """Five fields that say nothing: found before anything runs, for every model."""
    text = "models:" + "".join(
        f"""
  - name: {name}
    task: binary
    columns: {{timestamp: t, prediction: p}}
    reference: {{files: r}}
    predictions: {{files: p}}
    schedule: {{cron: "{line}"}}"""
        for name, line in (("a", "61 * * * *"), ("b", "* * * * *"), ("c", "* * * * 9"), ("d", "0 0 30 2 *"))
    )
    wrong = unusable(parse(text, Path("c.yml")))
    assert [one.place for one in wrong] == [("models", number, "schedule", "cron") for number in (0, 2, 3)]
    assert "'0 0 30 2 *' never comes" in wrong[-1].message
    assert all(one.message.startswith("no cron line: ") for one in wrong)


def test_runs_at_once_and_again(scheduler: Scheduler) -> None:
    """The first time without waiting for the schedule."""
    hourly, often = [], []
    scheduler.set("hourly", every(3600), lambda: hourly.append(1))
    scheduler.set("often", every(0.05), lambda: often.append(1))
    until(lambda: len(often) >= 3 and hourly)
    assert len(hourly) == 1
    following_run = scheduler.next_run("hourly")
    assert following_run is not None
    assert 3590 < following_run - time.time() <= 3600
    assert scheduler.next_run("nothing") is None


def test_never_twice_at_a_time(scheduler: Scheduler, skipped: list[tuple[str, str]]) -> None:
    """A run that is due while the one before still runs is left out and counted."""
    go, most, now = threading.Event(), [0], [0]

    def work() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        go.wait(10)
        now[0] -= 1

    scheduler.set("slow", every(0.05), work)
    until(lambda: len(skipped) >= 2)
    go.set()
    assert set(skipped) == {("slow", "overlap")}
    assert most == [1]


def test_a_slow_model_holds_up_no_other(scheduler: Scheduler) -> None:
    """There is another thread for it."""
    go, done = threading.Event(), []
    scheduler.set("slow", every(3600), lambda: go.wait(10))
    scheduler.set("quick", every(0.05), lambda: done.append(1))
    until(lambda: len(done) >= 3)
    go.set()


def test_a_failed_run_is_not_the_last(scheduler: Scheduler) -> None:
    """An exception ends that run alone."""
    runs = []

    def work() -> None:
        runs.append(1)
        raise RuntimeError("as the test wants it")

    scheduler.set("broken", every(0.05), work)
    until(lambda: len(runs) >= 3)


def test_new_work_under_the_same_name(scheduler: Scheduler, skipped: list[tuple[str, str]]) -> None:
    """It runs at once, also while the old work has not ended; what the old one missed is not counted for it."""
    go, started, new = threading.Event(), threading.Event(), []

    def old() -> None:
        started.set()
        go.wait(10)

    scheduler.set("model", every(3600), old)
    assert started.wait(5)
    scheduler.set("model", every(3600), lambda: new.append(1))
    until(lambda: new)
    go.set()
    assert skipped == []


def test_removed_work_runs_no_more(scheduler: Scheduler) -> None:
    """And to remove what is not there is no mistake."""
    runs = []
    scheduler.set("model", every(0.02), lambda: runs.append(1))
    until(lambda: runs)
    scheduler.remove("model")
    scheduler.remove("model")
    time.sleep(0.1)
    count = len(runs)
    time.sleep(0.15)
    assert len(runs) == count
    assert scheduler.next_run("model") is None


def test_stop_waits_a_while() -> None:
    """What is running may end; what waits does not begin."""
    scheduler, ended = Scheduler(lambda *_: None, 1), []

    def work() -> None:
        time.sleep(0.3)
        ended.append(1)

    scheduler.start()
    scheduler.set("model", every(3600), work)
    until(lambda: scheduler.state.running)
    scheduler.set("next", every(3600), lambda: ended.append(2))
    assert scheduler.stop(5)
    assert ended == [1]
    assert scheduler.stop(5)


def test_stop_does_not_wait_for_ever() -> None:
    """A run that hangs is left."""
    scheduler, go, started = Scheduler(lambda *_: None), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go.wait(20)

    scheduler.start()
    scheduler.set("model", every(3600), work)
    assert started.wait(5)
    before = time.monotonic()
    assert not scheduler.stop(0.2)
    assert time.monotonic() - before < 2
    go.set()


def started(threads: int, left: list[str] | None = None, skips: list[tuple[str, str]] | None = None) -> Scheduler:
    made = Scheduler(lambda *pair: (skips if skips is not None else []).append(pair), threads, (left or []).append)
    made.start()
    return made


def test_who_has_waited_longest_is_next() -> None:
    """Not who asked first: a model whose moment has passed long ago goes before one that is due only now."""
    scheduler, go, order = started(1), threading.Event(), []
    try:
        scheduler.set("first", every(3600), lambda: go.wait(10))
        until(lambda: scheduler.state.running == 1)
        for name in "abc":
            scheduler.set(name, every(3600), partial(order.append, name))
            until(lambda name=name: scheduler.state.waiting == "abc".index(name) + 1)
        job = scheduler._scheduler.get_job(scheduler._ids["c"])
        assert job is not None
        scheduler._queue.forget(job.id)
        scheduler._queue.submit_job(job, [datetime.now(UTC) - timedelta(minutes=5)])
        assert scheduler.state[:4] == (1, 1, 3, 0)
        assert 300 <= scheduler.state.late < 301
        go.set()
        until(lambda: len(order) == 3)
        assert order == ["c", "a", "b"]
        until(lambda: scheduler.state == (1, 0, 0, 0, 0.0))
    finally:
        scheduler.stop(5)


def test_a_run_that_is_due_again_while_it_waits_is_one_run() -> None:
    """Runs never pile up, and what was left out is told, with why."""
    skips: list[tuple[str, str]] = []
    scheduler, go, done = started(1, skips=skips), threading.Event(), []
    try:
        scheduler.set("slow", every(3600), lambda: go.wait(10))
        until(lambda: scheduler.state.running == 1)
        scheduler.set("often", every(0.05), lambda: done.append(1))
        until(lambda: len(skips) >= 5)
        assert set(skips) == {("often", "waiting")}
        assert scheduler.state.waiting == 1
        assert not done
        go.set()
        until(lambda: done)
    finally:
        scheduler.stop(5)


def test_work_that_has_more_to_do_goes_behind_those_that_wait() -> None:
    """And runs until it has none."""
    scheduler, order = started(1), []
    go = threading.Event()

    def long() -> object:
        go.wait(10)
        order.append("long")
        return AGAIN if order.count("long") < 3 else None

    try:
        scheduler.set("long", every(3600), long)
        until(lambda: scheduler.state.running == 1)
        scheduler.set("short", every(3600), lambda: order.append("short"))
        until(lambda: scheduler.state.waiting == 1)
        go.set()
        until(lambda: len(order) == 4)
        assert order == ["long", "short", "long", "long"]
        time.sleep(0.05)
        assert len(order) == 4
    finally:
        scheduler.stop(5)


def test_a_run_that_does_not_end_costs_no_thread_of_the_others() -> None:
    """It is told once, another thread runs the others, and there is one thread less when it ends after all."""
    left: list[str] = []
    scheduler = Scheduler(lambda *_: None, 1, left.append)
    scheduler.start()
    go, done, running = threading.Event(), [], set()

    def other(name: str) -> None:
        running.add(name)
        time.sleep(0.02)
        assert running == {name}, "one at a time"
        running.remove(name)
        done.append(name)

    try:
        schedule = Schedule.model_construct(every=3600.0, cron=None, timeout=0.1)
        scheduler.set("stuck", schedule, lambda: go.wait(20))
        until(lambda: scheduler.state.running == 1)
        for name in "abcdef":
            scheduler.set(name, every(3600), partial(other, name))
        until(lambda: len(done) == 6)
        assert left == ["stuck"]
        assert (scheduler.state.running, scheduler.state.overdue) == (1, 1)
        go.set()
        until(lambda: scheduler.state.running == 0)
        assert scheduler.state.overdue == 0
        for name in "ghijkl":
            scheduler.set(name, every(3600), partial(other, name))
        until(lambda: len(done) == 12)
        assert sorted(done) == list("abcdefghijkl")
    finally:
        go.set()
        scheduler.stop(5)


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ({"every": "1s"}, 60),
        ({"every": "5m"}, 300),
        ({"cron": "0 6 * * *"}, 900),
        ({"every": "1d", "timeout": "2h"}, 7200),
        ({"every": "1m", "timeout": "5s"}, 5),
    ],
)
def test_a_run_reads_for_its_interval_within_bounds(schedule: dict[str, str], seconds: float) -> None:
    assert timeout(Schedule.model_validate(schedule)) == seconds
