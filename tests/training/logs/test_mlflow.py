"""What MLflow's own client finds in its store, and a server that never answers."""

import os
import socket
import time

import pytest

pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")

from aerostat.training.logs import Delivery, MLflow


@pytest.fixture
def only_run(run, monkeypatch):
    """Return a function that reads the only run of an experiment in the folder beside the run."""

    def find(name="aerostat"):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=(run.path.parent / "mlruns").as_uri())
        runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert len(runs) == 1
        return client, runs[0]

    return find


def files(client, run_id, folder=None):
    found = []
    for entry in client.list_artifacts(run_id, folder):
        found += files(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found


def test_figures_recipe_pictures_and_weights_are_in_a_folder_beside_the_run(only_run, deliver, examples):
    deliver(Delivery(MLflow()), examples)
    client, made = only_run()
    assert made.info.run_name == "discs"
    assert made.info.status == "FINISHED"
    assert made.data.params["optim.weight_decay"] == "0.05"
    assert made.data.metrics["val/ap"] == 0.25
    steps = [
        (metric.step, metric.value) for metric in client.get_metric_history(made.info.run_id, "train/loss")
    ]
    assert steps == [(1, 2.0), (2, 1.0)]
    names = files(client, made.info.run_id)
    assert {"weights/best.safetensors", "weights/last.safetensors", "curves/loss.png"} <= set(names)
    assert {"run/recipe.toml", "run/metrics.jsonl"} <= set(names)
    assert sum(name.startswith("validation/epoch_0001/") for name in names) == 2


def test_a_resumed_run_goes_on_in_its_run(only_run, deliver):
    deliver(Delivery(MLflow()), records=[{"kind": "train", "epoch": 1, "iteration": 1, "loss": 1.0}])
    assert only_run()[1].info.status == "KILLED"
    deliver(
        Delivery(MLflow()),
        records=[{"kind": "train", "epoch": 1, "iteration": 2, "loss": 0.5}, {"kind": "end"}],
    )
    client, made = only_run()
    assert made.info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(made.info.run_id, "train/loss")] == [1, 2]


def test_the_experiment_can_be_named(only_run, deliver, monkeypatch):
    deliver(Delivery(MLflow(experiment="balloons")))
    assert only_run("balloons")


def test_reports_of_usage_are_off_unless_the_user_turns_them_on(deliver, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    deliver(Delivery(MLflow()))
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


def test_a_server_that_never_answers_holds_a_run_until_the_deadline_only(deliver, caplog):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        uri = f"http://ann:secret-word@127.0.0.1:{server.getsockname()[1]}"
        from mlflow import MlflowClient  # importing it may take longer than the deadline

        assert MlflowClient
        before = time.monotonic()
        deliver(Delivery(MLflow(uri, deadline_s=2.0)))
        waited = time.monotonic() - before
    assert waited < 10  # the client itself would try for minutes
    assert "MLflow did not get 5 files, 3 records: it did not answer within 2 s" in caplog.text
    assert "secret-word" not in caplog.text


def test_a_server_that_is_not_there_is_a_warning_without_its_password(deliver, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        port = taken.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret-word@127.0.0.1:{port}")
        deliver(Delivery(MLflow(deadline_s=60.0)))
    assert "logging to MLflow failed" in caplog.text
    assert "secret-word" not in caplog.text
    assert "secret-word" not in repr(MLflow(uri="http://ann:secret-word@host"))
