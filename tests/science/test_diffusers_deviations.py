"""Where schedulers of diffusers are not right: how far off they are, and that ours are not.

The judges are exact: the best denoiser of data N(0, d²), whose samples have a deviation that can
be computed, and of data that are one known picture, which every walk must end at.
"""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser
from loang.process import like
from loang.samplers import ddim, ddpm, dpmpp_3m
from loang.samplers.multistep import midpoint, multistep

pytest.importorskip("diffusers", reason="needs loang[conformance]")

from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers_steps import (
    SHAPE,
    Network,
    differences,
    exact,
    first,
    from_generator,
    ours,
    theirs,
    whole_levels,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

LINEAR = schedule.linear()
PICTURE = torch.linspace(-0.9, 0.9, math.prod(SHAPE), dtype=torch.float64).reshape(SHAPE)


class Best(nn.Module):
    """The noise as the best denoiser of data N(mean, deviation²) sees it."""

    schedule = LINEAR

    def __init__(self, deviation, mean=0.0):
        super().__init__()
        self.squared, self.mean = deviation**2, mean

    def forward(self, x, t, label=None):
        signal, noise = like(LINEAR.signal(t), x), like(LINEAR.noise(t), x)
        share = signal * self.squared / (signal**2 * self.squared + noise**2)
        x0 = self.mean + share * (x - signal * self.mean)
        return parameterization.to_eps("x0", x0, x, signal, noise)


def best(deviation, mean=0.0):
    return Denoiser(Best(deviation, mean), LINEAR, clip=False)


def spread(walk):
    """The deviation of samples, where a walk from standard normal noise adds no more of it."""
    return float((walk[-1] / first()).abs().mean())


def of_ddim(spacing, steps):
    scheduler = DDIMScheduler(timestep_spacing=spacing, clip_sample=False)
    exact(scheduler, LINEAR).set_timesteps(steps)
    return scheduler, whole_levels(scheduler)


def of_ddpm(spacing, steps, variance):
    scheduler = DDPMScheduler(timestep_spacing=spacing, variance_type=variance, clip_sample=False)
    exact(scheduler, LINEAR).set_timesteps(steps)
    return scheduler, whole_levels(scheduler)


@pytest.mark.parametrize(
    ("spacing", "steps", "off"),
    [
        ("linspace", 10, True),
        ("linspace", 50, True),
        ("trailing", 300, True),
        ("trailing", 50, False),
        ("leading", 30, False),
    ],
)
def test_ddim_that_guesses_the_next_time_arrives_with_the_noise_of_another(spacing, steps, off):
    """Theirs goes on to t - T // N, wherever the next time step lies.

    With the true (x0, eps) of x_t, DDIM's step is the forward process at the next level.
    """
    scheduler, levels = of_ddim(spacing, steps)
    found = ours(ddim, best(0.0, PICTURE), levels)
    walk = theirs(scheduler, Best(0.0, PICTURE), levels)
    at = torch.full((len(PICTURE),), levels[0])
    eps = Best(0.0, PICTURE)(first(), at)
    forward = [process.diffuse(LINEAR, PICTURE, torch.full_like(at, t), eps) for t in levels]
    assert max(differences(found, forward)) < 1e-10
    assert (max(differences(walk, forward)) > 5e-3) == off


def test_ddim_that_guesses_the_next_time_has_the_wrong_spread_at_many_steps():
    """The guesses of 300 steps of 3 fall short of 1000, and samples are too noisy."""
    for spacing in ("linspace", "trailing"):
        scheduler, levels = of_ddim(spacing, 300)
        right = spread(ours(ddim, best(0.5), levels))
        wrong = spread(theirs(scheduler, Best(0.5), levels))
        assert right == pytest.approx(0.5, abs=0.006)
        assert abs(wrong - 0.5) > 0.03


def test_the_logarithm_of_the_large_variance_is_taken_for_the_variance():
    """Of "fixed_large_log" theirs draws the root, and the root of a negative is no number."""
    scheduler, levels = of_ddpm("leading", 20, "fixed_large_log")
    walk = theirs(scheduler, Best(1.0), levels, from_generator)
    assert all(x.isnan().all() for x in walk[1:])

    # Ours for N(0, 1): with first noise and each step's at right angles, the length is the
    # deviation; all but the last draw, which is left out, together make 1.
    noises = torch.eye(len(levels), dtype=torch.float64).reshape(-1, 1, 1, 1, len(levels))
    *_, state = ddpm(
        best(1.0), noises[0], levels, lambda step: noises[step + 1], variance="fixed-large"
    )
    left_out = 1 - float(LINEAR.alpha_bar[levels[-2]])
    assert float(state.x.square().sum()) == pytest.approx(1 - left_out, abs=1e-11)


@pytest.mark.parametrize(("variance", "kind"), [("fixed_large", "fixed-large")])
def test_the_last_step_adds_noise_unless_it_is_from_their_time_0(variance, kind):
    """Ho et al. 2020, algorithm 2, line 3: none at the last. Trailing steps end from elsewhere."""
    scheduler, levels = of_ddpm("trailing", 20, variance)
    network = Best(0.0, PICTURE)
    walk = theirs(scheduler, network, levels, from_generator)
    found = ours(ddpm, best(0.0, PICTURE), levels, variance=kind)
    torch.testing.assert_close(found[-1], PICTURE, rtol=0, atol=1e-12)
    left = float((walk[-1] - PICTURE).square().mean().sqrt())
    assert left == pytest.approx(float(LINEAR.noise(torch.tensor(levels[-2]))), rel=0.3)


def halved(schedule, levels, s):
    """The weights of three estimates with half of their second difference."""
    if len(levels) < 3:
        return midpoint(schedule, levels, s)
    (a, b, c), h = (level.lam for level in levels), s.lam - levels[0].lam
    near, far = (a - b) / h, (b - c) / h
    once = math.expm1(-h) / h + 1
    twice = (math.expm1(-h) + h) / h**2 - 0.5

    def worth(older, oldest):
        """Of estimates that differ from the newest by so much."""
        slope, before = -older / near, (older - oldest) / far
        bend = (slope - before) / (near + far)
        return once * (slope + near * bend) - twice * bend

    return [worth(1, 0), worth(0, 1)]


def third(denoiser, x, levels, noise, weights=halved):
    return multistep(denoiser, x, levels, None, order=3, of="x0", weights=weights)


def test_dpm_solver_pp_of_three_estimates_takes_half_of_the_second_difference():
    scheduler = DPMSolverMultistepScheduler(solver_order=3, timestep_spacing="trailing")
    exact(scheduler, LINEAR).set_timesteps(20)
    levels, network = whole_levels(scheduler), Network(LINEAR)
    denoiser = Denoiser(network, LINEAR, clip=False)
    walk = theirs(scheduler, network, levels)
    assert max(differences(ours(third, denoiser, levels), walk)) < 1e-5
    assert max(differences(ours(dpmpp_3m, denoiser, levels), walk)) > 1e-4


@pytest.mark.parametrize(("sampler", "order"), [(third, 2), (dpmpp_3m, 3)])
def test_with_half_of_the_second_difference_the_order_is_two(sampler, order):
    """On levels even in lambda, against the ODE's own solution for Gaussian data."""
    ends = LINEAR.log_snr(torch.tensor([1000, 50])) / 2
    end = Best(0.5)
    errors = []
    for steps in (40, 80, 160):
        lam = torch.linspace(*ends.tolist(), steps + 1, dtype=torch.float64)
        levels = [*LINEAR.times((-lam).exp()).tolist(), 0.0]
        x = ours(sampler, best(0.5), levels)[-2]
        sizes = [
            math.sqrt(float(LINEAR.signal(t)) ** 2 * end.squared + float(LINEAR.noise(t)) ** 2)
            for t in torch.tensor([levels[0], levels[-2]], dtype=torch.float64)
        ]
        errors.append(float((x - first() * sizes[1] / sizes[0]).abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.3), orders
