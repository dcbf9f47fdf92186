"""The script beside a model for Keras: it draws what loang draws."""

import json
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from keras_models import GREY, PLAIN, answer_of, inputs_of, model_of

from loang import random

pytest.importorskip("keras")
pytest.importorskip("h5py")

from loang.interop.keras import script, walk
from loang.interop.keras.build import choose_back_end
from loang.interop.keras.write import write

# Keras's torch back end, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def noise_of(model, count, step=0):
    numbers = torch.arange(count)
    return random.normal(model.spec.shape, seed=0, purpose="sample", step=step, indices=numbers)


WALKS = {
    "eps": ("denoiser.predicts=eps",),
    "v, guided": ("sampling.guidance=2", "sampling.guidance_interval=0.2,5"),
    "x0, shown its last": (
        "denoiser.predicts=x0",
        "network.self_conditioning=true",
        "sampling.guidance=1.5",
        "sampling.guidance_rescale=0.7",
    ),
    "edm": ("schedule.kind=edm", "denoiser.predicts=edm", "denoiser.clip=false"),
    "flow": ("schedule.kind=flow", "denoiser.predicts=flow"),
    "a variance": ("denoiser.learn_variance=true", "sampling.spacing=quadratic"),
    "noise at each step": ("sampling.eta=0.5",),
}


class Network:
    """torch's, as the script asks one of Keras's."""

    def __init__(self, model):
        self.model = model
        self.inputs = [SimpleNamespace(name=name, shape=each.shape) for name, each in self.told(1)]

    def told(self, count):
        return inputs_of(self.model, [1.0] * count).items()

    def predict(self, told, batch_size, verbose):
        assert told.keys() == {each.name for each in self.inputs}
        return answer_of(self.model, told)


class Given:
    """A source of random numbers that gives those of a walk of loang's."""

    def __init__(self, model):
        self.model, self.step = model, 0

    def standard_normal(self, shape, dtype):
        self.step += 1
        return noise_of(self.model, shape[0], self.step).permute(0, 2, 3, 1).numpy().astype(dtype)


@pytest.mark.parametrize("name", WALKS)
def test_the_script_draws_the_images_that_loang_draws(name):
    model = model_of(GREY, "network.blocks=1", *WALKS[name])
    sampling = walk.chosen(model)
    about = {"walk": walk.numbers(model.denoiser, sampling), "images": model.spec.to_dict()}
    about = json.loads(json.dumps(about))
    noise = noise_of(model, 3).permute(0, 2, 3, 1).numpy()
    x = script.draw(Network(model), about, noise, np.arange(3) % 2, Given(model))
    pixels = script.stored(x, 0.0, 255.0, "uint8").astype(int)
    wanted = model.sample(3, sampling=sampling, precision="float32").astype(int)
    assert np.abs(pixels - wanted).max() <= 1
    assert wanted.std() > 10  # not one grey everywhere


def test_the_script_is_run_beside_the_file(tmp_path, monkeypatch):
    choose_back_end()
    model = model_of(PLAIN, "sampling.sampler=dpmpp-2m-sde", "sampling.guidance=2")
    path, drawing = write(model, tmp_path / "m.keras", steps=5)
    np.save(tmp_path / "noise.npy", noise_of(model, 4).permute(0, 2, 3, 1).numpy())
    asked = ["--noise", str(tmp_path / "noise.npy"), "--out", str(tmp_path / "values.npy")]
    monkeypatch.setattr(sys, "argv", [str(drawing), str(path), *asked])
    runpy.run_path(str(drawing), run_name="__main__")
    pixels = np.load(tmp_path / "values.npy")
    wanted = model.sample(4, sampling=walk.chosen(model, 5), precision="float32")
    assert pixels.dtype == wanted.dtype
    assert np.abs(pixels.astype(int) - wanted.astype(int)).max() <= 1


def test_a_class_that_is_none_is_refused_in_words(tmp_path, monkeypatch, capsys):
    choose_back_end()
    path, drawing = write(model_of(GREY), tmp_path / "m.keras", steps=2)
    monkeypatch.setattr(sys, "argv", [str(drawing), str(path), "--label", "2"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(drawing), run_name="__main__")
    there = ", ".join(GREY.class_names)
    assert f"there is no class '2': there are {there}" in capsys.readouterr().err


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")])
def test_the_scripts_sheet_has_its_images_row_by_row(channels, mode):
    pixels = np.random.default_rng(0).integers(256, size=(3, 4, 6, channels)).astype("uint8")
    sheet = script.sheet(pixels, 0.0, 255.0)
    assert (sheet.mode, sheet.size) == (mode, (12, 8))
    shown = np.asarray(sheet).reshape(8, 12, -1)
    np.testing.assert_array_equal(shown[4:, :6], pixels[2][..., : shown.shape[-1]])
    assert (shown[4:, 6:] == 255).all()


def test_an_image_of_one_value_has_no_contrast_to_put_back():
    """As loang's own guidance has it: 0.3 and 0.7 of the guided image are all of it."""
    wishes = ("sampling.guidance=3", "sampling.guidance_rescale=0.7", "denoiser.clip=true")
    model = model_of(GREY, "denoiser.predicts=x0", "sampling.guidance_interval=null", *wishes)

    class Grey(Network):
        def predict(self, told, batch_size, verbose):
            return np.full_like(told["x"], 0.5)

    numbers = walk.numbers(model.denoiser, walk.chosen(model))
    about = {"walk": numbers, "images": model.spec.to_dict()}
    x = np.ones((2, 8, 8, 1), "float32")
    drawn = script.draw(Grey(model), about, x, np.arange(2), None)
    np.testing.assert_allclose(drawn, 0.5, rtol=1e-5)


def test_a_consistency_model_goes_back_by_new_noise():
    model = model_of(GREY, "sampling.sampler=consistency", "sampling.steps=2")
    steps = walk.numbers(model.denoiser, walk.chosen(model))["steps"]
    assert [step["next_noise"] for step in steps] == [0, 0]
    assert steps[0]["fresh"] == steps[1]["noise"] > 0
    assert steps[1]["fresh"] == 0
