"""Models for Keras: the same function, the same images, and the same file back."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from loang import build, presets, random
from loang.cli.app import app
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.model import Model

pytest.importorskip("keras")
pytest.importorskip("h5py")

from loang.interop.keras import back, script, walk
from loang.interop.keras.build import build as build_keras
from loang.interop.keras.build import choose_back_end
from loang.interop.keras.parts import Parts
from loang.interop.keras.write import MEMBER, WEIGHTS, write

# Keras's torch back end, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GREY = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
PLAIN = ImageSpec(10, 6, 3)
SMALL = ("network.width=8", "network.multipliers=1,1", "network.heads=2", "network.fold=1")
IN_STEPS = ("schedule.kind=cosine", "denoiser.predicts=v", "training.levels=uniform")
TUTORIAL = ("network.kind=tutorial", "network.width=4")
CLOSE = 1e-5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model's file."""
    return write(model_of(), tmp_path_factory.mktemp("written") / "m.keras")[0]


def model_of(spec=GREY, *changes, base=SMALL):
    """Untrained, and with weights that answer something."""
    wishes = [*base, *IN_STEPS, "sampling.sampler=ddim", "sampling.steps=6", *changes]
    settings = changed(presets.quick(), wishes)
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings, {"steps": 3, "data": "boots"})


def tutorial_of(spec=PLAIN, *changes):
    return model_of(spec, "data.labels=false", *changes, base=TUTORIAL)


def inputs_of(model, conditions):
    """Inputs of every name that its Keras model may have, and the same ones for torch."""
    generator = np.random.default_rng(0)
    spec, network, n = model.spec, model.denoiser.network, len(conditions)
    shape = n, spec.height, spec.width, spec.channels
    told = {
        "x": generator.standard_normal(shape, np.float32),
        "t": np.array(conditions, np.float32),
    }
    if network.classes:
        told["label"] = (np.arange(n) % (network.classes + 1)).astype(np.int32)
    if getattr(network, "given", 0):
        told["given"] = generator.standard_normal(shape, np.float32)
    if getattr(network, "augmentations", 0):
        told["augmentation"] = generator.standard_normal((n, network.augmentations), np.float32)
    return told


def answer_of(model, told):
    """torch's, channels last, as numpy."""
    first = {"x", "given"}
    inward = {
        name: torch.from_numpy(each).permute(0, 3, 1, 2)
        if name in first
        else torch.from_numpy(each)
        for name, each in told.items()
    }
    label = inward.pop("label", None)
    x, t = inward.pop("x"), inward.pop("t")
    with torch.no_grad():
        out = model.denoiser.network(x, t, None if label is None else label.long(), **inward)
    return out.permute(0, 2, 3, 1).numpy()


def apart(one, other):
    """The largest difference, as a share of the largest value."""
    assert one.shape == other.shape
    return np.abs(one - other).max() / np.abs(other).max()


NETWORKS = {
    "plain": (GREY,),
    "three halvings of 28, added codes": (
        ImageSpec(28, 28, 1),
        "network.multipliers=1,1,1,2",
        "network.blocks=1",
        "network.attention=1,3",
        "network.modulate=false",
    ),
    "odd sizes, folded": (ImageSpec(13, 9, 3), "network.fold=2", "network.blocks=1"),
    "told and shown": (
        GREY,
        "data.flips=true",
        "data.shifts=2",
        "data.told=true",
        "network.self_conditioning=true",
        "denoiser.learn_variance=true",
        "network.dropout=0.1",
    ),
    "as elsewhere": (
        GREY,
        "network.norm_groups=2",
        "network.norm_epsilon=1e-3",
        "network.downsample_padding=after",
        "network.cosine_first=true",
        "network.reaches_last=false",
        "network.head_width=2",
        "network.middle_attention=false",
        "network.blocks=1",
    ),
    "resampled within blocks": (GREY, "network.resample_blocks=true", "network.blocks=1"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_modern_network_is_the_same_function_after_a_file(name, tmp_path):
    choose_back_end()
    import keras

    model = model_of(*NETWORKS[name])
    write(model, tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    told = inputs_of(model, [999.0, 500.25, 1.0])
    assert apart(again.predict(told, verbose=0), answer_of(model, told)) < CLOSE


@pytest.mark.parametrize("spec", [PLAIN, ImageSpec(17, 8, 1)], ids=["10x6", "17x8"])
def test_the_articles_network_is_the_same_function(spec):
    model = tutorial_of(spec)
    made = build_keras(model.denoiser, spec).model
    for conditions in ([500, 501, 1000], [0.3, 77.7, 500.37]):
        told = inputs_of(model, conditions)
        assert apart(made.predict(told, verbose=0), answer_of(model, told)) < CLOSE


def test_the_code_of_a_time_is_as_exact_as_float32_can_say():
    model = tutorial_of()
    parts = Parts(model.denoiser.network)
    frequencies = 10000 ** (-np.arange(0, 256, 2) / 256)
    times = np.array([1.0, 333.3, 500.0, 777.77, 1000.0], np.float32)
    exact = times.astype(np.float64)[:, None] * frequencies
    t = parts.keras.Input((), dtype="float32")
    errors = {}
    for name, waves in (
        ("split", parts.exact_waves(t, frequencies, 1000.0)),
        ("plain", parts.waves(t, frequencies)),
    ):
        sine, cosine = parts.keras.Model(t, list(waves)).predict(times, verbose=0)
        errors[name] = max(abs(sine - np.sin(exact)).max(), abs(cosine - np.cos(exact)).max())
    assert errors["split"] < 3e-7
    assert errors["plain"] > 1e-5


@pytest.mark.parametrize(
    "model",
    [model_of(*NETWORKS["told and shown"]), tutorial_of()],
    ids=["told and shown", "tutorial"],
)
def test_there_and_back_it_is_the_same_model(model, tmp_path):
    write(model, tmp_path / "m.keras")
    again = back.read(tmp_path / "m.keras")
    assert again.settings == model.settings
    assert again.spec == model.spec
    assert again.facts == model.facts
    own, others = model.denoiser.network.state_dict(), again.denoiser.network.state_dict()
    assert list(own) == list(others)
    for name, weight in own.items():
        assert torch.equal(weight, others[name]), name


def test_by_the_command_line_a_model_goes_out_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choose_back_end()
    model_of().save(tmp_path / "run" / "model.safetensors")
    for verb in (["export", "keras", "run"], ["import", "keras", "run/model.keras"]):
        result = CliRunner().invoke(app, verb)
        assert result.exit_code == 0, result.output
        assert "Next" in result.output
    own, other = (tmp_path / each / "model.safetensors" for each in ("run", "runs/keras-model"))
    assert own.read_bytes() == other.read_bytes()


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


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")])
def test_the_scripts_sheet_has_its_images_row_by_row(channels, mode):
    pixels = np.random.default_rng(0).integers(256, size=(3, 4, 6, channels)).astype("uint8")
    sheet = script.sheet(pixels, 0.0, 255.0)
    assert (sheet.mode, sheet.size) == (mode, (12, 8))
    shown = np.asarray(sheet).reshape(8, 12, -1)
    np.testing.assert_array_equal(shown[4:, :6], pixels[2][..., : shown.shape[-1]])
    assert (shown[4:, 6:] == 255).all()


def test_a_consistency_model_goes_back_by_new_noise():
    model = model_of(GREY, "sampling.sampler=consistency", "sampling.steps=2")
    steps = walk.numbers(model.denoiser, walk.chosen(model))["steps"]
    assert [step["next_noise"] for step in steps] == [0, 0]
    assert steps[0]["fresh"] == steps[1]["noise"] > 0
    assert steps[1]["fresh"] == 0


def test_mistakes_are_told_before_anything_is_written(tmp_path):
    model = model_of()
    with pytest.raises(LoangError, match=r"End its name in \.keras"):
        write(model, tmp_path / "m.h5")
    with pytest.raises(LoangError, match="1001 steps"):
        write(model, tmp_path / "m.keras", steps=1001)
    endless = model_of(GREY, "schedule.kind=flow", "denoiser.predicts=flow")
    with pytest.raises(LoangError, match="10,001 steps is too long"):
        write(endless, tmp_path / "m.keras", steps=10_001)
    assert list(tmp_path.iterdir()) == []


def test_versions_of_keras_can_read_it_that_are_older_than_the_one_that_wrote_it(written):
    with zipfile.ZipFile(written) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    operations = [each for each in layers if each["module"].startswith("keras.src.ops")]
    assert {"Split", "Softmax"} < {each["class_name"] for each in operations}
    # 3.6 takes no name, no quantization_config and no axes of an initializer.
    assert not any("name" in each["config"] for each in operations)
    assert not any("quantization_config" in each["config"] for each in layers)
    assert "input_axes" not in json.dumps(layers)


class Strange(torch.nn.Module):
    def forward(self, x):
        return x


def test_what_is_not_known_is_refused_and_not_guessed():
    model = model_of()
    model.denoiser.network.middle[0] = Strange()
    with pytest.raises(LoangError, match=r"has a part, middle\.0, that loang can't say in Keras"):
        build_keras(model.denoiser, model.spec)


def test_a_network_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Parts, "gelu", lambda parts, module, x: parts.ops.gelu(x, approximate=False)
    )
    with pytest.raises(LoangError, match="nothing was written"):
        write(tutorial_of(), tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def rewritten(path, changes):
    """The file with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    other = path.with_name("other.keras")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in (members | changes).items():
            if content is not None:
                archive.writestr(name, content)
    return other


def test_a_file_that_is_not_as_it_was_written_is_refused(written, tmp_path):
    path = shutil.copy(written, tmp_path / "m.keras")
    assert back.is_own(path)
    with zipfile.ZipFile(path) as archive:
        about, weights = json.loads(archive.read(MEMBER)), archive.read(WEIGHTS)
    one, *_, other = sorted(about["weights"])
    twice = about["weights"] | {one: about["weights"][other]}
    wide = json.loads(json.dumps(about))
    wide["settings"]["network"]["width"] = 4096
    for changes, reason in (
        ({MEMBER: None}, "it has no loang.json"),
        ({MEMBER: b"[]"}, "no object"),
        ({MEMBER: json.dumps(wide)}, "the weight"),
        ({MEMBER: json.dumps(about | {"weights": {}})}, "is missing"),
        ({MEMBER: json.dumps(about | {"weights": twice})}, "another"),
        ({MEMBER: json.dumps(about | {"format": 99})}, "format 99"),
        ({WEIGHTS: None}, "it has no model.weights.h5"),
        ({WEIGHTS: weights[: len(weights) // 2]}, "HDF5"),
        ({WEIGHTS: bytes(2**24)}, "more than it can have"),
    ):
        with pytest.raises(LoangError, match=reason):
            back.read(rewritten(path, changes))
    packed = tmp_path / "packed.keras"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, b"{" + b" " * 2**22 + b"}")
    with pytest.raises(LoangError, match="is packed"):
        back.read(packed)
    assert not back.is_own(rewritten(path, {MEMBER: None}))
    assert not back.is_own(tmp_path / "nothing.keras")


def test_damage_is_found_or_does_no_harm(written, tmp_path):
    whole = written.read_bytes()
    generator = np.random.default_rng(0)
    damaged = tmp_path / "damaged.keras"
    refused = 0
    for trial in range(30):
        content = bytearray(whole)
        if trial % 3 == 0:
            del content[generator.integers(len(content)) :]
        else:
            for place in generator.integers(len(content), size=1 + trial % 20):
                content[place] = generator.integers(256)
        damaged.write_bytes(content)
        try:
            back.read(damaged)
        except LoangError:
            refused += 1
    assert refused > 15


RUN = """
import sys
import keras, numpy as np
assert "loang" not in sys.modules
for place in sys.argv[1:]:
    model = keras.saving.load_model(f"{place}/m.keras", safe_mode=True)
    np.save(f"{place}/out.npy", model.predict(dict(np.load(f"{place}/told.npz")), verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "tensorflow", "jax"])
def test_each_of_keras_back_ends_answers_the_same(name, tmp_path):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    models = {f"unet, {key}": model_of(*wishes) for key, wishes in NETWORKS.items()}
    models |= {"tutorial": tutorial_of(), "tutorial, 17x8": tutorial_of(ImageSpec(17, 8, 1))}
    places = {key: tmp_path / str(number) for number, key in enumerate(models)}
    for key, model in models.items():
        write(model, places[key] / "m.keras")
        np.savez(places[key] / "told.npz", **inputs_of(model, [1000.0, 500.37, 1.0]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    subprocess.run(
        [sys.executable, "-c", RUN, *map(str, places.values())],
        check=True,
        env={**os.environ, **threads, "KERAS_BACKEND": name},
    )
    for key, model in models.items():
        told = dict(np.load(places[key] / "told.npz"))
        found = apart(np.load(places[key] / "out.npy"), answer_of(model, told))
        print(f"{name}, {key}: {found:.1e}")
        assert found < 1e-4
