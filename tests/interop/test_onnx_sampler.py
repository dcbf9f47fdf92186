"""The sampler beside an ONNX file: loang's images, by numpy and onnxruntime alone."""

import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from onnx_models import (  # noqa: F401 (fixtures that every test takes)
    EVERY,
    OTHERS,
    PLAIN,
    model_of,
    sizes_may_be_tensors,
    written_once,
)

from loang import drawing, samplers
from loang.data.scaling import to_pixels
from loang.data.spec import ImageSpec
from loang.interop.onnx import export

pytest.importorskip("onnxruntime")


def sampled(path, folder, monkeypatch, *options):
    """What the sampler beside a file draws, run as a script."""
    out = folder / "drawn.npy"
    monkeypatch.setattr(sys, "argv", ["sample", str(path), "--out", str(out), *map(str, options)])
    runpy.run_path(str(path.parent / export.SCRIPT), run_name="__main__")
    return np.load(out)


def noise_of(spec, count, folder):
    """Noise for torch, and the same one in a file."""
    noise = torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(1))
    np.save(folder / "noise.npy", noise.numpy())
    return noise, folder / "noise.npy"


def drawn_by_torch(model, noise, **asked):
    """loang's images from that noise, by DDIM."""
    *_, last = model.walk(
        range(len(noise)),
        sampling=drawing.sampling(model, **{"sampler": "ddim", **asked}),
        start=noise * model.denoiser.schedule.start,
        precision="float32",
    )
    return to_pixels(last.x, model.spec)


WALKS = {
    "guided within an interval, rescaled": (
        PLAIN,
        (
            *("sampling.guidance=3", "sampling.guidance_interval=0.2,5", "sampling.steps=8"),
            "sampling.guidance_rescale=0.7",
        ),
    ),
    "in steps": ("folded, learnt variance, in steps", ()),
    "its own levels": ("tutorial", ("sampling.levels=1000,700,300,20",)),
    "shown its estimates, guided, edm": (
        "self-conditioned, labels, edm",
        ("sampling.guidance=2", "sampling.guidance_interval=null"),
    ),
    "not clipped, zero terminal SNR": (
        "folded, learnt variance, in steps",
        ("denoiser.clip=false", "schedule.zero_terminal_snr=true"),
    ),
    "edm's mixture in steps": (
        "folded, learnt variance, in steps",
        ("denoiser.predicts=edm", "sampling.spacing=karras"),
    ),
}


@pytest.mark.parametrize("walk", WALKS)
def test_the_sampler_that_needs_no_torch_draws_the_same_images(walk, tmp_path, monkeypatch):
    name, further = WALKS[walk]
    spec, changes = EVERY[name]
    model = model_of(spec, (*changes, "sampling.sampler=ddim", *further))
    made = export.export(model, tmp_path / "model.onnx")
    noise, file = noise_of(spec, 4, tmp_path)
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", file)
    wanted = drawn_by_torch(model, noise)
    assert images.shape == wanted.shape
    assert images.dtype == wanted.dtype
    assert abs(images.astype(float) - wanted.astype(float)).max() <= 1
    assert images.std() > 1  # of 255: not all one colour


def test_a_model_of_another_sampler_is_walked_in_as_many_steps_as_ddim_needs(tmp_path, monkeypatch):
    spec, changes = OTHERS[PLAIN]
    model = model_of(spec, (*changes, "sampling.sampler=dpmpp-2m", "sampling.steps=3"))
    made = export.export(model, tmp_path / "model.onnx")
    noise, file = noise_of(spec, 2, tmp_path)
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", file).astype(int)
    assert abs(images - drawn_by_torch(model, noise, steps=50).astype(int)).max() <= 1
    assert abs(images - drawn_by_torch(model, noise, steps=3).astype(int)).max() > 1


def test_ddims_share_of_new_noise_is_honoured(tmp_path, monkeypatch):
    spec, changes = OTHERS[PLAIN]
    walk = ("sampling.sampler=ddim", "sampling.steps=3", "sampling.eta=0.7", "sampling.guidance=1")
    model = model_of(spec, (*changes, *walk))
    made = export.export(model, tmp_path / "model.onnx")
    images = sampled(made.path, tmp_path, monkeypatch, "-n", 2, "--seed", 7, "--label", 1)

    normal = np.random.default_rng(7).standard_normal
    drawn = [torch.from_numpy(normal((2, *spec.shape)).astype(np.float32)) for _ in range(3)]
    schedule = model.denoiser.schedule
    levels = schedule.levels(3, model.settings.sampling.spacing)
    with torch.no_grad():
        *_, last = samplers.named("ddim", eta=0.7)(
            model.denoiser,
            drawn[0] * schedule.start,
            levels,
            lambda step: drawn[step + 1],
            torch.tensor([1, 1]),
        )
    assert abs(images.astype(int) - to_pixels(last.x, spec).astype(int)).max() <= 1


def test_values_below_what_is_stored_are_black(tmp_path, monkeypatch):
    """As of the article's models, whose images are 0..1: the network's -1 is -255."""
    from PIL import Image

    spec = ImageSpec(8, 6, 1, "uint8", -255.0, 255.0, OTHERS[PLAIN][0].class_names)
    model = model_of(spec, (*OTHERS[PLAIN][1], "sampling.sampler=ddim", "sampling.steps=5"))
    made = export.export(model, tmp_path / "model.onnx")
    noise, file = noise_of(spec, 4, tmp_path)
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", file)
    wanted = drawn_by_torch(model, noise)
    assert (wanted == 0).any()
    assert wanted.any()
    assert abs(images.astype(int) - wanted.astype(int)).max() <= 1
    sheet = np.asarray(Image.open(tmp_path / "drawn.png")).reshape(2, 8, 2, 6).swapaxes(1, 2)
    np.testing.assert_array_equal(sheet.reshape(4, 8, 6, 1), images)


def test_an_image_of_one_value_has_no_contrast_to_put_back(tmp_path, monkeypatch):
    spec, changes = OTHERS[PLAIN]
    walk = ("sampling.guidance=3", "sampling.guidance_rescale=0.7", "sampling.steps=4")
    whole = ("sampling.sampler=ddim", "sampling.guidance_interval=null", "denoiser.clip=true")
    model = model_of(spec, (*changes, *walk, *whole))
    with torch.no_grad():
        *_, bias = (each for name, each in model.denoiser.named_parameters() if "bias" in name)
        bias += 1e5 * (1 if model.denoiser.kind == "x0" else -1)
    made = export.export(model, tmp_path / "model.onnx")
    noise, file = noise_of(spec, 2, tmp_path)
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", file)
    np.testing.assert_array_equal(images, drawn_by_torch(model, noise))
    assert images.min() == images.max()


def test_a_model_that_leaps_to_the_image_is_given_new_noise(tmp_path, monkeypatch):
    spec, changes = OTHERS[PLAIN]
    walk = ("sampling.sampler=consistency", "sampling.steps=3", "sampling.guidance=1")
    model = model_of(spec, (*changes, *walk))
    training = model.settings.training.model_copy(update={"objective": "consistency"})
    distillation = model.settings.distillation.model_copy(update={"method": "consistency"})
    found = {"training": training, "distillation": distillation}
    model.settings = model.settings.model_copy(update=found)
    made = export.export(model, tmp_path / "model.onnx")
    images = sampled(made.path, tmp_path, monkeypatch, "-n", 2, "--seed", 7, "--label", 1)

    normal = np.random.default_rng(7).standard_normal
    drawn = [torch.from_numpy(normal((2, *spec.shape)).astype(np.float32)) for _ in range(4)]
    levels = model.denoiser.schedule.levels(3)
    with torch.no_grad():
        *_, last = samplers.named("consistency")(
            model.denoiser, drawn[0], levels, lambda step: drawn[step + 1], torch.tensor([1, 1])
        )
    assert abs(images.astype(int) - to_pixels(last.x, spec).astype(int)).max() <= 1


def test_the_sampler_needs_no_torch_and_draws_a_picture(tmp_path):
    made = export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['loang'] = None;"
        "sys.argv = ['sample', 'model.onnx', '-n', '3'];"
        f"runpy.run_path({export.SCRIPT!r}, run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert np.load(tmp_path / "drawn.npy").shape == (3, 8, 6, 1)
    assert (tmp_path / "drawn.png").stat().st_size > 100
    assert made.script == tmp_path / export.SCRIPT


def test_a_sampler_that_a_person_has_changed_is_left_to_them(tmp_path):
    (tmp_path / export.SCRIPT).write_text("mine")
    made = export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    assert made.script is None
    assert (tmp_path / export.SCRIPT).read_text() == "mine"
    assert any("left as it is" in line for line in made.sentences())


def test_a_label_of_no_class_is_refused_in_words(tmp_path, monkeypatch, capsys):
    """The number after the last class is that of no class, and was no wish of anybody's."""
    spec, changes = OTHERS[PLAIN]
    made = export.export(model_of(spec, changes), tmp_path / "model.onnx")
    count = len(spec.class_names)
    for label in (count, -1):
        with pytest.raises(SystemExit):
            sampled(made.path, tmp_path, monkeypatch, "-n", 1, "--label", label)
        told = capsys.readouterr().err
        assert f"--label {label}: there are {count} classes, from 0 up" in told
