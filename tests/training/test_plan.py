"""What a run will cost, tried on a machine that does other work too."""

import time

import numpy as np
import pytest

from in_steps import IN_STEPS
from loang import presets
from loang.config import Settings, UNetSettings, changed
from loang.data.images import Dataset, Images
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.training import plan as plans
from loang.training.trainer import Trainer


@pytest.fixture
def plan():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 8, 8, 1), np.uint8)
    images = Images(pixels, ImageSpec(8, 8, 1))
    network = UNetSettings(width=8, multipliers=(1, 1), attention=(), heads=1, blocks=1)
    settings = changed(Settings(network=network), ["training.budget=800 images"])
    return plans.prepare(settings, Dataset("pictures", images, images, "f" * 64))


def clock(monkeypatch, seconds):
    """Steps that seem to take so long; returns how many were taken."""
    taken, now = [], [0.0]

    def step(self, share):
        now[0] += seconds[len(taken)]
        taken.append(share)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Trainer, "step", step)
    return taken


def test_a_step_that_another_program_slows_down_does_not_count(plan, monkeypatch):
    clock(monkeypatch, [0.9, 0.8, 0.1, 0.5])
    cost = plans.estimate(plan, trial=8)
    assert cost.rate == pytest.approx(80)
    assert cost.seconds == pytest.approx(10)


@pytest.mark.parametrize(("processes", "tried"), [(1, 8), (16, 4), (12, 6), (64, 1)])
def test_each_of_many_processes_tries_its_share_of_a_batch(plan, monkeypatch, processes, tried):
    assert plan.settings.training.batch == 64
    clock(monkeypatch, [0.1] * 9)
    held = []
    own = plans.layer_bytes
    monkeypatch.setattr(
        plans, "layer_bytes", lambda trainer: held.append(len(trainer.part)) or own(trainer)
    )
    cost = plans.estimate(plan, processes=processes)
    assert held == [tried]
    assert cost.rate == pytest.approx(processes * tried / 0.1)


@pytest.mark.parametrize(
    ("seconds", "steps"), [([0.1] * 9, 4), ([2.0] * 9, 2), ([9.0] * 9, 2), ([1.1] * 9, 3)]
)
def test_trials_end_after_a_few_seconds(plan, monkeypatch, seconds, steps):
    taken = clock(monkeypatch, seconds)
    plans.estimate(plan, trial=8)
    assert len(taken) == steps


def test_a_presets_guidance_goes_where_no_label_can_guide():
    """A person's own stays: another model may be the guide."""
    pixels = np.zeros((8, 8, 8, 1), np.uint8)
    plain = Images(pixels, ImageSpec(8, 8, 1))
    spec = ImageSpec(8, 8, 1, class_names=("dark", "bright"))
    labelled = Images(pixels, spec, labels=np.arange(8) % 2)

    def guidance(images, *changes):
        settings = changed(presets.quick(), ("network.width=8", *changes))
        plan = plans.prepare(settings, Dataset("pictures", images, images, "f" * 64))
        return plan.settings.sampling.guidance, plan.settings.sampling.guidance_interval

    preset = presets.quick().sampling
    assert preset.guidance > 1
    assert guidance(labelled) == (preset.guidance, preset.guidance_interval)
    assert guidance(plain) == (1, None)
    assert guidance(labelled, "training.label_dropout=0") == (1, None)
    assert guidance(labelled, "data.labels=false") == (1, None)
    assert guidance(plain, "sampling.guidance=2")[0] == 2


def test_without_guidance_the_preset_is_sampled_otherwise_and_as_a_person_asks():
    plain = Images(np.zeros((8, 8, 8, 1), np.uint8), ImageSpec(8, 8, 1))

    def sampling(*changes):
        settings = changed(presets.quick(), ("network.width=8", *changes))
        return plans.prepare(settings, Dataset("some", plain, plain, "f" * 64)).settings.sampling

    assert sampling() == presets.UNGUIDED
    asked = sampling("sampling.steps=20")
    assert (asked.sampler, asked.steps) == (presets.quick().sampling.sampler, 20)
    assert asked.guidance == 1
    tutorial = changed(presets.preset("tutorial"), ("data.size=[8,8]",))
    found = plans.prepare(tutorial, Dataset("some", plain, plain, "f" * 64)).settings.sampling
    assert found == presets.preset("tutorial").sampling


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("sampling.guidance=2", "sampling.guidance_interval=[5,0.2]"), "holds no noise level"),
        (("sampling.levels=[0.5,1]",), "are not falling times"),
        (
            (*IN_STEPS, "sampling.sampler=ddpm", "sampling.variance=learned"),
            "this network will learn none",
        ),
    ],
)
def test_samples_that_could_not_be_drawn_in_the_end_are_refused_before_training(changes, words):
    plain = Images(np.zeros((8, 8, 8, 1), np.uint8), ImageSpec(8, 8, 1))
    settings = changed(presets.quick(), ("network.width=8", *changes))
    with pytest.raises(LoangError, match=words):
        plans.prepare(settings, Dataset("some", plain, plain, "f" * 64))


def test_a_variance_that_will_be_learnt_can_be_asked_for():
    plain = Images(np.zeros((8, 8, 8, 1), np.uint8), ImageSpec(8, 8, 1))
    wishes = ("sampling.sampler=ddpm", "sampling.variance=learned", "denoiser.learn_variance=true")
    settings = changed(presets.quick(), ("network.width=8", *IN_STEPS, *wishes))
    plans.prepare(settings, Dataset("some", plain, plain, "f" * 64))


def notes(*changes, preset="quick", classes=("dark", "bright")):
    labels = np.arange(8) % 2 if classes else None
    images = Images(
        np.zeros((8, 8, 8, 1), np.uint8), ImageSpec(8, 8, 1, class_names=classes), labels
    )
    if preset == "quick":
        changes = ("network.width=8", "network.multipliers=1,1", *changes)
    settings = changed(presets.preset(preset), changes)
    plan = plans.prepare(settings, Dataset("pictures", images, images, "f" * 64))
    return [line for line in plan.describe() if line.startswith("Note:")]


@pytest.mark.parametrize("classes", [(), ("dark", "bright")])
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_what_the_presets_set_is_read(preset, classes):
    assert notes(preset=preset, classes=classes) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (("schedule.steps=100",), "schedule.steps=100 decides nothing here: it is of schedules in"),
        (
            ("optimizer.kind=adamw", "optimizer.momentum=0.9"),
            "optimizer.momentum=0.9 decides nothing here: it is of optimizer.kind=muon",
        ),
        (("schedule.sigma_max=9",), "schedule.sigma_max=9.0 decides nothing here: it is of sch"),
        ((*IN_STEPS, "schedule.beta_end=0.1"), "schedule.beta_end=0.1 decides nothing"),
        (("training.min_snr_gamma=3",), "it is of training.weighting=min-snr"),
        (("ema.decay=0.9",), "it is of ema.kind=constant"),
        (("sampling.eta=0.5",), "it is of the sampler ddim"),
        (("sampling.guidance=1", "sampling.guidance_rescale=0.5"), "guidance_rescale=0.5 decides"),
        (("data.told=true",), "it is of images changed by data.flips"),
        (("distillation.steps=3",), "it is of loang distill"),
    ],
)
def test_a_setting_that_decides_nothing_is_told(changes, named):
    (said,) = notes(*changes)
    assert named in said


def test_a_setting_that_decides_something_is_not_told():
    assert notes("data.told=true", "data.flips=true") == []
    assert notes(*IN_STEPS, "sampling.eta=0.5", "schedule.steps=100") == []
    assert notes("training.weighting=min-snr", "training.min_snr_gamma=3") == []
