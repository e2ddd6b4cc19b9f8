"""Model quality: is one model's data sound, what is wrong with it, and since when."""

from __future__ import annotations

from typing import Any

from grafana import detail_data
from grafana import queries as q
from grafana.board import Row, assemble, variables
from grafana.panels import (
    AMBER,
    AT_ONE,
    GREEN,
    GREY,
    LOOKS,
    NONE,
    TIMES,
    Query,
    Words,
    lines,
    link,
    number,
    properties,
    steps,
    timeline,
)
from grafana.tables import Column, rows

_MOST = 5
_JUDGED: Words = {0: ("within its bound", GREEN), 1: ("beyond its bound", AMBER), 2: ("no bound", GREY)}
_ANY = steps((None, GREY), (0, GREEN), (1, AMBER))
_UNJUDGED = "Not judged: no rows in the window"
_OPEN = link(
    "Open the feature", "model-feature", model="${model}", version="${version}", feature="${__field.labels.feature}"
)

# As in docs/metrics.md.
_REASONS: Words = {
    "timestamp": ("no event time that can be read", NONE),
    "id": ("no id, though columns.id is configured", NONE),
    "duplicate": ("an id that was counted before", NONE),
    "late": ("older than lateness allows", NONE),
    "expired": ("older than what the store keeps", NONE),
    "label": ("a class that the model does not have, or no number", NONE),
    "label_id": ("a label without an id", NONE),
    "line": ("a line of a text file that is no row", NONE),
}
_QUESTIONS = {
    "missing": ("Where are values missing?", "without a value", "Ask what fills the feature."),
    "unseen": (
        "Where are new categories?",
        "with a category that the reference does not have",
        "Retrain with them, or map them.",
    ),
    "out_of_range": (
        "Where are values out of range?",
        "with a number outside the reference's minimum and maximum",
        "Check units and outliers.",
    ),
    "invalid": (
        "Where are values of the wrong type?",
        "with a value that is not of the feature's type",
        "Check the writer of the log.",
    ),
}


def _numbers() -> list[Any]:
    """The data's condition in one line of numbers."""
    times, blind = q.quality_of_bound(), q.quality_blind()
    lost = q.pick("model_rows_rejected_total", "version")
    return [
        number(
            "Worst check",
            "The feature and check with the highest share of bad values for its bound; from 1× on it is beyond it.",
            TIMES,
            Query(f"topk(1, {times})", "{{feature}} {{check}}"),
            decimals=2,
            named=True,
            thresholds=AT_ONE,
            size=(8, 3),
            empty="not judged",
        ),
        number(
            "Beyond their bound",
            "Checks (a feature and one of missing, unseen, out of range, invalid) whose share of bad values is above "
            "the bound in force. Each is an alert; they are listed below.",
            "none",
            Query(f"count({times} > 1) or 0 * count({times})"),
            thresholds=_ANY,
            size=(4, 3),
            empty="not judged",
        ),
        number(
            "No bound",
            "Checks that cannot alert: what was learned from the reference would accept more than 90 % of bad values. "
            "Give them a bound with quality.features, or leave them.",
            "none",
            Query(f"count({blind}) or 0 * count({q.quality('ratio')})"),
            size=(3, 3),
            empty="not judged",
        ),
        number(
            "Rows rejected",
            "Rows of predictions and labels that were read and not used, in this time range. The reasons are below.",
            "locale",
            Query(f"sum(max by (reason) (increase({lost}[$__range])))"),
            size=(3, 3),
            empty="no rows",
        ),
        detail_data.labels_known(3),
        detail_data.newest_row(3),
    ]


def _history() -> Any:
    """Features by time, the checks one after the other."""
    failed = q.pick("model_quality_checks_failed", "window")
    return timeline(
        "Which checks failed, and when?",
        "Each feature and check: beyond its bound where the share of bad values is above the bound in force. On top "
        f"any of them; then, for each check, the {_MOST} features with the most bad values for their bound in this "
        "time range. No bound: what was learned from the reference cannot tell anything. Several features at one "
        "moment: look at what they come from.",
        _JUDGED,
        [
            Query(q.top("model", f"{failed} > bool 0"), "any check"),
            *(Query(_verdicts(check), f"{{{{feature}}}} {words}") for check, words in q.CHECKS.items()),
        ],
        per_page=4 * _MOST + 1,
        links=[_OPEN],
        size=(14, 12),
        empty=_UNJUDGED,
    )


def _verdicts(check: str) -> str:
    """The verdicts of one check on the features that had most bad values; each check alone, as labels are dear."""
    share = q.top("feature", q.pick(f"model_feature_{check}_ratio", "slice"))
    bound = q.low("feature", q.pick(f"model_feature_{check}_threshold_ratio", "slice"))
    times, blind = f"{share} / {bound}", f"({share} unless on (feature) {bound})"
    most = q.worst(f"{times} or 0.001 * {blind}", _MOST)
    return f"({times} > bool 1 or 2 + 0 * {blind}) and on (feature) ({most} > 0)"


def _check(check: str) -> Any:
    """The three features with most bad values for their bound, each with its bound."""
    share = q.top("feature", q.pick(f"model_feature_{check}_ratio", "slice"))
    bound = q.low("feature", q.pick(f"model_feature_{check}_threshold_ratio", "slice"))
    # One query for both: which of equal features come first may differ from one query to the next. The added labels
    # put shares before bounds, so that they get the first colours.
    first = f'label_replace({share}, "a", "share", "", "")'
    then = f'label_replace({bound}, "bound", "bound of ", "", "")'
    worst = f"({q.worst(f'{share} / {bound} or 0.001 * {share}', 3)} > 0)"
    clean = f"unless on () count({worst})"
    question, meaning, advice = _QUESTIONS[check]
    panel = lines(
        question,
        f"Share of the window's rows {meaning}; dashed: the bound in force, none where it is blind. The three "
        f"features with such values that came highest for their bound in this time range. Above the bound: {advice}",
        "percentunit",
        [
            Query(f"({first} or {then}) and on (feature) {worst}", "{{bound}}{{feature}}"),
            Query(f"max({share}) {clean}", "no feature", "current"),
            Query(f"min({bound}) {clean}", "lowest bound", "warning"),
        ],
        soft=(0, 0.01),
        links=[_OPEN],
        size=(12, 7),
        empty="Not checked: no feature of such a type, or no rows",
    )
    return panel.override_by_regexp("/^bound of /", properties(LOOKS["warning"]))


def _reasons() -> Any:
    """What the reasons mean, and how many rows each took."""
    lost = f"max by (reason) (increase({q.pick('model_rows_rejected_total', 'version')}[$__range]))"
    return rows(
        "Why are rows rejected?",
        "Rows that were read and not used in this time range, by reason, and what the reason means. Duplicates are "
        "usual where a file is written again.",
        [
            Column("reason", "Reason", width=110),
            Column("meaning", "The row has or is", mapping=_REASONS),
            Column("A", "Rows", unit="locale", width=90, decimals=0, steps=steps((None, NONE), (0.5, AMBER))),
        ],
        [Query(f'label_join({lost}, "meaning", "", "reason")')],
        sort=["Rows"],
        size=(14, 7),
        empty="No row has been read yet",
    )


def build() -> dict[str, Any]:
    """Build the dashboard `model-quality`."""
    parts = [
        Row("Is the data sound?", _numbers()),
        Row("What is wrong, and since when?", [_history(), detail_data.offenders((10, 12))]),
        Row("How bad is it, and what is allowed?", [_check(check) for check in q.CHECKS]),
        Row("Are rows lost?", [detail_data.rejected(10), _reasons()]),
        Row("Is there enough data, and is it fresh?", [detail_data.amount(), detail_data.arrival(), detail_data.age()]),
    ]
    return assemble(
        "model-quality",
        "Model quality",
        "The data of one model: which features have bad values and since when, which rows are lost, and whether there "
        "are enough fresh rows and labels.",
        variables(many=False),
        parts,
    )
