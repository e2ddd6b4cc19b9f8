"""The report: what is unknown never reads as healthy, advice follows its table, and the pages need nothing else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt

from exporter.catalogue import FAMILIES
from exporter.config import load
from exporter.problems import CHECKS, TITLES, find, since
from exporter.readings import Readings
from exporter.report.advice import RULES
from exporter.report.build import RUNBOOK, Facts, build
from exporter.report.draw import distribution, interval
from exporter.report.render import html, markdown
from tests.integration.serving import Serving
from tests.integration.small import (
    DAY,
    NOON,
    labels,
    model,
    predictions,
    rows,
    write,
    write_all,
    write_config,
    write_reference,
)
from tests.integration.test_http import unused_port
from tests.unit.test_cli import cli

HEADINGS = re.findall(r"^## (\w+)$", (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(), re.MULTILINE)
VOID = {"meta", "br", "link", "img", "input", "hr"}


def changed(table: pa.Table, change: Callable[[dict[str, np.ndarray], np.ndarray], None]) -> pa.Table:
    """The last day's rows with other values; `change` is given columns and which rows are of that day."""
    columns = {name: np.asarray(table[name].to_pylist(), object) for name in table.column_names}
    change(columns, np.asarray(table["timestamp"].cast(pa.int64())) >= (NOON - DAY) * 1e6)
    return pa.table({name: pa.array(columns[name].tolist(), table.schema.field(name).type) for name in columns})


def report_of(folder: Path, change: Callable[..., None] | None = None, at: float = NOON, **more: Any) -> dict[str, Any]:
    """The report of two days of the model `credit`, the second of them changed."""
    write_reference(folder, "credit", NOON - 2 * DAY)
    table = rows("credit", NOON - 2 * DAY, NOON, 960, seed=2)
    table = changed(table, change) if change else table
    write(predictions(table), folder / "credit" / "predictions" / "0.parquet")
    write(labels(table), folder / "credit" / "labels" / "0.parquet")
    config = write_config(folder, model("credit", windows=["1d"], **more))
    text = datetime.fromtimestamp(at, UTC).isoformat()
    found = cli(
        "report", "--config.file", config, "--model", "credit",
        "--at", text, "--days", 2, "--format", "json", "--output", "-",
    )  # fmt: skip
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def causes(report: dict[str, Any]) -> set[str]:
    return {one["cause"] for one in report["recommendations"]}


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_healthy(tmp_path: Path) -> None:
    """Where all is known and within its bounds."""
    report = report_of(tmp_path)
    assert report["problems"] == []
    assert report["health"]["verdict"] == "healthy"
    assert causes(report) == {"none"}
    assert {one["metric"] for one in report["performance"]} >= {"accuracy", "roc_auc"}
    assert all(one["lower"] <= one["score"] <= one["upper"] for one in report["performance"])
    assert [one["feature"] for one in report["drift"] if one["bins"]]


@pytest.mark.parametrize(
    ("at", "more"),
    [
        (NOON + 30 * DAY, {}),  # no row in any window
        (NOON, {"drift": {"min_rows": 10_000}}),
        (NOON, {"performance": {"min_rows": 10_000}}),
    ],
)
def test_unknown_never_reads_as_healthy(tmp_path: Path, at: float, more: dict[str, Any]) -> None:
    """Too few rows or labels, or none."""
    report = report_of(tmp_path, at=at, **more)
    assert report["health"]["verdict"] != "healthy"
    assert "none" not in causes(report)
    assert {"not enough data", "pipeline"} & causes(report)
    assert "Nothing to do" not in html(report)


def test_nothing_at_all_is_unknown(tmp_path: Path) -> None:
    """Before the first run, too."""
    config = write_config(tmp_path, model("credit"))
    (one,) = load(config).config.models
    report = build(Facts(one, 0.0, Readings(), {}, None, {}))
    assert report["health"]["verdict"] == "unknown"
    assert "none" not in causes(report)
    assert "Not known" in html(report)
    assert "Not known" in markdown(report)


def test_broken_reference_is_told(tmp_path: Path) -> None:
    """With what the task said."""
    write_all(tmp_path, "credit", NOON)
    (tmp_path / "credit" / "reference.parquet").unlink()
    config = write_config(tmp_path, model("credit"))
    at = datetime.fromtimestamp(NOON, UTC).isoformat()
    output = tmp_path / "r.html"
    found = cli("report", "--config.file", config, "--model", "credit", "--at", at, "--days", 0, "--output", output)
    assert found.returncode == 1
    assert "no file matches" in output.read_text()
    assert "Healthy" not in output.read_text()


# --- advice -----------------------------------------------------------------------------------------------------------


def missing(columns: dict[str, np.ndarray], last: np.ndarray) -> None:
    columns["amount"][last] = None


def shifted(columns: dict[str, np.ndarray], last: np.ndarray) -> None:
    columns["amount"][last] = columns["amount"][last] + 20.0


def flipped(columns: dict[str, np.ndarray], last: np.ndarray) -> None:
    columns["label"][last] = 1 - columns["label"][last]


def both(columns: dict[str, np.ndarray], last: np.ndarray) -> None:
    missing(columns, last)
    flipped(columns, last)


@pytest.mark.parametrize(
    ("change", "verdict", "cause", "not_cause"),
    [
        (missing, "warning", "pipeline", "real change"),
        (shifted, "warning", "pipeline", "real change"),
        (flipped, "bad", "real change", "pipeline"),
        (both, "bad", "pipeline", "real change"),
    ],
)
def test_cause_is_told(tmp_path: Path, change: Callable[..., None], verdict: str, cause: str, not_cause: str) -> None:
    """A feed that stops, a step in a feature, a world that changed; while values are bad nobody is told to retrain."""
    report = report_of(tmp_path, change)
    assert report["health"]["verdict"] == verdict
    assert cause in causes(report)
    assert not_cause not in causes(report)
    since_ = [one for one in report["problems"] if one["level"] == verdict]
    assert since_[0]["since"] == datetime.fromtimestamp(NOON, UTC).isoformat().replace("+00:00", "Z")
    assert not since_[0]["at_least"], "it was looked for a day before, and not there"


def season(columns: dict[str, np.ndarray], _last: np.ndarray) -> None:
    columns["amount"][:] = columns["amount"] + 8.0


def test_season_is_told_from_a_fault(tmp_path: Path) -> None:
    """As far from the reference, but not from the day before."""
    report = report_of(tmp_path, season)
    assert "season" in causes(report)
    assert "pipeline" not in causes(report)
    (own,) = [one for one in report["drift"] if one["detected"]]
    assert own["earlier"] == {"previous": False}


def test_table_of_advice_is_whole() -> None:
    """Each piece has a reason from the table's causes, and a heading of the runbook; so has each problem."""
    assert {rule.cause for rule in RULES} == {
        "pipeline", "season", "real change", "label problem", "not enough data", "value", "serving",
    }  # fmt: skip
    for kind in {rule.kind for rule in RULES} | set(TITLES) | set(CHECKS.values()):
        assert kind in HEADINGS


def window(**states: str) -> dict[str, Any]:
    return {"window": "1d", "rows": 100, "labelled": 10, "states": states}


def empty(**more: Any) -> dict[str, Any]:
    lists = ("problems", "drift", "quality", "labels", "outputs", "segments", "kpis", "serving")
    return {**{name: [] for name in lists}, "windows": [window(drift="ok")], "health": {"verdict": "warning"}, **more}


DRIFTED = {"feature": "f", "window": "1d", "detected": True, "earlier": {}}
SLOW = {"window": "1d", "mature_coverage": 0.9, "delay": 9000.0, "delay_threshold": 3600.0}


@pytest.mark.parametrize(
    ("report", "advice"),
    [
        (empty(), None),
        (empty(windows=[window(drift="insufficient")]), "longer window"),
        (empty(windows=[window(performance="immature")]), "Wait for labels"),
        (empty(windows=[{**window(), "rows": 0}]), "no predictions arrive"),
        (empty(drift=[DRIFTED]), "drift.baselines"),
        (empty(drift=[{**DRIFTED, "detected": None}]), None),
        (empty(drift=[{**DRIFTED, "earlier": {"previous": True}}]), "within one window"),
        (empty(drift=[{**DRIFTED, "earlier": {"previous": False}}]), "season"),
        (empty(labels=[{**SLOW, "delay": 10.0, "mature_coverage": 0.2}]), "joined"),
        (empty(labels=[SLOW]), "label_delay"),
        (empty(labels=[{**SLOW, "delay": None, "mature_coverage": None}]), None),
        (empty(outputs=[{"output": "label", "window": "1d", "detected": True}]), "how they are made"),
    ],
)
def test_advice(report: dict[str, Any], advice: str | None) -> None:
    """One condition, one piece."""
    found = [rule.advice for rule in RULES if rule.when(report) is not None]
    assert len(found) == (advice is not None)
    assert not advice or advice in found[0]


def test_since_survives_only_without_a_break() -> None:
    """First seen at the first look: at least since. Seen later: exactly. Gone and back: anew."""
    broken = Readings()
    broken.put("model_source_up", "m", "labels", value=0)
    (problem,) = find(broken, 0.0)
    first = since(None, [problem], 10.0)
    assert first[problem.key] == (10.0, False)
    assert since(first, [problem], 20.0)[problem.key] == (10.0, False)
    gone = since(first, [], 30.0)
    assert gone == {}
    assert since(gone, [problem], 40.0)[problem.key] == (40.0, True)


# --- the forms --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that tags close in order; collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in {"src", "srcset", "data"}]
        self.fetched += [tag] if tag in {"link", "script", "iframe", "img"} else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_needs_nothing_else(tmp_path: Path) -> None:
    """Well formed, nothing to fetch, no script, and names are escaped."""
    report = report_of(tmp_path, shifted)
    report["drift"][0]["feature"] = "<script>alert(1)</script>"
    report["drift"][0]["bins"][0][0] = '"><script>'
    text = html(report)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert "<script>" not in text
    assert "@import" not in text and "url(" not in text
    assert set(re.findall(r'href="([^"#]*)', text)) <= {RUNBOOK}
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_markdown_is_read_as_tables(tmp_path: Path) -> None:
    """A reader of its own finds the same rows."""
    report = report_of(tmp_path, flipped)
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(report))
    tables, lengths = 0, []
    for token in tokens:
        if token.type == "table_open":
            tables, lengths = tables + 1, [*lengths, 0]
        elif token.type == "tr_open":
            lengths[-1] += 1
    assert 1 + len(report["performance"]) in lengths
    assert 1 + len(report["drift"]) in lengths
    assert "| |" not in markdown(report).replace("|---", "")


def test_pictures() -> None:
    """To scale: the tallest bar has the full height; all marks are inside."""
    text = distribution([["a", 0.5, 0.25], ["b", None, 0.0]], "x")
    heights = [float(found) for found in re.findall(r'height="([\d.]+)"', text)]
    assert heights == [92.0, 46.0, 0.0, 0.0]
    assert distribution([], "x").startswith("<svg")
    row = {
        "metric": "mae",
        "window": "1d",
        "score": 5.0,
        "lower": 4.0,
        "upper": 6.0,
        "baseline": 2.0,
        "estimated": None,
    }
    marks = interval({**row, "bounds": {"max_warning": 9.0}})
    assert all(0 <= float(x) <= 320 for x in re.findall(r'(?:x1|x2|cx)="([\d.]+)"', marks))
    assert interval({"metric": "a", "window": "1d", "bounds": {}}) == ""


def test_data_is_of_the_catalogue(tmp_path: Path) -> None:
    """What the report reads are families that exist: a renamed one is an error, not an empty section."""
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "exporter" / "report").glob("*.py"))
    names = set(re.findall(r'"(model_[a-z_]+)"', source))
    assert len(names) > 20
    prefixes = {"model_feature_drift", "model_prediction_drift", "model_label_drift", "model_multivariate_drift"}
    assert names - prefixes - {"model_version"} <= set(FAMILIES)
    report = report_of(tmp_path)
    assert {one["check"] for one in report["quality"]} >= {"missing", "unseen", "out_of_range"}


# --- the page of the service ------------------------------------------------------------------------------------------


def test_page_of_the_service(tmp_path: Path) -> None:
    """The same report of the last run, in three forms; linked from the landing page."""
    write_all(tmp_path, "credit", time.time())
    with Serving(write_config(tmp_path, model("credit")), unused_port()) as serving:
        serving.ready()
        assert 'href="/models/credit"' in serving.get("/").text
        page = serving.get("/models/credit")
        assert (page.code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<h1>credit</h1>" in page.text
        report = json.loads(serving.get("/models/credit?format=json").text)
        assert report["health"]["verdict"] in {"healthy", "warning", "bad", "unknown"}
        assert report["windows"][1]["rows"] > 400
        assert serving.get("/models/credit?format=markdown").text.startswith("# credit\n")
        assert serving.get("/models/debit").code == 404
        assert serving.get("/models/credit?format=pdf").code == 400


@pytest.mark.parametrize("days", [-1])
def test_days(tmp_path: Path, days: int) -> None:
    """A sentence."""
    config = write_config(tmp_path, model("credit"))
    found = cli("report", "--config.file", config, "--model", "credit", "--days", days, "--output", tmp_path / "x")
    assert "--days is 0 or more" in found.stderr
