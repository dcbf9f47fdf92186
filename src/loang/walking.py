"""How a model walks from noise to images: the sampler of its settings, step by step."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from loang import device, samplers
from loang.config import SamplingSettings
from loang.denoiser import Denoiser, DenoiserLike
from loang.guidance import Guided
from loang.samplers import Sampler, State
from loang.self_conditioning import SelfConditioned


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
    training = [network.training for network in networks]
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
        for network, mode in zip(networks, training, strict=True):
            network.train(mode)
