"""What a run shows of itself: previews by a walk that is short enough, a card that says what is."""

import pytest
from trainers import SPEC, TINY

from loang import build, presets
from loang.config import SamplingSettings, changed
from loang.model import Model
from loang.training import card
from loang.training.folder import RunFolder
from loang.training.monitor import in_few_steps

FACTS = {
    "data": "noise",
    "training_images": 37,
    "validation_images": 5,
    "steps": 3,
    "images": 24,
    "seconds": 1.0,
    "hardware": "CPU",
    "loss": 0.5,
    "validation_loss": None,
    "loang": "0",
    "torch": "2",
}
DDIM = SamplingSettings(sampler="ddim", steps=20)


def model_of(*changes):
    settings = changed(presets.quick(), (*TINY, *changes))
    return Model(build.build_denoiser(settings, SPEC), SPEC, settings, FACTS)


@pytest.mark.parametrize(
    "own",
    [
        ("sampling.sampler=ddpm", "sampling.steps=20"),
        ("sampling.sampler=auto", "sampling.steps=12"),
        ("sampling.sampler=heun", "sampling.steps=10"),
        ("sampling.levels=[900,500,200]", "sampling.steps=50"),
        ("sampling.sampler=ddpm", "sampling.steps=10", "sampling.guidance=2"),
    ],
)
def test_a_short_walk_of_the_models_own_makes_the_previews(own):
    model = model_of(*own)
    assert in_few_steps(model, 20) == model.settings.sampling


@pytest.mark.parametrize(
    "own",
    [
        ("sampling.sampler=ddpm", "sampling.steps=21"),
        ("sampling.sampler=heun", "sampling.steps=11"),
        ("sampling.sampler=ode",),
        ("sampling.levels=[5000]",),
        ("sampling.sampler=ddpm", "sampling.steps=10", "sampling.guidance=2", "data.labels=false"),
    ],
)
def test_a_long_one_or_one_that_can_not_be_walked_leaves_them_to_ddim(own):
    model = model_of(*own)
    if "data.labels=false" in own:
        model.denoiser.network.classes = 0
    assert in_few_steps(model, 20) == DDIM
    few = model_of("schedule.steps=7", "sampling.steps=7", "sampling.sampler=ode")
    assert in_few_steps(few, 20).steps == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((), "uniform times in training and uniform times in validation"),
        (("training.levels=importance",), "uniform times in training and uniform times"),
        (("training.levels=logit-normal",), "logit-normal times in training and uniform times"),
        (
            *[("schedule.kind=flow", "denoiser.predicts=flow", "training.levels=logit-normal")],
            "logit-normal times in training and logit-normal times in validation",
        ),
    ],
)
def test_a_card_says_which_times_its_losses_are_over(tmp_path, changes, said):
    text = card.text(model_of(*changes), RunFolder(tmp_path))
    assert said in " ".join(text.split())


def test_a_card_says_how_many_steps_are_walked(tmp_path):
    folder = RunFolder(tmp_path)
    assert "| ddim, 4 steps |" in card.text(model_of("sampling.levels=[900,500,200]"), folder)
    assert "T = 1 |" in card.text(model_of("schedule.kind=flow", "denoiser.predicts=flow"), folder)


def test_a_card_says_how_the_walk_is_guided(tmp_path):
    folder, led = RunFolder(tmp_path), ("sampling.guidance=2", "sampling.guidance_interval=[0.2,5]")
    assert "steps, guided by 2 in 0.2:5 |" in card.text(model_of(*led), folder)
    assert "guided by" not in card.text(model_of("sampling.guidance=1"), folder)
    student = ("training.objective=consistency", "distillation.guidance=3")
    assert "| teacher guided by | 3 |" in card.text(model_of(*student), folder)
    student = ("training.objective=consistency", "distillation.guidance=1")
    assert "| teacher guided by | nothing |" in card.text(model_of(*student), folder)
