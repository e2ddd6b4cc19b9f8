"""The examples: sections that load and send what the receivers want, and a script whose signature holds."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import parse
from exporter.retrain.event import body, callback
from exporter.retrain.settings import Retrain
from exporter.retrain.signature import HEADER, valid
from tests.integration.ci_server import CiServer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "retrain"
EVENT: dict[str, Any] = {
    "id": "5f0c",
    "model": "churn",
    "model_version": "3",
    "requested_at": "2026-03-01T12:00:00Z",
    "approved_by": None,
    "callback": callback("churn", "5f0c", "token", "https://exporter.example"),
}
MODEL = """
models:
  - name: churn
    task: binary
    columns: {timestamp: t, prediction: p, label: y}
    reference: {files: r.parquet}
    predictions: {files: p.parquet}
"""


def section(text: str, folder: Path) -> Retrain:
    """A section as it stands under a model, the files that it names beside it."""
    for name in re.findall(r"\w+_file: ([\w/.]+)", text):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("Authorization: Bearer x\n")
    (model,) = parse(MODEL + textwrap.indent(text, "    "), folder / "config.yml").models
    assert model.retrain is not None
    return model.retrain


@pytest.mark.parametrize("name", ["github-actions", "airflow", "kubeflow", "mlflow"])
def test_sections_load(name: str, tmp_path: Path) -> None:
    """Without a mistake, and act."""
    assert section((FOLDER / name / "retrain.yml").read_text(), tmp_path).acts


def test_what_is_sent(tmp_path: Path) -> None:
    """In the form of each receiver."""

    def sent(name: str) -> Any:
        own = section((FOLDER / name / "retrain.yml").read_text(), tmp_path)
        assert own.action is not None
        assert own.action.http is not None
        return json.loads(body(EVENT, own.action.http.body))

    outcome = "https://exporter.example/api/v1/models/churn/retrain/5f0c/outcome"
    payload = {"id": "5f0c", "model": "churn", "model_version": "3", "outcome_url": outcome}
    assert sent("github-actions") == {"event_type": "retrain", "client_payload": payload}
    assert sent("airflow") == {"dag_run_id": "5f0c", "logical_date": None, "conf": {"event": EVENT}}
    parameters = sent("kubeflow")["runtime_config"]["parameters"]
    assert parameters == {"run_id": "5f0c", "model": "churn", "outcome_url": outcome, "token": "token"}


def test_documentation_loads(tmp_path: Path) -> None:
    """Its section as it stands, with every key that there is."""
    text = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    (first,) = re.findall(r"```yaml\n(    retrain:.*?)```", text, re.DOTALL)
    own = section(textwrap.dedent(first), tmp_path)
    assert own.mode == "approve"
    named = set(re.findall(r"(?<![\w])([a-z_]+):(?= |$)", first, re.MULTILINE))
    known = {*Retrain.model_fields, *(own.when or own).__class__.model_fields}
    assert own.action is not None
    assert known | {*type(own.action.http).model_fields} - {"url_file", "headers", "secret"} <= named | {"url_file"}


def test_programs_can_be_read() -> None:
    """By Python, and by YAML."""
    for path in FOLDER.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))
    workflow = yaml.safe_load((FOLDER / "github-actions" / "workflow.yml").read_text())
    assert {step.get("id") for step in workflow["jobs"]["retrain"]["steps"]} >= {"state", "train"}


@pytest.mark.parametrize("login", [None, 'ci:a "pass" word'])
def test_script_signs_as_the_exporter_reads(need_tool: Callable[[str], str], login: str | None) -> None:
    """The outcome that it sends is valid, whatever is in its texts; with a password where there is one."""
    for name in ("curl", "jq", "openssl"):
        need_tool(name)
    with CiServer(200) as server:
        command = [str(FOLDER / "report_outcome.sh"), server.url, "failed", "4", 'no "labels", ä']
        env = {"SECRET": "of both", "PATH": "/usr/bin:/bin"} | ({"EXPORTER_LOGIN": login} if login else {})
        subprocess.run(command, check=True, env=env, timeout=30)
    (call,) = server.calls
    sent = f"Basic {b64encode(login.encode()).decode()}" if login else None
    assert call.headers.get("authorization") == sent
    assert call.json == {"status": "failed", "version": "4", "message": 'no "labels", ä'}
    assert valid(b"of both", call.body, call.headers[HEADER.lower()], time.time())
