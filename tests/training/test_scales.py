"""How strongly labels guide, by what a run measures of its samples at the end."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

import loang
from loang import build, presets, tensors
from loang.config import changed
from loang.data.images import Dataset, Images
from loang.data.spec import ImageSpec
from loang.metrics.estimate import Estimate
from loang.model import Model
from loang.training import averaging, guiding, scales, strengths
from loang.training.asked import resolve
from loang.training.choice import Score
from loang.training.display import Display
from loang.training.folder import checkpoint_steps
from loang.training.guiding import LADDER
from loang.training.monitor import Monitor
from loang.training.scales import descend

SPEC = ImageSpec(8, 8, 1, class_names=("dark", "bright"))
SMALL = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    "training.batch=8",
)


def bowl(least):
    return lambda scale: Score(math.log(scale / least) ** 2)


@pytest.mark.parametrize("own", [1.0, 1.8, 3.0, 5.0, 20.0])
@pytest.mark.parametrize("least", [1.0, 1.5, 2.5, 5.0])
def test_the_least_of_a_bowl_is_found_from_anywhere(own, least):
    scores = descend(bowl(least), own, LADDER)
    best = min(scores, key=lambda scale: scores[scale].value)
    rungs = sorted({*LADDER, own})
    assert best == min(rungs, key=lambda scale: bowl(least)(scale).value)
    at = rungs.index(best)
    assert {*rungs[max(0, at - 1) : at + 2]} <= {*scores}


def test_few_scales_are_tried():
    asked = []

    def score(scale):
        asked.append(scale)
        return bowl(2.5)(scale)

    descend(score, 3.0, LADDER)
    assert asked == [3.0, 2.5, 2.0]
    asked.clear()
    descend(score, 2.5, LADDER)
    assert asked == [2.5, 2.0, 3.0]


def test_a_scale_whose_samples_are_no_numbers_is_left():
    def score(scale):
        return Score(math.inf) if scale >= 2 else bowl(1.25)(scale)

    scores = descend(score, 2.0, LADDER)
    assert min(scores, key=lambda scale: scores[scale].value) == 1.25


class Measured(Monitor):
    """A monitor that sees how far the guidance is from 2, and what it was asked."""

    class space:
        name = "numbers"

    def __init__(self):  # no images: what it sees is given
        self.asked = []

    def distance(self, model, sampling, count):
        self.asked.append((sampling, count))
        far = abs(sampling.guidance - 2)
        return Estimate(math.nan if sampling.guidance > 3 else far, 0.1)


def model_of(*changes):
    settings = changed(presets.quick(), (*SMALL, *changes))
    return Model(build.build_denoiser(settings, SPEC), SPEC, settings, {})


def test_the_models_own_walk_is_measured_with_other_scales():
    model, monitor = model_of("sampling.guidance=4", "evaluation.guidance_samples=7"), Measured()
    found = guiding.choose(model, monitor)
    assert (found.best, found.own) == (2, 4)
    own = model.settings.sampling
    for sampling, count in monitor.asked:
        assert sampling == own.model_copy(update={"guidance": sampling.guidance})
        assert count == 7
    assert [row["guidance"] for row in found.table()] == [1.5, 2, 2.5, 3, 4]
    assert found.table()[-1]["score"] is None
    assert "2: 0.0000 ± 0.1000" in found.sentence()
    assert "The best is 2, in place of 4." in found.sentence()


@pytest.mark.parametrize(
    ("changes", "images", "wanted"),
    [
        ((), 40 * 250, True),
        ((), 40 * 250 - 1, False),
        (("sampling.steps=80",), 400 * 250 - 1, False),
        (("sampling.steps=80",), 400 * 250, True),
        (("sampling.sampler=ode",), 10**9, False),
        (("evaluation.guidance_samples=0",), 10**9, False),
        (("evaluation.guidance_samples=2",), 80, True),
        (("training.label_dropout=0",), 10**9, False),
        (("training.objective=consistency",), 10**9, False),
    ],
)
def test_only_a_run_that_is_long_enough_and_can_be_guided_is_measured(changes, images, wanted):
    model = model_of(*changes)
    assert guiding.wanted(model, images) is wanted


def test_a_person_who_names_a_scale_gets_it():
    def asked(*changes):
        return resolve("some", changes=changes).evaluation.guidance_samples

    assert asked() == 250
    assert asked("sampling.steps=12") == 250
    assert asked("sampling.guidance=1.5") == 0
    assert asked("sampling.guidance=3") == 0  # the preset's own, and named all the same
    assert asked("sampling.guidance_interval=null") == 0
    assert asked("sampling.guidance=1.5", "evaluation.guidance_samples=250") == 250


def test_samples_are_labelled_as_the_images_are():
    """Nine of ten are of one class: samples of as many of each would be far from them."""
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(np.int64)
    pixels = rng.integers(0, 60, (400, 8, 8, 1)) + 190 * labels[:, None, None, None]
    images = Images(pixels.astype(np.uint8), SPEC, labels)
    model = model_of("evaluation.features=pixels")
    monitor = Monitor(Dataset("some", images, images, "f" * 64), model.settings)
    asked = []

    def sample(count, *, labels, **more):
        asked.append(labels)
        return pixels.astype(np.uint8)[rng.integers(0, 400, count)]

    model.sample = sample
    monitor.distance(model, model.settings.sampling, 100)
    assert asked[0].bincount().tolist() == [90, 10]


def test_features_that_have_to_be_learnt_are_worth_it_after_a_while(monkeypatch):
    images = Images(np.zeros((8, 8, 8, 1), np.uint8), SPEC, np.arange(8) % 2)
    dataset = Dataset("some", images, images, "e" * 64)
    settings = model_of().settings
    assert not scales.at_hand(dataset, settings, 300)
    assert scales.at_hand(dataset, settings, 600)
    monkeypatch.setattr("loang.metrics.features.own.is_kept", lambda dataset: True)
    assert scales.at_hand(dataset, settings, 300)
    pixels = changed(settings, ["evaluation.features=pixels"])
    assert scales.at_hand(dataset, pixels, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of bright and dark squares, labelled by their folders."""
    place = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 60, (40, 8, 8)) + 190 * (np.arange(40) % 2)[:, None, None]).astype(
        np.uint8
    )
    np.savez(place / "squares.npz", images=pixels, labels=np.arange(40) % 2)
    return place / "squares.npz"


def test_a_run_keeps_the_best_scale_in_its_model_and_says_so(folder, tmp_path):
    out, said = tmp_path / "run", []

    class Told(Display):
        def say(self, line):
            said.append(line)

    changes = (*SMALL, "evaluation.guidance_samples=4", "evaluation.features=pixels")
    model = loang.train(
        folder, out=out, budget="160 images", changes=changes, device="cpu", display=Told()
    )
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (table,) = [line["scores"] for line in lines if line.get("event") == "guidance"]
    best = min(table, key=lambda row: row["score"])["guidance"]
    assert model.settings.sampling.guidance == Model.load(out).settings.sampling.guidance == best
    assert "4 samples in pixels-v1" in model.facts["guidance_chosen_by"]
    assert any(f"The best is {best:g}" in line for line in said)
    kept = json.loads((out / "config.json").read_text())["settings"]
    assert kept["sampling"]["guidance"] == 3


def test_a_run_that_is_over_can_be_drawn_otherwise(folder, tmp_path):
    out = tmp_path / "run"
    changes = (*SMALL, "evaluation.guidance_samples=4", "evaluation.features=pixels")
    before = loang.train(folder, out=out, budget="160 images", changes=changes, device="cpu")
    assert loang.train(out=out, resume=True).settings == before.settings
    model = loang.train(out=out, resume=True, changes=["sampling.guidance=1.75"])
    assert model.settings.sampling.guidance == 1.75
    assert "guidance_chosen_by" not in model.facts
    assert Model.load(out).settings.sampling.guidance == 1.75
    one, other = before.denoiser.state_dict(), model.denoiser.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_was_measured_is_not_measured_again(folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    changes = (*SMALL, "evaluation.guidance_samples=4", "evaluation.features=pixels")
    monkeypatch.setattr(guiding, "LADDER", (1.5,))  # beside the model's own, 3
    before = loang.train(folder, out=out, budget="160 images", changes=changes, device="cpu")
    monkeypatch.setattr(guiding, "choose", lambda *given: 1 / 0)
    again = loang.train(out=out, resume=True)
    assert (again.settings, again.facts) == (before.settings, before.facts)


def test_what_was_measured_of_another_walk_is_none_of_this_one():
    model = model_of("sampling.guidance=2", "evaluation.guidance_samples=7")
    model.facts = {"guidance_chosen_by": "a measure", "guidance_set": 3.0}

    def kept(*changes):
        return guiding.kept(model, changed(model.settings, ("sampling.guidance=3", *changes)))

    assert kept().best == 2
    assert kept("sampling.guidance=4") is None
    assert kept("sampling.steps=12") is None
    assert kept("evaluation.guidance_samples=0") is None


def test_measuring_that_fails_costs_no_run(folder, tmp_path, monkeypatch):
    def fail(model, monitor):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(guiding, "choose", fail)
    changes = (*SMALL, "evaluation.guidance_samples=4", "evaluation.features=pixels")
    model = loang.train(
        folder, out=tmp_path / "run", budget="160 images", changes=changes, device="cpu"
    )
    assert model.settings.sampling.guidance == 3
    assert (tmp_path / "run" / "walk.gif").exists()


# Students of few steps.


class Bright(Monitor):
    """A monitor that sees how far the codes of labels are from 0.8 of what they were."""

    class space:
        name = "numbers"

    def __init__(self, learnt):
        self.learnt, self.asked = learnt.clone(), []

    def distance(self, model, sampling, count):
        codes = model.denoiser.network.label.weight.detach()
        apart, were = (each[0] - each[-1] for each in (codes, self.learnt))
        self.asked.append((sampling, count))
        return Estimate(float((apart - 0.8 * were).norm()), 0.1)


def student(*changes):
    changes = ("training.objective=consistency", "distillation.label_samples=7", *changes)
    return model_of(*changes)


def test_the_best_strength_of_labels_is_kept_in_their_codes_and_nowhere_else():
    model = student()
    before = {name: weight.clone() for name, weight in model.denoiser.network.state_dict().items()}
    monitor = Bright(before["label.weight"])
    found = strengths.choose(model, monitor)
    assert (found.best, found.own) == (0.8, 1)
    assert [row["label_strength"] for row in found.table()] == [0.75, 0.8, 0.85, 0.9, 0.95, 1]
    assert monitor.asked == [(model.settings.sampling, 7)] * 6
    after = model.denoiser.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)

    changed = found.weights(before)
    assert all(torch.equal(before[n], changed[n]) for n in before if n != "label.weight")
    codes, were = changed["label.weight"], before["label.weight"]
    torch.testing.assert_close(codes[:-1] - codes[-1], 0.8 * (were[:-1] - were[-1]))
    assert torch.equal(codes[-1], were[-1])
    assert found.settings(model.settings) == model.settings
    assert found.facts()["label_strength"] == 0.8
    assert "Strength of the labels by the Fréchet distance of 7 samples" in found.sentence()


def test_codes_stay_as_they_were_where_measuring_fails():
    model = student()
    before = model.denoiser.network.label.weight.clone()

    def fail(model, sampling, count):
        raise RuntimeError("no such luck")

    monitor = Bright(before)
    monitor.distance = fail
    with pytest.raises(RuntimeError, match="no such luck"):
        strengths.choose(model, monitor)
    assert torch.equal(model.denoiser.network.label.weight, before)


@pytest.mark.parametrize(
    ("changes", "images", "wanted"),
    [
        ((), 2 * 5 * 7, True),
        ((), 2 * 5 * 7 - 1, False),
        (("distillation.label_samples=0",), 10**9, False),
        (("distillation.label_samples=null",), 10**9, False),
        (("training.objective=denoising",), 10**9, False),
        (("training.label_dropout=0",), 10**9, False),
    ],
)
def test_only_a_student_that_is_long_enough_in_training_is_measured(changes, images, wanted):
    model = student("sampling.sampler=ddim", "sampling.steps=2", "sampling.guidance=1", *changes)
    assert strengths.wanted(model, images) is wanted


def test_a_student_draws_with_the_strength_that_was_the_best(folder, tmp_path, monkeypatch):
    changes = (*SMALL, "evaluation.features=pixels", "evaluation.guidance_samples=0")
    loang.train(folder, out=tmp_path / "run", budget="160 images", changes=changes, device="cpu")
    ladder = (0.5, 1.0, 2.0)
    monkeypatch.setattr(strengths, "LADDER", ladder)
    out, said = tmp_path / "student", []

    class Told(Display):
        def say(self, line):
            said.append(line)

    asked = {
        "budget": "160 images",
        "changes": ("distillation.label_samples=4", "distillation.steps=2", "ema.snapshots=4"),
        "display": Told(),
    }
    model = loang.distill(tmp_path / "run", out=out, **asked)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (table,) = [line["scores"] for line in lines if line.get("event") == "label_strength"]
    best = min(table, key=lambda row: row["score"])["label_strength"]
    assert model.facts["label_strength"] == best
    assert "4 samples in pixels-v1" in model.facts["label_strength_chosen_by"]
    assert any(f"The best is {best:g}" in line for line in said)
    assert "strength of the labels" in (out / "README.md").read_text()

    kept = Model.load(out).denoiser.network.state_dict()
    newest = checkpoint_steps(out / "checkpoints")[-1]
    (place,) = (out / "checkpoints").glob(f"*{newest:08d}")
    average = tensors.read(place / "ema.safetensors")
    expected = strengths.by(average["label.weight"], best)
    torch.testing.assert_close(kept["label.weight"], expected)
    # Another average of the run makes as much of labels.
    made = averaging.of_length(out, 0.1)
    expected = strengths.by(made.average.weights["label.weight"], best)
    torch.testing.assert_close(made.model.denoiser.network.label.weight.detach(), expected)
    assert made.model.facts["label_strength"] == best
    assert "label_strength_chosen_by" not in made.model.facts

    def gone_on_with(*changes):
        again = loang.train(out=out, resume=True, changes=changes, display=Told())
        return again, (out / "README.md").read_text()

    # Gone on with, it stays, and need not be measured again.
    monkeypatch.setattr(strengths, "choose", lambda *given: 1 / 0)
    again, card = gone_on_with()
    assert_same(again, model)
    assert again.facts["label_strength"] == best
    assert "strength of the labels" in card
    assert "stays at" in said[-2]
    monkeypatch.undo()
    # It can be taken back, and measured anew.
    plain, card = gone_on_with("distillation.label_samples=0")
    torch.testing.assert_close(plain.denoiser.network.label.weight, average["label.weight"])
    assert not {name for name in plain.facts if "label_strength" in name}
    assert "strength of the labels" not in card
    monkeypatch.setattr(strengths, "LADDER", ladder)
    assert_same(gone_on_with("distillation.label_samples=4")[0], model)


@pytest.mark.slow
def test_a_student_whose_average_was_chosen_keeps_its_strength(folder, tmp_path, monkeypatch):
    changes = (*SMALL, "evaluation.features=pixels", "evaluation.guidance_samples=0")
    loang.train(folder, out=tmp_path / "run", budget="160 images", changes=changes, device="cpu")
    monkeypatch.setattr(strengths, "LADDER", (0.5, 1.0, 2.0))
    monkeypatch.setattr(strengths, "scored", lambda *given: Score(next(scores)))
    scores = iter((2.0, 1.0))
    out, asked = tmp_path / "student", ("distillation.label_samples=4", "ema.snapshots=4")
    asked = (*asked, "ema.choose=true")
    model = loang.distill(tmp_path / "run", out=out, budget="160 images", changes=asked)
    assert model.facts["label_strength"] == 0.5
    # The validation loss is of other labels, and says so.
    assert "labels as they were learnt" in (out / "README.md").read_text()
    again = loang.train(out=out, resume=True)
    assert_same(again, model)
    assert again.facts["label_strength"] == 0.5

    # Where no checkpoint has the run's own average, the model file does, with other labels.
    own = again.denoiser.network.label.weight.detach().clone()
    shutil.rmtree(out / "checkpoints")
    again.facts = {name: fact for name, fact in again.facts.items() if "average" not in name}
    again.save(out / "model.safetensors")
    opened = averaging._opened(out, "cpu")
    found = averaging._own(out, *opened)
    torch.testing.assert_close(found.weights["label.weight"], strengths.by(own, 2.0))


def assert_same(one, other):
    one, other = one.denoiser.state_dict(), other.denoiser.state_dict()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name])
