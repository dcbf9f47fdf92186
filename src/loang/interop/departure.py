"""Where a model that goes to another tool comes to lie, and what must not be replaced there."""

from pathlib import Path

from loang import files
from loang.errors import LoangError
from loang.files import MODEL


def destination(model: Path, out: Path | None, suffix: str) -> Path:
    """Where the file is written: never in the place of the model that it is made of.

    Args:
        model: what a person named: a run's folder, a model file, `built-in`.
        out: where a person wants it; None takes `place_of`.
        suffix: of the file, with its dot.

    Raises:
        LoangError: that is the model itself.
    """
    place = out or place_of(model, suffix)
    source = model / MODEL if model.is_dir() else model
    if source.is_file() and place.is_file() and source.samefile(place):
        raise LoangError(
            f"{place} is the model itself, which would be replaced.",
            "Name another file with --out.",
        )
    return place


def place_of(model: Path, suffix: str) -> Path:
    """A file beside the model; in the working folder, if the model is named and not placed.

    Args:
        model: what a person named: a run's folder, a model file, `built-in`.
        suffix: of the file, with its dot.
    """
    if model.is_dir():
        return (model / MODEL).with_suffix(suffix)
    if model.is_file():
        return model.with_suffix(suffix)
    return Path(model.name or "model").with_suffix(suffix)


def put_script(path: Path, text: str) -> Path | None:
    """A script beside the file; None where a person's own lies there, which is left as it is."""
    if path.exists():
        same = path.is_file() and path.read_bytes() == text.encode()
        return path if same else None
    files.write_text(path, text)
    return path
