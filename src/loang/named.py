"""Where the model lies that a person names: a run, a file, `built-in`, or one of the hub."""

from pathlib import Path

from loang import built_in
from loang.files import MODEL
from loang.hub.address import is_hub


def located(named: str | Path) -> Path:
    """The folder or file of that name, there or not; a model of the hub is downloaded.

    Args:
        named: a run's folder, a model file, `built-in`, or `hub:owner/name`.

    Raises:
        LoangError: it is of the hub, and can't be fetched: see `loang.hub.models.fetched`.
    """
    path = Path(named)
    if is_hub(named) and not path.exists():
        from loang.hub.models import fetched

        return fetched(named)
    return built_in.located(path)


def called(named: str | Path) -> str:
    """What a model is called in the name of another run's folder: a run's, or a file's own name."""
    whole = Path(named).resolve()
    return whole.parent.name if whole.name == MODEL else whole.stem
