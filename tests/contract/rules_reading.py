"""Rules, their tests and the runbook as the contract tests read them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS, ALERTMANAGER = ROOT / "prometheus", ROOT / "alertmanager"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))

Labels = dict[str, str]
Tool = Callable[[str], str]


def load(path: Path) -> Any:
    """Read YAML."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


RULES: list[dict[str, Any]] = [rule for path in RULE_FILES for group in load(path)["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
CASES = [
    (test, case) for path in TEST_FILES for test in load(path)["tests"] for case in test.get("alert_rule_test", [])
]
FIRED: list[Labels] = [
    {"alertname": case["alertname"], **alert["exp_labels"]} for _, case in CASES for alert in case.get("exp_alerts", [])
]


def fixed(rule: dict[str, Any]) -> Labels:
    """Return the labels of an alert that are the same for all models."""
    return {key: value for key, value in rule["labels"].items() if "{{" not in value}


def succeeds(*command: str | Path) -> None:
    """Run a tool; fail with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def minutes(duration: str) -> int:
    """Return the minutes of `15m`."""
    assert duration.endswith("m")
    return int(duration[:-1])


def selectors(expr: str) -> Iterator[Any]:
    """Every series selector of a query."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expr), visit)
    yield from found


def template_queries(text: str) -> Iterator[str]:
    """The queries that an annotation runs, with values in place of its verbs."""
    for query in re.findall(r'query \(printf "((?:[^"\\]|\\.)*)"', text):
        yield query.replace('\\"', '"').replace("%q", '"x"').replace("%s", 'job="x"')


def all_queries() -> Iterator[tuple[str, str]]:
    """Every query of rules, annotations and runbook, and where it stands."""
    for rule in RULES:
        where = rule.get("alert") or rule["record"]
        yield where, rule["expr"]
        for text in (*rule.get("annotations", {}).values(), *rule.get("labels", {}).values()):
            yield from ((where, query) for query in template_queries(text))
    for block in re.findall(r"(?:^    .+\n)+", RUNBOOK, re.MULTILINE):
        yield from (("runbook", line.strip()) for line in block.splitlines())
