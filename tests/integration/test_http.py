"""The service over HTTP, as Prometheus, a person and a script see it."""

from __future__ import annotations

import gzip
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__
from exporter.catalogue import FAMILIES
from tests.integration.serving import Serving, only, samples, select, states, until
from tests.integration.small import model, write_all, write_config

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PAGES = (
    "/",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/models",
    "/api/v1/status",
    "/api/v1/models/credit/status",
    "/api/v1/models/credit/results",
)


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two models that have run, one with something wrong in its log; for reading only."""
    folder = tmp_path_factory.mktemp("http")
    for name in ("credit", "prices"):
        write_all(folder, name, time.time())
    (folder / "prices" / "predictions" / "broken.parquet").write_bytes(b"no")
    config = write_config(folder, model("credit"), model("prices", framework="<b>own</b>"), sinks={"mlflow": {}})
    with Serving(config, unused_port()) as serving:
        yield serving.ready()
        assert serving.stop() == 0
        assert "Traceback" not in serving.log


# --- /metrics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROTOBUF + PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("text/plain;q=0.3, application/openmetrics-text;version=1.0.0;q=0.31", OPENMETRICS),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=99.0.0", TEXT),
        ("application/openmetrics-text;version=2.0.0;q=0.9,text/plain;version=0.0.4;q=0.1", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain", TEXT),
        ("*/*", TEXT),
        ("", TEXT),
        (BROWSER, TEXT),
        ("application/json", TEXT),
        (PROTOBUF, TEXT),
        (",;=q,,application/;q=x", TEXT),
    ],
)
def test_format_by_negotiation(server: Serving, accept: str, kind: str) -> None:
    """OpenMetrics where it is asked for and preferred, in the version that there is; else text. Never anything else."""
    answer = server.get("/metrics", Accept=accept)
    assert (answer.code, answer.headers["content-type"]) == (200, kind)
    assert answer.text.endswith("# EOF\n") == (kind == OPENMETRICS)
    assert len(samples(answer.text, kind == OPENMETRICS)) > 300


def test_no_accept_header_at_all(server: Serving) -> None:
    """As curl of old."""
    assert server.get("/metrics").headers["content-type"] == TEXT


def test_both_formats_say_the_same(server: Serving) -> None:
    """But for the names' rules, which the parsers know."""
    text = samples(server.get("/metrics").text)
    openmetrics = samples(server.get("/metrics", Accept=PROMETHEUS_3).text, openmetrics=True)

    def of_models(found: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> set[object]:
        return {
            (name, labels, value)
            for (name, labels), value in found.items()
            if not name.startswith(("process_", "python_"))
        }

    assert of_models(text) == of_models(openmetrics)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", True), ("gzip, deflate, br", True), ("*", True), ("identity", False), ("gzip;q=0", False), ("br", False)],
)
def test_gzip_where_it_is_asked_for(server: Serving, encoding: str, packed: bool) -> None:
    """The same page, smaller."""
    answer = server.get("/metrics", Accept_Encoding=encoding)
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "accept-encoding" in answer.headers["vary"].lower()
    plain = gzip.decompress(answer.body) if packed else answer.body
    assert only(samples(plain.decode()), "model_info", model="credit") == 1


def test_promtool_finds_nothing(server: Serving, need_tool: Callable[[str], str]) -> None:
    """On the whole real page."""
    page = server.get("/metrics").body
    found = subprocess.run([need_tool("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_page_says_what_the_exporter_is(server: Serving) -> None:
    """Its own series beside those of the process."""
    found = server.metrics()
    assert only(found, "model_exporter_build_info", version=__version__) == 1
    assert only(found, "model_exporter_config_last_reload_successful") == 1
    assert only(found, "model_exporter_leader") == 1
    assert only(found, "model_exporter_store_bytes") > 10_000
    assert only(found, "model_exporter_series_limit") == 50_000
    assert time.time() - only(found, "model_exporter_snapshot_timestamp_seconds") < 120
    shown = [name for name, labels in found if dict(labels).get("model")]
    assert only(found, "model_exporter_snapshot_series") == len(shown)
    assert {"process_cpu_seconds_total", "process_open_fds", "python_info"} <= {name for name, _ in found}


@pytest.mark.parametrize(
    ("query", "models", "names"),
    [
        ("?model[]=credit", {"credit"}, None),
        ("?model%5B%5D=credit&model%5B%5D=prices", {"credit", "prices"}, None),
        ("?collect[]=drift", {"credit", "prices"}, None),
        ("?model[]=prices&collect[]=performance", {"prices"}, None),
        ("?name[]=model_info", {"credit", "prices"}, {"model_info"}),
        ("?name[]=model_info&name[]=model_window_rows&model[]=credit", {"credit"}, {"model_info", "model_window_rows"}),
        ("?model[]=nobody", set(), set()),
    ],
)
def test_filters(server: Serving, query: str, models: set[str], names: set[str] | None) -> None:
    """Each narrows the page to some of the same series."""
    whole, found = server.metrics(), server.metrics(query)
    assert found.keys() <= whole.keys()
    assert {dict(labels)["model"] for _, labels in found} == models
    if names is not None:
        assert {name for name, _ in found} == names


def test_no_label_that_belongs_to_prometheus(server: Serving) -> None:
    """Neither job nor instance, and no time beside a value."""
    text = server.get("/metrics").text
    for line in text.splitlines():
        assert not re.search(r"[{,](job|instance)=", line)
        assert line.startswith("#") or re.fullmatch(r"[a-z_]+(\{.*\})? [^ {}]+", line)


# --- the other pages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_head_is_get_without_a_body(server: Serving, path: str) -> None:
    """Load balancers and probes ask so."""
    got, head = server.get(path), server.get(path, "HEAD")
    assert (got.code, head.code) == (200, 200)
    assert got.body
    assert head.body == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_health(server: Serving) -> None:
    """A word for a person."""
    assert server.get("/-/healthy").text == "model-exporter is healthy.\n"
    assert server.get("/-/ready").text == "model-exporter is ready.\n"


@pytest.mark.parametrize(
    ("method", "path", "code", "kind"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("GET", "/-/reload", 405, "method_not_allowed"),
        ("POST", "/-/reload", 403, "forbidden"),
        ("PUT", "/-/reload", 403, "forbidden"),
        ("GET", "/api/v1/models/nobody/results", 404, "not_found"),
        ("GET", "/api/v1/models/nobody/status", 404, "not_found"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
def test_errors_are_json(server: Serving, method: str, path: str, code: int, kind: str) -> None:
    """In the form that Prometheus' own API has."""
    answer = server.get(path, method)
    assert (answer.code, answer.headers["content-type"]) == (code, "application/json")
    assert answer.json.keys() == {"status", "errorType", "error"}
    assert (answer.json["status"], answer.json["errorType"]) == ("error", kind)
    assert answer.json["error"]


def test_unknown_model_is_told_beside_the_known(server: Serving) -> None:
    """So that one can go on."""
    assert server.get("/api/v1/models/x/results").json["error"] == "no model 'x'; there are credit, prices"


def test_api_models(server: Serving) -> None:
    """Tasks, sources and states of each."""
    listed = {one["model"]: one for one in server.get("/api/v1/models").json["data"]}
    assert list(listed) == ["credit", "prices"]
    credit = listed["credit"]
    assert server.get("/api/v1/models/credit/status").json["data"] | {"next_run": 0} == credit | {"next_run": 0}
    assert set(credit["tasks"]) == {"ingest", "drift", "quality", "performance", "history"}
    assert all(task["success"] and task["error"] is None for task in credit["tasks"].values())
    assert {(one["window"], one["task"]): one["state"] for one in credit["states"]} == states(
        server.metrics(), "credit"
    )
    prices = listed["prices"]
    assert (prices["sources"]["labels"]["up"], prices["sources"]["predictions"]["up"]) == (True, False)
    ((path, error),) = prices["sources"]["predictions"]["errors"].items()
    assert path.endswith("broken.parquet")
    assert error.startswith("cannot be read: ")
    assert 0 < credit["next_run"] - time.time() < 61


def test_api_results_are_the_series(server: Serving) -> None:
    """The same values under the same names as on /metrics."""
    listed = server.get("/api/v1/models/credit/results").json["data"]
    page = server.metrics("?model[]=credit")
    found = {(one["name"], tuple(sorted(one["labels"].items()))): one["value"] for one in listed}
    without = {
        key: value
        for key, value in page.items()
        if not key[0].startswith(("model_task_duration_seconds", "model_task_", "model_source_"))
    }
    assert without.items() <= found.items()
    assert {name for name, _ in found} <= set(FAMILIES)


def test_api_status(server: Serving) -> None:
    """Which configuration is in force."""
    data = server.get("/api/v1/status").json["data"]
    assert data["version"] == __version__
    assert data["config"]["file"] == str(server.config)
    assert re.fullmatch("[0-9a-f]{16}", data["config"]["hash"])
    assert data["config"]["last_reload_successful"] is True
    assert data["not_computed"] == ["sinks.mlflow"]
    assert [one["model"] for one in data["models"]] == ["credit", "prices"]


# --- the landing page -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browse(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], bytes]:
    """Open an address in a real browser with a profile of its own."""
    chromium = need_tool("chromium")

    def run(address: str, what: str) -> bytes:
        profile = tmp_path_factory.mktemp("browser")
        quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
        flags = [f"--{flag}" for flag in (*quiet, "headless", "no-sandbox", "disable-component-update", "disable-sync")]
        command = [chromium, *flags, f"--user-data-dir={profile}", "--window-size=1200,900", what, address]
        return subprocess.run(command, capture_output=True, timeout=90, check=True, cwd=profile).stdout

    return run


def test_landing_page_in_a_browser(server: Serving, browse: Callable[[str, str], bytes]) -> None:
    """Models, tasks, states and what is wrong, for a person; text from the configuration is text."""
    page = browse(f"http://127.0.0.1:{server.port}/", "--dump-dom").decode()
    assert f'model-exporter <span class="dim">{__version__}</span>' in page
    for name in ("credit", "prices"):
        assert re.search(rf'<h2 id="{name}"><a href="/models/{name}">{name}</a>', page)
    for (window, _), state in states(server.metrics(), "credit").items():
        assert f'<span class="state {state}">{window} {state}</span>' in page
    assert page.count(">up</span>") == 5
    assert page.count(">down</span>") == 1
    assert "broken.parquet: cannot be read" in page
    assert "sinks.mlflow is configured, but this version does not compute it." in page
    assert page.count(">never</td>") == 1  # the ingest that has a broken file
    links = set(re.findall(r'href="([^"]+)"', page))
    assert {"metrics", "-/healthy", "-/ready", "api/v1/status"} <= links
    for link in links:
        assert server.get(f"/{link}").code == 200, link


def test_landing_page_can_be_looked_at(server: Serving, browse: Callable[[str, str], bytes], tmp_path: Path) -> None:
    """It is drawn: not one plain colour."""
    picture = tmp_path / "landing.png"
    browse(f"http://127.0.0.1:{server.port}/", f"--screenshot={picture}")
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


# --- start and end ----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_all(tmp_path, "credit", time.time())
    return write_config(tmp_path, model("credit"))


def test_ready_only_after_the_first_run(config: Path, free_port: int) -> None:
    """Until then it is healthy, says what it waits for, and its page is there."""
    hold = config.parent / "hold"
    hold.touch()
    with Serving(config, free_port, hold=hold) as server:
        server.healthy()
        answer = server.get("/-/ready")
        assert (answer.code, answer.headers["content-type"]) == (503, "application/json")
        assert answer.json["reasons"] == [
            f"model credit: task {task} has not run yet"
            for task in ("ingest", "drift", "quality", "performance", "history")
        ]
        assert server.get("/-/ready", "HEAD").code == 503
        until(lambda: select(server.metrics(), "model_task_running", model="credit", task="ingest") == [1.0])
        found = server.metrics()
        assert only(found, "model_task_runs_total", model="credit", task="ingest") == 0
        assert not select(found, "model_task_last_run_success")
        assert not select(found, "model_exporter_snapshot_timestamp_seconds")
        assert "never" in server.get("/").text
        hold.unlink()
        server.ready()
        assert only(server.metrics(), "model_task_running", model="credit", task="ingest") == 0
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once(number: int, config: Path, free_port: int) -> None:
    """With exit code 0, the port free again, and the store in order."""
    with Serving(config, free_port) as server:
        server.ready()
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 5
        assert "stopping" in server.log
        assert "Traceback" not in server.log
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", free_port))


def test_a_run_that_hangs_does_not_hold_up_the_end(config: Path, free_port: int) -> None:
    """It is left; its work is done by the next start."""
    hold = config.parent / "hold"
    hold.touch()
    with Serving(config, free_port, hold=hold) as server:
        server.healthy()
        until(lambda: select(server.metrics(), "model_task_running", task="ingest") == [1.0])
        assert server.stop(seconds=9) == 0
        assert "a run has not ended" in server.log
    hold.unlink()
    with Serving(config, free_port) as server:
        server.ready()
        assert only(server.metrics(), "model_predictions_total", model="credit") == 960


def test_second_exporter_on_one_store_is_refused(config: Path, free_port: int) -> None:
    """In one clear line; the first goes on, and once it has ended the second may start."""
    with Serving(config, free_port) as first:
        first.ready()
        with Serving(config, unused_port()) as second:
            assert second.process.wait(15) == 1
            (line,) = second.log.splitlines()
        store = config.parent / "model-exporter.db"
        mend = "stop that one, or give this one its own"
        assert line == f"model-exporter: store.url: {store} is in use by another exporter: {mend}"
        assert first.get("/-/ready").code == 200
        assert first.stop() == 0
    with Serving(config, free_port) as second:
        second.ready()


def test_killed_exporter_leaves_no_lock(config: Path, free_port: int) -> None:
    """Nor does a machine that lost its power."""
    with Serving(config, free_port) as first:
        first.ready()
        assert first.stop(signal.SIGKILL) == -9
    with Serving(config, free_port) as second:
        second.ready()
        assert only(second.metrics(), "model_predictions_total", model="credit") == 960


def test_port_in_use(config: Path, free_port: int) -> None:
    """One clear line with the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with Serving(config, free_port) as server:
            assert server.process.wait(15) == 1
            assert server.log == f"model-exporter: cannot listen on 127.0.0.1:{free_port}: Address already in use\n"


def test_folder_that_cannot_be_written(config: Path, free_port: int) -> None:
    """The store is told with its path."""
    write_config(config.parent, model("credit"), store={"url": "sqlite:////proc/none/x.db"})
    with Serving(config, free_port) as server:
        assert server.process.wait(15) == 1
        (line,) = server.log.splitlines()
        assert line.startswith("model-exporter: store.url: /proc/none/x.db cannot be written: ")


# --- reload -----------------------------------------------------------------------------------------------------------


def reloads(server: Serving) -> float:
    return only(server.metrics(), "model_exporter_config_last_reload_successful")


def test_reload_changes_windows_and_models(config: Path, free_port: int) -> None:
    """Over HTTP with --web.enable-lifecycle: what is gone vanishes, what is new appears, what stays is left alone."""
    folder = config.parent
    for name in ("prices", "animals"):
        write_all(folder, name, time.time())
    write_config(folder, model("credit"), model("prices"), model("animals"))
    with Serving(config, free_port, "--web.enable-lifecycle") as server:
        server.ready()
        before = server.metrics()
        write_config(folder, model("credit"), model("prices", windows=["2h", "1d"]))
        assert server.get("/-/reload", "POST").text == "configuration is reloaded.\n"
        assert not [labels for _, labels in server.metrics("?model[]=animals")]
        server.ready()
        until(lambda: {window for window, _ in states(server.metrics(), "prices")} == {"2h", "1d"})
        after = server.metrics()
        assert {
            dict(labels)["window"]
            for _, labels in after
            if dict(labels).get("model") == "prices" and "window" in dict(labels)
        } == {"2h", "1d"}
        kept = {key: value for key, value in before.items() if dict(key[1]).get("model") == "credit"}
        assert kept.items() <= after.items()
        assert [one["model"] for one in server.get("/api/v1/models").json["data"]] == ["credit", "prices"]
        write_config(folder, model("animals"), model("credit"))
        assert server.get("/-/reload", "PUT").code == 200
        server.ready()
        until(lambda: states(server.metrics(), "animals"))
        assert only(server.metrics(), "model_predictions_total", model="animals") == 960
        assert server.stop() == 0


BAD: list[tuple[str | dict[str, Any], str]] = [
    ("models: [", "not valid YAML"),
    ("models: []", "at least one is needed"),
    ({"store": {"url": "sqlite:///other.db"}}, "store.url was changed"),
    ({"series_limit": "none"}, "series_limit: a whole number is expected, not 'none'"),
    ({"defaults": {"schedule": {"cron": "61 * * * *"}}}, "schedule.cron: no cron line"),
]


def test_bad_file_keeps_the_running_configuration(config: Path, free_port: int) -> None:
    """Nothing changes but the series that says so, the status, the log and the landing page."""
    good = config.read_text()
    loaded = "model_exporter_config_last_reload_success_timestamp_seconds"
    with Serving(config, free_port, "--web.enable-lifecycle") as server:
        server.ready()
        before = server.metrics()
        own = {key: value for key, value in before.items() if dict(key[1]).get("model") == "credit"}
        for bad, told in BAD:
            if isinstance(bad, str):
                config.write_text(bad)
            else:
                write_config(config.parent, model("credit", windows=["3h"]), **bad)
            answer = server.get("/-/reload", "POST")
            assert (answer.code, answer.json["errorType"]) == (500, "bad_config")
            assert told in answer.json["error"]
            after = server.metrics()
            assert reloads(server) == 0
            assert only(after, loaded) == only(before, loaded)
            assert own.items() <= after.items()
            assert told in server.get("/api/v1/status").json["data"]["config"]["last_reload_error"]
            assert "The last reload failed" in server.get("/").text
            assert told in server.log
        config.write_text(good)
        assert server.get("/-/reload", "POST").code == 200
        assert reloads(server) == 1
        assert only(server.metrics(), loaded) > only(before, loaded)
        assert "The last reload failed" not in server.get("/").text


def test_sighup_reloads_always(config: Path, free_port: int) -> None:
    """Also where HTTP may not; a bad file, then a good one."""
    good = config.read_text()
    with Serving(config, free_port) as server:
        server.ready()
        config.write_text("models: [")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "the running configuration stays" in server.log)
        assert server.get("/-/reload", "POST").code == 403
        until(lambda: reloads(server) == 0)
        assert states(server.metrics(), "credit")
        config.write_text(good.replace("6h", "3h"))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: {window for window, _ in states(server.metrics(), "credit")} == {"3h", "1d"})
        assert reloads(server) == 1
        assert server.stop() == 0


def held(config: Path, free_port: int) -> tuple[Serving, Path]:
    """A server in the middle of its first run, which goes on when the file is gone."""
    hold = config.parent / "hold"
    hold.touch()
    server = Serving(config, free_port, "--web.enable-lifecycle", hold=hold).healthy()
    until(lambda: select(server.metrics(), "model_task_running", model="credit", task="ingest") == [1.0])
    return server, hold


def test_reload_while_a_model_runs(config: Path, free_port: int) -> None:
    """The new settings run as soon as the old run has ended, not an interval later; no row is counted twice."""
    write_config(config.parent, model("credit", schedule={"every": "1h"}))
    server, hold = held(config, free_port)
    with server:
        write_config(config.parent, model("credit", schedule={"every": "1h"}, windows=["3h"]))
        assert server.get("/-/reload", "POST").code == 200
        assert server.get("/-/ready").code == 503
        hold.unlink()
        server.ready()
        until(lambda: {window for window, _ in states(server.metrics(), "credit")} == {"3h"})
        found = server.metrics()
        assert only(found, "model_predictions_total") == 960
        assert select(found, "model_task_skipped_total", task="ingest") == [0, 0, 0]
        assert server.stop() == 0


def test_model_that_is_removed_while_it_runs(config: Path, free_port: int) -> None:
    """Leaves nothing on the page when its run ends."""
    write_all(config.parent, "prices", time.time())
    server, hold = held(config, free_port)
    with server:
        write_config(config.parent, model("prices"))
        assert server.get("/-/reload", "POST").code == 200
        hold.unlink()
        server.ready()
        until(lambda: states(server.metrics(), "prices"))
        assert {dict(labels)["model"] for name, labels in server.metrics() if "model" in dict(labels)} == {"prices"}
        assert server.stop() == 0


def test_a_name_may_have_a_slash(tmp_path: Path) -> None:
    """As names of registries have, and other signs that addresses have a use for; written as it is or escaped."""
    write_all(tmp_path, "credit", time.time())
    with Serving(write_config(tmp_path, model("credit") | {"name": "team/credit#1"}), unused_port()) as serving:
        serving.ready()
        for written in ("team/credit%231", "team%2Fcredit%231"):
            assert serving.get(f"/api/v1/models/{written}/status").json["data"]["model"] == "team/credit#1"
            assert "no retraining of 'team/credit#1'" in serving.get(f"/models/{written}/retrain").json["error"]
            for path in (f"/api/v1/models/{written}/results", f"/models/{written}"):
                assert (path, serving.get(path).code) == (path, 200)
        for path in ("/models/team/credit%231", "/api/v1/models/team/credit%231/results"):
            assert f'href="{path}"' in serving.get("/").text
        assert serving.get("/api/v1/models/team/status").code == 404
        assert serving.stop() == 0
