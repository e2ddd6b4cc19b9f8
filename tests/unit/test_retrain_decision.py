"""Alerts, runs before, labels and the clock -> a decision; the laws that keep a model from being trained too often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.retrain.decision import (
    IN_FLIGHT,
    OUTCOMES,
    POSITIVE,
    SPENT,
    STALE,
    UNANSWERED,
    Past,
    Situation,
    Spell,
    decide,
    occurrences,
    was_clear,
)
from exporter.retrain.settings import Retrain

HOUR, DAY = 3600.0, 86400.0
NOW = 1_800_000_000.0
STATES = ("calling", "running", "awaiting_approval", "succeeded", "failed", "lost", "rejected", "expired", "dry_run")


def settings(mode: str = "automatic", **more: Any) -> Retrain:
    when = {"alerts": ["ModelPerformanceLow"], "occurrences": 3, "within": "24h"} | more.pop("when", {})
    action = {"http": {"url": "http://ci.example/hook"}}
    return Retrain.model_validate({"mode": mode, "when": when, "action": action, **more})


def outcome(
    own: Retrain, spells: Sequence[Spell], runs: Sequence[Past] = (), labels: int | None = None, now: float = NOW
) -> str:
    assert own.when is not None
    return decide(own, own.when, Situation(spells, runs, labels, now)).outcome


def spell(name: str, ago: float, lasted: float | None = 600.0, seen: float | None = None) -> Spell:
    """An alert that began to fire so many seconds ago; lasted None: it fires still."""
    start = NOW - ago
    if lasted is None:
        return Spell(name, start, start if seen is None else NOW - seen)
    return Spell(name, start, start + lasted, start + lasted)


THREE = [spell("a", 3 * HOUR), spell("b", 2 * HOUR), spell("a", HOUR)]
each_mode = pytest.mark.parametrize(("mode", "positive"), POSITIVE.items())


@each_mode
def test_k_alerts_within_the_time_are_enough(mode: str, positive: str) -> None:
    """And one fewer is not; in each mode alike."""
    assert outcome(settings(mode), THREE) == positive
    assert outcome(settings(mode), THREE[1:]) == "too_few_alerts"


def test_what_ended_before_the_window_does_not_count() -> None:
    """To the second: what fired within is in, when it ended just at its beginning it is out."""
    edge = spell("c", DAY + 600)
    assert edge.end == NOW - DAY
    assert outcome(settings(), [*THREE[1:], edge]) == "too_few_alerts"
    later = edge._replace(end=NOW - DAY + 1)
    assert outcome(settings(), [*THREE[1:], later]) == "triggered"


def test_an_alert_that_fires_on_counts_while_it_is_heard_of() -> None:
    """However long ago it began; not when nobody has spoken of it for longer than the window."""
    long = [spell(name, 9 * DAY, None, seen=HOUR) for name in "abc"]
    assert outcome(settings(), long) == "triggered"
    silent = [spell(name, 9 * DAY, None, seen=DAY + 1) for name in "abc"]
    assert outcome(settings(), silent) == "too_few_alerts"


def test_one_alert_of_two_servers_is_one_occurrence() -> None:
    """They begin half a minute apart; what was resolved and fires again is another."""
    twice = [Spell("a", NOW - 100, NOW - 10), Spell("a", NOW - 70, NOW - 5)]
    assert occurrences(twice) == [Spell("a", NOW - 100, NOW - 5)]
    again = [Spell("a", NOW - 1000, NOW - 900, NOW - 900), Spell("a", NOW - 70, NOW - 5)]
    assert len(occurrences(again)) == 2
    assert len(occurrences([Spell("a", NOW - 70, NOW), Spell("b", NOW - 70, NOW)])) == 2


def test_the_alerts_of_a_run_lead_to_no_second_one() -> None:
    """However long they go on to fire; new ones do once all were resolved meanwhile, and then as many as before."""
    own = settings(cooldown="1h")
    ran = [Past(NOW - 20 * HOUR, "succeeded")]
    before = [spell(name, 21 * HOUR, None, seen=60) for name in "abc"]
    assert outcome(own, before, ran) == "too_few_alerts"
    new = [spell(name, HOUR, None, seen=60) for name in "def"]
    assert outcome(own, [*before, *new], ran) == "not_cleared"
    resolved = [one._replace(end=NOW - 2 * HOUR) for one in before]
    assert outcome(own, [*resolved, *new], ran) == "triggered"
    assert outcome(own, [*resolved, *new[:2]], ran) == "too_few_alerts"


def test_clear_says_how_many_may_go_on() -> None:
    """One that always fires need not stand in the way."""
    ran = [Past(NOW - 20 * HOUR, "succeeded")]
    stubborn, new = spell("a", 21 * HOUR, None, seen=60), [spell(name, HOUR, None, seen=60) for name in "def"]
    own = settings(cooldown="1h", when={"clear": 1})
    assert outcome(settings(cooldown="1h"), [stubborn, *new], ran) == "not_cleared"
    assert outcome(own, [stubborn, *new], ran) == "triggered"


def test_an_alert_whose_end_nobody_told_is_over_at_last() -> None:
    """After that it stands in no way; before, it may fire still."""
    ran, new = [Past(NOW - 20 * DAY, "succeeded")], [spell(name, HOUR, None, seen=60) for name in "def"]
    lost = Spell("a", NOW - 21 * DAY, NOW - 19 * DAY)
    assert outcome(settings(), [lost, *new], ran) == "triggered"
    assert outcome(settings(), [lost._replace(seen=NOW - STALE + 60), *new], ran) == "not_cleared"


@pytest.mark.parametrize("state", sorted(UNANSWERED))
def test_alerts_that_no_run_answered_count_again(state: str) -> None:
    """After the cooldown: the run failed, was lost, or nobody approved it."""
    firing = [spell(name, 30 * HOUR, None, seen=60) for name in "abc"]
    assert outcome(settings(), firing, [Past(NOW - 23 * HOUR, state)]) == "cooldown"
    assert outcome(settings(), firing, [Past(NOW - 24 * HOUR, state)]) == "triggered"
    assert outcome(settings(), firing, [Past(NOW - 24 * HOUR, "rejected")]) == "too_few_alerts"


def test_budget() -> None:
    """Runs that were called are spent, also those that failed; a rejected one is not, nor one of long ago."""
    own = settings(budget="2 per 30d")
    old = [Past(NOW - 3 * DAY, "failed"), Past(NOW - 20 * DAY, "succeeded")]
    assert outcome(own, THREE, old) == "budget"
    assert outcome(own, THREE, [Past(NOW - 3 * DAY, "rejected"), *old[1:]]) == "triggered"
    assert outcome(own, THREE, [old[0], Past(NOW - 30 * DAY, "succeeded")]) == "triggered"


def test_labels() -> None:
    """Unknown is not enough."""
    own = settings(when={"min_labels": 500})
    assert [outcome(own, THREE, labels=count) for count in (None, 0, 499, 500)] == [
        *["too_few_labels"] * 3,
        "triggered",
    ]
    assert outcome(settings(), THREE, labels=None) == "triggered"


def test_trial_runs_count_among_themselves_alone() -> None:
    """So that a trial is what would have been, and leaves nothing behind."""
    trial = [Past(NOW - 2 * HOUR, "dry_run")]
    new = [spell(name, HOUR, None, seen=60) for name in "abc"]
    assert outcome(settings("dry_run"), new, trial) == "cooldown"
    assert outcome(settings("automatic"), new, trial) == "triggered"


def test_every_reason_is_given() -> None:
    """With its numbers, whether it holds or not."""
    own = settings(when={"min_labels": 10})
    assert own.when is not None
    runs = [Past(NOW - HOUR, "running"), Past(NOW - 2 * DAY, "failed")]
    found = decide(own, own.when, Situation(THREE, runs, 3, NOW))
    assert tuple(check.name for check in found.checks) == OUTCOMES[3:9]
    told = {check.name: (check.holds, check.text) for check in found.checks}
    assert found.outcome == "too_few_alerts"
    assert told["too_few_alerts"] == (False, "0 of 3 occurrences of ModelPerformanceLow within 1d")
    assert told["in_flight"] == (False, "a run is in flight")
    assert told["cooldown"] == (False, "the last run was decided on 1h ago, the cooldown is 1d")
    assert told["budget"] == (True, "2 of 4 runs of the last 30d are spent")
    assert told["too_few_labels"] == (False, "3 mature labels, 10 are needed")


times = st.floats(NOW - 40 * DAY, NOW + DAY)
recent = st.floats(NOW - 2 * DAY, NOW)  # most of the time, so that there are runs to be decided on


@st.composite
def spells(draw: st.DrawFn) -> Spell:
    start = draw(st.one_of(times, recent, recent))
    seen = start + draw(st.floats(0, 3 * DAY))
    return Spell(draw(st.sampled_from("abcd")), start, seen, draw(st.sampled_from([None, seen])))


pasts = st.builds(Past, times, st.sampled_from((*STATES, "succeeded", "failed", "failed", "lost")))
situations = st.builds(
    Situation,
    st.lists(spells(), max_size=12),
    st.lists(pasts, max_size=3),
    st.one_of(st.none(), st.integers(0, 20), st.integers(10, 20)),
    st.just(NOW),
)
sections = st.builds(
    lambda mode, k, within, clear, labels, cooldown, budget: settings(
        mode,
        when={"occurrences": k, "within": f"{within}h", "clear": clear, "min_labels": labels},
        cooldown=f"{cooldown}h",
        budget=f"{budget} per 30d",
    ),
    st.sampled_from(list(POSITIVE)),
    st.integers(1, 3),
    st.integers(1, 100),
    st.integers(0, 2),
    st.integers(0, 10),
    st.integers(0, 48),
    st.integers(1, 3),
)


@given(sections, situations)
def test_a_run_is_decided_on_only_where_nothing_speaks_against_it(own: Retrain, now_is: Situation) -> None:
    """Said again in other words: k alerts, none in flight, cooldown and budget kept, labels known and enough."""
    assert own.when is not None
    found = decide(own, own.when, now_is)
    assert found.outcome in OUTCOMES
    assert found.positive == all(check.holds for check in found.checks)
    if not found.positive:
        return
    runs = [run for run in now_is.runs if own.mode == "dry_run" or run.state != "dry_run"]
    assert not [run for run in runs if run.state in IN_FLIGHT]
    assert all(now_is.now - run.at >= own.cooldown for run in runs if run.at <= now_is.now)
    assert own.cooldown == 0 or not [run for run in runs if run.at > now_is.now]
    assert sum(run.state in SPENT and run.at > NOW - own.budget.seconds for run in runs) < own.budget.count
    assert own.when.min_labels == 0 or (now_is.labels or 0) >= own.when.min_labels
    assert len(found.counted) >= own.when.occurrences
    answered = [run.at for run in runs if run.state not in UNANSWERED]
    assert all(one.start > at for one in found.counted for at in answered)


@given(sections, situations, st.permutations(range(12)))
def test_the_order_in_which_alerts_came_is_nothing(own: Retrain, now_is: Situation, order: list[int]) -> None:
    """Nor that one came twice."""
    assert own.when is not None
    mixed = [now_is.spells[i] for i in order if i < len(now_is.spells)]
    again = now_is._replace(spells=[*mixed, *mixed[:3]], runs=now_is.runs[::-1])
    assert decide(own, own.when, again) == decide(own, own.when, now_is)


@given(sections, situations)
def test_once_decided_not_again(own: Retrain, now_is: Situation) -> None:
    """With the run that it led to in the list, whatever becomes of that but failure, these alerts lead to no other."""
    assert own.when is not None
    if not decide(own, own.when, now_is).positive:
        return
    for state in set(STATES) - UNANSWERED - ({"dry_run"} if own.mode != "dry_run" else set()):
        for later in (0.0, 2 * DAY):
            then = now_is._replace(runs=[*now_is.runs, Past(NOW, state)], now=NOW + later)
            then = then._replace(spells=[one for one in now_is.spells if one.start <= NOW])
            assert not decide(own, own.when, then).positive


@given(sections, situations, st.floats(0, 60 * DAY))
def test_a_clock_that_was_set_back_trains_nothing_twice(own: Retrain, now_is: Situation, back: float) -> None:
    """A run of the future holds the next one back."""
    assert own.when is not None
    ran = now_is._replace(runs=[*now_is.runs, Past(NOW, "succeeded")], now=NOW - back)
    ran = ran._replace(spells=[one for one in now_is.spells if one.start <= NOW])
    assert not decide(own, own.when, ran).positive


@given(sections, situations)
def test_more_alerts_never_lead_to_fewer_counted(own: Retrain, now_is: Situation) -> None:
    """One more of another name is one more."""
    assert own.when is not None
    before = decide(own, own.when, now_is)
    after = decide(own, own.when, now_is._replace(spells=[*now_is.spells, Spell("z", NOW + 2 * DAY, NOW + 3 * DAY)]))
    assert len(after.counted) == len(before.counted) + 1


@given(st.lists(spells(), max_size=10), times, st.floats(0, 10 * DAY), st.integers(0, 3))
def test_clear_is_found_where_it_is(some: list[Spell], since: float, length: float, most: int) -> None:
    """Against counting at each moment at which the number can fall."""
    now = since + length
    moments = [since, *(one.perhaps_until for one in some if since < one.perhaps_until <= now)]
    firing = [sum(one.start <= at < one.perhaps_until for one in some) for at in moments]
    assert was_clear(some, since, now, most) == (min(firing) <= most)
