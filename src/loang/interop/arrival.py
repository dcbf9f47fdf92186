"""Where a model that was brought from another tool comes to lie: a run's folder."""

from pathlib import Path

from loang.errors import LoangError
from loang.files import MODEL, shown
from loang.model import Model


def settle(model: Model, out: Path) -> Path:
    """Write the model into a folder of its own, as a run leaves one.

    Args:
        model: as it was read.
        out: the folder; it must be new, or empty.

    Returns:
        The model's file.

    Raises:
        LoangError: there is something at that place, or the disk refuses.
    """
    check_free(out)
    path = out / MODEL
    model.save(path)
    return path


def check_free(out: Path) -> None:
    """Asked before anything is read, as that takes time.

    Raises:
        LoangError: there is a file of that name, or a folder that is not empty.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise LoangError(
            f"There is something at {shown(out)} already.", "Name another place with --out."
        )
