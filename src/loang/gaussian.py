"""Two things that the variational bound asks of Gaussians: a distance, and a likelihood of pixels.

Both are in nats for each value of an image, so that a mean over values is comparable between
sizes; divided by log(2) they are bits.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from loang.schedule.base import widest

FAR = 100.0
"""Standard deviations that are as good as infinitely many."""


def kl(
    mean: Float[Tensor, "*#shape"],
    log_variance: Float[Tensor, "*#shape"],
    other_mean: Float[Tensor, "*#shape"],
    other_log_variance: Float[Tensor, "*#shape"],
) -> Float[Tensor, "..."]:
    """KL(N(mean, variance) || N(other mean, other variance)) of each value, in nats.

    Shapes are broadcast. Nichol and Dhariwal 2021, eq. 6: L_t, between posterior and model.
    """
    apart = log_variance - other_log_variance
    distance = (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (apart.exp() - 1 - apart + distance)


def discretized_log_likelihood(
    x: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*#shape"],
    log_variance: Float[Tensor, "*#shape"],
    levels: int = 256,
) -> Float[Tensor, "*shape"]:
    """log P(x) of each value, in nats, for pixels of so many levels (Ho et al. 2020, eq. 13).

    The Gaussian's share of the interval around x; the first and the last interval reach to
    infinity, so that all levels' shares add up to 1. Nothing is rounded away: a pixel a thousand
    standard deviations off still has a likelihood and a gradient.

    Args:
        x: values in [-1, 1], where the levels lie evenly from -1 to 1.
        mean: broadcast to x's shape, as is the next.
        log_variance: natural logarithm.
        levels: 2 or more; 256 for 8 bits.
    """
    dtype = widest(x.device)
    half = 1 / (levels - 1)
    off, deviation = x.to(dtype) - mean.to(dtype), (0.5 * log_variance.to(dtype)).exp()
    low, high = (off - half) / deviation, (off + half) / deviation
    low = torch.where(x < -1 + half, high.clamp(max=0) - FAR, low)
    high = torch.where(x > 1 - half, low.clamp(min=0) + FAR, high)
    # Of two intervals that mirror one another, that in the lower tail is the exact one.
    mirrored = low + high > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    below, up_to = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return (up_to + torch.log(-torch.expm1(below - up_to))).to(x.dtype)
