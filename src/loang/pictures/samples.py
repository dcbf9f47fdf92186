"""Samples as a person wants to see them: a sheet of them, and the walk that led there."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.pictures.animation import save_animation, save_image
from loang.pictures.grid import grid, to_display

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


def save_samples(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, path: Path) -> None:
    """A sheet as a PNG or WebP file."""
    save_image(sheet(pixels, spec), path)


def check_singles(spec: ImageSpec) -> None:
    """Whether PNG can hold such images at their own depth.

    Raises:
        LoangError: it can't.
    """
    possible = {"uint8": (1, 3, 4), "uint16": (1,), "float32": ()}[spec.depth]
    if spec.channels not in possible:
        raise LoangError(
            f"PNG holds no {spec.depth} images of {spec.channels} channels.",
            "Write them to a file whose name ends in .npy.",
        )


def save_singles(
    pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, folder: Path, first: int = 0
) -> None:
    """Each image as a PNG of its own, `00000.png` and so on, at its own depth.

    Raises:
        LoangError: PNG can't hold such images; or the folder can't be written.
    """
    check_singles(spec)
    grey = spec.channels == 1
    for number, image in enumerate(pixels, start=first):
        # uint8 becomes L, RGB or RGBA by its shape; uint16 becomes I;16.
        save_image(Image.fromarray(image[..., 0] if grey else image), folder / f"{number:05d}.png")


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
