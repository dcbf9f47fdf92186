"""Bits per value of a model: what is measured, what the report says of it, what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from loang import likelihood, schedule
from loang.build import build_denoiser
from loang.config import Settings, UNetSettings
from loang.data.images import Dataset, Images
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.evaluation import bits, output, words
from loang.evaluation.asked import Asked
from loang.evaluation.asking import Asking
from loang.evaluation.evaluate import evaluate
from loang.evaluation.subject import Subject
from loang.likelihood import Effort
from loang.likelihood.baselines import baselines
from loang.metrics.features.pixels import PixelFeatures
from loang.model import Model
from loang.process import like

LITTLE = Effort(images=12, looks=6, followed=4, batch=6, tolerance=0.01)


def model_of(spec, **schedule):
    network = UNetSettings(width=8, multipliers=(1,), attention=(), heads=1, blocks=1)
    settings = Settings(network=network)
    settings = settings.model_copy(
        update={"schedule": settings.schedule.model_copy(update={"steps": 12, **schedule})}
    )
    model = Model(build_denoiser(settings, spec), spec, settings)
    # A last layer of zeros answers nothing, whatever it is told.
    with torch.no_grad():
        for weight in model.denoiser.parameters():
            if not weight.any():
                weight.copy_(torch.linspace(-0.1, 0.1, weight.numel()).reshape(weight.shape))
    return model


@pytest.fixture
def model(real):
    return model_of(real.spec)


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def found(model, real, kept):
    """Measured once for all tests: it is the same each time."""
    if not kept:
        kept["found"] = likelihood.measure(model, real.validation, real.train, effort=LITTLE)
    return kept["found"]


def test_both_methods_are_measured_with_their_errors_and_parts(found):
    bound, flow = found.bound, found.flow
    assert len(bound.images) == 12
    assert len(flow.images) == 4
    for score in (bound, flow):
        assert score.bits.value == pytest.approx(sum(score.shares.values()))
        assert score.bits.value == pytest.approx(score.images.mean())
        assert score.bits.error == pytest.approx(
            score.images.std(ddof=1) / len(score.images) ** 0.5
        )
        assert score.bits.value > 0
    assert set(bound.shares) == {"prior", "diffusion", "decoder"}
    assert bound.evaluations == 7
    assert bound.bits.value == min(each.value for each in found.ways.values())
    assert set(found.ways) == {"fixed-small", "fixed-large"}
    # Both begin with the same noise: what they have in common is the decoder.
    assert flow.shares["decoder"] > 0
    assert found.baselines["uniform"] == 8
    assert found.gap.error > 0


def test_an_image_counts_the_same_whatever_is_measured_beside_it(model, real, found):
    """The flow's steps are those of its batch: to its tolerance."""
    other = likelihood.measure(
        model, real.validation, real.train, effort=replace(LITTLE, batch=3, images=12)
    )
    np.testing.assert_allclose(other.bound.images, found.bound.images, rtol=1e-4)
    np.testing.assert_allclose(other.flow.images, found.flow.images, rtol=2e-2)
    precisions = set()
    elsewhere = likelihood.measure(
        *(model, real.validation, real.train),
        effort=LITTLE,
        seed=1,
        on_step=lambda done, total: precisions.add(torch.backends.cudnn.allow_tf32),
    )
    assert not np.allclose(elsewhere.bound.images, found.bound.images, rtol=1e-2)
    assert precisions == {False}  # on a GPU: of float32, and not of ten binary digits


def test_as_many_looks_as_steps_are_the_sum_itself(model, real):
    effort = replace(LITTLE, images=30, looks=None, followed=0)
    whole = likelihood.measure(model, real.validation, real.train, effort=effort)
    assert whole.about["all_steps"]
    assert whole.bound.evaluations == 12
    assert whole.flow is None
    drawn = likelihood.measure(model, real.validation, real.train, effort=replace(effort, looks=6))
    assert not drawn.about["all_steps"]
    apart = drawn.bound.images - whole.bound.images
    assert abs(apart.mean()) < 4 * apart.std(ddof=1) / 30**0.5
    assert apart.std() < 0.3 * whole.bound.bits.value


def test_the_model_is_as_it_was_and_labels_are_told(model, real, monkeypatch):
    told = []
    predict = Denoiser.predict

    def listening(self, x_t, t, label=None, **more):
        told.append(label)
        assert not self.network.training
        return predict(self, x_t, t, label, **more)

    monkeypatch.setattr(Denoiser, "predict", listening)
    model.denoiser.train()
    found = likelihood.measure(model, real.validation, real.train, effort=LITTLE)
    assert model.denoiser.training
    assert model.denoiser.network.training
    assert all(weight.grad is None for weight in model.denoiser.parameters())
    assert found.about["given_labels"]
    assert all(label is not None for label in told)
    assert "given its class" in words._likely(found)
    # Images without labels: of a model that learned without some of the time, and of no other.
    spec = replace(real.spec, class_names=())
    plain = Images(real.validation.pixels, spec)
    told.clear()
    assert not likelihood.measure(model, plain, plain, effort=LITTLE).about["given_labels"]
    assert set(told) == {None}
    always = model.settings.training.model_copy(update={"label_dropout": 0.0})
    model.settings = model.settings.model_copy(update={"training": always})
    with pytest.raises(LoangError, match="always told the classes"):
        likelihood.check(model, plain)


@pytest.mark.parametrize("kind", ["edm", "flow"])
def test_schedules_of_real_time_are_measured_too(real, kind):
    found = likelihood.measure(
        model_of(real.spec, kind=kind), real.validation, real.train, effort=LITTLE
    )
    assert set(found.ways) == {"estimate", "noisy image"}
    assert np.isfinite(found.bound.images).all()
    assert np.isfinite(found.flow.images).all()
    assert "last step" in " ".join(bits.notes(found))


def test_16_bits_have_more_levels_and_real_numbers_have_none():
    spec = ImageSpec(8, 8, 1, "uint16", 0.0, 1023.0)
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 1100, (40, 8, 8, 1)).astype(np.uint16), spec)
    found = likelihood.measure(model_of(spec), images, images, effort=LITTLE)
    assert found.about["levels"] == 1024
    assert found.baselines["uniform"] == 10
    assert "pixel histogram" not in found.baselines
    assert "histogram is left out" in " ".join(bits.notes(found))
    assert 0.03 < found.about["beyond_the_range"] < 0.12
    assert "beyond the model's range" in " ".join(bits.notes(found))
    spec = ImageSpec(8, 8, 1, "float32", 200.0, 300.0)
    images = Images(rng.normal(250, 10, (40, 8, 8, 1)).astype(np.float32), spec)
    model = model_of(spec)
    found = likelihood.measure(model, images, images, effort=LITTLE)
    assert found.bound is None
    assert found.baselines == {}
    assert "no bits of their own" in " ".join(words._likely(found).split()).replace(
        "have no ", "no "
    )
    # In units a tenth as large, a density is log2(10) bits less.
    tenth = Images(images.stored / 10, replace(spec, low=20.0, high=30.0))
    model.spec = tenth.spec
    other = likelihood.measure(model, tenth, tenth, effort=LITTLE)
    np.testing.assert_allclose(found.flow.images - other.flow.images, np.log2(10), atol=2e-2)


class OfGaussian(nn.Module):
    """The best estimate of the image in x_t, of independent values N(0, variance)."""

    def __init__(self, schedule, variance):
        super().__init__()
        self.schedule, self.spread = schedule, nn.Parameter(torch.tensor(variance))

    def forward(self, x, t, label=None):
        signal, noise = (like(of(t), x) for of in (self.schedule.signal, self.schedule.noise))
        return signal * self.spread / (signal**2 * self.spread + noise**2) * x


def test_uniform_noise_between_levels_costs_what_the_closed_form_says(model):
    """Of Gaussian values at 256 levels: -log2 of a Gaussian's density and of a level's width."""
    variance, width = 0.09, 2 / 255
    spec = ImageSpec(8, 8, 1)
    x = 0.3 * np.random.default_rng(0).standard_normal((40, 8, 8, 1))
    images = Images(np.clip(np.rint(127.5 + 127.5 * x), 0, 255).astype(np.uint8), spec)
    of = schedule.cosine()
    denoiser = Denoiser(OfGaussian(of, variance), of, "x0", clip=False)
    effort = replace(LITTLE, images=40, followed=40, looks=1, probes=4, tolerance=1e-4)
    found = [
        likelihood.measure(
            Model(denoiser, spec, model.settings),
            images,
            images,
            effort=replace(effort, dequantisation=dequantisation),
        )
        for dequantisation in ("uniform", "process")
    ]
    first = torch.ones(1, dtype=torch.float64)
    spread = variance + float(of.noise(first) / of.signal(first)) ** 2
    squares = float(to_model(images.pixels, spec).double().square().mean()) + width**2 / 12
    expected = np.log2(2 * np.pi * spread) / 2 + squares / spread / np.log(4) - np.log2(width)
    uniform, process = (each.flow for each in found)
    assert uniform.bits.value == pytest.approx(expected, abs=1e-3)
    assert uniform.shares.keys() == {"density"}
    # Both are bounds of the same probability; the other pays for its decoder's fixed variance.
    assert expected < process.bits.value < expected + 0.1
    assert "uniform over a level's width" in " ".join(bits.notes(found[0]))
    assert "process's own noise" in " ".join(bits.notes(found[1]))


def test_images_of_another_kind_are_refused(model, real):
    spec = ImageSpec(8, 8, 1, "uint16", 0.0, 65535.0)
    other = Images(np.zeros((4, 8, 8, 1), np.uint16), spec)
    with pytest.raises(LoangError, match="8x8x1 uint8 in 0 to 255"):
        likelihood.check(model, other)
    odd = replace(real.spec, low=0.5)
    with pytest.raises(LoangError, match="does not end at values"):
        likelihood.check(model_of(odd), Images(real.validation.pixels, odd))


def test_baselines_are_what_they_say():
    """Pixels of two levels, alike often: one bit each, and a little for what was never seen."""
    spec = ImageSpec(2, 2, 1)
    rng = np.random.default_rng(0)
    pixels = np.where(rng.integers(0, 2, (4096, 2, 2, 1)), 200, 10).astype(np.uint8)
    found = baselines(Images(pixels, spec), Images(pixels, spec), np.arange(4096), 256)
    assert found["uniform"] == 8
    assert found["pixel histogram"] == pytest.approx(1 + np.log2(4352 / 4096), abs=0.01)
    x = to_model(pixels, spec).double()
    std = float(x.std()) * 127.5
    expected = np.log2(std * np.sqrt(2 * np.pi * np.e))
    assert found["pixel Gaussian"] == pytest.approx(expected, abs=0.02)


class Watched(Images):
    """How many images were asked for at once."""

    def __getitem__(self, indices):
        most.append(len(indices))
        return super().__getitem__(indices)


most: list[int] = []


def test_baselines_read_images_in_pieces_and_are_those_of_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    spec = ImageSpec(3, 4, 2)
    pixels = rng.normal(120, 40, (90, 3, 4, 2)).clip(0, 255).astype(np.uint8)
    training, real = Watched(pixels[:70], spec), Watched(pixels[60:], spec)
    asked = np.arange(1, 30)
    monkeypatch.setattr("loang.likelihood.baselines.VALUES", 8 * 24 + 5)
    most.clear()
    found = baselines(training, real, asked, 256)
    assert max(most) == 8
    known, unknown = pixels[:70].reshape(70, 24), pixels[61:].reshape(29, 24)
    counts = 1 + (known[:, None, :, None] == np.arange(256)).sum(axis=(0, 1))
    bits = np.log2(70 + 256) - np.log2(counts)[np.arange(24), unknown]
    assert found["pixel histogram"] == pytest.approx(bits.mean(), rel=1e-12)
    x, y = (each / 127.5 - 1 for each in (known.astype(float), unknown.astype(float)))
    scale = np.sqrt((((x - x.mean(0)) ** 2).sum(0) + 1 / 3) / 71)
    edges = [torch.from_numpy((y + side / 255 - x.mean(0)) / scale) for side in (-1, 1)]
    low, high = (torch.special.ndtr(edge).numpy() for edge in edges)
    share = np.where(unknown == 255, 1, high) - np.where(unknown == 0, 0, low)
    assert found["pixel Gaussian"] == pytest.approx(-np.log2(share).mean(), rel=1e-5)


def test_levels_too_many_to_count_are_left_out(monkeypatch):
    spec = ImageSpec(2, 2, 1)
    images = Images(np.zeros((3, 2, 2, 1), np.uint8), spec)
    monkeypatch.setattr("loang.likelihood.baselines.COUNTS", 4 * 256)
    assert "pixel histogram" in baselines(images, images, np.arange(3), 256)
    monkeypatch.setattr("loang.likelihood.baselines.COUNTS", 4 * 256 - 1)
    assert "pixel histogram" not in baselines(images, images, np.arange(3), 256)


def test_baselines_come_before_what_takes_long(model, real, monkeypatch):
    module = sys.modules[likelihood.measure.__module__]
    monkeypatch.setattr(module._Measuring, "bounds", lambda *_: pytest.fail("measured before"))
    monkeypatch.setattr(module, "baselines", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        likelihood.measure(model, real.validation, real.train, effort=LITTLE)


def test_the_report_has_it_in_all_its_forms(found, real, blobs, tmp_path):
    report = evaluate(Subject("these", blobs(20, 7)), real, spaces=[PixelFeatures(real.spec)])
    assert report.to_dict()["likelihood"] is None
    output.write_report(report, tmp_path / "without")
    assert "Likelihood" not in (tmp_path / "without" / "report.md").read_text()
    report = replace(report, likelihood=found)
    output.write_report(report, tmp_path / "with")
    kept = json.loads((tmp_path / "with" / "report.json").read_text())["likelihood"]
    assert kept["bound"]["value"] == pytest.approx(found.bound.bits.value)
    assert kept["bound"]["way"] in ("fixed-small", "fixed-large")
    assert set(kept["bound"]["shares"]) == {"prior", "diffusion", "decoder"}
    assert kept["flow"]["error"] > 0
    assert kept["about"]["levels"] == 256
    text = (tmp_path / "with" / "report.md").read_text()
    for wanted in ("## Likelihood", "variational bound", "probability flow", "Hutchinson"):
        assert wanted in text
    assert "takes at most" in " ".join(words.sentences(report))


def test_only_a_model_is_asked_and_before_anything_is_drawn(real, blobs, tmp_path):
    np.save(tmp_path / "images.npy", blobs(20, 3).pixels)
    np.save(tmp_path / "real.npy", real.train.pixels)
    asking = Asking(Asked(likelihood=True))
    with pytest.raises(LoangError, match="holds images"):
        asking.report(tmp_path / "images.npy", tmp_path / "real.npy")
    with pytest.raises(LoangError, match="not compared"):
        asking.comparison(tmp_path / "images.npy", tmp_path / "images.npy", None)


def test_evaluating_a_model_measures_as_many_held_out_images(model, real, monkeypatch):
    asking = Asking(Asked(count=10, likelihood=True, features=("pixels",)))
    model.settings = model.settings.model_copy(
        update={"sampling": model.settings.sampling.model_copy(update={"steps": 2})}
    )
    monkeypatch.setattr("loang.evaluation.asking.is_model", lambda path: True)
    monkeypatch.setattr(Model, "load", lambda path, on: model)
    few = Dataset("blobs", real.train, real.validation, "f" * 64)
    monkeypatch.setattr(asking, "dataset", lambda *ignored: few)
    monkeypatch.setattr(likelihood, "Effort", lambda **asked: replace(LITTLE, **asked))
    report = asking.report(Path("model.safetensors"), None)
    assert len(report.likelihood.bound.images) == 10
