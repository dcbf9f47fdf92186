"""Samples as a person wants to see them: a sheet of them, and the walk that led there."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from loang.data.encoded.header import Unreadable, check_size
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.pictures.animation import save_animation, save_image
from loang.pictures.formats import check_sides
from loang.pictures.grid import grid, grid_size, to_display
from loang.pictures.single import save_single, suffix_of

FRAMES = 40


def columns(spec: ImageSpec) -> int:
    """How wide a sheet of samples is: one column a class where there are 2 to 16, else 8."""
    classes = len(spec.class_names)
    return classes if 2 <= classes <= 16 else 8


def rows(spec: ImageSpec) -> int:
    """How many rows a whole sheet has: 8, and fewer of large images."""
    pixels = spec.height * spec.width
    return 8 if pixels <= 64**2 else 4 if pixels <= 128**2 else 2


def spacing(steps: int) -> int:
    """Every so many-th level of a walk becomes a frame, so that there are 40 at the most."""
    return max(1, math.ceil(steps / FRAMES))


def sheet(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec) -> Image.Image:
    """Images of that kind in one picture."""
    return grid(to_display(pixels, spec.low, spec.high), columns=columns(spec))


def check_sheet(count: int, spec: ImageSpec, path: Path, columns: int | None) -> None:
    """Before images are drawn: whether that file can hold a sheet of so many.

    Args:
        count: images; of none there is no sheet, which others tell.
        spec: what they are.
        path: of the sheet.
        columns: as for `grid`.

    Raises:
        LoangError: the sheet is too large for its format.
    """
    width = spec.width * (2 if spec.channels == 2 else 1)  # `to_display`
    if count > 0:
        check_sides(path, *grid_size(count, spec.height, width, columns=columns))


def save_samples(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, path: Path) -> None:
    """A sheet as a PNG or WebP file."""
    save_image(sheet(pixels, spec), path)


def check_singles(spec: ImageSpec) -> None:
    """Whether loang would read such images back from files of their own.

    Raises:
        LoangError: they are too large for that.
    """
    try:
        value_bytes = spec.channels * np.dtype(spec.depth).itemsize
        check_size(spec.height, spec.width, value_bytes)
    except Unreadable:
        raise LoangError(
            f"Images of {spec.height}x{spec.width} with {spec.channels} channels of {spec.depth}"
            " are too large for a picture.",
            "Write them to a file whose name ends in .npy.",
        ) from None


def save_singles(
    pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, folder: Path, first: int = 0
) -> None:
    """Each image in a file of its own, `00000.png` and so on, with all of its values.

    Grey, RGB and RGBA images of 8 or 16 bits become PNG; real numbers, and images of other
    channels, become TIFF.

    Raises:
        LoangError: the images are too large; or the folder can't be written.
    """
    check_singles(spec)
    for number, image in enumerate(pixels, start=first):
        save_single(image, single_path(folder, number, spec))


def single_path(folder: Path, number: int, spec: ImageSpec) -> Path:
    """Where `save_singles` writes the image of that number."""
    return folder / f"{number:05d}{suffix_of(spec)}"


def save_walk(
    levels: Iterable[Shaped[np.ndarray, "n h w c"]],
    spec: ImageSpec,
    path: Path,
    *,
    frame_ms: int = 60,
    last: Path | None = None,
) -> None:
    """The walk from noise as an animation, its last frame held.

    Args:
        levels: the images of a batch at each level, from noise down; read once.
        spec: what the images are.
        path: a .gif, .webp or .png file.
        frame_ms: how long a frame is shown, in milliseconds.
        last: where the finished images are written as well, as a sheet.
    """

    def frames() -> Iterator[Image.Image]:
        for level in levels:
            frame = sheet(level, spec)
            yield frame
        if last is not None:
            save_image(frame, last)

    save_animation(frames(), path, frame_ms=frame_ms)
