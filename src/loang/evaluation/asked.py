"""What a person asks of an evaluation, checked. No torch: it answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loang.errors import LoangError
from loang.evaluation.subject import is_model
from loang.files import MODEL
from loang.hub.address import is_hub
from loang.metrics.features import known
from loang.sampling import Asked as AskedOfSampling
from loang.sampling import check_count, check_seed, given
from loang.training.folder import CONFIG

COUNT = 1000


@dataclass(frozen=True)
class Asked:
    """How samples are drawn and measured.

    Args:
        count: samples of a model; of images, a draw of so many. None takes 1,000 of a model, and
            all of the images.
        features: names of feature spaces; the sentences of the report speak of the first.
        seed: of samples, and of which real images play which part.
        sampling: how a model is sampled; nothing takes its own way.
        guide: a worse model that guides it.
        batch: how many are drawn at once.
        device: of a model: "auto", "cpu", "cuda", "cuda:1" or "mps".
        likelihood: bits per value of held-out images as well, `count` of them at the most.
    """

    count: int | None = None
    features: Sequence[str] = ("auto",)
    seed: int = 0
    sampling: AskedOfSampling = field(default_factory=AskedOfSampling)
    guide: str | Path | None = None
    batch: int = 64
    device: str = "auto"
    likelihood: bool = False

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 2:
            raise LoangError(
                f"Nothing can be measured on {self.count} samples.",
                "Ask for 2 at least; some hundreds say something, thousands are better.",
            )
        check_count(1, self.batch)
        check_seed(self.seed)
        if not self.features:
            raise LoangError("There is no feature space to measure in.", "Name one, or auto.")
        for name in self.features:
            known(name)
        given(self.sampling)
        if self.guide is not None and not is_model(Path(self.guide)):
            raise LoangError(
                f"There is no model at {self.guide}.", "Name a run's folder or a model as --guide."
            )


def check_subject(subject: Path, data: str | Path | None) -> None:
    """Whether there is something to measure, and against what; before torch is imported.

    Raises:
        LoangError: there is nothing of that name, or images come without real ones.
    """
    if not subject.exists() and not is_hub(subject):
        raise LoangError(
            f"There is no model and there are no images at {subject}.",
            "Name a run's folder, a model file, a folder of images, or a .npy or .npz file.",
        )
    if data is None and not is_model(subject):
        raise LoangError(
            f"{subject} is no model, and there is nothing to measure images against.",
            f"If it holds images, name the real ones too: loang evaluate {subject} fashion-mnist.",
        )


def default_folder(subject: Path) -> Path:
    """Where the report of a subject goes: into the run it is of, or to `evaluations/NAME`."""
    run = subject if subject.is_dir() else subject.parent
    if (run / CONFIG).is_file() and (subject.is_dir() or subject.name == MODEL):
        return run / "evaluation"
    return Path("evaluations") / _name(subject)


def comparison_folder(first: Path, second: Path) -> Path:
    """Where the comparison of two goes."""
    return Path("evaluations") / f"{_name(first)}-and-{_name(second)}"


def _name(subject: Path) -> str:
    return (subject.name if is_hub(subject) else subject.resolve().stem) or "images"
