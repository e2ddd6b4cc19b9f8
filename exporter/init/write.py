"""A guess -> a configuration with its reasons as comments. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from exporter.init.guess import Guess, Said

_ORDER = (
    "id", "timestamp", "prediction", "score", "positive_class", "label", "label_timestamp", "latency", "error",
    "outcomes", "segments",
)  # fmt: skip
_WEEK = ("day_of_week", "weekday", "dayofweek", "dow")
_YEAR = ("month", "week_of_year", "season")
_COLUMN = 46
_FEW_VALUES = {f"{count} values" for count in range(2, 11)}


def write(found: Guess, name: str, files: dict[str, list[str]]) -> str:
    """Return the configuration as text; files: source -> patterns."""
    lines = [
        "# Guessed by `model-exporter init` from the files named below. Each line says why; look at those marked",
        "# CHECK, then run `model-exporter check --config.file` on it: it says what will be monitored, and how well.",
        "# Paths are relative to this file.",
        *(f"# CHECK: {_words(note)}" for note in found.notes),
        "models:",
        f"  - name: {plain(name)}",
    ]
    if found.version is not None:
        lines.append(_line("    ", "version", found.version))
    else:
        lines.append(_line("    ", "version", Said("1", "no column of the log names one: count up with each model")))
    lines.append(_line("    ", "task", found.task))
    lines.append(f"{'    # timezone: Europe/Berlin':<{_COLUMN}}  # where a local day begins; UTC, unless it is said")
    lines.append("    columns:")
    lines += [_line("      ", part, found.columns[part]) for part in _ORDER if part in found.columns]
    lines += _segments(found)
    lines += _features(found)
    for source, patterns in files.items():
        lines.append(f"    {source}: {{files: {plain(patterns[0] if len(patterns) == 1 else patterns)}}}")
    lines.append(_line("    ", "windows", found.windows))
    if "label_timestamp" not in found.columns and "label" in found.columns:
        lines.append(f"{'    # label_delay: 1d':<{_COLUMN}}  # CHECK: age from which labels count as complete")
    lines += [
        "    drift:",
        _line("      ", "baselines", Said(["reference", "previous"], "the window before tells a season from a fault")),
    ]
    if "label" in found.columns and ("score" in found.columns or found.task.value == "regression"):
        lines.append("    performance:")
        lines.append(_line("      ", "estimate", Said(True, "while labels are missing")))
    return "\n".join(lines) + "\n"


def _segments(found: Guess) -> Iterator[str]:
    """Offer a slice where none was chosen: a feature with few values."""
    few = [name for name, said in found.features.items() if said.why in _FEW_VALUES and name.lower() not in _WEEK]
    if few and "segments" not in found.columns:
        text = f"      # segments: [{plain(few[0])}]"
        yield f"{text:<{_COLUMN}}  # each of its values could be judged alone, too"


def _features(found: Guess) -> Iterator[str]:
    if found.left_out:
        yield "      # No features, and so left out:"
        yield from (f"      #   {_words(name)}: {why}" for name, why in found.left_out.items())
    yield "      features:"
    names = found.windows.value
    for name, said in found.features.items():
        value, why = said.value, said.why
        if name.lower() in _WEEK and "24h" in names:
            value, why = {"type": value, "windows": [one for one in names if one != "24h"]}, f"{why}; a day has one"
        elif name.lower() in _YEAR:
            value, why = {"type": value, "windows": []}, f"{why}; a window has one or two: its drift says nothing"
        yield _line("        ", name, Said(value, why, said.unsure))


def _line(indent: str, key: str, said: Said) -> str:
    text = f"{indent}{plain(key)}: {plain(said.value)}"
    mark = "CHECK: " if said.unsure else ""
    return f"{text:<{_COLUMN}}  # {mark}{_words(said.why)}"


def _words(text: str) -> str:
    """Keep a comment on its line, whatever names are in it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def plain(value: object) -> str:
    """Write a value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").rstrip("\n")
