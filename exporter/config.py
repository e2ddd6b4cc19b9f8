"""YAML file -> frozen settings; all mistakes at once, each with its line and its mend."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError

from exporter.consistency import Place, conflicts
from exporter.fields import Settings
from exporter.mistakes import MISSING, Lines, Mistake, Wrong, explain, mend
from exporter.retrain import secrets
from exporter.settings import Config, Model, Store
from exporter.sources.settings import Source

_ALTERNATIVES = ({"every", "cron"}, {"max", "increase"})
_ROUNDS = 5
_NO_FIELDS: dict[str, Any] = {}
Section = TypeVar("Section", bound=Settings)


class ConfigError(Exception):
    """A configuration that cannot be used; `mistakes` has every one of them."""

    def __init__(self, mistakes: Sequence[Mistake]):
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class Loaded(NamedTuple):
    """A usable configuration, where it came from, a hash of its text, and where its places stand."""

    config: Config
    path: Path
    hash: str
    lines: Lines


def load(path: Path) -> Loaded:
    """Read a configuration file; raise ConfigError with every mistake in it."""
    text = _read(path)
    config, lines = _parse(text, path)
    return Loaded(config, path, hashlib.sha256(text.encode()).hexdigest()[:16], lines)


def load_other(path: Path, kind: type[Section]) -> tuple[Section, Lines]:
    """Read a YAML file of another kind; raise ConfigError with every mistake in it."""
    root, tree = _compose(_read(path), str(path))
    lines = Lines(str(path), root)
    found, wrong = _validated(kind, tree, (), kind)
    mistakes = [*lines.double_keys(), *(lines.mistake(one) for one in wrong)]
    if found is None or mistakes:
        raise ConfigError(sorted(set(mistakes), key=lambda mistake: (mistake.line, mistake.message)))
    return found, lines


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([Mistake(str(path), 1, "cannot be read: it is not UTF-8 text")]) from error
    except OSError as error:
        raise ConfigError([Mistake(str(path), 1, f"cannot be read: {error.strerror or error}")]) from error


def parse(text: str, path: Path) -> Config:
    """Turn YAML text into settings with absolute paths; raise ConfigError with every mistake in it."""
    return _parse(text, path)[0]


def _parse(text: str, path: Path) -> tuple[Config, Lines]:
    root, tree = _compose(text, str(path))
    lines = Lines(str(path), root)
    mistakes = [*lines.double_keys()]
    models, wrong = _models(tree)
    for number, (model, own) in models.items():
        wrong += own
        mistakes += [lines.mistake(one, of_model=True) for one in _conflicts(number, model, own)]
    top = {key: value for key, value in tree.items() if key != "defaults"}
    if models:
        top["models"] = [model or Model.model_construct(**_NO_FIELDS) for model, _ in models.values()]
    config, own = _validated(Config, top, ())
    base = path.resolve().parent
    store, unreadable = _store(config.store, base) if config is not None else (Store(), [])
    mistakes += [lines.mistake(one) for one in (*wrong, *own, *unreadable, *_sessions(models))]
    for number, (model, own) in models.items():
        mistakes += [lines.mistake(one, of_model=True) for one in _secrets(number, model, own, base)]
    if config is None or mistakes:
        raise ConfigError(sorted(set(mistakes), key=lambda mistake: (mistake.line, mistake.message)))
    return _absolute(config, store, base), lines


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """Read YAML by the C library, ten times as fast, where it is there; what is wrong is told by the Python one."""
    with contextlib.suppress(yaml.YAMLError):
        fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.compose(text, Loader=fast), yaml.load(text, Loader=fast)
    return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)


def _compose(text: str, file: str) -> tuple[yaml.Node, dict[str, Any]]:
    """Read YAML as nodes, which know their lines, and as plain values."""
    try:
        root, tree = _parsed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        told = [text for text in (getattr(error, "context", ""), getattr(error, "problem", "")) if text]
        raise ConfigError([Mistake(file, line, f"not valid YAML: {', '.join(told) or error}")]) from error
    if not isinstance(tree, dict) or root is None:
        raise ConfigError([Mistake(file, 1, "a mapping with the key models is expected")])
    return root, tree


def _models(tree: dict[str, Any]) -> tuple[dict[int, tuple[Model | None, list[Wrong]]], list[Wrong]]:
    """Read each model, the defaults merged into it, with what is wrong in it; and what is wrong beside that."""
    wrong: list[Wrong] = []
    defaults = tree.get("defaults") or {}
    if not isinstance(defaults, dict):
        wrong.append(Wrong(("defaults",), "a mapping with the keys of a model is expected"))
        defaults = {}
    models = {}
    names = set()
    listed = tree.get("models")
    for number, raw in enumerate(listed if isinstance(listed, list) else ()):
        models[number] = _validated(Model, _merge(defaults, raw), ("models", number))
        name = raw.get("name") if isinstance(raw, dict) else None
        if name is not None and str(name) in names:
            wrong.append(Wrong(("models", number, "name"), "this name is used twice; each model needs its own"))
        names.add(str(name))
    return models, wrong


def _sessions(models: Mapping[int, tuple[Model | None, list[Wrong]]]) -> list[Wrong]:
    """Find the sources that ask for another Spark session than the first one: a process has one."""
    wrong, wanted = [], None
    for number, (model, _) in models.items():
        for source in ("reference", "predictions") if model is not None else ():
            spec = getattr(model, source).spark
            if spec is None:
                continue
            wanted = wanted or (spec.session, f"models.{number}.{source}")
            if spec.session != wanted[0]:
                sentence = f"one process has one Spark session: give the same master, remote and conf as {wanted[1]}"
                wrong.append(Wrong(("models", number, source, "spark"), sentence))
    return wrong


def _merge(below: Any, above: Any) -> Any:
    """Put a model's settings over the defaults; of keys that exclude each other the model's own stand."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if any({*below, *above} <= keys for keys in _ALTERNATIVES):
        return above
    return below | {key: _merge(below.get(key), value) for key, value in above.items()}


def _validated(
    section: type[Section], tree: Any, at: Place, root: type[Settings] = Config
) -> tuple[Section | None, list[Wrong]]:
    """Read a section and all that is wrong in it; it is mended meanwhile, so that no mistake hides others."""
    wrong: list[Wrong] = []
    tree = deepcopy(tree)
    for first in (True, *[False] * _ROUNDS):
        try:
            return section.model_validate(tree), wrong
        except ValidationError as error:
            found = [explain(one, tree, at, root) for one in error.errors()]
        meant = [one.meant for one in (*wrong, *found) if one.meant]
        for one in found:
            beside = [other.place for other in found if other.place != one.place]
            follows = (one.message == MISSING and one.place in meant) or any(_below(p, one.place) for p in beside)
            if not follows and (first or any(_below(one.place, place) for place in meant)):
                wrong.append(one._replace(place=_as_written(one.place, wrong)))
            if one.message != MISSING:
                mend(tree, one, len(at))
    return None, wrong


def _as_written(place: Place, wrong: list[Wrong]) -> Place:
    """Turn a place in the mended settings back into one in the file."""
    for one in reversed(wrong):
        if one.meant and place[: len(one.meant)] == one.meant:
            place = (*one.place, *place[len(one.meant) :])
    return place


def _below(place: Place, other: Place) -> bool:
    """Say whether a place is inside of another."""
    return len(place) > len(other) and place[: len(other)] == other


def _conflicts(number: int, model: Model | None, wrong: list[Wrong]) -> list[Wrong]:
    """Find what does not fit together in a model, but for what follows from a mistake that is known."""
    known = [one.place for one in wrong if not one.meant]
    out = []
    for found in conflicts(model) if model is not None else ():
        places = [_as_written(("models", number, *place), wrong) for place in (found.place, *found.reads)]
        if not any(one == place or _below(one, place) or _below(place, one) for one in known for place in places):
            out.append(Wrong(places[0], found.message))
    return out


def _absolute(config: Config, store: Store, base: Path) -> Config:
    folder = Path(glob.escape(str(base)))

    def source(spec: Source | None) -> Source | None:
        return spec and spec.model_copy(update={"files": tuple(str(folder / name) for name in spec.files)})

    models = tuple(
        model.model_copy(
            update={
                "reference": source(model.reference),
                "predictions": source(model.predictions),
                "labels": source(model.labels),
            }
        )
        for model in config.models
    )
    return config.model_copy(update={"models": models, "store": store})


def _store(store: Store, base: Path) -> tuple[Store, list[Wrong]]:
    """Read the file with the store's URL, and make an SQLite file's path absolute."""
    url = store.url
    if store.url_file is not None:
        try:
            url = (base / store.url_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            return store, [Wrong(("store", "url_file"), f"{store.url_file} cannot be read: {reason}")]
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith("sqlite:////") and url != "sqlite:///:memory:":
        url = prefix + str(base / url.removeprefix(prefix))
    return store.model_copy(update={"url": url, "url_file": None}), []


def _secrets(number: int, model: Model | None, wrong: list[Wrong], base: Path) -> list[Wrong]:
    """Find the secrets of retraining that cannot be read."""
    retrain = model.retrain if model is not None and not any("retrain" in one.place for one in wrong) else None
    if retrain is None or retrain.action is None or retrain.mode == "off":
        return []
    return [
        Wrong(("models", number, "retrain", "action", *place), sentence)
        for place, sentence in secrets.unusable(retrain.action, base)
    ]


def model_named(config: Config, name: str) -> Model:
    """Return the model of that name; raise KeyError with the names there are."""
    for model in config.models:
        if model.name == name:
            return model
    raise KeyError(f"no model {name!r}: there are {', '.join(model.name for model in config.models)}")
