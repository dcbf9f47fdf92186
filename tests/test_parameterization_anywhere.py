"""Every kind of prediction on every kind of schedule: signal² + noise² need not be 1."""

import math

import pytest
import torch

from loang import parameterization as p
from loang import schedule
from loang.process import like

KINDS = ("eps", "x0", "v", "flow", "edm")
SCHEDULES = {
    "cosine": (schedule.cosine(), [1, 30, 500, 999]),
    "edm": (schedule.Edm(), [0.002, 0.1, 1.0, 80.0]),
    "flow": (schedule.Flow(), [0.001, 0.3, 0.5, 0.999]),
}
every = pytest.mark.parametrize("name", list(SCHEDULES))


def example(name):
    """(x0, eps, x_t, signal, noise) at four times, in float64."""
    made, times = SCHEDULES[name]
    generator = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 4, 1, 3, 3, generator=generator, dtype=torch.float64)
    t = torch.tensor(times)
    signal, noise = like(made.signal(t), x0), like(made.noise(t), x0)
    return x0, eps, signal * x0 + noise * eps, signal, noise


@every
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deviation", [0.5, 1.3])
def test_the_target_gives_back_image_and_noise(name, kind, deviation):
    x0, eps, x_t, signal, noise = example(name)
    target = p.target(kind, x0, eps, signal, noise, deviation)
    factors = (signal, noise, deviation)
    torch.testing.assert_close(p.to_x0(kind, target, x_t, *factors), x0, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(p.to_eps(kind, target, x_t, *factors), eps, rtol=1e-7, atol=1e-9)


@every
@pytest.mark.parametrize("kind", KINDS)
def test_any_answer_makes_up_the_noisy_image(name, kind):
    x0, eps, x_t, signal, noise = example(name)
    answer = x0.flip(0) - 2 * eps.flip(1)
    found_x0 = p.to_x0(kind, answer, x_t, signal, noise)
    found_eps = p.to_eps(kind, answer, x_t, signal, noise)
    torch.testing.assert_close(signal * found_x0 + noise * found_eps, x_t, rtol=1e-7, atol=1e-7)


@every
@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_of_squared_errors_is_that_of_a_wrong_answer(name, kind):
    x0, eps, x_t, signal, noise = example(name)
    wrong = p.target(kind, x0, eps, signal, noise) + 0.1
    of_x0 = (p.to_x0(kind, wrong, x_t, signal, noise) - x0).square().flatten(1).mean(1)
    ratio = p.squared_error_ratio(kind, signal.flatten(), noise.flatten())
    torch.testing.assert_close(ratio, 0.01 / of_x0, rtol=1e-6, atol=0)


@pytest.mark.parametrize("sigma", [0.002, 0.3, 0.5, 7.0, 80.0])
def test_edm_is_the_preconditioning_of_karras_et_al(sigma):
    """D = c_skip x + c_out F (their eq. 7), with the factors of their table 1."""
    d, s = 0.5, torch.tensor([sigma], dtype=torch.float64)
    x, answer = torch.tensor([1.7], dtype=torch.float64), torch.tensor([-0.4], dtype=torch.float64)
    skip, out = d**2 / (sigma**2 + d**2), sigma * d / math.sqrt(sigma**2 + d**2)
    found = p.to_x0("edm", answer, x, torch.ones_like(s), s, d)
    assert float(found) == pytest.approx(skip * 1.7 - out * 0.4, rel=1e-12)
    assert float(p.edm_size(torch.ones_like(s), s, d)) == pytest.approx(math.sqrt(sigma**2 + d**2))


@every
def test_the_target_of_edm_has_unit_variance_for_images_of_that_deviation(name):
    made, times = SCHEDULES[name]
    generator = torch.Generator().manual_seed(4)
    x0 = 0.3 * torch.randn(len(times), 40_000, generator=generator, dtype=torch.float64)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    t = torch.tensor(times)
    factors = like(made.signal(t), x0), like(made.noise(t), x0)
    found = p.target("edm", x0, eps, *factors, 0.3).std(1)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0.02, atol=0)


def test_edm_of_unit_images_is_v_with_its_sign_turned_on_a_circle():
    x0, eps, _, signal, noise = example("cosine")
    v, edm = (p.target(kind, x0, eps, signal, noise, 1.0) for kind in ("v", "edm"))
    torch.testing.assert_close(edm, -v)


def test_flow_is_the_slope_of_the_straight_line():
    x0, eps, *_ = example("flow")
    made, t = schedule.Flow(), torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)

    def at(time):
        return like(made.signal(time), x0) * x0 + like(made.noise(time), x0) * eps

    slope = (at(t + 1e-6) - at(t - 1e-6)) / 2e-6
    target = p.target("flow", x0, eps, like(made.signal(t), x0), like(made.noise(t), x0))
    torch.testing.assert_close(slope, target, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["x0", "v", "flow", "edm"])
def test_from_pure_noise_all_but_eps_tell_the_image(kind):
    x0, eps = torch.full((1, 1), 0.3).double(), torch.full((1, 1), -1.1).double()
    signal, noise = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    target = p.target(kind, x0, eps, signal, noise)
    torch.testing.assert_close(p.to_x0(kind, target, eps, signal, noise), x0)
    torch.testing.assert_close(p.to_eps(kind, target, eps, signal, noise), eps)
