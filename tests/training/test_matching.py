"""Samples matched by their distribution: Gaussians, whose scores are known, and the promises."""

import pytest
import torch
from torch import nn

from checking import unchecked
from loang import samplers
from loang.build import build_schedule
from loang.config import ScheduleSettings, Settings, changed
from loang.data import Images, ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.training.consistency import check
from loang.training.examples import Source
from loang.training.leaps import leaps
from loang.training.matching import SLOWER, Matching
from loang.training.objective import Moment

SPREAD = 0.4  # standard deviation of the values of the teacher's images
SPEC = ImageSpec(4, 4, 1, depth="float32", low=-1.0, high=1.0)
SCHEDULES = {
    "cosine": ScheduleSettings(kind="cosine", steps=1000),
    "pure noise": ScheduleSettings(kind="linear", steps=200, zero_terminal_snr=True),
    "edm": ScheduleSettings(kind="edm"),
    "flow": ScheduleSettings(kind="flow"),
}
LATE = 0.9
"""Of the budget: samples are matched."""


@pytest.fixture(params=SCHEDULES, name="schedule")
def _schedule(request):
    return build_schedule(SCHEDULES[request.param])


class Gaussian(nn.Module):
    """The exact denoiser of N(0, spread²), as an x0-network."""

    def __init__(self, schedule, spread):
        super().__init__()
        self.schedule = schedule
        self.spread = nn.Parameter(torch.tensor(spread))

    def forward(self, x, condition, label=None):
        known = torch.as_tensor(condition, dtype=torch.float64)
        name = self.schedule.name
        t = (known / 100).exp() if name == "edm" else known / 1000 if name == "flow" else known
        signal, noise = (each(t).reshape(-1, 1, 1, 1) for each in self._levels())
        if self.schedule.start > 1:  # the denoiser shows it at the size of an image
            x = x * self.schedule.size(t).reshape(-1, 1, 1, 1)
        variance = self.spread.double() ** 2
        return (variance * signal / (variance * signal**2 + noise**2) * x).float()

    def _levels(self):
        return self.schedule.signal, self.schedule.noise


class Scaled(nn.Module):
    """A student of one step: from pure noise to the noise times a factor that is learnt."""

    def __init__(self, schedule, factor):
        super().__init__()
        self.schedule = schedule
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, condition, label=None):
        return self.factor * x


def matching(schedule, student, *changes, tracked=None, count=256):
    """Of a teacher who knows N(0, SPREAD²), and a tracker who knows N(0, tracked²)."""
    base = Settings().to_dict() | {"training": {"objective": "consistency", "batch": count}}
    plain = ("distillation.steps=1", "distillation.matched_from=0.5")
    settings = changed(Settings.model_validate(base), (*plain, *changes))
    pixels = torch.zeros((count, 4, 4, 1))
    source = Source(Images(pixels.numpy(), SPEC), settings, 0, torch.device("cpu"))
    subject = Matching(Denoiser(student, schedule, "x0", clip=False), source, settings)
    subject.leaping.teacher = Denoiser(Gaussian(schedule, SPREAD), schedule, "x0", clip=False)
    if tracked is not None:
        subject.tracker = Denoiser(Gaussian(schedule, tracked), schedule, "x0", clip=False)
    return subject


def loss(subject, share=LATE, count=256, step=0):
    return subject.loss(Moment(step, 0, share), torch.arange(count))


@pytest.mark.parametrize("drawn", [0.2, 0.4, 0.7])
def test_samples_go_to_where_the_teachers_images_are(schedule, drawn):
    """Too wide a distribution becomes narrower, too narrow a one wider, the right one stays."""
    student = Scaled(schedule, drawn)
    subject = matching(schedule, student, tracked=drawn)
    found = loss(subject)
    found.weighted.mean().backward()
    slope = student.factor.grad.item()
    if drawn == SPREAD:
        assert abs(slope) < 1e-4
        assert found.plain.max() < 1e-6
    else:
        assert (slope > 0.05) if drawn > SPREAD else (slope < -0.05)
        assert found.plain.mean() > 1e-3


def test_the_gradient_is_the_difference_of_the_scores(schedule):
    """Yin et al. 2024, eq. 7: against the closed form of two Gaussians, at one noise level."""
    drawn, sigma = 0.7, 1.0
    levels = f"distillation.match_levels=[{sigma * 0.999},{sigma * 1.001}]"
    subject = matching(schedule, Scaled(schedule, drawn), levels, tracked=drawn)
    samples = drawn * torch.randn(64, 1, 4, 4)
    direction, apart = subject._direction(samples, None, None, 0, torch.arange(64))
    eps = subject._normal("match noise", 0, torch.arange(64))
    # The image that each sees at signal * x + noise * eps, in units of the signal.
    z = samples + sigma * eps
    real, fake = (spread**2 / (spread**2 + sigma**2) * z for spread in (SPREAD, drawn))
    length = (samples - real).abs().mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(direction, (fake - real) / length, rtol=0.02, atol=2e-3)
    torch.testing.assert_close(apart, (fake - real).square().mean((1, 2, 3)), rtol=0.02, atol=1e-4)


def test_the_tracker_learns_what_the_student_draws(schedule):
    """It starts with the teacher's spread, and comes to that of the samples."""
    subject = matching(schedule, Scaled(schedule, 0.8), tracked=SPREAD)
    optimizer = torch.optim.Adam(subject.tracker.parameters(), lr=0.02)
    for step in range(60):
        samples = 0.8 * torch.randn(256, 1, 4, 4)
        optimizer.zero_grad()
        subject._tracked(samples, None, None, step, torch.arange(256)).mean().backward()
        optimizer.step()
    assert subject.tracker.network.spread.item() == pytest.approx(0.8, abs=0.05)


def test_student_and_tracker_together_come_to_the_teachers_distribution():
    """From samples of twice the spread; nobody tells the student where to go but the two."""
    schedule = build_schedule(SCHEDULES["flow"])
    student = Scaled(schedule, 0.8)
    subject = matching(schedule, student, tracked=SPREAD)
    groups = [{"params": student.parameters()}, {"params": subject.tracker.parameters()}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    paces = subject.pace(LATE)
    with unchecked():
        for step in range(400):
            for group, pace in zip(optimizer.param_groups, paces, strict=True):
                group["lr"] = 0.02 * pace * (1 - step / 400)
            optimizer.zero_grad()
            loss(subject, step=step).weighted.mean().backward()
            optimizer.step()
    assert student.factor.item() == pytest.approx(SPREAD, abs=0.04)


def test_neither_network_learns_by_the_others_loss():
    """The student's by the direction alone, the tracker's by its own error alone."""
    schedule = build_schedule(SCHEDULES["flow"])
    student = Scaled(schedule, 0.8)
    subject = matching(schedule, student, tracked=0.5)
    loss(subject).weighted.sum().backward()
    both = student.factor.grad.item(), subject.tracker.network.spread.grad.item()
    eps = subject._normal("train noise", 0, torch.arange(256))
    direction, _ = subject._direction((0.8 * eps), None, None, 0, torch.arange(256))
    expected = (direction * eps).flatten(1).mean(1).sum().item()
    assert both[0] == pytest.approx(expected, rel=1e-3)
    student.factor.requires_grad_(False)
    subject.tracker.network.spread.grad = None
    loss(subject).weighted.sum().backward()
    assert subject.tracker.network.spread.grad.item() == pytest.approx(both[1], rel=1e-5)
    assert subject.leaping.teacher.network.spread.grad is None


def test_leaps_come_first_and_are_those_that_they_would_be_alone():
    schedule = build_schedule(SCHEDULES["flow"])
    subject = matching(schedule, Scaled(schedule, 0.8), tracked=0.5)
    early, alone = loss(subject, 0.49), subject.leaping.loss(Moment(0, 0, 0.49), torch.arange(256))
    assert torch.equal(early.weighted, alone.weighted)
    assert not torch.equal(loss(subject, 0.5).weighted, alone.weighted)
    assert subject.pace(0.49) == (1.0, 1.0)
    assert subject.pace(0.5) == (SLOWER, 1.0)


def test_an_images_loss_depends_on_no_other(schedule):
    subject = matching(schedule, Scaled(schedule, 0.8), tracked=0.5)
    whole = loss(subject)
    parts = [
        subject.loss(Moment(0, 0, LATE), numbers)
        for numbers in torch.arange(256).split([100, 1, 155])
    ]
    for name in ("weighted", "plain"):
        found = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(found, getattr(whole, name), rtol=1e-4, atol=1e-5)


def test_samples_are_those_of_the_students_walk(schedule):
    """What is matched is what `loang sample` draws: DDIM along the student's levels."""
    subject = matching(schedule, Gaussian(schedule, 0.6), "distillation.steps=3", tracked=0.5)
    eps = torch.randn(8, 1, 4, 4)
    drawn = subject._drawn(eps, None, None)
    levels = leaps(schedule, 3)
    walk = samplers.named("ddim")(
        subject.denoiser, schedule.start * eps, levels, lambda step: eps, None
    )
    *_, last = walk
    torch.testing.assert_close(drawn, last.x.float(), rtol=1e-4, atol=1e-4)
    assert drawn.requires_grad


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["method=consistency", "matched_from=0.5"], "draws no samples"),
        (["match_levels=[5,0.2]"], "no noise levels from 5 up to 0.2"),
        (["match_guidance=2"], "knows no classes"),
    ],
)
def test_what_means_nothing_is_refused(changes, words):
    schedule = build_schedule(SCHEDULES["flow"])
    settings = changed(Settings(), [f"distillation.{change}" for change in changes])
    with pytest.raises(LoangError, match=words):
        check(Denoiser(Gaussian(schedule, SPREAD), schedule, "x0"), settings.distillation)
