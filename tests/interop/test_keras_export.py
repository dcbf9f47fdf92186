"""Models for Keras: the same function, and the same file back."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from keras_models import (
    GREY,
    NETWORKS,
    PLAIN,
    answer_of,
    apart,
    inputs_of,
    model_of,
    tutorial_of,
)
from typer.testing import CliRunner

from loang.cli.app import app
from loang.data.spec import ImageSpec
from loang.errors import LoangError

pytest.importorskip("keras")
pytest.importorskip("h5py")

from loang.interop.keras import back
from loang.interop.keras.build import build as build_keras
from loang.interop.keras.build import choose_back_end
from loang.interop.keras.parts import Parts
from loang.interop.keras.write import MEMBER, SCRIPT, WEIGHTS, write

# Keras's torch back end, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLOSE = 1e-5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model's file."""
    return write(model_of(), tmp_path_factory.mktemp("written") / "m.keras")[0]


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
    (tmp_path / "run" / SCRIPT).write_text("mine")
    result = CliRunner().invoke(app, ["export", "keras", "run"])
    assert result.exit_code == 0, result.output
    assert "was left as it is" in " ".join(result.output.split())
    assert (tmp_path / "run" / SCRIPT).read_text() == "mine"
    own, other = (tmp_path / each / "model.safetensors" for each in ("run", "runs/keras-model"))
    assert own.read_bytes() == other.read_bytes()


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


def test_a_back_end_that_keras_does_not_know_is_told():
    code = (
        "from loang.extras import require\nfrom loang.errors import LoangError\n"
        "try:\n    require('keras', extra='keras', purpose='to try')\n"
        "except LoangError as error:\n    print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "foo"},
        capture_output=True,
        text=True,
    )
    assert "keras to try, and it refuses its settings" in told.stdout
    assert "foo" in told.stdout


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
@pytest.mark.timeout(1800)
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
