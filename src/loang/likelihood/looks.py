"""At which times the sum of the variational bound is looked at, and what each look counts for.

The bound is a sum over all T steps, or an integral over the SNR. Some looks an image, drawn so that
each counts for what it stands for, give the same on average. They are drawn where the most is to be
seen: on Gaussian data of variance v the steps from one SNR to another win half of

    log(1 + v SNR(s)) - log(1 + v SNR(t))

nats a value, exactly, and on images nearly so. The looks of one image are spread evenly over it,
one in each of as many equal parts: this varies much less than draws that know nothing of one
another (Kingma et al. 2021, appendix I.1).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from loang.schedule import Discrete, Schedule
from loang.schedule.base import widest

VARIANCE = 0.25
"""Of images' values in [-1, 1], about. It decides where looks fall, never what they come to."""
EVENLY = 0.1
"""The share of looks that fall on any step of a discrete schedule alike: none is missed."""


class Look(NamedTuple):
    """One time for each image, and what the look counts for.

    `weight` is the number of steps that it stands for; where time is real, the SNR that it does.
    """

    t: Real[Tensor, " n"]
    weight: Float[Tensor, " n"]


Uniform = Callable[[int], Float[Tensor, " n"]]
"""Numbers in [0, 1) for look 0, 1, ..., one an image."""


def every(schedule: Discrete, images: int, at: torch.device) -> Iterator[Look]:
    """Each step from T to 2, once: the sum itself."""
    for t in range(schedule.T, 1, -1):
        yield Look(
            torch.full((images,), t, device=at),
            torch.ones(images, dtype=widest(at), device=at),
        )


def drawn(schedule: Schedule, count: int, uniform: Uniform) -> Iterator[Look]:
    """So many looks an image, spread evenly over what there is to see.

    Args:
        schedule: discrete, and the looks are of the steps T..2; or of real time, first..T.
        count: 1 or more.
        uniform: the places within the parts.
    """
    look = _of_steps if isinstance(schedule, Discrete) else _of_real_time
    for number in range(count):
        yield look(schedule, count, (number + uniform(number)) / count)


def _of_steps(schedule: Schedule, count: int, place: Float[Tensor, " n"]) -> Look:
    t = torch.arange(1, int(schedule.T) + 1, device=place.device)
    seen = _seen(schedule, t)
    chance = (seen[:-1] - seen[1:]) / (seen[0] - seen[-1])  # of t = 2, 3, ..., T
    chance = EVENLY / len(chance) + (1 - EVENLY) * chance
    ends = chance.cumsum(0)
    found = torch.searchsorted(ends, place * ends[-1], right=True).clamp(max=len(chance) - 1)
    return Look(found + 2, 1 / (count * chance[found]))


def _of_real_time(schedule: Schedule, count: int, place: Float[Tensor, " n"]) -> Look:
    most, least = _seen(
        schedule, torch.tensor([schedule.first, schedule.T], dtype=place.dtype).to(place.device)
    )
    # Turned round: log(1 + v SNR) = seen.
    seen = least + place * (most - least)
    snr = torch.expm1(seen) / VARIANCE
    weight = (most - least) / count * (1 / VARIANCE + snr)  # d SNR / d seen
    return Look(schedule.times(snr.rsqrt()), weight)


def _seen(schedule: Schedule, t: Real[Tensor, " times"]) -> Float[Tensor, " times"]:
    return (VARIANCE * schedule.log_snr(t).exp()).log1p()
