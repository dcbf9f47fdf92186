"""How a model walks from noise to images: which sampler, which levels, guided by what."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from loang import device, samplers
from loang.config import SamplingSettings, Settings
from loang.denoiser import Denoiser, DenoiserLike
from loang.errors import LoangError
from loang.guidance import Guided
from loang.samplers import Sampler, State
from loang.schedule import Schedule
from loang.self_conditioning import SelfConditioned


def chosen(sampling: SamplingSettings, schedule: Schedule) -> SamplingSettings:
    """The same, with what was measured best for so many evaluations in the place of "auto"."""
    if sampling.sampler != "auto":
        return sampling
    steps = sampling.steps if sampling.levels is None else len(sampling.levels)
    best = samplers.best(samplers.kind_of(schedule), steps)
    update = {"sampler": best.sampler, "steps": best.steps}
    if sampling.spacing is None:
        update["spacing"] = best.spacing
    return sampling.model_copy(update=update)


def levels_of(sampling: SamplingSettings, schedule: Schedule) -> list[float]:
    """The times that a walk visits, from the noisiest down to 0.

    Raises:
        LoangError: given levels do not fall, or there are more steps than the schedule has.
    """
    sampling = chosen(sampling, schedule)
    most = schedule.most_steps
    if sampling.levels is None and not 1 <= sampling.steps <= most:
        raise LoangError(
            f"This model can't be sampled in {sampling.steps} steps.",
            f"Its schedule has {most}: choose --steps from 1 to {most}.",
        )
    try:
        return schedule.levels(sampling.steps, sampling.levels or sampling.spacing)
    except ValueError:
        raise LoangError(
            f"The levels {', '.join(f'{t:g}' for t in sampling.levels or ())} are not falling times"
            f" of this model, whose times go from {schedule.T:g} down to 0.",
            f"Write them from the noisiest down: --levels {schedule.T:g},{schedule.T / 2:g}.",
        ) from None


def check_walk(
    settings: Settings,
    schedule: Schedule,
    sampling: SamplingSettings,
    levels: Sequence[float] | None = None,
) -> None:
    """Whether a model has learnt such a walk: a distilled one knows its own, and its last leaps.

    Args:
        settings: the model's.
        schedule: the model's.
        sampling: what is asked of it.
        levels: that it is walked along; None takes those of `sampling`.

    Raises:
        LoangError: it would be asked for steps that it never learnt.
    """
    if not settings.distilled:
        return
    own, sampling = settings.sampling, chosen(sampling, schedule)
    known, leaps = levels_of(own, schedule), settings.distillation.method == "leaps"
    asked = list(levels or levels_of(sampling, schedule))
    if sampling.sampler == own.sampler and not (
        leaps and (sampling.eta > 0 or asked != known[-len(asked) :])
    ):
        return
    count = len(known) - 1
    raise LoangError(
        f"This model was distilled to leap from level to level in {count} step{'s' * (count != 1)},"
        " and has learnt no other walk."
        if leaps
        else f"This model was distilled to leap to the image, and has learnt no steps of"
        f" {sampling.sampler}.",
        "Leave sampler, steps and levels to it, or ask the model that it was distilled from.",
    )


def check_means(settings: Settings, what: str) -> None:
    """Whether a model's answer is the mean image at any level, and not the end of a leap.

    Args:
        settings: the model's.
        what: a sentence's subject, that needs such answers.

    Raises:
        LoangError: it is distilled.
    """
    if settings.distilled:
        raise LoangError(
            f"{what} is made of mean images, at any noise level; this model was distilled to"
            " leap, and knows none.",
            "Ask the model that it was distilled from.",
        )


def described(sampling: Mapping[str, Any]) -> str:
    """A way of sampling in words: "ddim, 50 steps, eta 0".

    Args:
        sampling: values of `SamplingSettings`, not all of them if they are of an older version.
    """
    name = sampling["sampler"]
    options = samplers.METHODS[name].options if name in samplers.METHODS else ()
    said = [name, f"{sampling['steps']} steps"]
    if levels := sampling.get("levels"):
        said[1] = "levels " + " ".join(f"{t:g}" for t in levels)
    elif spacing := sampling.get("spacing"):
        said[1] += f" spaced by {spacing}"
    said += [f"{key} {_number(sampling[key])}" for key in options if key in sampling]
    if (scale := sampling.get("guidance", 1)) != 1:
        interval = sampling.get("guidance_interval")
        where = "" if interval is None else " for noise {:g} to {:g}".format(*interval)
        said.append(f"guidance {scale:g}{where}")
        if rescale := sampling.get("guidance_rescale"):
            said.append(f"rescaled by {rescale:g}")
    return ", ".join(said)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sampler_of(sampling: SamplingSettings) -> Sampler:
    """The sampler that settings name, with the options that it knows."""
    return samplers.named(
        sampling.sampler,
        eta=sampling.eta,
        variance=sampling.variance,
        churn=sampling.churn,
        tolerance=sampling.tolerance,
    )


def seen_by(
    denoiser: Denoiser, sampling: SamplingSettings, guide: Denoiser | None = None
) -> DenoiserLike:
    """What the sampler of one walk sees: the denoiser, guided and shown its own last estimate.

    Raises:
        LoangError: guidance by a label of a model that knows none, or by an unlike guide.
    """
    seen: Denoiser | Guided = denoiser
    if sampling.guidance != 1:
        seen = Guided(
            denoiser,
            sampling.guidance,
            interval=sampling.guidance_interval,
            rescale=sampling.guidance_rescale,
            guide=guide,
        )
    return SelfConditioned(seen) if seen.self_conditioned else seen


def in_evaluation(
    networks: Sequence[nn.Module],
    walk: Iterator[State],
    at: torch.device,
    dtype: torch.dtype | None,
) -> Iterator[State]:
    """The states of a walk, networks in evaluation mode and no gradients kept meanwhile.

    Args:
        networks: are put back into the modes that they were in, however the walk ends.
        walk: what a sampler yields.
        at: where it computes.
        dtype: for `device.autocast`.
    """
    training, over = [network.training for network in networks], sys.is_finalizing
    for network in networks:
        network.eval()
    try:
        while True:
            # Entered anew for each step: a generator must not leave a mode behind it.
            with torch.inference_mode(), device.autocast(at, dtype):
                state = next(walk, None)
            if state is None:
                return
            yield state
    finally:
        if not over():  # a walk that was left alone may end when torch is no more
            for network, mode in zip(networks, training, strict=True):
                network.train(mode)
