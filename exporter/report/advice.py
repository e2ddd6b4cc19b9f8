"""What to do: a table of conditions, each with its advice, its reason and its heading in the runbook. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Report = Mapping[str, Any]
_FEW = 5
_LATER = 2.0  # delays are counted in bins that are as wide as half of their value


class Rule(NamedTuple):
    """One piece of advice. cause: what is behind it. when: its reason, or None where it does not hold."""

    cause: str
    kind: str
    advice: str
    when: Callable[[Report], str | None]


def advise(report: Report) -> list[dict[str, str]]:
    """Return what holds of the table, in its order; that there is nothing to do is said only when all is known."""
    found = [
        {"cause": rule.cause, "advice": rule.advice, "reason": reason, "kind": rule.kind}
        for rule in RULES
        if (reason := rule.when(report)) is not None
    ]
    if not found and report["health"]["verdict"] == "healthy":
        reason = "all windows are judged, and nothing is out of bounds"
        found = [{"cause": "none", "advice": "Nothing to do.", "reason": reason, "kind": "Watchdog"}]
    return found


def _listed(texts: list[str]) -> str | None:
    texts = list(dict.fromkeys(texts))
    more = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return "; ".join(texts[:_FEW]) + more if texts else None


def _or(names: Mapping[str, Any]) -> str:
    return " or ".join(name.replace("_", " ") for name in sorted(names))


def _of(report: Report, *kinds: str) -> list[Mapping[str, Any]]:
    return [one for one in report["problems"] if one["kind"] in kinds]


def _told(report: Report, *kinds: str) -> str | None:
    return _listed([one["text"] + (f" ({one['window']})" if one["window"] else "") for one in _of(report, *kinds)])


def _faulty(report: Report) -> set[str]:
    """Return the features whose values themselves are bad."""
    return {one["feature"] for one in report["quality"] if one["bad"]}


def _drifted(report: Report) -> list[Mapping[str, Any]]:
    """Return drifted features that no bad values explain."""
    return [one for one in report["drift"] if one["detected"] and one["feature"] not in _faulty(report)]


def _performs_worse(report: Report) -> bool:
    return bool(_of(report, "ModelPerformanceLow", "ModelPerformanceDegraded"))


def _feed(report: Report) -> str | None:
    bad = [one for one in report["quality"] if one["bad"] and one["check"] in {"missing", "invalid"}]
    return _listed([f"{one['feature']}: {one['share']:.0%} {one['check']} ({one['window']})" for one in bad])


def _new_values(report: Report) -> str | None:
    bad = [one for one in report["quality"] if one["bad"] and one["check"] in {"unseen", "out_of_range"}]
    words = {"unseen": "of unseen categories", "out_of_range": "out of the reference's range"}
    return _listed([f"{one['feature']}: {one['share']:.1%} {words[one['check']]} ({one['window']})" for one in bad])


def _sudden(report: Report) -> str | None:
    own = [one for one in _drifted(report) if one["earlier"].get("previous")]
    return _listed(
        [f"{one['feature']} differs from the reference and from the window before ({one['window']})" for one in own]
    )


def _slow(report: Report) -> str | None:
    if _performs_worse(report):
        return None
    own = [one for one in _drifted(report) if one["earlier"] and not any(one["earlier"].values())]
    return _listed(
        [
            f"{one['feature']} differs from the reference, and not from {_or(one['earlier'])} ({one['window']})"
            for one in own
        ]
    )


def _cannot_tell(report: Report) -> str | None:
    own = [one for one in _drifted(report) if not one["earlier"]]
    return _listed(
        [f"{one['feature']} differs from the reference; no earlier window is compared ({one['window']})" for one in own]
    )


def _concept(report: Report) -> str | None:
    if not _performs_worse(report) or _drifted(report) or _faulty(report):
        return None
    return f"{_told(report, 'ModelPerformanceLow', 'ModelPerformanceDegraded')}; and no feature drifts"


def _with_drift(report: Report) -> str | None:
    own = _drifted(report)
    if not _performs_worse(report) or not own or _faulty(report):
        return None
    told = _told(report, "ModelPerformanceLow", "ModelPerformanceDegraded")
    return f"{told}; drifted: {_listed([one['feature'] for one in own])}"


def _with_fault(report: Report) -> str | None:
    if not _performs_worse(report) or not _faulty(report):
        return None
    told = _told(report, "ModelPerformanceLow", "ModelPerformanceDegraded")
    return f"{told}; while values of {_listed(sorted(_faulty(report)))} are bad"


def _few_labels(report: Report) -> str | None:
    own = [one for one in report["labels"] if one["mature_coverage"] is not None and one["mature_coverage"] < 0.5]
    return _listed(
        [f"{one['mature_coverage']:.0%} of the rows that should have a label have one ({one['window']})" for one in own]
    )


def _slow_labels(report: Report) -> str | None:
    own = [
        one
        for one in report["labels"]
        if one["delay"] is not None and one["delay_threshold"] and one["delay"] > _LATER * one["delay_threshold"]
    ]
    return _listed(
        [
            f"nine labels in ten are known within {one['delay'] / 3600:.1f} h; they count as complete after "
            f"{one['delay_threshold'] / 3600:.1f} h ({one['window']})"
            for one in own
        ]
    )


def _label_drift(report: Report) -> str | None:
    own = [one for one in report["outputs"] if one["output"] == "label" and one["detected"]]
    if not own or _performs_worse(report):
        return None
    return _listed([f"labels differ from the reference, performance does not ({one['window']})" for one in own])


def _few_rows(report: Report) -> str | None:
    found = []
    for window in report["windows"]:
        few = sorted(task for task, state in window["states"].items() if state == "insufficient")
        if few:
            found.append(
                f"{window['window']}: {window['rows'] or 0} rows, {window['labelled'] or 0} labelled: {', '.join(few)}"
            )
    return _listed(found)


def _immature(report: Report) -> str | None:
    own = [w["window"] for w in report["windows"] if "immature" in w["states"].values()]
    return _listed([f"labels of window {name} are not complete yet" for name in own])


def _no_rows(report: Report) -> str | None:
    return None if any(window["rows"] for window in report["windows"]) else "no window has a row"


RULES: tuple[Rule, ...] = (
    Rule(
        "pipeline",
        "ModelTaskFailing",
        "Repair the task first: what it told is gone, not good.",
        lambda report: _told(report, "ModelTaskFailing", "ModelTaskStale", "ModelSourceDown"),
    ),
    Rule(
        "pipeline",
        "ModelDataStale",
        "Find out why no predictions arrive: is the model server down, or its log?",
        lambda report: _told(report, "ModelDataStale") or _no_rows(report),
    ),
    Rule(
        "pipeline",
        "ModelFeatureMissingHigh",
        "Repair the feed of these columns; do not retrain on them.",
        _feed,
    ),
    Rule(
        "pipeline",
        "ModelFeatureUnseenHigh",
        "Ask where these values come from: new ones belong into the next training set; wrong ones (unit, encoding, "
        "spelling) are to be repaired.",
        _new_values,
    ),
    Rule(
        "pipeline",
        "ModelFeatureDriftHigh",
        "It came within one window: look for a deployment, a unit or a default that changed. Is there none, the world "
        "changed at once.",
        _sudden,
    ),
    Rule(
        "real change",
        "ModelPerformanceDegraded",
        "What the inputs mean has changed: retrain on recent rows with labels, and make them the new reference.",
        _concept,
    ),
    Rule(
        "real change",
        "ModelPerformanceDegraded",
        "Retrain on recent rows, the drifted features looked at first, by impact; then set a new reference.",
        _with_drift,
    ),
    Rule(
        "pipeline",
        "ModelPerformanceDegraded",
        "Repair the values first, then judge performance again: a model that is retrained on them learns the fault.",
        _with_fault,
    ),
    Rule(
        "real change",
        "ModelEstimatedPerformanceLow",
        "Labels will tell later; get some sooner, if possible, before retraining.",
        lambda report: _told(report, "ModelEstimatedPerformanceLow"),
    ),
    Rule(
        "season",
        "ModelFeatureDriftHigh",
        "A slow change, as of a season: performance holds, so leave the model as it is; let the reference span a whole "
        "season when it is made anew.",
        _slow,
    ),
    Rule(
        "not enough data",
        "ModelFeatureDriftHigh",
        "Set drift.baselines to [reference, previous, week_ago]: then a season can be told from a fault.",
        _cannot_tell,
    ),
    Rule(
        "label problem",
        "ModelWindowTooSmall",
        "Look at how labels are joined: ids that differ, a feed that stopped, or cases that never get one.",
        _few_labels,
    ),
    Rule(
        "label problem",
        "ModelWindowTooSmall",
        "Labels come later than they did: raise label_delay, or repair their feed.",
        _slow_labels,
    ),
    Rule(
        "label problem",
        "ModelLabelDriftHigh",
        "Labels changed and the model follows: check how they are made; if they are right, the base rate changed, so "
        "check the decision threshold.",
        _label_drift,
    ),
    Rule(
        "not enough data",
        "ModelWindowTooSmall",
        "Use a longer window, or wait: until then nothing is said, which is not the same as good.",
        _few_rows,
    ),
    Rule(
        "not enough data",
        "ModelWindowTooSmall",
        "Wait for labels; the estimates, where there are any, tell until then.",
        _immature,
    ),
    Rule(
        "value",
        "ModelBusinessKpiOutOfBounds",
        "Tell the owner of the indicator; see whether performance or the mix of cases moved it.",
        lambda report: _told(report, "ModelBusinessKpiOutOfBounds"),
    ),
    Rule(
        "serving",
        "ModelServingErrorsHigh",
        "Look at the model server: predictions fail or take too long.",
        lambda report: _told(report, "ModelServingErrorsHigh", "ModelServingLatencyHigh"),
    ),
)
