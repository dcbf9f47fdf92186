"""The page of an evaluation: nothing covers anything, whatever there is to say and to show."""

import numpy as np
import pytest
from PIL import Image

from loang.data.spec import ImageSpec
from loang.pictures.evaluation_page import Bars, Curve, Gallery, evaluation_page

FEW = Bars("Distance", ["samples", "other"], [(0.0, 0.1), (None, None)])


def page(path, sentences, shape=(8, 8, 1), **panels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, *shape), np.uint8)
    gallery = Gallery(images, images[:20], images[:20], ImageSpec(*shape))
    evaluation_page(
        path,
        title="a" * 300,
        subtitle="b",
        sentences=sentences,
        gallery=gallery,
        bars=[FEW] * 4,
        **panels,
    )
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"))


def test_all_that_is_said_has_room_above_the_pictures(tmp_path):
    """The rows of the page below the text are the same, however long it is."""
    short, long = (page(tmp_path / f"{n}.png", ["all is well " * 20] * n) for n in (1, 12))
    below = 700
    assert len(long) - len(short) > 300
    assert (short[-below:] != long[-below:]).mean() < 0.02
    # Between the last line and the pictures' titles there is an empty row.
    head = long[: len(long) - 850]
    assert (head.min(axis=1) == 255)[-60:].any()


@pytest.mark.parametrize("shape", [(8, 8, 3), (16, 48, 1), (100, 40, 4), (8, 8, 2)])
def test_any_shape_of_image_is_shown_within_the_page(tmp_path, shape):
    shown = page(tmp_path / "page.png", ["all is well"], shape)
    margin = shown[:, -5:]
    assert margin.min() == 255
    assert shown.std() > 10


def test_classes_and_a_history_have_panels_of_their_own(tmp_path):
    plain = page(tmp_path / "plain.png", ["all is well"])
    some = Bars("By class", ["a", "b"], [(1.0, 0.1), (None, None)], [(0.2, 0.1), (0.1, None)])
    curve = Curve("By step", [1, 2], [(2.0, 0.1), (1.0, 0.1)], 0.1)
    both = page(tmp_path / "both.png", ["all is well"], by_class=some, curve=curve)
    assert len(both) - len(plain) == pytest.approx(2 * 2.6 * 130, abs=3)
    many = Bars("By class", [str(n) for n in range(100)], [(1.0, 0.1)] * 100)
    assert len(page(tmp_path / "many.png", ["all is well"], by_class=many)) == len(plain)
