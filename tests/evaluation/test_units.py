"""Values of one depth are in the same units, whatever the highest and lowest of either side are."""

import numpy as np
import pytest
import torch

from loang import api, open_dataset
from loang.build import build_denoiser
from loang.config import Settings, UNetSettings
from loang.data.spec import ImageSpec
from loang.evaluation.asked import Asked
from loang.evaluation.subject import open_images
from loang.evaluation.units import brought
from loang.model import Model

RANDOM = np.random.default_rng(0)


def real_and(tmp_path, real, samples):
    """The real images as a data set, and the samples as they are opened beside them."""
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "samples.npy", samples)
    return open_images(tmp_path / "samples.npy", open_dataset(tmp_path / "real.npy"))


def in_order(images):
    return sorted(map(bytes, images))


def test_samples_of_a_narrower_range_stay_narrower(tmp_path):
    real = RANDOM.uniform(188, 358, (60, 8, 8, 1)).astype(np.float32)
    samples = RANDOM.uniform(250, 260, (30, 8, 8, 1)).astype(np.float32)
    found = real_and(tmp_path, real, samples)
    assert in_order(found.images.pixels) == in_order(samples)
    assert found.notices == ()


def test_twelve_bits_are_not_stretched_to_the_samples_own_highest(tmp_path):
    real = RANDOM.integers(0, 4096, (60, 8, 8, 1)).astype(np.uint16)
    samples = RANDOM.integers(0, 1000, (30, 8, 8, 1)).astype(np.uint16)
    found = real_and(tmp_path, real, samples)
    assert in_order(found.images.pixels) == in_order(samples)
    assert found.notices == ()


def test_values_beyond_the_real_range_are_cut_and_told(tmp_path):
    real = RANDOM.uniform(0, 1, (60, 8, 8, 1)).astype(np.float32)
    samples = RANDOM.uniform(-1, 1, (30, 8, 8, 1)).astype(np.float32)
    found = real_and(tmp_path, real, samples)
    assert found.images.pixels.min() == 0
    assert found.images.pixels.max() == samples.max()
    assert "% of them lie beyond" in " ".join(found.notices)


@pytest.mark.parametrize(
    ("own", "real", "values", "expected", "told"),
    [
        (
            ImageSpec(1, 2, 1, "uint16", 0.0, 1023.0),
            ImageSpec(1, 2, 1),
            [257, 771],
            [1, 3],
            "0 to 65535 is taken for 0 to 255",
        ),
        (
            ImageSpec(1, 2, 1, "uint16", 0.0, 255.0),
            ImageSpec(1, 2, 1),
            [7, 255],
            [7, 255],
            "as those of the real images",
        ),
        (
            ImageSpec(1, 2, 1),
            ImageSpec(1, 2, 1, "uint16", 0.0, 4095.0),
            [0, 255],
            [0, 4095],
            "0 to 255 is taken for 0 to 4095",
        ),
        (
            ImageSpec(1, 2, 1, "float32", -1.0, 1.0),
            ImageSpec(1, 2, 1),
            [-1, 0.2],
            [0, 153],
            "-1 to 1 is taken for 0 to 255",
        ),
        (
            ImageSpec(1, 2, 1, "float32", 3.0, 240.0),
            ImageSpec(1, 2, 1),
            [3, 239.6],
            [3, 240],
            "as those of the real images",
        ),
        (
            ImageSpec(1, 2, 1, "uint16", 0.0, 511.0),
            ImageSpec(1, 2, 1, "float32", 188.0, 358.0),
            [190, 300],
            [190, 300],
            "as those of the real images",
        ),
    ],
)
def test_between_depths_something_is_supposed_and_told(own, real, values, expected, told):
    pixels = np.array(values, own.depth).reshape(1, 1, 2, 1)
    found, notices = brought(pixels, own, real, "these")
    assert found.dtype == real.depth
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)
    assert told in " ".join(notices)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.integers(0, 4096, (150, 8, 8)).astype(np.uint16),
        RANDOM.uniform(188, 358, (150, 8, 8)).astype(np.float32),
    ],
    ids=["12 bits", "real numbers"],
)
def test_a_run_and_the_file_of_its_samples_measure_alike(values, tmp_path, monkeypatch):
    """And so against other images than its own, whose values run from elsewhere to elsewhere."""
    np.save(tmp_path / "data.npy", values)
    data = open_dataset(tmp_path / "data.npy")
    settings = Settings(
        network=UNetSettings(width=8, multipliers=(1, 1), attention=(), heads=1, blocks=1)
    )
    settings = settings.model_copy(
        update={"data": settings.data.model_copy(update={"source": str(tmp_path / "data.npy")})}
    )
    torch.manual_seed(0)
    model = Model(build_denoiser(settings, data.spec), data.spec, settings)
    # Samples in a fifth of the range.
    monkeypatch.setattr(Model, "sample", flat)
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", model.sample(60))
    np.save(tmp_path / "other.npy", model.sample(100, first=1))
    asked = Asked(count=60, features=["pixels"])
    ours = api.evaluate(tmp_path / "model.safetensors", asked=asked)
    theirs = api.evaluate(tmp_path / "x.npy", tmp_path / "data.npy", asked=asked)
    assert cells(theirs) == pytest.approx(cells(ours), rel=1e-3)
    # Against images like its samples, whose own range is another than the model's.
    near = api.evaluate(tmp_path / "model.safetensors", tmp_path / "other.npy", asked=asked)
    assert cells(near)["sliced_wasserstein"] < cells(ours)["sliced_wasserstein"] / 10
    assert near.data["fingerprint"] == open_dataset(tmp_path / "other.npy").fingerprint


def cells(report):
    found = report.space.columns["samples"].cells
    return {name: found[name].estimate.value for name in ("frechet", "kid", "sliced_wasserstein")}


def flat(model, count, *, first=0, **others):
    spec = model.spec
    rng = np.random.default_rng(first)
    values = rng.uniform(0.3, 0.5, (count, 8, 8, 1)) * (spec.high - spec.low) + spec.low
    return values.astype(spec.depth)
