"""This package as a zip, for executors that do not have it, or have another version of it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import exporter

_FIRST = (1980, 1, 1, 0, 0, 0)  # a zip knows no earlier time; and equal code gives an equal file


@cache
def package() -> str:
    """Write the zip once a process and return its path; it stays until the process ends, as executors come later."""
    root = Path(exporter.__file__).parent
    folder = tempfile.mkdtemp(prefix="model-exporter-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / f"model_exporter_{exporter.__version__.replace('.', '_')}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for own in sorted(root.rglob("*.py")):
            entry = zipfile.ZipInfo(own.relative_to(root.parent).as_posix(), _FIRST)
            file.writestr(entry, own.read_bytes(), zipfile.ZIP_DEFLATED)
    return str(path)
