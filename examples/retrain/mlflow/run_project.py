"""Run an MLflow project for a retraining event: standard input has the event, the first argument the project.

The run's id is a tag: where the exporter was ended meanwhile and starts this again, a run that is done is not repeated.
"""

from __future__ import annotations

import json
import sys

import mlflow

TAG = "model_exporter.run_id"


def main() -> None:
    event = json.load(sys.stdin)
    experiment = mlflow.set_experiment(f"retrain-{event['model']}")
    done = mlflow.search_runs(
        [experiment.experiment_id],
        filter_string=f"tags.`{TAG}` = '{event['id']}' AND attributes.status = 'FINISHED'",
        output_format="list",
    )
    if done:
        print(f"run {event['id']} is done already: {done[0].info.run_id}")
        return
    with mlflow.start_run(run_name=f"retrain {event['id']}", tags={TAG: event["id"]}) as run:
        mlflow.set_tags({"model_exporter.reasons": "\n".join(event["reasons"])[:5000]})
        mlflow.projects.run(
            sys.argv[1],
            parameters={"model": event["model"], "model_version": event["model_version"]},
            run_id=run.info.run_id,
            synchronous=True,  # raises where the project fails, so that the exit code says so
        )


if __name__ == "__main__":
    main()
