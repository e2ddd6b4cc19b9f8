"""docker-compose.yml, the Dockerfile and the configurations they mount agree with each other."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from exporter.backfill.command import SCRAPED
from exporter.cli import parser
from exporter.duration import parse, show
from exporter.past import LENGTH, step_at
from exporter.rows import SECOND

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


COMPOSE = load("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
each_service = pytest.mark.parametrize("name", SERVICES)


def default(value: str) -> str:
    """`${VARIABLE:-text}` as Compose reads it when the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def mounts(name: str) -> dict[PurePosixPath, Path]:
    """The service's bind mounts: path in the container -> path in the repository."""
    parts = [default(volume).split(":") for volume in SERVICES[name].get("volumes", [])]
    return {PurePosixPath(target): ROOT / source for source, target, *_ in parts if source.startswith(".")}


def in_repository(name: str, path: str, base: str) -> Path:
    """The file that the service sees at `path`, relative to the directory `base`."""
    seen = PurePosixPath(base) / path
    for target, source in mounts(name).items():
        if seen.is_relative_to(target):
            return source / seen.relative_to(target)
    raise AssertionError(f"nothing is mounted at {seen} of {name}")


def instruction(word: str) -> list[str]:
    """The arguments of each such instruction of the Dockerfile, continuation lines joined."""
    return re.findall(rf"^{word}\s+(.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def values(node: Any, keys: set[str]) -> Iterator[str]:
    """Every string under one of the keys, however deep."""
    if isinstance(node, list):
        for item in node:
            yield from values(item, keys)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield from [value] if isinstance(value, str) else value
            else:
                yield from values(value, keys)


def addresses() -> Iterator[tuple[str, str]]:
    """(service that connects, host it connects to) of every configured address."""
    configured = {
        "prometheus": values(load("prometheus/prometheus.compose.yml"), {"targets"}),
        "alertmanager": values(
            load("alertmanager/alertmanager.compose.yml"),
            {"smtp_smarthost", "smarthost", "url", "api_url", "slack_api_url"},
        ),
        "grafana": (
            url
            for file in (ROOT / "grafana/provisioning/datasources").glob("*.y*ml")
            for url in values(yaml.safe_load(file.read_text()), {"url"})
        ),
    }
    for name, found in configured.items():
        for address in found:
            host = urlsplit(address if "//" in address else f"//{address}").hostname
            assert host, f"{name}: {address!r} has no host"
            yield name, host


def test_every_mounted_path_is_in_the_repository() -> None:
    sources = [source for name in SERVICES for source in mounts(name).values()]
    sources += [ROOT / default(secret["file"]) for secret in COMPOSE["secrets"].values()]
    assert sources
    assert [str(source) for source in sources if not source.exists()] == []


def test_every_named_volume_and_secret_is_declared() -> None:
    volumes = {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", []) if not v.startswith(".")}
    secrets = {secret for s in SERVICES.values() for secret in s.get("secrets", [])}
    assert volumes == set(COMPOSE["volumes"])
    assert secrets == set(COMPOSE["secrets"])


@each_service
def test_image_is_pinned(name: str) -> None:
    service = SERVICES[name]
    tagged, _, digest = service["image"].partition("@")
    tag = tagged.rpartition("/")[2].partition(":")[2]
    assert tag and tag != "latest"
    assert "build" in service or re.fullmatch(r"sha256:[0-9a-f]{64}", digest)


@each_service
def test_ports_are_open_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each_service
def test_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


@each_service
def test_service_waits_only_for_services_that_report_health(name: str) -> None:
    for needed, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait == {"condition": "service_healthy"}
        # A service built here has the health check of the Dockerfile.
        assert "healthcheck" in SERVICES[needed] or "build" in SERVICES[needed]


def test_configured_addresses_are_services() -> None:
    """A host without a dot is a service of this file; `localhost` is the service itself."""
    found = list(addresses())
    assert {name for name, _ in found} == {"prometheus", "alertmanager", "grafana"}
    local = [(name, host) for name, host in found if "." not in host and host != "localhost"]
    assert [pair for pair in local if pair[1] not in SERVICES] == []


def test_prometheus_finds_its_rules() -> None:
    for pattern in load("prometheus/prometheus.compose.yml")["rule_files"]:
        path = in_repository("prometheus", pattern, "/etc/prometheus")
        assert list(path.parent.glob(path.name)), pattern


def test_alertmanager_finds_its_templates() -> None:
    for pattern in load("alertmanager/alertmanager.compose.yml").get("templates", []):
        path = in_repository("alertmanager", pattern, "/etc/alertmanager")
        assert list(path.parent.glob(path.name)), pattern


def test_grafana_finds_its_dashboards() -> None:
    providers = [
        provider["options"]["path"]
        for file in (ROOT / "grafana/provisioning/dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(file.read_text())["providers"]
    ]
    assert providers
    for path in providers:
        assert list(in_repository("grafana", path, "/").glob("*.json")), path
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert in_repository("grafana", home, "/").is_file()


def test_image_does_not_run_as_root() -> None:
    (user,) = instruction("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes' runAsNonRoot needs a number"


def test_image_starts_without_a_shell() -> None:
    for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        (arguments,) = instruction(word)
        assert "[" in arguments, f"{word} is in shell form"


def test_image_reports_its_health_on_its_port() -> None:
    (port,) = instruction("EXPOSE")
    (check,) = instruction("HEALTHCHECK")
    (command,) = instruction("CMD")
    assert port in check and "/-/healthy" in check
    assert f"--web.listen-address=0.0.0.0:{port}" in command
    assert SERVICES["exporter"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_exporter_knows_the_commands_it_is_started_with() -> None:
    (command,) = instruction("CMD")
    assert parser().parse_args(json.loads(command)).config == Path("/etc/model-exporter/model-exporter.yml")
    assert parser().parse_args(SERVICES["exporter"]["command"]).listen == ("0.0.0.0", 9877)


def test_builder_gets_everything_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"]}
    needed |= {*project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert lines[0] == "*", "an allow list: what is not named stays out"
    allowed = [PurePosixPath(line[1:]) for line in lines if line.startswith("!")]
    assert [path for path in sorted(needed) if not any(PurePosixPath(path).is_relative_to(a) for a in allowed)] == []


def test_past_is_loaded_as_it_is_scraped() -> None:
    """Into the volume of Prometheus, under the name by which Prometheus scrapes the exporter, with its programs."""
    history = parser().parse_args(SERVICES["history"]["command"])
    jobs = {job["job_name"]: job for job in load("prometheus/prometheus.compose.yml")["scrape_configs"]}
    (target,) = jobs[SCRAPED["job"]]["static_configs"][0]["targets"]
    assert f"{history.listen[0]}:{history.listen[1]}" == target
    flags = SERVICES["prometheus"]["command"]
    assert f"--storage.tsdb.path={history.history_only}" in flags
    assert f"prometheus-data:{history.history_only}" in SERVICES["history"]["volumes"]
    assert f"--query.lookback-delta={show(step_at(1.0))}" in flags
    assert instruction("COPY --from=prometheus") == ["/bin/prometheus /bin/promtool /usr/local/bin/"]
    assert f"FROM {SERVICES['prometheus']['image']} AS prometheus" in DOCKERFILE
    (kept,) = [flag.partition("=")[2] for flag in flags if flag.startswith("--storage.tsdb.retention.time")]
    assert parse(kept) > LENGTH / SECOND
