"""The house's plan: imports go down only, each library has its room, no file and no function grows too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "exporter"
# From the ground up. A module imports from the floors below its own; on one floor nobody imports from a neighbour,
# but for the parts of a profile, which are built of each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("", "duration", "logs", "threads", "shards", "runs", "special", "catalogue.family", "arrow"),
    ("retrain", "audit"),
    ("rows", "drift", "performance", "business"),
    ("examples",),
    (*(f"catalogue.{one}" for one in ("data", "drift", "performance", "retrain", "tasks", "value", "windows")),),
    ("catalogue",),
    ("drift.sample", "performance.tables", "fields", "derive", "drift.resampling", "drift.detectors", "drift.features"),
    ("drift.kolmogorov",),
    ("performance.trees", "performance.calibrators"),
    ("performance.losses",),
    ("business.columns", "business.values"),
    (
        "drift.noise",
        "drift.tails",
        "business.expression",
        "performance.intervals",
        "performance.resampling",
        "performance.trends",
    ),
    ("business.settings", "retrain.settings", "retrain.alerts", "retrain.signature", "retrain.event"),
    ("retrain.decision", "retrain.secrets"),
    ("retrain.action",),
    ("performance.margins", "performance.ranking", "performance.probabilities", "performance.custom"),
    (*(f"drift.detectors.{one}" for one in ("adwin", "ddm", "ewma", "page_hinkley")),),
    ("drift.bins", "drift.ranks", "drift.sequential", "drift.domain", "drift.reconstruction", "drift.means"),
    ("drift.univariate", "drift.multivariate"),
    ("drift.calibration", "drift.pairs", "performance.classification", "performance.regression"),
    ("drift.settings", "drift.windows", "performance.metrics", "drift.multivariate_calibration"),
    ("drift.verdicts", "performance.expected"),
    ("performance.verdicts",),
    ("sources", "sources.settings", "sources.ship", "sources.position"),
    ("settings",),
    ("consistency",),
    ("mistakes",),
    ("config", "schema", "segments"),
    ("profile", "profile.counts"),
    ("profile.coding",),
    ("profile.packed",),
    (
        *("profile.numeric", "profile.categorical", "profile.kpi", "profile.serving", "profile.delay"),
        *("profile.ranking", "profile.weight"),
    ),
    ("profile.columns",),
    ("profile.outcome",),
    ("profile.ordered",),
    ("profile.tally",),
    ("profile.labelled",),
    ("profile.estimate",),
    ("profile.plain",),
    ("profile.model",),
    ("profile.batch", "parts", "profile.sample"),
    ("kpis",),
    ("calibrate", "history", "importance", "estimation", "reference_days"),
    ("quality_bounds", "row_baseline"),
    ("baseline",),
    ("reference",),
    ("drift.thresholds", "readings"),
    ("drift.impact",),
    ("evaluate", "evaluate.views"),
    ("evaluate.labels", "evaluate.limits", "evaluate.distributions"),
    ("evaluate.drift", "evaluate.performance", "evaluate.multivariate", "evaluate.estimation"),
    ("quality", "evaluate.business", "evaluate.serving", "evaluate.history", "evaluate.trend"),
    ("sources.listing", "sources.parquet"),
    ("sources.files", "sources.spark", "store.tables", "tasks", "exposition"),
    ("collector", "store.statements", "sources.whole"),
    ("store.rollup",),
    ("store.connect", "store.transaction", "windows"),
    ("store.audit",),
    ("store.retraining",),
    ("store", "store.lease"),
    ("buckets", "store.replace"),
    ("cluster", "cluster.worker", "cluster.typed"),
    ("cluster.plan", "cluster.reader"),
    ("cluster.listing",),
    ("cluster.direct",),
    ("rankings",),
    ("sources.push", "ledger", "cluster.refresh", "retrain.desk", "config_audit", "election"),
    ("retrain.worker",),
    ("account", "ingest", "days", "whole_rows", "inbox"),
    ("problems",),
    ("monitor", "alertmanager"),
    ("report", "report.draw", "report.advice", "report.drift", "backfill", "backfill.feed", "backfill.spool"),
    ("report.build", "report.render"),
    ("scheduler", "check", "drill"),
    ("report.evaluation",),
    ("report.command",),
    ("service",),
    ("web", "web.api", "web.metrics", "web.config", "web.tls"),
    ("web.pages",),
    ("web.access",),
    ("web.retraining",),
    ("web.writes",),
    ("web.push",),
    ("web.app",),
    ("backfill.replay", "backfill.incidents"),
    ("backfill.blocks",),
    ("backfill.command",),
    ("init", "init.columns"),
    ("init.guess",),
    ("init.write",),
    ("init.command",),
    ("demo",),
    ("past",),
    ("demonstration",),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
ROOMS = {
    "sqlalchemy": {
        *("store", "store.audit", "store.connect", "store.lease", "store.replace", "store.retraining"),
        *("store.rollup", "store.statements", "store.tables", "store.transaction"),
    },
    "flask": {
        "web.access",
        "web.api",
        "web.app",
        "web.metrics",
        "web.pages",
        "web.push",
        "web.retraining",
        "web.writes",
    },
    "werkzeug": {"web.app", "web.metrics", "web.writes"},
    "waitress": {"web.app", "web.tls"},
    "bcrypt": {"web.access"},
    "apscheduler": {"runs", "scheduler"},
    "prometheus_client": {"alertmanager", "collector"},
    "yaml": {"alertmanager", "backfill.incidents", "config", "demo", "init.write", "mistakes"},
    "pydantic": {
        *("fields", "business.settings", "drift.settings", "retrain.settings", "settings", "config"),
        "sources.settings",
        "web.config",
    },
    "sqlglot": {"business.expression"},
    "argparse": {"cli"},
    "urllib3": {"retrain.action"},
    "sklearn": {
        "importance",
        "drift.domain",
        "performance.calibrators",
        "performance.losses",
        "threads",
    },
    "threadpoolctl": {"threads"},
    "pyspark": {"cluster.plan", "sources.spark"},
    "py4j": {"sources.spark"},
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 60


def name_of(path: Path) -> str:
    """`exporter/web/app.py` is `web.app`; a package is named as its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "_share" not in path.parts}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
each_module = pytest.mark.parametrize("name", MODULES)


def imported(name: str) -> Iterator[str]:
    """Full names of all that a module imports, also inside of functions."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known = full == "exporter" or full.removeprefix("exporter.") in MODULES
                yield full if known else str(node.module)


def own(name: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = {
        one.removeprefix("exporter").removeprefix(".") for one in imported(name) if one.split(".")[0] == "exporter"
    }
    return found - {""}  # exporter itself is the version


GRAPH = {name: own(name) for name in MODULES}


def test_the_plan_is_of_this_house() -> None:
    """Each module has its floor, and the plan names no other."""
    assert set(FLOOR) == set(MODULES)


def test_the_graph_is_real() -> None:
    """A few imports that are known to be there, one of them inside of a function."""
    assert {"ledger", "store", "sources.files"} <= GRAPH["ingest"]
    assert {"drill", "service", "web.app"} <= GRAPH["cli"]
    assert sum(map(len, GRAPH.values())) > 80


@each_module
def test_imports_go_down(name: str) -> None:
    """To lower floors only; so there is no cycle."""
    for other in GRAPH[name]:
        assert FLOOR[other] < FLOOR[name], f"{name} is not above {other}"


@each_module
def test_libraries_stay_in_their_rooms(name: str) -> None:
    """One room each, where it can be."""
    for one in imported(name):
        library = one.split(".")[0]
        assert name in ROOMS.get(library, {name}), f"{name} imports {library}"


def test_every_room_is_used() -> None:
    """A room without its library is a plan of another house."""
    for library, names in ROOMS.items():
        users = {name for name in MODULES if library in {one.split(".")[0] for one in imported(name)}}
        assert users == names, library


@each_module
def test_files_are_short(name: str) -> None:
    """One can read one at a time."""
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@each_module
def test_functions_are_short(name: str) -> None:
    """From the first decorator to the last line."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            assert node.end_lineno is not None
            length = node.end_lineno - first + 1
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{name}.{node.name} has {length} lines"


@each_module
def test_module_says_what_it_is(name: str) -> None:
    """One sentence at its top, but for an empty `__init__`."""
    tree = TREES[name]
    assert ast.get_docstring(tree) or not tree.body


def test_no_room_for_everything() -> None:
    """Names under which anything could be put."""
    banned = {"utils", "util", "helpers", "helper", "common", "base", "manager", "core", "misc"}
    assert not {part for name in MODULES for part in name.split(".")} & banned
