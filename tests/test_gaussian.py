"""Gaussians against sums and integrals that need no formula of theirs."""

import math

import pytest
import torch

from loang.gaussian import discretized_log_likelihood, kl


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def lattice(levels):
    return torch.linspace(-1, 1, levels, dtype=torch.float64)


@pytest.mark.parametrize("levels", [2, 256, 65_536])
@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.0031, 0.7])
@pytest.mark.parametrize("std", [1e-3, 0.05, 2.0, 1e3])
def test_all_levels_together_have_probability_1(levels, mean, std):
    x = lattice(levels)
    log = discretized_log_likelihood(x, torch.full_like(x, mean), real(2 * math.log(std)), levels)
    assert float(log.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_a_bin_is_the_difference_of_two_cumulative_functions():
    x, mean, std = lattice(256), 0.1, 0.02
    normal = torch.distributions.Normal(real(mean), real(std))
    edges = (x[1:] + x[:-1]) / 2
    expected = torch.cat(
        (torch.zeros(1).double(), normal.cdf(edges), torch.ones(1).double())
    ).diff()
    found = discretized_log_likelihood(x, torch.full_like(x, mean), real(2 * math.log(std)))
    assert torch.allclose(found.exp(), expected, rtol=1e-9, atol=1e-15)


def test_far_from_the_mean_it_is_the_tail_and_no_floor():
    x = torch.tensor([0.5], dtype=torch.float64)
    found = discretized_log_likelihood(x, -x, real(2 * math.log(0.01)))
    nearest = (1 - 1 / 255) / 0.01  # the edge of the bin, in standard deviations
    assert float(found) == pytest.approx(-(nearest**2) / 2, rel=1e-2)
    assert float(found) < -4000


def test_gradients_are_finite_everywhere():
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    for log_var in (-60.0, -10.0, 0.0, 12.0, 20.0):
        mean = torch.tensor([0.9, -0.5, 0.3, 0.5, -0.9], requires_grad=True)
        spread = torch.full((5,), log_var, requires_grad=True)
        discretized_log_likelihood(x, mean, spread).sum().backward()
        assert mean.grad.isfinite().all(), log_var
        assert spread.grad.isfinite().all(), log_var


def test_kl_is_the_mean_of_the_log_ratio():
    first, second = torch.distributions.Normal(0.3, 0.5), torch.distributions.Normal(-0.2, 0.8)
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    ratio = first.log_prob(x).exp() * (first.log_prob(x) - second.log_prob(x))
    values = (torch.tensor([v], dtype=torch.float64) for v in (0.3, 0.5, -0.2, 0.8))
    mean1, std1, mean2, std2 = values
    found = kl(mean1, 2 * std1.log(), mean2, 2 * std2.log())
    assert float(found) == pytest.approx(float(torch.trapezoid(ratio, x)), rel=1e-6)


def test_kl_of_nearly_equal_gaussians_keeps_its_digits():
    zero, close = torch.zeros(1), torch.full((1,), 1e-3)
    assert float(kl(zero, close, zero, zero)) == pytest.approx(2.5e-7, rel=1e-3)
    assert float(kl(zero, zero, zero, zero)) == 0
