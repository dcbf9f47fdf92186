"""Opening, measuring and examining models and images."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from loang import built_in, files
from loang.data.download import Progress
from loang.errors import LoangError
from loang.evaluation.asked import Asked as AskedOfEvaluation
from loang.evaluation.asked import check_subject
from loang.evaluation.subject import is_model
from loang.training.asked import Asked, resolve

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.doctor.finding
    import loang.evaluation.comparison
    import loang.evaluation.report
    import loang.model


def load(path: str | Path, *, device: str = "auto") -> "loang.model.Model":
    """The model of a run's folder, of a model file, or of the hub: `hub:owner/name`.

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
        subject: a run's folder, a model file, `hub:owner/name`, a folder of images, or a .npy or
            .npz file.
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
    subject = built_in.located(Path(subject))
    check_subject(subject, data)
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
    report = asking.report(subject, data, history=history)
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
    first, second = (built_in.located(Path(each)) for each in (first, second))
    for subject in (first, second):
        check_subject(subject, data or "that of the other")
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
    comparison = asking.comparison(first, second, data)
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


def default_model(folder: Path = Path("runs")) -> Path:
    """The model that is meant where none is named: the newest run's, else the one that ships.

    Returns:
        A run's folder, or `built-in`.
    """
    found = _by_age(folder)
    return found[-1].parent if found else Path(built_in.NAME)


def newest_model(folder: Path = Path("runs")) -> Path:
    """The model file written last in a folder of runs.

    Raises:
        LoangError: there is none.
    """
    found = _by_age(folder)
    if not found:
        raise LoangError(
            f"There is no model in {folder}/ yet.",
            "Train one with `loang train`, or name a run's folder or a model file.",
        )
    return found[-1]


def _by_age(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{files.MODEL}"), key=lambda path: path.stat().st_mtime)
