"""The denoiser: image and noise that fit one another, whatever is predicted and clipped."""

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser, DenoiserLike
from loang.errors import LoangError
from loang.process import like

LINEAR = schedule.linear()
PURE = LINEAR.with_zero_terminal_snr()
KINDS = ("eps", "x0", "v")


class Answers(nn.Module):
    """Gives the answer that it was made with, and keeps what it was asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, None

    def forward(self, x, t, label=None):
        self.asked = x, t, label
        return self.answer


def images(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(5, 1, 4, 4, generator=generator, dtype=torch.float64)


T = torch.tensor([1, 10, 300, 700, 1000])


def pieces(x_t, estimate, t, made=LINEAR):
    return like(made.signal(t), x_t) * estimate.x0 + like(made.noise(t), x_t) * estimate.eps


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_image_and_noise_make_up_the_noisy_image_whatever_the_network_says(kind, clip):
    x_t = images(0)
    estimate = Denoiser(Answers(images(1, 5.0)), LINEAR, kind, clip)(x_t, T)
    torch.testing.assert_close(pieces(x_t, estimate, T), x_t, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_clipping_keeps_the_image_within_range_and_changes_nothing_inside(kind):
    x_t, answer = images(0), images(1, 0.7)
    free = Denoiser(Answers(answer), LINEAR, kind, clip=False)(x_t, T)
    kept = Denoiser(Answers(answer), LINEAR, kind, clip=True)(x_t, T)
    inside = free.x0.abs() <= 1
    assert bool(inside.any())
    assert not bool(inside.all())
    torch.testing.assert_close(kept.x0, free.x0.clamp(-1, 1), rtol=0, atol=0)
    torch.testing.assert_close(kept.eps[inside], free.eps[inside], rtol=0, atol=1e-9)
    assert float((kept.eps - free.eps)[~inside].abs().min()) > 0


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_knows_gives_the_true_image_and_noise(kind, clip):
    x0, eps = images(2).tanh(), images(3)
    x_t = process.diffuse(LINEAR, x0, T, eps)
    factors = like(LINEAR.signal(T), x0), like(LINEAR.noise(T), x0)
    answer = parameterization.target(kind, x0, eps, *factors)
    estimate = Denoiser(Answers(answer), LINEAR, kind, clip)(x_t, T)
    torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-10)
    torch.testing.assert_close(estimate.eps, eps, rtol=0, atol=1e-10)


def test_an_eps_network_is_refused_where_pure_noise_tells_nothing():
    with pytest.raises(LoangError, match="Predict v or x0"):
        Denoiser(Answers(None), PURE, "eps")
    Denoiser(Answers(None), LINEAR, "eps")


@pytest.mark.parametrize("kind", ["x0", "v"])
def test_the_others_are_finite_and_consistent_from_pure_noise_on(kind):
    x_t, t = images(0), torch.full((5,), 1000)
    estimate = Denoiser(Answers(images(1)), PURE, kind)(x_t, t)
    assert bool(estimate.x0.isfinite().all())
    torch.testing.assert_close(estimate.eps, x_t)
    torch.testing.assert_close(pieces(x_t, estimate, t, PURE), x_t)


def test_time_and_label_reach_the_network_as_they_are():
    network = Answers(images(1))
    x_t, label = images(0), torch.tensor([0, 1, 2, 3, 4])
    Denoiser(network, LINEAR)(x_t, T, label)
    asked_x, asked_t, asked_label = network.asked
    assert torch.equal(asked_x, x_t)
    assert torch.equal(asked_t, T)
    assert torch.equal(asked_label, label)


def test_an_answer_of_less_precision_is_turned_into_that_of_the_images():
    denoiser = Denoiser(Answers(images(1).bfloat16()), LINEAR, "eps")
    assert denoiser(images(0), T).x0.dtype == torch.float64


def test_it_is_what_samplers_ask_for():
    assert isinstance(Denoiser(Answers(None), LINEAR), DenoiserLike)
