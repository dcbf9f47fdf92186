"""A walk from noise to images in plain numbers, for a script that knows nothing of loang.

Every prediction is one linear combination of image and noise (parameterization.py), and every step
that is written here is one of x, the image that was seen, and fresh noise. So a line of numbers a
step is all that a sampler needs, whatever the schedule, the prediction and the spacing.
"""

from itertools import pairwise
from typing import Any

import torch

from loang import parameterization, process, walking
from loang.config import SamplingSettings
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.model import Model
from loang.samplers.level import level
from loang.samplers.state import times

STEPS = 50
"""Of DDIM, for a model that is sampled by another method."""
MOST_STEPS = 10_000
"""That are written out, so that the file's JSON stays within loang's own limits (untrusted.py)."""


def chosen(model: Model, steps: int | None = None) -> SamplingSettings:
    """The model's own walk, if it is DDIM's or a consistency model's; else DDIM's, as guided.

    Args:
        model: whose settings are asked.
        steps: in place of the model's own.

    Raises:
        LoangError: the walk can't have so many steps, or a distilled model has learnt no such one.
    """
    schedule, own = model.denoiser.schedule, model.settings.sampling
    update: dict[str, Any] = {}
    if own.sampler not in ("ddim", "consistency"):
        most = int(schedule.most_steps)
        update = {"sampler": "ddim", "steps": min(STEPS, most), "spacing": None, "levels": None}
    if steps is not None:
        update |= {"steps": steps, "levels": None}
    if not (model.knows_labels and model.denoiser.hides_labels):
        update["guidance"] = 1.0
    sampling = own.model_copy(update=update)
    walking.levels_of(sampling, schedule)  # raises, if it can't be walked
    walking.check_walk(model.settings, schedule, sampling)
    return sampling


def numbers(denoiser: Denoiser, sampling: SamplingSettings) -> dict[str, Any]:
    """The walk, in plain values for JSON.

    - `predicts`, `sampler`: in words; no number below depends on who reads them
    - `start`: what standard normal noise is multiplied by
    - `clip`: whether images that are seen are kept within [-1, 1]
    - `guidance`, `rescale`: as in guidance.py
    - `steps`: from the noisiest down, each with
        - `time`: of the schedule; for people
        - `condition`: what the network is told, its input `t`
        - `scale`: what x is multiplied by before the network sees it
        - `of_x`, `of_answer`: their sum with these factors is the image that is seen
        - `signal`, `noise`: x = signal * image + noise * eps
        - `guided`: whether guidance is asked for here
        - `next_signal`, `next_noise`, `fresh`: factors of image, eps and new noise in the next x

    Args:
        denoiser: of the model.
        sampling: as `chosen`.

    Raises:
        LoangError: there are more steps than loang reads again.
    """
    schedule = denoiser.schedule
    levels = walking.levels_of(sampling, schedule)
    if len(levels) - 1 > MOST_STEPS:
        raise LoangError(
            f"A walk of {len(levels) - 1:,} steps is too long for a script.",
            f"Choose --steps up to {MOST_STEPS:,}.",
        )
    interval = sampling.guidance_interval or (-1.0, float("inf"))
    one, steps = torch.ones(1, 1, 1, 1), []
    for t, s in pairwise(levels):
        at, then = level(schedule, t), level(schedule, s)
        of_x, of_answer = _seen(denoiser, at.signal, at.noise)
        fresh = 0.0
        if sampling.sampler == "consistency":
            fresh = then.noise
        elif sampling.eta and s > 0:
            variance = process.posterior_variance(schedule, times(t, one), times(s, one))
            fresh = sampling.eta * float(variance) ** 0.5
        steps.append(
            {
                "time": float(t),
                "condition": float(schedule.condition(times(t, one))),
                "scale": 1 / _size(denoiser, t, at.signal, at.noise),
                "of_x": of_x,
                "of_answer": of_answer,
                "signal": at.signal,
                "noise": at.noise,
                "guided": sampling.guidance != 1 and interval[0] < at.sigma <= interval[1],
                "next_signal": then.signal,
                "next_noise": max(then.noise**2 - fresh**2, 0.0) ** 0.5,
                "fresh": fresh,
            }
        )
    return {
        "predicts": denoiser.kind,
        "sampler": sampling.sampler,
        "start": float(schedule.start),
        "clip": denoiser.clip,
        "guidance": sampling.guidance,
        "rescale": sampling.guidance_rescale,
        "steps": steps,
    }


def _seen(denoiser: Denoiser, signal: float, noise: float) -> tuple[float, float]:
    """The factors of x and of the answer in the image: `parameterization.to_x0` is linear."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    factors = one * signal, one * noise, denoiser.deviation
    of_x = parameterization.to_x0(denoiser.kind, zero, one, *factors)
    of_answer = parameterization.to_x0(denoiser.kind, one, zero, *factors)
    return float(of_x), float(of_answer)


def _size(denoiser: Denoiser, t: float, signal: float, noise: float) -> float:
    """What x is divided by before the network sees it, as the denoiser does."""
    if denoiser.kind == "edm":
        return float((noise**2 + (signal * denoiser.deviation) ** 2) ** 0.5)
    schedule = denoiser.schedule
    return float(schedule.size(torch.tensor(t, dtype=torch.float64))) if schedule.start > 1 else 1.0
