"""What a run will be: settings, images and denoiser, resolved and checked before any step."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from loang import augment, device, files
from loang.build import build_denoiser
from loang.config import SamplingSettings, Section, Settings, UNetSettings
from loang.config.unread import unread
from loang.data import Dataset
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.networks.sizes import enough_fold
from loang.presets import GUIDING, PRESETS, UNGUIDED, preset
from loang.sampling import check_interval
from loang.team.team import ALONE, Team
from loang.training import shards
from loang.training.budget import Budget, parse
from loang.training.memory import BESIDE_LAYERS, layer_bytes
from loang.training.muon import matrices
from loang.training.trainer import Trainer
from loang.walking import chosen, levels_of

DRAWING = 60_000_000
"""Bytes that drawing pictures takes, matplotlib above all."""
TRIALS, TRYING = 4, 3.0
"""Training steps that are tried, and seconds after which none but the second is begun."""


@dataclass(frozen=True)
class Plan:
    """All that a run starts from.

    Args:
        settings: complete; `data.size`, `data.channels` and `network.fold` suit the images.
        dataset: opened.
        denoiser: fresh, on the CPU.
        budget: how long.
        device: where.
        team: of the processes that train together.
        notes: what else is to be told of it.
    """

    settings: Settings
    dataset: Dataset
    denoiser: Denoiser
    budget: Budget
    device: torch.device
    team: Team = ALONE
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.denoiser.parameters())

    @property
    def checkpoint_bytes(self) -> int:
        """On the disk: weights, averages and moments, four bytes each; of a student more.

        AdamW has two moments of a weight, Muon one of those that it moves. A student's is its
        teacher, and where samples are matched the tracker with two moments.
        """
        average = self.settings.ema
        copies = 4 + (len(average.snapshot_lengths) if average.snapshots else 0)
        copies += self.settings.distilled
        copies += 3 * (self.settings.distilled and self.settings.distillation.matched)
        spared = 0
        if self.settings.optimizer.kind == "muon":
            named, moved = self.denoiser.network.state_dict(), matrices(self.denoiser.network)
            spared = sum(named[name].numel() for name in moved)
        return 4 * (copies * self.parameters - spared)

    @property
    def snapshot_bytes(self) -> int:
        """On the disk: all snapshots of averages that the run leaves."""
        average = self.settings.ema
        one = (4 if average.snapshot_precision == "float32" else 2) * self.parameters
        return average.snapshots * len(average.snapshot_lengths) * one

    def check_disk(self, place: Path) -> list[str]:
        """Whether there is room for two checkpoints, the model file and snapshots of averages.

        A checkpoint is deleted only when the next one is whole, so there are two for a moment.

        Returns:
            A sentence, where there is less room than for all checkpoints that the settings keep.

        Raises:
            LoangError: there is not even so much; says how much is missing.
        """
        model = 4 * self.parameters + self.snapshot_bytes
        files.check_space(place, 2 * self.checkpoint_bytes + model)
        most = self.settings.training.keep + 2  # the best, and the one that is being written
        needed, free = most * self.checkpoint_bytes + model, files.free_space(place)
        if needed <= free:
            return []
        return [
            f"Warning: the disk has {files.amount(free)} left, and up to {most} checkpoints take"
            f" {files.amount(needed)}: free some space, or keep fewer with --set training.keep=1."
        ]

    def describe(self) -> list[str]:
        """What the run starts from, in a few lines."""
        data, spec, settings = self.dataset, self.dataset.spec, self.settings
        dtype = device.autocast_type(self.device, settings.training.precision)
        classes = self.denoiser.classes
        channels = f"{spec.channels} channel{'s' * (spec.channels != 1)}"
        warning = augment.warning(settings.data, spec)
        return [
            *data.notices,
            *([warning] if warning else []),
            *self._unread(),
            f"{data.name}: {len(data.train):,} image{'s' * (len(data.train) != 1)} to learn from,"
            f" {len(data.validation):,} held out, {spec.height}x{spec.width}, {channels}"
            + (f", {classes} classes" if classes else ""),
            f"{settings.network.kind} network of {self.parameters:,} parameters,"
            f" on {device.describe(self.device, dtype)}, for {self.budget}",
            *self._describe_snapshots(),
            *self.notes,
        ]

    def _unread(self) -> list[str]:
        settings = self.settings
        if settings.distilled:  # refused by training/distill.py
            return []
        plain = preset(settings.preset) if settings.preset in PRESETS else Settings()
        return [f"Note: {sentence}" for sentence in unread(settings, plain)]

    def _describe_snapshots(self) -> list[str]:
        average = self.settings.ema
        if not average.snapshots:
            return []
        lengths = " and ".join(f"{length:g}" for length in average.snapshot_lengths)
        return [
            f"{average.snapshots} snapshots of averages of length {lengths} take"
            f" {files.amount(self.snapshot_bytes)} in averages/; they may be deleted after training"
        ]


def prepare(settings: Settings, dataset: Dataset, team: Team = ALONE) -> Plan:
    """Build the network for these images.

    Args:
        settings: as asked for.
        dataset: opened.
        team: of the processes that are to train it together.

    Raises:
        LoangError: a size that the network can't take, a device that is not there, more processes
            than images in a batch, weights that can't be spread over them; samples that the model
            could not draw.
    """
    _check_shares(settings.training.batch, team.size)
    on = device.choose(settings.training.device)
    if settings.training.shard and team.size > 1:
        shards.check(settings, on, team)
    spec = dataset.spec
    shape = {"size": (spec.height, spec.width), "channels": spec.channels}
    found: dict[str, Section] = {"data": settings.data.model_copy(update=shape)}
    if isinstance(settings.network, UNetSettings):
        fold = settings.network.fold or enough_fold(spec.height, spec.width)
        found["network"] = settings.network.model_copy(update={"fold": fold})
    settings = settings.model_copy(update=found)
    denoiser = build_denoiser(settings, spec)
    _check_walk(settings.sampling, denoiser)
    return Plan(
        settings.model_copy(update={"sampling": _sampling(settings, denoiser)}),
        dataset,
        denoiser,
        parse(settings.training.budget, len(dataset.train)),
        on,
        team,
    )


def _check_shares(batch: int, processes: int) -> None:
    if processes > batch:
        raise LoangError(
            f"A batch of {batch:,} can't be shared by {processes:,} processes.",
            f"Start fewer, or make it larger: --set training.batch={processes}.",
        )


def _check_walk(sampling: SamplingSettings, denoiser: Denoiser) -> None:
    """Whether samples could be drawn so: a run draws them when its training is over."""
    levels_of(sampling, denoiser.schedule)
    if sampling.guidance != 1:
        check_interval(sampling.guidance_interval)
    drawn = chosen(sampling, denoiser.schedule)
    if drawn.sampler == "ddpm" and drawn.variance == "learned" and not denoiser.learns_variance:
        raise LoangError(
            "sampling.variance is learned, and this network will learn none.",
            "Train it with denoiser.learn_variance=true, or take fixed-small or fixed-large.",
        )


def _sampling(settings: Settings, denoiser: Denoiser) -> SamplingSettings:
    """How the model is sampled: a preset's guidance goes where no label is there that could guide.

    What a person asked for stays: another model can guide one without labels.
    """
    asked = settings.sampling
    hideable = denoiser.classes > 0 and settings.training.label_dropout > 0
    if hideable or settings.distilled or settings.preset not in PRESETS:
        return asked
    own = preset(settings.preset).sampling
    if own.guidance == 1 or any(getattr(asked, each) != getattr(own, each) for each in GUIDING):
        return asked
    if asked == own:
        return UNGUIDED
    return asked.model_copy(update={each: getattr(UNGUIDED, each) for each in GUIDING})


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, from a trial on a few images of noise.

    Args:
        memory: bytes, on the CPU of each whole process, on a GPU of what lies there.
        rate: training images a second, of all processes.
        seconds: of training.
        images: of training.
    """

    memory: int
    rate: float
    seconds: float
    images: int


def estimate(plan: Plan, trial: int = 8, processes: int = 1) -> Estimate:
    """Take a few training steps on `trial` images, and scale the fastest up.

    The first pays for what is set up once, and other programs may slow any of them down tenfold. A
    large batch runs faster an image than a small one, so the time is an upper bound. Of several
    processes this one tries alone: what they send each other, and take from each other where they
    share a processor, is not in it; nor is what is saved where weights are sharded.

    Args:
        plan: of the run.
        trial: images in a step that is tried.
        processes: that are to share each batch.

    Raises:
        LoangError: they are more than its images.
    """
    _check_shares(plan.settings.training.batch, processes)
    own = math.ceil(plan.settings.training.batch / processes)
    at_once = min(plan.settings.training.micro_batch or own, own)
    trial = min(trial, at_once)
    changes = {"batch": trial, "micro_batch": None}
    training = plan.settings.training.model_copy(update=changes)
    settings = plan.settings.model_copy(update={"training": training})
    denoiser = build_denoiser(settings, plan.dataset.spec)
    trainer = Trainer(denoiser, plan.dataset.train, settings, plan.device)
    steps = list[float]()
    while len(steps) < 2 or (len(steps) < TRIALS and sum(steps) < TRYING):
        start = time.perf_counter()
        trainer.step(share=0.0)
        device.wait(plan.device)
        steps.append(time.perf_counter() - start)
    # Weights, gradients, moments and average are there now; the other images' layers are not.
    layers = round(BESIDE_LAYERS * layer_bytes(trainer) * (at_once - trial))
    # A checkpoint is copied before it is written.
    memory = device.memory_used(plan.device) + layers + plan.checkpoint_bytes
    if plan.device.type == "cpu":
        memory += DRAWING
    rate = processes * trial / min(steps)
    budget = plan.budget
    images = budget.images or round((budget.seconds or 0) * rate)
    return Estimate(
        memory=memory,
        rate=rate,
        seconds=budget.seconds or images / rate,
        images=images,
    )
