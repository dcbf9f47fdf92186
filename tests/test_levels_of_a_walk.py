"""Schedules of real time, and the levels that a walk visits on any of them."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loang import schedule
from loang.schedule import SPACINGS

SCHEDULES = {
    "linear": schedule.linear(),
    "cosine, zero terminal SNR": schedule.cosine().with_zero_terminal_snr(),
    "edm": schedule.Edm(),
    "flow": schedule.Flow(),
}
every = pytest.mark.parametrize("made", list(SCHEDULES.values()), ids=list(SCHEDULES))


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


@every
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 10, 37])
def test_levels_begin_at_the_noisiest_and_fall_to_the_image(made, spacing, steps):
    levels = made.levels(steps, spacing)
    assert levels[0] == made.T
    assert levels[-1] == 0
    assert len(levels) == steps + 1
    assert all(t > s for t, s in itertools.pairwise(levels))


@given(total=st.integers(1, 1500), spacing=st.sampled_from(SPACINGS), data=st.data())
def test_whole_times_fall_one_by_one_at_the_least(total, spacing, data):
    steps = data.draw(st.integers(1, total))
    made = schedule.from_beta(torch.linspace(1e-3, 0.02, total, dtype=torch.float64))
    levels = made.levels(steps, spacing)
    assert all(isinstance(t, int) for t in levels)
    assert levels[0] == total
    assert levels[-1] == 0
    assert len(levels) == steps + 1
    assert all(t > s for t, s in itertools.pairwise(levels))


def test_karras_levels_are_those_of_the_paper():
    """Karras et al. 2022, eq. 5, for the first, second and last of ten."""
    levels = schedule.Edm().levels(10)
    ends = 80 ** (1 / 7), 0.002 ** (1 / 7)
    assert levels[1] == pytest.approx((ends[0] + (ends[1] - ends[0]) / 9) ** 7, rel=1e-9)
    assert levels[-2] == pytest.approx(0.002, rel=1e-9)


def test_karras_levels_begin_at_a_sigma_that_was_chosen():
    levels = schedule.Edm(0.002, 400.0).levels(8)
    ends = 400 ** (1 / 7), 0.002 ** (1 / 7)
    assert levels[1] == pytest.approx((ends[0] + (ends[1] - ends[0]) / 7) ** 7, rel=1e-9)


def test_given_times_of_a_schedule_in_steps_are_whole():
    levels = schedule.linear().levels(1, [700.4, 299.6, 0.7])
    assert levels == [1000, 700, 300, 1, 0]
    assert schedule.linear().levels(1, [700, 0.3]) == [1000, 700, 0]


@every
def test_log_snr_levels_are_evenly_spaced_in_it(made):
    levels = made.levels(8, "log-snr")[1:-1]
    log_snr = made.log_snr(torch.tensor(levels, dtype=torch.float64))
    gaps = log_snr.diff()
    # Whole times are as near as they can be.
    torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), rtol=0.25, atol=0)


def test_quadratic_levels_are_denser_near_the_image():
    assert schedule.linear().levels(5, "quadratic") == [1000, 640, 360, 160, 40, 0]


@every
def test_given_levels_are_taken_and_their_ends_are_put_in(made):
    inner = [made.T * share for share in (0.7, 0.3, 0.1)]
    assert made.levels(99, inner) == [made.T, *inner, 0]
    assert made.levels(99, [made.T, *inner, 0]) == [made.T, *inner, 0]


@every
@pytest.mark.parametrize("shares", [[0.1, 0.7], [0.5, 0.5], [2.0], [0.5, -0.1], [math.nan]])
def test_given_levels_that_do_not_fall_are_refused(made, shares):
    with pytest.raises(ValueError, match="levels must fall"):
        made.levels(3, [made.T * share for share in shares])


@every
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 20.0])
def test_the_time_of_a_sigma_has_that_sigma(made, sigma):
    found = float(made.sigma(numbers(made.time(sigma))))
    assert found == pytest.approx(sigma, rel=2e-3 if made.most_steps == made.T else 1e-9)


@every
def test_no_sigma_is_the_image_and_an_infinite_one_is_the_end(made):
    assert made.time(0.0) == pytest.approx(0, abs=1e-12)
    assert made.time(math.inf) == pytest.approx(made.T)


@pytest.mark.parametrize("name", ["linear", "cosine, zero terminal SNR"])
def test_real_times_have_the_tables_numbers_at_whole_ones_and_lie_between(name):
    made = SCHEDULES[name]
    whole = torch.arange(made.T + 1)
    assert torch.equal(made.signal(whole.double()), made.signal(whole))
    assert torch.equal(made.noise(whole.double()), made.noise(whole))
    between = whole[:-1] + 0.37
    signal, noise = made.signal(between.double()), made.noise(between.double())
    assert bool((signal < made.signal(whole[:-1])).all())
    assert bool((signal > made.signal(whole[1:])).all())
    torch.testing.assert_close(signal.square() + noise.square(), torch.ones_like(signal))


def test_edm_adds_noise_and_flow_draws_a_straight_line():
    edm, flow = schedule.Edm(), schedule.Flow()
    t = numbers(0.0, 0.25, 1.0)
    assert edm.signal(t).tolist() == [1, 1, 1]
    assert edm.noise(t).tolist() == [0, 0.25, 1]
    assert flow.signal(t).tolist() == [1, 0.75, 0]
    assert flow.noise(t).tolist() == [0, 0.25, 1]
    assert flow.zero_terminal_snr
    assert not edm.zero_terminal_snr
    assert (edm.start, flow.start) == (80, 1)


@every
def test_what_a_network_is_told_rises_over_about_a_thousand(made):
    t = torch.linspace(made.first, made.T, 200, dtype=torch.float64)
    told = made.condition(t)
    assert bool((told.diff() > 0).all())
    assert 900 < float(told[-1] - told[0]) < 1100


def test_pictures_of_noise_are_shown_at_the_size_of_an_image():
    assert float(schedule.Edm().size(numbers(80.0))) == pytest.approx(80, rel=1e-3)
    assert float(schedule.linear().size(torch.tensor(700))) == pytest.approx(1, abs=1e-12)
    assert float(schedule.Flow().size(numbers(0.5))) == 1


@pytest.mark.parametrize("sigmas", [(0, 80), (2, 1), (-1, 3), (0.1, math.inf)])
def test_an_edm_schedule_whose_sigma_does_not_rise_is_refused(sigmas):
    with pytest.raises(ValueError, match="sigma must rise"):
        schedule.Edm(*sigmas)
