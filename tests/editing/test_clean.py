"""Denoising at a picture's own noise level, and how well that is told from the picture."""

import numpy as np
import pytest
import torch
from editing_models import DEEP, GREY, SCHEDULES, model_of, pixels_of

from loang.config import SamplingSettings
from loang.data.places.sample import read_sample
from loang.data.spec import ImageSpec
from loang.editing.denoise import denoise, estimate_noise
from loang.errors import LoangError

REAL = ImageSpec(28, 28, 1, "float32", 0.0, 1.0)


def clothes(count=40):
    return read_sample()[0][:count, ..., np.newaxis].astype(np.float32) / 255


def noisy(pixels, noise, seed=0):
    drawn = np.random.default_rng(seed).normal(0, noise, pixels.shape)
    return (pixels + drawn).astype(np.float32)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2, 0.4])
def test_noise_is_told_from_a_picture(noise):
    """Measured on 40 pictures of clothes: 3 to 17 % too much in the median, least at 0.4."""
    found = [estimate_noise(noisy(one, noise, i), REAL) for i, one in enumerate(clothes())]
    assert 0.93 * noise < np.median(found) < 1.25 * noise
    assert np.quantile(found, 0.95) < 1.8 * noise


def test_noise_of_nothing_else_is_told_to_a_twentieth():
    large = ImageSpec(128, 128, 1, "float32", -3.0, 5.0)
    found = estimate_noise(noisy(np.zeros((128, 128, 1)), 8 * 0.1), large)
    assert found == pytest.approx(0.1, rel=0.05)


def test_noise_that_was_cut_off_is_underestimated_by_no_more_than_half():
    """Clothes on black: half of the background's noise is gone with all that was below black."""
    for noise in (0.1, 0.2):
        cut = [noisy(one, noise, i).clip(0, 1) for i, one in enumerate(clothes())]
        assert 0.5 * noise < np.median([estimate_noise(one, REAL) for one in cut]) < 1.1 * noise


def test_a_flat_picture_has_no_noise():
    assert estimate_noise(np.full((8, 8, 1), 7, np.uint8), GREY) == 0
    with pytest.raises(LoangError, match="One row"):
        estimate_noise(np.zeros((1, 8, 1), np.uint8), GREY)


def test_noise_of_black_and_white_alone_is_no_more_than_can_be_cleaned():
    pixels = np.indices((8, 8)).sum(0)[..., np.newaxis].astype(np.uint8) % 2 * 255
    noise = estimate_noise(pixels, GREY)
    assert noise == 1
    assert denoise(model_of(GREY, "flow"), pixels, noise).shape == pixels.shape


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_network_sees_the_picture_at_its_own_noise(kind):
    model, pixels, noise = model_of(DEEP, kind), pixels_of(DEEP), 0.15
    seen = []
    model.denoiser.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    cleaned = denoise(model, pixels, noise)
    assert cleaned.shape == pixels.shape
    assert cleaned.dtype == pixels.dtype
    ((x, t),) = seen
    schedule = model.denoiser.schedule
    assert float(schedule.sigma(t)) == pytest.approx(2 * noise, rel=1e-6)
    shown = (pixels / np.float64(4095) * 2 - 1).transpose(2, 0, 1)
    np.testing.assert_allclose(x[0].numpy(), float(schedule.signal(t)) * shown, atol=1e-5)
    best = model.denoiser(x, t).x0.detach()
    expected = (best[0].numpy().transpose(1, 2, 0) + 1) / 2 * 4095
    assert np.abs(cleaned - expected).max() <= 1


def test_the_mean_of_gaussian_images_is_wieners(monkeypatch):
    """Of images N(0, 0.5²): each value times 0.25 / (0.25 + sigma²), noise beyond the range too."""
    spec = ImageSpec(8, 8, 1, "float32", -1.0, 1.0)
    model = model_of(spec, "edm", "denoiser.clip=false")
    # The network of kind "edm" answers 0 where the best estimate is linear.
    monkeypatch.setattr(model.denoiser.network, "forward", lambda x, *_: torch.zeros_like(x))
    pixels = np.linspace(-1.4, 1.4, 64, dtype=np.float32).reshape(8, 8, 1)
    cleaned = denoise(model, pixels, 0.25)
    np.testing.assert_allclose(cleaned, (0.25 / (0.25 + 0.5**2) * pixels).clip(-1, 1), atol=1e-6)


def test_a_walk_begins_at_the_noise_and_is_drawn_by_its_seed():
    model, pixels = model_of(DEEP), pixels_of(DEEP)
    ddpm, told = SamplingSettings(sampler="ddpm", steps=20), []
    given = {"walk": True, "sampling": ddpm}
    one = denoise(model, pixels, 0.1, seed=1, on_step=lambda *s: told.append(s), **given)
    assert np.array_equal(one, denoise(model, pixels, 0.1, seed=1, **given))
    assert not np.array_equal(one, denoise(model, pixels, 0.1, seed=2, **given))
    assert told[-1][0] == told[-1][1] < 20
    fixed = {"walk": True, "sampling": SamplingSettings(steps=20)}
    assert np.array_equal(*(denoise(model, pixels, 0.1, seed=seed, **fixed) for seed in (1, 2)))


def test_no_noise_changes_nothing_and_too_much_is_refused():
    model, pixels = model_of(GREY, "edm"), pixels_of(GREY)
    assert np.array_equal(denoise(model, pixels, 0.0), pixels)
    for noise in (-0.1, float("nan"), float("inf")):
        with pytest.raises(LoangError, match="can't be"):
            denoise(model, pixels, noise)
    real = model_of(REAL, "edm")
    with pytest.raises(LoangError, match="as strong as 41"):
        denoise(real, pixels_of(REAL), 41.0)


def test_noise_that_was_meant_in_steps_of_the_pixels_is_refused():
    narrow = ImageSpec(8, 8, 1, "uint16", 1000.0, 1100.0)  # whose pixels hold much more
    assert denoise(model_of(narrow, "flow"), pixels_of(narrow), 2.0).shape == (8, 8, 1)
    for spec, meant in ((GREY, "25 of 255 would be --noise 0.098"), (DEEP, "25 of 4095")):
        with pytest.raises(LoangError, match="no noise of 25 times") as raised:
            denoise(model_of(spec), pixels_of(spec), 25.0)
        assert meant in str(raised.value)
    assert denoise(model_of(GREY), pixels_of(GREY), 1.0).shape == pixels_of(GREY).shape
