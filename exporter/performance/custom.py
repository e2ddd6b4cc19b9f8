"""Metrics of one's own: a Python function over what is counted of the labelled rows, named `module:function`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from exporter.performance.tables import ClassOutcomes, RegressionOutcomes


@lru_cache
def load(entry: str) -> Callable[[Any], Any]:
    """Import a function; raise ValueError with a sentence where there is none."""
    module, _, name = entry.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"{entry}: module {module} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(found, name, None)
    if not callable(function):
        raise ValueError(f"{entry}: module {module} has no function {name}")
    return function  # type: ignore[no-any-return]


def value(entry: str, outcomes: ClassOutcomes | RegressionOutcomes) -> float | None:
    """Return what a function says of labelled rows, None for no value; raise ValueError where it fails."""
    function = load(entry)
    try:
        found = function(outcomes)
        number = None if found is None else float(found)
    except Exception as error:
        raise ValueError(f"{entry}: {type(error).__name__}: {error}") from error
    return number if number is None or math.isfinite(number) else None
