"""Denoising diffusion implicit models: Song et al. 2021."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang import process
from loang.denoiser import DenoiserLike
from loang.process import like
from loang.samplers.state import Noise, State, pairs, times


def ddim(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    eta: float = 0.0,
) -> Iterator[State]:
    """Song et al. 2021, eq. 12.

    Args:
        eta: 0 is deterministic; 1 has the variance of DDPM's fixed-small (their eq. 16).
    """
    schedule = denoiser.schedule
    for step, t, s in pairs(levels):
        at_t, at_s = times(t, x), times(s, x)
        x0, eps, *_ = denoiser(x, at_t, label)
        yield State(t, x, x0)
        variance = eta**2 * process.posterior_variance(schedule, at_t, at_s, "fixed-small")
        direction = (schedule.noise(at_s).square() - variance).clamp(min=0).sqrt()
        x = like(schedule.signal(at_s), x) * x0 + like(direction, x) * eps
        if eta > 0 and s > 0:
            x = x + like(variance.sqrt(), x) * noise(step)
    yield State(0, x, x)
