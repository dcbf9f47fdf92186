"""`loang doctor DATA`: a data set, before anything is trained on it."""

from loang.config import Settings
from loang.data.download import Progress
from loang.doctor.finding import Diagnosis
from loang.errors import LoangError


def examine(name: str, settings: Settings, *, on_progress: Progress | None = None) -> Diagnosis:
    """Examine the images of that name, as `loang train` would open them.

    Raises:
        LoangError: they can't be opened.
    """
    raise LoangError(
        f"{name} is no run and no model, and images can't be examined yet.",
        "Name a run's folder or a model file; `loang train DATA --dry-run` says what is in DATA.",
    )
