"""Kubeflow Pipelines: `python pipeline.py` writes retrain.yaml, the pipeline to upload."""

from kfp import compiler, dsl


@dsl.component(base_image="python:3.12-slim")
def is_open(run_id: str, outcome_url: str) -> bool:
    """Ask the exporter: Kubeflow starts a run that is announced twice a second time."""
    import json
    import urllib.request

    with urllib.request.urlopen(outcome_url.rsplit("/", 2)[0], timeout=30) as answer:
        runs = json.load(answer)["data"]["runs"]
    return any(run["id"] == run_id and run["state"] in ("calling", "running") for run in runs)


@dsl.component(base_image="registry.example/training:latest")
def train(model: str) -> str:
    """Train, write model and reference, and return the new version."""
    return "4"


@dsl.component(base_image="python:3.12-slim")
def report(outcome_url: str, token: str, status: dsl.PipelineTaskFinalStatus):
    """Tell the exporter how it went, whichever way that was."""
    import json
    import urllib.request

    outcome = "succeeded" if status.state == "SUCCEEDED" else "failed"
    body = json.dumps({"status": outcome, "message": status.error_message or status.pipeline_job_resource_name})
    headers = {"Content-Type": "application/json", "X-Model-Exporter-Token": token}
    urllib.request.urlopen(urllib.request.Request(outcome_url, body.encode(), headers), timeout=30).close()


@dsl.pipeline(name="retrain")
def retrain(run_id: str, model: str, outcome_url: str, token: str):
    go = is_open(run_id=run_id, outcome_url=outcome_url)
    go.set_caching_options(False)
    with dsl.If(go.output == True):  # noqa: E712 - kfp reads the comparison
        end = report(outcome_url=outcome_url, token=token)
        with dsl.ExitHandler(end):
            train(model=model).set_caching_options(False)


if __name__ == "__main__":
    compiler.Compiler().compile(retrain, "retrain.yaml")
