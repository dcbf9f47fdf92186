"""Gaussians as likelihoods need them: how far two lie apart, and what one gives a bin of values."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

NARROW = 1e-3
"""Of a bin, in standard deviations: below it the density times its width is right to 1e-7."""


def kl(
    mean1: Float[Tensor, "*shape"],
    log_var1: Float[Tensor, "..."],
    mean2: Float[Tensor, "*shape"],
    log_var2: Float[Tensor, "..."],
) -> Float[Tensor, "*shape"]:
    """KL(N(mean1, var1) || N(mean2, var2)) of each value, in nats.

    The variances are given by their logarithms, and broadcast.
    """
    apart = (mean1 - mean2).square() * (-log_var2).exp()
    ratio = log_var1 - log_var2
    # expm1: for nearly equal variances nothing cancels.
    return (torch.expm1(ratio) - ratio + apart) / 2


def discretized_log_likelihood(
    x: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*shape"],
    log_var: Float[Tensor, "..."],
    levels: int = 256,
) -> Float[Tensor, "*shape"]:
    """log of what N(mean, var) gives the bin of each value, in nats (Ho et al. 2020, eq. 13).

    [-1, 1] has so many levels, 2 / (levels - 1) apart; each has the bin around it, the first and
    the last also all that lies beyond. The sum over the levels is 1. Exact far from the mean too,
    where the difference of two cumulative functions is nothing but rounding.

    Args:
        x: values at the levels.
        mean: of the Gaussian of each value.
        log_var: its variance's logarithm; broadcast.
        levels: 256 for 8 bits, 65,536 for 16; there float64 is needed.
    """
    half = 1 / (levels - 1)
    scale = (-log_var / 2).exp()
    from_mean = x - mean
    low, high = (from_mean - half) * scale, (from_mean + half) * scale
    below = torch.special.log_ndtr(high)  # of the first level
    above = torch.special.log_ndtr(-low)  # of the last
    # The same bin seen from the other side where it lies right of the mean: the smaller tails.
    right = from_mean > 0
    near = torch.where(right, above, below)
    far = torch.special.log_ndtr(torch.where(right, -high, low))
    # The clamp keeps gradients finite where the other form is taken.
    inside = near + torch.log1p(-(far - near).clamp(max=-NARROW / 10).exp())
    width = high - low
    density = width.log() - (from_mean * scale).square() / 2 - math.log(2 * math.pi) / 2
    inside = torch.where(width < NARROW, density, inside)
    inside = torch.where(x > 1 - half, above, inside)
    return torch.where(x < half - 1, below, inside)
