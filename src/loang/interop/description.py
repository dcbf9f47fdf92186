"""What goes along with a bare network: all that a sampler elsewhere needs, as plain JSON.

Every number that follows from schedule and parameterisation is written out for each level of the
model's walk, so that whoever draws samples needs no formula but DDIM's.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import loang
from loang import parameterization, process
from loang.denoiser import Denoiser
from loang.guidance import rows_within
from loang.interop.bare_network import BareNetwork
from loang.interop.keras import walk
from loang.model import Model
from loang.schedule import Discrete, Edm, Schedule
from loang.walking import levels_of

FORMAT = 2
"""Raised where an older sampler can't read it any more."""


def describe(model: Model, network: BareNetwork) -> dict[str, Any]:
    """The model without its weights.

    - format, made_by
    - settings, images, facts: as a model file has them
    - network: its inputs and outputs, classes, whether labels can be hidden, what it predicts,
      whether estimates of the image are clipped to [-1, 1]
    - schedule: T, and signal and noise at any time: `alpha_bar` at 0..T, or formulas
    - walk: see `_walk`
    """
    denoiser = model.denoiser
    return {
        "format": FORMAT,
        "made_by": f"loang {loang.__version__}",
        "settings": model.settings.to_dict(),
        "images": model.spec.to_dict(),
        "facts": {name: _plain(value) for name, value in model.facts.items()},
        "network": {
            "inputs": list(network.inputs),
            "outputs": list(network.outputs),
            "classes": denoiser.classes,
            "hides_labels": denoiser.classes > 0 and denoiser.hides_labels,
            "predicts": denoiser.kind,
            "clip": denoiser.clip,
        },
        "schedule": _schedule(denoiser.schedule),
        "walk": _walk(model),
    }


def _walk(model: Model) -> dict[str, Any]:
    """The levels of a walk, noisiest first and t = 0 last, and how to take them.

    It is the model's own if that is DDIM's or a consistency model's, else DDIM's in 50 steps
    (keras/walk.py): few levels that are right for a better sampler are too few for DDIM.

    - sampler: in words
    - start: the factor of the noise that it starts from
    - guidance_rescale: as `guidance.py` has it
    - levels: t; signal and noise, x_t = signal * x_0 + noise * eps; size, that x_t is divided by
      for the network; condition, that the network is told; of_x and of_prediction, with which
      x_0 = of_x * x_t + of_prediction * prediction; guidance, its scale, 1 for none; of_eps and
      of_fresh, the factors of eps and of new noise in the next x. The last, of t = 0, has the
      first three alone.
    """
    denoiser, sampling = model.denoiser, walk.chosen(model)
    schedule = denoiser.schedule
    times = [
        torch.tensor([t], dtype=torch.long if isinstance(t, int) else torch.float64)
        for t in levels_of(sampling, schedule)
    ]
    levels = []
    for t, s in pairwise(times):
        signal, noise = schedule.signal(t), schedule.noise(t)
        fresh, left = torch.zeros_like(noise), schedule.noise(s)
        if sampling.sampler == "consistency":
            fresh = left
        elif sampling.eta and s > 0:
            fresh = sampling.eta * process.posterior_variance(schedule, t, s).sqrt()
        within = len(rows_within(schedule, t, sampling.guidance_interval)) > 0
        level: dict[str, Tensor | float] = {"t": t, "signal": signal, "noise": noise}
        level |= _estimate(denoiser, signal, noise)
        level["size"] = _size(denoiser, t)
        level["condition"] = schedule.condition(t)
        level["guidance"] = sampling.guidance if within else 1.0
        level["of_eps"] = (left.square() - fresh.square()).clamp(min=0).sqrt()
        level["of_fresh"] = fresh
        levels.append(level)
    t = times[-1]
    levels.append({"t": t, "signal": schedule.signal(t), "noise": schedule.noise(t)})
    return {
        "sampler": sampling.sampler,
        "start": float(schedule.start),
        "guidance_rescale": sampling.guidance_rescale,
        "levels": [{name: float(value) for name, value in each.items()} for each in levels],
    }


def _estimate(denoiser: Denoiser, signal: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """An estimate of the image is linear in x_t and the prediction: its two factors."""
    one, zero = torch.ones_like(signal), torch.zeros_like(signal)

    def x0(prediction: Tensor, x_t: Tensor) -> Tensor:
        kind, deviation = denoiser.kind, denoiser.deviation
        return parameterization.to_x0(kind, prediction, x_t, signal, noise, deviation)

    return {"of_x": x0(zero, one), "of_prediction": x0(one, zero)}


def _size(denoiser: Denoiser, t: Tensor) -> Tensor | float:
    """What the denoiser divides x_t by before the network sees it."""
    schedule = denoiser.schedule
    if denoiser.kind == "edm":
        signal, noise = schedule.signal(t), schedule.noise(t)
        return parameterization.edm_size(signal, noise, denoiser.deviation)
    return schedule.size(t) if schedule.start > 1 else 1.0


def _plain(value: Any) -> Any:
    """A fact for JSON, which has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _schedule(schedule: Schedule) -> dict[str, Any]:
    about: dict[str, Any] = {"name": schedule.name, "T": float(schedule.T)}
    if isinstance(schedule, Discrete):
        formulas = {"signal": "sqrt(alpha_bar[t])", "noise": "sqrt(1 - alpha_bar[t])"}
        return about | formulas | {"alpha_bar": schedule.alpha_bar.tolist()}
    if isinstance(schedule, Edm):
        return about | {"signal": "1", "noise": "t", "condition": "100 log(t)"}
    return about | {"signal": "1 - t", "noise": "t", "condition": "1000 t"}
