"""What is known of a model's rows, versions and baseline -> series."""

from __future__ import annotations

import logging

from exporter import ledger
from exporter.baseline import Baseline
from exporter.evaluate.performance import bounds
from exporter.evaluate.views import View, rows
from exporter.readings import Readings
from exporter.rows import SECOND
from exporter.settings import Model
from exporter.store import Store, StoreError

log = logging.getLogger("exporter.account")


def account(model: Model, store: Store, baseline: Baseline | None, views: list[View]) -> Readings:
    """Return what is known of the versions that have rows in a window, else of the one that is configured."""
    out = Readings()
    if model.team:
        out.put("model_owner_info", model.name, model.team, value=1)
    versions = list(dict.fromkeys(view.version for view in views))
    for version in versions or ([model.version] if isinstance(model.version, str) else []):
        out.put("model_info", model.name, version, model.task, model.framework, value=1)
    _stored(out, model.name, store, versions)
    if baseline is not None:
        for version in versions:
            out.put("model_reference_info", model.name, version, baseline.hash, value=1)
            out.put("model_reference_timestamp_seconds", model.name, version, value=baseline.newest)
            out.put("model_monitored_features", model.name, version, value=len(baseline.bins.features))
        out.extend(rows(model, baseline, views))
        out.extend(bounds(model, baseline, versions))
    return out


def _stored(out: Readings, model: str, store: Store, versions: list[str]) -> None:
    """Tell what the store has counted; a version without rows in any window is gone."""
    try:
        with store.transaction() as tx:
            stored, newest = tx.counters(model), tx.newest(model)
    except Exception as error:
        log.error("model %s: the store cannot be read: %s", model, error, exc_info=not isinstance(error, StoreError))
        return
    counters = {(version, *kind): 0 for version in versions for kind in ledger.COUNTERS}
    counters |= {(version, name, reason): value for version, name, reason, value in stored}
    for (version, name, reason), value in counters.items():
        if versions and version not in {*versions, ""}:
            continue
        if name == "rejected":
            out.put("model_rows_rejected_total", model, version, reason, value=value)
        else:
            out.put(f"model_{name}_total", model, version, value=value)
    for version, at in newest.items():
        if version in versions:
            out.put("model_newest_row_timestamp_seconds", model, version, value=at / SECOND)
