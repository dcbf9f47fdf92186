"""Heun's method: Karras et al. 2022, algorithms 1 and 2."""

import math
from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.level import Level, along, level, straight
from loang.samplers.state import Noise, State, times
from loang.schedule import Schedule

FAR = 1000.0
"""The sigma above which nothing of an image is left that a slope of sigma could hold on to."""


def heun(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    churn: float = 0.0,
    least: float = 0.05,
    most: float = 50.0,
    inflation: float = 1.003,
) -> Iterator[State]:
    """Order 2, by two evaluations a step and one at the last.

    dy = eps dsigma for y = x / signal, and as well d(x / noise) = x0 d(1 / sigma). A step takes
    the mean of eps at both its ends, as they do, or from far beyond their levels that of x0: a
    cosine schedule starts from a sigma of thousands, and one of zero terminal SNR from infinity.

    Args:
        churn: how much noise is put in and taken out again over the whole walk, S_churn.
        least: sigma = noise / signal below which none is put in, S_min.
        most: sigma above which none is put in, S_max; nor beyond that of the time T.
        inflation: standard deviation of that noise, S_noise; these three as for their ImageNet
            model (table 5). 1 is right for an exact denoiser.
    """
    schedule = denoiser.schedule
    gain = min(churn / (len(levels) - 1), math.sqrt(2) - 1) if churn else 0.0
    for step, t, s in along(schedule, levels):
        start, stirred = t, x
        if gain and least <= t.sigma <= most:
            start = _noisier(schedule, t, gain)
            if start.sigma > t.sigma:
                size = inflation * math.sqrt(start.sigma**2 - t.sigma**2)
                stirred = start.signal * (x / t.signal + size * noise(step))
        estimate = denoiser(stirred, times(start.t, x), label)
        yield State(t.t, x, estimate.x0)
        x = straight(stirred, estimate.x0, start, s)
        if s.t > 0:
            end = denoiser(x, times(s.t, x), label)
            if start.sigma < FAR:
                x = x + s.signal * (s.sigma - start.sigma) / 2 * (end.eps - estimate.eps)
            else:
                way = s.signal - s.noise * start.signal / start.noise
                x = x + way / 2 * (end.x0 - estimate.x0)
    yield State(0, x, x)


def _noisier(schedule: Schedule, t: Level, gain: float) -> Level:
    """The level whose sigma is larger by that share, or that of T."""
    return level(schedule, schedule.time(t.sigma * (1 + gain)))
