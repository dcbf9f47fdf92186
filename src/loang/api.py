"""The verbs, as Python functions: what the command line calls, and you may."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from loang.config import Settings
from loang.data.download import Progress
from loang.errors import LoangError
from loang.training.asked import Asked, open_images, resolve
from loang.training.asked import resume as asked_again
from loang.training.display import Display
from loang.training.folder import RunFolder

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.model
    import loang.training.plan
    import loang.training.run


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    display: Display | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.model.Model":
    """Train a model; returns it, and leaves everything in the run's folder.

    Args:
        data: `fashion-mnist`, a folder of images, or a .npy or .npz file; None takes the preset's.
        out: the run's folder; None makes one in `runs`, named for data and preset.
        resume: go on with the run in that folder, with its own settings.
        overwrite: replace the run in that folder.
        display: told of what happens; None shows nothing.
        on_progress: told of a download.
        **asked: preset, budget, size and more: see `loang.training.asked.Asked`.

    Raises:
        LoangError: a mistake in any of these, found before training starts; or a loss that is no
            number any more.
        Interrupted: Ctrl-C or SIGTERM came; a checkpoint and the model file were written.
    """
    run = start(data, out=out, resume=resume, overwrite=overwrite, on_progress=on_progress, **asked)
    return run.train(display or Display())


def start(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.training.run.Run":
    """Everything of `train` up to the first step: what can be wrong is found here."""
    if resume and overwrite:
        raise LoangError("A run can't be both resumed and overwritten.", "Choose one of the two.")
    settings = resolve(data, **asked)
    folder = RunFolder(Path(out) if out is not None else default_folder(settings))
    if resume:
        settings = asked_again(folder.read_config()[0], data, **asked)
    else:
        folder.check(overwrite)
    dataset = open_images(settings, on_progress)

    from loang.training.plan import prepare
    from loang.training.run import Run

    prepared = prepare(settings, dataset)
    if not resume:
        folder.start(overwrite)
        folder.write_config(prepared.settings, _about(prepared))
    run = Run(prepared, folder)
    if resume:
        run.restore()
    return run


def plan(
    data: str | Path | None = None,
    *,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.training.plan.Plan":
    """What `train` would start from; nothing is written."""
    settings = resolve(data, **asked)
    dataset = open_images(settings, on_progress)

    from loang.training.plan import prepare

    return prepare(settings, dataset)


def load(path: str | Path, *, device: str = "auto") -> "loang.model.Model":
    """The model of a run's folder, or of a model file.

    Raises:
        LoangError: there is none, or it is not one of loang's.
    """
    from loang.model import Model

    return Model.load(path, on=device)


def default_folder(settings: Settings) -> Path:
    """`runs/DATA-PRESET`."""
    name = Path(settings.data.source or "data").resolve().stem
    return Path("runs") / f"{name}-{settings.preset}"


def _about(plan: "loang.training.plan.Plan") -> dict[str, Any]:
    import torch

    import loang

    data = plan.dataset
    return {
        "images": data.spec.to_dict(),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "validation": len(data.validation),
        },
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
