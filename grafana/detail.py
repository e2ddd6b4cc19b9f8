"""Model detail: is one model healthy, since when, and why."""

from __future__ import annotations

from typing import Any

from grafana import (
    detail_data,
    detail_drift,
    detail_methods,
    detail_performance,
    detail_segments,
    detail_serving,
    detail_summary,
    detail_versions,
    indicators,
)
from grafana.board import Row, assemble, variable, variables
from grafana.health import source_table, task_table
from grafana.states import alert_table


def build() -> dict[str, Any]:
    """Build the dashboard `model-detail`."""
    of_model = 'job=~"$job", model="$model", model_version="$version"'
    methods = f"label_values(model_multivariate_drift_score{{{of_model}}}, method)"
    metrics = 'label_values(model_performance_score_baseline{job=~"$job", model="$model"}, metric)'
    chosen = {"model": "${model}", "version": "${version}"}
    opened = indicators.opened(**chosen, kpi="${__value.text}")
    parts = [
        Row(
            "Is it healthy, and since when?",
            [
                *detail_summary.numbers(),
                detail_summary.changes((12, 9)),
                alert_table("Which alerts are open?", (12, 9), False),
            ],
        ),
        Row("Does it still predict well?", detail_performance.scores()),
        Row("Can the scores be trusted?", detail_performance.trust()),
        Row("Where does it go wrong?", detail_performance.mistakes()),
        Row("Have the inputs changed?", detail_drift.inputs()),
        Row("Have the outputs changed?", detail_drift.outputs()),
        Row("Is it one segment?", detail_segments.panels(), folded=True),
        Row("Is it a season or a fault?", detail_drift.seasons(), folded=True),
        Row("Have whole rows changed?", detail_methods.whole_rows(), folded=True),
        Row("Has it changed for good?", detail_methods.detectors(), folded=True),
        Row("Does it bring what it should?", [indicators.table((16, 8), opened), indicators.history((8, 8))]),
        Row("Does it answer, and fast enough?", detail_serving.panels()),
        Row(
            "Was it retrained, and is the new version better?",
            [*detail_versions.retraining(), *detail_versions.versions()],
            folded=True,
        ),
        Row("Is there enough data, and is it clean?", detail_data.panels()),
        Row(
            "Does the monitoring of this model work?",
            [task_table(False, (14, 8)), source_table(False, (10, 8))],
        ),
    ]
    return assemble(
        "model-detail",
        "Model detail",
        "One model: is it healthy, since when, and why. From the general to the specific; click a "
        "feature to see it alone.",
        [
            *variables(many=False),
            variable("metric", "Metrics", metrics, many=True),
            variable("rows_method", "Methods for whole rows", methods, many=True, hidden=True),
        ],
        parts,
    )
