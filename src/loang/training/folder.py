"""A run's folder: where everything of one run lies, and who may write to it.

config.json                  the resolved settings, complete; loads back to the same run
log.jsonl                    one line a measurement
checkpoints/step-NNNNNNNN/   checkpoint.py
samples/                     the same seeds, drawn as training goes
samples.png, walk.gif        the last of them, and how they came from noise
training.png                 loss and learning rate
model.safetensors            the one file to keep: averaged weights, settings, image spec
README.md                    a card with the run's own numbers
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loang import config, files
from loang.config import Settings
from loang.errors import LoangError
from loang.files import MODEL

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
        self.log = path / "log.jsonl"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.grid = path / "samples.png"
        self.walk = path / "walk.gif"
        self.chart = path / "training.png"
        self.model = path / MODEL
        self.card = path / "README.md"

    def holds_run(self) -> bool:
        """Whether a run was ever started here."""
        return self.config.exists() or self.checkpoints.exists() or self.log.exists()

    def check(self, overwrite: bool) -> None:
        """Whether a new run may be started here; cheap, and before anything is read or built.

        Raises:
            LoangError: it holds a run and may not be overwritten, holds files of somebody else's
                that a run would replace, or can't be written.
        """
        if self.holds_run():
            if not overwrite:
                self._refuse_run()
        else:
            taken = [path.name for path in self._files() if path.exists()]
            if self.samples.exists():
                taken.append(self.samples.name)
            if taken:
                raise LoangError(
                    f"{self.path} holds no run, but files that a run would replace:"
                    f" {', '.join(sorted(taken))}.",
                    "Name another folder with --out.",
                )
        files.check_folder(self.path)

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
                for path in (*self._files(), *self.samples.glob("[0-9]" * 8 + ".png")):
                    path.unlink(missing_ok=True)
            self.samples.mkdir(parents=True, exist_ok=True)

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
            "Go on with it with --resume, replace it with --overwrite,"
            " or name another folder with --out.",
        )

    def write_config(self, settings: Settings, about: Mapping[str, Any]) -> None:
        """The settings, and what else is known at the start."""
        content = {"format": FORMAT, "settings": settings.to_dict(), **about}
        files.write_text(self.config, json.dumps(content, indent=1) + "\n")

    def read_config(self) -> tuple[Settings, Mapping[str, Any]]:
        """The settings of the run that lies here, and the rest of its config.json.

        Raises:
            LoangError: there is none, or it can't be read.
        """
        remedy = "Name a run's folder with --out, or start one without --resume."
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise LoangError(
                    f"{self.config} has the format {content['format']}; this loang reads {FORMAT}.",
                    "Use the version of loang that wrote it.",
                )
            return config.load(content["settings"]), content
        except FileNotFoundError:
            raise LoangError(f"There is no run in {self.path} to go on with.", remedy) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoangError(f"{self.config} can't be read: {error}.", remedy) from error

    def append_log(self, record: Mapping[str, Any]) -> None:
        """One line more in log.jsonl."""
        with files.writing(self.log), self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def read_log(self) -> list[Mapping[str, Any]]:
        """The lines of log.jsonl; one that was cut by a crash is left out."""
        return list(self._read_log()) if self.log.exists() else []

    def cut_log(self, images: int) -> None:
        """Forget what was logged after a checkpoint: the run goes on from there."""
        kept = [record for record in self.read_log() if record.get("images", 0) <= images]
        files.write_text(self.log, "".join(json.dumps(record) + "\n" for record in kept))

    def _read_log(self) -> Iterator[Mapping[str, Any]]:
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints there, rising; those without a manifest do not exist."""
    found = folder.glob(f"{CHECKPOINT}*/{MANIFEST}") if folder.is_dir() else ()
    names = (manifest.parent.name.removeprefix(CHECKPOINT) for manifest in found)
    return sorted(int(name) for name in names if name.isdigit())
