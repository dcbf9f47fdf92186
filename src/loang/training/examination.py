"""What was in a batch whose loss or gradient is no number."""

import math
from dataclasses import dataclass

import torch

from loang import device
from loang.data import order
from loang.errors import LoangError
from loang.training.trainer import Progress, Trainer
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

    Args:
        trainer: it is left as it was, but for gradients.
        step: 1 for the first.
    """
    training = trainer.settings.training
    position = (step - 1) * training.batch
    rows = order.batch(position, training.batch, len(trainer.images), training.seed)
    here = trainer.progress
    trainer.progress = Progress(step - 1, position)
    losses = []
    try:
        with torch.no_grad(), device.autocast(trainer.device, trainer.dtype):
            for number in range(training.batch):
                loss = trainer.objective.loss(trainer.moment, torch.tensor([number]))
                losses.append(float(loss.plain))
        trainer.gradients(range(training.batch))
    finally:
        trainer.progress = here
    norms = {
        name: float(parameter.grad.norm())
        for name, parameter in trainer.denoiser.network.named_parameters()
        if parameter.grad is not None
    }
    trainer.optimizer.zero_grad(set_to_none=True)
    broken = [name for name, norm in norms.items() if not math.isfinite(norm)]
    bad = [row for row, loss in zip(rows.tolist(), losses, strict=True) if not math.isfinite(loss)]
    return Examination(
        step,
        rows.tolist(),
        bad,
        broken[0] if broken else max(norms, key=norms.__getitem__),
    )


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
