"""Samplers against exact answers: Gaussian data, whose denoiser is known in closed form.

For data N(mean, std²) the best denoiser is linear in x_t, so a sampler is one linear map of its
first noise and of every noise that it adds. It is run on one "image" whose values are the basis
vectors: the first noise is e_0, that of step k is e_{k+1}. The length of the result is then the
standard deviation of the samples, exactly, with nothing drawn.
"""

import itertools
import math
from functools import cache, partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loang import process, schedule
from loang.denoiser import Estimate
from loang.process import like
from loang.samplers import (
    NAMES,
    State,
    ddim,
    ddpm,
    dpmpp_2m_sde,
    euler,
    euler_ancestral,
    heun,
    named,
)

# Thousands of small steps, of functions whose signatures test_checking.py checks.
pytestmark = pytest.mark.usefixtures("unchecked_signatures")
LINEAR = schedule.linear()
ZERO, ONE = torch.tensor([0]), torch.tensor([1])


class Gaussian:
    """The exact denoiser of data N(mean, std²)."""

    def __init__(self, std, mean=0.0, schedule=LINEAR):
        self.schedule, self.variance, self.mean = schedule, std**2, mean

    def __call__(self, x_t, t, label=None):
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        share = signal * self.variance / (signal**2 * self.variance + noise**2)
        x0 = self.mean + share * (x_t - signal * self.mean)
        return Estimate(x0, (x_t - signal * x0) / noise)


def basis(steps):
    """The first noise, and the noise of each step, as vectors at right angles."""
    vectors = torch.eye(steps + 1, dtype=torch.float64).reshape(-1, 1, 1, 1, steps + 1)
    return vectors[0], lambda step: vectors[step + 1]


def deviation(sampler, denoiser, levels, **options):
    first, noise = basis(len(levels))
    *_, state = sampler(denoiser, first, levels, noise, **options)
    return float(state.x.square().sum().sqrt())


def mean(sampler, denoiser, levels, **options):
    """With every noise at its mean, 0, the result is the mean of the samples."""
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    *_, state = sampler(denoiser, nothing, levels, lambda step: nothing, **options)
    return float(state.x)


@cache
def over_all_levels(name, std):
    samplers = {
        "fixed-small": partial(ddpm, variance="fixed-small"),
        "fixed-large": partial(ddpm, variance="fixed-large"),
        "ddim": ddim,
    }
    return deviation(samplers[name], Gaussian(std), LINEAR.levels(1000))


@pytest.mark.parametrize(
    ("name", "std", "published"),
    [
        ("fixed-small", 0.5, 0.496110),
        ("fixed-large", 0.5, 0.500752),
        ("ddim", 0.5, 0.498495),
        ("fixed-small", 1.0, 0.995524),
        ("fixed-large", 1.0, 0.999950),
        ("ddim", 1.0, 0.998124),
    ],
)
def test_all_thousand_steps_give_the_known_deviation(name, std, published):
    assert over_all_levels(name, std) == pytest.approx(published, abs=6e-7)


def test_noise_at_the_last_step_would_be_seen_under_fixed_large():
    right = over_all_levels("fixed-large", 0.5)
    added = float(process.posterior_variance(LINEAR, ONE, ZERO, "fixed-large"))
    wrong = math.sqrt(right**2 + added)
    assert wrong == pytest.approx(0.500851, abs=6e-7)
    assert abs(wrong - right) > 50 * 6e-7


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 333])
def test_fixed_large_loses_only_the_last_noise_of_standard_normal_data(steps):
    """For N(0, 1) each q(x_s | x_t) has the variance beta; only the last draw is left out."""
    levels = LINEAR.levels(steps)
    found = deviation(ddpm, Gaussian(1.0), levels, variance="fixed-large")
    left_out = 1 - LINEAR.alpha_bar[levels[-2]]
    assert found**2 == pytest.approx(float(1 - left_out), abs=1e-11)


@pytest.mark.parametrize("steps", [25, 50, 100, 250])
def test_fixed_small_and_fixed_large_bracket_the_deviation_of_the_data(steps):
    levels = LINEAR.levels(steps)
    small = deviation(ddpm, Gaussian(0.5), levels, variance="fixed-small")
    large = deviation(ddpm, Gaussian(0.5), levels, variance="fixed-large")
    assert small < 0.5 < large


@pytest.mark.parametrize("steps", [10, 50, 200])
@pytest.mark.parametrize("std", [0.5, 1.0])
def test_ddim_with_eta_one_is_ddpm_with_the_small_variance(std, steps):
    levels = LINEAR.levels(steps)
    first, noise = basis(steps + 1)
    implicit = ddim(Gaussian(std), first, levels, noise, eta=1.0)
    ancestral = ddpm(Gaussian(std), first, levels, noise, variance="fixed-small")
    for ours, theirs in zip(implicit, ancestral, strict=True):
        torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.5, 1.0])
def test_eta_is_the_share_of_the_small_deviation_that_is_new_noise(eta):
    """Song et al. 2021, eq. 16; old and new noise together are what the level s asks for."""
    t, s = torch.tensor([700]), torch.tensor([300])
    first, noise = basis(2)
    walk = ddim(Gaussian(0.0), LINEAR.noise(t) * first, [700, 300, 0], noise, eta=eta)
    old, new, _ = next(itertools.islice(walk, 1, None)).x.flatten().tolist()
    small = float(process.posterior_variance(LINEAR, t, s, "fixed-small"))
    assert new == pytest.approx(eta * math.sqrt(small), abs=1e-12)
    assert old**2 + new**2 == pytest.approx(float(1 - LINEAR.alpha_bar[300]), abs=1e-12)


@pytest.mark.parametrize("std", [0.5, 1.0])
def test_the_error_of_ddim_falls_with_the_first_order(std):
    counts = [25, 50, 100, 200]
    errors = [std - deviation(ddim, Gaussian(std), LINEAR.levels(n)) for n in counts]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(0.9 < order < 1.1 for order in orders), orders


@pytest.mark.parametrize("options", [{}, {"eta": 0.5}, {"eta": 1.0}])
def test_more_steps_never_make_ddim_worse(options):
    counts = [5, 10, 20, 50, 100, 200, 400]
    errors = [
        abs(0.5 - deviation(ddim, Gaussian(0.5), LINEAR.levels(n), **options)) for n in counts
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("steps", [1, 3, 50])
def test_from_pure_noise_the_mean_of_the_data_is_found_exactly(sampler, steps):
    pure = LINEAR.with_zero_terminal_snr()
    denoiser = Gaussian(0.5, 1.0, pure)
    within = 1e-3 if sampler == "ode" else 1e-9
    assert mean(named(sampler), denoiser, pure.levels(steps)) == pytest.approx(1, abs=within)


# What leaps to the image and noises it anew forgets where it started.
@pytest.mark.parametrize("sampler", [name for name in NAMES if name != "consistency"])
def test_a_sampler_that_never_visits_the_last_time_misses_the_mean(sampler):
    """The usual "leading" spacing takes pure noise for an image that is noisy: samples tinted."""
    pure = LINEAR.with_zero_terminal_snr()
    leading = [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]
    error = mean(named(sampler), Gaussian(0.5, 1.0, pure), leading) - 1
    assert abs(error) > (1e-3 if sampler == "ode" else 1e-5)  # the test above: below 1e-9


def in_sigma(denoiser, x, levels, noise, ancestral):
    """Euler's step of y = x / signal in sigma = noise / signal (Karras et al. 2022, eq. 3)."""
    table = denoiser.schedule
    for step, (t, s) in enumerate(itertools.pairwise(levels)):
        at_t, at_s = torch.tensor([t]), torch.tensor([s])
        sigma, lower = float(table.sigma(at_t)), float(table.sigma(at_s))
        up = ancestral * lower * math.sqrt(1 - lower**2 / sigma**2)
        down = math.sqrt(lower**2 - up**2)
        y, x0 = x / float(table.signal(at_t)), denoiser(x, at_t).x0
        y = y + (down - sigma) * (y - x0) / sigma + up * noise(step)
        x = y * float(table.signal(at_s))
        yield State(s, x, x0)


@pytest.mark.parametrize(("ours", "ancestral"), [(euler, 0), (euler_ancestral, 1)])
@pytest.mark.parametrize("std", [0.5, 1.0])
def test_euler_in_sigma_is_ddim_and_its_ancestral_form_is_ddim_with_eta_one(std, ours, ancestral):
    levels = LINEAR.levels(20)
    first, noise = basis(21)
    theirs = in_sigma(Gaussian(std), first, levels, noise, ancestral)
    _, *states = ours(Gaussian(std), first, levels, noise)
    for state, other in zip(states, theirs, strict=True):
        torch.testing.assert_close(state.x, other.x, rtol=0, atol=1e-10)


def test_the_sde_solver_of_two_levels_is_ddpm():
    """With no estimate to look back at, its step is a draw from q(x_s | x_t, x_0)."""
    first, noise = basis(3)
    for levels in ([1000, 0], [1000, 400, 0], [700, 20, 0]):
        solver = dpmpp_2m_sde(Gaussian(0.5), first, levels, noise)
        ancestral = ddpm(Gaussian(0.5), first, levels, noise)
        for ours, theirs in itertools.islice(zip(solver, ancestral, strict=True), 2):
            torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-10)


DRAWING = {
    "ddpm": named("ddpm"),
    "ddpm, fixed-large": named("ddpm", variance="fixed-large"),
    "ddim, eta 0.5": named("ddim", eta=0.5),
    "euler-ancestral": named("euler-ancestral"),
    "dpmpp-2m-sde": named("dpmpp-2m-sde"),
    "heun, churned": partial(heun, churn=40, inflation=1.0),
}
"""The samplers that draw noise after the first."""


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("made", [LINEAR, schedule.Edm(), schedule.Flow()], ids=lambda s: s.name)
def test_samplers_that_draw_noise_find_the_deviation_of_the_data(name, made):
    """Exactly, as one linear map: what they miss falls with the steps."""
    errors = []
    for steps in (50, 200):
        levels = made.levels(steps, "log-snr")
        first, noise = basis(len(levels))
        sampler, denoiser = DRAWING[name], Gaussian(0.5, schedule=made)
        *_, state = sampler(denoiser, made.start * first, levels, noise)
        errors.append(abs(float(state.x.square().sum().sqrt()) - 0.5))
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < (2e-3 if name in ("dpmpp-2m-sde", "heun, churned") else 2e-2), errors


def wrong_beta(denoiser, x, levels, noise):
    """(16) with the alpha of the table, which is that of one step, over a step that skips times."""
    table = denoiser.schedule
    for step, (t, s) in enumerate(itertools.pairwise(levels)):
        eps = denoiser(x, torch.tensor([t])).eps
        beta, alpha_bar = table.beta[t], table.alpha_bar[t]
        x = (x - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
        x = x + beta.sqrt() * noise(step) * (s > 0)
        yield State(s, x, x)


def guessed_time(denoiser, x, levels, noise):
    """DDIM whose next time is guessed as t - T // N, whatever the levels say."""
    table, gap = denoiser.schedule, denoiser.schedule.T // (len(levels) - 1)
    for t in levels[:-1]:
        x0, eps, _ = denoiser(x, torch.tensor([t]))
        s = torch.tensor([max(t - gap, 0)])
        x = table.signal(s) * x0 + table.noise(s) * eps
        yield State(int(s), x, x)


@pytest.mark.parametrize(
    ("wrong", "right", "steps"), [(wrong_beta, ddpm, 50), (guessed_time, ddim, 300)]
)
def test_a_known_wrong_sampler_is_told_from_the_right_one(wrong, right, steps):
    levels = LINEAR.levels(steps)
    error = abs(deviation(right, Gaussian(0.5), levels) - 0.5)
    assert error < 1.6 * 3 / steps  # the first order, with the constant measured at 50 steps
    assert abs(deviation(wrong, Gaussian(0.5), levels) - 0.5) > 1.6 * 3 / steps


@pytest.mark.parametrize("wrong", [wrong_beta, guessed_time])
def test_over_every_level_the_wrong_samplers_are_right(wrong):
    """So a test at 1000 steps would not find them."""
    levels = LINEAR.levels(1000)
    assert deviation(wrong, Gaussian(0.5), levels) == pytest.approx(0.5, abs=5e-3)


@given(total=st.integers(1, 4000), data=st.data())
def test_levels_start_at_the_noisiest_time_fall_evenly_and_end_at_the_image(total, data):
    steps = data.draw(st.integers(1, total))
    beta = torch.full((total,), 1e-3, dtype=torch.float64)
    levels = schedule.from_beta(beta).levels(steps)
    assert levels[0] == total
    assert levels[-1] == 0
    assert len(levels) == steps + 1
    gaps = {t - s for t, s in itertools.pairwise(levels)}
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("levels", [[], [0], [5], [10, 5], [0, 5, 10], [10, 5, 5, 0], [10, 5, -1]])
def test_levels_that_do_not_fall_to_zero_are_refused(sampler, levels):
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="levels must fall"):
        list(named(sampler)(Gaussian(1.0), x, levels, lambda step: x))


@pytest.mark.parametrize("sampler", NAMES)
def test_the_walk_yields_each_level_once_the_noise_first_and_the_image_last(sampler):
    first, noise = basis(10)
    states = list(named(sampler)(Gaussian(0.5), first, LINEAR.levels(10), noise))
    assert [state.t for state in states] == LINEAR.levels(10)
    assert torch.equal(states[0].x, first)
    assert torch.equal(states[-1].x, states[-1].x0)
    if sampler == "ode":  # it goes on below the last level, to the schedule's first time
        return
    # The image that the last denoising saw is the sample: no noise is laid over it.
    torch.testing.assert_close(states[-1].x, states[-2].x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", NAMES)
def test_a_picture_noised_to_a_time_and_denoised_from_that_time_comes_back(sampler):
    """Data that are one known picture: whatever the noise, the walk from any level ends there."""
    picture = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    eps = torch.linspace(2, -1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    x = process.diffuse(LINEAR, picture, torch.tensor([600]), eps)
    denoiser = Gaussian(0.0, picture)
    *_, state = named(sampler)(denoiser, x, [600, 411, 100, 3, 0], lambda step: eps.flip(1))
    torch.testing.assert_close(state.x, picture, rtol=0, atol=1e-12)


def test_ddim_leaves_the_noise_of_a_known_picture_where_it_was():
    """Walking from t to s with the true (x0, eps) is the forward process at s; t - 1 is not."""
    picture = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    eps = torch.linspace(2, -1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    levels = [600, 411, 100, 3, 0]
    x = process.diffuse(LINEAR, picture, torch.tensor([600]), eps)
    for state in ddim(Gaussian(0.0, picture), x, levels, lambda step: eps):
        t = torch.tensor([state.t])
        expected = process.diffuse(LINEAR, picture, t, eps)
        torch.testing.assert_close(state.x, expected, rtol=0, atol=1e-12)
        if state.t:
            early = process.diffuse(LINEAR, picture, t - 1, eps)
            assert float((state.x - early).abs().max()) > 1e-3
