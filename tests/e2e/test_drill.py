"""`model-exporter test-alert` against a real Alertmanager, mail server and Slack: who took it, and who did not."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.stack import ROOT, Mail, Slack, alertmanager, get_json, wait_for


class Stage(NamedTuple):
    mail: Mail
    slack: Slack
    url: str
    home: Path


@pytest.fixture
def stage(tmp_path: Path, need_tool: Callable[[str], str], free_ports: Callable[[], int]) -> Iterator[Stage]:
    need_tool("prometheus-alertmanager")
    am, smtp, hook = (free_ports() for _ in range(3))
    url = f"http://127.0.0.1:{am}"
    with Mail(smtp) as mail, Slack(hook) as slack, alertmanager(tmp_path, am, smtp, hook, group_wait="1s"):
        wait_for("Alertmanager", 20, lambda: get_json(f"{url}/api/v2/status"))
        yield Stage(mail, slack, url, tmp_path / f"alertmanager-{am}")


def drill(url: str, *more: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "exporter", "test-alert", f"--alertmanager.url={url}", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_everybody_takes_it_and_it_ends(stage: Stage) -> None:
    code, said, _ = drill(stage.url, "--severity=warning", "--team=growth")
    assert code == 0, said
    lines = [line.split(maxsplit=2) for line in said.splitlines()[2:]]
    assert [line[:2] for line in lines] == [["team", "email"], ["team", "slack"]]
    assert all(line[2].startswith("took it within") for line in lines)
    subject = str(stage.mail.messages[0]["Subject"])
    assert subject.startswith("[WARNING] test-")
    assert "ModelExporterTestAlert" in subject
    body = stage.mail.messages[0].get_body(("plain",))
    assert body is not None
    assert "Team: growth" in body.get_content()
    assert "nothing is wrong" in body.get_content()
    wait_for("the end of the alert", 20, lambda: "RESOLVED" in str(stage.mail.messages[-1]["Subject"]))
    wait_for("its end in Slack", 20, lambda: "RESOLVED" in stage.slack.messages[-1]["attachments"][0]["title"])
    assert stage.slack.calls == [], "a test starts no retraining"


def test_a_receiver_that_refuses_is_named(stage: Stage) -> None:
    stage.slack.answer = 403
    code, said, _ = drill(stage.url)
    assert code == 1
    results = {line.split()[1]: line.split(maxsplit=2)[2] for line in said.splitlines()[2:]}
    assert results["email"].startswith("took it")
    assert results["slack"].startswith("FAILED, ")
    assert "it reads secrets/slack_api_url" in results["slack"]


def test_a_missing_secret_is_named(stage: Stage) -> None:
    (stage.home / "secrets" / "slack_api_url").unlink()
    code, said, _ = drill(stage.url)
    assert code == 1
    assert "FAILED" in said
    assert "it reads secrets/slack_api_url" in said
    assert stage.mail.messages


def test_nobody_is_told(stage: Stage) -> None:
    code, said, _ = drill(stage.url, "--severity=info")
    assert code == 1
    assert "Receiver null sends nothing to anybody." in said


def test_a_silence_is_said(stage: Stage) -> None:
    body = (
        b'{"matchers": [{"name": "severity", "value": "critical", "isRegex": false}], "createdBy": "t", "comment": "t",'
        b' "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"}'
    )
    request = urllib.request.Request(f"{stage.url}/api/v2/silences", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass
    code, said, _ = drill(stage.url)
    assert code == 1
    assert "muted by silence" in said


def test_nobody_answers(free_port: int) -> None:
    code, said, wrong = drill(f"http://127.0.0.1:{free_port}")
    assert (code, said) == (1, "")
    assert wrong.startswith(f"model-exporter: Alertmanager http://127.0.0.1:{free_port} cannot be asked: ")
    assert wrong.count("\n") == 1
