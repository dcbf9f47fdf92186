"""Sampling of a model that leaps to the image from any level: Song et al. 2023."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang import process
from loang.denoiser import DenoiserLike
from loang.samplers.state import Noise, State, pairs, times


def consistency(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Song et al. 2023, algorithm 1: leap to the image, and go back to the next level by new noise.

    For a model that was distilled by `distillation.method` consistency or tuning. Of any other the
    image at each level is a mean of all that x may come from, so walks of a few steps are blurred.
    """
    schedule = denoiser.schedule
    for step, t, s in pairs(levels):
        x0 = denoiser(x, times(t, x), label).x0
        yield State(t, x, x0)
        x = process.diffuse(schedule, x0, times(s, x), noise(step)) if s > 0 else x0
    yield State(0, x, x)
