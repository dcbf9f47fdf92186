"""MLflow: the person's tracking server, or else a database in RUN/mlflow."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loang.errors import LoangError
from loang.extras import require
from loang.tracking.tracker import PROJECT, End, Record, Subject, Tracker, numbers, step_of, words

FOLDER = "mlflow"
AT_ONCE = {"metrics": 1000, "params": 100}
"""As many as MLflow takes in one call."""
LONGEST = 5000
"""Characters of a tag, and of a parameter."""
ENDS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """One run of an experiment; the steps of its curves are the optimizer's."""

    def __init__(self) -> None:
        self._client: Any = None
        self._run = ""
        self._row = 0
        self._time = 0

    def check(self) -> None:
        """Whether the package is there."""
        # A run in a local database is nobody's business.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        purpose = "to write to its store"
        self._entities = require("mlflow.entities", extra="track", purpose=purpose)
        self._module = require("mlflow", extra="track", purpose=purpose)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            require("sqlalchemy", extra="track", purpose="for MLflow's database")

    def open(self, run: Subject, identity: str | None, row: int) -> str:
        """A run of that name in the person's experiment, or in `loang`.

        Raises:
            LoangError: that experiment was deleted.
        """
        uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            folder = (run.folder / FOLDER).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
            artifacts = (folder / "artifacts").as_uri()
        self._client = self._module.MlflowClient(tracking_uri=uri)
        self._row = row
        if identity is not None:
            self._client.update_run(identity, status="RUNNING")
            self._run = identity
            return identity
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise LoangError(
                f"Its experiment {name!r} was deleted, and keeps the name.",
                f"Restore it with `mlflow experiments restore -x {found.experiment_id}`, or name"
                " another in MLFLOW_EXPERIMENT_NAME.",
            )
        experiment = (
            self._client.create_experiment(name, artifact_location=artifacts)
            if found is None
            else found.experiment_id
        )
        made = self._client.create_run(experiment, run_name=run.name)
        self._run = made.info.run_id
        make = self._entities.Param
        params = [make(key, _text(value)) for key, value in run.settings.items()]
        for some in _parts(params, AT_ONCE["params"]):
            self._client.log_batch(self._run, params=some)
        return self._run

    def tell(self, records: Sequence[Record]) -> None:
        """Each number as a metric, words as tags."""
        make, metrics = self._entities.Metric, []
        for record in records:
            # MLflow takes equal values of one time for one.
            self._time = max(self._time + 1, int(1000 * time.time()))
            step = step_of(record)
            metrics += [
                make(key, value, self._time, step) for key, value in numbers(record).items()
            ]
            if said := words(record):
                tag = f"{record.get('event', 'record')}.{self._row:06d}"
                text = json.dumps({"step": step, **said})
                self._client.set_tag(self._run, tag, text[:LONGEST])
            self._row += 1
        for some in _parts(metrics, AT_ONCE["metrics"]):
            self._client.log_batch(self._run, metrics=some)

    def show(self, title: str, path: Path, step: int) -> None:
        """As an artifact: `previews/00000120.png`."""
        self._client.log_artifact(self._run, str(path), title)
        self._row += 1

    def keep(self, model: Path) -> None:
        """As an artifact: `model/model.safetensors`."""
        self._client.log_artifact(self._run, str(model), "model")

    def close(self, end: End) -> None:
        """Say how it ended."""
        self._client.set_terminated(self._run, ENDS[end])

    def discard(self) -> None:
        """Delete the run, as far as MLflow does: `mlflow gc` removes it."""
        self.close("failed")
        self._client.delete_run(self._run)


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST]


def _parts(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
