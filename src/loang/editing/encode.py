"""From images to latents and back, by the probability-flow ODE (Song et al. 2021b, eq. 13).

Each image has one latent, that is close to standard normal noise, and each latent one image. The
ODE is solved in the angle whose tangent is noise / signal: of z = cos(angle) x0 + sin(angle) eps,
which is x / sqrt(signal² + noise²), the slope is v = cos(angle) eps - sin(angle) x0 (Salimans and
Ho 2022, appendix D), finite at both ends.

By the classical Runge-Kutta method of order 4, its steps finest at both ends. With 100 evaluations
each way, on 32 images of Fashion-MNIST and a network of the preset `quick`, the largest error of an
image that was encoded and decoded was 0.004 of [-1, 1], where Heun's method with the same
evaluations left 0.015 and Euler's, which is DDIM, 0.3.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import Denoiser, DenoiserLike
from loang.process import like
from loang.schedule import Schedule
from loang.schedule.base import widest

EVALUATIONS = 100
STAGES = 4
"""Evaluations of a step."""
MOST_SIGMA = 200.0
"""Where a latent lies: x then holds half a percent of the image. Further up nothing is left to
encode, and an eps-network's estimate of the image is noise, multiplied."""

_Images = Float[Tensor, "n c h w"]


def unclipped(denoiser: Denoiser) -> Denoiser:
    """The same network, its estimates of the image left as they are.

    Where they are cut to [-1, 1] the flow is another than that of what was learnt; there is a way
    back from that as well.
    """
    same = Denoiser(denoiser.network, denoiser.schedule, denoiser.kind, False, denoiser.deviation)
    return same.train(denoiser.training)


def encode(
    denoiser: DenoiserLike,
    x0: _Images,
    evaluations: int = EVALUATIONS,
    label: Int[Tensor, " n"] | None = None,
) -> _Images:
    """The latents of images: about standard normal where the denoiser knows such images.

    An image is taken for what x is at the least noisy time that was trained, `schedule.first`.

    Args:
        denoiser: best one that does not clip: see `unclipped`.
        x0: in [-1, 1].
        evaluations: of the denoiser, rounded up to a multiple of 4.
        label: one an image.
    """
    return _solve(denoiser, x0, angles(denoiser.schedule, evaluations), label)


def decode(
    denoiser: DenoiserLike,
    latents: _Images,
    evaluations: int = EVALUATIONS,
    label: Int[Tensor, " n"] | None = None,
) -> _Images:
    """The images of latents: the inverse of `encode`, up to the solver's error both ways."""
    return _solve(denoiser, latents, angles(denoiser.schedule, evaluations)[::-1], label)


def angles(schedule: Schedule, evaluations: int) -> list[float]:
    """The rising angles between the steps, equally spaced in sqrt(angle) - sqrt(pi/2 - angle).

    Raises:
        ValueError: there are no evaluations.
    """
    if evaluations < 1:
        raise ValueError(f"{evaluations} evaluations")
    ends = torch.tensor([schedule.first, schedule.T], dtype=torch.float64)
    quarter = math.pi / 2
    least, most = schedule.sigma(ends).clamp(max=MOST_SIGMA).atan().tolist()
    low, high = (math.sqrt(end) - math.sqrt(quarter - end) for end in (least, most))
    steps = math.ceil(evaluations / STAGES)
    spread = [low + (high - low) * step / steps for step in range(steps + 1)]
    inner = [((u + math.sqrt(2 * quarter - u**2)) / 2) ** 2 for u in spread[1:-1]]
    return [least, *inner, most]


def _solve(
    denoiser: DenoiserLike, z: _Images, path: list[float], label: Int[Tensor, " n"] | None
) -> _Images:
    """Kutta 1901, the classical method."""

    def slope(z: _Images, angle: float) -> _Images:
        return _velocity(denoiser, z, angle, label)

    for start, stop in pairwise(path):
        step = stop - start
        middle = start + step / 2
        first = slope(z, start)
        second = slope(z + step / 2 * first, middle)
        third = slope(z + step / 2 * second, middle)
        fourth = slope(z + step * third, stop)
        z = z + step / 6 * (first + 2 * second + 2 * third + fourth)
    return z


def _velocity(
    denoiser: DenoiserLike, z: _Images, angle: float, label: Int[Tensor, " n"] | None
) -> _Images:
    schedule = denoiser.schedule
    sigma = torch.full((len(z),), math.tan(angle), dtype=widest(z.device), device=z.device)
    t = schedule.times(sigma)
    # Not `schedule.size`, which leaves x as it is where signal² + noise² is less than 1.
    size = (schedule.signal(t).square() + schedule.noise(t).square()).sqrt()
    estimate = denoiser(like(size, z) * z, t, label)
    return math.cos(angle) * estimate.eps - math.sin(angle) * estimate.x0
