"""How fast a model draws here, and in which batches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from loang import device, heap
from loang.bench import work
from loang.bench.timing import timed
from loang.bench.work import Operation, Peak
from loang.config import SamplingSettings
from loang.errors import LoangError
from loang.model import Model
from loang.walking import chosen, described, levels_of

BATCHES = (1, 4, 16, 64, 256, 1024)
LONGEST = 2.0
"""Seconds that a batch may take however short the measurement is."""


@dataclass(frozen=True)
class DrawingSpeed:
    """What was measured; times in seconds.

    Args:
        machine: in words.
        kind: of device: "cpu", "cuda", "mps".
        precision: "float32" or "bfloat16".
        way: sampler and steps, in words.
        guided: whether each step asks the network twice.
        rates: images a second by the number drawn at once.
        evaluation: of the network, an image, at the best batch.
        flops: of an image's evaluation: multiplications and additions.
        peak: what the device can do of these a second.
        memory: bytes held: on a GPU the most, on a CPU by the whole process.
        operations: the slowest.
    """

    machine: str
    kind: str
    precision: str
    way: str
    guided: bool
    rates: dict[int, float]
    evaluation: float
    flops: float
    peak: Peak
    memory: int
    operations: list[Operation]

    @property
    def best(self) -> int:
        """The batch that gives the most images a second."""
        return max(self.rates, key=lambda batch: self.rates[batch])

    @property
    def achieved(self) -> float:
        """Multiplications and additions a second of the network alone."""
        return self.flops / self.evaluation


@heap.kept()
def drawing_speed(
    model: Model,
    sampling: SamplingSettings | None = None,
    seconds: float = 10.0,
    on_stage: Callable[[str], object] = lambda what: None,
) -> DrawingSpeed:
    """Draw for a while; nothing is kept or written.

    Args:
        model: on the device that is measured.
        sampling: sampler and steps; None takes the model's own.
        seconds: of drawing; the rest takes about as long again.
        on_stage: told what is measured now.

    Raises:
        LoangError: the model has learnt no such walk, or not even one image fits in memory.
    """
    on = model.device
    way = chosen(sampling or model.settings.sampling, model.denoiser.schedule)
    dtype = device.autocast_type(on, model.settings.training.precision)
    on_stage("walks")
    rates = _rates(model, way, seconds / len(BATCHES))
    memory = device.memory_used(on)
    best = max(rates, key=lambda batch: rates[batch])
    on_stage("the network alone")
    x = torch.randn(best, *model.spec.shape, device=on)
    t = torch.full((best,), float(levels_of(way, model.denoiser.schedule)[0]), device=on)
    label = model.labels(range(best))
    label = None if label is None else label.to(on)

    def evaluate() -> object:
        with torch.inference_mode(), device.autocast(on, dtype):
            return model.denoiser(x, t, label)

    model.denoiser.eval()
    alone = timed(evaluate, on, seconds / 4)
    operations = work.slowest(evaluate, on)
    flops = work.counted(evaluate) / best
    on_stage("the most that this device can do")
    return DrawingSpeed(
        machine=device.describe(on, dtype),
        kind=on.type,
        precision="float32" if dtype is None else "bfloat16",
        way=described(way.model_dump()),
        guided=way.guidance != 1,
        rates=rates,
        evaluation=alone.median / best,
        flops=flops,
        peak=work.peak(on, dtype, max(0.2, seconds / 10)),
        memory=memory,
        operations=operations,
    )


def _rates(model: Model, way: SamplingSettings, seconds: float) -> dict[int, float]:
    """By batches, until one does not fit or would take too long."""
    rates: dict[int, float] = {}
    for batch in BATCHES:
        last = max(rates, default=0)
        if last and batch / rates[last] > max(LONGEST, 4 * seconds):
            break
        draw = partial(model.sample, batch, sampling=way, batch=batch)
        try:
            rates[batch] = batch / timed(draw, model.device, seconds, least=1).median
        except (RuntimeError, MemoryError) as error:
            if not device.out_of_memory(error):
                raise
            device.release_memory(model.device)
            break
    if not rates:
        raise LoangError(
            "There is not enough memory to draw a single image.",
            "Choose another device, or end what else runs on this one.",
        )
    return rates
