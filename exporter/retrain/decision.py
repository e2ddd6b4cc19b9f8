"""Alerts, runs before, labels and the clock -> retrain or not, with every reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exporter.duration import show
from exporter.retrain.settings import Retrain, When

LOOKBACK = 30 * 86_400.0  # how far back it is looked for a moment at which the alerts were clear
STALE = 5 * 86_400.0  # an alert that nobody speaks of any more is over after this; Alertmanager itself forgets so
WAITING = frozenset({"awaiting_approval"})
CALLED = frozenset({"calling", "running"})
IN_FLIGHT = WAITING | CALLED
UNANSWERED = frozenset({"failed", "lost", "expired"})  # the alerts before such a run count again
SPENT = CALLED | WAITING | {"succeeded", "failed", "lost", "dry_run"}
POSITIVE = {"dry_run": "dry_run", "approve": "awaiting_approval", "automatic": "triggered"}
OUTCOMES = (
    *POSITIVE.values(),
    "too_few_alerts",
    "not_cleared",
    "in_flight",
    "cooldown",
    "budget",
    "too_few_labels",
    "rejected",
    "expired",
    "succeeded",
    "failed",
    "lost",
)


class Spell(NamedTuple):
    """A time in which one alert fired, in Unix seconds. seen: last heard of; end: None while it is not resolved."""

    fingerprint: str
    start: float
    seen: float
    end: float | None = None

    @property
    def known_until(self) -> float:
        """Until when it is known to have fired."""
        return self.seen if self.end is None else self.end

    @property
    def perhaps_until(self) -> float:
        """Until when it may have fired."""
        return self.seen + STALE if self.end is None else self.end


class Past(NamedTuple):
    """A run that was decided on, when, and what became of it."""

    at: float
    state: str


class Situation(NamedTuple):
    """Everything that a decision depends on but the settings. labels: mature ones, None where that is not known."""

    spells: Sequence[Spell]
    runs: Sequence[Past]
    labels: int | None
    now: float


class Check(NamedTuple):
    """One condition, whether it holds, and a sentence with its numbers."""

    name: str
    holds: bool
    text: str


class Decision(NamedTuple):
    """What was decided, all conditions, and the spells that counted."""

    outcome: str
    checks: tuple[Check, ...]
    counted: tuple[Spell, ...]

    @property
    def positive(self) -> bool:
        """Whether it leads to a run."""
        return self.outcome in POSITIVE.values()


def occurrences(spells: Iterable[Spell]) -> list[Spell]:
    """Join what overlaps of one alert: two Prometheus servers begin at slightly different times."""
    found: list[Spell] = []
    for spell in sorted(spells, key=lambda spell: (spell.fingerprint, spell.start)):
        last = found[-1] if found else None
        if last is None or last.fingerprint != spell.fingerprint or spell.start > last.known_until:
            found.append(spell)
        else:
            ends = None if last.end is None or spell.end is None else max(last.end, spell.end)
            found[-1] = Spell(last.fingerprint, last.start, max(last.seen, spell.seen), ends)
    return found


def was_clear(spells: Sequence[Spell], since: float, now: float, most: int) -> bool:
    """Say whether at some moment in since <= t <= now at most so many alerts can have fired."""
    moments = [since, *(end for spell in spells if since < (end := spell.perhaps_until) <= now)]
    edges = sorted(
        [(spell.start, 1) for spell in spells if spell.perhaps_until > spell.start]
        + [(spell.perhaps_until, -1) for spell in spells if spell.perhaps_until > spell.start]
    )
    firing, index = 0, 0
    for moment in sorted(moments):
        while index < len(edges) and edges[index][0] <= moment:
            firing += edges[index][1]
            index += 1
        if firing <= most:
            return True
    return False


def decide(settings: Retrain, when: When, now_is: Situation) -> Decision:
    """Decide on a model's retraining.

    The outcome is the mode's own where every condition holds, else the first that does not. Cooldown and budget count
    runs by when they were decided on; a run of the future (the clock was set back) counts as one of now.
    """
    runs = [run for run in now_is.runs if settings.mode == "dry_run" or run.state != "dry_run"]
    anchor = max((run.at for run in runs if run.state not in UNANSWERED), default=None)
    spells = occurrences(now_is.spells)
    counted = tuple(
        spell
        for spell in spells
        if spell.known_until > now_is.now - when.within and (anchor is None or spell.start > anchor)
    )
    checks = (
        _enough(when, len(counted)),
        _cleared(when, spells, anchor, now_is.now),
        _free(runs),
        _cooled(settings, runs, now_is.now),
        _affordable(settings, runs, now_is.now),
        _labelled(when, now_is.labels),
    )
    failing = next((check.name for check in checks if not check.holds), None)
    return Decision(failing or POSITIVE[settings.mode], checks, counted)


def _enough(when: When, count: int) -> Check:
    text = f"{count} of {when.occurrences} occurrences of {', '.join(when.alerts)} within {show(when.within)}"
    return Check("too_few_alerts", count >= when.occurrences, text)


def _cleared(when: When, spells: Sequence[Spell], anchor: float | None, now: float) -> Check:
    if anchor is None:
        return Check("not_cleared", True, "no run before that the alerts had led to")
    clear = was_clear(spells, max(anchor, now - LOOKBACK), now, when.clear)
    most = "all alerts were resolved" if when.clear == 0 else f"at most {when.clear} alerts were firing"
    text = f"since the last run there {'was a' if clear else 'was no'} moment at which {most}"
    return Check("not_cleared", clear, text)


def _free(runs: Sequence[Past]) -> Check:
    flying = [run for run in runs if run.state in IN_FLIGHT]
    waits = any(run.state in WAITING for run in flying)
    busy = "a run waits for its approval" if waits else "a run is in flight"
    return Check("in_flight", not flying, busy if flying else "no run is in flight")


def _cooled(settings: Retrain, runs: Sequence[Past], now: float) -> Check:
    last = max((run.at for run in runs), default=None)
    if last is None:
        return Check("cooldown", True, "no run before")
    passed = max(now - last, 0.0)
    text = f"the last run was decided on {show(passed)} ago, the cooldown is {show(settings.cooldown)}"
    return Check("cooldown", passed >= settings.cooldown, text)


def _affordable(settings: Retrain, runs: Sequence[Past], now: float) -> Check:
    budget = settings.budget
    spent = sum(run.at > now - budget.seconds and run.state in SPENT for run in runs)
    text = f"{spent} of {budget.count} runs of the last {show(budget.seconds)} are spent"
    return Check("budget", spent < budget.count, text)


def _labelled(when: When, labels: int | None) -> Check:
    if not when.min_labels:
        return Check("too_few_labels", True, "no labels are asked for")
    known = "an unknown number of" if labels is None else str(labels)
    text = f"{known} mature labels, {when.min_labels} are needed"
    return Check("too_few_labels", labels is not None and labels >= when.min_labels, text)
