"""A run's folder: where everything of one run lies, and who may write to it.

config.json                  the resolved settings, complete; loads back to the same run
log.jsonl                    one line a measurement: log.py
tracking/                    what trackers were told, where there are any: loang.tracking
.lock                        who writes here now
checkpoints/step-NNNNNNNN/   checkpoint.py
averages/                    snapshots of averages, where they are asked for: averages.py
samples/                     the same seeds, drawn as training goes
samples.png, walk.gif        the last of them, and how they came from noise
training.png                 loss and learning rate
model.safetensors            the one file to keep: averaged weights, settings, image spec
model-N-images.safetensors   the one of before, where a run that was over went on for longer
README.md                    a card with the run's own numbers
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loang import config, files, untrusted
from loang.config import Settings
from loang.errors import LoangError
from loang.files import MODEL
from loang.lock import Lock, refuse_if_held
from loang.tracking.names import told

CONFIG = "config.json"
MANIFEST = "MANIFEST.json"
CHECKPOINT = "step-"
FORMAT = 1


class RunFolder:
    """The paths of one run.

    Args:
        path: of the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.lock = path / ".lock"
        self.log = path / "log.jsonl"
        self.checkpoints = path / "checkpoints"
        self.averages = path / "averages"
        self.samples = path / "samples"
        self.grid = path / "samples.png"
        self.walk = path / "walk.gif"
        self.chart = path / "training.png"
        self.model = path / MODEL
        self.card = path / "README.md"

    def kept_model(self, images: int) -> Path:
        """The model of a run that was over after so many images, and went on."""
        return self.model.with_stem(f"{self.model.stem}-{images}-images")

    def holds_run(self) -> bool:
        """Whether a run was ever started here."""
        return self.config.exists() or self.checkpoints.exists() or self.log.exists()

    def check(self, overwrite: bool, source: str | None = None) -> None:
        """Whether a new run may be started here; cheap, and before anything is read or built.

        Args:
            overwrite: whether a run that lies here may go.
            source: of its images, as `settings.data.source`.

        Raises:
            LoangError: it holds a run and may not be overwritten, holds files of somebody else's
                that a run would replace, is the folder of the images, or can't be written.
        """
        # os.path.realpath raises nothing, whatever the source is.
        if source is not None and os.path.realpath(source) == os.path.realpath(self.path):
            raise LoangError(
                f"{self.path} holds the images, among which the run's own pictures would lie.",
                "Name another folder with --out; one within it will do, and is passed over.",
            )
        if self.holds_run():
            if not overwrite:
                self._refuse_run()
        else:
            taken = [path.name for path in self._files() if path.exists()]
            taken += [each.name for each in (self.averages, self.samples) if each.exists()]
            if taken:
                raise LoangError(
                    f"{self.path} holds no run, but files that a run would replace:"
                    f" {', '.join(sorted(taken))}.",
                    "Name another folder with --out.",
                )
        files.check_folder(self.path)

    def check_apart(self, model: Path, what: str = "model") -> None:
        """Whether a model, from which the run is made, outlives what the run replaces.

        Args:
            model: its folder or file.
            what: it is called.

        Raises:
            LoangError: it lies in this folder.
        """
        place, whole = self.path.resolve(), model.resolve()
        if place in (whole, *whole.parents):
            raise LoangError(
                f"The {what} itself lies in {files.shown(self.path)}, and would be replaced.",
                "Name another folder with --out.",
            )

    def check_free(self) -> None:
        """Whether no other process writes here now; cheap, as `check`.

        Raises:
            LoangError: one does; says which.
        """
        with files.writing(self.lock):
            refuse_if_held(self.lock, f"The run in {self.path}")

    def claim(self) -> Lock:
        """The right to write here, until it is released; tidies up after a process that died.

        Raises:
            LoangError: another process has it, or the folder can't be written.
        """
        with files.writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with files.writing(self.lock):
            lock = Lock(self.lock, f"The run in {self.path}")
        for place in (self.path, self.averages, self.samples):
            files.remove_leftovers(place)
        return lock

    def start(self, overwrite: bool) -> None:
        """Make the folder ready for a new run; of an old one, only what it wrote is deleted.

        Raises:
            LoangError: as `check`.
        """
        self.check(overwrite)
        with files.writing(self.path):
            if self.holds_run():
                if self.checkpoints.exists():
                    shutil.rmtree(self.checkpoints)
                drawn = self.samples.glob("[0-9]" * 8 + ".png")
                averages = self.averages.glob(f"{CHECKPOINT}*.safetensors")
                named = re.compile(self.kept_model(0).name.replace("0", "[0-9]+"))
                kept = [path for path in self.path.iterdir() if named.fullmatch(path.name)]
                for path in (*self._files(), *drawn, *averages, *kept, *told(self.path)):
                    path.unlink(missing_ok=True)

    def _files(self) -> tuple[Path, ...]:
        return (
            self.config,
            self.log,
            self.grid,
            self.walk,
            self.chart,
            self.model,
            self.card,
        )

    def _refuse_run(self) -> None:
        done = checkpoint_steps(self.checkpoints)
        what = f"a run of {done[-1]:,} steps" if done else "a run"
        raise LoangError(
            f"{self.path} holds {what} already.",
            f"Go on with it: loang train --resume --out {files.shown(self.path)}. Or replace it"
            " with --overwrite, or name another folder with --out.",
        )

    def check_averages(self) -> None:
        """Whether a run lies here, for averages of its weights; cheap, as `check`.

        Raises:
            LoangError: there is none, or it can't be read.
        """
        self.read_config(
            "whose weights could be averaged",
            "Name the folder of a run that kept snapshots: loang average RUN.",
        )

    def write_config(self, settings: Settings, about: Mapping[str, Any]) -> None:
        """The settings, and what else is known at the start."""
        content = {**about, "format": FORMAT, "settings": settings.to_dict()}
        files.write_text(self.config, json.dumps(content, indent=1) + "\n")

    def read_config(
        self,
        wanted: str = "to go on with",
        remedy: str = "Name a run's folder with --out, or start one without --resume.",
    ) -> tuple[Settings, Mapping[str, Any]]:
        """The settings of the run that lies here, and the rest of its config.json.

        Args:
            wanted: what the run is for, for people who name none.
            remedy: what they are told to do.

        Raises:
            LoangError: there is none, or it can't be read.
        """
        try:
            content = untrusted.read_json(self.config)
            if content.get("format") != FORMAT:
                raise LoangError(
                    f"{self.config} has the format {untrusted.shown(content.get('format'))};"
                    f" this loang reads {FORMAT}.",
                    "Use the version of loang that wrote it.",
                )
            return config.load(content.get("settings")), content
        except (FileNotFoundError, NotADirectoryError):
            if self.model.is_file():
                raise LoangError(
                    f"In {self.path} lies a model alone, as `loang import` leaves one that came"
                    f" without an optimizer: no run {wanted}.",
                    remedy,
                ) from None
            raise LoangError(f"There is no run in {self.path} {wanted}.", remedy) from None
        except (OSError, ValueError) as error:
            raise LoangError(f"{self.config} can't be read: {error}.", remedy) from error


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints there, rising; those without a manifest do not exist."""
    found = folder.glob(f"{CHECKPOINT}*/{MANIFEST}") if folder.is_dir() else ()
    names = (manifest.parent.name.removeprefix(CHECKPOINT) for manifest in found)
    digits = (name for name in names if name.isascii() and name.isdigit())
    # A folder that somebody has renamed is none: it could not be found again by its step.
    return sorted(int(name) for name in digits if name == f"{int(name):08d}")
