"""Likelihoods against data whose own is known: Gaussians, and levels with known frequencies.

Of Gaussian data N(0, v) everything is a closed form, and the bound is quadratic in image and noise,
so an "image" of four values, all signs of both, gives its mean with nothing drawn. Of levels with
given frequencies the entropy is what a perfect model takes, and the best denoiser is a sum.
"""

import math

import pytest
import torch

from loang import random, schedule
from loang.denoiser import Estimate
from loang.errors import LoangError
from loang.likelihood import bound, drawn, every, flow
from loang.likelihood.bound import decoder_term, first_look, last_log_variance, prior_term
from loang.likelihood.solver import integrate
from loang.process import like

LN2 = math.log(2)
NEAR = 1e-3 * LN2  # a thousandth of a bit, in nats
SHORT = schedule.cosine(50)
SCHEDULES = [
    schedule.cosine(),
    schedule.linear(),
    schedule.linear().with_zero_terminal_snr(),
    schedule.Edm(),
    schedule.Flow(),
]
REAL_TIME = [schedule.Edm(), schedule.Flow()]


def named(of):
    return of.name


class Gaussian:
    """The best denoiser of data N(0, covariance)."""

    def __init__(self, of, covariance, variance=None):
        self.schedule, self.covariance, self.share = of, covariance, variance

    def __call__(self, x_t, t, label=None):
        signal, noise = self.schedule.signal(t), self.schedule.noise(t)
        one = torch.eye(len(self.covariance), dtype=torch.float64)
        a2, s2 = signal[:, None, None] ** 2, noise[:, None, None] ** 2
        whole = a2 * self.covariance + s2 * one
        gain = torch.linalg.solve(whole, self.covariance.expand_as(whole))
        x0 = like(signal, x_t) * (gain.mT @ x_t.flatten(1)[..., None]).reshape(x_t.shape)
        # With a signal of 0, the mean of the noise is x_t itself.
        eps = (x_t - like(signal, x_t) * x0) / like(noise, x_t)
        share = None if self.share is None else torch.full_like(x0, self.share)
        return Estimate(x0, eps, share)


class Levels:
    """The best denoiser of values at levels of [-1, 1] with given frequencies."""

    def __init__(self, of, frequencies):
        self.schedule, self.log = of, frequencies.log()
        self.levels = torch.linspace(-1, 1, len(frequencies), dtype=torch.float64)

    def __call__(self, x_t, t, label=None):
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        apart = (x_t[..., None] - signal[..., None] * self.levels) / noise[..., None]
        weight = (self.log - apart.square() / 2).softmax(-1)
        x0 = (weight * self.levels).sum(-1)
        return Estimate(x0, (x_t - signal * x0) / noise)


def alone(of, variance, values=4, share=None):
    return Gaussian(of, variance * torch.eye(values, dtype=torch.float64), share)


def signs(variance):
    """Image and noise of four values, whose squares and products have the means of Gaussians."""
    both = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]], dtype=torch.float64)
    image, eps = both.reshape(2, 1, 1, 1, 4)
    return image * variance**0.5, lambda step: eps


def constant(value):
    return lambda look: torch.tensor([value], dtype=torch.float64)


def per_value(term):
    return float(term.sum()) / 4


@pytest.mark.parametrize("variance", [0.05, 0.25, 1.0])
def test_the_sum_of_all_steps_is_the_closed_form(variance):
    x0, noise = signs(variance)
    terms = bound(alone(SHORT, variance, share=0.3), x0, every(SHORT, 1, x0.device), noise)
    assert set(terms) == {"fixed-small", "fixed-large", "learned"}
    t = torch.arange(2, 51)
    snr = SHORT.alpha_bar / (1 - SHORT.alpha_bar)
    left = variance / (1 + variance * snr[t])  # the error of x0 that is left
    small = (snr[t - 1] - snr[t]) * left / 2
    beta, before, after = SHORT.beta[t], 1 - SHORT.alpha_bar[t - 1], 1 - SHORT.alpha_bar[t]
    ratio = before / after  # of the posterior's variance to beta
    assert per_value(terms["fixed-small"].diffusion) == pytest.approx(float(small.sum()), rel=1e-9)
    for way, share in (("fixed-large", 1.0), ("learned", 0.3)):
        shrunk = ratio**share
        expected = (shrunk - 1 - shrunk.log()) / 2 + small * shrunk
        assert per_value(terms[way].diffusion) == pytest.approx(float(expected.sum()), rel=1e-9)
    assert float(beta.min()) > 0
    end = float(SHORT.alpha_bar[-1])
    expected = (1 - end + end * variance - 1 - math.log(1 - end)) / 2
    assert per_value(terms["learned"].prior) == pytest.approx(expected, abs=1e-12)


def test_drawn_looks_are_right_on_average_and_close_at_once():
    x0, noise = signs(0.05)
    denoiser = alone(SHORT, 0.05)
    exact = bound(denoiser, x0, every(SHORT, 1, x0.device), noise)
    indices = torch.arange(400)

    def uniform(look):
        return random.uniform(seed=0, purpose="test", step=look, indices=indices)

    many = x0.expand(400, -1, -1, -1)
    found = bound(
        denoiser, many, drawn(SHORT, 8, uniform), lambda step: noise(step).expand_as(many)
    )
    for way, terms in exact.items():
        values, expected = found[way].diffusion / 4, per_value(terms.diffusion)
        error = float(values.std()) / 20
        assert float(values.mean()) == pytest.approx(expected, abs=4 * error), way
        assert float(values.std()) < 0.25 * expected, way


@pytest.mark.parametrize("of", [SHORT, schedule.Edm(), schedule.Flow()], ids=named)
def test_every_look_counts_for_what_it_stands_for(of):
    """Their weights come to the number of steps, or to all of the SNR."""
    places = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    (look,) = drawn(of, 1, lambda look: places + 0.5 / 20_000)
    ends = torch.tensor([of.first, of.T], dtype=torch.float64)
    most, least = of.log_snr(ends).exp().tolist()
    expected = 49 if of is SHORT else most - least
    assert float(look.weight.mean()) == pytest.approx(expected, rel=1e-2)
    assert of.first < float(look.t.min())
    assert float(look.t.max()) <= of.T


@pytest.mark.parametrize("of", REAL_TIME, ids=named)
@pytest.mark.parametrize("variance", [0.04, 1.0])
def test_real_time_gives_what_the_first_time_knows_of_the_image(of, variance):
    """Prior and diffusion are the mutual information of x_first and the image, by two ends."""
    x0, noise = signs(variance)
    terms = bound(alone(of, variance), x0, drawn(of, 300, constant(0.5)), noise)
    ends = torch.tensor([of.first, of.T], dtype=torch.float64)
    won = (variance * of.log_snr(ends).exp()).log1p() / 2
    for each in terms.values():
        found = per_value(each.prior + each.diffusion)
        # What a walk's start does not know of the data is in the prior.
        expected = float(won[0] - won[1]) + per_value(prior_term(of, x0))
        assert found == pytest.approx(expected, abs=NEAR)


def discrete(count, frequencies):
    """Values that have the frequencies as exactly as can be, one an image."""
    levels = torch.linspace(-1, 1, len(frequencies), dtype=torch.float64)
    ends = frequencies.cumsum(0)
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return levels[torch.searchsorted(ends, place)].reshape(-1, 1, 1, 1)


def gaussian_levels(count, std):
    weight = (-0.5 * (torch.linspace(-1, 1, count, dtype=torch.float64) / std) ** 2).exp()
    return weight / weight.sum()


def keyed(count, purpose):
    indices = torch.arange(count)

    def noise(step):
        drawn_now = random.normal((1, 1, 1), seed=1, purpose=purpose, step=step, indices=indices)
        return drawn_now.double()

    return noise, lambda step: random.uniform(
        seed=1, purpose=purpose + " times", step=step, indices=indices
    )


@pytest.mark.parametrize("of", [schedule.Edm(0.015), schedule.Flow(0.015)], ids=named)
def test_a_perfect_model_takes_the_entropy_by_both_methods(of):
    frequencies = gaussian_levels(16, 0.3)
    entropy = -float((frequencies * frequencies.log()).sum())
    count = 40_000
    x0 = discrete(count, frequencies)
    noise, uniform = keyed(count, "levels")
    denoiser = Levels(of, frequencies)
    terms = bound(denoiser, x0, drawn(of, 24, uniform), noise, levels=16)
    total = terms["estimate"].total
    error = float(total.std()) / count**0.5
    assert error < 0.012
    assert float(total.mean()) == pytest.approx(entropy, abs=4 * error)
    few = x0[::40]
    estimate, x_1, t = first_look(denoiser, few, noise(0)[::40])
    level = float(of.noise(t[:1]))
    known = -(noise(0)[::40].flatten() ** 2) / 2 - math.log(level * math.sqrt(2 * math.pi))
    found = flow(denoiser, x_1, tolerance=1e-5)
    decoder = decoder_term(few, estimate.x0, last_log_variance(of, few, t), 16)
    nats = decoder + known - found.log_density
    # Levels are told from their own noise with certainty: the density's noise is all that is left.
    exact = torch.zeros(len(few), dtype=torch.float64)
    for frequency, at in zip(frequencies, denoiser.levels, strict=True):
        apart = (x_1.flatten() - float(of.signal(t[:1])) * at) / level
        exact += frequency * (-(apart**2) / 2).exp() / (level * math.sqrt(2 * math.pi))
    assert float((nats - (known - exact.log())).abs().mean()) < NEAR
    assert float(nats.mean()) == pytest.approx(entropy, abs=0.01)


MIXED = torch.tensor([[0.8, 0.1, 0.3], [0.0, 0.3, -0.2], [0.0, 0.0, 0.05]]).double()
COVARIANCE = MIXED @ MIXED.T
POINTS = torch.tensor([[0.5, -0.2, 0.01], [0.0, 0.0, 0.0], [-1.0, 0.4, 0.03]]).double()


def through_the_flow(of, x):
    """The log-density that the flow gives to x at the first time: it stretches each direction."""
    ends = torch.tensor([of.first, of.T], dtype=torch.float64)
    size = torch.hypot(of.signal(ends), of.noise(ends))
    variances, directions = torch.linalg.eigh(COVARIANCE)
    first, last = ((of.signal(ends) / size) ** 2)[:, None] * (variances - 1) + 1
    start = of.start / size[1]
    along = (x @ directions) / size[0] * (last / first).sqrt() / start
    normal = -(along**2) / 2 - math.log(2 * math.pi) / 2 - start.log()
    return (normal + (last / first).log() / 2 - size[0].log()).sum(1)


@pytest.mark.parametrize("of", SCHEDULES, ids=named)
def test_the_flow_of_gaussian_data_has_the_known_density(of):
    found = flow(Gaussian(of, COVARIANCE), POINTS.reshape(3, 1, 1, 3), tolerance=1e-5)
    error = (found.log_density - through_the_flow(of, POINTS)).abs() / 3
    assert float(error.max()) < NEAR / 10
    # And that is the data's own, but for what a walk's start does not know of it.
    t = torch.tensor([of.first], dtype=torch.float64)
    one = torch.eye(3, dtype=torch.float64)
    own = torch.distributions.MultivariateNormal(
        torch.zeros(3).double(), of.signal(t) ** 2 * COVARIANCE + of.noise(t) ** 2 * one
    ).log_prob(POINTS)
    assert float((found.log_density - own).abs().max()) / 3 < NEAR


def test_random_signs_give_the_trace_on_average():
    of, count = schedule.cosine(), 400
    x = POINTS[:1].expand(count, 3).reshape(count, 1, 1, 3)
    words = random.words(3, seed=0, purpose="test", step=0, indices=torch.arange(count))
    probe = (2.0 * (words & 1) - 1).reshape(x.shape)
    found = flow(Gaussian(of, COVARIANCE), x, probes=[probe], tolerance=1e-4).log_density
    exact = float(through_the_flow(of, POINTS[:1]))
    error = float(found.std()) / count**0.5
    assert 0 < error < 0.1
    assert float(found.mean()) == pytest.approx(exact, abs=4 * error)
    # Probes are averaged: with all eight signs, nothing is left to chance.
    eight = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    probes = [signs.reshape(1, 1, 1, 3) for signs in eight]
    found = flow(Gaussian(of, COVARIANCE), x[:1], probes=probes, tolerance=1e-5).log_density
    assert float(found) == pytest.approx(exact, abs=3 * NEAR / 10)


def test_the_solver_keeps_to_the_error_that_is_asked_for():
    """y' = -50 (y - cos t), whose solution is known, in few evaluations."""

    def field(at, state):
        return -50 * (state - math.cos(at))

    def exact(at):
        return (2500 * math.cos(at) + 50 * math.sin(at)) / 2501

    asked = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        start = torch.tensor([[exact(0.0)]], dtype=torch.float64)
        state, evaluations = integrate(
            field,
            start,
            0.0,
            2.0,
            first=0.1,
            size=lambda error, tolerance=tolerance: float(error.abs().max()) / tolerance,
        )
        assert abs(float(state) - exact(2.0)) < 2 * tolerance
        asked.append(evaluations)
    assert asked == sorted(asked)
    assert asked[-1] < 1500


def test_a_field_that_is_no_number_is_refused_soon():
    with pytest.raises(LoangError, match="can't be followed"):
        integrate(
            lambda at, state: state * math.nan,
            torch.ones(1, 2, dtype=torch.float64),
            0.0,
            1.0,
            first=0.1,
            size=lambda error: float(error.abs().max()),
        )
