"""Leaps of a student's walk: the levels that they go between, and where one leads.

Levels are counted by their angle, atan(noise / signal), from 0 of an image to pi / 2 of pure noise.
It is the cosine schedule's own time, and the same for every schedule.
"""

import math

import torch
from jaxtyping import Float, Real
from torch import Tensor

from loang.process import like
from loang.schedule import Schedule


def leaps(schedule: Schedule, steps: int) -> list[float]:
    """The levels between which a student of so many steps leaps: evenly spaced angles, T first.

    Raises:
        ValueError: there can't be so many.
    """
    angles = torch.linspace(math.pi / 2, 0, steps + 1, dtype=torch.float64)[1:-1]
    return schedule.levels(steps, [schedule.round(schedule.time(math.tan(a))) for a in angles])


def step(
    schedule: Schedule,
    x_t: Float[Tensor, "n c h w"],
    x0: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
) -> Float[Tensor, "n c h w"]:
    """DDIM's step from t to s with an image that is given (Song et al. 2021, eq. 12, eta = 0)."""
    of_x_t = schedule.noise(s) / schedule.noise(t)
    of_x0 = schedule.signal(s) - of_x_t * schedule.signal(t)
    return like(of_x0, x_t) * x0 + like(of_x_t, x_t) * x_t


def two_leaps(
    schedule: Schedule,
    first: Float[Tensor, "n c h w"],
    second: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    r: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
) -> Float[Tensor, "n c h w"]:
    """The image whose one step from t to s lands where two do: `first` to r, `second` on to s.

    A weighted mean of the two. It follows from a step in units of the signal, with sigma for
    noise / signal: z_s = x0 + (sigma_s / sigma_t) (z_t - x0). At s = 0 it is `second`.
    """
    sigma_t, sigma_r, sigma_s = schedule.sigma(t), schedule.sigma(r), schedule.sigma(s)
    share = like((1 - sigma_s / sigma_r) / (1 - sigma_s / sigma_t), second)
    return share * second + (1 - share) * first


def angle_of(schedule: Schedule, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The angle of each time."""
    return torch.atan2(schedule.noise(t), schedule.signal(t))
