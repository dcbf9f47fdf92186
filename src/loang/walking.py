"""How a model walks from noise to images: the sampler of its settings, step by step."""

from collections.abc import Iterator

import torch
from torch import nn

from loang import device, samplers
from loang.config import SamplingSettings
from loang.samplers import Sampler, State


def sampler_of(sampling: SamplingSettings) -> Sampler:
    """The sampler that settings name, with the options that it knows."""
    return samplers.named(
        sampling.sampler,
        eta=sampling.eta,
        variance=sampling.variance,
        churn=sampling.churn,
        tolerance=sampling.tolerance,
    )


def in_evaluation(
    network: nn.Module, walk: Iterator[State], at: torch.device, dtype: torch.dtype | None
) -> Iterator[State]:
    """The states of a walk, the network in evaluation mode and no gradients kept meanwhile.

    Args:
        network: is put back into the mode that it was in, however the walk ends.
        walk: what a sampler yields.
        at: where it computes.
        dtype: for `device.autocast`.
    """
    training = network.training
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
        network.train(training)
