"""The process's distributions against plain Gaussian algebra, and the article's equations."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from loang import process, schedule

LINEAR = schedule.linear()
SCHEDULES = [LINEAR, schedule.cosine(), schedule.linear(500), schedule.sigmoid(64)]


@st.composite
def two_times(draw, least=0):
    """A schedule and times s < t of it."""
    made = draw(st.sampled_from(SCHEDULES))
    t = draw(st.integers(least + 1, made.T))
    s = draw(st.integers(least, t - 1))
    return made, torch.tensor([s]), torch.tensor([t])


numbers = st.floats(-3, 3).map(lambda x: torch.tensor([[x]], dtype=torch.float64))


def close(a, b, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@given(times=two_times(), x0=numbers, eps=numbers)
def test_equation_3_is_the_mean_and_the_noise_of_the_formula(times, x0, eps):
    made, _, t = times
    alpha_bar = float(made.alpha_bar[t])
    expected = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps
    close(process.diffuse(made, x0, t, eps), expected, atol=1e-12)


@given(times=two_times())
def test_noising_to_s_and_on_to_t_is_noising_to_t_at_once(times):
    """Both are linear in (x0, first noise, second noise): the basis vectors give all factors."""
    made, s, t = times
    x0, first, second = torch.eye(3, dtype=torch.float64)[:, None]
    through = process.diffuse_between(made, process.diffuse(made, x0, s, first), s, t, second)
    at_once = process.diffuse(made, x0, t, first)
    close(through[0, 0], at_once[0, 0])  # the mean
    close(through[0, 1:].norm(), at_once[0, 1:].norm())  # the deviation


@given(times=two_times())
def test_alpha_between_is_the_product_of_all_the_alpha_that_lie_between(times):
    made, s, t = times
    product = (1 - made.beta[int(s) + 1 : int(t) + 1]).prod()
    close(process.alpha_between(made, s, t)[0], product)


@given(times=two_times(least=1), x0=numbers, x_t=numbers)
def test_equation_4_is_bayes_rule(times, x0, x_t):
    """Prior N(x_s; √ᾱ_s x0, 1 - ᾱ_s) times likelihood N(x_t; √α x_s, 1 - α): precisions add."""
    made, s, t = times
    alpha_bar_s, alpha = float(made.alpha_bar[s]), float(made.alpha_bar[t] / made.alpha_bar[s])
    prior, likelihood = 1 / (1 - alpha_bar_s), alpha / (1 - alpha)
    precision = prior + likelihood
    mean = (prior * math.sqrt(alpha_bar_s) * x0 + likelihood * x_t / math.sqrt(alpha)) / precision
    close(process.posterior_mean(made, x_t, x0, t, s), mean)
    close(
        process.posterior_variance(made, t, s)[0], torch.tensor(1 / precision, dtype=torch.float64)
    )


@given(times=two_times(), x0=numbers, x_t=numbers)
def test_the_last_step_ends_at_the_image_with_no_variance(times, x0, x_t):
    made, s, t = times
    zero = torch.zeros_like(s)
    close(process.posterior_mean(made, x_t, x0, t, zero), x0, atol=1e-12)
    assert float(process.posterior_variance(made, t, zero)) == 0.0


@given(times=two_times(), x0=numbers, eps=numbers)
def test_equation_16_is_equation_4_with_the_image_of_equation_6(times, x0, eps):
    made, s, t = times
    x_t = process.diffuse(made, x0, t, eps)
    image = process.x0_from_eps(made, x_t, eps, t)
    of_image = process.posterior_mean(made, x_t, image, t, s)
    of_noise = process.posterior_mean_from_eps(made, x_t, eps, t, s)
    # What is left of the image at t is divided out, and its rounding error with it.
    close(of_noise, of_image, atol=1e-13 / float(made.signal(t)))


def test_equation_6_as_the_article_prints_it_does_not_give_the_image_back():
    x0, eps = torch.tensor([[0.7]]).double(), torch.tensor([[-1.2]]).double()
    t = torch.tensor([300])
    x_t = process.diffuse(LINEAR, x0, t, eps)
    close(process.x0_from_eps(LINEAR, x_t, eps, t), x0)
    printed = (x_t - LINEAR.beta[t].sqrt() * eps) / LINEAR.signal(t)
    assert abs(float(printed - x0)) > 0.5


def test_an_image_noised_to_t_is_found_from_t_and_not_from_t_minus_one():
    x0, eps = torch.tensor([[0.7]]).double(), torch.tensor([[-1.2]]).double()
    for time in (2, 100, 500, 1000):
        t = torch.tensor([time])
        x_t = process.diffuse(LINEAR, x0, t, eps)
        close(process.x0_from_eps(LINEAR, x_t, eps, t), x0)
        assert abs(float(process.x0_from_eps(LINEAR, x_t, eps, t - 1) - x0)) > 1e-3


@given(times=two_times())
def test_fixed_large_is_beta_over_the_whole_step_and_above_fixed_small(times):
    made, s, t = times
    large = float(process.posterior_variance(made, t, s, "fixed-large"))
    assert large == pytest.approx(float(1 - made.alpha_bar[t] / made.alpha_bar[s]), rel=1e-9)
    assert large > float(process.posterior_variance(made, t, s, "fixed-small"))


@given(times=two_times(least=1), std=st.floats(0.01, 0.99))
def test_the_variance_of_gaussian_data_lies_between_fixed_small_and_fixed_large(times, std):
    """For N(0, std²): Var(x_s | x_t) by conditioning two jointly Gaussian numbers."""
    made, s, t = times
    alpha_bar_s, alpha_bar_t = float(made.alpha_bar[s]), float(made.alpha_bar[t])
    of_s = alpha_bar_s * std**2 + 1 - alpha_bar_s
    of_t = alpha_bar_t * std**2 + 1 - alpha_bar_t
    between = math.sqrt(alpha_bar_t / alpha_bar_s) * of_s
    true = of_s - between**2 / of_t
    slack = 1e-12
    assert float(process.posterior_variance(made, t, s, "fixed-small")) < true + slack
    assert true < float(process.posterior_variance(made, t, s, "fixed-large")) + slack


@pytest.mark.parametrize("kind", ["fixed-small", "fixed-large"])
def test_the_log_variance_at_time_one_is_the_posteriors_of_time_two(kind):
    t = torch.arange(1, 1001)
    log_variance = process.posterior_log_variance(LINEAR, t, t - 1, kind)
    variance = process.posterior_variance(LINEAR, t, t - 1, kind)
    of_two = float(process.posterior_variance(LINEAR, t[1:2], t[:1], "fixed-small").log())
    assert float(log_variance[0]) == pytest.approx(of_two, rel=1e-12)
    assert bool(log_variance.isfinite().all())
    close(log_variance[1:], variance[1:].log(), rtol=1e-12)
    # beta_2 (1 - ᾱ_1) / (1 - ᾱ_2), written out
    beta = 1e-4 + (0.02 - 1e-4) / 999
    assert of_two == pytest.approx(math.log(beta * 1e-4 / (1 - 0.9999 * (1 - beta))), rel=1e-9)


def test_equations_17_and_18_are_the_divergence_of_two_gaussians():
    t = torch.tensor([2, 17, 500, 1000])
    ours, other = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    deviation = process.posterior_variance(LINEAR, t, t - 1).sqrt()[:, None, None]
    expected = kl_divergence(Normal(ours, deviation), Normal(other, deviation)).sum((1, 2))
    close(process.posterior_kl(LINEAR, ours, other, t, t - 1), expected)


def test_each_image_of_a_batch_has_its_own_time():
    t, s = torch.tensor([3, 400, 1000]), torch.tensor([2, 100, 999])
    x = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for function in (process.posterior_mean, process.posterior_mean_from_eps):
        together = function(LINEAR, x, x.flip(0), t, s)
        alone = [
            function(LINEAR, x[i : i + 1], x.flip(0)[i : i + 1], t[i : i + 1], s[i : i + 1])
            for i in range(3)
        ]
        close(together, torch.cat(alone), rtol=0, atol=0)


def test_coefficients_are_computed_in_float64_and_the_images_keep_their_type():
    """1 - ᾱ_1 = 1e-4: from a float32 ᾱ it would be wrong in the fourth digit."""
    t = torch.tensor([1])
    eps = torch.ones(1, 1)
    noisy = process.diffuse(LINEAR, torch.zeros(1, 1), t, eps)
    assert noisy.dtype == torch.float32
    assert float(noisy) == pytest.approx(0.01, rel=2e-7)
    in_float32 = (1 - LINEAR.alpha_bar[1].float()).sqrt()
    assert abs(float(in_float32) / 0.01 - 1) > 2e-7
