"""A learnt variance: its bound by torch's own Gaussians, and what each part of the loss teaches."""

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser
from loang.loss import denoising_loss, step_bound
from loang.process import like
from loang.uncertainty import Uncertainty

LINEAR = schedule.linear()
T = torch.tensor([2, 10, 300, 700, 1000])


def images(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)


X0, EPS, GUESS = images(0).tanh(), images(1), images(2)


class Fixed(nn.Module):
    """A network that always answers the same."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x, t, label=None):
        return self.answer


class Both(nn.Module):
    """A network that answers an image and where its variance lies, each a parameter."""

    variance = True

    def __init__(self, image, share):
        super().__init__()
        self.image, self.share = nn.Parameter(image), nn.Parameter(2 * share - 1)

    def forward(self, x, t, label=None):
        return torch.cat((self.image, self.share), dim=1)


@pytest.mark.parametrize("weighting", ["simple", "min-snr", Uncertainty()])
def test_the_hybrid_loss_is_equation_16_of_nichol_and_dhariwal(weighting):
    times, share = torch.tensor([1, 2, 10, 300, 1000]), images(3).sigmoid()
    x0 = (X0 * 0.9 * 127.5).round() / 127.5
    network = Both(GUESS.clone(), share)
    denoiser = Denoiser(network, LINEAR, "v", clip=True)
    with torch.no_grad():
        found = denoising_loss(denoiser, x0, times, EPS, weighting=weighting)
    without = denoising_loss(
        Denoiser(Fixed(GUESS), LINEAR, "v"), x0, times, EPS, weighting=weighting
    )
    torch.testing.assert_close(found.plain, without.plain)
    bound = (found.weighted - without.weighted) / (0.001 * 1000)

    # Eq. 15, and the KL of torch's own Gaussians; x0 is not clipped.
    x_t = process.diffuse(LINEAR, x0, times, EPS)
    signal, noise = like(LINEAR.signal(times), x0), like(LINEAR.noise(times), x0)
    seen = signal * x_t - noise * GUESS
    small = process.posterior_variance(LINEAR, times, times - 1)
    small[0] = process.posterior_variance(LINEAR, torch.tensor([2]), torch.tensor([1]))[0]
    large = LINEAR.beta[times]
    deviation = (like(small, x0) ** (1 - share) * like(large, x0) ** share).sqrt()
    model = torch.distributions.Normal(
        process.posterior_mean(LINEAR, x_t, seen, times, times - 1), deviation
    )
    true = torch.distributions.Normal(
        process.posterior_mean(LINEAR, x_t, x0, times, times - 1), like(small, x0).sqrt()
    )
    expected = torch.distributions.kl_divergence(true, model).mean((1, 2, 3))
    assert float(x0[0].abs().max()) < 0.999
    bins = model.cdf(x0 + 1 / 255) - model.cdf(x0 - 1 / 255)
    expected[0] = -bins[0].log().mean()
    torch.testing.assert_close(bound, expected, rtol=1e-6, atol=1e-9)


def test_the_variance_learns_from_the_bound_and_the_image_from_the_error_alone():
    times = torch.tensor([1, 2, 10, 300, 1000])
    network = Both(GUESS.clone(), torch.full_like(X0, 0.5))
    denoiser = Denoiser(network, LINEAR, "v")
    denoising_loss(denoiser, X0, times, EPS).weighted.sum().backward()
    alone = Fixed(GUESS.clone())
    plain = denoising_loss(Denoiser(alone, LINEAR, "v"), X0, times, EPS).plain.sum()
    (expected,) = torch.autograd.grad(plain, alone.answer)
    torch.testing.assert_close(network.image.grad, expected)
    assert bool((network.share.grad != 0).any(3).any(2).any(1).all())
    assert bool(network.share.grad.isfinite().all())


def test_the_variance_that_the_bound_prefers_is_that_of_the_step():
    """Where the mean is off by as much as the posterior is wide, half as much again in variance."""
    at = torch.tensor([300])
    low = process.posterior_variance(LINEAR, at, at - 1)
    x0, eps = X0[:1] / 2, EPS[:1]
    x_t = process.diffuse(LINEAR, x0, at, eps)
    # A mean that is off by delta makes the best variance low + delta².
    beta = LINEAR.beta[300]
    ratio = (beta / low).sqrt() - 1
    delta = (low * ratio).sqrt()
    of_x0 = LINEAR.signal(at - 1) * beta / LINEAR.noise(at).square()
    seen = x0 + float(delta / of_x0)
    answer = parameterization.target(
        "v",
        seen,
        (x_t - like(LINEAR.signal(at), x0) * seen) / like(LINEAR.noise(at), x0),
        like(LINEAR.signal(at), x0),
        like(LINEAR.noise(at), x0),
    )
    bounds = []
    for share in (0.3, 0.5, 0.7):
        denoiser = Denoiser(Both(answer, torch.full_like(x0, share)), LINEAR, "v")
        with torch.no_grad():
            bound = step_bound(denoiser, denoiser.predict(x_t, at), x0, x_t, at)
        bounds.append(float(bound))
    assert bounds[1] < min(bounds[0], bounds[2])
    # The logarithm of low * sqrt(beta / low) lies half way, so there the slope is 0.
    network = Both(answer, torch.full_like(x0, 0.5))
    denoiser = Denoiser(network, LINEAR, "v")
    step_bound(denoiser, denoiser.predict(x_t, at), x0, x_t, at).backward()
    assert float(network.share.grad.abs().max()) < 1e-9


def test_a_bound_needs_a_variance():
    denoiser = Denoiser(Fixed(GUESS), LINEAR, "v")
    with pytest.raises(ValueError, match="no variance"):
        step_bound(denoiser, denoiser.predict(X0, T), X0, X0, T)
