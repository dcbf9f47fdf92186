"""What a run will be: settings, images and denoiser, resolved and checked before any step."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loang import device, files
from loang.build import build_denoiser
from loang.config import Settings
from loang.data import Dataset
from loang.denoiser import Denoiser
from loang.loss import denoising_loss
from loang.training.budget import Budget, parse


@dataclass(frozen=True)
class Plan:
    """All that a run starts from.

    Args:
        settings: complete; `data.size` and `data.channels` are those of the images.
        dataset: opened.
        denoiser: fresh, on the CPU.
        budget: how long.
        device: where.
    """

    settings: Settings
    dataset: Dataset
    denoiser: Denoiser
    budget: Budget
    device: torch.device

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.denoiser.parameters())

    @property
    def checkpoint_bytes(self) -> int:
        """On the disk: weights, average and two moments, four bytes each."""
        return 4 * 4 * self.parameters

    def check_disk(self, place: Path) -> None:
        """Whether a run that writes there has room for two checkpoints and the model file.

        A checkpoint is deleted only when the next one is whole, so there are two for a moment.

        Raises:
            LoangError: it has not; says how much is missing.
        """
        files.check_space(place, 2 * self.checkpoint_bytes + 4 * self.parameters)

    def describe(self) -> list[str]:
        """What the run starts from, in a few lines."""
        data, spec, settings = self.dataset, self.dataset.spec, self.settings
        dtype = device.autocast_type(self.device, settings.training.precision)
        classes = self.denoiser.classes
        channels = f"{spec.channels} channel{'s' * (spec.channels != 1)}"
        return [
            *data.notices,
            f"{data.name}: {len(data.train):,} image{'s' * (len(data.train) != 1)} to learn from,"
            f" {len(data.validation):,} held out, {spec.height}x{spec.width}, {channels}"
            + (f", {classes} classes" if classes else ""),
            f"{settings.network.kind} network of {self.parameters:,} parameters,"
            f" on {device.describe(self.device, dtype)}, for {self.budget}",
        ]


def prepare(settings: Settings, dataset: Dataset) -> Plan:
    """Build the network for these images.

    Raises:
        LoangError: a size that the network can't take, a device that is not there.
    """
    spec = dataset.spec
    shape = {"size": (spec.height, spec.width), "channels": spec.channels}
    settings = settings.model_copy(update={"data": settings.data.model_copy(update=shape)})
    return Plan(
        settings,
        dataset,
        build_denoiser(settings, spec),
        parse(settings.training.budget, len(dataset.train)),
        device.choose(settings.training.device),
    )


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, from a trial on a few images of noise.

    Args:
        memory: bytes, on the CPU of the whole process, on a GPU of what lies there.
        rate: training images a second.
        seconds: of training.
        images: of training.
    """

    memory: int
    rate: float
    seconds: float
    images: int


def estimate(plan: Plan, trial: int = 8) -> Estimate:
    """Measure two training steps on `trial` images and scale them up.

    A large batch runs faster an image than a small one, so the time is an upper bound.
    """
    on_cpu = plan.device.type == "cpu"
    # Libraries, images and the network are in the process already; a GPU holds nothing yet.
    held = device.memory_used(plan.device) if on_cpu else 0
    batch = plan.settings.training.batch
    trial = min(trial, batch)
    denoiser = build_denoiser(plan.settings, plan.dataset.spec).to(plan.device)
    dtype = device.autocast_type(plan.device, plan.settings.training.precision)
    x0 = torch.zeros(trial, *plan.dataset.spec.shape, device=plan.device)
    t = torch.full((trial,), denoiser.schedule.T, device=plan.device)
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    seconds = 0.0
    for _ in range(2):  # the first pays for what is set up once
        kept.clear()
        start = time.perf_counter()
        with (
            torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor),
            device.autocast(plan.device, dtype),
        ):
            loss = denoising_loss(denoiser, x0, t, torch.ones_like(x0)).weighted.mean()
        loss.backward()
        seconds = time.perf_counter() - start
    # Gradients, two moments and the average, four bytes each; on a GPU the weights themselves too.
    weights = 4 * 4 * plan.parameters + (0 if on_cpu else 4 * plan.parameters)
    activations = sum(kept.values()) * batch // trial
    rate = trial / seconds
    budget = plan.budget
    images = budget.images or round((budget.seconds or 0) * rate)
    return Estimate(
        memory=held + weights + activations,
        rate=rate,
        seconds=budget.seconds or images / rate,
        images=images,
    )
