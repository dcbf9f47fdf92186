"""Learning to denoise: Ho et al. 2020, algorithm 1, with what came after it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from loang import process, random
from loang.config import Settings
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.device import sent
from loang.loss import Loss, denoising_loss
from loang.schedule import Discrete
from loang.team.team import Team
from loang.training import pairing
from loang.training.examples import Examples, Source
from loang.training.importance import Drawn, Importance
from loang.training.levels import Levels, shares, stratified_shares
from loang.training.objective import Moment, Objective
from loang.uncertainty import Uncertainty
from loang.weighting import Weighting

SHOWN = 0.5
"""The share of images that are trained with an estimate in sight: Chen et al. 2023, algorithm 1."""


class Times(NamedTuple):
    """The times of some images, and how they were drawn, where that was by importance."""

    t: Real[Tensor, " n"]
    drawn: Drawn | None = None


class Denoising(Objective):
    """The squared error of the denoiser's answer at drawn noise levels.

    Args:
        denoiser: it is trained.
        source: of the images.
        settings: levels, weighting, pairing and so on.
    """

    def __init__(self, denoiser: Denoiser, source: Source, settings: Settings) -> None:
        self.denoiser = denoiser
        self.source = source
        self.settings = settings.training
        self.levels = Levels.of(settings.training)
        chosen = settings.training.weighting
        self.weighting: Weighting | Uncertainty = (
            Uncertainty().to(source.device) if chosen == "learned" else chosen
        )
        self.importance: Importance | None = None
        if settings.training.levels == "importance":
            self.importance = Importance(denoiser.schedule, source.device)
        self._pairs: tuple[Moment, Tensor] | None = None

    def loss(self, moment: Moment, numbers: Int[Tensor, " n"]) -> Loss:
        """Of the images of those numbers; numbers follow one another."""
        examples = self.source(moment.position + int(numbers[0]), len(numbers))
        x0, told = examples.x0, examples.told
        t, drawn = self.times(moment.step, numbers)
        eps = self.noise("train", moment.step, self.noises(moment, numbers, examples))
        label = self.hidden(examples.label, moment.step, numbers)
        loss = denoising_loss(
            self.denoiser,
            x0,
            t,
            eps,
            label,
            self.weighting,
            told,
            given=self.first_look(moment.step, numbers, Examples(x0, label, told), t, eps),
            gamma=self.settings.min_snr_gamma,
            pixel_levels=pixel_levels(self.source.images.spec),
        )
        if self.importance is None or drawn is None:
            return loss
        self.importance.note(drawn.bins, loss.weighted)
        # Both become what uniform draws would give on average.
        factor = drawn.weight.to(loss.plain.dtype)
        return Loss(factor * loss.weighted, factor * loss.plain)

    def error(
        self,
        x0: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """The mean squared error of the network's own answer, without weights.

        At uniform times of a schedule in steps, so that all runs on it are comparable; at times as
        training draws them of one of real time, whose ends hardly matter. Images are not paired,
        and no estimate is shown.
        """
        schedule = self.denoiser.schedule
        levels = Levels("uniform") if isinstance(schedule, Discrete) else self.levels
        t = levels.draw(
            schedule,
            seed=self.settings.seed,
            purpose="validation time",
            step=0,
            indices=sent(numbers, self.source.device),
        )
        eps = self.noise("validation", 0, numbers)
        return denoising_loss(self.denoiser, x0, t, eps, label).plain

    def begin(self) -> None:
        """Forget the losses of a batch that came to no end."""
        if self.importance is not None:
            self.importance.begin()

    def settle(self, team: Team) -> None:
        """Remember the batch's losses, where levels are drawn by them."""
        if self.importance is not None:
            self.importance.settle(team)

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Those of the learnt weights."""
        learned = self.weighting
        return {"uncertainty": learned.weight} if isinstance(learned, Uncertainty) else {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Learnt weights, and the losses that levels are drawn by."""
        history = {} if self.importance is None else self.importance.tensors()
        return {**self.parameters(), **{f"importance/{name}": history[name] for name in history}}

    def times(self, step: int, numbers: Int[Tensor, " n"]) -> Times:
        """Noise levels as the settings ask, for the images of those numbers."""
        chosen, schedule, purpose = self.settings, self.denoiser.schedule, "train time"
        seed, numbers = chosen.seed, sent(numbers, self.source.device)
        if chosen.stratified:
            share = stratified_shares(
                chosen.batch, seed=seed, purpose=purpose, step=step, indices=numbers
            )
        elif self.importance is not None:
            share = shares(seed=seed, purpose=purpose, step=step, indices=numbers)
        else:
            draw = self.levels.draw
            return Times(draw(schedule, seed=seed, purpose=purpose, step=step, indices=numbers))
        if self.importance is None:
            return Times(self.levels.times(schedule, share))
        drawn = self.importance.draw(share)
        return Times(self.levels.times(schedule, drawn.share), drawn)

    def noise(
        self, purpose: str, step: int, numbers: Int[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        """Standard normal noise of those numbers."""
        return random.normal(
            self.source.images.spec.shape,
            seed=self.settings.seed,
            purpose=f"{purpose} noise",
            step=step,
            indices=sent(numbers, self.source.device),
        )

    def noises(
        self, moment: Moment, numbers: Int[Tensor, " n"], examples: Examples
    ) -> Int[Tensor, " n"]:
        """The numbers of these images' noises: their own, or as the whole batch is paired.

        Pairing holds the whole batch, its images and its noises, at once, also where the network
        sees it in parts: what is learnt does not depend on the parts.
        """
        batch = self.settings.batch
        if self.settings.pairing == "independent" or len(numbers) > batch:
            return numbers
        if self._pairs is None or self._pairs[0] != moment:
            every = torch.arange(batch)
            if len(numbers) < batch:
                examples = self.source(moment.position, batch)
            eps = self.noise("train", moment.step, every)
            x0, label, told = examples
            self._pairs = moment, pairing.nearest(x0, eps, label, told)
        return self._pairs[1][numbers]

    @torch.no_grad()
    def first_look(
        self,
        step: int,
        numbers: Int[Tensor, " n"],
        examples: Examples,
        t: Real[Tensor, " n"],
        eps: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, "n c h w"] | None:
        """For a network that is shown its own last estimate: that, for half of the images.

        The other half, and the first pass itself, see an image of zeros, as a walk does at its
        first step (Chen et al. 2023, algorithm 1; no gradient goes through the first pass).
        """
        denoiser = self.denoiser
        if not denoiser.self_conditioned:
            return None
        # Drawn on the CPU, where `numbers` lie: which images are chosen asks no GPU.
        drawn = random.uniform(
            seed=self.settings.seed, purpose="self-conditioning", step=step, indices=numbers
        )
        x0 = examples.x0
        given = torch.zeros_like(x0)
        chosen = (drawn < SHOWN).nonzero()[:, 0].to(x0.device)
        shown = len(chosen) > 0
        if not shown:
            if not self.evenly:
                return given
            chosen = chosen.new_zeros(1)  # asked as the others ask, and thrown away
        x_t, t = process.diffuse(denoiser.schedule, x0, t, eps)[chosen], t[chosen]
        label, told = (each if each is None else each[chosen] for each in examples[1:])
        estimate = denoiser.read(denoiser.predict(x_t, t, label, told), x_t, t)
        if shown:
            given[chosen] = estimate.x0.to(given.dtype)
        # Autocast keeps what it has cast of the weights; in older torch, without a gradient.
        torch.clear_autocast_cache()
        return given

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
            indices=sent(numbers, self.source.device),
        )
        hidden = drawn < self.settings.label_dropout
        return torch.where(hidden, torch.full_like(label, self.denoiser.classes), label)


def pixel_levels(spec: ImageSpec) -> int:
    """How many values a pixel can have; 256 where they are real numbers."""
    return 256 if spec.depth == "float32" else round(spec.high - spec.low) + 1
