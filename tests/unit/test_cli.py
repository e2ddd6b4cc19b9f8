"""The command line as a person uses it: help, exit codes, one line for each mistake and never a traceback."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import __version__
from exporter.catalogue import FAMILIES
from exporter.cli import main, parser
from tests.integration.small import DAY, NOON, model, write_all, write_config

COMMANDS = ("serve", "check", "run", "init", "backfill", "report", "demo")
AT = datetime.fromtimestamp(NOON, UTC).isoformat()
LATER = ("model_task_last_duration_seconds", "model_task_duration_seconds", "model_source_read_seconds")


Ended = subprocess.CompletedProcess[str]


def process(*arguments: object) -> Ended:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "exporter", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def cli(*arguments: object) -> Ended:
    """Run the command in this process, which is quicker, and leave its logging as it was."""
    root, out, err = logging.getLogger(), io.StringIO(), io.StringIO()
    before, level, root.handlers = root.handlers, root.level, []
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    finally:
        root.handlers = before
        root.setLevel(level)
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models' files and their configuration; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("credit", "prices"):
        write_all(folder, name, NOON)
    return write_config(folder, model("credit"), model("prices"))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return shutil.copytree(made.parent, tmp_path / "copy") / made.name


def one_line(found: Ended, code: int = 1) -> str:
    """The only line of a command that failed."""
    assert found.returncode == code, found
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    return line


# --- help and usage ---------------------------------------------------------------------------------------------------


def test_version() -> None:
    """The package's own."""
    found = process("--version")
    assert (found.returncode, found.stdout, found.stderr) == (0, f"model-exporter {__version__}\n", "")


def test_installed_command() -> None:
    """The same under the name that it is installed by."""
    script = Path(sys.executable).parent / "model-exporter"
    found = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert found.stdout == f"model-exporter {__version__}\n"


def test_help_lists_the_commands() -> None:
    """Each with a word about it."""
    found = process("--help")
    assert found.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\s+\w+", found.stdout, re.MULTILINE)


def flags(command: str) -> dict[str, Any]:
    """The flags of a command, with what the parser knows of them."""
    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    return {flag: action for action in commands.choices[command]._actions for flag in action.option_strings}  # type: ignore[index]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete: every flag of the contract, each with its meaning."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    wanted = {
        "serve": ["--config.file", "--web.listen-address", "--web.enable-lifecycle"],
        "check": ["--config.file", "--format"],
        "run": ["--config.file", "--model", "--at", "--format"],
        "backfill": ["--config.file", "--from", "--to", "--step", "--output", "--label", "--blocks", "--rules"],
        "init": ["--reference", "--predictions", "--labels", "--name"],
        "report": ["--config.file", "--model", "--at", "--format", "--output"],
        "demo": ["--speed", "--web.listen-address"],
    }[command]
    for flag in (*wanted, "--log.level", "--log.format"):
        assert flag in shown
    for flag, action in flags(command).items():
        assert flag in shown
        assert action.help, f"{flag} says what it means"


def test_default_address() -> None:
    """The contract's, on this machine only."""
    assert parser().parse_args(["serve", "--config.file", "x"]).listen == ("127.0.0.1", 9877)


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0:9000", ("0.0.0.0", 9000)), (":9000", ("0.0.0.0", 9000)), ("[::1]:9000", ("::1", 9000))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """As Prometheus' own programs take them."""
    assert parser().parse_args(["serve", "--config.file", "x", "--web.listen-address", text]).listen == address


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["serve"],
        ["check", "--config.file"],
        ["run", "--config.file", "x", "--at", "yesterday"],
        ["run", "--config.file", "x", "--format", "xml"],
        ["serve", "--config.file", "x", "--web.listen-address", "9877"],
        ["serve", "--config.file", "x", "--web.listen-address", "localhost:port"],
        ["serve", "--config.file", "x", "--web.listen-address", "localhost:99999"],
        ["check", "--config.file", "x", "--colour"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what the usage is."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: model-exporter" in capsys.readouterr().err


def test_speed_of_the_demo_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage mistake, too."""
    assert main(["demo", "--speed", "0"]) == 2
    assert "--speed" in capsys.readouterr().err


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "check", "run"])
def test_file_that_is_not_there(command: str, tmp_path: Path) -> None:
    """One line with the path and the reason, whatever was asked for."""
    path = tmp_path / "none.yml"
    assert one_line(process(command, "--config.file", path)) == f"{path}:1: cannot be read: No such file or directory"


def test_every_mistake_is_a_line(tmp_path: Path) -> None:
    """Each with file and line; nothing runs."""
    path = write_config(tmp_path, model("credit", tsk="binary", windows=["90m"], performance={"metrics": ["mae"]}))
    found = cli("run", "--config.file", path)
    assert (found.returncode, found.stdout) == (1, "")
    lines = found.stderr.splitlines()
    assert len(lines) == 3
    assert all(re.match(rf"{re.escape(str(path))}:\d+: model credit: ", line) for line in lines)


def test_unknown_model(made: Path) -> None:
    """With those that there are."""
    line = one_line(process("run", "--config.file", made, "--model", "debit"))
    assert line == "model-exporter: no model 'debit': there are credit, prices"


def test_store_that_cannot_be_opened(copied: Path) -> None:
    """One line without a traceback and without the password."""
    write_config(copied.parent, model("credit"), store={"url": "oracle://user:hunter2@host/x"})
    line = one_line(process("serve", "--config.file", copied))
    assert "store.url" in line
    assert "hunter2" not in line


def test_cron_line_that_says_nothing(copied: Path) -> None:
    """Found by check with its line, and by serve before anything runs."""
    write_config(copied.parent, model("credit", schedule={"cron": "61 * * * *"}))
    for command in ("check", "serve"):
        found = process(command, "--config.file", copied)
        told = [line for line in found.stderr.splitlines() if line.startswith(str(copied))]
        assert found.returncode == 1
        assert re.match(r".*:\d+: model credit: schedule.cron: no cron line: .*61", told[0])
        assert "Traceback" not in found.stderr


def test_traceback_only_when_debugging(made: Path) -> None:
    """For those who want it."""
    found = process("run", "--config.file", made, "--model", "x", "--log.level", "debug")
    assert found.returncode == 1
    assert "Traceback" in found.stderr


# --- run --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(made: Path) -> Ended:
    return process("run", "--config.file", made, "--at", AT, "--log.level", "warning")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in parse_text(text)
        for one in family.samples
    }


def test_run_prints_the_page(printed: Ended) -> None:
    """Every model's series, in the form that Prometheus reads, and nothing else on standard output."""
    assert (printed.returncode, printed.stderr) == (0, "")
    found = samples(printed.stdout)
    assert {dict(labels).get("model") for _, labels in found} == {"credit", "prices"}
    key = ("model_window_rows", "credit", "6h", "current")
    rows = {
        (name, dict(labels)["model"], dict(labels).get("window"), dict(labels).get("dataset")): value
        for (name, labels), value in found.items()
    }
    assert rows[key] == 120


def test_run_says_the_same_twice(made: Path, printed: Ended) -> None:
    """As of one moment: the same bytes, but for how long it took."""
    again = process("run", "--config.file", made, "--at", AT, "--log.level", "warning")

    def timeless(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith(LATER)]

    assert timeless(again.stdout) == timeless(printed.stdout)
    assert len(timeless(printed.stdout)) > 300


def test_run_leaves_nothing_behind(made: Path, printed: Ended) -> None:
    """No store, no lock: it can run beside the service."""
    assert printed.returncode == 0
    assert {path.name for path in made.parent.iterdir()} == {"credit", "prices", made.name}


def test_run_of_one_model(made: Path, printed: Ended) -> None:
    """Its series and no others, the same as beside the other model."""
    found = samples(cli("run", "--config.file", made, "--at", AT, "--model", "credit").stdout)
    both = samples(printed.stdout)
    assert {key: value for key, value in found.items() if not key[0].startswith(LATER)} == {
        key: value for key, value in both.items() if dict(key[1])["model"] == "credit" and not key[0].startswith(LATER)
    }


def test_run_as_json(made: Path, printed: Ended) -> None:
    """The same samples as a list."""
    found = cli("run", "--config.file", made, "--at", AT, "--format", "json")
    assert found.returncode == 0
    listed = {(one["name"], tuple(sorted(one["labels"].items()))): one["value"] for one in json.loads(found.stdout)}
    page = {key: value for key, value in samples(printed.stdout).items() if not key[0].endswith("_bucket")}
    assert listed.keys() == page.keys()
    assert {key: value for key, value in listed.items() if not key[0].startswith(LATER)} == {
        key: value for key, value in page.items() if not key[0].startswith(LATER)
    }
    names = {
        name.removesuffix(suffix)
        for name, _ in listed
        for suffix in ("_sum", "_count", "")
        if name.removesuffix(suffix) in FAMILIES
    }
    assert len(names) > 30


def test_run_as_of_an_earlier_time(made: Path) -> None:
    """What came later is not seen: neither rows nor labels."""
    at = datetime.fromtimestamp(NOON - DAY, UTC).isoformat()
    found = samples(cli("run", "--config.file", made, "--at", at, "--model", "credit").stdout)
    values = {
        (name, tuple(value for key, value in labels if key in ("dataset", "window"))): value
        for (name, labels), value in found.items()
    }
    assert values["model_window_rows", ("current", "1d")] == 480
    assert values["model_window_rows", ("labelled", "1d")] == 440  # labels take two hours
    assert values["model_predictions_total", ()] == 480
    assert values["model_newest_row_timestamp_seconds", ()] < NOON - DAY


def test_run_fails_with_a_task(copied: Path) -> None:
    """Exit code 1, a line on standard error, and the page with what there is."""
    (copied.parent / "credit" / "reference.parquet").unlink()
    found = cli("run", "--config.file", copied, "--at", AT)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "no file matches" in found.stderr
    page = samples(found.stdout)
    states = {
        dict(labels)["model"]: dict(labels)["state"]
        for (name, labels), value in page.items()
        if name == "model_window_state" and value
    }
    assert states == {"credit": "failed", "prices": "ok"}
    assert not [name for name, labels in page if name.endswith("_drift_score") and dict(labels)["model"] == "credit"]


def test_logs_are_lines(copied: Path) -> None:
    """Text by default; JSON objects where wanted."""
    found = cli("run", "--config.file", copied, "--at", AT, "--model", "credit")
    first, *others = found.stderr.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d .* INFO model credit: new baseline [0-9a-f]{16}", first)
    for line, pair in zip(others, ("6h", "6h against previous"), strict=True):
        assert f" INFO model credit: window {pair}: the reference has too few days" in line
    (copied.parent / "credit" / "reference.parquet").unlink()
    found = cli("run", "--config.file", copied, "--at", AT, "--model", "credit", "--log.format", "json")
    logged = [json.loads(line) for line in found.stderr.splitlines()]
    assert {"ts", "level", "logger", "msg"} <= set(logged[0])
    assert {one["level"] for one in logged} == {"error"}


# --- check ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    """The example with its last two weeks of log, where its configuration looks for them."""
    example = Path(__file__).parents[2] / "examples" / "flights"
    for source in ("predictions", "labels"):
        (tmp_path / "log" / source).mkdir(parents=True)
        for path in sorted((example / source).glob("*.parquet"))[-2:]:
            shutil.copy(path, tmp_path / "log" / source)
    shutil.copy(example / "reference.parquet", tmp_path / "log")
    return Path(shutil.copy(example / "model-exporter.yml", tmp_path))


def test_check_of_the_example(flights: Path) -> None:
    """No mistake, no warning; types, windows, rows needed and series for a person."""
    found = cli("check", "--config.file", flights)
    assert (found.returncode, found.stderr.strip()) == (0, "")
    for text in (
        "model flights-delay (binary), buckets of 300 s",
        "39438 rows, 37891 with a label",
        "distance: numeric",
        "carrier: categorical, 16 categories",
        "window 24h: about",
        "enough",
        "window 7d: thresholds learned from 44 days of the reference",
        "    7d ks: counts above 0.08 to ",
        "series",
    ):
        assert text in found.stdout
    assert not (flights.parent / "model-exporter.db").exists()


def test_check_as_json(flights: Path) -> None:
    """The same for a program."""
    found = cli("check", "--config.file", flights, "--format", "json")
    assert found.returncode == 0
    report = json.loads(found.stdout)
    (one,) = report["models"]
    assert (report["mistakes"], report["warnings"]) == ([], [])
    assert one["windows"] == {"24h": 86400, "7d": 604800}
    assert one["reference"]["rows"] == 39438
    assert one["reference"]["classes"] == ["0", "1"]
    assert one["columns"]["day_of_week"].startswith("categorical")
    assert one["sample"]["rows"] > 1000
    assert one["series_about"] > 1000
    thresholds = {(row["window"], row["method"]): row for row in one["thresholds"]}
    assert {window for window, _ in thresholds} == {"24h", "7d"}
    assert 0.04 == thresholds["7d", "psi"]["lowest"] < thresholds["7d", "psi"]["highest"]
    assert thresholds["24h", "chi2"]["lowest"] > 10  # a statistic, not an effect
    assert "temp" in thresholds["24h", "ks"]["blind"]  # a day's temperature against a winter's
    assert "distance" not in thresholds["24h", "ks"]["blind"]


def drop_column(path: Path, name: str) -> None:
    pq.write_table(pq.read_table(path).drop_columns([name]), path)


def newest(copied: Path, source: str = "predictions", name: str = "credit") -> Path:
    return sorted((copied.parent / name / source).iterdir())[-1]


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("column", ["city", "score", "timestamp", "prediction", "id"])
def test_check_finds_a_missing_column(column: str, copied: Path) -> None:
    """With the line of the section, the file and the column; a score like a feature, an id like a time."""
    path = newest(copied)
    drop_column(path, column)
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    number = line_of(copied, "predictions:")
    assert found.stderr.splitlines() == [
        f"{copied}:{number}: model credit: predictions: {path}: column '{column}' is missing"
    ]


def test_check_finds_what_cannot_be_read(copied: Path) -> None:
    """All of it: the report of the other model is there, too."""
    newest(copied).write_bytes(b"PAR1 no")
    newest(copied, "labels").write_bytes(b"")
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    lines = found.stderr.splitlines()
    assert [re.sub(r"(parquet): .*", r"\1", line) for line in lines] == [
        f"{copied}:{line_of(copied, 'predictions:')}: model credit: predictions: {newest(copied)}",
        f"{copied}:{line_of(copied, 'labels:')}: model credit: labels: {newest(copied, 'labels')}",
    ]
    assert "model prices (regression)" in found.stdout
    assert "Traceback" not in found.stderr


def test_check_finds_a_broken_reference(copied: Path) -> None:
    """Without it nothing else can be said of the model."""
    path = copied.parent / "credit" / "reference.parquet"
    path.write_text("no")
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"{copied}:{line_of(copied, 'reference:')}: model credit: reference: {path}: ")
    path.unlink()
    (line,) = cli("check", "--config.file", copied).stderr.splitlines()
    assert line.endswith(f"reference: no file matches {path}")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"positive_class": "yes"}, "columns.positive_class is 'yes', which the reference never has; it has 0, 1"),
        ({"score": "chance"}, "the reference has no column 'chance'; it has "),
        ({"features": ["amount", "weight"]}, "the reference has no column 'weight'; it has "),
    ],
)
def test_check_finds_what_the_reference_does_not_have(columns: dict[str, Any], sentence: str, copied: Path) -> None:
    """A class, a score, a feature: with what there is instead."""
    plain = model("credit")
    plain["columns"] |= columns
    write_config(copied.parent, plain)
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert sentence in line
    assert line.startswith(f"{copied}:")


def test_check_counts_rows_that_cannot_be_used(copied: Path) -> None:
    """Times, ids, numbers and labels, each with how many."""
    import pyarrow as pa

    path = newest(copied)
    plain = pq.read_table(path).to_pylist()
    for row in plain:
        row["amount"] = str(row["amount"])
    plain[0]["timestamp"] = plain[1]["timestamp"] = plain[2]["id"] = None
    plain[3]["amount"] = "a lot"
    pq.write_table(pa.Table.from_pylist(plain), path)
    known = pq.read_table(newest(copied, "labels")).to_pylist()
    known[0]["label"] = 7
    pq.write_table(pa.Table.from_pylist(known), newest(copied, "labels"))
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    told = [line.partition("parquet: ")[2] for line in found.stderr.splitlines()]
    assert told == [
        "2 rows have no usable timestamp",
        "1 rows have no usable id",
        "0.2% of 'amount' are no numbers",
        "1 rows have no usable label",
    ]


def test_check_names_what_is_not_computed(copied: Path) -> None:
    """As a warning: it is no mistake."""
    write_config(copied.parent, model("credit"), sinks={"mlflow": {}})
    found = cli("check", "--config.file", copied)
    assert found.returncode == 0
    assert found.stderr == "warning: sinks.mlflow is read, but this version does not compute it\n"


def test_check_of_no_log_yet(copied: Path) -> None:
    """A pattern that finds nothing is told."""
    shutil.rmtree(copied.parent / "credit" / "predictions")
    found = cli("check", "--config.file", copied)
    assert found.returncode == 1
    assert re.search(r"model credit: predictions: no file matches .*credit/predictions/\*\n", found.stderr)


def test_check_says_where_rows_are_too_few(copied: Path) -> None:
    """Before the window is insufficient in operation."""
    write_config(copied.parent, model("credit", drift={"min_rows": 300}))
    found = cli("check", "--config.file", copied)
    assert re.search(r"window 6h: about 1[12]\d rows expected, too few, 300 are needed", found.stdout)
    assert re.search(r"window 1d: about 4[78]\d rows expected, enough", found.stdout)
