"""trackio: a database in its own folder, TRACKIO_DIR, or the Space that TRACKIO_SPACE_ID names."""

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loang.extras import require
from loang.tracking.tracker import PROJECT, End, Record, Subject, Tracker, step_of

SENDING = 1.0
"""Seconds after which trackio's own thread, which writes twice a second, has written."""


class Trackio(Tracker):
    """One run of a project, named for the run's folder and a number that no other has."""

    def __init__(self) -> None:
        self._module: Any = None
        self._run: Any = None

    def check(self) -> None:
        """Whether the package is there."""
        self._module = require("trackio", extra="track", purpose="to write to its store")

    def open(self, run: Subject, identity: str | None, row: int) -> str:
        """A run in the person's project, or in `loang`."""
        name = identity or f"{run.name}-{secrets.token_hex(3)}"
        self._run = self._module.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=name,
            config=dict(run.settings),
            resume="never" if identity is None else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return name

    def tell(self, records: Sequence[Record]) -> None:
        """Each record as a row, but its step, which is the row's own."""
        for record in records:
            row = {key: value for key, value in record.items() if key != "step"}
            self._run.log(row, step=step_of(record))
        time.sleep(SENDING)

    def show(self, title: str, path: Path, step: int) -> None:
        """A picture, or a video."""
        module = self._module
        media = module.Video if path.suffix == ".gif" else module.Image
        self._run.log({title: media(str(path))}, step=step)

    def keep(self, model: Path) -> None:
        """As an artifact of type `model`."""
        self._run.log_artifact(model, name=f"model-{self._run.name}", type="model")

    def close(self, end: End) -> None:
        """Send what is left."""
        self._run.finish()

    def discard(self) -> None:
        """Delete the run, where it lies on this machine."""
        self.close("failed")
        for run in self._module.Api().runs(self._run.project):
            if run.name == self._run.name:
                run.delete()
