"""Whether a metric is worse than on the reference: beyond chance, and by more than is tolerated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from exporter.performance.intervals import Estimate, Z, difference
from exporter.performance.metrics import LOWER_IS_BETTER, SIGNED

SHARE = 0.02  # tolerated loss of a metric of which higher is better
PART = 0.05  # tolerated rise of a loss, as a part of the reference's


class Verdict(NamedTuple):
    """How much worse a metric is than its baseline: in its unit, in standard errors, and whether that counts."""

    loss: float
    errors: float
    degraded: bool


def tolerance(metric: str, base: Mapping[str, Estimate]) -> float:
    """Return the loss that is tolerated unasked: 0.02, or 5 % of the reference's loss (mean_error: of its mae)."""
    if metric not in LOWER_IS_BETTER | SIGNED:
        return SHARE
    own = base.get("mae" if metric in SIGNED else metric)
    return PART * own.value if own is not None else 0.0


def judge(metric: str, current: Estimate, base: Estimate, tolerated: float, lower: bool = False) -> Verdict | None:
    """Compare with the baseline; None where an interval is missing.

    It is degraded if the 95 % interval of the difference lies on the bad side of 0 and the difference is larger than
    what is tolerated. Of a signed metric the bad side is that away from 0, beyond the baseline's own size. lower: less
    is better of a metric that is not in the table.
    """
    apart = difference(current, base)
    if apart is None or apart[0] == apart[1]:
        return None
    change, (low, high) = current.value - base.value, apart
    worse_up = lower or metric in LOWER_IS_BETTER or (metric in SIGNED and current.value > 0)
    loss, sure = (change, low > 0) if worse_up else (-change, high < 0)
    size = abs(current.value) - abs(base.value) if metric in SIGNED else loss
    return Verdict(loss, loss * 2 * Z / (high - low), sure and size > tolerated)
