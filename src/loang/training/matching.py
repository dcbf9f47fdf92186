"""A student whose samples come to be distributed as its teacher's: Yin et al. 2024.

A leap that is learnt from the teacher's walk, one image at a time, is a mean of what it can't tell
apart, and is blurred by that. Here no image is compared with another. The student draws, from noise
to the end of its walk; its samples are noised again, and two denoisers look at them: the teacher,
who knows real images, and a tracker, who learns what the student draws. Their difference is the
difference of the two distributions' scores, and it points each sample to where the teacher finds
more images than the student draws ("One-step Diffusion with Distribution Matching Distillation",
eq. 7; over several steps, and without the regression, "Improved Distribution Matching
Distillation", both 2024).

The tracker starts as the teacher, and keeps up with the student by learning from every batch of its
samples. The leaps come first: from the teacher's own weights, pure noise leads to a mean image.
"""

import copy
import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from loang import parameterization, process, random
from loang.config import Settings
from loang.denoiser import Denoiser
from loang.loss import Loss
from loang.process import like
from loang.training.consistency import Consistency
from loang.training.examples import Source
from loang.training.leaps import leaps, step
from loang.training.objective import Moment, Objective, Pace
from loang.training.teacher import guided, image

TRACKER = "tracker/"
"""Before the names of its weights."""
LOOKS = 2
"""Noise levels at which the tracker learns from each sample."""
BEYOND = 1.5
"""The factor by which the tracker's levels reach below and above those of the student."""
SLOWER = 0.2
"""The student's learning rate as a factor of the tracker's, who must keep up with it."""
LEAST = 1e-3
"""The least mean difference, in units of the images, that a sample's direction is divided by."""


class Matching(Objective):
    """First leaps, and then, from a share of the budget on, samples by their distribution.

    Args:
        denoiser: the student, with the teacher's weights as long as nothing else is restored.
        source: of the images, whose labels are drawn.
        settings: `distillation` above all.

    Raises:
        LoangError: as `consistency.check`.
    """

    def __init__(self, denoiser: Denoiser, source: Source, settings: Settings) -> None:
        self.leaping = Consistency(denoiser, source, settings)
        self.looks = self.leaping.looks
        self.denoiser = denoiser
        self.source = source
        self.settings = settings.distillation
        self.seed = settings.training.seed
        self.tracker = copy.deepcopy(denoiser).train().requires_grad_(True)
        self.levels = leaps(denoiser.schedule, self.settings.steps)

    @property
    def teacher(self) -> Denoiser:
        """The one that the leaps are learnt from, too."""
        return self.leaping.teacher

    def loss(self, moment: Moment, numbers: Int[Tensor, " n"]) -> Loss:
        """Of the images of those numbers; numbers follow one another."""
        if moment.share < self._begins:
            return self.leaping.loss(moment, numbers)
        x0, label, told = self.source(moment.position + int(numbers[0]), len(numbers))
        numbers = numbers.to(x0.device)
        label = self.leaping.hidden(label, moment.step, numbers)
        drawn = self._drawn(self._normal("train noise", moment.step, numbers), label, told)
        direction, apart = self._direction(drawn.detach(), label, told, moment.step, numbers)
        # Its gradient by the samples is the direction, and by the weights what follows from that.
        student = (direction * drawn).flatten(1).mean(1)
        tracker = self._tracked(drawn.detach(), label, told, moment.step, numbers)
        return Loss(student + tracker, apart)

    def error(
        self,
        x0: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """That of the leaps, all along: it rises where samples are matched by distribution."""
        return self.leaping.error(x0, label, numbers)

    def pace(self, share: float) -> Pace:
        """The student slower than its tracker."""
        return Pace(1.0, 1.0) if share < self._begins else Pace(SLOWER, 1.0)

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The tracker's."""
        return {TRACKER + name: each for name, each in self.tracker.network.named_parameters()}

    def tensors(self) -> Mapping[str, Tensor]:
        """The teacher and the tracker."""
        tracked = self.tracker.network.state_dict()
        return {**self.leaping.tensors(), **{TRACKER + name: tracked[name] for name in tracked}}

    @property
    def _begins(self) -> float:
        share = self.settings.matched_from
        return 1.0 if share is None else share

    def _drawn(
        self,
        eps: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
    ) -> Float[Tensor, "n c h w"]:
        """What the student draws from that noise, by its own leaps; gradients go through all."""
        schedule = self.denoiser.schedule
        x = schedule.start * eps
        for high, low in pairwise(self.levels):
            t, s = (torch.full((len(x),), level).to(self.leaping.ends) for level in (high, low))
            x = step(schedule, x, image(self.denoiser, x, t, label, told), t, s).to(x.dtype)
        return x

    @torch.no_grad()
    def _direction(
        self,
        drawn: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
        step: int,
        numbers: Int[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]:
        """Away from what is drawn too often, each of about the same length; and how far apart.

        Divided by the mean difference of the sample from what the teacher makes of it (Yin et al.
        2024, eq. 8), so that all noise levels count alike.
        """
        low, high = self.settings.match_levels
        x_t, t, _ = self._noised("match", drawn, low, high, step, numbers)
        real = guided(self.teacher, x_t, t, label, told, scale=self.settings.match_guidance or 1.0)
        self.tracker.eval()
        fake = image(self.tracker, x_t, t, label, told)
        self.tracker.train()
        # Autocast keeps what it has cast of the weights; in older torch, without a gradient.
        torch.clear_autocast_cache()
        length = (drawn - real).abs().flatten(1).mean(1).clamp(min=LEAST)
        return (fake - real) / like(length, drawn), (fake - real).square().flatten(1).mean(1)

    def _tracked(
        self,
        drawn: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
        step: int,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """The tracker's squared error in its own answer, a mean over `LOOKS` noises."""
        tracker, schedule = self.tracker, self.tracker.schedule
        low, high = self.settings.match_levels
        errors = []
        for look in range(LOOKS):
            x_t, t, eps = self._noised(
                f"track {look}", drawn, low / BEYOND, high * BEYOND, step, numbers
            )
            signal, noise = like(schedule.signal(t), drawn), like(schedule.noise(t), drawn)
            target = parameterization.target(
                tracker.kind, drawn, eps, signal, noise, tracker.deviation
            )
            answer = tracker.predict(x_t, t, label, told).image
            errors.append((answer - target).square().flatten(1).mean(1))
        return torch.stack(errors).mean(0)

    def _noised(
        self,
        purpose: str,
        x0: Float[Tensor, "n c h w"],
        low: float,
        high: float,
        step: int,
        numbers: Int[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
        """x_t, t and eps, with noise / signal drawn evenly by its logarithm."""
        schedule = self.denoiser.schedule
        share = random.uniform(
            seed=self.seed, purpose=f"{purpose} level", step=step, indices=numbers
        )
        sigma = (math.log(low) + (math.log(high) - math.log(low)) * share).exp()
        t = schedule.times(sigma).clamp(min=schedule.first)
        eps = self._normal(f"{purpose} noise", step, numbers)
        return process.diffuse(schedule, x0, t, eps), t, eps

    def _normal(
        self, purpose: str, step: int, numbers: Int[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        return random.normal(
            self.source.images.spec.shape,
            seed=self.seed,
            purpose=purpose,
            step=step,
            indices=numbers,
        ).to(memory_format=torch.channels_last)
