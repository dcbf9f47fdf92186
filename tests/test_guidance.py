"""Guidance against exact denoisers: Gaussian classes, whose guided estimate has a closed form."""

import pytest
import torch

from loang import schedule
from loang.denoiser import DenoiserLike, Estimate
from loang.errors import LoangError
from loang.guidance import Guided
from loang.process import like
from loang.samplers import ddim
from loang.self_conditioning import SelfConditioned

HIDDEN = 2
EDM = schedule.Edm()
SCHEDULES = (schedule.linear(), schedule.cosine().with_zero_terminal_snr(), EDM, schedule.Flow())


class Classes:
    """The exact denoiser of Gaussian classes 0 and 1, and of one Gaussian where they are hidden."""

    def __init__(self, means=(-0.5, 0.25, 0.1), stds=(0.3, 0.3, 0.3), schedule=EDM, clip=False):
        self.schedule, self.clip, self.classes = schedule, clip, len(means) - 1
        self.means, self.stds = (torch.tensor(v, dtype=torch.float64) for v in (means, stds))
        self.batches = []

    def __call__(self, x_t, t, label=None):
        self.batches.append(len(x_t))
        if label is None:
            label = torch.full_like(t, self.classes, dtype=torch.long)
        mean, variance = like(self.means[label], x_t), like(self.stds[label] ** 2, x_t)
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        share = signal * variance / (signal**2 * variance + noise**2)
        x0 = mean + share * (x_t - signal * mean)
        x0 = x0.clamp(-1, 1) if self.clip else x0
        return Estimate(x0, (x_t - signal * x0) / noise, torch.full_like(x_t, 0.25))


def inputs(of, n=6, share=0.5):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 3, 4, generator=generator, dtype=torch.float64)
    t = of.T * share * torch.linspace(0.5, 1.5, n, dtype=torch.float64)
    return x * like(of.size(t), x), t, torch.arange(n) % HIDDEN


@pytest.mark.parametrize("of", SCHEDULES, ids=lambda of: of.name)
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 4.0])
def test_guided_gaussian_classes_of_one_width_are_gaussians_of_moved_means(of, scale):
    """Of one width their scores differ by their means alone, so guidance moves the mean by w."""
    x, t, label = inputs(of)
    moved = [0.1 + scale * (mean - 0.1) for mean in (-0.5, 0.25)]
    expected = Classes((*moved, 0.1), schedule=of)(x, t, label)
    found = Guided(Classes(schedule=of), scale)(x, t, label)
    torch.testing.assert_close(found.x0, expected.x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.eps, expected.eps, rtol=0, atol=1e-9)
    assert torch.equal(found.variance, torch.full_like(x, 0.25))


def test_classes_of_unlike_width_have_the_linear_mixture_of_both_estimates():
    x, t, label = inputs(EDM)
    gains = torch.tensor([0.2, 0.6, 0.4], dtype=torch.float64) ** 2
    means = torch.tensor([-0.5, 0.25, 0.1], dtype=torch.float64)

    def estimate(of):
        share = gains[of] / (gains[of] + t**2)
        return like(means[of], x) + like(share, x) * (x - like(means[of], x))

    hidden = estimate(torch.full_like(label, HIDDEN))
    expected = hidden + 2.5 * (estimate(label) - hidden)
    found = Guided(Classes(stds=(0.2, 0.6, 0.4)), 2.5)(x, t, label)
    torch.testing.assert_close(found.x0, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(x - like(t, x) * found.eps, expected, rtol=0, atol=1e-10)


def test_a_guided_walk_ends_in_the_gaussian_of_the_moved_mean():
    moved = 0.1 + 3 * 0.15
    first = moved + 80 * torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    guided = Guided(Classes(), 3.0)
    *_, last = ddim(guided, first, EDM.levels(200), lambda step: first, torch.ones(9).long())
    assert float(last.x.mean()) == pytest.approx(moved, abs=1e-9)
    width = float(last.x[-1] - last.x[0]) / 4
    assert width == pytest.approx(0.3, rel=0.02)


def test_a_scale_of_one_is_the_denoiser_itself_at_its_cost():
    x, t, label = inputs(EDM)
    plain, counted = Classes()(x, t, label), Classes()
    for found, expected in zip(Guided(counted, 1.0)(x, t, label), plain, strict=True):
        assert torch.equal(found, expected)
    assert counted.batches == [6]


def test_with_no_label_there_is_nothing_to_hide():
    x, t, _ = inputs(EDM)
    counted = Classes()
    assert torch.equal(Guided(counted, 5.0)(x, t).x0, Classes()(x, t).x0)
    assert counted.batches == [6]


def test_images_whose_label_is_hidden_already_are_left_alone():
    x, t, label = inputs(EDM)
    label[::2] = HIDDEN
    found, plain = Guided(Classes(), 5.0)(x, t, label), Classes()(x, t, label)
    torch.testing.assert_close(found.x0[::2], plain.x0[::2], rtol=0, atol=1e-12)
    assert (found.x0[1::2] - plain.x0[1::2]).abs().min() > 1e-6


@pytest.mark.parametrize(
    ("sigma", "guides"), [(0.1, False), (0.2, False), (0.21, True), (5.0, True), (5.01, False)]
)
def test_the_interval_is_open_below_and_closed_above(sigma, guides):
    x, _, label = inputs(EDM)
    t = torch.full((6,), sigma, dtype=torch.float64)
    counted = Classes()
    found = Guided(counted, 2.0, interval=(0.2, 5.0))(x, t, label)
    assert counted.batches == ([12] if guides else [6])
    assert torch.equal(found.x0, Classes()(x, t, label).x0) != guides


@pytest.mark.parametrize("of", SCHEDULES, ids=lambda of: of.name)
def test_each_image_has_its_own_time_in_or_out_of_the_interval(of):
    x, _, label = inputs(of)
    t = of.times(torch.tensor([0.1, 0.5, 1.0, 3.0, 7.0, 20.0], dtype=torch.float64))
    counted = Classes(schedule=of)
    found = Guided(counted, 2.0, interval=(0.3, 4.0))(x, t, label)
    assert counted.batches == [9]
    everywhere = Guided(Classes(schedule=of), 2.0)(x, t, label)
    nowhere = Classes(schedule=of)(x, t, label)
    inside = torch.tensor([False, True, True, True, False, False])
    # In batches of other sizes, some processors round the last digit otherwise.
    for mixed, guided, plain in zip(found[:2], everywhere[:2], nowhere[:2], strict=True):
        torch.testing.assert_close(mixed[~inside], plain[~inside], rtol=0, atol=1e-12)
        torch.testing.assert_close(mixed[inside], guided[inside], rtol=0, atol=1e-12)


def test_infinite_noise_is_guided_unless_an_interval_ends_before_it():
    of = SCHEDULES[1]
    x, _, label = inputs(of)
    t = torch.full((6,), of.T)
    counted = Classes(schedule=of)
    assert bool(Guided(counted, 2.0)(x, t, label).x0.isfinite().all())
    Guided(counted, 2.0, interval=(0.0, 80.0))(x, t, label)
    assert counted.batches == [12, 6]


def test_what_is_guided_is_clipped_again_and_its_noise_follows():
    x, t, label = inputs(EDM, share=0.02)
    means = (-0.9, 0.9, 0.0)
    found = Guided(Classes(means, clip=True), 4.0)(x, t, label)
    free = Guided(Classes(means, clip=False), 4.0)(x, t, label)
    assert float(free.x0.abs().max()) > 1.5
    assert float(found.x0.abs().max()) == 1
    torch.testing.assert_close(found.x0 + like(t, x) * found.eps, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rescale", [0.7, 1.0])
def test_rescaling_puts_back_each_images_own_contrast(rescale):
    """Lin et al. 2023, eq. 15-16: the whole estimate times a factor, one an image."""
    x, t, label = inputs(EDM, share=0.01)
    stds = (0.9, 0.5, 0.1)
    plain = Classes(stds=stds)(x, t, label).x0
    free = Guided(Classes(stds=stds), 3.0)(x, t, label).x0
    found = Guided(Classes(stds=stds), 3.0, rescale=rescale)(x, t, label).x0
    for own, guided, rescaled in zip(plain, free, found, strict=True):
        ratio = float(own.std() / guided.std())
        assert abs(ratio - 1) > 0.05
        factor = rescale * ratio + 1 - rescale
        torch.testing.assert_close(rescaled, factor * guided, rtol=1e-9, atol=1e-12)


def test_an_image_without_contrast_is_not_rescaled_to_nothing():
    x, t, label = torch.zeros(2, 1, 3, 4), torch.full((2,), 2.0), torch.tensor([0, 1])
    assert bool(Guided(Classes(), 3.0, rescale=1.0)(x, t, label).x0.isfinite().all())


@pytest.mark.parametrize("of", SCHEDULES, ids=lambda of: of.name)
def test_a_worse_model_guides_away_from_itself_with_and_without_labels(of):
    x, t, label = inputs(of)
    better = Classes((-0.5, 0.25, 0.1), schedule=of)
    worse = Classes((-0.2, 0.15, 0.0), schedule=of)
    moved = Classes((-0.8, 0.35, 0.2), schedule=of)
    for told in (label, None):
        found = Guided(better, 2.0, guide=worse)(x, t, told)
        torch.testing.assert_close(found.x0, moved(x, t, told).x0, rtol=0, atol=1e-12)
    assert worse.batches == better.batches == [6, 6]


def test_a_guide_without_classes_is_not_told_any():
    x, t, label = inputs(EDM)
    found = Guided(Classes(), 2.0, guide=Classes((0.1,), (0.3,)))(x, t, label).x0
    torch.testing.assert_close(found, Guided(Classes(), 2.0)(x, t, label).x0, rtol=0, atol=1e-12)


def test_a_model_that_can_not_guide_is_refused():
    with pytest.raises(LoangError, match="schedule"):
        Guided(Classes(), 2.0, guide=Classes(schedule=schedule.Edm(0.002, 40.0)))
    with pytest.raises(LoangError, match="schedule"):
        Guided(Classes(schedule=schedule.linear()), 2.0, guide=Classes(schedule=schedule.cosine()))
    with pytest.raises(LoangError, match="3 classes"):
        Guided(Classes(), 2.0, guide=Classes((0, 0, 0, 0), (1, 1, 1, 1)))
    with pytest.raises(LoangError, match="no classes"):
        Guided(Classes((0.0,), (1.0,)), 2.0)
    for interval in ((5.0, 0.2), (1.0, 1.0)):
        with pytest.raises(LoangError, match="holds no noise level"):
            Guided(Classes(), 2.0, interval=interval)
    Guided(Classes(schedule=schedule.linear()), 2.0, guide=Classes(schedule=schedule.linear()))


def test_two_batches_where_one_does_not_fit():
    asked = []

    class Small(Classes):
        def __call__(self, x_t, t, label=None):
            asked.append(len(x_t))
            if len(x_t) > 8:
                raise MemoryError
            return super().__call__(x_t, t, label)

    x, t, label = inputs(EDM)
    small = Guided(Small(), 2.0)
    for _ in range(2):
        found, expected = small(x, t, label), Guided(Classes(), 2.0)(x, t, label)
        torch.testing.assert_close(found.x0, expected.x0, rtol=0, atol=1e-12)
    assert asked == [12, 6, 6, 6, 6]  # tried once


class Remembering(Classes):
    """Sees what it is shown: half of its estimate is the image given."""

    self_conditioned = True

    def __init__(self, **asked):
        super().__init__(**asked)
        self.shown = []

    def __call__(self, x_t, t, label=None, given=None):
        estimate = super().__call__(x_t, t, label)
        self.shown.append(given.clone())
        x0 = (estimate.x0 + given) / 2
        noise = like(self.schedule.noise(t), x_t)
        return Estimate(x0, (x_t - like(self.schedule.signal(t), x_t) * x0) / noise)


def test_a_network_is_shown_its_last_estimate_and_zeros_at_first():
    first = inputs(EDM)[0]
    network = Remembering()
    states = list(ddim(SelfConditioned(network), first, [80.0, 10.0, 1.0, 0], lambda step: first))
    assert [len(network.shown), network.shown[0].any()] == [3, False]
    for state, given in zip(states, network.shown[1:], strict=False):
        assert torch.equal(state.x0, given)


def test_asked_at_one_time_again_it_shows_what_it_showed_there():
    x = inputs(EDM)[0]
    network = Remembering()
    seen = SelfConditioned(network)

    def at(sigma, image):
        return seen(image, torch.full((6,), sigma, dtype=torch.float64)).x0

    assert torch.equal(at(80.0, x), at(80.0, x))
    before = at(80.0, 2 * x)
    one, _, again = at(5.0, x), at(5.0, 3 * x), at(5.0, x)
    assert torch.equal(one, again)
    assert all(torch.equal(given, before) for given in network.shown[-3:])
    at(1.0, x)
    assert torch.equal(network.shown[-1], again)


def test_images_at_times_of_their_own_remember_on_their_own():
    x = inputs(EDM)[0]
    network = Remembering()
    seen = SelfConditioned(network)
    one = seen(x, torch.full((6,), 5.0, dtype=torch.float64)).x0
    seen(x, torch.tensor([5.0, 5.0, 5.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    assert not network.shown[-1][:3].any()
    assert torch.equal(network.shown[-1][3:], one[3:])


def test_guided_and_shown_both_networks_see_the_estimate_that_the_walk_went_by():
    x, t, label = inputs(EDM)
    network = Remembering()
    seen = SelfConditioned(Guided(network, 3.0))
    guided = seen(x, t, label).x0
    seen(x, t / 2, label)
    assert [len(given) for given in network.shown] == [12, 12]
    assert torch.equal(network.shown[1], torch.cat((guided, guided)))


def test_a_guide_that_is_not_made_for_it_is_shown_nothing():
    x, t, label = inputs(EDM)
    guided = Guided(Remembering(), 3.0, guide=Classes())
    assert guided.self_conditioned
    assert Guided(Classes(), 3.0, guide=Remembering()).self_conditioned
    assert not Guided(Classes(), 3.0).self_conditioned
    assert bool(SelfConditioned(guided)(x, t, label).x0.isfinite().all())


def test_to_a_sampler_both_are_denoisers_like_any_other():
    assert isinstance(Guided(Classes(), 2.0), DenoiserLike)
    assert isinstance(SelfConditioned(Remembering()), DenoiserLike)
