"""What training minimises, against the article's (17)-(22) and the published weights."""

import math

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser
from loang.loss import denoising_loss, step_bound
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


class Fixed(nn.Module):
    """A network that always answers the same."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x, t, label=None):
        return self.answer


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
    times, share = torch.tensor([1, 2, 10, 300, 1000]), torch.rand_like(X0)
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


def test_the_loss_keeps_the_type_of_the_images():
    denoiser = Denoiser(Guess("eps", GUESS.float()), LINEAR, "eps")
    found = denoising_loss(denoiser, X0.float(), T, EPS.float(), weighting="vlb")
    assert found.weighted.dtype == torch.float32
