"""Mistakes in a configuration: from what pydantic says, and where, to a sentence with its line and its mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import yaml

from exporter.consistency import Place
from exporter.fields import Settings, nearest
from exporter.settings import Config

_MOST_KEYS = 6
MISSING = "is missing"
_SENTENCES = {
    "missing": MISSING,
    "int_": "a whole number is expected",
    "float_": "a number is expected",
    "finite_number": "a finite number is expected",
    "string_type": "text is expected",
    "string_too_short": "must not be empty",
    "bool_": "true or false is expected",
    "literal_error": "one of {expected} is expected",
    "too_short": "at least one is needed",
    "greater_than_equal": "at least {ge:g} is expected",
    "less_than_equal": "at most {le:g} is expected",
    "tuple_type": "a list is expected",
    "dict_type": "a mapping is expected",
    "model_": "a mapping{keys} is expected",
}


class Mistake(NamedTuple):
    """One thing wrong in a configuration file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Wrong(NamedTuple):
    """A mistake at its place in the settings; meant: the place with the key that was meant, where that is clear."""

    place: Place
    message: str
    meant: Place = ()


def explain(error: Mapping[str, Any], tree: Any, at: Place = (), root: type[Settings] = Config) -> Wrong:
    """Turn one of pydantic's errors about `tree`, which stands at `at` in a file of kind `root`, into a sentence."""
    place = _place(error, tree)
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = known_keys((*at, *place[:-1]), root)
        close = difflib.get_close_matches(str(place[-1]), known, 1, 0.6)
        meant = (*at, *place[:-1], close[0]) if close else ()
        return Wrong((*at, *place), f"unknown key{nearest(str(place[-1]), known)}", meant)
    if kind == "value_error":
        return Wrong((*at, *place), str(error["ctx"]["error"]))
    keys = known_keys((*at, *place), root)
    shown = f" with the key{'s' * (len(keys) > 1)} {', '.join(keys)}" if 0 < len(keys) <= _MOST_KEYS else ""
    pattern = next((text for start, text in _SENTENCES.items() if kind.startswith(start)), error["msg"])
    message = pattern.format(**error.get("ctx", {}), keys=shown)
    if message.endswith("expected") and isinstance(given, str | int | float | None):
        message += f", not {'nothing' if given is None else repr(given)}"
    return Wrong((*at, *place), message)


def _place(error: Mapping[str, Any], tree: Any) -> Place:
    """Keep of pydantic's place what the user wrote, and the key that is missing."""
    place: list[str | int] = []
    for part in error["loc"]:
        if isinstance(tree, dict) and (keys := [key for key in tree if str(key) == str(part)]):
            place.append(str(part))
            tree = tree[keys[0]]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            place.append(part)
            tree = tree[part]
    return (*place, error["loc"][-1]) if error["type"] == "missing" else tuple(place)


def mend(tree: Any, wrong: Wrong, depth: int) -> None:
    """Take a mistake out of the tree, which stands so deep, lest it hide others: rename its key, or drop it."""
    innermost: tuple[dict[Any, Any], Any] | None = None
    for part in wrong.place[depth:]:
        key: Any = part
        if isinstance(tree, dict):
            keys = [key for key in tree if str(key) == str(part)]
            if not keys:
                break
            key = keys[0]
            innermost = tree, key
        tree = tree[key]
    if innermost is not None:
        section, key = innermost
        value = section.pop(key)
        if wrong.meant:
            section.setdefault(wrong.meant[-1], value)


def known_keys(place: Place, root: type[Settings] = Config) -> list[str]:
    """Return the keys that may stand at a place of the configuration file; nothing where any may."""
    kind: Any = root
    for part in place:
        if _is_section(kind):
            if str(part) not in kind.model_fields:
                return []
            kind = kind.model_fields[str(part)].annotation
        elif len(get_args(kind)) > 1:  # a mapping's values, a list's items
            kind = get_args(kind)[get_origin(kind) is dict]
        else:
            return []
        while get_origin(kind) in {Annotated, Union, UnionType}:
            kind = next(one for one in get_args(kind) if one is not NoneType)
    return [*kind.model_fields, *([] if place or root is not Config else ["defaults"])] if _is_section(kind) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


class Lines:
    """Where in a file the places of a configuration stand; a model's may stand under `defaults`."""

    def __init__(self, file: str, root: yaml.Node):
        self._file = file
        self._root = root

    def mistake(self, wrong: Wrong, of_model: bool = False) -> Mistake:
        """Write a mistake with its line; of_model: it is the model's even where the line is under `defaults`."""
        place, tree = wrong.place, self._root
        line, depth = _find(tree, place)
        name = ""
        if len(place) > 1 and place[0] == "models":
            name = self._name(place)
            default_line, default_depth = _find(tree, ("defaults", *place[2:]))
            if default_depth + 1 > max(depth, 2):
                line, name = default_line, name if of_model else "defaults: "
            place = place[2:]
        shown = ".".join(str(part) for part in place)
        between = " " if wrong.message == MISSING else ": "
        return Mistake(self._file, line, f"{name}{shown}{between if shown else ''}{wrong.message}")

    def _name(self, place: Place) -> str:
        item = next(_children(self._root, "models"), (0, None))[1]
        node = item.value[place[1]] if isinstance(item, yaml.SequenceNode) else None
        _, name = [(0, None), *_children(node, "name")][-1]
        known = isinstance(name, yaml.ScalarNode) and name.value
        return f"model {known}: " if known else f"models.{place[1]}: "

    def double_keys(self) -> Iterator[Mistake]:
        """Find keys that stand twice in one mapping; YAML itself would take the last."""
        for line, key in _double_keys(self._root):
            yield Mistake(self._file, line, f"the key {key!r} stands here a second time")


def _children(node: yaml.Node | None, key: str) -> Iterator[tuple[int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((own.start_mark.line + 1, value) for own, value in node.value if own.value == key)


def _find(node: yaml.Node, place: Place) -> tuple[int, int]:
    """Return the line of the deepest part of a place that stands in the file, and how deep that is."""
    line, depth = node.start_mark.line + 1, 0
    for part in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            found = list(_children(node, str(part)))
            if not found:
                break
            line, node = found[-1]
        depth += 1
    return line, depth


def _double_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _double_keys(child)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(key.value)
            yield from _double_keys(value)
