"""Grids and captioned rows: sizes, and every pixel where it belongs."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from loang.pictures.grid import captioned_rows, grid, to_display


def random_images(count: int, height: int, width: int, channels: int) -> np.ndarray:
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_eight_bits_at_full_range_are_shown_unchanged(channels: int) -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(channels).reshape(1, 16, 16, channels)
    np.testing.assert_array_equal(to_display(pixels, 0.0, 255.0), pixels)


def test_sixteen_bits_keep_their_ends_and_their_middle() -> None:
    pixels = np.array([0, 257, 32896, 65535], np.uint16).reshape(1, 2, 2, 1)
    assert to_display(pixels, 0.0, 65535.0).ravel().tolist() == [0, 1, 128, 255]


def test_floats_are_mapped_clipped_and_not_a_number_is_black() -> None:
    values = [-9.0, -1.0, 0.0, 1.0, 9.0, np.nan, np.inf, -np.inf]
    pixels = np.array(values, np.float32).reshape(1, 2, 4, 1)
    shown = to_display(pixels, -1.0, 1.0)
    assert shown.dtype == np.uint8
    assert shown.ravel().tolist() == [0, 0, 128, 255, 255, 0, 255, 0]


def test_two_channels_stand_side_by_side() -> None:
    pixels = random_images(3, 4, 5, 2)
    shown = to_display(pixels, 0.0, 255.0)
    assert shown.shape == (3, 4, 10, 1)
    np.testing.assert_array_equal(shown[:, :, :5, 0], pixels[..., 0])
    np.testing.assert_array_equal(shown[:, :, 5:, 0], pixels[..., 1])


def test_of_many_channels_the_first_three_are_shown() -> None:
    pixels = random_images(2, 4, 5, 7)
    np.testing.assert_array_equal(to_display(pixels, 0.0, 255.0), pixels[..., :3])


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        to_display(random_images(1, 2, 2, 1), 1.0, 1.0)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_grid_has_every_pixel_in_its_place(channels: int, mode: str) -> None:
    pixels = random_images(5, 3, 4, channels)
    picture = grid(pixels, columns=3, gap=2, scale=2, background=77)
    assert picture.mode == mode
    assert picture.size == (2 * (3 * 4 + 2 * 2), 2 * (2 * 3 + 2))
    drawn = np.asarray(picture).reshape(picture.height, picture.width, channels)
    for row in (0, 1):  # nearest neighbour: each 2x2 block has one value
        for column in (0, 1):
            np.testing.assert_array_equal(drawn[row::2, column::2], drawn[::2, ::2])
    small = drawn[::2, ::2]
    empty = np.ones(small.shape[:2], bool)
    for index, image in enumerate(pixels):
        top, left = (index // 3) * 5, (index % 3) * 6
        np.testing.assert_array_equal(small[top : top + 3, left : left + 4], image)
        empty[top : top + 3, left : left + 4] = False
    assert (small[empty][:, :3] == 77).all()
    if channels == 4:
        assert (small[empty][:, 3] == 255).all()


@pytest.mark.parametrize(
    ("count", "columns", "across", "down"),
    [
        (1, None, 1, 1),
        (4, None, 2, 2),
        (5, None, 3, 2),
        (64, None, 8, 8),
        (3, 10, 3, 1),
        (3, 1, 1, 3),
    ],
)
def test_columns(count: int, columns: int | None, across: int, down: int) -> None:
    picture = grid(random_images(count, 7, 5, 1), columns=columns, gap=0, scale=1)
    assert picture.size == (5 * across, 7 * down)


def test_one_image_without_scale_is_itself() -> None:
    pixels = random_images(1, 600, 700, 3)
    np.testing.assert_array_equal(np.asarray(grid(pixels)), pixels[0])


@pytest.mark.parametrize("count", [1, 4, 64, 300])
@pytest.mark.parametrize("size", [(28, 28), (16, 40), (40, 16), (128, 128), (1, 1)])
def test_tiny_images_are_enlarged_but_never_too_far(count: int, size: tuple[int, int]) -> None:
    plain, picture = (
        grid(random_images(count, *size, 1), scale=1),
        grid(random_images(count, *size, 1)),
    )
    scale = picture.width // plain.width
    assert picture.size == (plain.width * scale, plain.height * scale)
    assert picture.width >= 512 or (scale + 1) * plain.height > 2048
    assert scale == 1 or max(picture.size) <= 2048


def test_a_tall_column_is_not_enlarged_past_the_limit() -> None:
    assert grid(random_images(100, 20, 20, 1), columns=1).size == (20, 2198)


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"gap": -1}, {"scale": 0}, {"background": 256}])
def test_a_grid_refuses_numbers_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"out of range|below 1"):
        grid(random_images(2, 4, 4, 1), **wrong)


@pytest.mark.parametrize(
    ("shape", "message"), [((0, 4, 4, 1), "no image"), ((1, 4, 4, 2), "2 chan")]
)
def test_a_grid_refuses_what_it_cannot_draw(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(np.zeros(shape, np.uint8))


def positions(picture: Image.Image, image: np.ndarray) -> list[tuple[int, int]]:
    """Where an enlarged image lies in a picture, as (top, left)."""
    canvas = np.asarray(picture).reshape(picture.height, picture.width, -1)
    height, width = image.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(canvas, image.shape)[:, :, 0]
    corners = np.argwhere((windows[..., 0, 0, :] == image[0, 0]).all(-1))
    return [
        (int(y), int(x))
        for y, x in corners
        if (canvas[y : y + height, x : x + width] == image).all()
    ]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_captioned_rows_hold_every_image_once_and_in_order(channels: int) -> None:
    rows = [random_images(3, 6, 9, channels), 255 - random_images(3, 6, 9, channels)]
    picture = captioned_rows(
        rows, column_captions=["t = 0", "t = 5", "t = 10"], row_captions=["noisy", "clean"], scale=4
    )
    found = [[positions(picture, image.repeat(4, 0).repeat(4, 1)) for image in row] for row in rows]
    assert all(len(where) == 1 for row in found for where in row)
    corners = np.array(found)[:, :, 0]  # (row, column, [top, left])
    assert (np.diff(corners[:, :, 1], axis=1) > 9 * 4).all()
    assert (np.diff(corners[:, :, 0], axis=0) > 6 * 4).all()
    assert len(np.unique(corners[0, :, 0])) == 1
    assert len(np.unique(corners[:, 0, 1])) == 1


@pytest.mark.parametrize(
    "captions",
    [["t = 0"], ["a rather long caption", "another that is long", "g"], ["two\nlines", "x̂₀"]],
)
def test_captions_are_neither_cut_nor_overlapping(
    captions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes: list[tuple[float, float, float, float]] = []
    real = ImageDraw.ImageDraw.text

    def recording(
        draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *args: object, **k: object
    ) -> None:
        _ink, font, anchor = args
        boxes.append(draw.textbbox(xy, text, font, anchor))
        with monkeypatch.context() as within:  # older Pillows draw lines one by one, by this again
            within.setattr(ImageDraw.ImageDraw, "text", real)
            real(draw, xy, text, *args, **k)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recording)
    black = np.zeros((len(captions), 8, 8, 1), np.uint8)
    picture = captioned_rows(
        [black, black],
        column_captions=captions,
        row_captions=["x", "a long name\nof a row"],
        scale=2,
    )
    ink = np.asarray(picture) < 255
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()
    assert len(boxes) == len(captions) + 2
    pictures = [(x, y, x + 16, y + 16) for y, x in positions(picture, np.zeros((16, 16, 1)))]
    areas = boxes + pictures
    assert len(pictures) == 2 * len(captions)
    for k, (left, top, right, bottom) in enumerate(areas):
        for l2, t2, r2, b2 in areas[:k]:
            assert right <= l2 or r2 <= left or bottom <= t2 or b2 <= top


def test_captioned_rows_of_tiny_images_are_enlarged() -> None:
    picture = captioned_rows(
        [random_images(11, 28, 28, 1)], column_captions=[str(k) for k in range(11)]
    )
    assert 1024 <= picture.width <= 2048
    assert picture.mode == "L"


@pytest.mark.parametrize(("rows", "columns", "names"), [(0, 2, 0), (1, 1, 0), (1, 2, 2), (2, 2, 1)])
def test_captions_must_fit_in_number(rows: int, columns: int, names: int) -> None:
    with pytest.raises(ValueError, match=r"captions|one shape"):
        captioned_rows(
            [random_images(2, 4, 4, 1)] * rows,
            column_captions=["c"] * columns,
            row_captions=["r"] * names,
        )
