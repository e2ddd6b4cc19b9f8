"""What the rules would have said of the past: recorded series, and the alerts' own `ALERTS` and `ALERTS_FOR_STATE`.

promtool backfills recording rules at times of its own and leaves alerting rules out; so each rule's expression is asked
of a Prometheus that has the replayed series, at the moments of the replay, and what Prometheus does with the answers
of an alerting rule is done here.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from exporter.backfill.feed import Grid
from exporter.duration import parse
from exporter.exposition import escape

# What a replay has no series of: that a target answers, and what Prometheus, Alertmanager and the process tell.
_NOT_REPLAYED = re.compile(
    r"\b(up|scrape_\w+|ALERTS\w*|absent\w*|process_\w+|prometheus_\w+|alertmanager_\w+|model_exporter_\w+)\b"
)
_STEPS_AT_ONCE = 1000
_HELD_SECONDS = 240  # Prometheus takes a series without a sample for 5 minutes as gone
_TEMPLATE = re.compile(r"\{\{\s*\$labels\.(\w+)\s*\}\}")
Labels = tuple[tuple[str, str], ...]
Points = list[tuple[int, float]]


class Rule(NamedTuple):
    """One rule; an alerting rule where `hold` is not None: seconds until it fires, and for which it goes on firing."""

    name: str
    expr: str
    labels: Mapping[str, str]
    hold: float | None = None
    keep: float = 0.0


def read(paths: Iterable[Path]) -> list[Rule]:
    """Read rule files; rules on what a replay has no series of are left out. Raises ValueError on no rule file."""
    rules = []
    for path in paths:
        try:
            groups = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("groups") or []
            found = [one for group in groups for one in group.get("rules") or []]
            rules += [_rule(one) for one in found if not _NOT_REPLAYED.search(one["expr"])]
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no file of Prometheus rules: {error}") from error
    return rules


def _rule(raw: Mapping[str, Any]) -> Rule:
    labels = {name: str(value) for name, value in (raw.get("labels") or {}).items()}
    if "record" in raw:
        return Rule(raw["record"], raw["expr"], labels)
    hold, keep = (float(parse(raw.get(key) or "0s")) for key in ("for", "keep_firing_for"))
    return Rule(raw["alert"], raw["expr"], labels, hold, keep)


def levels(rules: Iterable[Rule]) -> list[list[Rule]]:
    """Return the recording rules so that each stands after those whose series it reads; the alerts come last.

    A rule that reads its own last result reads none here; rules that read each other in a ring come together.
    """
    rules = list(rules)
    waiting = [rule for rule in rules if rule.hold is None]
    found = []
    while waiting:
        names = {rule.name for rule in waiting}
        free = [rule for rule in waiting if not any(_reads(rule, name) for name in names - {rule.name})] or waiting
        found.append(free)
        waiting = [rule for rule in waiting if rule not in free]
    return [*found, [rule for rule in rules if rule.hold is not None]]


def _reads(rule: Rule, name: str) -> bool:
    return re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", rule.expr) is not None


def ask(url: str, rule: Rule, grid: Grid) -> dict[Labels, Points]:
    """Return what a rule's expression is at each moment, by the labels that the rule gives.

    Raises OSError where Prometheus does not answer, ValueError where it refuses the expression.
    """
    found: dict[Labels, Points] = {}
    for first in range(0, grid.moments, _STEPS_AT_ONCE):
        last = min(first + _STEPS_AT_ONCE, grid.moments) - 1
        range_ = {"start": grid.moment(first), "end": grid.moment(last), "step": grid.step}
        data = urllib.parse.urlencode({"query": rule.expr, **range_}).encode()
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query_range", data, timeout=300) as answer:
                results = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"rule {rule.name}: {json.load(error).get('error', error)}") from error
        for one in results:
            labels = {name: value for name, value in one["metric"].items() if name != "__name__"}
            own = tuple(sorted({**labels, **_expanded(rule.labels, labels)}.items()))
            found.setdefault(own, []).extend((int(at), float(value)) for at, value in one["values"])
    return found


def _expanded(wanted: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    return {name: _TEMPLATE.sub(lambda m: labels.get(m[1], ""), text) for name, text in wanted.items()}


def states(rule: Rule, active: Iterable[int], grid: Grid) -> Iterator[tuple[int, str, int]]:
    """Yield (moment, state, since) of one alert that is true at some moments, as Prometheus keeps it.

    Evaluated at each moment of the grid: pending at first, firing once it has been true for `hold` seconds, and until
    `keep` seconds after the first moment at which it was true no more.
    """
    assert rule.hold is not None
    true = set(active)
    since: int | None = None
    gone: int | None = None
    firing = False
    for at in range(min(true, default=grid.end + 1), grid.end + 1, grid.step):
        if at in true:
            since, gone = at if since is None else since, None
            firing = firing or at - since >= rule.hold
        else:
            gone = at if gone is None else gone
            if not firing or at - gone >= rule.keep:
                since, firing = None, False
        if since is not None:
            yield at, "firing" if firing else "pending", since


def write(path: Path, found: Iterable[tuple[Rule, Mapping[Labels, Points]]], grid: Grid) -> int:
    """Write for promtool what the rules of one level say, a rule at a time; return the number of series."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for rule, answers in found:
            for name, labels, points in _series(rule, answers, grid):
                pairs = ",".join(f'{label}="{escape(value)}"' for label, value in labels)
                file.writelines(f"{name}{{{pairs}}} {_number(value)} {at}\n" for at, value in points)
                count += 1
        file.write("# EOF\n")
    return count


def _series(rule: Rule, answers: Mapping[Labels, Points], grid: Grid) -> Iterator[tuple[str, Labels, Points]]:
    for labels, points in answers.items():
        if rule.hold is None:
            yield rule.name, labels, points
            continue
        named = tuple(sorted((*labels, ("alertname", rule.name))))
        told = [*_held(states(rule, (at for at, _ in points), grid), grid)]
        yield "ALERTS_FOR_STATE", named, [(at, float(since)) for at, _, since in told]
        for state in ("pending", "firing"):
            if own := [(at, 1.0) for at, name, _ in told if name == state]:
                yield "ALERTS", tuple(sorted((*named, ("alertstate", state)))), own


def _held(told: Iterable[tuple[int, str, int]], grid: Grid) -> Iterator[tuple[int, str, int]]:
    """Repeat each state until the next moment, so that an alert that goes on is not taken for a new one."""
    for at, state, since in told:
        for moment in range(at, min(at + grid.step, grid.end + 1), min(_HELD_SECONDS, grid.step)):
            yield moment, state, since


def _number(value: float) -> str:
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(value), repr(value))
