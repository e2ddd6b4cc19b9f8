"""A configuration file is read whole, or every mistake in it is told with its line and its mend."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import ConfigError, load, model_named, parse
from exporter.consistency import not_computed
from exporter.fields import Settings
from exporter.mistakes import Wrong, known_keys
from exporter.settings import Model

FOLDER = Path(__file__).parent / "config"
INVALID = sorted(FOLDER.glob("invalid-*.yml"))
JARGON = re.compile(r"Input should|valid (string|dictionary|tuple)|Tuple|pydantic|\[key\]|dict\[|function-|type=", re.I)
MODEL = """
models:
  - name: a
    task: binary
    columns: {timestamp: t, prediction: p}
    reference: {files: r.parquet}
    predictions: {files: p.parquet}
"""


def expected(path: Path) -> list[str]:
    """The `#= line: sentence` comments at the end of a file."""
    return [line[3:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#= ")]


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value).splitlines() == [str(mistake) for mistake in error.value.mistakes]
    return [str(mistake).removeprefix(f"{path}:") for mistake in error.value.mistakes]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_every_mistake_is_told(path: Path) -> None:
    """Exactly the sentences that stand in the file, sorted by line; lists of known names may grow."""
    assert expected(path), "the file says what is wrong with it"
    told = [re.sub("(?<=; known are )[a-z0-9_, ]+$", "...", mistake) for mistake in mistakes(path)]
    assert told == expected(path)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_mistake_is_one_plain_sentence(path: Path) -> None:
    """A line number and a sentence, in no words of the library that found it."""
    for sentence in expected(path):
        assert not JARGON.search(sentence)
        assert re.fullmatch(r"\d+: \S.*", sentence)


def test_lines_are_those_of_the_mistake() -> None:
    """The key or value in question stands on the line that is named, wherever a sentence names a key of one line."""
    checked = 0
    for path in INVALID:
        lines = path.read_text(encoding="utf-8").splitlines()
        for sentence in expected(path):
            number, place = int(sentence.split(": ")[0]), re.search(r"(\w+): unknown key", sentence)
            if place:
                assert place[1] in lines[number - 1], sentence
                checked += 1
    assert checked > 15


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """The path stands once in the sentence."""
    assert mistakes(tmp_path / "none.yml") == ["1: cannot be read: No such file or directory"]
    assert mistakes(tmp_path) == ["1: cannot be read: Is a directory"]


def test_file_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, in the file and in the file of a secret."""
    path = tmp_path / "latin.yml"
    path.write_bytes("# Z\xfcrich\n".encode("latin-1"))
    assert mistakes(path) == ["1: cannot be read: it is not UTF-8 text"]
    (tmp_path / "url").write_bytes(b"\xff\xfe")
    path.write_text("store: {url_file: url}" + MODEL)
    assert mistakes(path) == ["1: store.url_file: url cannot be read: it is not UTF-8 text"]


def test_the_content_of_a_secret_is_not_told(tmp_path: Path) -> None:
    """A mistake beside a secret does not show it."""
    (tmp_path / "url").write_text("postgresql://user:hunter2@db/x\n")
    path = tmp_path / "c.yml"
    path.write_text("store: {url_file: url}\nserie_limit: 3" + MODEL)
    assert "hunter2" not in "".join(mistakes(path))


# --- what is valid ----------------------------------------------------------------------------------------------------


def only(path: str) -> Model:
    (model,) = load(FOLDER / path).config.models
    return model


def test_the_contracts_example() -> None:
    """Every key of the example is read to its value."""
    loaded = load(FOLDER / "valid-contract.yml")
    model = loaded.config.models[0]
    assert loaded.path == FOLDER / "valid-contract.yml"
    assert re.fullmatch("[0-9a-f]{16}", loaded.hash)
    assert (model.name, model.version, model.task, model.timezone) == (
        "flights-delay",
        "3",
        "binary",
        "America/New_York",
    )
    columns = model.columns
    assert (columns.id, columns.timestamp, columns.prediction) == ("request_id", "timestamp", "prediction")
    assert (columns.score, columns.positive_class) == ("prediction_proba", "1")
    assert (columns.label, columns.label_timestamp) == ("label", "label_timestamp")
    assert columns.features is not None
    assert {name: feature.type for name, feature in columns.features.items()} == {
        "distance": "numeric",
        "carrier": "categorical",
    }
    assert columns.features["carrier"].importance == 0.4
    assert [(window.name, window.seconds) for window in model.windows] == [("24h", 86400), ("7d", 604800)]
    assert (model.schedule.every, model.lateness, model.max_features) == (60, 3600, 100)
    assert model.predictions.files == (str(FOLDER / "data/predictions/*.parquet"),)
    assert model.drift.threshold.of("psi").items() == [("warning", 0.1), ("critical", 0.25)]
    f1, roc_auc = (model.performance.threshold[name] for name in ("f1", "roc_auc"))
    assert roc_auc.min is not None
    assert f1.drop is not None
    assert (roc_auc.min.items(), f1.drop.items()) == ([("critical", 0.7)], [("warning", 0.05)])
    assert model.quality.bound("distance", "missing").max == 0.05
    assert loaded.config.store.url == f"sqlite:///{FOLDER / 'model-exporter.db'}"
    assert loaded.config.store.retention.profiles == 90 * 86400


def test_what_is_read_and_not_computed_is_named() -> None:
    """Nobody takes the silence of a section for health."""
    assert not_computed(load(FOLDER / "valid-contract.yml").config) == [
        "sinks.mlflow",
    ]
    assert not_computed(load(FOLDER / "valid-minimal.yml").config) == []


def test_the_least_that_is_needed() -> None:
    """Everything else has a default."""
    model = only("valid-minimal.yml")
    assert (model.version, model.timezone, model.schedule.every) == ("1", "UTC", 60)
    assert [window.name for window in model.windows] == ["24h", "7d"]
    assert model.columns.features is None
    assert model.labels is None


def test_defaults_are_under_each_model() -> None:
    """A model's own setting stands over the default, key by key; of keys that exclude each other its own stand."""
    config = load(FOLDER / "valid-defaults.yml").config
    plain, own = config.models
    assert (plain.schedule.every, [window.name for window in plain.windows]) == (300, ["1h", "1d"])
    assert (plain.columns.timestamp, plain.columns.prediction) == ("t", "p")
    assert (plain.drift.min_rows, plain.drift.threshold.model_fields_set) == (50, {"psi"})
    assert (own.schedule.every, own.schedule.cron) == (None, "0 6 * * 1-5")
    assert (own.columns.timestamp, own.columns.prediction) == ("when", "p")
    assert [window.name for window in own.windows] == ["12h"]
    assert (own.drift.min_rows, own.drift.threshold.model_fields_set) == (10, {"psi", "ks"})
    assert (own.quality.missing.max, own.quality.missing.increase) == (None, 0.2)
    assert own.quality.unseen.increase == 0.1


def test_paths_are_relative_to_the_file() -> None:
    """Absolute paths stay; the store's URL comes out of its file, without the line's end."""
    config = load(FOLDER / "valid-defaults.yml").config
    plain, own = config.models
    assert plain.predictions.files == (str(FOLDER / "p/*.parquet"), str(FOLDER / "p/*.jsonl"))
    assert own.reference.files == ("/data/r.parquet",)
    assert own.predictions.files == (str(FOLDER / "../p.parquet"),)
    assert config.store.url == "postgresql+psycopg://exporter@db/metrics"
    assert config.store.url_file is None


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("sqlite:///x.db", "sqlite:///{base}/x.db"),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql+psycopg://db/x", "postgresql+psycopg://db/x"),
    ],
)
def test_store_url(url: str, found: str, tmp_path: Path) -> None:
    """Only a relative SQLite file is relative to the configuration."""
    config = parse(f"store: {{url: '{url}'}}{MODEL}", tmp_path / "c.yml")
    assert config.store.url == found.format(base=tmp_path)


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    """Only what the user wrote is a pattern, not where the file happens to be."""
    folder = tmp_path / "logs [old]"
    folder.mkdir()
    (folder / "p.parquet").touch()
    (folder / "c.yml").write_text(MODEL)
    import glob

    model = load(folder / "c.yml").config.models[0]
    assert glob.glob(model.predictions.files[0]) == [str(folder / "p.parquet")]


def test_forms_of_one_thing() -> None:
    """Lists and mappings of features; classes and versions that YAML reads as numbers or as true."""
    binary, multiclass, minutes = load(FOLDER / "valid-shapes.yml").config.models
    assert (binary.version, binary.columns.positive_class) == ("1.5", "1")
    assert list(binary.columns.features or {}) == ["a", "b"]
    thresholds = binary.performance.threshold
    assert [(thresholds[name].min or thresholds[name].max or thresholds[name].drop).items() for name in thresholds] == [  # type: ignore[union-attr]
        [("critical", 0.5)],
        [("warning", 0.6), ("critical", 0.5)],
        [("warning", 0.1)],
        [("critical", 1)],
    ]
    assert multiclass.version == {"column": "model_version"}
    assert multiclass.columns.score == {"0": "p0", "1": "p1", "2": "p2"}
    features = multiclass.columns.features or {}
    assert [features[name].type for name in "abc"] == [None, "numeric", "categorical"]
    assert multiclass.quality.bound("a", "missing").max == 1
    assert multiclass.quality.bound("b", "missing").increase == 0.05
    assert multiclass.quality.bound("a", "invalid").max == 0.01
    assert minutes.bucket_seconds == 60


def test_model_by_name() -> None:
    """An unknown one is told beside those that there are."""
    config = load(FOLDER / "valid-shapes.yml").config
    assert model_named(config, "multiclass") is config.models[1]
    with pytest.raises(KeyError, match="no model 'x': there are binary, multiclass, a-day-of-minutes"):
        model_named(config, "x")


def test_place_of_a_mistake_in_the_data() -> None:
    """What is found later, in the files, is told with the line of the section that names them."""
    lines = load(FOLDER / "valid-shapes.yml").lines
    told = lines.mistake(Wrong(("models", 1, "predictions"), "no file matches"), of_model=True)
    assert str(told) == f"{FOLDER / 'valid-shapes.yml'}:27: model multiclass: predictions: no file matches"


def test_place_of_a_mistake_under_defaults() -> None:
    """It stands under defaults, and is the model's."""
    lines = load(FOLDER / "valid-defaults.yml").lines
    told = lines.mistake(Wrong(("models", 0, "schedule", "every"), "too often"), of_model=True)
    assert (told.line, told.message) == (4, "model as-the-defaults: schedule.every: too often")


def test_known_keys_reach_every_section() -> None:
    """The nearest key can be named in each section of the settings, also below keys that the user chose."""
    assert "defaults" in known_keys(())
    assert known_keys(("models", 3, "columns", "features", "x")) == ["type", "importance", "windows"]
    assert known_keys(("models", 0, "quality", "features", "x", "unseen")) == ["max", "increase"]
    assert known_keys(("models", 0, "performance", "threshold", "f1", "min")) == ["warning", "critical"]
    assert known_keys(("sinks", "mlflow")) == []
    assert known_keys(("no", "such", "place")) == []


# --- whatever is written ----------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), st.floats(), st.sampled_from(["", "24h", "ks", "a", "binary"])
)


def keys_of(section: type[Settings]) -> list[str]:
    return list(section.model_fields)


def anything() -> st.SearchStrategy[Any]:
    names = st.sampled_from([*keys_of(Model), "timestamp", "prediction", "files", "psi", "min", "x", "column"])
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
        max_leaves=12,
    )


@given(st.dictionaries(st.sampled_from(keys_of(Model)), anything(), max_size=6), anything())
def test_anything_is_a_configuration_or_a_mistake(model: dict[str, Any], defaults: Any) -> None:
    """No other exception, whatever YAML says; each mistake has a line that the file has."""
    valid = yaml.safe_load(MODEL)["models"][0]
    text = yaml.safe_dump({"defaults": defaults, "models": [valid | model, valid | {"name": "b"}]})
    try:
        parse(text, Path("c.yml"))
    except ConfigError as error:
        assert error.mistakes
        for mistake in error.mistakes:
            assert 1 <= mistake.line <= text.count("\n") + 1
            assert not JARGON.search(mistake.message), mistake


@given(st.text(max_size=60))
def test_any_text_is_refused_in_order(text: str) -> None:
    """Text that is no configuration is a ConfigError, never another exception."""
    with pytest.raises(ConfigError):
        parse(text, Path("c.yml"))


def test_one_mistake_hides_no_other() -> None:
    """Any set of mistakes in one model is told as the mistakes one by one."""
    one_by_one = {
        "task: binary": ("tsk: binary", "tsk: unknown key"),
        "every: 5m": ("every: often", "is not a duration"),
        "[24h]": ("[90m]", "is not a multiple of the bucket"),
        "[ks]": ("[kss]", "unknown method 'kss'"),
        "min_rows: 10": ("min_rows: ten", "a whole number is expected"),
        "[f1]": ("[f2]", "unknown metric 'f2'"),
        "id: i": ("idd: i", "idd: unknown key"),
        "max: 0.1": ("max: 2", "at most 1 is expected"),
    }
    good = MODEL.replace("prediction: p}", "prediction: p, id: i, label: y}") + (
        "    labels: {files: l.parquet}\n    schedule: {every: 5m}\n    windows: [24h]\n    bucket: 1h\n"
        "    drift: {numeric: [ks], min_rows: 10}\n    performance: {metrics: [f1]}\n"
        "    quality: {missing: {max: 0.1}}\n"
    )
    parse(good, Path("c.yml"))
    order = random.Random(1)
    for count in [1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8] * 3:
        text = good
        chosen = order.sample(list(one_by_one), count)
        for right in chosen:
            text = text.replace(right, one_by_one[right][0])
        with pytest.raises(ConfigError) as error:
            parse(text, Path("c.yml"))
        told = [mistake.message for mistake in error.value.mistakes]
        assert len(told) == count, (chosen, told)
        for right in chosen:
            assert any(one_by_one[right][1] in message for message in told), (right, told)
