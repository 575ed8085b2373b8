"""MLflow: a local database or, if the user names one, a server."""

import os
import time
from collections.abc import Mapping

from mbert_cli.errors import UsageError
from mbert_cli.tracking import PROJECT, Ending, TrackedRun, Tracker, is_offline

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_MOST_PARAMS = 100  # in a call
_LONGEST_PARAM = 6_000  # characters
_REMOTE = ("http://", "https://", "databricks", "postgresql", "mysql", "mssql")


class MLflow(Tracker):
    """Writes runs of MLflow, to MLFLOW_TRACKING_URI or a SQLite file in the run folder."""

    module = "mlflow"
    package = "mlflow-skinny alembic sqlalchemy"
    # Measured with MLflow 3.17 and SQLite: a run with 80 settings has 971 kB, and 1,000 values add 233 kB.
    empty_size = 1_000_000
    value_size = 240

    def start(self, run: TrackedRun) -> str:
        """Create a run, or set the run with `run.id` to running again."""
        # MLflow reports which of its functions are called. It reads this when it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it reports that it creates its tables
        from mlflow import MlflowClient
        from mlflow.entities import Param

        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder / 'mlflow.db'}"
        if is_offline() and place.startswith(_REMOTE):
            raise UsageError("MLFLOW_TRACKING_URI is a server, but the run is offline")
        self._client = MlflowClient(place)
        if run.id is not None:
            self._client.update_run(run.id, status="RUNNING")
            self._id = run.id
            return run.id
        tags = {"mlflow.runName": run.name, "run_folder": str(run.path)} | ({"group": run.group} if run.group else {})
        self._id = self._client.create_run(self._experiment(run), run_name=run.name, tags=tags).info.run_id
        params = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in run.settings.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + _MOST_PARAMS])
        return str(self._id)

    def _experiment(self, run: TrackedRun) -> str:
        """Return the id of the experiment, which is created if it does not exist."""
        given = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if given:
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        existing = self._client.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        # By default, the artifacts of a local database would go to the working folder.
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else (run.folder / "artifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=own))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        """Write the scores of the kept model, and end the run."""
        if scores:
            self.log(scores, step)
        self._client.set_terminated(self._id, _STATUS[ending])
