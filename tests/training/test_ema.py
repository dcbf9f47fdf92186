"""Averages of the weights, against EDM2's formula and the known trap of short runs."""

import math

import pytest
import torch

from loang.training.ema import ConstantDecay, Ema, PowerDecay, power_exponent


class NoRamp(ConstantDecay):
    """The trap: the same factor from the first step on."""

    def __call__(self, step):
        return self.decay


def averaged(decay, steps, weights):
    """The average after so many steps of "weights" that are functions of the step."""
    ema = Ema([("w", weights(0))], decay)
    for step in range(1, steps + 1):
        ema.update([("w", weights(step))], step)
    return ema.tensors["w"]


def profile(decay, steps):
    """Mean and standard deviation of the time that the average remembers, as shares of the run."""

    def powers_of_time(step):
        return torch.tensor([1.0, step / steps, (step / steps) ** 2], dtype=torch.float64)

    total, mean, square = averaged(decay, steps, powers_of_time).tolist()
    assert total == pytest.approx(1, abs=1e-9)
    return mean, math.sqrt(square - mean**2)


def kept(decay, steps):
    """The share of the average that is still the initial weights."""
    return float(averaged(decay, steps, lambda step: torch.tensor([float(step == 0)]).double()))


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_the_exponent_is_the_published_one(length, gamma):
    assert power_exponent(length) == pytest.approx(gamma, abs=5e-3)


@pytest.mark.parametrize("length", [0.01, 0.06, 0.1, 0.2, 0.27])
def test_the_exponent_solves_its_equation(length):
    gamma = power_exponent(length)
    assert (gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)) == pytest.approx(length**2, rel=1e-6)


@pytest.mark.parametrize("steps", [500, 2000])
@pytest.mark.parametrize("length", [0.05, 0.1, 0.2])
def test_the_power_average_remembers_the_same_share_of_a_run_however_long(length, steps):
    """Weights tau**gamma on 0..1: mean (gamma + 1) / (gamma + 2), deviation `length`."""
    gamma = power_exponent(length)
    mean, deviation = profile(PowerDecay(length), steps)
    assert mean == pytest.approx((gamma + 1) / (gamma + 2), abs=1.5 / steps)
    assert deviation == pytest.approx(length, rel=0.01)


def test_the_share_that_a_constant_average_remembers_shrinks_with_the_run():
    _, short = profile(ConstantDecay(0.9), 500)
    _, long = profile(ConstantDecay(0.9), 2000)
    assert long < short / 3


def test_a_constant_average_without_a_ramp_is_mostly_the_initial_weights():
    assert kept(NoRamp(0.9999), 5000) == pytest.approx(0.607, abs=1e-3)


@pytest.mark.parametrize("decay", [ConstantDecay(0.9999), PowerDecay(0.06), PowerDecay(0.2)])
def test_ours_have_forgotten_them(decay):
    assert kept(decay, 5000) < 1e-3


def test_the_power_average_is_the_weights_themselves_after_one_step():
    assert kept(PowerDecay(0.1), 1) == 0.0


def test_the_constant_average_reaches_its_factor_and_never_passes_it():
    decay = ConstantDecay(0.999)
    factors = [decay(step) for step in range(1, 20_000)]
    assert factors == sorted(factors)
    assert factors[-1] == 0.999


def test_an_average_holds_copies_and_leaves_the_weights_alone():
    weight = torch.nn.Parameter(torch.ones(2))
    ema = Ema([("w", weight)], PowerDecay(0.1))
    with torch.no_grad():
        weight.fill_(5.0)
    assert ema.tensors["w"].tolist() == [1.0, 1.0]
    assert not ema.tensors["w"].requires_grad
    ema.update([("w", weight)], 1)
    assert ema.tensors["w"].tolist() == [5.0, 5.0]
    assert weight.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("decay", [PowerDecay(0.1), ConstantDecay(0.999)])
@pytest.mark.parametrize("step", [0, -1])
def test_steps_count_from_one(decay, step):
    ema = Ema([("w", torch.ones(1))], decay)
    with pytest.raises(ValueError, match="step 1 or more"):
        ema.update([("w", torch.zeros(1))], step)
