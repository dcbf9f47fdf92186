"""What training minimises, against the article's (17)-(22) and the published weights."""

import math

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser
from loang.loss import denoising_loss
from loang.process import like
from loang.uncertainty import Uncertainty
from loang.weighting import WEIGHTINGS, weight

LINEAR = schedule.linear()
PURE = LINEAR.with_zero_terminal_snr()
KINDS = ("eps", "x0", "v", "flow", "edm")
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
        # For "edm" x is divided by its size, and the time is said by the schedule.
        signal, noise = like(LINEAR.signal(t), x), like(LINEAR.noise(t), x)
        if self.kind == "edm":
            x = x * parameterization.edm_size(signal, noise, 0.5)
        x0 = (x - noise * self.guess) / signal
        return parameterization.target(self.kind, x0, self.guess, signal, noise)


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


@pytest.mark.parametrize("weighting", [each for each in WEIGHTINGS if each != "simple"])
def test_these_weights_make_all_kinds_minimise_the_same(weighting):
    of_eps = loss("eps", weighting).weighted
    for kind in KINDS[1:]:
        torch.testing.assert_close(loss(kind, weighting).weighted, of_eps, rtol=1e-8, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [LINEAR, schedule.Edm(), schedule.Flow()], ids=lambda s: s.name)
@pytest.mark.parametrize("weighting", [each for each in WEIGHTINGS if each != "vlb"])
def test_every_weight_times_its_error_is_the_weight_of_an_error_of_the_image(weighting, made, kind):
    """By an answer that is a little off, without any formula of how errors go together."""
    t = torch.tensor([0.03, 0.4, 0.9], dtype=torch.float64) * made.T
    t = t.round().long() if isinstance(made, schedule.Discrete) else t
    signal, noise = made.signal(t), made.noise(t)
    x0, off = 0.3, 0.02
    x_t = signal * x0 + noise * 0.7
    answers = [
        parameterization.target(kind, image, (x_t - signal * image) / noise, signal, noise)
        for image in (torch.full_like(x_t, x0), torch.full_like(x_t, x0 + off))
    ]
    error = (answers[0] - answers[1]).square()
    snr = (signal / noise).square()
    expected = {
        "simple": error / off**2,
        "eps": snr,
        "min-snr": torch.minimum(snr, torch.tensor(5.0)),
        "truncated-snr": torch.maximum(snr, torch.tensor(1.0)),
        "p2": snr / (1 + snr),
        "edm": (1 / snr + 0.25) / (0.25 / snr),
    }
    found = weight(weighting, kind, made, t) * error
    torch.testing.assert_close(found, expected[weighting] * off**2, rtol=1e-8, atol=0)


@pytest.mark.parametrize("made", [LINEAR, schedule.Edm(), schedule.Flow()], ids=lambda s: s.name)
def test_the_weight_of_edm_is_1_in_its_own_units(made):
    """Karras et al. 2022, table 1: lambda(sigma) = 1 / c_out(sigma)²."""
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64) * made.T
    torch.testing.assert_close(weight("edm", "edm", made, t, 0.7), torch.ones_like(t))
    sigma = made.sigma(t)
    c_out = sigma * 0.7 / (sigma.square() + 0.49).sqrt()
    torch.testing.assert_close(weight("edm", "x0", made, t, 0.7), c_out**-2)


def test_the_limit_of_min_snr_can_be_chosen():
    made = schedule.Edm()
    t = torch.tensor([0.01, 0.5, 3.0], dtype=torch.float64)
    found = weight("min-snr", "x0", made, t, gamma=2.0)
    assert found.tolist() == pytest.approx([2.0, 2.0, 1 / 9])


@pytest.mark.parametrize("made", [schedule.Edm(), schedule.Flow()], ids=lambda s: s.name)
def test_the_bound_has_no_weight_on_a_schedule_of_real_time(made):
    with pytest.raises(ValueError, match="real time"):
        weight("vlb", "v", made, torch.tensor([0.5], dtype=torch.float64))


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
    found = [float(weight("min-snr", kind, made, torch.tensor([1]))) for kind in KINDS[:3]]
    assert found == pytest.approx([of_eps, of_x0, of_v], rel=1e-9)


@pytest.mark.parametrize("kind", ["x0", "v"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weight_is_finite_at_both_ends_of_a_schedule_that_ends_in_pure_noise(kind, weighting):
    found = weight(weighting, kind, PURE, torch.tensor([1, 2, 999, 1000]))
    assert bool(found.isfinite().all())
    assert bool((found >= 0).all())


def test_learnt_weights_begin_as_none_and_end_at_the_errors_to_be_expected():
    """L / exp(u) + u is least at u = log(L), where it is 1 + log(L)."""
    uncertainty = Uncertainty()
    log_snr = torch.linspace(-12, 12, 64)
    error = torch.linspace(-6, 0.5, 64).exp()
    first = uncertainty.weighed(error, log_snr)
    assert torch.equal(first, error)
    optimizer = torch.optim.Adam([uncertainty.weight], lr=0.01, betas=(0.9, 0.99))
    for _ in range(600):
        optimizer.zero_grad()
        uncertainty.weighed(error, log_snr).mean().backward()
        optimizer.step()
    assert float((uncertainty(log_snr) - error.log()).detach().abs().max()) < 0.25
    torch.testing.assert_close(
        uncertainty.weighed(error, log_snr), 1 + error.log(), atol=0.05, rtol=0
    )
    ends = uncertainty(torch.tensor([-math.inf, math.inf, -20.0, 20.0]))
    assert bool(ends.isfinite().all())
    assert torch.equal(ends[:2], ends[2:])


def test_learnt_weights_pull_on_every_level_alike():
    uncertainty = Uncertainty()
    error = torch.tensor([1e-3, 0.1, 2.0], requires_grad=True)
    with torch.no_grad():  # three levels, and 128 numbers to make them what they should be
        log_snr = torch.tensor([8.0, 0.0, -8.0])
        features = torch.cos(log_snr[:, None] / -8 * uncertainty.frequency + uncertainty.phase)
        scale = math.sqrt(2 / len(uncertainty.weight))
        uncertainty.weight.copy_(
            torch.linalg.lstsq(features * scale, error.log()[:, None]).solution[:, 0]
        )
    uncertainty.weighed(error, log_snr).sum().backward()
    torch.testing.assert_close(error.grad * error.detach(), torch.ones(3), rtol=1e-3, atol=0)


def test_the_loss_keeps_the_type_of_the_images():
    denoiser = Denoiser(Guess("eps", GUESS.float()), LINEAR, "eps")
    found = denoising_loss(denoiser, X0.float(), T, EPS.float(), weighting="vlb")
    assert found.weighted.dtype == torch.float32
