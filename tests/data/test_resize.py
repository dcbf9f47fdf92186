from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from loang.data.images import Images
from loang.data.resize import convert_channels, resize, resize_picture
from loang.data.spec import FULL_RANGE, ImageSpec
from loang.errors import LoangError

GENERATOR = np.random.default_rng(0)


def images(*shape: int, depth: str = "uint8", count: int = 5) -> Images:
    low, high = FULL_RANGE.get(depth, (0.0, 1.0))
    pixels = GENERATOR.uniform(low, high, (count, *shape)).astype(depth)
    return Images(pixels, ImageSpec(*shape, depth, low, high), np.arange(count))


def test_the_same_size_is_the_same_images() -> None:
    same = images(8, 6, 1)
    assert resize(same, 8, 6) is same


@pytest.mark.parametrize("size", [(32, 32), (14, 14)])
def test_agrees_with_pillow(size: tuple[int, int]) -> None:
    before = images(28, 28, 3)
    after = resize(before, *size)
    for old, new in zip(before.pixels, after.pixels, strict=True):
        how = Image.Resampling.BILINEAR
        expected = np.asarray(Image.fromarray(old).resize((size[1], size[0]), how))
        assert np.abs(expected.astype(int) - new).max() <= 1
    assert after.spec == replace(before.spec, height=size[0], width=size[1])
    assert after.labels is before.labels


def test_half_pixel_centres_by_hand() -> None:
    """Two pixels 0 and 100 made four: sampled at -0.25, 0.25, 0.75 and 1.25, edges repeated."""
    spec = ImageSpec(2, 2, 1)
    pixels = np.array([[0, 100], [0, 100]], np.uint8).reshape(1, 2, 2, 1)
    after = resize(Images(pixels, spec), 4, 4)
    assert after.pixels[0, 0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_every_depth_keeps_a_flat_image_flat(depth: str) -> None:
    flat = images(9, 7, 2, depth=depth)
    flat = replace(flat, stored=np.full_like(flat.pixels, flat.spec.high))
    for size in ((18, 14), (4, 4), (5, 11), (1, 1)):
        after = resize(flat, *size)
        assert after.pixels.shape == (5, *size, 2)
        assert np.allclose(after.pixels, flat.spec.high, rtol=1e-6, atol=0)


def test_the_centre_is_kept() -> None:
    pixels = np.zeros((1, 10, 30, 1), np.uint8)
    pixels[:, :, 10:20] = 255
    wide = Images(pixels, ImageSpec(10, 30, 1))
    assert resize(wide, 10, 10).pixels.min() == 255
    assert resize(wide, 20, 20).pixels.min() == 255


def test_more_images_than_a_piece() -> None:
    many = images(2, 2, 1, count=2100)
    after = resize(many, 4, 4)
    few = Images(many.pixels[2000:2001], many.spec)
    assert np.array_equal(after.pixels[2000], resize(few, 4, 4).pixels[0])


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_grey_to_colour_and_back_is_exact(depth: str) -> None:
    grey = images(8, 6, 1, depth=depth)
    for channels in (3, 4):
        there = convert_channels(grey, channels)
        assert there.spec.channels == channels
        back = convert_channels(there, 1)
        assert back.spec == grey.spec
        assert np.allclose(back.pixels, grey.pixels, rtol=1e-6, atol=0)
        assert depth == "float32" or np.array_equal(back.pixels, grey.pixels)


def test_luma_and_white() -> None:
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    grey = convert_channels(Images(colours, ImageSpec(1, 3, 3)), 1)
    assert grey.pixels.ravel().tolist() == [76, 150, 29]
    clear = np.array([[[[10, 20, 30, 0], [10, 20, 30, 255], [10, 20, 30, 128]]]], np.uint8)
    on_white = convert_channels(Images(clear, ImageSpec(1, 3, 4)), 3)
    assert on_white.pixels[0, 0].tolist() == [[255] * 3, [10, 20, 30], [132, 137, 142]]


def test_the_same_channels_are_the_same_images_and_others_refused() -> None:
    five = images(4, 4, 5)
    assert convert_channels(five, 5) is five
    for channels in (1, 2, 3):
        with pytest.raises(LoangError, match="5 channels"):
            convert_channels(five, channels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("depth", ["uint8", "uint16"])
@pytest.mark.parametrize("size", [(4, 4), (20, 9), (1, 7), (8, 6)])
def test_one_picture(channels: int, depth: str, size: tuple[int, int]) -> None:
    picture = images(8, 6, channels, depth=depth).pixels[0]
    picture[...] = 200
    fitted = resize_picture(picture, *size)
    assert fitted.shape == (*size, channels)
    assert fitted.dtype == depth
    assert (fitted == 200).all()


def test_sixteen_bits_agree_with_eight() -> None:
    shallow = images(31, 17, 3).pixels[0]
    for size in ((8, 8), (40, 40)):
        deep = resize_picture(shallow.astype(np.uint16) * 257, *size) / 257
        assert np.abs(deep - resize_picture(shallow, *size)).max() < 1.01


def test_extreme_shapes() -> None:
    thin = images(1, 300, 1).pixels[0]
    assert resize_picture(thin, 7, 7).shape == (7, 7, 1)
    assert resize(images(1, 300, 1), 7, 7).spec.shape == (1, 7, 7)
