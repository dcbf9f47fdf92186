"""Where a model that goes to another tool comes to lie, if nobody says."""

from pathlib import Path

from loang.files import MODEL


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
