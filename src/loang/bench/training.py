"""How fast a preset, or any settings, would train here."""

from collections.abc import Callable
from dataclasses import dataclass

from loang import device, heap
from loang.bench import work
from loang.bench.timing import Timing, timed
from loang.bench.work import Operation, Peak
from loang.config import Settings
from loang.training.memory import images_that_fit
from loang.training.plan import Plan
from loang.training.trainer import Trainer

TRIED = 4
"""The factor of the batch that is tried beside the one that was asked for."""


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured; times in seconds.

    Args:
        machine: in words.
        kind: of device: "cpu", "cuda", "mps".
        precision: "float32" or "bfloat16".
        batch: images a step.
        step: a whole step.
        images: of it, to bring the images to the device, changed as the settings ask.
        gradients: of it, the loss and its gradients, images included; the rest is the optimizer's
            and the average's.
        flops: of an image's gradients: multiplications and additions.
        peak: what the device can do of these a second.
        memory: bytes held: on a GPU the most, on a CPU by the whole process.
        operations: the slowest.
        larger: (batch, images a second) of a larger batch; None if it does not fit.
    """

    machine: str
    kind: str
    precision: str
    batch: int
    step: Timing
    images: float
    gradients: float
    flops: float
    peak: Peak
    memory: int
    operations: list[Operation]
    larger: tuple[int, float] | None

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.batch / self.step.median

    @property
    def achieved(self) -> float:
        """Multiplications and additions a second."""
        return self.flops * self.rate


@heap.kept()
def training_speed(
    plan: Plan, seconds: float = 10.0, on_stage: Callable[[str], object] = lambda what: None
) -> TrainingSpeed:
    """Train for a while; nothing is kept or written.

    Args:
        plan: settings, images and network.
        seconds: of steps; the rest takes about as long again.
        on_stage: told what is measured now.
    """
    on, settings = plan.device, plan.settings
    trainer = _trainer(plan, settings)
    batch = settings.training.batch
    on_stage("steps of training")
    step = timed(lambda: trainer.step(0.0), on, seconds)
    memory = device.memory_used(on)
    on_stage("its parts")
    images = timed(lambda: trainer.batch(trainer.progress.images, batch), on, seconds / 10)
    gradients = timed(trainer.gradients, on, seconds / 4)
    operations = work.slowest(lambda: trainer.step(0.0), on)
    flops = work.counted(trainer.gradients) / batch
    on_stage("a larger batch")
    larger = _larger(plan, batch, seconds / 4)
    on_stage("the most that this device can do")
    return TrainingSpeed(
        machine=device.describe(on, trainer.dtype),
        kind=on.type,
        precision="float32" if trainer.dtype is None else "bfloat16",
        batch=batch,
        step=step,
        images=images.median,
        gradients=gradients.median,
        flops=flops,
        peak=work.peak(on, trainer.dtype, max(0.2, seconds / 10)),
        memory=memory,
        operations=operations,
        larger=larger,
    )


def _trainer(plan: Plan, settings: Settings) -> Trainer:
    """As a run makes one: on a CPU it computes no more images at once than memory has room for."""
    trainer = Trainer(plan.denoiser, plan.dataset.train, settings, plan.device)
    if plan.device.type == "cpu":
        trainer.micro_batch = images_that_fit(trainer, device.memory_free())
    return trainer


def _larger(plan: Plan, batch: int, seconds: float) -> tuple[int, float] | None:
    """Whether the device would rather have more images at once."""
    wanted = TRIED * batch
    training = plan.settings.training.model_copy(update={"batch": wanted, "micro_batch": None})
    settings = plan.settings.model_copy(update={"training": training})
    trainer = _trainer(plan, settings)
    if trainer.micro_batch < wanted:  # on a CPU a trial would end the process without a word
        return None
    try:
        step = timed(lambda: trainer.step(0.0), plan.device, seconds, least=1)
    except (RuntimeError, MemoryError) as error:
        if not device.out_of_memory(error):
            raise
        return None
    finally:
        device.release_memory(plan.device)
    if trainer.micro_batch < wanted:  # it did not fit at once
        return None
    return wanted, wanted / step.median
