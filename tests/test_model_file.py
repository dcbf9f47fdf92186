"""Model files from anybody: refused with a reason, before anything large is built."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from in_steps import IN_STEPS
from loang import build, model_file, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.errors import LoangError
from loang.model import Model

SPEC = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    "network.blocks=1",
    "network.fold=2",
    *IN_STEPS,
)


@pytest.fixture
def model():
    settings = changed(presets.quick(), [*TINY, "network.attention=[1]"])
    return Model(build.build_denoiser(settings, SPEC), SPEC, settings, {"loss": 0.5, "data": "x"})


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change):
    """The file with its description and weights changed, and otherwise sound."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["loang"])
    weights = load_file(path)
    change(about, weights)
    save_file(weights, path, metadata={"loang": json.dumps(about)})


def another_width(about, weights):
    about["settings"]["network"]["width"] = 8192


def many_classes(about, weights):
    about["images"]["class_names"] = [str(number) for number in range(2**16)]


def one_weight_less(about, weights):
    del weights["last.bias"]


def one_weight_more(about, weights):
    weights["x" * 300] = torch.zeros(1)


def another_shape(about, weights):
    weights["last.bias"] = torch.zeros(2)


def another_type(about, weights):
    weights["last.bias"] = weights["last.bias"].to(torch.int32)


def not_a_number(about, weights):
    weights["last.bias"][0] = float("nan")


def infinite(about, weights):
    weights["last.bias"][0] = float("inf")


def set_to(value, *keys):
    def change(about, weights):
        for key in keys[:-1]:
            about = about[key]
        if value is None:
            del about[keys[-1]]
        else:
            about[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_width, "weight .* is not of the shape"),
        (many_classes, r"weight label\.weight is not of the shape \(65537, 32\)"),
        (one_weight_less, r"weight last\.bias is missing"),
        (one_weight_more, r"x{70}\.\.\. is one too many"),
        (another_shape, r"last\.bias is not of the shape"),
        (another_type, "no real numbers"),
        (not_a_number, "no numbers"),
        (infinite, "no numbers"),
        (set_to(10**9, "images", "height"), "more than 268,435,456 values"),
        (set_to(10**12, "settings", "schedule", "steps"), r"schedule\.steps"),
        (set_to(None, "settings"), "settings can't be used"),
        (set_to(None, "images"), "description of its images"),
        (set_to(None, "facts"), "facts"),
        (set_to([], "facts"), "facts"),
        (set_to("much", "facts", "loss"), "fact loss is much"),
        (set_to(True, "facts", "steps"), "fact steps is True"),
        (set_to("x" * 10**5, "facts", "training_images"), "training_images"),
        (set_to("2\x1b[2J" + "9" * 10**4, "format"), r"format 2\?\[2J9+\.\.\."),
        (set_to(None, "format"), "format None"),
    ],
)
def test_what_loang_would_not_write_is_refused_in_few_words(path, change, reason):
    rewrite(path, change)
    with pytest.raises(LoangError, match=reason) as caught:
        Model.load(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("change", [another_width, many_classes])
def test_a_network_that_is_not_in_the_file_is_never_built(path, change, monkeypatch):
    rewrite(path, change)
    monkeypatch.setattr("loang.model_file.build_denoiser", lambda *_: pytest.fail("built"))
    with pytest.raises(LoangError, match="not of the shape"):
        Model.load(path)


def test_weights_too_large_to_sample_with_are_told(model, tmp_path):
    """Found by fuzzing: each weight is finite, and what they draw is not."""
    with torch.no_grad():
        for weight in model.denoiser.network.parameters():
            weight.fill_(3e38)
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path, on="cpu")
    with pytest.raises(LoangError, match="not all numbers"):
        again.sample(1)
    with pytest.raises(LoangError, match="not all numbers"):
        list(again.frames(again.walk([0])))


def test_samples_that_memory_cannot_hold_are_refused_before_they_are_drawn(path):
    rewrite(path, set_to(2**14, "images", "height"))
    model = Model.load(path, on="cpu")
    assert model.spec.height == 2**14
    for count in (10**9, 10**30):
        with pytest.raises(LoangError, match=r"samples would take .* GB of memory"):
            model.sample(count)


def test_unknown_facts_are_kept_and_those_that_are_no_numbers_are_told_as_none(model, tmp_path):
    model.facts = {"mine": [1, {"a": None}], "validation_loss": float("nan")}
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path)
    assert again.facts == {"mine": [1, {"a": None}], "validation_loss": None}


def test_other_real_types_are_read_too(path):
    def halve(about, weights):
        for name in weights:
            weights[name] = weights[name].half()

    rewrite(path, halve)
    assert Model.load(path).denoiser.network.last.bias.dtype == torch.float32


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_file_that_a_run_replaces_while_it_is_read_is_read_anew(model, path, monkeypatch, times):
    """As `loang sample RUN` may meet it, whose run goes on training."""
    built, left = model_file.build_denoiser, iter(range(times))

    def replaced(*asked):
        if (number := next(left, None)) is not None:
            model.facts = {**model.facts, "steps": 1_000 + number}
            model.save(path)
        return built(*asked)

    monkeypatch.setattr(model_file, "build_denoiser", replaced)
    if times < model_file.LOOKS:
        assert Model.load(path).facts["steps"] == 999 + times
    else:
        with pytest.raises(LoangError, match="it changed while it was read"):
            Model.load(path)
