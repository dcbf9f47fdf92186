"""eps, x0 and v: each to each, in cycles, and at both ends of a schedule."""

import itertools
import math

import pytest
import torch

from loang import parameterization as p

KINDS = ("eps", "x0", "v")
TO = {"eps": p.to_eps, "x0": p.to_x0, "v": p.to_v}


def example(signal, noise):
    """Images whose every part is known: x0, eps, v and x_t."""
    generator = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, 1, 2, 3, 3, generator=generator, dtype=torch.float64)
    parts = {"x0": x0, "eps": eps, "v": signal * eps - noise * x0}
    factors = tuple(torch.full((1, 1, 1, 1), f, dtype=torch.float64) for f in (signal, noise))
    return parts, signal * x0 + noise * eps, factors


def at(share):
    """Signal and noise whose angle is this share of a right one."""
    return math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.8, 0.999])
@pytest.mark.parametrize(("given", "wanted"), list(itertools.product(KINDS, KINDS)))
def test_each_of_the_nine_conversions_is_right(given, wanted, share):
    parts, x_t, factors = example(*at(share))
    found = TO[wanted](given, parts[given], x_t, *factors)
    torch.testing.assert_close(found, parts[wanted], rtol=0, atol=1e-11)


@pytest.mark.parametrize("path", list(itertools.permutations(KINDS)))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_any_answer_comes_back_from_a_cycle_right_or_not(path, share):
    """A network's answer is no true part of x_t; the conversions are inverses all the same."""
    _, x_t, factors = example(*at(share))
    answer = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(2)).double()
    value = answer
    for given, wanted in itertools.pairwise((*path, path[0])):
        value = TO[wanted](given, value, x_t, *factors)
    torch.testing.assert_close(value, answer, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_that_part_of_the_noisy_image(kind):
    parts, _, factors = example(*at(0.4))
    torch.testing.assert_close(p.target(kind, parts["x0"], parts["eps"], *factors), parts[kind])


def test_the_velocity_is_how_fast_the_noisy_image_turns():
    """v = d x_t / d angle, for x_t = cos(angle) x0 + sin(angle) eps."""
    parts, _, _ = example(*at(0.4))
    angle, small = 0.4 * math.pi / 2, 1e-6

    def noisy(a):
        return math.cos(a) * parts["x0"] + math.sin(a) * parts["eps"]

    slope = (noisy(angle + small) - noisy(angle - small)) / (2 * small)
    torch.testing.assert_close(parts["v"], slope, rtol=0, atol=1e-8)


def test_of_pure_noise_v_and_x0_still_tell_the_image_and_eps_does_not():
    parts, x_t, factors = example(0.0, 1.0)
    torch.testing.assert_close(x_t, parts["eps"])
    torch.testing.assert_close(parts["v"], -parts["x0"])
    for kind in ("v", "x0"):
        torch.testing.assert_close(p.to_x0(kind, parts[kind], x_t, *factors), parts["x0"])
        torch.testing.assert_close(p.to_eps(kind, parts[kind], x_t, *factors), parts["eps"])
    assert not bool(p.to_x0("eps", parts["eps"], x_t, *factors).isfinite().any())


def test_of_the_clean_image_v_and_eps_still_tell_the_noise_and_x0_does_not():
    parts, x_t, factors = example(1.0, 0.0)
    torch.testing.assert_close(x_t, parts["x0"])
    torch.testing.assert_close(parts["v"], parts["eps"])
    for kind in ("v", "eps"):
        torch.testing.assert_close(p.to_eps(kind, parts[kind], x_t, *factors), parts["eps"])
        torch.testing.assert_close(p.to_x0(kind, parts[kind], x_t, *factors), parts["x0"])
    assert not bool(p.to_eps("x0", parts["x0"], x_t, *factors).isfinite().any())


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_of_squared_errors_is_that_of_a_wrong_answer(kind, share):
    signal, noise = at(share)
    parts, x_t, factors = example(signal, noise)
    wrong = parts[kind] + 0.1
    of_x0 = (p.to_x0(kind, wrong, x_t, *factors) - parts["x0"]).square().mean()
    ratio = float(p.squared_error_ratio(kind, *(factor.reshape(1) for factor in factors)))
    assert ratio == pytest.approx(0.01 / float(of_x0), rel=1e-9)
