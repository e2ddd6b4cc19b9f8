"""YAML file -> frozen settings; all mistakes at once, each with its line and its mend."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from exporter.settings import (
    Config,
    Model,
    Source,
    Store,
)


class Mistake(NamedTuple):
    """One thing wrong in a configuration file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; `mistakes` has every one of them."""

    def __init__(self, mistakes: Sequence[Mistake]):
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class Loaded(NamedTuple):
    """A usable configuration, where it came from, and a hash of its text."""

    config: Config
    path: Path
    hash: str


def load(path: Path) -> Loaded:
    """Read a configuration file; raise ConfigError with every mistake in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Mistake(str(path), 1, f"cannot be read: {error}")]) from error
    return Loaded(parse(text, path), path, hashlib.sha256(text.encode()).hexdigest()[:16])


def parse(text: str, path: Path) -> Config:
    """Turn YAML text into settings with absolute paths; raise ConfigError with every mistake in it."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError([Mistake(str(path), line, f"not valid YAML: {getattr(error, 'problem', error)}")]) from error
    if not isinstance(tree, dict) or root is None:
        raise ConfigError([Mistake(str(path), 1, "a mapping with the key models is expected")])
    mistakes = [Mistake(str(path), line, message) for line, message in _double_keys(root)]
    merged = _with_defaults(tree)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        mistakes += [_mistake(path, root, merged, one) for one in error.errors()]
        raise ConfigError(sorted(set(mistakes), key=lambda m: m.line)) from error
    if mistakes:
        raise ConfigError(mistakes)
    return _absolute(config, path.resolve().parent)


def _with_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in tree.items() if key != "defaults"}
    defaults = tree.get("defaults") or {}
    if isinstance(merged.get("models"), list):
        merged["models"] = [_merge(defaults, model) for model in merged["models"]]
    return merged


def _merge(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merge(below.get(key), value) for key, value in above.items()}
    return above


def _absolute(config: Config, base: Path) -> Config:
    def source(spec: Source | None) -> Source | None:
        return spec and spec.model_copy(update={"files": tuple(str(base / name) for name in spec.files)})

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
    return config.model_copy(update={"models": models, "store": _store(config.store, base)})


def _store(store: Store, base: Path) -> Store:
    url = store.url
    if store.url_file is not None:
        try:
            url = (base / store.url_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError([Mistake(store.url_file, 1, f"store.url_file cannot be read: {error}")]) from error
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith("sqlite:////") and url != "sqlite:///:memory:":
        url = prefix + str(base / url.removeprefix(prefix))
    return store.model_copy(update={"url": url, "url_file": None})


def _double_keys(node: yaml.Node) -> list[tuple[int, str]]:
    if isinstance(node, yaml.SequenceNode):
        return [found for child in node.value for found in _double_keys(child)]
    if not isinstance(node, yaml.MappingNode):
        return []
    seen: set[str] = set()
    found = []
    for key, value in node.value:
        if key.value in seen:
            found.append((key.start_mark.line + 1, f"the key {key.value!r} stands here a second time"))
        seen.add(key.value)
        found += _double_keys(value)
    return found


def _mistake(path: Path, root: yaml.Node, merged: Mapping[str, Any], error: Any) -> Mistake:
    where = tuple(part for part in error["loc"] if part not in {"str", "function-before", "Source"})
    line = _line(root, where)
    place = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        message = f"{place}: unknown key{_nearest(str(where[-1]), _known_keys(where[:-1]))}"
    elif error["type"] == "missing":
        message = f"{place}: is missing"
    else:
        message = f"{place}: {error['msg'].removeprefix('Value error, ')}"
        if isinstance(error["input"], str | int | float | bool) and error["type"] != "value_error":
            message += f" (it is {error['input']!r})"
    return Mistake(str(path), line, message.removeprefix(": "))


def _line(node: yaml.Node, where: tuple[Any, ...]) -> int:
    """Return the line of the deepest place of `where` that stands in the file; defaults count too."""
    line: int = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        children = {key.value: (key, value) for key, value in node.value}
        if where and str(where[0]) in children:
            key, value = children[str(where[0])]
            own: int = key.start_mark.line + 1
            return max(own, _line(value, where[1:])) if where[1:] else own
        if len(where) > 2 and "defaults" in children and str(where[0]) == "models":
            return _line(children["defaults"][1], where[2:])
    if isinstance(node, yaml.SequenceNode) and where and isinstance(where[0], int) and where[0] < len(node.value):
        return _line(node.value[where[0]], where[1:])
    return line


def _known_keys(where: Sequence[Any]) -> list[str]:
    section: type[BaseModel] | None = Config
    for part in where:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part) if section is not None else None
        section = _section(field.annotation) if field is not None else None
    return list(section.model_fields) if section is not None else []


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_section(part) for part in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)


def _nearest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, 1, 0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here are {', '.join(sorted(known))}" if known else ""


def model_named(config: Config, name: str) -> Model:
    """Return the model of that name; raise KeyError with the names there are."""
    for model in config.models:
        if model.name == name:
            return model
    raise KeyError(f"no model {name!r}: there are {', '.join(model.name for model in config.models)}")
