"""From a model that walks many steps to one that leaps in a few: a run of its own."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from loang import config, files
from loang.build import build_schedule
from loang.config import (
    DistillationSettings,
    EmaSettings,
    SamplingSettings,
    Settings,
    TrainingSettings,
)
from loang.data import Dataset
from loang.data.download import Progress
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.named import called
from loang.team.team import Team
from loang.tracking.names import chosen
from loang.tracking.tracking import Tracking
from loang.training.asked import AskedOfStudent, open_images
from loang.training.consistency import check
from loang.training.folder import RunFolder
from loang.training.following import Following, begin, together
from loang.training.leaps import leaps
from loang.training.origin import about
from loang.training.places import beside
from loang.training.plan import prepare
from loang.training.run import Run
from loang.training.starting import forgotten

SLOWER = 0.5
"""The learning rate's factor: the weights are good already."""
GUIDANCE = 3.0
"""Of leaps, where the teacher knows labels and nobody says (docs/distill.md)."""
MATCH_GUIDANCE = 2.0
"""Of the teacher that samples are matched with, as far as the other is not said either."""
OWN = 4
"""The most steps of a student that starts where its own leaps lead, and draws whole walks to match
them: each costs it an evaluation."""
MATCHED_FROM = 0.5
"""The share of the budget at which leaps have done their part."""
LABEL_SAMPLES = 500
"""At each of a few strengths of the labels, seconds of two steps (docs/distill.md)."""
UNREAD = {
    "training": (
        *("weighting", "min_snr_gamma", "levels", "level_mean", "level_deviation"),
        *("stratified", "pairing"),
    ),
    "sampling": (
        *("sampler", "steps", "spacing", "levels", "eta", "variance", "churn", "tolerance"),
        *("guidance", "guidance_interval", "guidance_rescale"),
    ),
}
"""Settings that say nothing to a student, or are decided by others."""


def start(
    teacher: Path,
    data: str | None = None,
    *,
    steps: int = 2,
    out: Path | None = None,
    overwrite: bool = False,
    track: Sequence[str] | None = None,
    on_progress: Progress | None = None,
    **asked: Unpack[AskedOfStudent],
) -> "Run | Following":
    """Everything up to the first step; see `loang.distill`.

    The run's first checkpoint is the teacher itself, so that it can be gone on with from then on,
    without the teacher's file. In a job of several processes only the leader reads that.
    """
    return together(
        lambda team: _start(
            teacher, data, steps, out, overwrite, track, on_progress, team, **asked
        ),
        on_progress,
    )


def _start(
    teacher: Path,
    data: str | None,
    steps: int,
    out: Path | None,
    overwrite: bool,
    track: Sequence[str] | None,
    on_progress: Progress | None,
    team: Team,
    **asked: Unpack[AskedOfStudent],
) -> Run:
    model = Model.load(teacher, on="cpu")
    if model.settings.distilled:
        raise LoangError(
            f"{teacher} is distilled already: it leaps, and has no walk that could be learnt.",
            "Name the model that it was distilled from, with the --steps that you want.",
        )
    guidable = model.denoiser.classes > 0 and model.settings.training.label_dropout > 0
    settings = student(model.settings, steps, data, guidable=guidable, **asked)
    check(model.denoiser, settings.distillation)
    led = settings.distillation.guidance, settings.distillation.match_guidance
    if led != (1, 1) and not guidable:
        raise LoangError(
            "This model never learnt to draw without a label (training.label_dropout=0), so there"
            " is nothing that guidance could lead away from.",
            "Leave --guidance away.",
        )
    steps = settings.distillation.steps
    folder = RunFolder(out if out is not None else default_folder(teacher, steps))
    folder.check(overwrite)
    folder.check_apart(teacher, "teacher")
    folder.check_free()
    tracking = Tracking(chosen(track, folder.path, resume=False)[0])
    places = None if data is not None else beside(teacher, model.settings.data)
    dataset = open_images(
        settings,
        on_progress,
        places=places,
        gone=f"Name the images, wherever they are: loang distill {files.shown(teacher)} DATA",
    )
    notes = _fitting(dataset, model)
    plan = prepare(settings, dataset, team)
    begin(plan, places)
    plan.denoiser.network.load_state_dict(model.denoiser.network.state_dict())
    notes += plan.check_disk(folder.path)
    tracking.start()
    with contextlib.ExitStack() as undo:
        undo.callback(tracking.drop)
        lock = folder.claim()
        undo.callback(lock.release)
        folder.start(overwrite)
        known = about(plan, places)
        known["teacher"] = {name: model.facts.get(name) for name in ("steps", "images", "data")}
        folder.write_config(plan.settings, known)
        run = Run(plan, folder, lock)
        run.notes += notes
        with forgotten(folder):
            run.keeper.save_first(run.trainer, run.ledger)
        tracking.follow(folder.path, anew=True)
        run.reporter.tracking = tracking
        undo.pop_all()
    return run


def student(
    teacher: Settings,
    steps: int,
    data: str | None = None,
    *,
    guidable: bool = False,
    **asked: Unpack[AskedOfStudent],
) -> Settings:
    """The settings of a teacher's student of so many steps; `guidable` by its labels, or not.

    Its network, noise and images are the teacher's. What decides how a teacher learns, weightings
    and the like, has no meaning for a student and is left at its defaults.

    Raises:
        LoangError: a value that can't be.
    """
    values = teacher.to_dict()
    kept = [
        *("batch", "micro_batch", "budget", "label_dropout", "seed", "device", "precision"),
        *("reports", "validation_share", "checkpoint_minutes", "keep"),
    ]
    rate = SLOWER * teacher.optimizer.learning_rate
    values |= {
        "training": TrainingSettings().model_dump(mode="json")
        | {name: values["training"][name] for name in kept}
        | {"objective": "consistency"},
        "optimizer": values["optimizer"] | {"kind": "adamw", "learning_rate": rate},
        "ema": EmaSettings().model_dump(mode="json"),
        "sampling": SamplingSettings().model_dump(mode="json"),
        "distillation": DistillationSettings().model_dump(mode="json") | {"steps": steps},
    }
    if data is not None:
        values["data"]["source"] = data
    for name in ("budget", "seed", "device", "precision"):
        if (value := asked.get(name)) is not None:
            values["training"][name] = value
    plain = config.load(values)
    settings = config.changed(plain, asked.get("changes", ()))
    _check_read(plain, settings)
    for section in ("network", "schedule", "denoiser"):
        if getattr(settings, section) != getattr(teacher, section):
            raise LoangError(
                f"A student has its teacher's {section}: its weights are the teacher's at first.",
                f"Leave --set {section}... away, or train another model.",
            )
    settled = _settled(settings.distillation, guidable)
    return config.load(
        settings.to_dict() | {"sampling": _sampling(settings), "distillation": settled}
    )


def _settled(chosen: DistillationSettings, guidable: bool) -> dict[str, Any]:
    """What nobody said, said: a run that is gone on with later learns as it began to."""
    leaps = chosen.method == "leaps"
    few = leaps and chosen.steps <= OWN
    match_guidance = MATCH_GUIDANCE if chosen.guidance is None else chosen.guidance
    values = {
        "chain": (2, 4) if leaps else (8, 32),
        "starts": "own" if few else "images",
        "guidance": GUIDANCE if leaps and guidable else 1.0,
        "matched_from": MATCHED_FROM if few else 1.0,
        "match_guidance": match_guidance if leaps and guidable else 1.0,
        "label_samples": LABEL_SAMPLES if guidable else 0,
    }
    said = {key: value for key, value in chosen.model_dump().items() if value is not None}
    return chosen.model_dump() | values | said


def _check_read(plain: Settings, wanted: Settings) -> None:
    """Whether a student's training reads all that was changed of it.

    Raises:
        LoangError: it does not.
    """
    if not wanted.distilled:
        raise LoangError(
            f"training.objective={wanted.training.objective} distils nothing.",
            "Leave it away, or train a model with `loang train`.",
        )
    one, other = plain.optimizer, wanted.optimizer
    if other.kind != "muon" and one.momentum != other.momentum:
        raise LoangError(
            "optimizer.momentum does nothing here: it is of Muon, and AdamW moves a student.",
            "Leave --set optimizer.momentum away, or add --set optimizer.kind=muon.",
        )
    for section, names in UNREAD.items():
        one, other = getattr(plain, section), getattr(wanted, section)
        for name in names:
            if getattr(one, name) != getattr(other, name):
                if name.startswith("guidance"):
                    raise LoangError(
                        f"{section}.{name} would guide the student anew, at twice the cost.",
                        "Say how its teacher is guided: --guidance 2, or distillation.guidance"
                        " and distillation.guidance_interval.",
                    )
                raise LoangError(
                    f"{section}.{name} does nothing here: distillation.method and"
                    " distillation.steps say what a student learns, and how it is sampled.",
                    f"Leave --set {section}.{name} away.",
                )


def default_folder(teacher: Path, steps: int) -> Path:
    """`runs/MODEL-STEPS-steps`."""
    return Path("runs") / f"{called(teacher)}-{steps}-step{'s' * (steps != 1)}"


def _sampling(settings: Settings) -> dict[str, Any]:
    """The walk that a student learns: others it knows nothing of."""
    chosen = settings.distillation
    try:
        levels = leaps(build_schedule(settings.schedule), chosen.steps)
    except ValueError as error:
        raise LoangError(
            f"This model's schedule can't be walked in {chosen.steps} steps: {error}.",
            "Ask for fewer with --steps.",
        ) from error
    return settings.sampling.model_dump(mode="json") | {
        "sampler": "ddim" if chosen.method == "leaps" else "consistency",
        "steps": chosen.steps,
        "levels": levels,
        "eta": 0.0,
    }


def _fitting(dataset: Dataset, model: Model) -> list[str]:
    """A sentence where the images are not those that the teacher learned from.

    Raises:
        LoangError: they can't even be shown to it.
    """
    if _plain(dataset.spec) != _plain(model.spec):
        raise LoangError(
            f"The images of {dataset.name} are of another size, range or classes than those that"
            " the model learned from.",
            "Name the images that it learned from, or others that were prepared alike.",
        )
    known = model.facts.get("fingerprint")
    if known and dataset.fingerprint != known:
        return [
            f"Warning: the images of {dataset.name} are not those that the model learned from; it"
            " will be asked about these."
        ]
    return []


def _plain(spec: ImageSpec) -> ImageSpec:
    """A spec in types that compare: JSON makes lists of tuples, and whole numbers of floats."""
    return ImageSpec.from_dict(spec.to_dict())
