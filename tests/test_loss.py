"""What training minimises, against the article's (17)-(22) and the published weights."""

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser
from loang.loss import denoising_loss
from loang.process import like
from loang.weighting import weight

LINEAR = schedule.linear()
PURE = LINEAR.with_zero_terminal_snr()
KINDS = ("eps", "x0", "v")
WEIGHTINGS = ("simple", "eps", "vlb", "min-snr")
T = torch.tensor([2, 10, 300, 700, 1000])
VALUES = 3 * 4 * 4


def images(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)


X0, EPS, GUESS = images(0).tanh(), images(1), images(2)


class Guess(nn.Module):
    """A network of any kind whose noise is always `guess`, so that all kinds say the same."""

    def __init__(self, kind, guess):
        super().__init__()
        self.kind, self.guess = kind, guess

    def forward(self, x, t, label=None):
        signal, noise = like(LINEAR.signal(t), x), like(LINEAR.noise(t), x)
        to = {
            "eps": parameterization.to_eps,
            "x0": parameterization.to_x0,
            "v": parameterization.to_v,
        }
        return to[self.kind]("eps", self.guess, x, signal, noise)


def loss(kind, weighting, guess=GUESS):
    denoiser = Denoiser(Guess(kind, guess), LINEAR, kind)
    return denoising_loss(denoiser, X0, T, EPS, weighting=weighting)


def test_equation_22_is_the_mean_squared_error_of_the_noise():
    found = loss("eps", "simple")
    expected = (EPS - GUESS).square().mean((1, 2, 3))
    torch.testing.assert_close(found.weighted, expected)
    torch.testing.assert_close(found.plain, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_network_that_knows_the_noise_has_no_loss(kind, weighting):
    assert float(loss(kind, weighting, EPS).weighted.abs().max()) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_of_17_is_the_weighted_error_of_21_whatever_is_predicted(kind):
    """KL(q(x_{t-1} | x_t, x_0) || p) with the network's mean, in nats an image."""
    x_t = process.diffuse(LINEAR, X0, T, EPS)
    guessed = Denoiser(Guess(kind, GUESS), LINEAR, kind, clip=False)(x_t, T)
    true = process.posterior_mean(LINEAR, x_t, X0, T, T - 1)
    model = process.posterior_mean(LINEAR, x_t, guessed.x0, T, T - 1)
    expected = process.posterior_kl(LINEAR, true, model, T, T - 1)
    torch.testing.assert_close(VALUES * loss(kind, "vlb").weighted, expected, rtol=1e-8, atol=0)


def test_the_weight_of_the_bound_is_equation_21():
    t = torch.arange(2, 1001)
    alpha, alpha_bar = 1 - LINEAR.beta[t], LINEAR.alpha_bar[t]
    sigma_squared = (1 - alpha) * (1 - LINEAR.alpha_bar[t - 1]) / (1 - alpha_bar)
    expected = (1 - alpha) ** 2 / (2 * sigma_squared * (1 - alpha_bar) * alpha)
    torch.testing.assert_close(weight("vlb", "eps", LINEAR, t), expected, rtol=1e-8, atol=0)


def test_the_weight_of_the_bound_is_half_of_what_the_step_gains_in_snr():
    t = torch.arange(2, 1001)
    snr = LINEAR.alpha_bar / (1 - LINEAR.alpha_bar)
    gain = (snr[t - 1] - snr[t]) / 2
    torch.testing.assert_close(weight("vlb", "x0", LINEAR, t), gain, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        weight("vlb", "v", LINEAR, t), gain / (snr[t] + 1), rtol=1e-9, atol=0
    )


def test_at_time_one_the_bound_takes_the_weight_of_time_two():
    one, two = weight("vlb", "eps", LINEAR, torch.tensor([1, 2]))
    assert float(one) == pytest.approx(float(two), rel=1e-9)


@pytest.mark.parametrize("weighting", ["eps", "vlb", "min-snr"])
def test_these_weights_make_all_kinds_minimise_the_same(weighting):
    of_eps = loss("eps", weighting).weighted
    for kind in ("x0", "v"):
        torch.testing.assert_close(loss(kind, weighting).weighted, of_eps, rtol=1e-8, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_eps_is_the_error_of_the_noise_for_every_kind(kind):
    expected = (EPS - GUESS).square().mean((1, 2, 3))
    torch.testing.assert_close(loss(kind, "eps").weighted, expected, rtol=1e-8, atol=0)


def test_the_simple_weight_is_not_the_same_for_all_kinds():
    assert not torch.allclose(loss("v", "simple").weighted, loss("eps", "simple").weighted)


@pytest.mark.parametrize(
    ("snr", "of_eps", "of_x0", "of_v"),
    [
        (100.0, 5 / 100, 5.0, 5 / 101),
        (5.0, 1.0, 5.0, 5 / 6),
        (1.0, 1.0, 1.0, 1 / 2),
        (0.25, 1.0, 0.25, 0.25 / 1.25),
    ],
)
def test_min_snr_is_its_published_table(snr, of_eps, of_x0, of_v):
    """Hang et al. 2023; for v min(SNR, 5) / (SNR + 1), which is often got wrong."""
    made = schedule.Discrete(torch.tensor([1.0, snr / (1 + snr)], dtype=torch.float64))
    found = [float(weight("min-snr", kind, made, torch.tensor([1]))) for kind in KINDS]
    assert found == pytest.approx([of_eps, of_x0, of_v], rel=1e-9)


@pytest.mark.parametrize("kind", ["x0", "v"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weight_is_finite_at_both_ends_of_a_schedule_that_ends_in_pure_noise(kind, weighting):
    found = weight(weighting, kind, PURE, torch.tensor([1, 2, 999, 1000]))
    assert bool(found.isfinite().all())
    assert bool((found >= 0).all())


def test_the_loss_keeps_the_type_of_the_images():
    denoiser = Denoiser(Guess("eps", GUESS.float()), LINEAR, "eps")
    found = denoising_loss(denoiser, X0.float(), T, EPS.float(), weighting="vlb")
    assert found.weighted.dtype == torch.float32
