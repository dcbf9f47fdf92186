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
from loang.interop.onnx import export

pytest.importorskip("onnxruntime")


def sampled(path, folder, monkeypatch, *options):
    """What the sampler beside a file draws, run as a script."""
    out = folder / "drawn.npy"
    monkeypatch.setattr(sys, "argv", ["sample", str(path), "--out", str(out), *map(str, options)])
    runpy.run_path(str(path.parent / export.SCRIPT), run_name="__main__")
    return np.load(out)


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
    model = model_of(spec, (*changes, *further))
    made = export.export(model, tmp_path / "model.onnx")
    noise = torch.randn(4, *spec.shape, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "noise.npy", noise.numpy())
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", tmp_path / "noise.npy")
    *_, last = model.walk(
        range(4),
        sampling=drawing.sampling(model, sampler="ddim"),
        start=noise * model.denoiser.schedule.start,
        precision="float32",
    )
    wanted = to_pixels(last.x, spec)
    assert images.shape == wanted.shape
    assert images.dtype == wanted.dtype
    assert abs(images.astype(float) - wanted.astype(float)).max() <= 1
    assert images.std() > 1  # of 255: not all one colour


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
    assert np.load(tmp_path / "samples.npy").shape == (3, 8, 6, 1)
    assert (tmp_path / "samples.png").stat().st_size > 100
    assert made.script == tmp_path / export.SCRIPT


def test_a_sampler_that_a_person_has_changed_is_left_to_them(tmp_path):
    (tmp_path / export.SCRIPT).write_text("mine")
    made = export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    assert made.script is None
    assert (tmp_path / export.SCRIPT).read_text() == "mine"
    assert any("left as it is" in line for line in made.sentences())
