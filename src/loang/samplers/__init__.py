"""Samplers: from noise to images, one generator of states a family."""

from functools import partial

from loang.process import Variance
from loang.samplers.ddim import ddim
from loang.samplers.ddpm import ddpm
from loang.samplers.state import Noise, Sampler, State

NAMES = ("ddim", "ddpm")

__all__ = ["NAMES", "Noise", "Sampler", "State", "ddim", "ddpm", "named"]


def named(
    name: str,
    *,
    eta: float = 0.0,
    variance: Variance = "fixed-small",
    churn: float = 0.0,
    tolerance: float = 1e-3,
) -> Sampler:
    """The sampler of that name, with the options that it knows.

    Raises:
        KeyError: there is none of that name in `NAMES`.
    """
    samplers: dict[str, Sampler] = {
        "ddim": partial(ddim, eta=eta),
        "ddpm": partial(ddpm, variance=variance),
    }
    return samplers[name]
