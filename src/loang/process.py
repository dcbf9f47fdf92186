"""The diffusion process: the paper's distributions between any two times s < t.

Numbers in brackets are the article's equations (docs/article.md); those of Ho et al. 2020 are
named so. Times are in 0..T, one an image; coefficients are computed in float64. The numbered
forms are those of a schedule with signal² + noise² = 1; what stands here holds for every schedule.
"""

from typing import Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

from loang.schedule import Schedule

Variance = Literal["fixed-small", "fixed-large", "learned"]
Fixed = Literal["fixed-small", "fixed-large"]


def diffuse(
    schedule: Schedule,
    x0: Float[Tensor, "n *shape"],
    t: Real[Tensor, " n"],
    eps: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """x_t ~ q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I): (3), Ho et al. eq. 4."""
    return like(schedule.signal(t), x0) * x0 + like(schedule.noise(t), x0) * eps


def diffuse_between(
    schedule: Schedule,
    x_s: Float[Tensor, "n *shape"],
    s: Real[Tensor, " n"],
    t: Real[Tensor, " n"],
    eps: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """x_t ~ q(x_t | x_s) for s < t: (2), which is the case s = t - 1; Ho et al. eq. 2."""
    alpha = alpha_between(schedule, s, t)
    beta = beta_between(schedule, s, t)
    return like(alpha.sqrt(), x_s) * x_s + like(beta.sqrt(), x_s) * eps


def alpha_between(
    schedule: Schedule, s: Real[Tensor, " n"], t: Real[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """alpha_bar_t / alpha_bar_s: alpha_t for s = t - 1, and right for any step that skips times."""
    return (schedule.signal(t) / schedule.signal(s)).square()


def beta_between(
    schedule: Schedule, s: Real[Tensor, " n"], t: Real[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The variance of q(x_t | x_s): beta_t for s = t - 1, where signal² + noise² = 1."""
    return schedule.noise(t).square() - alpha_between(schedule, s, t) * schedule.noise(s).square()


def posterior_mean(
    schedule: Schedule,
    x_t: Float[Tensor, "n *shape"],
    x0: Float[Tensor, "n *shape"],
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
) -> Float[Tensor, "n *shape"]:
    """The mean of q(x_s | x_t, x_0): (4); with a network's x0, (5). Ho et al. eq. 7."""
    alpha = alpha_between(schedule, s, t)
    of_x_t = alpha.sqrt() * (schedule.noise(s) / schedule.noise(t)).square()
    of_x0 = schedule.signal(s) * beta_between(schedule, s, t) / schedule.noise(t).square()
    return like(of_x_t, x_t) * x_t + like(of_x0, x_t) * x0


def posterior_mean_from_eps(
    schedule: Schedule,
    x_t: Float[Tensor, "n *shape"],
    eps: Float[Tensor, "n *shape"],
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
) -> Float[Tensor, "n *shape"]:
    """The same mean, of the noise instead of the image: (16), Ho et al. eq. 11.

    Undefined where alpha_bar_t is 0: there x_t holds no image that could be divided out.
    """
    alpha = alpha_between(schedule, s, t)
    of_eps = beta_between(schedule, s, t) / schedule.noise(t)
    return like(1 / alpha.sqrt(), x_t) * (x_t - like(of_eps, x_t) * eps)


def posterior_variance(
    schedule: Schedule, t: Real[Tensor, " n"], s: Real[Tensor, " n"], kind: Fixed = "fixed-small"
) -> Float[Tensor, " n"]:
    """The variance of the step from t to s.

    `fixed-small` is that of q(x_s | x_t, x_0) (Ho et al. eq. 7), right for an image that is known;
    `fixed-large` is that of q(x_t | x_s), beta, right for data that are N(0, I) where
    signal² + noise² = 1.
    """
    beta = beta_between(schedule, s, t)
    if kind == "fixed-large":
        return beta
    return beta * (schedule.noise(s) / schedule.noise(t)).square()


def posterior_log_variance(
    schedule: Schedule, t: Real[Tensor, " n"], s: Real[Tensor, " n"], kind: Fixed = "fixed-small"
) -> Float[Tensor, " n"]:
    """The logarithm of `posterior_variance`, finite at the last step too.

    The posterior's variance at t = 1 is 0 and its logarithm infinite, so there the likelihood
    takes that of t = 2, under either kind, as Ho et al.'s code does.
    """
    last = s == 0
    two = torch.full_like(t, min(2, schedule.T))
    small = posterior_variance(schedule, two, torch.ones_like(t), "fixed-small")
    variance = posterior_variance(schedule, t, s, kind)
    return torch.where(last, small, variance).log()


def learned_log_variance(
    schedule: Schedule,
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
    share: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """Between the logarithms of the two fixed variances (Nichol and Dhariwal 2021, eq. 15)."""
    small = like(posterior_log_variance(schedule, t, s, "fixed-small"), share)
    large = like(posterior_variance(schedule, t, s, "fixed-large").log(), share)
    return share * large + (1 - share) * small


def x0_from_eps(
    schedule: Schedule,
    x_t: Float[Tensor, "n *shape"],
    eps: Float[Tensor, "n *shape"],
    t: Real[Tensor, " n"],
) -> Float[Tensor, "n *shape"]:
    """The image that x_t was made of, if its noise was eps: (6) put right, Ho et al. eq. 15."""
    return (x_t - like(schedule.noise(t), x_t) * eps) / like(schedule.signal(t), x_t)


def posterior_kl(
    schedule: Schedule,
    mean: Float[Tensor, "n *shape"],
    other: Float[Tensor, "n *shape"],
    t: Real[Tensor, " n"],
    s: Real[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """KL between two Gaussians of the posterior's variance: (17) and (18), in nats an image.

    For s of 1 and more: at s = 0 the variance is 0, and the bound has a likelihood instead.
    """
    squared = (mean - other).flatten(1).square().sum(1)
    return squared / (2 * posterior_variance(schedule, t, s).to(squared.dtype))


def like(coefficient: Float[Tensor, " n"], x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n ..."]:
    """One number an image, in x's type and with as many dimensions."""
    return coefficient.to(x.dtype).reshape(-1, *(1,) * (x.dim() - 1))
