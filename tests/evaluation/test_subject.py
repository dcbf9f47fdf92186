"""Images that another tool has made: their labels, depth and size become those of the real ones."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from loang.data.images import Dataset, Images
from loang.evaluation.subject import open_images


def write(images, folder, names):
    """A PNG each, in folders of their classes' names."""
    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(place / f"{number:03d}.png")


@pytest.mark.parametrize("names", [("Left", "RIGHT"), ("0", "1"), ("l-e f_t", "right!")])
def test_folders_named_as_the_classes_are_their_labels(real, blobs, tmp_path, names):
    images = blobs(24, 7)
    write(images, tmp_path / "made", names)
    opened = open_images(tmp_path / "made", real)
    assert opened.name == "made"
    assert opened.notices == ()
    assert opened.images.spec == real.spec
    planted = {
        pixels.tobytes(): label for pixels, label in zip(images.pixels, images.labels, strict=True)
    }
    assert len(opened.images) == 24
    for pixels, label in zip(opened.images.pixels, opened.images.labels, strict=True):
        assert planted[pixels.tobytes()] == label


@pytest.mark.parametrize("names", [("up", "down"), ("0", "7"), ("left", "7")])
def test_folders_of_other_names_are_left_aside_and_said_to_be(real, blobs, tmp_path, names):
    write(blobs(24, 7), tmp_path / "made", names)
    opened = open_images(tmp_path / "made", real)
    assert opened.images.labels is None
    assert "are not those of blobs, and are left aside" in " ".join(opened.notices)


def test_sixteen_bits_are_brought_to_eight_and_back(real, blobs, tmp_path):
    images = blobs(24, 7)
    np.save(tmp_path / "deep.npy", images.pixels.astype(np.uint16) * 257)
    found = open_images(tmp_path / "deep.npy", real).images
    assert found.pixels.dtype == np.uint8
    assert sorted(map(bytes, found.pixels)) == sorted(map(bytes, images.pixels))

    spec = replace(real.spec, depth="uint16", high=65535.0)

    def deep(part):
        return Images(part.pixels.astype(np.uint16) * 257, spec, part.labels)

    deep_real = Dataset("deep", deep(real.train), deep(real.validation), "d" * 64)
    np.save(tmp_path / "flat.npy", images.pixels)
    back = open_images(tmp_path / "flat.npy", deep_real).images
    assert back.pixels.dtype == np.uint16
    assert sorted(map(bytes, back.pixels)) == sorted(map(bytes, deep(images).pixels))


def test_size_and_channels_become_those_of_the_real_images(real, tmp_path):
    grey = (
        np.full((30, 12, 20, 3), 100, np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    )
    np.save(tmp_path / "wide.npy", grey)
    found = open_images(tmp_path / "wide.npy", real).images
    assert found.pixels.shape == (30, 8, 8, 1)
    assert sorted(found.pixels[:, 4, 4, 0]) == list(range(100, 130))


@pytest.mark.parametrize("count", [1, 30])
def test_images_that_are_all_the_same_are_counted_once(real, tmp_path, count):
    """A model that always draws one image is what measures are for."""
    np.save(tmp_path / "same.npy", np.full((count, 8, 8), 100, np.uint8))
    opened = open_images(tmp_path / "same.npy", real)
    assert len(opened.images) == count
    assert opened.notices == (f"All images of {tmp_path / 'same.npy'} are the same.",)
