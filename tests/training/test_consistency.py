"""A student leaps where its teacher walks: identities, exact solutions, and whole runs."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from checking import unchecked
from loang import parameterization, samplers
from loang.build import build_schedule
from loang.config import ScheduleSettings, Settings, changed
from loang.data import Images, ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.guidance import Guided
from loang.samplers.consistency import consistency
from loang.training import consistency as module
from loang.training.consistency import Consistency
from loang.training.examples import Source
from loang.training.leaps import leaps, step, two_leaps
from loang.training.objective import Moment

SPREAD = 0.4  # standard deviation of the values of the images of these tests
SPEC = ImageSpec(4, 4, 1, depth="float32", low=-1.0, high=1.0)
SCHEDULES = {
    "cosine": ScheduleSettings(kind="cosine", steps=1000),
    "pure noise": ScheduleSettings(kind="linear", steps=200, zero_terminal_snr=True),
    "edm": ScheduleSettings(kind="edm"),
    "flow": ScheduleSettings(kind="flow"),
}


@pytest.fixture(params=SCHEDULES, name="schedule")
def _schedule(request):
    return build_schedule(SCHEDULES[request.param])


def sigma(schedule, t):
    return schedule.sigma(torch.as_tensor(t, dtype=torch.float64)).reshape(-1, 1, 1, 1)


class Walker(nn.Module):
    """The exact image at (x_t, t) of N(0, SPREAD²), as an x0-network: that of a single step to 0.

    With `levels`, that of the exact leap along the walk to the level below t.
    """

    def __init__(self, schedule, levels=None):
        super().__init__()
        self.schedule, self.levels = schedule, levels
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, condition, label=None):
        t = self.times(condition)
        schedule = self.schedule
        signal, noise = (like(each(t)).double() for each in (schedule.signal, schedule.noise))
        if schedule.start > 1:  # the denoiser shows it at the size of an image
            x = x * like(schedule.size(t))
        if self.levels is None:
            image = SPREAD**2 * signal / (SPREAD**2 * signal**2 + noise**2) * x
        else:
            ends = torch.tensor(sorted(self.levels), dtype=torch.float64)
            end = sigma(
                schedule, ends[torch.searchsorted(ends, t - 1e-6 * ends[-1]).clamp(min=1) - 1]
            )
            # Karras et al. 2022, eq. 1, in z = x / signal: dz / dsigma = (z - x0) / sigma. On the
            # walk z changes as its own spread does.
            spread = (SPREAD**2 * signal**2 + noise**2).sqrt()
            after = (SPREAD**2 + end**2).sqrt() / spread * x
            image = (after - end / noise * x) / (1 - end * signal / noise)
        return image.float() + self.unused

    def times(self, condition):
        known = torch.as_tensor(condition, dtype=torch.float64)
        name = self.schedule.name
        return (known / 100).exp() if name == "edm" else known / 1000 if name == "flow" else known


def objective(schedule, network, *changes, count=64):
    """Of images of N(0, SPREAD²), with the exact denoiser for teacher."""
    generator = torch.Generator().manual_seed(0)
    pixels = SPREAD * torch.randn((count, 4, 4, 1), generator=generator)
    base = Settings().to_dict() | {"training": {"objective": "consistency", "batch": count}}
    settings = changed(Settings.model_validate(base), changes)
    denoiser = Denoiser(network, schedule, "x0", clip=False)
    source = Source(Images(pixels.numpy(), SPEC), settings, 0, torch.device("cpu"))
    subject = Consistency(denoiser, source, settings)
    subject.teacher = Denoiser(Walker(schedule), schedule, "x0", clip=False)
    return subject


def loss(subject, share=1.0):
    return subject.loss(Moment(0, 0, share), torch.arange(64)).weighted.double().mean().item()


def test_its_angles_lie_on_the_device_as_that_has_numbers(schedule, monkeypatch):
    """Apple's GPU has no float64, which the levels are worked out in."""
    monkeypatch.setattr(module, "widest", lambda device: torch.float32)
    assert objective(schedule, Walker(schedule)).ends.dtype == torch.float32


def test_levels_lie_at_equal_angles_of_signal_and_noise(schedule):
    levels = leaps(schedule, 3)
    assert (levels[0], levels[-1]) == (schedule.T, 0)
    found = sigma(schedule, levels[1:3]).flatten().atan() / math.pi
    np.testing.assert_allclose(found, [1 / 3, 1 / 6], rtol=0.02)


@pytest.mark.parametrize("share", [0.3, 0.0], ids=["level", "image"])
def test_the_image_of_two_leaps_lands_where_they_do(schedule, share):
    generator = torch.Generator().manual_seed(0)
    x, first, second = torch.randn((3, 2, 1, 2, 2), generator=generator, dtype=torch.float64)
    t = torch.tensor([schedule.T, 0.7 * schedule.T], dtype=torch.float64)
    r, s = 0.5 * t, share * t
    landed = step(schedule, step(schedule, x, first, t, r), second, r, s)
    image = two_leaps(schedule, first, second, t, r, s)
    torch.testing.assert_close(step(schedule, x, image, t, s), landed, rtol=1e-6, atol=1e-6)


def test_a_step_with_the_image_that_was_noised_keeps_its_noise(schedule):
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn((2, 2, 1, 2, 2), generator=generator, dtype=torch.float64)
    t = torch.full((2,), float(schedule.T), dtype=torch.float64)
    s = 0.4 * t
    x_t, x_s = (
        schedule.signal(at).reshape(-1, 1, 1, 1) * x0
        + schedule.noise(at).reshape(-1, 1, 1, 1) * eps
        for at in (t, s)
    )
    torch.testing.assert_close(step(schedule, x_t, x0, t, s), x_s, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["leaps", "consistency"])
def test_the_exact_leap_has_next_to_no_loss_and_others_have(schedule, method):
    steps = 2 if method == "leaps" else 1
    fine = (f"distillation.method={method}", "distillation.chain=[64,64]")
    least = loss(objective(schedule, Walker(schedule, leaps(schedule, steps)), *fine))
    assert least < 1e-4
    assert loss(objective(schedule, Walker(schedule), *fine)) > 20 * least
    assert loss(objective(schedule, Walker(schedule, leaps(schedule, 3)), *fine)) > 20 * least


@pytest.mark.parametrize(("method", "least"), [("leaps", 3), ("consistency", 11)])
def test_what_a_student_learns_is_of_the_first_order_in_short_steps(schedule, method, least):
    """DDIM's error is as h over a walk, as h² in one step: half of h divides its square so."""
    exact = Walker(schedule, leaps(schedule, 1))
    way = ("distillation.steps=1", f"distillation.method={method}")
    coarse, fine = (
        loss(objective(schedule, exact, f"distillation.chain=[{n},{n}]", *way)) for n in (32, 64)
    )
    assert least < coarse / fine < 1.5 * least


def test_what_follows_images_walks_on_their_own_noise(schedule):
    """x_t, and x_r a short step below it, have one x_0 and one eps: of these the target is."""
    subject = objective(
        schedule, Walker(schedule, leaps(schedule, 1)), "distillation.method=tuning", *ONE
    )
    seen = []
    subject.denoiser.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    subject.denoiser._input = lambda x_t, t: seen.append((x_t, t)) or x_t
    loss(subject)
    (x_r, r), _, (x_t, t), _ = seen
    x0, _, _ = subject.source(0, 64)
    inside = (r > schedule.first * 1.001).reshape(-1)
    eps_t, eps_r = (
        (x - like(schedule.signal(at)) * x0) / like(schedule.noise(at))
        for x, at in ((x_t, t), (x_r, r))
    )
    assert inside.sum() > 40
    torch.testing.assert_close(eps_t[inside], eps_r[inside], rtol=1e-3, atol=1e-3)
    assert bool((t > r)[inside].all())


ONE = ("distillation.steps=1", "distillation.chain=[16,16]")


def like(factor):
    return factor.reshape(-1, 1, 1, 1).float()


def test_both_ends_of_a_short_step_have_the_same_dropout():
    class Drops(Walker):
        def forward(self, x, condition, label=None):
            return nn.functional.dropout(super().forward(x, condition), 0.5)

    schedule = build_schedule(SCHEDULES["flow"])
    # So short a step that all that is left of the loss is what dropout does.
    tiny = (
        "distillation.chain=[100000,100000]",
        "distillation.method=consistency",
    )
    kept = loss(objective(schedule, Drops(schedule), *tiny))
    assert kept < 1e-4


def test_the_number_of_short_steps_in_a_leap_grows_by_factors():
    schedule = build_schedule(SCHEDULES["flow"])
    method = ("distillation.method=consistency", "distillation.chain=[8,32]")
    subject = objective(schedule, Walker(schedule), *method)
    assert [math.pi / 2 / subject._short(share) for share in (0, 0.5, 1)] == pytest.approx(
        [8, 16, 32]
    )


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_sampler_consistency_draws_the_data_with_an_exact_leap_to_the_image(schedule, steps):
    denoiser = Denoiser(Walker(schedule, leaps(schedule, 1)), schedule, "x0", clip=False)
    generator = torch.Generator().manual_seed(steps)

    def noise(_):
        return torch.randn((400, 1, 4, 4), generator=generator)

    levels = schedule.levels(steps)
    *_, last = consistency(denoiser, schedule.start * noise(0), levels, noise)
    assert last.t == 0
    assert last.x.std().item() == pytest.approx(SPREAD, rel=0.03)


class Gains(nn.Module):
    """x0 = g(t) x, with g of a few numbers: all that Gaussian data need."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
        self.out = nn.Linear(32, 1)

    def forward(self, x, condition, label=None):
        angle = condition.float().reshape(-1, 1) / 500 - 1
        return self.out(self.layers(angle)).reshape(-1, 1, 1, 1) * x


def test_a_student_draws_in_two_steps_what_its_teacher_draws_in_many():
    """The teacher's own two steps draw values of another spread."""
    schedule = build_schedule(SCHEDULES["cosine"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Gains()
    subject = objective(schedule, network, "distillation.chain=[8,8]")
    subject.denoiser.kind = "v"
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    with unchecked():
        for number in range(150):
            optimizer.zero_grad()
            moment = Moment(number, 64 * number, number / 150)
            subject.loss(moment, torch.arange(64)).weighted.mean().backward()
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * (1 - moment.share)
            optimizer.step()

    def spread(denoiser, levels):
        x = torch.randn((64, 1, 4, 4), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            *_, last = samplers.named("ddim")(denoiser, x / x.std(), levels, torch.randn)
        return last.x.std().item()

    two = leaps(schedule, 2)
    aim = spread(subject.teacher, leaps(schedule, 16))
    assert abs(spread(subject.teacher, two) - aim) > 0.06
    assert spread(subject.denoiser, two) == pytest.approx(aim, abs=0.015)


class Labelled(nn.Module):
    """An x0-network that sees another image for each label, for none, and for what it is told."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, condition, label=None, augmentation=None):
        image = torch.tanh(0.5 * x + 0.3 * (label.reshape(-1, 1, 1, 1) - 1)) + self.unused
        return image if augmentation is None else image * augmentation.reshape(-1, 1, 1, 1)


class Told(Labelled):
    """The same, told always the same."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x, condition, label=None):
        return super().forward(x, condition, label, torch.full((len(x), 1), float(self.what)))


@pytest.mark.parametrize("interval", [None, (0.2, 1.5)])
@pytest.mark.parametrize("clip", [False, True])
def test_a_teacher_is_guided_as_sampling_is(schedule, interval, clip):
    asked = [] if interval is None else [f"distillation.guidance_interval={list(interval)}"]
    subject = objective(schedule, Labelled(), "distillation.guidance=3", *asked)
    subject.teacher = Denoiser(Labelled(), schedule, "x0", clip=clip)
    t = schedule.times(torch.tensor([0.1, 0.8, 1.4, 5.0], dtype=torch.float64))
    x_t = 2 * torch.randn((4, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 2, 3, 1])
    expected = Guided(subject.teacher, 3, interval=interval)(x_t, t, label).x0
    torch.testing.assert_close(subject._seen(x_t, t, label, None), expected)
    alone = subject.teacher(x_t, t, label).x0
    twice = subject._seen(x_t, t, label, torch.full((4, 1), 2.0))
    told = Denoiser(Told(2), schedule, "x0", clip=clip)
    torch.testing.assert_close(twice, Guided(told, 3, interval=interval)(x_t, t, label).x0)
    guided = (expected != alone).flatten(1).any(1).tolist()
    assert guided == [interval is None, True, False, interval is None]  # the third has no label


def test_a_student_may_start_where_its_own_leaps_lead(schedule):
    """From pure noise at the first level, and at others where its sampler would come."""
    way = ("distillation.steps=3", "distillation.starts=own")
    subject = objective(schedule, Walker(schedule), *way)
    noise = torch.randn((3, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    states = list(
        samplers.named("ddim")(
            subject.denoiser, schedule.start * noise, leaps(schedule, 3), torch.randn
        )
    )
    angles = subject.ends.flip(0)[:3]

    def at(number):
        return subject._landed(0 * noise, noise, angles[number].repeat(3), None, None)

    for number in range(3):
        torch.testing.assert_close(at(number), states[number].x, rtol=1e-5, atol=1e-5)
    mixed = subject._landed(0 * noise, noise, angles, None, None)
    for number in range(3):
        torch.testing.assert_close(mixed[number], at(number)[number])


def test_its_own_leaps_know_the_label_and_what_is_told_of_each_image(schedule):
    subject = objective(schedule, Labelled(), "distillation.steps=3", "distillation.starts=own")
    noise = torch.randn((3, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    label, told = torch.tensor([2, 0, 1]), torch.tensor([[1.0], [0.5], [0.2]])
    angles = subject.ends.flip(0)[:3]
    mixed = subject._landed(0 * noise, noise, angles, label, told)
    for n in range(3):
        alone = slice(n, n + 1)
        single = subject._landed(
            0 * noise[alone], noise[alone], angles[alone], label[alone], told[alone]
        )
        torch.testing.assert_close(mixed[alone], single)
        denoiser = Denoiser(Told(told[n]), schedule, "x0", clip=False)
        start = schedule.start * noise[alone]
        states = list(
            samplers.named("ddim")(denoiser, start, leaps(schedule, 3), torch.randn, label[alone])
        )
        torch.testing.assert_close(single, states[n].x, rtol=1e-5, atol=1e-5)


def test_its_own_leaps_have_no_dropout(schedule):
    network = nn.Sequential(nn.Dropout(0.5))
    network.forward = lambda x, condition, label=None: network[0](x) + 0 * weight
    weight = network.weight = nn.Parameter(torch.zeros(1))
    subject = objective(schedule, network, "distillation.starts=own")
    noise = torch.randn((3, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    subject.denoiser.train()
    one, other = (subject._landed(noise, noise, subject.ends[[1, 1, 1]], None, None) for _ in "ab")
    assert torch.equal(one, other)
    assert subject.denoiser.training


def test_where_a_student_starts_is_where_it_is_asked(schedule, monkeypatch):
    subject = objective(schedule, Walker(schedule), "distillation.starts=own")
    shown = []
    monkeypatch.setattr(subject, "_landed", lambda x_t, *_: shown.append(x_t) or 0 * x_t)
    asked = []
    subject.denoiser.network.register_forward_pre_hook(lambda _, got: asked.append(got[0]))
    loss(subject)
    assert len(shown) == len(asked) == 1
    assert not asked[0].any()
    x0, _, _ = subject.source(0, 64)
    subject.error(x0, None, torch.arange(64))  # of held-out images, whatever the student makes
    assert len(shown) == 1
    images = objective(schedule, Walker(schedule), "distillation.starts=images")
    monkeypatch.setattr(images, "_landed", None)
    loss(images)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["distillation.guidance=2"], "knows no classes"),
        (["distillation.method=tuning", "distillation.guidance=2"], "asks no teacher"),
        (["distillation.guidance_interval=[5,0.2]"], "holds no noise level"),
        (["distillation.guidance_interval=[0.2,5]"], "does nothing without guidance"),
        (["distillation.method=consistency", "distillation.starts=own"], "own leaps lead to few"),
    ],
)
def test_what_a_student_can_not_learn_is_refused(changes, reason):
    schedule = build_schedule(SCHEDULES["flow"])
    with pytest.raises(LoangError, match=reason):
        objective(schedule, Walker(schedule), *changes)


@pytest.mark.parametrize("kind", ["x0", "v", "edm", "flow", "eps"])
def test_an_error_counts_as_if_it_were_of_v_whatever_is_predicted(schedule, kind):
    """An error of 0.1 in the image counts 0.01 (1 + SNR), but no more than 100 times its own."""
    subject = objective(schedule, Walker(schedule))
    denoiser = subject.denoiser
    denoiser.kind = kind
    t = torch.tensor([0.5, 0.9], dtype=torch.float64) * schedule.T
    signal, noise = (each(t).reshape(-1, 1) for each in (schedule.signal, schedule.noise))
    x0 = torch.full((2, 1), 0.3, dtype=torch.float64)
    x_t = signal * x0 + noise * 0.7

    def answer(image):
        eps = (x_t - signal * image) / noise
        return parameterization.target(kind, image, eps, signal, noise, denoiser.deviation)

    error = (answer(x0 + 0.1) - answer(x0)).square()
    found = subject._weight(t).reshape(-1, 1) * error
    expected = 0.01 * (1 + (signal / noise).square())
    torch.testing.assert_close(found, torch.minimum(expected, 100 * error), rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["leaps", "consistency", "tuning"])
def test_the_error_is_the_distance_from_the_teachers_walk(schedule, method):
    """A student that is sure of itself and wrong agrees with itself, but not with its teacher."""
    steps = 2 if method == "leaps" else 1
    way = (f"distillation.method={method}", "distillation.chain=[64,64]")

    def error(network):
        subject = objective(schedule, network, *way)
        x0, _, _ = subject.source(0, 64)
        return subject.error(x0, None, torch.arange(64)).double().mean().item()

    exact = error(Walker(schedule, leaps(schedule, steps)))
    assert error(Blank()) > 5 * exact
    assert error(Walker(schedule)) > 2 * exact


@pytest.mark.parametrize(
    "changes",
    [
        ["distillation.chain=[2,4]", "distillation.guidance=3"],
        ["distillation.chain=[2,3]"],
        ["distillation.method=consistency"],
        ["distillation.method=tuning"],
    ],
)
def test_validation_knows_how_often_it_asks(changes):
    schedule = build_schedule(SCHEDULES["flow"])
    subject = objective(schedule, Labelled(), *changes)
    subject.teacher = Denoiser(Labelled(), schedule, "x0")
    asked = []
    for each in (subject.teacher.network, subject.denoiser.network):
        each.register_forward_pre_hook(lambda _, got: asked.append(len(got[0])))
    x0, _, _ = subject.source(0, 64)
    subject.error(x0, torch.zeros(64, dtype=torch.long), torch.arange(64))
    assert sum(asked) == 64 * subject.looks


@pytest.mark.parametrize("method", ["consistency", "tuning"])
def test_weights_cast_without_a_gradient_are_forgotten_before_the_answer(method, monkeypatch):
    """Older torch would hand them, cast in the pass that has no gradient, to the one that has."""
    schedule = build_schedule(SCHEDULES["cosine"])
    subject = objective(schedule, Walker(schedule), f"distillation.method={method}")
    seen = []
    hook = subject.denoiser.network.register_forward_pre_hook
    hook(lambda *_: seen.append(torch.is_grad_enabled()))
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: seen.append("cleared"))
    loss(subject)
    assert seen == [False, "cleared", True]


class Blank(nn.Module):
    """Answers 0."""

    def forward(self, x, condition, label=None):
        return 0 * x


def test_a_short_step_that_ends_at_the_image_learns_from_it_and_not_from_the_student(schedule):
    way = ("distillation.method=tuning", "distillation.chain=[1,1]")
    subject = objective(schedule, Blank(), *way)
    found = subject.loss(Moment(0, 0, 1.0), torch.arange(64)).plain
    x0, _, _ = subject.source(0, 64)
    torch.testing.assert_close(found, x0.square().flatten(1).mean(1))
