"""What was in a batch whose loss or gradient is no number."""

import math
from dataclasses import dataclass

import torch

from loang.data import order
from loang.errors import LoangError
from loang.training.progress import Progress
from loang.training.trainer import EXAMINE, Trainer
from loang.training.watch import Watch


@dataclass(frozen=True)
class Examination:
    """What was found in a batch that gave no number.

    Args:
        step: whose batch it was.
        rows: which training images were in it.
        bad: those of them whose loss is no number when they are looked at one by one.
        parameter: the first whose gradient is no number, else the one with the largest.
    """

    step: int
    rows: list[int]
    bad: list[int]
    parameter: str


def examine(trainer: Trainer, step: int) -> Examination:
    """Look again at the batch of a step whose update was skipped, with the weights as they are.

    Where each process of a team holds a part of these, all look at all of it.

    Args:
        trainer: it is left as it was, but for gradients.
        step: 1 for the first.
    """
    training = trainer.settings.training
    position = (step - 1) * training.batch
    rows = order.batch(position, training.batch, len(trainer.images), training.seed)
    here = trainer.progress
    if trainer.weights.sharded and trainer.team.leads:
        trainer.team.tell([EXAMINE, step])
    trainer.progress = Progress(step - 1, position)
    try:
        losses = trainer.weights.compute(lambda: _losses(trainer))
        trainer.gradients(range(training.batch))
    finally:
        trainer.progress = here
    norms = trainer.weights.gradient_norms()
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.weights.begin()
    broken = [name for name, norm in norms.items() if not math.isfinite(norm)]
    bad = [row for row, loss in zip(rows.tolist(), losses, strict=True) if not math.isfinite(loss)]
    return Examination(
        step,
        rows.tolist(),
        bad,
        broken[0] if broken else max(norms, key=norms.__getitem__),
    )


@torch.no_grad()
def _losses(trainer: Trainer) -> list[float]:
    """Of each image of the trainer's batch, by itself."""
    with trainer.autocast():
        return [
            float(trainer.objective.loss(trainer.moment, torch.tensor([number])).plain)
            for number in range(trainer.settings.training.batch)
        ]


def diagnosis(trainer: Trainer, watch: Watch, returns: int) -> LoangError:
    """What is known of a run that can't go on."""
    found = examine(trainer, watch.since)
    gradient, at = watch.largest
    some = ", ".join(map(trainer.images.place, found.bad[:10])) + (
        ", ..." if len(found.bad) > 10 else ""
    )
    if not found.bad:
        which = "Each image of that step's batch alone gives a number."
    elif len(found.bad) == len(found.rows):
        which = "Every image of that step's batch gives none: it is not the images."
    else:
        which = f"Of that step's batch, these training images give none: {some}."
    rate = trainer.settings.optimizer.learning_rate * trainer.progress.slowing / 2
    largest = f" The largest gradient before was {gradient:.3g}, at step {at:,}." if at else ""
    return LoangError(
        f"From step {found.step:,} on, loss or gradient is no number, and {returns} returns to"
        f" a checkpoint with half the learning rate did not help. {which} The gradient fails"
        f" first in {found.parameter}.{largest}",
        "Start again with --set"
        f" optimizer.learning_rate={rate:.3g}, --set optimizer.clip_norm=1 or --precision"
        " float32. What was saved before is whole.",
    )
