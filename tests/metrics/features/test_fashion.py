from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loang.data.images import Images
from loang.data.places.fashion_mnist import SPEC
from loang.data.places.sample import TRAIN, read_sample
from loang.data.resize import resize
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.features import fashion
from loang.metrics.features.fashion import fashion_features, shows_fashion
from loang.metrics.features.network import NetworkFeatures


@pytest.fixture(scope="module")
def space() -> NetworkFeatures:
    return fashion_features()


@pytest.fixture(scope="module")
def held_out() -> Images:
    """2,000 of the 10,000 test images; the network has not learned from any of them."""
    images, labels = read_sample()
    return Images(images[TRAIN:, ..., np.newaxis], SPEC, labels[TRAIN:].astype(np.int64))


@pytest.fixture(scope="module")
def features(space: NetworkFeatures, held_out: Images) -> np.ndarray:
    return space(held_out.pixels, held_out.spec)


def test_it_classifies_images_that_it_has_not_seen(
    space: NetworkFeatures, held_out: Images, features: np.ndarray
) -> None:
    classes = space.classes_of(features)
    assert classes is not None
    assert (classes == held_out.labels).mean() >= 0.93
    few = space.classify(held_out.pixels[:100], SPEC)
    assert few is not None
    np.testing.assert_array_equal(few, classes[:100])


def test_what_is_known_of_it(space: NetworkFeatures) -> None:
    assert space.name == "fashion-v1"
    assert space.about["test_accuracy"] >= 0.935
    assert space.about["test_images"] == 10_000
    assert space.about["licence"] == "MIT"
    assert "train_fashion_features.py" in space.about["command"]
    assert len(space.digest) == 64


def test_the_same_images_have_the_same_features(
    space: NetworkFeatures, held_out: Images, features: np.ndarray
) -> None:
    assert features.shape == (2000, space.dimension)
    assert np.linalg.matrix_rank(features - features.mean(0)) == space.dimension
    np.testing.assert_array_equal(space(held_out.pixels[:256], SPEC), features[:256])
    np.testing.assert_allclose(space(held_out.pixels[3:20], SPEC), features[3:20], atol=1e-5)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """The mean square difference, as a part of the features' variance."""
    return float(np.square(a - b).mean() / b.var(0).mean())


@pytest.mark.parametrize("kind", ["uint16", "float32", "RGB", "RGBA"])
def test_depth_range_and_channels_do_not_matter(
    kind: str, space: NetworkFeatures, held_out: Images, features: np.ndarray
) -> None:
    pixels = held_out.pixels[:300]
    if kind == "uint16":
        given = pixels.astype(np.uint16) * 16
        spec = replace(SPEC, depth="uint16", high=4080.0)
    elif kind == "float32":
        given = pixels.astype(np.float32) / 100 - 3
        spec = replace(SPEC, depth="float32", low=-3.0, high=-0.45)
    else:
        given = np.repeat(pixels, 3, axis=3)
        if kind == "RGBA":
            given = np.concatenate([given, np.full_like(pixels, 255)], axis=3)
        spec = replace(SPEC, channels=given.shape[3])
    np.testing.assert_allclose(space(given, spec), features[:300], atol=1e-4)


def test_a_larger_copy_has_nearly_the_same_features(
    space: NetworkFeatures, held_out: Images, features: np.ndarray
) -> None:
    larger = resize(Images(held_out.pixels[:300], SPEC), 56, 56)
    assert relative(space(larger.pixels, larger.spec), features[:300]) < 0.05
    slightly = resize(Images(held_out.pixels[:300], SPEC), 32, 32)
    assert relative(space(slightly.pixels, slightly.spec), features[:300]) < 0.1
    shuffled = np.roll(features[:300], 1, axis=0)
    assert relative(shuffled, features[:300]) > 1


def test_other_channels_are_refused(space: NetworkFeatures) -> None:
    with pytest.raises(LoangError, match="2 channels"):
        space(np.zeros((1, 28, 28, 2), np.uint8), ImageSpec(28, 28, 2))


def test_which_images_are_fashion_mnist() -> None:
    assert shows_fashion(SPEC)
    assert not shows_fashion(replace(SPEC, class_names=()))
    assert not shows_fashion(replace(SPEC, channels=3))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / fashion.ASSET
    with pytest.raises(LoangError, match="Install loang again"):
        fashion._read(path)
    path.write_bytes(b"something else")
    with pytest.raises(LoangError, match="SHA-256"):
        fashion._read(path)
