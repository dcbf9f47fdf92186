"""Training, distilling, averaging: what makes models."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from loang import files
from loang.data.download import Progress
from loang.data.places.given import Given, named
from loang.errors import LoangError
from loang.team.place import Place
from loang.training import starting
from loang.training.asked import Asked, AskedOfStudent, open_images
from loang.training.display import Display
from loang.training.folder import RunFolder
from loang.training.notebook_display import of_python
from loang.training.starting import begun, default_folder, gone_on_with

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.model
    import loang.team.team
    import loang.training.averaging
    import loang.training.following
    import loang.training.plan
    import loang.training.run


def train(
    data: str | Path | Given | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    start_from: str | Path | None = None,
    track: Sequence[str] | None = None,
    display: Display | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.model.Model":
    """Train a model; returns it, and leaves everything in the run's folder.

    Args:
        data: `fashion-mnist`, a folder of images, a .npy or .npz file, or a
            `torch.utils.data.Dataset`; None takes the preset's.
        out: the run's folder; None makes one in `runs`, named for data and preset.
        resume: go on with the run in that folder, with its own settings.
        overwrite: replace the run in that folder.
        start_from: a model whose weights are the first ones, and whose settings it has: a run's
            folder, a model file, "built-in" or "hub:owner/name"; see
            `loang.training.inheritance`. None: fresh weights.
        track: "tensorboard", "trackio", "wandb" or "mlflow", one or several, that are told of the
            run; None: those that its last session told, if it is gone on with.
        display: told of what happens; None shows a bar in a notebook, and nothing elsewhere.
        on_progress: told of a download.
        **asked: preset, budget, size and more: see `loang.training.asked.Asked`.

    Raises:
        LoangError: a mistake in any of these, found before training starts; or a loss that is no
            number any more.
        Interrupted: Ctrl-C or SIGTERM came; a checkpoint and the model file were written.
    """
    run = start(
        data,
        out=out,
        resume=resume,
        overwrite=overwrite,
        start_from=start_from,
        track=track,
        on_progress=on_progress,
        **asked,
    )
    return run.train(display or of_python())


def start(
    data: str | Path | Given | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    start_from: str | Path | None = None,
    track: Sequence[str] | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.training.run.Run | loang.training.following.Following":
    """Everything of `train` up to the first step: what can be wrong is found here.

    In a job of several processes one leads: it alone begins a run, which the others follow.
    """
    data = None if data is None else named(data)

    def begin(team: "loang.team.team.Team | None" = None) -> "loang.training.run.Run":
        return starting.start(
            data, out, resume, overwrite, track, on_progress, team, start_from, **asked
        )

    if Place.here().size == 1:
        return begin()

    from loang.training.following import together

    return together(begin, on_progress)


def distill(
    model: str | Path,
    data: str | Path | Given | None = None,
    *,
    steps: int = 2,
    out: str | Path | None = None,
    overwrite: bool = False,
    track: Sequence[str] | None = None,
    display: Display | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[AskedOfStudent],
) -> "loang.model.Model":
    """Train a model that draws in a few steps what another draws in many; returns it.

    Its run is gone on with as any other: `train(resume=True, out=...)`. A teacher that knows labels
    is guided by 3 as it is walked, if it learnt to do without them: `changes` with
    "distillation.guidance=1" leaves it alone.

    Args:
        model: the teacher: a run's folder or a model file.
        data: images to ask it about; None takes those that it learned from.
        steps: of the student's walk, 1 or more.
        out: the run's folder; None makes one in `runs`, named for model and steps.
        overwrite: replace the run in that folder.
        track: "tensorboard", "trackio", "wandb" or "mlflow", one or several, that are told of the
            run; None: those that its last session told, if it is gone on with.
        display: told of what happens; None shows a bar in a notebook, and nothing elsewhere.
        on_progress: told of a download.
        **asked: budget, seed and more: see `loang.training.asked.AskedOfStudent`.

    Raises:
        LoangError: a mistake in any of these; the model is distilled already; its images are gone.
        Interrupted: Ctrl-C or SIGTERM came; a checkpoint and the model file were written.
    """
    from loang.training.distill import start

    run = start(
        Path(model),
        None if data is None else named(data),
        steps=steps,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        track=track,
        on_progress=on_progress,
        **asked,
    )
    return run.train(display or of_python())


def plan(
    data: str | Path | Given | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    start_from: str | Path | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> "loang.training.plan.Plan":
    """What `train` would start from, or go on with; nothing is written.

    Args:
        data: as of `train`.
        out: the folder of the run that is gone on with; None takes the default one.
        resume: whether it is gone on with.
        start_from: as of `train`.
        on_progress: told of a download.
        asked: as of `train`.

    Raises:
        LoangError: a mistake in any of these.
    """
    data = None if data is None else named(data)
    model, settings, places = begun(data, start_from, resume=resume, **asked)
    if resume:
        folder = RunFolder(default_folder(settings) if out is None else Path(out))
        settings, places = gone_on_with(folder, data, **asked)[1:]

    from loang.training.inheritance import heir, weights_of
    from loang.training.plan import prepare

    prepared = prepare(settings, open_images(settings, on_progress, places=places))
    if model is None:
        return prepared
    weights_of(model, prepared.denoiser.network, prepared.dataset.spec)  # whether they fit
    return heir(prepared, model)


def average(
    run: str | Path,
    *,
    length: float | None = None,
    best: bool = False,
    samples: int | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    on_progress: Progress | None = None,
) -> tuple["loang.training.averaging.Averaged", Path]:
    """A model with another average of a run's weights, made of its snapshots, and its file.

    Args:
        run: the folder of a run with `ema.snapshots`.
        length: of the average: its profile's standard deviation, as a share of the run.
        best: in place of a length: score several, and take the best.
        samples: of `best`: how many are drawn for each, 2 or more; 0 takes the validation loss,
            None what the run was asked for.
        data: of `best`: where the images are now; None where the run found them.
        out: the model file, NAME.safetensors; None puts it in the run's folder, beside the run's
            own model.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        say: told what is tried.
        on_progress: told of a download.

    Raises:
        LoangError: a mistake in any of these; snapshots that are not there or do not reach that
            far; or a place that can't be written.
    """
    if (length is None) != best:
        raise LoangError(
            "An average is of one length, or the best of several.",
            "Write --length 0.08, or --best.",
        )
    if not best and (samples is not None or data is not None):
        raise LoangError(
            "Nothing is measured where the length is given.", "Leave --samples and --data away."
        )
    if samples is not None and (samples < 0 or samples == 1):
        raise LoangError(
            f"A distance can't be measured on {samples} samples.",
            "Ask for some hundreds, or for 0: then the validation loss decides.",
        )
    folder = RunFolder(Path(run))
    folder.check_averages()
    if out is not None:
        _check_place(Path(out), folder)

    from loang.training import averaging

    if length is not None:
        made = averaging.of_length(folder.path, length, device=device)
    else:
        made = averaging.best(
            folder.path,
            samples=samples,
            data=None if data is None else str(data),
            device=device,
            say=say,
            on_progress=on_progress,
        )
    chosen = made.average.length  # None: the run's own, where that is of no length
    name = f"average-{'own' if chosen is None else f'{chosen:g}'}.safetensors"
    path = folder.path / name if out is None else Path(out)
    if path.resolve() == folder.model.resolve():
        lock = folder.claim()  # while it trains, the run replaces this file itself
        try:
            made.model.save(path)
        finally:
            lock.release()
    else:
        made.model.save(path)
    return made, path


def _check_place(out: Path, folder: RunFolder) -> None:
    """Whether a model may be written there: in place of no other file of the run.

    Raises:
        LoangError: it may not, or the place can't be written.
    """
    if out.suffix != ".safetensors":
        raise LoangError(
            f"A model is written as a .safetensors file, and {files.shown(out)} is none.",
            "Write such a name: --out average.safetensors.",
        )
    for taken in (folder.averages, folder.checkpoints):
        if taken.resolve() in out.resolve().parents:
            raise LoangError(
                f"{files.shown(taken)} holds the run's own files, and a model is none of them.",
                "Name another place with --out.",
            )
    files.check_folder(out.parent)
