"""`scipy.special`, imported when a function of it is first used: the start does without."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Special:
    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(import_module("scipy.special"), name)
        return found


special = _Special()
