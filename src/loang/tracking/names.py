"""Which trackers there are, and which of them a person asks for. Nothing of theirs is imported."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from loang.errors import LoangError
from loang.tracking.tracker import Tracker

TRACKERS = {
    "tensorboard": "TensorBoard",
    "trackio": "Trackio",
    "wandb": "WandB",
    "mlflow": "MLflow",
}
"""The name of each, which is that of its package and of its module here, and its class."""
NONE = "none"
FOLDER = "tracking"
"""In a run's folder: what each tracker was told."""


def build(name: str) -> Tracker:
    """The tracker of that name."""
    made: Tracker = getattr(import_module(f"loang.tracking.{name}"), TRACKERS[name])()
    return made


def chosen(
    asked: Sequence[str] | None, folder: Path, *, resume: bool
) -> tuple[list[str], list[str]]:
    """The trackers of a session, and what a person should know of them.

    Args:
        asked: by the person; "none" for none; None leaves it as it was in the last session.
        folder: of the run.
        resume: whether a run there is gone on with.

    Raises:
        LoangError: a name that is none, or a package that is not installed.
    """
    if asked is not None:
        for name in asked:
            _check_name(name)
            if name != NONE and not _installed(name):
                raise LoangError(
                    f"loang needs the package {name} to track a run, and it is not installed.",
                    'Install it with pip install "loang[track]".',
                )
        names = list(dict.fromkeys(name for name in asked if name != NONE))
        if NONE in asked and names:
            raise LoangError(
                f"--track none and --track {names[0]} can't both be.", "Choose one of the two."
            )
        return names, []
    before = [name for name in TRACKERS if resume and note_of(folder, name).exists()]
    gone = [name for name in before if not _installed(name)]
    notes = [
        f"Warning: {name} has tracked this run, and is not installed here: it is told nothing."
        for name in gone
    ]
    return [name for name in before if name not in gone], notes


def note_of(folder: Path, name: str) -> Path:
    """Where a run notes what that tracker was told."""
    return folder / FOLDER / f"{name}.json"


def told(folder: Path) -> list[Path]:
    """All that a run notes of its trackers, and what TensorBoard reads of it."""
    notes = [note_of(folder, name) for name in TRACKERS]
    events = folder.glob("tensorboard/events.out.tfevents.*.loang")
    return [*(path for path in notes if path.exists()), *events]


def _check_name(name: str) -> None:
    if name not in TRACKERS and name != NONE:
        raise LoangError(
            f"loang knows no tracker {name!r}.",
            f"Name one of these: {', '.join(TRACKERS)}, or {NONE}.",
        )


def _installed(name: str) -> bool:
    return find_spec(name) is not None
