"""Whole runs, each with one thing wrong: it is found, and a healthy one has nothing wrong."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from spots import SMALL, draw_spots

import loang
from loang.build import build_denoiser
from loang.config import changed
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.doctor import run as run_module
from loang.doctor.output import as_json
from loang.doctor.patient import Patient, open_patient
from loang.doctor.run import examine_patient
from loang.errors import LoangError
from loang.model import Model
from loang.presets import PRESETS
from loang.schedule import cosine

COUNT = 128
pytestmark = pytest.mark.usefixtures("unchecked_signatures")


def topics(diagnosis, *verdicts):
    return {f.topic for f in diagnosis.findings if not verdicts or f.verdict in verdicts}


def of(diagnosis, topic):
    return next(finding for finding in diagnosis.findings if finding.topic == topic)


@pytest.fixture(scope="module")
def patient(place):
    return open_patient(place / "run", device="cpu")


@pytest.fixture(scope="module")
def healthy(place):
    return loang.api.doctor(place / "run", count=COUNT, device="cpu")


@pytest.fixture
def copied(place, tmp_path):
    """The healthy run, to be spoilt."""
    return shutil.copytree(place / "run", tmp_path / "run")


@pytest.fixture
def spoilt(patient, small):
    """The healthy model, its weights changed by a function: examined."""

    def call(change):
        model = Model(build_denoiser(small, patient.model.spec), patient.model.spec, small)
        network = model.denoiser.network
        network.load_state_dict(patient.model.denoiser.network.state_dict())
        with torch.no_grad():
            change(network)
        return examine_patient(replace(patient, model=model, raw=None), count=COUNT)

    return call


def test_a_healthy_run_has_nothing_wrong_with_it(healthy):
    assert topics(healthy, "wrong", "warning") == set()
    good = {"learning", "by heart", "units", "terminal", "average"}
    assert topics(healthy, "good") >= good
    assert healthy.answers == ()
    assert healthy.verdict in ("note", "good")


def test_findings_stand_in_the_order_of_their_weight(healthy):
    order = ["wrong", "warning", "note", "good"]
    places = [order.index(finding.verdict) for finding in healthy.findings]
    assert places == sorted(places)


def test_the_same_question_has_the_same_answer(healthy, place):
    again = loang.api.doctor(place / "run", count=COUNT, device="cpu")
    # How fast this machine is now decides how many samples are drawn.
    if again.facts["samples"]["count"] == healthy.facts["samples"]["count"]:
        assert as_json(again) == as_json(healthy)
    assert again.facts["levels"] == healthy.facts["levels"]


def test_numbers_for_machines_are_json_and_complete(healthy):
    read = json.loads(as_json(healthy))
    levels = read["facts"]["levels"]
    names = {"network", "raw", "training", "gaussian", "plain"}
    assert set(levels["errors"]) == names
    assert all(len(each) == len(levels["times"]) for each in levels["errors"].values())
    assert read["verdict"] == healthy.verdict


def test_a_network_that_was_never_trained_is_not_learning(small, patient):
    model = Model(build_denoiser(small, patient.model.spec), patient.model.spec, small)
    found = examine_patient(replace(patient, model=model, raw=None), count=COUNT)
    assert found.verdict == "wrong"
    assert "learned nothing" in of(found, "learning").what
    assert "all zero" in of(found, "units").what
    (answer,) = [each for each in found.answers if each.question == "Why are my samples noise?"]
    assert "learned nothing" in answer.answer


def test_a_dead_channel_is_found(spoilt):
    def change(network):
        network.down[0].blocks[0].conv1.weight[3] = 0

    found = spoilt(change)
    assert of(found, "units").verdict == "warning"
    assert "1 channel of 16" in of(found, "units").what
    assert "down.0.blocks.0.conv1" in of(found, "units").what


def test_weights_that_are_no_numbers_and_values_that_explode_are_found(spoilt):
    def change(network):
        network.first.bias[0] = float("nan")

    found = spoilt(change)
    assert "first.bias" in of(found, "units").what
    assert "no number" in of(found, "learning").what
    assert "not all numbers" in of(found, "samples").what
    json.loads(as_json(found))

    def explode(network):
        network.down[0].blocks[0].conv1.weight.mul_(1e6)

    assert "explode" in of(spoilt(explode), "units").what


def test_tinted_samples_are_found_and_explained(spoilt):
    found = spoilt(lambda network: network.last.bias.sub_(0.4))
    assert "too bright" in of(found, "samples are tinted").what
    assert any("too bright" in answer.question for answer in found.answers)


def test_samples_that_are_all_the_same_are_found(patient, small):
    class OneImage(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image = torch.nn.Parameter(torch.linspace(-1, 0.5, 64).reshape(1, 1, 8, 8))

        def forward(self, x, t, label=None):
            return self.image.expand(len(x), -1, -1, -1)

    settings = changed(small, ["denoiser.predicts=x0"])
    model = Model(Denoiser(OneImage(), cosine(1000), "x0"), patient.model.spec, settings)
    found = examine_patient(replace(patient, model=model, settings=settings, raw=None), count=COUNT)
    assert of(found, "samples are alike").verdict == "wrong"
    assert "Why are my samples all the same?" in [each.question for each in found.answers]


def test_what_a_poor_run_was_set_to_is_found(place, tmp_path):
    """A schedule that leaves most of the image, an average meant for long runs, too few steps."""
    changes = [
        *SMALL,
        *("schedule.kind=linear", "schedule.steps=100", "sampling.steps=5"),
        *("ema.kind=constant", "ema.decay=0.9999"),
    ]
    out = tmp_path / "poor"
    loang.train(place / "spots.npz", out=out, budget="640 images", changes=changes)
    found = loang.api.doctor(out, count=COUNT, device="cpu")
    assert of(found, "terminal").verdict == "warning"
    assert "ramp" in of(found, "average").what
    assert of(found, "sampling").verdict == "note"
    assert "of the 1,808" in of(found, "too short").what
    assert of(found, "learning").verdict != "good"


class ByHeart(torch.nn.Module):
    """The best denoiser of the training images themselves: it knows these, and nothing else."""

    def __init__(self, images, schedule):
        super().__init__()
        self.images = torch.nn.Parameter(images)
        self.schedule = schedule

    def forward(self, x, t, label=None):
        signal, noise = (
            each(t).float()[:, None] for each in (self.schedule.signal, self.schedule.noise)
        )
        known, seen = self.images.flatten(1), x.flatten(1)
        squares = (seen[:, None] - signal[:, None] * known[None]).square().sum(2)
        return (torch.softmax(-squares / (2 * noise**2), 1) @ known).reshape(x.shape)


def test_learning_by_heart_is_found(patient, small):
    schedule = cosine(1000)
    images = patient.dataset.train
    settings = changed(small, ["denoiser.predicts=x0"])
    denoiser = Denoiser(ByHeart(to_model(images.pixels, images.spec), schedule), schedule, "x0")
    model = Model(denoiser, patient.model.spec, settings)
    found = examine_patient(replace(patient, model=model, settings=settings, raw=None), count=COUNT)
    assert of(found, "by heart").verdict == "warning"
    assert not topics(found) & {"samples are alike", "samples are tinted", "samples are noisy"}


def test_no_walk_of_a_preset_is_called_one_of_few_steps():
    for settings in PRESETS.values():
        assert run_module._steps(settings().sampling, 1000) == ()


def test_a_damaged_description_is_told_with_what_doctor_can_do(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(LoangError, match=r"config\.json can't be read") as caught:
        loang.api.doctor(copied, device="cpu")
    assert "model.safetensors" in caught.value.remedy


def test_without_its_images_all_else_is_said(copied):
    config = json.loads((copied / "config.json").read_text())
    config["settings"]["data"]["source"] = str(copied / "gone.npz")
    (copied / "config.json").write_text(json.dumps(config))
    found = loang.api.doctor(copied, device="cpu")
    assert "gone.npz" in of(found, "images").what
    assert "--data" in of(found, "images").remedy
    assert {"units", "terminal", "average"} <= topics(found, "good")
    assert "levels" not in found.facts
    assert found.verdict == "note"


def test_other_images_than_it_learned_from_are_told(place, tmp_path):
    images, labels = draw_spots(300, 9)
    np.savez(tmp_path / "other.npz", images=images, labels=labels)
    found = loang.api.doctor(place / "run", tmp_path / "other.npz", count=COUNT, device="cpu")
    assert "not those that the run learned from" in of(found, "images").what
    assert found.facts["levels"]
    np.savez(tmp_path / "deep.npz", images=100 * images.astype(np.uint16), labels=labels)
    found = loang.api.doctor(place / "run", tmp_path / "deep.npz", count=COUNT, device="cpu")
    assert of(found, "images").verdict == "wrong"
    assert "levels" not in found.facts


def test_a_model_file_alone_is_examined(place, tmp_path):
    shutil.copy(place / "run" / "model.safetensors", tmp_path / "mine.safetensors")
    found = loang.api.doctor(tmp_path / "mine.safetensors", count=COUNT, device="cpu")
    assert (found.kind, found.subject) == ("model", "mine")
    assert of(found, "learning").verdict == "good"
    assert "raw" not in found.facts["levels"]["errors"]


def test_a_checkpoint_without_a_model_file_is_examined(copied, healthy):
    (copied / "model.safetensors").unlink()
    found = loang.api.doctor(copied, count=COUNT, device="cpu")
    errors = found.facts["levels"]["errors"]
    np.testing.assert_allclose(
        errors["network"], healthy.facts["levels"]["errors"]["network"], rtol=1e-5
    )


def test_a_run_without_weights_is_examined_as_far_as_it_goes(copied):
    (copied / "model.safetensors").unlink()
    shutil.rmtree(copied / "checkpoints")
    found = loang.api.doctor(copied, device="cpu")
    assert "no weights yet" in of(found, "files").what
    # Beside other programs, the log may tell of waiting instead of being whole.
    assert "terminal" in topics(found)
    assert topics(found) & {"log", "speed"}


def test_a_damaged_checkpoint_is_told_and_the_model_is_examined(copied):
    for weights in copied.glob("checkpoints/*/model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    found = loang.api.doctor(copied, count=COUNT, device="cpu")
    assert "model.safetensors" in of(found, "files").what
    assert of(found, "learning").verdict == "good"


def test_a_damaged_model_file_is_told_and_the_checkpoint_is_examined(copied):
    (copied / "model.safetensors").write_bytes(b"no model")
    found = loang.api.doctor(copied, count=COUNT, device="cpu")
    assert of(found, "files").verdict == "wrong"
    assert of(found, "learning").verdict == "good"


def test_the_models_own_weights_are_put_back(patient):
    network = patient.model.denoiser.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    examine_patient(patient, count=16)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_mistakes_are_told(place):
    with pytest.raises(LoangError, match="1 images"):
        loang.api.doctor(place / "run", count=1)
    with pytest.raises(LoangError, match="negative"):
        loang.api.doctor(place / "run", seed=-1)
    with pytest.raises(LoangError, match="no run and no model"):
        loang.api.doctor(place / "spots.npz", place / "spots.npz")


def test_a_patient_needs_nothing_but_settings(small):
    found = examine_patient(Patient("bare", "run", small))
    assert topics(found) == {"terminal"}
