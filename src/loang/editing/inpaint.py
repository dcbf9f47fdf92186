"""Inpainting: filling holes in a picture, with every known pixel kept.

Where pixels are known, the estimate of the image is the picture itself. A sampler that is handed
such a denoiser draws, in the known part, from q(x_s | x_t, x_0) with the true x_0: the picture's
own diffusion at each level. The network sees what is in the holes beside that at each step. This
works with every sampler.

RePaint (Lugmayr et al. 2022, algorithm 1) goes back as well: a stretch of the walk is repeated, its
end diffused again to where it began, so that the filling and what is around it come to agree. It
draws the known part anew at each step, from q(x_s | x_0); here it is drawn given x_t, which is the
same distribution at each level, and needs no noise where a walk is deterministic.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real, Shaped
from torch import Tensor

from loang import process
from loang.config import SamplingSettings
from loang.data.scaling import to_model
from loang.denoiser import DenoiserLike, Estimate
from loang.editing.walk import (
    OnStep,
    batches,
    counted,
    drawn,
    evaluated,
    label_of,
    noise_of,
    sampling_of,
)
from loang.errors import LoangError
from loang.model import Model
from loang.parameterization import to_eps
from loang.process import like
from loang.samplers import Noise, State
from loang.samplers.state import pairs, times
from loang.schedule import Schedule
from loang.walking import check_walk, levels_of, sampler_of

JUMP = 10
"""Levels of a stretch that is repeated: the paper's."""
STEPS = 50
RESAMPLE = 5
"""Times that a stretch is gone through; the paper's are 10, of 250 steps."""


class Known:
    """A denoiser that is told a part of the image; to a sampler it is one like any other.

    Args:
        denoiser: what sees the rest.
        x0: the picture, in [-1, 1].
        known: True where the picture is.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        x0: Float[Tensor, "#n c h w"],
        known: Bool[Tensor, "#n #c h w"],
    ) -> None:
        self.denoiser, self.x0, self.known = denoiser, x0, known

    @property
    def schedule(self) -> Schedule:
        """The denoiser's own."""
        return self.denoiser.schedule

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Estimate:
        """The picture where it is known, the denoiser's estimate elsewhere."""
        estimate = self.denoiser(x_t, t, label)
        x0 = torch.where(self.known, self.x0.to(x_t), estimate.x0)
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        eps = torch.where(self.known, to_eps("x0", x0, x_t, signal, noise), estimate.eps)
        variance = estimate.variance
        if variance is not None:  # where the image is known, the posterior's own
            variance = torch.where(self.known, 0.0, variance)
        return Estimate(x0, eps, variance)

    def begin(self, eps: Float[Tensor, "n c h w"], t: float) -> Float[Tensor, "n c h w"]:
        """x at time t: the picture's diffusion, and nothing but noise in the holes."""
        schedule, at = self.schedule, times(t, eps)
        x0 = self.x0.to(eps).expand_as(eps)
        return torch.where(self.known, process.diffuse(schedule, x0, at, eps), schedule.start * eps)


def resampled(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    *,
    resample: int = RESAMPLE,
    jump: int = JUMP,
    eta: float = 1.0,
) -> Iterator[State]:
    """A walk in stretches of `jump` levels, each gone through `resample` times.

    Args:
        denoiser: mostly `Known`.
        x: at the time levels[0].
        levels: falling times that end at 0.
        noise: by draw.
        label: one an image.
        resample: 1 repeats nothing.
        jump: levels of a stretch, counted from the clean image up.
        eta: 1 steps as DDPM does, with the posterior's variance, 0 as DDIM.
    """
    schedule, draw = denoiser.schedule, 0
    steps = list(pairs(levels))
    first = len(steps) % jump
    ends = [0, first, *range(first + jump, len(steps) + 1, jump)]
    for begin, end in pairwise(ends):
        stretch = steps[begin:end]
        for again in reversed(range(resample if stretch else 0)):
            for _, t, s in stretch:
                at_t, at_s = times(t, x), times(s, x)
                x0, eps, *_ = denoiser(x, at_t, label)
                yield State(t, x, x0)
                # Song et al. 2021, eq. 12.
                variance = eta**2 * process.posterior_variance(schedule, at_t, at_s)
                direction = (schedule.noise(at_s).square() - variance).clamp(min=0).sqrt()
                x = like(schedule.signal(at_s), x) * x0 + like(direction, x) * eps
                if eta > 0 and s > 0:
                    x, draw = x + like(variance.sqrt(), x) * noise(draw), draw + 1
            if again:
                top, bottom = times(stretch[0][1], x), times(stretch[-1][2], x)
                x = process.diffuse_between(schedule, x, bottom, top, noise(draw))
                draw += 1
    yield State(0, x, x)


def inpaint(
    model: Model,
    pixels: Shaped[np.ndarray, "h w c"],
    known: Bool[np.ndarray, "h w"],
    count: int = 1,
    *,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    resample: int | None = None,
    jump: int = JUMP,
    label: str | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Shaped[np.ndarray, "count h w c"]:
    """Fillings of a picture; what is known comes back as it was given, to the last bit.

    Filling i depends on the seed and its number, and not on how many are drawn.

    Args:
        model: from `loang.load`.
        pixels: as the model's images are stored; in the holes anything.
        known: True where the picture is kept.
        count: how many fillings.
        seed: of the noise.
        sampling: sampler and steps; None takes the model's own, or 50 of DDPM's for resampling.
        resample: how often each stretch is gone through: 1 is the sampler's own walk; with more
            the steps are DDPM's with the posterior's own variance, or DDIM's where that is the
            sampler, with its eta. None as of `repeats`.
        jump: levels of a stretch.
        label: a class by name or number; None is no class.
        batch: how many are drawn at once.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: there is no such class, or what is asked for can't be.
    """
    resample = repeats(model, resample)
    if resample < 1 or jump < 1:
        raise LoangError("A walk can't be repeated less than once.", "Give --resample 1 or more.")
    if sampling is None and resample > 1 and not model.settings.distilled:
        sampling = SamplingSettings(
            sampler="ddpm", steps=min(STEPS, model.denoiser.schedule.most_steps)
        )
    sampling = sampling_of(model, sampling, label)
    if resample > 1 and sampling.sampler not in ("ddim", "ddpm"):
        raise LoangError(
            f"Resampling, {resample} times a stretch, steps as ddpm or ddim do, not as"
            f" {sampling.sampler}.",
            f"Give --resample 1 for {sampling.sampler}'s own walk, or take --sampler ddpm or ddim.",
        )
    eta = sampling.eta if sampling.sampler == "ddim" else 1.0
    levels = levels_of(sampling, model.denoiser.schedule)
    check_walk(model.settings, model.denoiser.schedule, sampling, levels)
    x0 = to_model(pixels[np.newaxis], model.spec).to(model.device)
    kept = torch.from_numpy(known)[None, None].to(model.device)
    parts = batches(count, batch)
    filled = []
    for number, part in enumerate(parts):
        noise = noise_of(model, part, seed, "inpaint")
        seen = Known(model.seen(sampling), x0, kept)
        labels = label_of(model, label, len(part))
        given = seen, seen.begin(noise(0), levels[0]), levels, _after_first(noise), labels
        if resample > 1:
            walk = resampled(*given, resample=resample, jump=jump, eta=eta)
        else:
            walk = sampler_of(sampling)(*given)
        told = counted(on_step, number, len(parts), (len(levels) - 1) * resample)
        filled.append(drawn(model, evaluated(model, walk), told))
    return np.where(known[..., np.newaxis], pixels, np.concatenate(filled))


def repeats(model: Model, resample: int | None) -> int:
    """How often each stretch is gone through: as is asked, else 5 times, by a student once.

    A student's few leaps are one stretch: to repeat it is to begin again.
    """
    if resample is not None:
        return resample
    return 1 if model.settings.distilled else RESAMPLE


def _after_first(noise: Noise) -> Noise:
    """The draws after the one that the walk begins with."""
    return lambda step: noise(step + 1)
