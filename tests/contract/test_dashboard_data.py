"""Each query has an answer: asked of a Prometheus that scrapes the bundled example and runs the shipped rules."""

from __future__ import annotations

import re
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dashboard_reading import BOARDS, ROOT, Board, expand, panels, variable_query, variables

from exporter.demo import Replay, configuration
from tests.e2e.stack import exporter, get_json, prometheus, wait_for

# What is chosen on each dashboard; the others take the first that fits.
CHOSEN = {
    "job": ".+",
    "instance": ".+",
    "model": "flights-delay",
    "version": "3",
    "window": "24h",
    "segment": "all",
    "feature": "aircraft_age",
    "metric": "roc_auc",
    "kpi": "decision_value",
    "method": "jensen_shannon",
    "rows_method": "pca_reconstruction",
}
CHOSEN_ON = {"model-business": {"window": "7d"}}  # the value of decisions is told of weeks
OUTAGE = 1_388_491_200_000_000  # 2013-12-31 12:00 UTC: no weather for twelve hours
SECONDS = 8
# Board, panel, queries: why the example has no answer, though it computes what is asked for.
SILENT: dict[tuple[str, str, str], str] = {
    ("model-detail", "What share of the features has drifted?", "D"): "no critical threshold",
    ("model-detail", "How far are whole rows by $rows_method?", "C"): "no critical threshold",
    ("model-detail", "When did a daily signal change?", "A"): "where days end, by the clock, decides whether one has",
    ("model-detail", "Which signals have changed, and since when?", "D"): "as above",
    (
        "model-detail",
        "Have predictions or labels drifted?",
        "AC",
    ): "delays of a day vary too much: no threshold by the day",
    ("model-detail", "When did it change, and what?", "E"): "as above",
    ("model-detail", "How long do requests take?", "ABCD"): "the log has no latency",
    ("model-detail", "How many requests fail?", "ABC"): "the log has no errors",
    ("model-detail", "How is each indicator?", "EF"): "the value of decisions is told of weeks",
    ("model-detail", "Is the challenger better than the champion?", "ABCD"): "there is one version",
    ("model-detail", "In progress", "A"): "no retraining is configured",
    ("model-detail", "Last triggered", "A"): "no retraining is configured",
    ("model-detail", "When was it retrained?", "A"): "no retraining is configured",
    ("model-detail", "What was decided about retraining?", "A"): "no retraining is configured",
    ("model-business", "How is each indicator?", "G"): "asked of one without a maximum",
    ("model-feature", "How far is $feature by $method?", "C"): "no critical threshold",
    ("model-feature", "Are there new categories?", "AB"): "a number has none",
    ("model-quality", "Which checks failed, and when?", "DE"): "no value is out of range or of the wrong type",
    ("model-quality", "Where are values missing?", "BC"): "some are missing",
    ("model-quality", "Where are new categories?", "BC"): "there are some",
    ("model-quality", "Where are values out of range?", "A"): "none is",
    ("model-quality", "Where are values of the wrong type?", "A"): "none is",
    ("model-business", "Which alerts on indicators are open?", "AB"): "none is out of bounds",
    ("model-business", "How did $kpi develop?", "EF"): "what is usual needs five weeks",
    ("model-business", "How did $kpi develop?", "HIJ"): "it has a minimum that warns, and no other bound",
    ("model-exporter", "Which models are late? (the 10 latest)", "A"): "none is",
    ("model-exporter", "Which alerts about the monitoring are open?", "AB"): "the monitoring is well",
}
ALLOWED = {(uid, title, ref) for uid, title, refs in SILENT for ref in refs}


def free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[[str], str]) -> Iterator[str]:
    """Run the example and Prometheus with the shipped rules until results have been scraped a few times."""
    need_tool("prometheus")
    folder = tmp_path_factory.mktemp("dashboards")
    Replay(ROOT / "examples" / "flights", folder / "log", int(time.time() * 1e6), speed=1, anchor=OUTAGE)
    config = configuration(ROOT / "examples" / "flights", folder, speed=1)
    config.write_text(config.read_text().replace("every: 15s", "every: 2s"))
    own, server, nobody = free(), free(), free()
    url = f"http://127.0.0.1:{server}/api/v1"
    with exporter(config, own, folder), prometheus(folder, server, own, nobody):
        wait_for("results", 600, lambda: known(url) >= {"model_performance_score", "ALERTS"})
        time.sleep(SECONDS)
        yield url


def known(url: str) -> set[str]:
    """The names of all series."""
    return set(get_json(f"{url}/label/__name__/values")["data"])


def chosen(uid: str, expr: str) -> str:
    """Put values where Grafana would; the interval fits a Prometheus that has seen a few seconds."""
    expr = expr.replace("$__rate_interval", f"{SECONDS}s")
    values = CHOSEN | CHOSEN_ON.get(uid, {})
    return expand(re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: values.get(found[1], found[0]), expr))


def answers(url: str, uid: str, expr: str) -> list[Any]:
    found: list[Any] = get_json(f"{url}/query?{urllib.parse.urlencode({'query': chosen(uid, expr)})}")["data"]["result"]
    return found


def silent(url: str, board: Board) -> Iterator[tuple[str, str, str]]:
    """The queries without an answer."""
    for panel in panels(board):
        for target in panel["targets"]:
            if not answers(url, board["uid"], target["expr"]):
                yield board["uid"], panel["title"], target["refId"]


@pytest.mark.parametrize("uid", BOARDS)
def test_each_query_has_an_answer(api: str, uid: str) -> None:
    assert set(silent(api, BOARDS[uid])) - ALLOWED == set()


@pytest.mark.parametrize("uid", BOARDS)
def test_each_variable_offers_what_is_chosen(api: str, uid: str) -> None:
    for variable in variables(BOARDS[uid]):
        series, label = variable_query(variable)
        query = urllib.parse.urlencode({"match[]": chosen(uid, series)})
        values = get_json(f"{api}/label/{label}/values?{query}")["data"]
        assert any(re.fullmatch(chosen(uid, f"${variable['name']}"), value) for value in values), variable["name"]


def test_what_is_silent_is_there() -> None:
    places = {
        (uid, panel["title"], target["refId"])
        for uid, board in BOARDS.items()
        for panel in panels(board)
        for target in panel["targets"]
    }
    assert ALLOWED - places == set()
