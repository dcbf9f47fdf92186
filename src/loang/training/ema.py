"""An exponential moving average of the weights: what is sampled, and what is kept."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from loang.config import EmaSettings

MODEL_AVERAGE = "ema"
"""The file in a checkpoint of the average that is the model."""


def power_exponent(length: float) -> float:
    """The exponent gamma of the power-function average of a given relative length.

    Karras et al. 2024 (EDM2), section 3.1: the average at step t weights the past as tau**gamma,
    and `length` is the weights' standard deviation divided by t, so it stays the same share of
    the run however long that is: length² = (gamma + 1) / ((gamma + 2)² (gamma + 3)).

    Args:
        length: 0 < length < 0.28, for instance 0.1.
    """
    # (g+2)^2 (g+3) - (g+1) / length^2 = 0, of which the largest real root is wanted.
    inverse = 1 / length**2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-9))


class PowerDecay:
    """The factor of the average at step 1, 2, ...: (1 - 1/step)**(gamma + 1), 0 at the first."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.exponent = power_exponent(length) + 1

    def __call__(self, step: int) -> float:
        """The share that the average keeps at this step."""
        return (1 - 1 / step) ** self.exponent


class ConstantDecay:
    """A constant factor, ramped up so that the first weights are forgotten on short runs too.

    min(decay, (1 + step) / (10 + step)), TensorFlow's rule for `num_updates`. Without it, 60.7 %
    of an average of factor 0.9999 are still the initial weights after 5,000 steps.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, step: int) -> float:
        """The share that the average keeps at this step."""
        return min(self.decay, (1 + step) / (10 + step))


class Ema:
    """The average of some tensors, updated once an optimizer's step.

    Args:
        tensors: name and tensor; copied.
        decay: step (1, 2, ...) -> the share that the average keeps.
    """

    def __init__(
        self, tensors: Iterable[tuple[str, Tensor]], decay: PowerDecay | ConstantDecay
    ) -> None:
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors}
        self.decay = decay

    @torch.no_grad()
    def update(self, tensors: Iterable[tuple[str, Tensor]], step: int) -> None:
        """Move towards the tensors of this step, 1 for the first."""
        if step < 1:
            raise ValueError(f"an average needs step 1 or more, not {step}")
        current = dict(tensors)
        weight = 1 - self.decay(step)
        names = list(self.tensors)
        torch._foreach_lerp_(
            [self.tensors[name] for name in names], [current[name] for name in names], weight
        )


def averages(settings: EmaSettings, weights: Mapping[str, Tensor]) -> dict[str, Ema]:
    """All averages that a run tracks, by their file in a checkpoint.

    That which is the model comes first; those that only snapshots are taken of come after it.

    Args:
        settings: how many, and of which lengths.
        weights: by name; copied.
    """
    decay: PowerDecay | ConstantDecay = ConstantDecay(settings.decay)
    if settings.kind == "power":
        decay = PowerDecay(settings.length)
    found = {MODEL_AVERAGE: Ema(weights.items(), decay)}
    if settings.snapshots:
        for number, length in enumerate(settings.snapshot_lengths, 1):
            found[f"{MODEL_AVERAGE}-{number}"] = Ema(weights.items(), PowerDecay(length))
    return found


@contextlib.contextmanager
def lent(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """A network has other weights for a while, and then its own again, bit for bit."""
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(dict(weights))
    try:
        yield
    finally:
        network.load_state_dict(own)


@contextlib.contextmanager
def filled(network: nn.Module, weights: Mapping[str, Tensor], on: torch.device) -> Iterator[None]:
    """A network in main memory has these weights, and lies on a device for a while."""
    network.load_state_dict(dict(weights))
    network.to(on)
    try:
        yield
    finally:
        network.to("cpu")
