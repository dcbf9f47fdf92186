"""Learning to denoise: Ho et al. 2020, algorithm 1, with what came after it."""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import random
from loang.config import Settings
from loang.denoiser import Denoiser
from loang.loss import Loss, denoising_loss
from loang.training.examples import Source
from loang.training.levels import Levels
from loang.training.objective import Moment, Objective


class Denoising(Objective):
    """The squared error of the denoiser's answer at drawn noise levels.

    Args:
        denoiser: it is trained.
        source: of the images.
        settings: levels, weighting and so on.
    """

    def __init__(self, denoiser: Denoiser, source: Source, settings: Settings) -> None:
        self.denoiser = denoiser
        self.source = source
        self.settings = settings.training
        self.levels = Levels.of(settings.training)

    def loss(self, moment: Moment, numbers: Int[Tensor, " n"]) -> Loss:
        """Of the images of those numbers; numbers follow one another."""
        x0, label, told = self.source(moment.position + int(numbers[0]), len(numbers))
        t, eps = self.noise("train", moment.step, numbers)
        label = self.hidden(label, moment.step, numbers)
        return denoising_loss(self.denoiser, x0, t, eps, label, self.settings.weighting, told)

    def error(
        self,
        x0: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """The mean squared error of the network's own answer, at levels as training draws them."""
        t, eps = self.noise("validation", 0, numbers)
        return denoising_loss(self.denoiser, x0, t, eps, label).plain

    def noise(
        self, purpose: str, step: int, numbers: Int[Tensor, " n"]
    ) -> tuple[Real[Tensor, " n"], Float[Tensor, "n c h w"]]:
        """Times as the settings ask, and standard normal noise, for the images of those numbers."""
        seed = self.settings.seed
        numbers = numbers.to(self.source.device)
        t = self.levels.draw(
            self.denoiser.schedule,
            seed=seed,
            purpose=f"{purpose} time",
            step=step,
            indices=numbers,
        )
        eps = random.normal(
            self.source.images.spec.shape,
            seed=seed,
            purpose=f"{purpose} noise",
            step=step,
            indices=numbers,
        )
        return t, eps

    def hidden(
        self, label: Int[Tensor, " n"] | None, step: int, numbers: Int[Tensor, " n"]
    ) -> Int[Tensor, " n"] | None:
        """Some labels become "no label", so that the network learns both (Ho and Salimans 2022)."""
        if label is None:
            return None
        drawn = random.uniform(
            seed=self.settings.seed,
            purpose="label dropout",
            step=step,
            indices=numbers.to(self.source.device),
        )
        hidden = drawn < self.settings.label_dropout
        return torch.where(hidden, torch.full_like(label, self.denoiser.classes), label)
