"""From one picture to another, through the images of the latents between theirs."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from loang.config import SamplingSettings
from loang.data.scaling import to_model
from loang.editing.encode import EVALUATIONS, decode, encode, unclipped
from loang.editing.walk import OnStep, counted, drawn, label_of, noise_of, sampling_of, stored
from loang.errors import LoangError
from loang.model import Model
from loang.samplers import METHODS
from loang.walking import check_means, levels_of


def slerp(
    one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"], shares: Sequence[float]
) -> Float[Tensor, "frames *shape"]:
    """Along the great circle from one to the other (Shoemake 1985), as Song et al. 2021, D.3.

    A straight line between two noises passes through noise that is too weak; this does not. The
    ends come back as they are. Where the two point the same way, or opposite ways, it is the line.

    Args:
        one: where the share is 0.
        other: where it is 1.
        shares: 0..1.
    """
    cosine = (one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-30)
    angle = math.acos(min(max(float(cosine), -1.0), 1.0))
    sine = np.sin(angle)
    frames = []
    for share in shares:
        if share in (0, 1):
            frames.append(other if share else one)
        elif sine < 1e-6:
            frames.append(torch.lerp(one, other, share))
        else:
            ends = float(np.sin((1 - share) * angle)), float(np.sin(share * angle))
            frames.append((ends[0] * one + ends[1] * other) / float(sine))
    return torch.stack(frames)


def between_pictures(
    model: Model,
    one: Shaped[np.ndarray, "h w c"],
    other: Shaped[np.ndarray, "h w c"],
    frames: int = 9,
    *,
    evaluations: int = EVALUATIONS,
    label: str | None = None,
) -> tuple[Shaped[np.ndarray, "frames h w c"], float]:
    """Images from one picture to another, the pictures themselves at the ends.

    Both are encoded, and what lies between is decoded,
    in float32, whatever the model was trained in: a rounding on one way is an error on both.

    Args:
        model: from `loang.load`.
        one: the first frame, as the model's images are stored.
        other: the last.
        frames: how many, the two with them.
        evaluations: of the network, each way.
        label: a class by name or number, on both ways; None is no class.

    Returns:
        The images; and the largest difference, as a share of the range, between the pictures and
        what their latents decode to.

    Raises:
        LoangError: there is no such class, there are fewer than 2 frames, or the model is
            distilled.
    """
    check_means(model.settings, "The way between pictures")
    shares = _shares(frames)
    denoiser = unclipped(model.denoiser)
    training = denoiser.training
    denoiser.eval()
    try:
        with torch.inference_mode():
            x0 = to_model(np.stack([one, other]), model.spec).to(model.device)
            latents = encode(denoiser, x0, evaluations, label_of(model, label, 2))
            between = slerp(latents[0], latents[1], shares)
            x = decode(denoiser, between, evaluations, label_of(model, label, frames))
    finally:
        denoiser.train(training)
    pixels = stored(model, x)
    error = float((x[[0, -1]] - x0).abs().max()) / 2
    pixels[0], pixels[-1] = one, other
    return pixels, error


def between_seeds(
    model: Model,
    one: int,
    other: int,
    frames: int = 9,
    *,
    sampling: SamplingSettings | None = None,
    label: str | None = None,
    on_step: OnStep | None = None,
) -> Shaped[np.ndarray, "frames h w c"]:
    """Images from the first sample of one seed to the first of another.

    The ends are what `Model.sample` draws of those seeds with the same settings and label, up to
    the last bits of the network's sums.

    Args:
        model: from `loang.load`.
        one: a seed.
        other: another.
        frames: how many, the two with them.
        sampling: sampler and steps; None takes `without_noise`.
        label: a class by name or number; None is no class.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: the sampler draws noise on its way, there is no such class, or there are fewer
            than 2 frames.
    """
    sampling = sampling_of(model, sampling or without_noise(model), label)
    if not deterministic(sampling):
        raise LoangError(
            f"{sampling.sampler} draws new noise at each step, so nothing lies between two seeds.",
            "Take a model that was distilled by leaps, or was not distilled."
            if model.settings.distilled
            else "Add --sampler ddim, with eta 0.",
        )
    starts = [noise_of(model, [0], seed, "sample")(0)[0] for seed in (one, other)]
    schedule = model.denoiser.schedule
    levels = levels_of(sampling, schedule)
    walk = model.walk(
        range(frames),
        sampling=sampling,
        labels=label_of(model, label, frames),
        levels=levels,
        start=schedule.start * slerp(starts[0], starts[1], _shares(frames)),
    )
    return drawn(model, walk, counted(on_step, 0, 1, len(levels) - 1))


def without_noise(model: Model) -> SamplingSettings:
    """The model's own way; in place of one that draws, 50 steps of DDIM. A student's is kept."""
    own = model.settings.sampling
    if model.settings.distilled or (own.sampler != "auto" and deterministic(own)):
        return own
    plain = SamplingSettings()
    steps = min(plain.steps, model.denoiser.schedule.most_steps)
    kept = {"spacing", "guidance", "guidance_interval", "guidance_rescale"}
    return SamplingSettings(**own.model_dump(include=kept), sampler="ddim", steps=steps)


def deterministic(sampling: SamplingSettings) -> bool:
    """Whether a walk draws no noise after its first."""
    method = METHODS[sampling.sampler]
    options = {"eta": sampling.eta, "churn": sampling.churn}
    return method.deterministic and not any(options.get(name, 0) for name in method.options)


def _shares(frames: int) -> list[float]:
    if frames < 2:
        raise LoangError(
            f"{frames} frames don't reach from one end to the other.", "Give --frames 2 or more."
        )
    return [frame / (frames - 1) for frame in range(frames)]
