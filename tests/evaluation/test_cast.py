from dataclasses import replace

import numpy as np
import pytest

from loang.data.images import Dataset
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.evaluation.cast import Cast, choose, gaussian, noise


def test_the_floor_takes_held_out_images_and_none_of_the_reference(real):
    chosen = choose(real, 150, seed=0)
    assert len(chosen.floor) == 150
    assert len(chosen.floor_train) == 0
    assert len(chosen.reference) == 400
    assert len(set(chosen.floor_held_out)) == 150


def test_a_floor_of_few_held_out_images_is_filled_up_from_training_images(real):
    chosen = choose(real, 300, seed=0)
    assert (len(chosen.floor_held_out), len(chosen.floor_train)) == (200, 100)
    assert not set(chosen.floor_train) & set(chosen.reference)
    assert len(chosen.floor) == 300
    np.testing.assert_array_equal(chosen.floor.pixels[:200], real.validation[chosen.floor_held_out])
    # But never more than half of them.
    chosen = choose(real, 5000, seed=0)
    assert (len(chosen.reference), len(chosen.floor)) == (200, 400)


def test_another_seed_chooses_others(real):
    first, second = choose(real, 50, seed=0), choose(real, 50, seed=1)
    assert set(first.floor_held_out) != set(second.floor_held_out)


def test_too_few_images_are_refused(real, blobs):
    with pytest.raises(LoangError, match="too few"):
        choose(replace(real, train=blobs(1, 0)), 10, 0)
    one = blobs(1, 0)  # what both trains and validates where there is only one
    with pytest.raises(LoangError, match="too few"):
        choose(Dataset("one", one, one, "0" * 64), 10, 0)


def test_the_pixel_gaussian_has_the_mean_and_covariance_of_the_images(blobs):
    # 4 pixels, whose range is wide enough that nothing is clipped.
    spec = ImageSpec(2, 2, 1, depth="float32", low=-100.0, high=100.0)
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4)) * 5
    values = rng.normal(size=(300, 4)) @ mixing + 3
    images = replace(
        blobs(300, 0), stored=values.astype(np.float32).reshape(-1, 2, 2, 1), spec=spec, labels=None
    )
    drawn = gaussian(images, 20_000, seed=0).pixels.reshape(-1, 4)
    scale = np.sqrt(np.diag(np.cov(values.T)))
    np.testing.assert_allclose(drawn.mean(0), values.mean(0), atol=0.05 * scale.max())
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(values.T), atol=0.05 * scale.max() ** 2)


def test_the_pixel_gaussian_is_of_all_classes_where_they_lie_one_after_another(blobs):
    """As those of a folder do; it is made of a part of the images."""
    spec = ImageSpec(2, 2, 1)
    values = np.repeat(np.array([30, 220], np.uint8), 5_000)[:, None, None, None]
    stored = np.broadcast_to(values, (10_000, 2, 2, 1)).copy()
    images = replace(blobs(300, 0), stored=stored, spec=spec, labels=None)
    assert gaussian(images, 2_000, seed=0).pixels.mean() == pytest.approx(125, abs=5)


def test_noise_is_noise():
    spec = ImageSpec(8, 8, 3)
    values = to_model(noise(spec, 50, 0).pixels, spec)
    assert abs(values.mean()) < 0.02
    # A standard normal number clipped to [-1, 1] has the variance 0.516.
    assert values.var() == pytest.approx(0.516, abs=0.02)


def test_every_actor_is_as_many_as_the_samples(real, blobs):
    cast = Cast.of(blobs(37, 5), real, 0)
    assert {name: len(images) for name, images in cast.actors.items()} == {
        "samples": 37,
        "floor": 37,
        "gaussian": 37,
        "noise": 37,
    }
