"""Published figures: the sums that the diffusers library's scheduler tests pin, by our samplers.

Their set-up: an image of 768 rising numbers, a model x * t / (t + 1), the linear schedule, and
noise from `torch.manual_seed(0)`. Their times count 0..999, so theirs are ours less one.
"""

from functools import cache

import pytest
import torch
from torch import nn

from loang import parameterization, process, schedule
from loang.denoiser import Denoiser, Estimate
from loang.process import like
from loang.samplers import ddim, ddpm, dpmpp_2m

# Thousands of small steps, of functions whose signatures test_checking.py checks.
pytestmark = pytest.mark.usefixtures("unchecked_signatures")
LINEAR = schedule.linear()
LEADING = [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]
TOLERANCE = 3e-3  # theirs are float32 sums; the tests there allow 1e-2


class Ratio(nn.Module):
    """Their model: x * t / (t + 1), t counted from 0."""

    def forward(self, x, t, label=None):
        theirs = like((t - 1).double(), x)
        return x * theirs / (theirs + 1)


class KeepsNoise:
    """Their DDIM denoiser: the image is clipped, the noise stays as if it had not been."""

    schedule = LINEAR

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, x_t, t, label=None):
        factors = like(LINEAR.signal(t), x_t), like(LINEAR.noise(t), x_t)
        answer = Ratio()(x_t, t)
        x0 = parameterization.to_x0(self.kind, answer, x_t, *factors).clamp(-1, 1)
        return Estimate(x0, parameterization.to_eps(self.kind, answer, x_t, *factors))


def picture():
    return (torch.arange(768) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2).contiguous()


def last(walk):
    *_, state = walk
    return state.x


def total(x):
    return float(x.abs().double().sum())


class TheirNoise:
    """One draw after another from one generator, as often as it is asked."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
        self.draws = 0

    def __call__(self, step):
        self.draws += 1
        return torch.randn((4, 3, 8, 8), generator=self.generator)


@cache
def thousand_steps(kind, variance="fixed-small", clip=True):
    """The result, the draws that it took, and the draw that would come next."""
    noise = TheirNoise()
    denoiser = Denoiser(Ratio(), LINEAR, kind, clip)
    x = last(ddpm(denoiser, picture(), LINEAR.levels(1000), noise, variance=variance))
    return x, noise.draws, noise(999)


@pytest.mark.parametrize(
    ("kind", "variance", "published"),
    [
        ("eps", "fixed-small", 258.9606),
        ("v", "fixed-small", 202.0296),
        ("eps", "fixed-large", 261.2064),
    ],
)
def test_a_thousand_ddpm_steps_give_the_published_sum(kind, variance, published):
    x, draws, _ = thousand_steps(kind, variance)
    assert total(x) == pytest.approx(published, abs=TOLERANCE)
    assert draws == 999


@pytest.mark.parametrize(
    ("variance", "wrong"), [("fixed-small", 258.9606), ("fixed-large", 261.4616)]
)
def test_noise_wrongly_added_at_the_last_step_shows_under_fixed_large_alone(variance, wrong):
    x, _, added = thousand_steps("eps", variance)
    t = torch.ones(4, dtype=torch.long)
    deviation = process.posterior_variance(LINEAR, t, t - 1, variance).sqrt()
    assert total(x + like(deviation, x) * added) == pytest.approx(wrong, abs=TOLERANCE)


@pytest.mark.parametrize(("theirs", "published"), [(0, 0.0), (487, 0.00979), (999, 0.02)])
def test_the_fixed_small_variance_is_the_published_one(theirs, published):
    t = torch.tensor([theirs + 1])
    assert float(process.posterior_variance(LINEAR, t, t - 1)) == pytest.approx(published, abs=5e-6)


@pytest.mark.parametrize("make", [KeepsNoise, lambda kind: Denoiser(Ratio(), LINEAR, kind)])
@pytest.mark.parametrize(("kind", "published"), [("eps", 172.0067), ("v", 52.5302)])
def test_ten_ddim_steps_give_the_published_sum(kind, published, make):
    """With their denoiser and with ours: in these ten steps nothing is ever clipped."""
    noise = TheirNoise()
    x = last(ddim(make(kind), picture(), LEADING, noise))
    assert total(x) == pytest.approx(published, abs=TOLERANCE)
    assert noise.draws == 0


def test_without_clipping_the_ddpm_sum_is_another():
    x, _, _ = thousand_steps("eps", clip=False)
    assert abs(total(x) - 258.9606) > 1


@pytest.mark.parametrize(("kind", "published"), [("eps", 0.3301), ("v", 0.2251)])
def test_ten_steps_of_dpm_solver_give_the_published_mean(kind, published):
    """DPM-Solver++ 2M at round(linspace(0, 999, 11)) of theirs: it ends at their time 0, our 1."""
    noise = TheirNoise()
    theirs = reversed(torch.linspace(0, 999, 11).round().int().tolist())
    levels = [*(t + 1 for t in theirs), 0]
    *_, state, _ = dpmpp_2m(Denoiser(Ratio(), LINEAR, kind, clip=False), picture(), levels, noise)
    assert state.t == 1
    assert float(state.x.abs().double().mean()) == pytest.approx(published, abs=1e-4)
    assert noise.draws == 0
