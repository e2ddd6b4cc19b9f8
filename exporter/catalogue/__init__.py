"""The catalogue: every series name that the exporter can show, its type, labels and HELP, once.

`docs/metrics.md`, the rules and the dashboards are tested against this table.
"""

from __future__ import annotations

from exporter.catalogue import data, drift, performance, retrain, tasks, value, windows
from exporter.catalogue.family import Family

__all__ = ["FAMILIES", "Family"]

FAMILIES: dict[str, Family] = {
    family.name: family for own in (windows, drift, data, performance, value, retrain, tasks) for family in own.FAMILIES
}
