"""The best linear estimate: its error is the textbook's, and no fit of few images runs wild."""

import numpy as np
import pytest
import torch

from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.doctor import gaussian, levels
from loang.schedule import cosine

SPEC = ImageSpec(4, 4, 1, depth="float32", low=-1.0, high=1.0)
MEAN = torch.linspace(-0.2, 0.2, 16, dtype=torch.float64)
VARIANCES = 0.03 * 0.7 ** torch.arange(16, dtype=torch.float64)
DIRECTIONS = torch.linalg.qr(
    torch.from_numpy(np.random.default_rng(5).normal(size=(16, 16)))
).Q.contiguous()
TRUE = gaussian.Gaussian(MEAN, DIRECTIONS, VARIANCES, 0.0, 10**9)


def drawn(count, seed):
    z = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 16)))
    x = MEAN + (z * VARIANCES.sqrt()) @ DIRECTIONS
    return Images(x.float().reshape(-1, 4, 4, 1).numpy(), SPEC)


class Optimal(torch.nn.Module):
    """A network that answers what the best estimate is."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, t, label=None):
        time = t[:1].cpu()
        signal, noise = float(self.schedule.signal(time)), float(self.schedule.noise(time))
        return TRUE.estimate(x, signal, noise).float()


@pytest.fixture
def optimal():
    schedule = cosine(200)
    return Denoiser(Optimal(schedule), schedule, "x0", clip=False)


def test_measured_error_of_the_best_estimate_is_the_analytic_one(optimal):
    """mean_i lambda_i s^2 / (a^2 lambda_i + s^2), by hand for each level."""
    times = levels.choose_times(optimal.schedule)
    rows = np.arange(1500)
    errors = levels.network_errors(optimal, drawn(1500, 1), rows, times, dtype=None)
    for t, measured in zip(times, errors, strict=True):
        alpha_bar = float(optimal.schedule.alpha_bar[t])
        s2 = 1 - alpha_bar
        by_hand = float((VARIANCES * s2 / (alpha_bar * VARIANCES + s2)).mean())
        chance = measured.std() / len(measured) ** 0.5
        assert abs(measured.mean() - by_hand) < 4 * chance
        assert TRUE.least_error(alpha_bar**0.5, s2**0.5) == pytest.approx(by_hand, rel=1e-9)


def test_the_optimal_denoiser_is_judged_equal_to_a_fitted_gaussian(optimal):
    fitted = gaussian.fit(drawn(4000, 2))
    times = levels.choose_times(optimal.schedule)
    held, rows = drawn(500, 3), np.arange(500)
    errors = {"network": levels.network_errors(optimal, held, rows, times, dtype=None)}
    errors |= levels.simple_errors(fitted, optimal, held, rows, times)
    found = levels.Levels(times, [0.0] * len(times), errors, float(VARIANCES.mean()))
    for compared in found.compare("network", "gaussian"):
        assert compared.ratio == pytest.approx(1, abs=0.02)
    # What knows less is told apart from it, and seen to be worse.
    assert any(each.higher for each in found.compare("plain", "gaussian"))


def test_guesses_see_the_same_noise(optimal):
    """The comparison is paired: an exact Gaussian and the network agree image by image."""
    times = levels.choose_times(optimal.schedule)
    held, rows = drawn(70, 4), np.arange(70)
    of_network = levels.network_errors(optimal, held, rows, times, dtype=None)
    of_gaussian = levels.simple_errors(TRUE, optimal, held, rows, times)["gaussian"]
    np.testing.assert_allclose(of_network, of_gaussian, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("count", [8, 12, 40])
def test_fewer_images_than_pixels_give_no_wild_estimate(count, optimal):
    """The sample covariance is singular, or nearly; its inverse would be useless."""
    fitted = gaussian.fit(drawn(count, 6))
    held, rows = drawn(500, 7), np.arange(500)
    times = levels.choose_times(optimal.schedule)
    found = levels.simple_errors(fitted, optimal, held, rows, times)
    mean_guess = (held.pixels.reshape(500, -1) - fitted.mean.numpy()) ** 2
    for t, errors in zip(times, found["gaussian"], strict=True):
        signal = float(optimal.schedule.alpha_bar[t]) ** 0.5
        noise = (1 - signal**2) ** 0.5
        assert errors.mean() < 1.1 * min(mean_guess.mean(), (noise / signal) ** 2)
        assert errors.mean() > 0.9 * TRUE.least_error(signal, noise)


def test_too_few_images_are_no_distribution():
    assert gaussian.fit(drawn(7, 0)) is None


def test_images_that_are_all_the_same_are_known_for_certain():
    same = Images(np.full((20, 4, 4, 1), 0.5, np.float32), SPEC)
    fitted = gaussian.fit(same)
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(fitted.estimate(x, 0.5, 0.8), torch.full((3, 1, 4, 4), 0.5).double())
