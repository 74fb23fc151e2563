"""MLflow: a server, or a folder beside the run, through the package `mlflow-skinny`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.training.logs.figures import parameters_of
from aerostat.training.logs.redaction import redacted
from aerostat.training.logs.tracker import DEADLINE_S, Beginning, Measured, Place, require_package

FOLDER = "mlruns"
"""Folder beside the run's directory, if no store is named."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # reports of usage
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""Variables that are set unless the user has set them, before MLflow is imported."""
MAX_PARAMETERS = 100
"""Parameters in one request; MLflow's own limit."""
MAX_METRICS = 1000
"""Metrics in one request; MLflow's own limit."""
NAME = "mlflow"


@dataclass
class MLflow:
    """Logs a run to MLflow: figures, recipe, curves, validation pictures, report and weights.

    The client reads its own variables, such as ``MLFLOW_TRACKING_TOKEN``. Its reports of usage are off unless
    ``MLFLOW_DISABLE_TELEMETRY=false`` is set.

    Args:
        uri: of the store; None takes ``MLFLOW_TRACKING_URI``, else the folder ``mlruns`` beside the run's
            directory.
        experiment: its name; None takes ``MLFLOW_EXPERIMENT_NAME``, else ``aerostat``.
        deadline_s: seconds that a run waits for it at its end.

    Raises:
        InputError: the package mlflow-skinny is not installed.

    Example:
        >>> run = aerostat.train(data, loggers=[MLflow(experiment="balloons")])  # doctest: +SKIP
    """

    uri: str | None = field(default=None, repr=False)
    experiment: str | None = None
    deadline_s: float = DEADLINE_S
    title: str = field(default="MLflow", init=False)
    _client: Any = field(default=None, init=False, repr=False)
    _run_id: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        require_package("mlflow", self.title, "mlflow")

    def begin(self, beginning: Beginning) -> None:
        """Make a run in the experiment, or go on with the one that this run has had there."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        if not uri:
            # MLflow 3 refuses folders without this, and its default, SQLite, needs more than mlflow-skinny.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (beginning.run.path.absolute().parent / FOLDER).as_uri()
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        if beginning.resumed and self._goes_on(beginning.remembered(NAME).get("run_id")):
            return
        experiment = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "aerostat"
        known = self._client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self._client.create_experiment(experiment)
        made = self._client.create_run(number, run_name=beginning.run.path.resolve().name)
        self._run_id = made.info.run_id
        beginning.remember(NAME, {"run_id": self._run_id})
        self._log_parameters(parameters_of(beginning.recipe))

    def _goes_on(self, run_id: object) -> bool:
        """Return whether the store has the run, which is then marked as running."""
        from mlflow.exceptions import MlflowException

        if not isinstance(run_id, str):
            return False
        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return False
        self._run_id = run_id
        return True

    def _log_parameters(self, parameters: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        values = [Param(name, redacted(str(value))[:6000]) for name, value in parameters.items()]
        for start in range(0, len(values), MAX_PARAMETERS):
            self._client.log_batch(self._run_id, params=values[start : start + MAX_PARAMETERS])

    def figures(self, measured: Sequence[Measured]) -> None:
        """Send metrics in as few requests as MLflow allows."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, int(one.time_s * 1000), one.place.iteration)
            for one in measured
            for name, value in {**one.figures, "epoch": float(one.place.epoch)}.items()
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + MAX_METRICS])

    def picture(self, name: str, picture_bgr: NDArray[np.uint8], place: Place) -> None:
        """Send a picture as a JPEG file in a folder of its epoch."""
        import cv2

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.jpg")
            path.write_bytes(cv2.imencode(".jpg", picture_bgr)[1].tobytes())
            self._client.log_artifact(self._run_id, str(path), f"validation/epoch_{place.epoch:04d}")

    def file(self, path: Path, folder: str) -> None:
        """Send a file of the run as an artifact."""
        self._client.log_artifact(self._run_id, str(path), folder)

    def end(self, finished: bool) -> None:
        """Mark the run as finished, or as stopped."""
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    def abandon(self) -> None:
        """Do nothing: a request that hangs does not outlive the process."""
