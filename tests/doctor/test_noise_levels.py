"""Which levels are looked at, and what the errors there are said to mean."""

import math

import numpy as np
import pytest
import torch

from loang.doctor import learning
from loang.doctor.levels import Levels, apart, choose_times, compared, noisy
from loang.schedule import Edm, Flow, cosine, linear

RNG = np.random.default_rng(0)
GAUSSIAN = np.array([0.001, 0.01, 0.05, 0.1, 0.15, 0.199])[:, None] * RNG.uniform(
    0.5, 1.5, (6, 200)
)
PLAIN = np.array([0.002, 0.03, 0.1, 0.15, 0.18, 0.2])[:, None] * RNG.uniform(0.5, 1.5, (6, 200))


def said(network, **others):
    errors = {"gaussian": GAUSSIAN, "plain": PLAIN, "network": network, **others}
    levels = Levels([1, 2, 3, 4, 5, 6], [8.0, 5.0, 2.0, -1.0, -4.0, -7.0], errors, 0.2)
    part = learning.examine(levels, "v")
    return {finding.topic: finding for finding in part.findings}


def wobble(factors):
    return np.asarray(factors)[:, None] * GAUSSIAN * RNG.uniform(0.9, 1.1, GAUSSIAN.shape)


@pytest.mark.parametrize("schedule", [cosine(1000), linear(1000), linear(500), cosine(20)])
def test_levels_reach_from_faint_noise_to_nearly_nothing_else(schedule):
    times = choose_times(schedule)
    assert times == sorted(set(times))
    assert times[0] >= 1
    assert times[-1] <= schedule.T
    log_snr = [float(np.log(a / (1 - a))) for a in schedule.alpha_bar[times].tolist()]
    assert log_snr[0] > 4
    assert log_snr[-1] < -4


@pytest.mark.parametrize("schedule", [Edm(), Flow(), Edm(0.1, 5)])
def test_levels_of_a_real_time_are_evenly_spread_in_log_snr(schedule):
    times = torch.tensor(choose_times(schedule), dtype=torch.float64)
    log_snr = schedule.log_snr(times)
    assert len(times) == 10
    assert float(times.min()) > 0
    assert float(times.max()) <= schedule.T
    torch.testing.assert_close(log_snr.diff(), log_snr.diff().mean().expand(9))
    assert float(log_snr[0]) == pytest.approx(min(8, -2 * math.log(schedule.first)), abs=0.01)
    assert float(log_snr[-1]) >= -8.0001
    x0 = torch.zeros(2, 1, 8, 8)
    drawn = [noisy(schedule, x0, t, seed=0, purpose="test") for t in times.tolist()]
    sizes = torch.stack([x.std() for x in drawn]) / schedule.noise(times).float()
    assert bool(((sizes > 0.8) & (sizes < 1.2)).all())
    assert not any(torch.equal(x / drawn[0].std(), drawn[0] / drawn[0].std()) for x in drawn[1:])


def test_a_terminal_time_without_image_is_no_level():
    times = choose_times(cosine(100).with_zero_terminal_snr())
    assert 100 not in times


def test_one_that_knows_more_everywhere_is_learning():
    assert said(wobble([0.9] * 6))["learning"].verdict == "good"


def test_one_that_knows_as_much_as_a_gaussian_is_told_so():
    found = said(wobble([1.0] * 6))
    assert found["learning"].verdict == "warning"
    assert "no more of the images than a Gaussian" in found["learning"].what
    assert "worst level" not in found


def test_one_that_knows_more_at_some_levels_is_told_where_not():
    found = said(wobble([1, 1, 1.2, 0.8, 0.8, 1]))
    assert found["learning"].verdict == "note"
    assert "not yet at t = 2, 3" in found["learning"].what
    assert "It is worst at t = 3" in found["worst level"].what


def test_one_that_knows_less_than_mean_and_contrast_has_learned_nothing():
    found = said(2 * PLAIN)
    assert found["learning"].verdict == "wrong"
    assert "learned nothing" in found["learning"].what


def test_learning_by_heart_is_seen_and_chance_is_not():
    network = wobble([0.9] * 6)
    others = RNG.permuted(network, axis=1) * RNG.uniform(0.8, 1.2, network.shape)
    assert said(network, training=others)["by heart"].verdict == "good"
    assert said(network, training=0.75 * others)["by heart"].verdict == "note"
    assert said(network, training=0.5 * others)["by heart"].verdict == "warning"


def test_errors_of_ratios_cover_what_is_true():
    """Of 400 draws with a true ratio of 1, as few lie beyond two errors as a normal law says."""
    beyond = [0, 0]
    for _ in range(400):
        hardness = RNG.gamma(4, size=100)
        pair = compared(hardness * RNG.gamma(50, size=100), hardness * RNG.gamma(50, size=100))
        one, other = RNG.gamma(4, size=(3, 100)), RNG.gamma(4, size=(3, 150))
        for i, each in enumerate((pair, apart(one, other))):
            beyond[i] += abs(each.ratio - 1) > 2 * each.error
    assert all(5 <= count <= 40 for count in beyond)  # 18 are expected


def test_a_single_image_says_nothing_for_certain():
    one = np.array([0.1])
    assert not compared(one, 2 * one).lower
    assert not compared(2 * one, one).higher
