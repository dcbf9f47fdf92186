"""Samplers that draw noise converge in distribution: to a mixture in a plane, as points of it."""

import math
from functools import cache, partial

import pytest
import torch

from loang import random, schedule
from loang.denoiser import Estimate
from loang.process import like
from loang.samplers import heun, named

COUNT, STEPS = 8_000, 60
CENTRES = torch.tensor([[-0.7, 0.2], [0.5, 0.6], [0.4, -0.6]], dtype=torch.float64)
SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
DEVIATIONS = torch.tensor([0.15, 0.3], dtype=torch.float64)
SCHEDULES = {
    "cosine": schedule.cosine().with_zero_terminal_snr(),
    "edm": schedule.Edm(),
}
# How much each may miss the mean, the covariance and the distance, beyond the errors of drawing
# 8,000 points: in 60 steps what is of first order misses most.
SAMPLERS = {
    "ddpm": (named("ddpm"), 0.005, 0.04, 0.02),
    "ddpm, fixed-large": (named("ddpm", variance="fixed-large"), 0.04, 0.035, 0.04),
    "ddim, eta 0.5": (named("ddim", eta=0.5), 0.005, 0.035, 0.02),
    "dpmpp-2m-sde": (named("dpmpp-2m-sde"), 0.005, 0.006, 0.005),
    "heun, churned": (partial(heun, churn=20, inflation=1.0), 0.005, 0.006, 0.005),
}


class Plane:
    """The exact denoiser of the mixture: the posterior's mean, a component at a time."""

    def __init__(self, made):
        self.schedule = made

    def __call__(self, x_t, t, label=None):
        signal, noise = (
            like(f(t), x_t).flatten(1) for f in (self.schedule.signal, self.schedule.noise)
        )
        x = x_t.flatten(1)
        variance = (signal * DEVIATIONS).square() + noise.square()
        away = x[:, None] - signal[:, None] * CENTRES
        logits = SHARES.log() - (away.square() / (2 * variance[:, None])).sum(-1)
        gain = (signal * DEVIATIONS.square() / variance)[:, None]
        x0 = (logits.softmax(-1)[..., None] * (CENTRES + gain * away)).sum(1).reshape(x_t.shape)
        return Estimate(
            x0, (x_t - like(self.schedule.signal(t), x_t) * x0) / like(self.schedule.noise(t), x_t)
        )


def normal(step, seed=0):
    numbers = torch.arange(COUNT)
    return random.normal((1, 1, 2), seed=seed, purpose="test", step=step, indices=numbers).double()


@cache
def exact(seed):
    """Points of the mixture itself."""
    chosen = torch.searchsorted(SHARES.cumsum(0), torch.special.ndtr(normal(1, seed)[:, 0, 0, 0]))
    return CENTRES[chosen.clamp(max=2)] + DEVIATIONS * normal(0, seed).flatten(1)


def sliced(a, b):
    """Sliced Wasserstein-1 distance over 32 directions of the half circle."""
    angles = torch.arange(32, dtype=torch.float64) * math.pi / 32
    directions = torch.stack((angles.cos(), angles.sin()))
    return float(((a @ directions).sort(0)[0] - (b @ directions).sort(0)[0]).abs().mean())


def drawn(sampler, made, loud=1.0):
    x = made.start * normal(0, seed=1)
    walk = sampler(
        Plane(made), x, made.levels(STEPS, "log-snr"), lambda step: loud * normal(step + 1, seed=1)
    )
    *_, state = walk
    return state.x.flatten(1)


MEAN = SHARES @ CENTRES
COVARIANCE = DEVIATIONS.square().diag() + (CENTRES - MEAN).T @ (SHARES[:, None] * (CENTRES - MEAN))


def misses(points):
    """By how much points miss the mean, the covariance, and (sliced Wasserstein) the shape."""
    mean = float((points.mean(0) - MEAN).abs().max())
    covariance = float((points.T.cov() - COVARIANCE).abs().max())
    return mean, covariance, sliced(points, exact(0))


# What points of the mixture itself miss, at most of eight draws, and half as much again.
DRAWING = tuple(
    1.5 * max(miss) for miss in zip(*(misses(exact(s)) for s in range(2, 10)), strict=True)
)


def within(points, allowed):
    found = misses(points)
    return [
        miss < floor + extra for miss, floor, extra in zip(found, DRAWING, allowed, strict=True)
    ]


@pytest.mark.parametrize("made", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_mean_the_covariance_and_the_shape_of_the_data(name, made):
    sampler, *allowed = SAMPLERS[name]
    points = drawn(sampler, SCHEDULES[made])
    assert all(within(points, allowed)), (misses(points), DRAWING)


@pytest.mark.parametrize("loud", [0.9, 1.1])
def test_noise_of_another_size_is_seen(loud):
    sampler, *allowed = SAMPLERS["dpmpp-2m-sde"]
    assert not all(within(drawn(sampler, SCHEDULES["edm"], loud), allowed))
