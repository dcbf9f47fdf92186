"""Noise schedules against their formulas, published constants, and what every schedule owes."""

import math

import pytest
import torch

from loang import schedule
from loang.schedule import Discrete, from_beta

ALL = {
    "linear": schedule.linear(),
    "tutorial": schedule.linear(500),
    "scaled-linear": schedule.scaled_linear(),
    "cosine": schedule.cosine(),
    "sigmoid": schedule.sigmoid(),
    "linear, zero terminal SNR": schedule.linear().with_zero_terminal_snr(),
    "cosine, zero terminal SNR": schedule.cosine(100).with_zero_terminal_snr(),
}
each = pytest.mark.parametrize("made", list(ALL.values()), ids=list(ALL))


@pytest.mark.parametrize(
    ("t", "published"), [(0, 1.0), (1, 0.9999), (500, 0.07858724), (1000, 4.03583e-5)]
)
def test_the_linear_schedule_has_the_constants_of_ho_et_al(t, published):
    assert float(ALL["linear"].alpha_bar[t]) == pytest.approx(published, rel=2e-7)


def test_the_linear_schedule_rises_from_1e_4_to_2e_2_in_a_straight_line():
    beta = ALL["linear"].beta[1:]
    assert float(beta[0]) == pytest.approx(1e-4, rel=1e-9)
    assert float(beta[-1]) == pytest.approx(0.02, rel=1e-9)
    assert float(beta.diff().std() / beta.diff().mean()) < 1e-6


def test_the_articles_500_steps_leave_a_part_of_the_image():
    """So x_T is not N(0, I) there: of a white picture 8 % is left, which is a tint."""
    assert float(ALL["tutorial"].alpha_bar[-1]) == pytest.approx(0.00635, abs=5e-6)
    assert float(ALL["tutorial"].signal(torch.tensor(500))) == pytest.approx(0.08, abs=5e-4)


def test_the_cosine_schedule_begins_with_its_published_constant():
    assert float(ALL["cosine"].beta[1]) == pytest.approx(4.12842e-5, rel=1e-6)


def test_the_cosine_schedule_is_a_squared_cosine_until_the_last_ratio_is_held():
    def curve(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (1, 250, 500, 999):
        assert float(ALL["cosine"].alpha_bar[t]) == pytest.approx(curve(t) / curve(0), rel=1e-9)
    assert float(ALL["cosine"].beta[-1]) == pytest.approx(0.999, rel=1e-9)


def test_the_sigmoid_schedule_is_a_logistic_curve_and_symmetric():
    def logistic(u):
        return 1 / (1 + math.exp(-(-3 + 6 * u)))

    for t in (1, 250, 500, 750):
        expected = (logistic(1) - logistic(t / 1000)) / (logistic(1) - logistic(0))
        assert float(ALL["sigmoid"].alpha_bar[t]) == pytest.approx(expected, rel=1e-9)
    assert float(ALL["sigmoid"].alpha_bar[500]) == pytest.approx(0.5, abs=1e-9)


def test_the_scaled_linear_schedule_is_straight_in_the_root_of_beta():
    root = ALL["scaled-linear"].beta[1:].sqrt()
    assert float(root[0] ** 2) == pytest.approx(0.00085, rel=1e-9)
    assert float(root[-1] ** 2) == pytest.approx(0.012, rel=1e-9)
    assert float(root.diff().std() / root.diff().mean()) < 1e-6


@each
def test_time_zero_is_the_clean_image_and_there_is_one_entry_more_than_steps(made):
    zero = torch.tensor(0)
    assert len(made.alpha_bar) == len(made.beta) == made.T + 1
    assert (float(made.signal(zero)), float(made.noise(zero))) == (1.0, 0.0)
    assert float(made.beta[0]) == 0.0


@each
def test_signal_and_noise_are_float64_and_preserve_the_variance(made):
    t = torch.arange(made.T + 1)
    signal, noise = made.signal(t), made.noise(t)
    assert made.alpha_bar.dtype == signal.dtype == noise.dtype == torch.float64
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal), rtol=0, atol=1e-15)
    assert bool((signal.diff() < 0).all())
    assert bool((noise.diff() > 0).all())


@each
def test_the_product_of_one_minus_beta_is_alpha_bar(made):
    torch.testing.assert_close((1 - made.beta).cumprod(0), made.alpha_bar, rtol=1e-11, atol=0)


@each
def test_log_snr_falls_from_infinity_and_is_that_of_alpha_bar(made):
    log_snr = made.log_snr(torch.arange(made.T + 1))
    assert float(log_snr[0]) == math.inf
    assert bool((log_snr[1:].diff() < 0).all())
    alpha_bar = made.alpha_bar[1:-1]
    torch.testing.assert_close(
        log_snr[1:-1], (alpha_bar / (1 - alpha_bar)).log(), rtol=1e-9, atol=1e-9
    )
    assert (float(log_snr[-1]) == -math.inf) == made.zero_terminal_snr


@pytest.mark.parametrize("name", ["linear", "tutorial", "scaled-linear", "cosine", "sigmoid"])
def test_zero_terminal_snr_keeps_the_first_ends_at_zero_and_is_affine_between(name):
    before, after = ALL[name], ALL[name].with_zero_terminal_snr()
    assert not before.zero_terminal_snr
    assert after.zero_terminal_snr
    assert float(after.alpha_bar[-1]) == 0.0
    assert float(after.alpha_bar[1]) == pytest.approx(float(before.alpha_bar[1]), rel=1e-14)
    old, new = before.alpha_bar[1:].sqrt(), after.alpha_bar[1:].sqrt()
    slope = (new[0] - new[-1]) / (old[0] - old[-1])
    torch.testing.assert_close(new, slope * (old - old[-1]), rtol=0, atol=1e-12)


def test_from_beta_takes_back_what_beta_gives():
    beta = torch.tensor([0.1, 0.5, 0.25], dtype=torch.float64)
    made = from_beta(beta)
    torch.testing.assert_close(made.beta[1:], beta)
    torch.testing.assert_close(made.alpha_bar[1:], torch.tensor([0.9, 0.45, 0.3375]).double())


@pytest.mark.parametrize(
    "alpha_bar",
    [
        [],
        [1.0],
        [0.99, 0.5],
        [0.0, 1.0],
        [1.0, 1.0],
        [1.0, 0.5, 0.5],
        [1.0, 0.5, 0.7],
        [1.0, 0.5, -0.1],
        [1.0, 0.0, 0.0],
        [1.0, math.nan, 0.1],
        [1.0, 0.5, math.nan],
    ],
)
def test_an_alpha_bar_that_does_not_fall_from_one_towards_zero_is_refused(alpha_bar):
    with pytest.raises(ValueError, match="alpha_bar"):
        Discrete(torch.tensor(alpha_bar, dtype=torch.float64))


@pytest.mark.parametrize("steps", [-1, 0, 1001])
def test_no_steps_or_more_than_there_are_is_refused(steps):
    with pytest.raises(ValueError, match=f"{steps} steps"):
        ALL["linear"].levels(steps)


def test_fifty_levels_of_a_thousand_are_every_twentieth_and_all_are_all():
    assert ALL["linear"].levels(50) == list(range(1000, -1, -20))
    assert ALL["linear"].levels(1000) == list(range(1000, -1, -1))
    assert ALL["linear"].levels(1) == [1000, 0]
