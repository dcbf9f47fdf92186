"""DPM-Solver++: Lu et al. 2022b, "Fast solver for guided sampling of diffusion models".

The image that the denoiser sees changes slowly in lambda = log(signal / noise), so it is
extrapolated there, and everything else of the step is exact.
"""

import math
from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.level import along, straight
from loang.samplers.multistep import exponential, midpoint, multistep
from loang.samplers.state import Noise, State, times


def dpmpp_2m(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Their algorithm 2: order 2."""
    return multistep(denoiser, x, levels, label, order=2, of="x0", weights=midpoint)


def dpmpp_3m(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Order 3: a parabola through three estimates, integrated exactly.

    Codes in wide use take half of its second difference, and have order 2 for it.
    """
    return multistep(denoiser, x, levels, label, order=3, of="x0", weights=exponential)


def dpmpp_2m_sde(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Their section 3.3's SDE, by the midpoint: with one estimate a step it would be DDPM."""
    before = None
    for step, t, s in along(denoiser.schedule, levels):
        estimate = denoiser(x, times(t.t, x), label)
        yield State(t.t, x, estimate.x0)
        x0 = estimate.x0
        if s.t == 0:
            x = straight(x, x0, t, s)
            break
        h = s.lam - t.lam
        if before:
            x0 = x0 + h / (2 * (t.lam - before[0].lam)) * (x0 - before[1])
        before = t, estimate.x0
        kept, drawn = math.exp(-h), -math.expm1(-2 * h)
        x = s.noise / t.noise * kept * x + s.signal * drawn * x0
        x = x + s.noise * math.sqrt(drawn) * noise(step)
    yield State(0, x, x)
