"""SDEdit: a picture is noised to some level, and sampled from there (Meng et al. 2022)."""

import math

import numpy as np
from jaxtyping import Shaped

from loang import process
from loang.config import SamplingSettings
from loang.data.scaling import to_model
from loang.editing.walk import (
    OnStep,
    batches,
    counted,
    drawn,
    label_of,
    noise_of,
    sampling_of,
)
from loang.errors import LoangError
from loang.model import Model
from loang.samplers.state import times
from loang.walking import levels_of

STRENGTH = 0.6


def levels_from(
    model: Model, strength: float, sampling: SamplingSettings | None = None
) -> list[float]:
    """The last levels of a walk, that share of its steps, rounded up; empty for none.

    Raises:
        LoangError: the strength is not a share.
    """
    if not 0 <= strength <= 1:
        raise LoangError(
            f"A strength of {strength:g} can't be.",
            "Give --strength from 0, the picture itself, to 1, nothing of it.",
        )
    levels = levels_of(sampling or model.settings.sampling, model.denoiser.schedule)
    steps = len(levels) - 1
    # Rounded first: 0.7 * 10 is a little more than 7.
    walked = max(math.ceil(round(strength * steps, 9)), int(strength > 0))
    return levels[steps - walked :] if walked else []


def start_from(
    model: Model,
    pixels: Shaped[np.ndarray, "h w c"],
    strength: float = STRENGTH,
    count: int = 1,
    *,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    label: str | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Shaped[np.ndarray, "count h w c"]:
    """Pictures like the one given, the less so the greater the strength.

    The noise at level t and the network's first step are of the same t. Sample i begins with the
    noise of sample i of `Model.sample` for the same seed; at strength 1 it is that sample.

    Args:
        model: from `loang.load`.
        pixels: as the model's images are stored.
        strength: the share of the steps that are walked, rounded up to whole ones: 0 gives the
            picture as it is.
        count: how many.
        seed: of the noise.
        sampling: sampler and steps; None takes the model's own.
        label: a class by name or number; None is no class.
        batch: how many are drawn at once.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: the strength is not a share, or there is no such class.
    """
    sampling = sampling_of(model, sampling, label)
    levels = levels_from(model, strength, sampling)
    parts = batches(count, batch)
    if not levels:
        return np.repeat(pixels[np.newaxis], count, axis=0)
    x0 = to_model(pixels[np.newaxis], model.spec).to(model.device)
    images = []
    for number, part in enumerate(parts):
        start = None
        if strength < 1:
            eps = noise_of(model, part, seed, "sample")(0)
            at = times(levels[0], eps)
            start = process.diffuse(model.denoiser.schedule, x0.expand_as(eps), at, eps)
        walk = model.walk(
            part,
            seed=seed,
            sampling=sampling,
            labels=label_of(model, label, len(part)),
            levels=levels,
            start=start,
        )
        told = counted(on_step, number, len(parts), len(levels) - 1)
        images.append(drawn(model, walk, told))
    return np.concatenate(images)
