"""Ancestral sampling: Ho et al. 2020, algorithm 2, over every level or any subset of them."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import process
from loang.denoiser import DenoiserLike, Estimate
from loang.errors import LoangError
from loang.process import Variance, like
from loang.samplers.state import Noise, State, pairs, times
from loang.schedule import Schedule


def ddpm(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    variance: Variance = "fixed-small",
) -> Iterator[State]:
    """Each step draws from q(x_s | x_t, x_0) with the denoiser's x_0; the last adds no noise.

    Args:
        variance: "fixed-small", "fixed-large", or "learned" by the network between the two
            (Nichol and Dhariwal 2021, eq. 15).

    Raises:
        LoangError: "learned", of a network that learnt none.
    """
    schedule = denoiser.schedule
    for step, t, s in pairs(levels):
        at_t, at_s = times(t, x), times(s, x)
        estimate = denoiser(x, at_t, label)
        yield State(t, x, estimate.x0)
        x = process.posterior_mean(schedule, x, estimate.x0, at_t, at_s)
        if s > 0:
            x = x + _deviation(schedule, estimate, at_t, at_s, variance, x) * noise(step)
    yield State(0, x, x)


def _deviation(
    schedule: Schedule,
    estimate: Estimate,
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
    variance: Variance,
    x: Float[Tensor, "n c h w"],
) -> Float[Tensor, "n ..."]:
    if variance != "learned":
        return like(process.posterior_variance(schedule, t, s, variance).sqrt(), x)
    if estimate.variance is None:
        raise LoangError(
            "This model has learnt no variance.",
            "Take --variance fixed-small or fixed-large; training learns it with"
            " denoiser.learn_variance=true.",
        )
    return (process.learned_log_variance(schedule, t, s, estimate.variance) / 2).exp()
