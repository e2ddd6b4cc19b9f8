"""One metric family, and the labels that families share."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram", "summary"]

M = ("model", "model_version")
W = (*M, "window")
S = (*W, "segment")
TASKS = ("ingest", "drift", "quality", "performance", "estimation", "multivariate", "business", "serving", "history")
INGEST, DRIFT, QUALITY, PERFORMANCE, ESTIMATION, MULTIVARIATE, BUSINESS, SERVING, HISTORY = (
    f"as of the last run of task {task}" for task in TASKS
)


class Family(NamedTuple):
    """One metric family; `labels` in the order in which readings carry their values."""

    name: str
    labels: tuple[str, ...]
    help: str
    kind: Kind = "gauge"
