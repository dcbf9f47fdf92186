"""A run as a process sees it that another one leads: it computes its part of each batch."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from loang import config, device, heap
from loang.config import Settings
from loang.data import Dataset, Images, download
from loang.errors import LoangError
from loang.model import Model
from loang.team.joining import join
from loang.team.lost import Dismissed
from loang.team.team import Team
from loang.training.asked import open_images
from loang.training.checkpoint import Checkpoint
from loang.training.display import Display
from loang.training.examination import examine
from loang.training.interruption import Interruption
from loang.training.memory import images_that_fit
from loang.training.places import meant
from loang.training.plan import Plan, prepare
from loang.training.progress import Progress
from loang.training.trainer import EXAMINE, GATHER, RESTORE, STEP, Trainer

if TYPE_CHECKING:
    from loang.training.run import Run

TAKE, VALIDATE, END = "take", "validate", "end"
"""The leader's words before it hands out where it stands, for a part of each process in what the
average is validated by, and when all went well."""
NOTHING = Checkpoint({}, {})
"""What the others give where the leader's checkpoint is handed out."""


def together(
    start: "Callable[[Team], Run]", on_progress: download.Progress | None = None
) -> "Run | Following":
    """A run that all processes of this job train: the leader's own, or one that is followed.

    Args:
        start: called by the leader, with the team.
        on_progress: told of images read.

    Raises:
        Dismissed: this process does not lead, and the leader has found something wrong.
        LoangError: the others can't be reached, or what `start` or `Following` raise.
    """
    team = join()
    if not team.leads:
        return Following(team, on_progress)
    try:
        return start(team)
    except Exception:
        team.dismiss()
        raise


def begin(plan: Plan, places: Mapping[str, Any] | None) -> None:
    """The leader tells the others what is trained, and on what; called once it knows.

    Args:
        plan: of the run.
        places: of its images, where they are noted.
    """
    plan.team.tell(
        {
            "settings": plan.settings.to_dict(),
            "places": meant(plan.settings.data) | dict(places or {}),
            "fingerprint": plan.dataset.fingerprint,
        }
    )


def hand_out(trainer: Trainer) -> None:
    """All processes of the trainer's team go on from where its leader stands.

    Where each holds a part of the weights, a restored leader has restored them already, and these
    are told where the run stands.

    Raises:
        Lost: one of them is gone.
    """
    team = trainer.team
    if team.size == 1:
        return
    if team.leads:
        team.tell([TAKE])
    team.meet(trainer.device)  # here, as all have come to here
    if trainer.weights.sharded:
        progress, trainer.micro_batch = team.tell([asdict(trainer.progress), trainer.micro_batch])
        trainer.progress = Progress(**progress)
        return
    handed = trainer.weights.handed(trainer.checkpoint({}) if team.leads else NOTHING)
    if not team.leads:
        at_once = trainer.micro_batch
        trainer.restore(handed)
        trainer.micro_batch = at_once  # memory is each process's own


def validate(trainer: Trainer, images: Images) -> float:
    """The validation loss of the average, of which each process of the team computes a part.

    To rounding what `Trainer.validate` gives, which it is where each process holds a part of the
    weights only. To be called within `Trainer.averaged`.

    Args:
        trainer: the leader's; or, by `obey`, another's.
        images: held out.

    Returns:
        The loss at the leader; with others nothing is promised.

    Raises:
        LoangError: another process can't compute its part.
        Lost: one is gone.
    """
    team = trainer.team
    if team.size == 1 or trainer.weights.sharded:
        return trainer.validate(images)
    if team.leads:
        team.tell([VALIDATE])
    part, trouble = team.part(len(trainer.validated(images))), None
    total, failed = 0.0, 0.0
    try:
        total = len(part) * trainer.validate(images, part) if part else 0.0
    except Exception as error:  # the others wait for what is found here, whatever it is
        trouble, failed = error, 1.0
    found = np.concatenate(team.gather(np.array([[total, failed]]), [1] * team.size))
    if trouble is not None and team.leads:
        raise trouble
    if found[:, 1].any():
        where = " and ".join(map(str, np.flatnonzero(found[:, 1])))
        raise LoangError(
            f"Its part of the images fails in process {where}.",
            "Compute fewer at once, with --set training.micro_batch, if memory is what it lacks.",
        )
    return float(found[:, 0].sum() / len(trainer.validated(images)))


def dismiss(team: Team, model: Model) -> None:
    """The leader tells the others that all went well, and what has become of it."""
    team.tell([END, dict(model.facts), model.settings.to_dict()])
    team.hand_out(model.denoiser.network.state_dict())


def obey(told: list[Any], trainer: Trainer, held_out: Images) -> bool:
    """Do as the leader tells; returns whether it was told anything but the end.

    Args:
        told: the leader's words.
        trainer: of this process.
        held_out: images for validation.

    Raises:
        Dismissed: the run has ended early.
        Lost: another process is gone.
    """
    match told:
        case [str(order), float(share)] if order == STEP:
            trainer.step(share)
        case [str(order)] if order == TAKE:
            hand_out(trainer)
        case [str(order)] if order == VALIDATE:
            with trainer.averaged(), contextlib.suppress(LoangError):  # the leader tells of it
                validate(trainer, held_out)
        case [str(order)] if order == RESTORE:
            try:
                trainer.restore(NOTHING)
            except (RuntimeError, KeyError, TypeError, ValueError) as error:
                raise Dismissed from error  # what fits not here fits not there: it says so
        case [str(order), [*files]] if order == GATHER:
            trainer.whole(files)
        case [str(order), int(step)] if order == EXAMINE:
            examine(trainer, step)
        case _:
            return False
    return True


class Following:
    """A run that another process leads; nothing of it is written here.

    Args:
        team: of this process.
        on_progress: told of images read.

    Raises:
        Dismissed: the leader has found something wrong.
        LoangError: this process finds other images than the leader, or none.
    """

    def __init__(self, team: Team, on_progress: download.Progress | None = None) -> None:
        self.team = team
        told = team.tell()
        if told is None:
            raise Dismissed
        settings: Settings = config.load(told["settings"])
        self.dataset = self._opened(settings, told, on_progress)
        plan = prepare(settings, self.dataset, team)
        self.settings = settings
        self.trainer = Trainer(
            plan.denoiser, self.dataset.train, plan.settings, plan.device, plan.team
        )
        if plan.device.type == "cpu" and not self.trainer.weights.sharded:
            free = device.memory_free() // team.place.local_size
            self.trainer.micro_batch = images_that_fit(self.trainer, free)

    @heap.kept()
    def train(self, display: Display) -> Model:
        """Do as the leader tells, until it is over; returns the model.

        Args:
            display: told nothing: the leader speaks.

        Raises:
            Dismissed: the run has ended early.
            Lost: another process is gone.
        """
        # Whoever stops a job tells all of its processes; the leader sees to it, and a second
        # signal acts as always.
        with Interruption():
            while told := self.team.tell():
                if not obey(told, self.trainer, self.dataset.validation):
                    break
        if not told:
            raise Dismissed
        denoiser = self.trainer.shown
        denoiser.network.load_state_dict(self.team.hand_out())
        denoiser.network.to(self.trainer.device)
        return Model(denoiser, self.dataset.spec, config.load(told[2]), told[1])

    def _opened(
        self, settings: Settings, told: Mapping[str, Any], progress: download.Progress | None
    ) -> Dataset:
        dataset = open_images(settings, progress, places=told["places"])
        if dataset.fingerprint != told["fingerprint"]:
            raise LoangError(
                f"The images of {dataset.name} that {self.team.place} finds are not those that the"
                " leading one has.",
                "Put the same images in the same place on all machines.",
            )
        return dataset
