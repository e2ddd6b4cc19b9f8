"""Data quality of a window: missing, unseen, out of range and invalid values, each with its bound. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from exporter.baseline import Baseline
from exporter.evaluate.views import Found, View
from exporter.profile.categorical import CategoryBins
from exporter.profile.model import Bins
from exporter.quality_bounds import QualityBounds, bound
from exporter.readings import Readings
from exporter.rows import Ints
from exporter.schema import origin, tells_missing
from exporter.segments import ALL
from exporter.settings import Bound, Model, Quality

_KNOWN: WeakKeyDictionary[Baseline, dict[str, dict[str, float]]] = WeakKeyDictionary()  # by feature, as `shares`
CHECKS = ("missing", "unseen", "out_of_range", "invalid")


def shares(bins: Bins, counts: Ints) -> dict[str, float]:
    """Return the share of rows per check that applies to the column; nothing where there are no rows.

    Out of range and unseen are shares of all rows, as the others are, so that they add up.
    """
    if isinstance(bins, CategoryBins):
        rows = int(counts.sum())
        bad = {"missing": counts[bins.missing], "unseen": counts[bins.unseen]}
        if not bins.complete:
            del bad["unseen"]
    else:
        cells = counts[: bins.missing]
        rows = int(cells.sum() + counts[bins.missing] + counts[bins.invalid])
        outside = cells[0] + cells[-1]
        bad = {"missing": counts[bins.missing], "out_of_range": outside, "invalid": counts[bins.invalid]}
    return {check: int(count) / rows for check, count in bad.items()} if rows else {}


def _of_reference(baseline: Baseline, name: str, bins: Bins) -> dict[str, float]:
    """Return the shares in the reference, which never change: they are counted once a baseline."""
    known = _KNOWN.setdefault(baseline, {})
    if name not in known:
        known[name] = shares(bins, baseline.bins.part(baseline.vector, f"feature:{name}"))
    return known[name]


def _out_of_range(shares: dict[str, float]) -> dict[str, float]:
    """Leave out what another feature of the same column tells already."""
    return {check: share for check, share in shares.items() if check == "out_of_range"}


def bound_in_force(bound: Bound, reference: float) -> float:
    """Return the largest accepted share, as configured."""
    return bound.max if bound.max is not None else min(1.0, reference + (bound.increase or 0.0))


def is_pinned(settings: Quality, feature: str, check: str) -> bool:
    """Return whether the configuration gives the bound, for the feature or for all."""
    own = getattr(settings.features.get(feature), check, None)
    return own is not None or check in settings.model_fields_set


def limit_of(
    model: Model,
    learned: QualityBounds | None,
    feature: str,
    check: str,
    rows: int,
    reference: float,
    settings: str | None = None,
) -> float | None:
    """Return the bound in force: the configured one, the learned one, or else the default; None where it is blind."""
    if learned is None or is_pinned(model.quality, settings or feature, check):
        return bound_in_force(model.quality.bound(settings or feature, check), reference)
    return bound(learned, feature, check, rows, reference)


def quality(model: Model, baseline: Baseline, views: Iterable[View]) -> Found:
    """Compute shares and bounds of each feature and window."""
    out, states, dropped = Readings(), {}, 0
    for view in views:
        rows = int(baseline.bins.part(view.vector, "rows")[0])
        states[view.version, view.window] = "ok" if rows >= model.drift.min_rows else "insufficient"
        found = {}
        for name, bins in baseline.bins.features.items():
            reference = _of_reference(baseline, name, bins)
            current = shares(bins, baseline.bins.part(view.vector, f"feature:{name}"))
            if not tells_missing(baseline.schema, name):
                reference, current = _out_of_range(reference), _out_of_range(current)
            own = baseline.quality.get(view.window)
            settings = name if name in model.quality.features else origin(baseline.schema, name)
            limits = {c: limit_of(model, own, name, c, rows, share, settings) for c, share in reference.items()}
            found[name] = (current, limits)
        worst = sorted(found, key=lambda name: _excess(*found[name]), reverse=True)
        for name in worst[: model.max_features]:
            labels = (model.name, view.version, view.window, ALL, name)
            for check, share in found[name][0].items():
                out.put(f"model_feature_{check}_ratio", *labels, value=share)
                out.put(f"model_feature_{check}_threshold_ratio", *labels, value=found[name][1][check])
        for name in worst[model.max_features :]:
            current, limits = found[name]
            dropped += len(current) + sum(limits[check] is not None for check in current)
        out.put("model_quality_checks_failed", model.name, view.version, view.window, value=_failed(found))
    return Found(out, states, {}, dropped)


def _failed(found: Mapping[str, tuple[dict[str, float], dict[str, float | None]]]) -> int | None:
    """Return how many checks are above their bound, those of features beyond the budget too; None without any."""
    known = [
        share > limit
        for current, limits in found.values()
        for check, share in current.items()
        if (limit := limits[check]) is not None
    ]
    return sum(known) if known else None


def _excess(current: dict[str, float], limits: dict[str, float | None]) -> float:
    known = ((share, limits[check]) for check, share in current.items())
    return max((share - limit for share, limit in known if limit is not None), default=-1.0)
