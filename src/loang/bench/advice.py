"""What a measurement suggests, in sentences."""

import torch

from loang.bench.drawing import DrawingSpeed
from loang.bench.training import TrainingSpeed
from loang.processors import available

WORTH = 1.2
"""The factor of speed from which a change is worth a word."""
WAITED = 0.1
"""The share of a step from which images are worth a word."""
BUSY = 0.5
"""Processors that others keep busy, from which the figures are too low."""


def of_training(speed: TrainingSpeed, busy: float) -> list[str]:
    """What would train faster here.

    Args:
        speed: what was measured.
        busy: processors that other programs kept busy as it began.
    """
    said = _of_machine(speed.kind, speed.precision, busy)
    if speed.images > WAITED * speed.step.median:
        said.append(
            f"{speed.images / speed.step.median:.0%} of a step goes to the images: keep the cache"
            " (LOANG_CACHE) on a fast disk, and ask for fewer changes of them."
        )
    if speed.larger is not None:
        batch, rate = speed.larger
        if rate > WORTH * speed.rate:
            said.append(
                f"A batch of {batch} trains {rate / speed.rate:.1f} times as many images a second"
                f" (--set training.batch={batch}). Whether it also learns faster is another"
                " question: small batches take more steps."
            )
    return said


def of_drawing(speed: DrawingSpeed, busy: float) -> list[str]:
    """What would draw faster here; see `of_training`."""
    said = _of_machine(speed.kind, speed.precision, busy)
    if speed.rates[speed.best] > WORTH * speed.rates.get(64, float("inf")):
        said.append(
            f"Drawn {speed.best} at once, there are {speed.rates[speed.best]:.0f} images a second:"
            f" loang sample --batch {speed.best}."
        )
    if speed.guided:
        said.append(
            "Guidance asks the network twice a step. A student of loang distill draws guided"
            " images by one evaluation a step."
        )
    return said


def _of_machine(kind: str, precision: str, busy: float) -> list[str]:
    said = []
    if busy > BUSY:
        said.append(
            f"Other programs kept {busy:.1f} processors busy as this began: on a quiet machine the"
            " figures are higher."
        )
    if kind == "cpu":
        threads, processors = torch.get_num_threads(), available()
        if threads < processors:
            said.append(
                f"torch computes in {threads} of {processors} threads: is OMP_NUM_THREADS set?"
            )
    elif precision == "float32":
        said.append("bfloat16 is faster, where the GPU has it: --precision auto.")
    return said
