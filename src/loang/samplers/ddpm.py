"""Ancestral sampling: Ho et al. 2020, algorithm 2, over every level or any subset of them."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang import process
from loang.denoiser import DenoiserLike
from loang.process import Variance, like
from loang.samplers.state import Noise, State, pairs, times


def ddpm(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[int],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    variance: Variance = "fixed-small",
) -> Iterator[State]:
    """Each step draws from q(x_s | x_t, x_0) with the denoiser's x_0; the last adds no noise."""
    schedule = denoiser.schedule
    for step, t, s in pairs(levels):
        at_t, at_s = times(t, x), times(s, x)
        x0 = denoiser(x, at_t, label).x0
        yield State(t, x, x0)
        x = process.posterior_mean(schedule, x, x0, at_t, at_s)
        if s > 0:
            deviation = process.posterior_variance(schedule, at_t, at_s, variance).sqrt()
            x = x + like(deviation, x) * noise(step)
    yield State(0, x, x)
