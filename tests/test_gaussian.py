"""Distances and likelihoods of Gaussians against torch's own, against sums and in the far tails."""

import math

import pytest
import torch

from loang.gaussian import discretized_log_likelihood, kl


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distance_is_that_of_torch_and_0_between_equals():
    one, other = drawn(0, 5, 3), drawn(1, 5, 3)
    a, b = drawn(2, 5, 3), drawn(3, 5, 1)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(one, (a / 2).exp()),
        torch.distributions.Normal(other, (b / 2).exp()),
    )
    torch.testing.assert_close(kl(one, a, other, b), expected)
    assert float(kl(one, a, one, a).abs().max()) == 0


@pytest.mark.parametrize("levels", [2, 256, 65536])
@pytest.mark.parametrize("deviation", [1e-5, 0.01, 1.0, 30.0])
@pytest.mark.parametrize("mean", [-3.0, 0.1234, 1.0])
def test_the_likelihoods_of_all_levels_add_up_to_1(levels, deviation, mean):
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    log_variance = torch.tensor(2 * math.log(deviation), dtype=torch.float64)
    found = discretized_log_likelihood(x, torch.tensor(mean).double(), log_variance, levels)
    assert float(found.logsumexp(0)) == pytest.approx(0, abs=1e-9)
    assert float(found.max()) <= 1e-12


def test_the_likelihood_of_a_narrow_interval_is_density_times_width():
    x = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    mean, deviation, levels = 0.2 * torch.ones(7, dtype=torch.float64), 0.3, 100_001
    found = discretized_log_likelihood(x, mean, torch.full_like(x, 2 * math.log(deviation)), levels)
    density = torch.distributions.Normal(mean, deviation).log_prob(x)
    torch.testing.assert_close(found, density + math.log(2 / (levels - 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_take_all_that_lies_beyond_and_keep_their_gradient(dtype):
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0], dtype=dtype)
    mean = torch.tensor([-5.0, 5.0, 5.0, -5.0, 0.9, -0.9, 0.0], dtype=dtype, requires_grad=True)
    log_variance = torch.full_like(x, 2 * math.log(1e-3)).requires_grad_()
    found = discretized_log_likelihood(x, mean, log_variance)
    assert found.dtype == dtype
    assert found[[0, 2, 6]].tolist() == pytest.approx([0, 0, -8.8e-5], abs=1e-6)
    # Six thousand standard deviations off: -z²/2 and a little.
    z = (6 - 1 / 255) / 1e-3
    for far in found[[1, 3]].tolist():
        assert far == pytest.approx(-(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi)), rel=1e-6)
    found.sum().backward()
    assert bool(mean.grad.isfinite().all() and log_variance.grad.isfinite().all())
    assert mean.grad[[1, 5]].sign().tolist() == [-1, 1]
    assert mean.grad[[3, 4]].sign().tolist() == [1, -1]


def test_gradients_are_those_of_differences():
    x = torch.tensor([-1.0, -0.2, 0.6, 1.0], dtype=torch.float64)
    mean = torch.tensor([-0.9, 0.1, 0.6, 0.7], dtype=torch.float64, requires_grad=True)
    log_variance = torch.tensor([-2.0, -3.0, -8.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, v: discretized_log_likelihood(x, m, v), (mean, log_variance)
    )
