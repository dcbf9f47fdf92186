"""The right way up: what an EXIF or TIFF orientation does to pixels."""

import numpy as np
from jaxtyping import Shaped

SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations that swap height and width."""


def upright_size(height: int, width: int, orientation: object) -> tuple[int, int]:
    """(height, width) once a picture stands upright."""
    return (width, height) if orientation in SIDEWAYS else (height, width)


def upright(pixels: Shaped[np.ndarray, "h w c"], orientation: object) -> Shaped[np.ndarray, "..."]:
    """Pixels as they should be seen.

    An orientation says where the first row and the first column of what is stored belong: 1 top
    and left, 2 top and right, 3 bottom and right, 4 bottom and left, and 5 to 8 the same for the
    sides turned about: left and top, right and top, right and bottom, left and bottom (TIFF 6.0,
    page 36). Anything else is taken for 1, as viewers do.
    """
    if orientation in SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
