"""DEIS and iPNDM: Adams and Bashforth's methods for the noise that the denoiser sees.

In y = x / signal the probability-flow ODE is dy = eps dsigma.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.level import Level
from loang.samplers.multistep import integrals, multistep, points
from loang.samplers.state import Noise, State
from loang.schedule import Schedule

# Of the older slopes, in units of the step: Adams and Bashforth's methods of order 1 to 4.
EVEN = {1: (), 2: (-1 / 2,), 3: (-16 / 12, 5 / 12), 4: (-59 / 24, 37 / 24, -9 / 24)}


def deis(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """tAB-DEIS of order 3: eps is a parabola of the time (Zhang and Chen 2023, eq. 14-15)."""
    return multistep(denoiser, x, levels, label, order=3, of="eps", weights=in_time)


def ipndm(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Improved PNDM, of order 4 (Liu et al. 2022; Zhang and Chen 2023).

    Its coefficients are those of even steps whatever the levels, as in the published tables: order
    4 for levels that are even in sigma, lower for others, and steadier for few steps.
    """
    return multistep(denoiser, x, levels, label, order=4, of="eps", weights=even)


def in_time(schedule: Schedule, levels: Sequence[Level], s: Level) -> Sequence[float]:
    """The noise as a polynomial of the time, integrated over sigma."""
    at, shares = points(np.log(levels[0].sigma), np.log(s.sigma))
    sigma = np.exp(at)
    t = schedule.times(torch.from_numpy(sigma)).numpy()
    return integrals([level.t for level in levels], t, shares * sigma)[1:]


def even(schedule: Schedule, levels: Sequence[Level], s: Level) -> Sequence[float]:
    """The noise as a polynomial through even steps of sigma."""
    return [(s.sigma - levels[0].sigma) * share for share in EVEN[len(levels)]]
