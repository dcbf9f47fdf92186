"""The verbs, as Python functions: what the command line calls, and you may."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from loang import files
from loang.config import Settings
from loang.data.download import Progress
from loang.errors import LoangError
from loang.evaluation.asked import Asked as AskedOfEvaluation
from loang.evaluation.asked import check_subject
from loang.evaluation.subject import is_model
from loang.training.asked import Asked, AskedOfStudent, open_images, resolve
from loang.training.asked import resume as asked_again
from loang.training.display import Display
from loang.training.folder import RunFolder
from loang.training.places import PLACES, meant, not_named_anew

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.doctor.finding
    import loang.evaluation.comparison
    import loang.evaluation.report
    import loang.model
    import loang.training.averaging
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
    places, gone = None, None
    if resume:
        stored, about = folder.read_config()
        settings = asked_again(stored, data, **asked)
        places = not_named_anew(
            about.get(PLACES), stored.data, settings.data, (data, asked.get("labels_file"))
        )
        gone = f"Name the images, wherever they are: loang train DATA --resume --out {folder.path}"
    else:
        folder.check(overwrite)
    folder.check_free()
    dataset = open_images(settings, on_progress, places=places, gone=gone)

    from loang.training.origin import about as about_now
    from loang.training.plan import prepare
    from loang.training.run import Run

    prepared = prepare(settings, dataset)
    # A run that is gone on with has its checkpoints already.
    notes = [] if resume else prepared.check_disk(folder.path)
    lock = folder.claim()
    try:
        if not resume:
            folder.start(overwrite)
            folder.write_config(prepared.settings, about_now(prepared))
        run = Run(prepared, folder, lock)
        run.notes += notes
        if resume:
            run.restore()
            now = meant(settings.data) | (places or {})
            if settings.data != stored.data or now != (about.get(PLACES) or {}):
                # The images have moved: the next time they are there.
                moved = stored.model_copy(update={"data": settings.data})
                folder.write_config(moved, {**about, PLACES: now})
    except BaseException:
        lock.release()
        raise
    return run


def distill(
    model: str | Path,
    data: str | Path | None = None,
    *,
    steps: int = 2,
    out: str | Path | None = None,
    overwrite: bool = False,
    display: Display | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[AskedOfStudent],
) -> "loang.model.Model":
    """Train a model that draws in a few steps what another draws in many; returns it.

    Its run is gone on with as any other: `train(resume=True, out=...)`.

    Args:
        model: the teacher: a run's folder or a model file.
        data: images to ask it about; None takes those that it learned from.
        steps: of the student's walk, 1 or more.
        out: the run's folder; None makes one in `runs`, named for model and steps.
        overwrite: replace the run in that folder.
        display: told of what happens; None shows nothing.
        on_progress: told of a download.
        **asked: budget, seed and more: see `loang.training.asked.AskedOfStudent`.

    Raises:
        LoangError: a mistake in any of these; the model is distilled already; its images are gone.
        Interrupted: Ctrl-C or SIGTERM came; a checkpoint and the model file were written.
    """
    from loang.training.distill import start

    run = start(
        Path(model),
        None if data is None else str(data),
        steps=steps,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        on_progress=on_progress,
        **asked,
    )
    return run.train(display or Display())


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


def evaluate(
    subject: str | Path,
    data: str | Path | None = None,
    *,
    asked: AskedOfEvaluation | None = None,
    history: bool = False,
    out: str | Path | None = None,
    command: str = "",
    on_stage: Callable[[str, int, int], None] | None = None,
    on_progress: Progress | None = None,
) -> "loang.evaluation.report.Report":
    """Measure a model's samples, or images that any tool has made, against real images.

    Args:
        subject: a run's folder, a model file, a folder of images, or a .npy or .npz file.
        data: the real images, as for `train`; None takes those that the model learned from.
        asked: how many samples, in which feature spaces, and so on.
        history: score the run's checkpoints as well.
        out: a folder for report.json, report.md, report.png and the samples, which a second call
            goes on with; None writes nothing.
        command: what the person typed, for the report.
        on_stage: told (what, done, in all).
        on_progress: told of downloads and of images read.

    Raises:
        LoangError: a mistake in any of these; or too few images to measure anything.
    """
    asked, folder = asked or AskedOfEvaluation(), None if out is None else Path(out)
    check_subject(Path(subject), data)
    if folder is not None:
        files.check_folder(folder)

    from loang.evaluation import output
    from loang.evaluation.asking import Asking

    asking = Asking(
        asked,
        keep=folder and folder / "samples",
        command=command,
        on_stage=on_stage,
        on_progress=on_progress,
    )
    report = asking.report(Path(subject), data, history=history)
    if folder is not None:
        output.write_report(report, folder)
    return report


def compare(
    first: str | Path,
    second: str | Path,
    data: str | Path | None = None,
    *,
    asked: AskedOfEvaluation | None = None,
    out: str | Path | None = None,
    command: str = "",
    on_stage: Callable[[str, int, int], None] | None = None,
    on_progress: Progress | None = None,
) -> "loang.evaluation.comparison.Comparison":
    """Which of two is better, and whether the difference is larger than its error.

    For the arguments see `evaluate`; both may be models or images.

    Raises:
        LoangError: a mistake in any of these; or too few images to measure anything.
    """
    asked, folder = asked or AskedOfEvaluation(), None if out is None else Path(out)
    for subject in (first, second):
        check_subject(Path(subject), data or "that of the other")
    if folder is not None:
        files.check_folder(folder)

    from loang.evaluation import output
    from loang.evaluation.asking import Asking

    asking = Asking(
        asked,
        keep=folder and folder / "samples",
        command=command,
        on_stage=on_stage,
        on_progress=on_progress,
    )
    comparison = asking.comparison(Path(first), Path(second), data)
    if folder is not None:
        output.write_comparison(comparison, folder)
    return comparison


def doctor(
    target: str | Path,
    data: str | Path | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    device: str = "auto",
    asked: Asked | None = None,
    on_stage: Callable[[str, int, int], None] | None = None,
    on_progress: Progress | None = None,
) -> "loang.doctor.finding.Diagnosis":
    """What is right and what is wrong with a run, a model or a data set; nothing is written.

    Args:
        target: a run's folder, a model file, or images as for `train`.
        data: of a run or model: where its images are now; None where the run found them.
        count: images that errors are measured on; None takes as many as about a minute allows.
        seed: of the images, the noise and the samples; 0 or more.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        asked: of a data set: size, channels and more, as for `train`.
        on_stage: told (what, done, in all).
        on_progress: told of a download, and of images read.

    Raises:
        LoangError: a mistake in any of these, or there is nothing of that name.
    """
    if count is not None and count < 2:
        raise LoangError(
            f"Nothing can be measured on {count} images.", "Ask for some dozens with --count."
        )
    if seed < 0:
        raise LoangError(f"The seed {seed} is negative.", "Choose one from 0 on.")
    if not is_model(Path(target)):
        from loang.doctor.data import examine as examine_data

        if data is not None:
            raise LoangError(
                f"{target} is no run and no model, so there are no images to go with it.",
                "Leave --data away, or name a run's folder.",
            )
        wanted: Asked = {**(asked or {}), "device": device}
        return examine_data(
            str(target),
            resolve(target, **wanted),
            wanted,
            on_stage=on_stage,
            on_progress=on_progress,
        )
    given = [name for name, value in (asked or {}).items() if value]
    if given:
        raise LoangError(
            f"{target} is a run or a model, whose images are what they were: {given[0]} can't be"
            " asked of it.",
            "Leave it away, or name images.",
        )

    from loang.doctor.run import examine

    return examine(
        Path(target),
        None if data is None else str(data),
        count=count,
        seed=seed,
        device=device,
        on_stage=on_stage,
        on_progress=on_progress,
    )


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
        out: the model file; None puts it in the run's folder, beside the run's own model.
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
    folder.read_config()
    if out is not None:
        files.check_folder(Path(out).parent)

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
    name = f"average-{made.average.length:g}.safetensors"
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


def newest_model(folder: Path = Path("runs")) -> Path:
    """The model file written last in a folder of runs.

    Raises:
        LoangError: there is none.
    """
    found = sorted(folder.glob(f"*/{files.MODEL}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LoangError(
            f"There is no model in {folder}/ yet.",
            "Train one with `loang train`, or name a run's folder or a model file.",
        )
    return found[-1]


def default_folder(settings: Settings) -> Path:
    """`runs/DATA-PRESET`."""
    name = Path(settings.data.source or "data").resolve().stem
    return Path("runs") / f"{name}-{settings.preset}"
