"""Weights & Biases: a row for each record of the log, drawn over its step.

Where WANDB_DIR says nothing, its files lie in RUN/wandb; WANDB_MODE=offline asks for no account.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loang.errors import LoangError
from loang.extras import require
from loang.tracking.tracker import PROJECT, End, Record, Subject, Tracker, step_of

STATUS = {"finished": 0, "interrupted": 130, "failed": 1}
"""What W&B is told as the exit status."""


class WandB(Tracker):
    """One run of a project."""

    def __init__(self) -> None:
        self._module: Any = None
        self._run: Any = None
        self._name = ""
        self._row = 0

    def check(self) -> None:
        """Whether the package is there, and an account, unless it is to stay offline."""
        # What goes wrong here is the person's, and told to them.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._module = require("wandb", extra="track", purpose="to tell Weights & Biases")
        mode = os.environ.get("WANDB_MODE", "online")
        if mode in ("online", "run") and not self._has_account():
            raise LoangError(
                "Weights & Biases knows no account here.",
                "Run wandb login, or stay on this machine with WANDB_MODE=offline.",
            )

    def open(self, run: Subject, identity: str | None, row: int) -> str:
        """A run of that name in the person's project, or in `loang`."""
        identity = identity or secrets.token_hex(4)
        self._name = run.name
        self._row = row
        self._run = self._module.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=identity,
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or str(run.folder.resolve()),
            config=dict(run.settings),
            settings=self._module.Settings(
                console="off", silent=True, disable_git=True, disable_code=True
            ),
        )
        self._run.define_metric("*", step_metric="step")
        return identity

    def tell(self, records: Sequence[Record]) -> None:
        """Each record as a row, whole."""
        for record in records:
            self._log({"step": step_of(record), **record})

    def show(self, title: str, path: Path, step: int) -> None:
        """A picture, or a video, in a row of its own."""
        moving = path.suffix == ".gif"
        media = (
            self._module.Video(str(path), format="gif") if moving else self._module.Image(str(path))
        )
        self._log({"step": step, title: media})

    def keep(self, model: Path) -> None:
        """As an artifact of type `model`."""
        artifact = self._module.Artifact(f"model-{self._run.id}", type="model")
        artifact.add_file(str(model))
        self._run.log_artifact(artifact)

    def close(self, end: End) -> None:
        """Send what is left."""
        self._run.finish(exit_code=STATUS[end])

    def discard(self) -> None:
        """End it under a name that says so; W&B takes no row back."""
        self._run.name = f"{self._name} (replaced)"
        self.close("failed")

    def _log(self, row: dict[str, Any]) -> None:
        # Its own count of rows begins at 0 with each session, where it is offline.
        self._run.log(row, step=self._row)
        self._row += 1

    def _has_account(self) -> bool:
        """Whether there is a key, in the environment or in W&B's own store; nobody is asked."""
        return bool(os.environ.get("WANDB_API_KEY") or self._module.api.api_key)
