"""The variational bound: at most so many nats does it take to tell an image by this model.

A person who samples by DDPM draws from a distribution that has a bound on -log p(image): Ho et al.
2020, eq. 5, of three terms,

    L_T        how far x_T is from the noise that a walk starts from
    L_{t-1}    t = 2..T: how far each step's Gaussian is from the one that knew the image
    L_0        what the image costs once x_1 is known

Where time is real, infinitely many steps take the place of the middle terms: Kingma et al. 2021,
eq. 17, half the integral of |x0 - estimate|² over the SNR. All is in nats an image.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import gaussian, process
from loang.denoiser import DenoiserLike, Estimate
from loang.likelihood.looks import Look
from loang.process import Fixed, like
from loang.samplers.state import Noise, times
from loang.schedule import Discrete, Schedule
from loang.schedule.base import widest

FIXED: tuple[Fixed, ...] = ("fixed-small", "fixed-large")


class Terms(NamedTuple):
    """The bound's terms, nats an image; their sum is the bound."""

    prior: Float[Tensor, " n"]
    diffusion: Float[Tensor, " n"]
    decoder: Float[Tensor, " n"]

    @property
    def total(self) -> Float[Tensor, " n"]:
        """The bound on -log p(image)."""
        return self.prior + self.diffusion + self.decoder


def bound(
    denoiser: DenoiserLike,
    x0: Float[Tensor, "n c h w"],
    looks: Iterable[Look],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    *,
    levels: int = 256,
) -> dict[str, Terms]:
    """The bound, by every way of sampling that the same evaluations tell of: each is valid.

    On a discrete schedule these are the variances of a step: "fixed-small", "fixed-large", and
    "learned" where there is one. Where time is real they are what the last step rests on: on the
    network's image ("estimate"), which is better where it is good, or on nothing but x_t
    ("noisy image").

    Args:
        denoiser: as it samples: if it clips, clipping is part of the distribution.
        x0: at the levels of [-1, 1].
        looks: see looks.py; the evaluations are one each, and one more.
        noise: of each look, and of the first time: noise(0).
        label: of each image, for a denoiser that knows them.
        levels: how many values an image's value can have; 256 for 8 bits.
    """
    schedule = denoiser.schedule
    discrete = isinstance(schedule, Discrete)
    estimate, x_t, t = first_look(denoiser, x0, noise(0), label)
    prior = prior_term(schedule, x0)
    fixed = last_log_variance(schedule, x0, t)
    decoder = decoder_term(x0, estimate.x0, fixed, levels)
    decoders = dict.fromkeys(FIXED if discrete else ("estimate",), decoder)
    if not discrete:
        seen = x_t / like(schedule.signal(t), x_t)
        decoders["noisy image"] = decoder_term(x0, seen, fixed, levels)
    elif estimate.variance is not None:
        learned = last_log_variance(schedule, x0, t, estimate.variance)
        decoders["learned"] = decoder_term(x0, estimate.x0, learned, levels)
    sums: dict[str, Tensor] = {}
    for number, (t, weight) in enumerate(looks, start=1):
        x_t = process.diffuse(schedule, x0, t, noise(number))
        estimate = denoiser(x_t, t, label)
        if discrete:
            found = _steps(schedule, x0, x_t, estimate, t)
        else:
            found = {"": _summed((estimate.x0 - x0).square()) / 2}
        for way, term in found.items():
            sums[way] = sums.get(way, torch.zeros_like(prior)) + weight * term
    if discrete:
        return {way: Terms(prior, term, decoders[way]) for way, term in sums.items()}
    return {way: Terms(prior, sums[""], decoder) for way, decoder in decoders.items()}


def first_look(
    denoiser: DenoiserLike,
    x0: Float[Tensor, "n c h w"],
    eps: Float[Tensor, "n c h w"],
    label: Int[Tensor, " n"] | None = None,
) -> tuple[Estimate, Float[Tensor, "n c h w"], Real[Tensor, " n"]]:
    """What the denoiser sees at the first time, x at that time, and the time."""
    schedule = denoiser.schedule
    t = times(schedule.first, x0)
    x_t = process.diffuse(schedule, x0, t, eps)
    return denoiser(x_t, t, label), x_t, t


def prior_term(schedule: Schedule, x0: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """L_T: KL of q(x_T | x_0) from the noise that walks start from, N(0, start²)."""
    t = times(schedule.T, x0)
    mean = like(schedule.signal(t), x0) * x0
    log_var = like(2 * schedule.noise(t).log(), x0)
    start = torch.full_like(log_var, schedule.start).square().log()
    return _summed(gaussian.kl(mean, log_var, torch.zeros_like(mean), start))


def decoder_term(
    x0: Float[Tensor, "n c h w"],
    mean: Float[Tensor, "n c h w"],
    log_var: Float[Tensor, "n ..."],
    levels: int,
) -> Float[Tensor, " n"]:
    """L_0: the discretised Gaussian of Ho et al. 2020, eq. 13, around an estimate of the image."""
    wide = widest(x0.device)
    x, mean, log_var = x0.to(wide), mean.to(wide), log_var.to(wide)
    return -_summed(gaussian.discretized_log_likelihood(x, mean, log_var, levels))


def last_log_variance(
    schedule: Schedule,
    x0: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    share: Float[Tensor, "n c h w"] | None = None,
) -> Float[Tensor, "n ..."]:
    """The logarithm of the decoder's variance, at the first time t.

    Of a discrete schedule it is the posterior's of t = 2, whichever variance is fixed, or what the
    network's share makes of it; where time is real, sigma².
    """
    if not isinstance(schedule, Discrete):
        return like(2 * schedule.sigma(t).log(), x0)
    clean = torch.zeros_like(t)
    if share is None:
        return like(process.posterior_log_variance(schedule, t, clean), x0)
    return process.learned_log_variance(schedule, t, clean, share)


def _steps(
    schedule: Schedule,
    x0: Float[Tensor, "n c h w"],
    x_t: Float[Tensor, "n c h w"],
    estimate: Estimate,
    t: Int[Tensor, " n"],
) -> dict[str, Float[Tensor, " n"]]:
    """L_{t-1} under each variance: KL of q(x_s | x_t, x_0) from the step that is sampled."""
    s = t - 1
    mean = process.posterior_mean(schedule, x_t, x0, t, s)
    ours = process.posterior_mean(schedule, x_t, estimate.x0, t, s)
    found: dict[str, Tensor] = {
        kind: like(process.posterior_log_variance(schedule, t, s, kind), x0) for kind in FIXED
    }
    true = found["fixed-small"]
    if estimate.variance is not None:
        found["learned"] = process.learned_log_variance(schedule, t, s, estimate.variance)
    return {way: _summed(gaussian.kl(mean, true, ours, log_var)) for way, log_var in found.items()}


def _summed(values: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    return values.to(widest(values.device)).flatten(1).sum(1)
