"""What is made of Alertmanager's counters, configuration and files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exporter.alertmanager import Channel, Sent, channels, files, longest_wait
from exporter.demo import missing_secrets
from exporter.drill import Drill, judge, labels_of, show

MAIL, SLACK, OTHER = (
    Channel("page", "email", ()),
    Channel("page", "slack", ("secrets/slack",)),
    Channel("team", "slack", ()),
)
CONFIG: dict[str, Any] = {
    "global": {"slack_api_url_file": "secrets/slack", "smtp_auth_password_file": "secrets/smtp", "smtp_from": "a@b"},
    "route": {
        "receiver": "page",
        "group_wait": "2m",
        "routes": [{"receiver": "null"}, {"group_wait": "10s", "routes": [{"group_wait": "3m"}]}],
    },
    "receivers": [
        {"name": "page", "email_configs": [{"to": "x"}, {"to": "y"}], "slack_configs": [{"channel": "#x"}]},
        {"name": "hook", "webhook_configs": [{"http_config": {"basic_auth": {"password_file": "secrets/hook"}}}]},
        {"name": "null"},
    ],
}


def sent(good: dict[tuple[str, str], int], bad: dict[tuple[str, str], int] | None = None) -> Sent:
    return Sent(Counter(good), Counter(bad or {}))


@pytest.mark.parametrize(
    ("ways", "seen", "states"),
    [
        ([MAIL, SLACK], sent({("email", ""): 1, ("slack", ""): 1}), ["took", "took"]),
        ([MAIL, SLACK], sent({("email", ""): 1}), ["took", "silent"]),
        ([MAIL, SLACK], sent({("email", ""): 1}, {("slack", ""): 3}), ["took", "failed"]),
        ([SLACK], sent({("slack", ""): 1}, {("slack", ""): 3}), ["took"]),  # at the fourth try
        ([SLACK, OTHER], sent({("slack", ""): 1}, {("slack", ""): 1}), ["failed", "failed"]),  # nobody knows which
        ([SLACK, OTHER], sent({("slack", ""): 1}), ["silent", "silent"]),
        ([SLACK, OTHER], sent({("slack", ""): 2}), ["took", "took"]),
        ([SLACK, OTHER], sent({("slack", "page"): 1}, {("slack", "team"): 1}), ["took", "failed"]),
        ([MAIL], sent({("slack", ""): 5}), ["silent"]),
    ],
)
def test_a_channel_took_it_only_if_enough_was_sent(ways: list[Channel], seen: Sent, states: list[str]) -> None:
    assert [one.state for one in judge(ways, seen, 5.0)] == states


def test_nobody_to_tell_is_not_good() -> None:
    assert not Drill("t", [], []).good
    assert not Drill("t", judge([MAIL], sent({}), 5.0), []).good
    assert Drill("t", judge([MAIL], sent({("email", ""): 1}), 5.0), []).good


def test_failure_names_the_secret() -> None:
    lines = show(Drill("title", judge([MAIL, SLACK], sent({("email", ""): 1}, {("slack", ""): 1}), 4.6), ["Trouble."]))
    assert lines == [
        "title",
        "receiver  by     result",
        "page      email  took it within 5 s",
        "page      slack  FAILED, 1 try; it reads secrets/slack; Alertmanager's log has the reason",
        "Trouble.",
    ]


def test_counts_from_before_do_not_count() -> None:
    before, after = sent({("email", ""): 7}, {("slack", ""): 2}), sent({("email", ""): 8}, {("slack", ""): 2})
    assert after.since(before) == sent({("email", ""): 1})


def test_channels_of_the_receivers_with_their_secrets() -> None:
    mails = Channel("page", "email", ("secrets/smtp",))
    assert channels(CONFIG, ["page"]) == [mails, mails, Channel("page", "slack", ("secrets/slack",))]
    assert channels(CONFIG, ["hook"]) == [Channel("hook", "webhook", ("secrets/hook",))]
    assert channels(CONFIG, ["null"]) == []
    assert files(CONFIG) == {"secrets/slack", "secrets/smtp", "secrets/hook"}


def test_longest_wait_of_a_tree() -> None:
    assert longest_wait(CONFIG["route"]) == 180
    assert longest_wait({}) == 30


def test_without_a_model_the_alert_is_an_incident_of_its_own() -> None:
    one, other = (labels_of("critical", None, "none") for _ in range(2))
    assert one["model"] != other["model"]
    assert labels_of("warning", "m", "t").items() >= {"model": "m", "team": "t", "severity": "warning"}.items()


def test_a_missing_secret_is_named_with_its_path(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text("global: {slack_api_url_file: secrets/slack, smtp_auth_password_file: there}\n")
    (tmp_path / "there").write_text("x")
    (line,) = missing_secrets(config)
    assert line.startswith(f"{tmp_path / 'secrets' / 'slack'} is missing")
