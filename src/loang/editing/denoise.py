"""Cleaning a picture of the noise that it came with.

A picture with noise of standard deviation sigma is x_t / signal(t) at the time where noise / signal
is sigma. There the denoiser's estimate of the image is the mean of all images that the picture
could be: of all estimates the one of least squared error, and smoother than any one of them. A walk
from there down gives one of those images instead: sharper, with details that are made up.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from loang.config import SamplingSettings
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.editing.walk import OnStep, counted, drawn, label_of, sampling_of, stored
from loang.errors import LoangError
from loang.model import Model
from loang.samplers.state import times
from loang.walking import check_means, levels_of

MEDIAN = 0.6744897501960817
"""Of the magnitude of a standard normal number."""


def estimate_noise(pixels: Shaped[np.ndarray, "h w c"], spec: ImageSpec) -> float:
    """The standard deviation of a picture's noise, as a share of the range of its values.

    The median magnitude of the finest diagonal differences, (a - b - c + d) / 2 of each 2x2 pixels
    (Donoho and Johnstone 1994, section 4.2, with overlapping squares), of which a picture's own
    forms have little. Differences of exactly 0 are left out where they are most of the picture, as
    where its noise was cut off at black or white; what is left of such a picture is a rough guess.

    Args:
        pixels: as the model's images are stored.
        spec: what they are.

    Raises:
        LoangError: there are fewer than 2x2 pixels.
    """
    if min(pixels.shape[:2]) < 2:
        raise LoangError("One row of pixels does not show its noise.", "Give --noise.")
    values = (pixels.astype(np.float64) - spec.low) / (spec.high - spec.low)
    differences = (values[:-1, :-1] - values[:-1, 1:] - values[1:, :-1] + values[1:, 1:]) / 2
    magnitudes = np.abs(differences)
    seen = magnitudes[magnitudes > 0]
    if len(seen) * 2 < magnitudes.size:
        magnitudes = seen if len(seen) else magnitudes
    found = float(np.median(magnitudes) / MEDIAN)
    return min(found, _most(pixels, spec))


def denoise(
    model: Model,
    pixels: Shaped[np.ndarray, "h w c"],
    noise: float,
    *,
    walk: bool = False,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    label: str | None = None,
    on_step: OnStep | None = None,
) -> Shaped[np.ndarray, "h w c"]:
    """The picture without its noise.

    Args:
        model: from `loang.load`.
        pixels: as the model's images are stored.
        noise: its standard deviation, 1 being the whole range of the values, black to white.
        walk: False gives the mean of what the picture could be, True one of these images: drawn at
            random by a sampler that adds noise (ddpm), always the same by one that adds none.
        seed: of the walk's noise.
        sampling: of the walk; its levels below the picture's own. None takes the model's own.
        label: a class by name or number; None is no class.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: the noise is below 0, or more than the picture can hold or the model knows; or
            there is no such class.
    """
    if not 0 <= noise < math.inf:
        raise LoangError(f"Noise of {noise:g} can't be.", "Give --noise 0 or more.")
    if noise > _most(pixels, model.spec):
        # They end at black and white: noise of more than that is nearly all cut off, and lost.
        width = model.spec.high - model.spec.low
        raise LoangError(
            f"Whole numbers hold no noise of {noise:g} times the range from black to white.",
            f"Give its share of that: {noise:g} of {width:g} would be --noise {noise / width:.3g}.",
        )
    if noise == 0:
        return pixels
    if not walk:
        check_means(model.settings, "Cleaning without a walk")
    schedule = model.denoiser.schedule
    sigma = 2 * noise  # the network's range is 2 wide
    ends = torch.tensor([schedule.T], dtype=torch.float64)
    if sigma > float(schedule.sigma(ends)[0]):
        raise LoangError(
            f"The model has learnt no noise as strong as {noise:g} of the range.",
            "Look at --noise: 1 is as much as from black to white.",
        )
    t = max(schedule.time(sigma), float(schedule.first))
    x0 = _unclipped(pixels, model.spec).to(model.device)
    at = times(t, x0)
    x = schedule.signal(at).to(x0.dtype).reshape(-1, 1, 1, 1) * x0
    labels = label_of(model, label, 1)
    if not walk:
        return stored(model, _mean(model, x, t, labels))[0]
    sampling = sampling_of(model, sampling, label)
    below = [level for level in levels_of(sampling, schedule) if level < t]
    states = model.walk(
        [0], seed=seed, sampling=sampling, labels=labels, levels=[t, *below], start=x
    )
    return drawn(model, states, counted(on_step, 0, 1, len(below)))[0]


def _most(pixels: Shaped[np.ndarray, "h w c"], spec: ImageSpec) -> float:
    """Of a picture's noise: of what is more than its numbers' range, nearly all is cut off."""
    if pixels.dtype.kind == "f":
        return math.inf
    return max(1.0, float(np.iinfo(pixels.dtype).max) / (spec.high - spec.low))


def _mean(
    model: Model, x: Float[Tensor, "1 c h w"], t: float, labels: Tensor | None
) -> Float[Tensor, "1 c h w"]:
    denoiser, training = model.denoiser, model.denoiser.training
    denoiser.eval()
    try:
        with torch.inference_mode():  # in float32: it is the picture itself
            return denoiser(x, times(t, x), labels).x0
    finally:
        denoiser.train(training)


def _unclipped(pixels: Shaped[np.ndarray, "h w c"], spec: ImageSpec) -> Float[Tensor, "1 c h w"]:
    """In the network's range, noise that goes beyond it kept: cut off, it would be no noise."""
    inside = np.clip(pixels, spec.low, spec.high).astype(pixels.dtype)
    beyond = (pixels.astype(np.float64) - inside.astype(np.float64)) * 2 / (spec.high - spec.low)
    extra = torch.from_numpy(beyond.astype(np.float32)).permute(2, 0, 1)
    return to_model(inside[np.newaxis], spec) + extra
