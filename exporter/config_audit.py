"""Which configuration is in force since when, and what changed in it -> the audit log."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

from exporter.audit import changes, flatten
from exporter.config import Loaded
from exporter.store import Store, audit

log = logging.getLogger("exporter.service")
_KEY = "audit_config"


def loaded(store: Store, new: Loaded, now: float) -> None:
    """Note that a configuration is in force: its hash, and the keys that differ from the one before; no secrets."""
    settings = dict(flatten(new.config.model_dump(mode="json", exclude_defaults=True)))
    with store.transaction() as tx:
        before = audit.note(tx, _KEY)
        differ = changes(json.loads(before) if before is not None else {}, settings)
        audit.remember(tx, _KEY, json.dumps(settings, ensure_ascii=False))
        detail = {"file": str(new.path), "hash": new.hash, **differ}
        audit.append(tx, now, "config.loaded", detail, actor=f"exporter on {socket.gethostname()}")


def refused(store: Store, path: Path, now: float) -> None:
    """Note that a configuration could not be used; what was wrong is in the log, as it may hold a secret."""
    try:
        with store.transaction() as tx:
            audit.append(tx, now, "config.refused", {"file": str(path)}, actor=f"exporter on {socket.gethostname()}")
    except Exception:  # nothing has changed: the running configuration stays either way
        log.exception("the audit log cannot be written")
