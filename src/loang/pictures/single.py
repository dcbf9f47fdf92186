"""One image, or a stack of them, in a file that keeps every value: PNG where it can, else TIFF."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from loang.data.spec import ImageSpec
from loang.files import replacing
from loang.pictures.animation import save_image

CLASSIC = 2**31
"""Bytes of pixels up to which a TIFF needs no 64-bit offsets; all programs read those below 4 GB,
and the directories of many small pages count as well."""


def suffix_of(spec: ImageSpec) -> str:
    """The format that keeps such images: .png for whole numbers that are grey or coloured."""
    return ".png" if spec.depth != "float32" and spec.channels in (1, 3, 4) else ".tif"


def save_single(image: Shaped[np.ndarray, "h w c"], path: Path) -> None:
    """One image, whole or not there; every value is kept.

    Args:
        image: grey, RGB or RGBA of uint8 or uint16 for PNG; for TIFF also float32, and any number
            of channels.
        path: ends in .png or .tif.

    Raises:
        LoangError: it can't be written.
    """
    channels = image.shape[2]
    if path.suffix == ".tif":
        save_stack([image], image.nbytes, path)
    elif channels == 1 or image.dtype == np.uint8:
        # uint8 becomes L, RGB or RGBA by its shape; uint16 becomes I;16.
        save_image(Image.fromarray(image[..., 0] if channels == 1 else image), path)
    else:
        _save_deep_png(image, path)


def save_stack(images: Iterable[Shaped[np.ndarray, "h w c"]], size: int, path: Path) -> None:
    """A TIFF of one page an image, uncompressed; whole or not there.

    Three channels are RGB, and whole numbers in four are RGBA. Others, and four of real numbers,
    are channels of their own, of which viewers mostly show the first.

    Args:
        images: uint8, uint16 or float32.
        size: bytes of all their values.
        path: where the file will stand.

    Raises:
        LoangError: it can't be written.
    """
    from tifffile import TiffWriter

    with replacing(path) as beside, TiffWriter(beside, bigtiff=size > CLASSIC) as writer:
        for image in images:
            pixels = image[..., 0] if image.shape[2] == 1 else image
            writer.write(
                np.ascontiguousarray(pixels),
                contiguous=False,
                metadata=None,
                software="loang",
                **_meaning(image),
            )


def _meaning(image: Shaped[np.ndarray, "h w c"]) -> dict[str, Any]:
    """What a TIFF says of its channels."""
    channels = image.shape[2]
    if channels == 1:
        return {"photometric": "minisblack"}
    together = {"planarconfig": "contig"}
    if channels == 3:
        return {"photometric": "rgb", **together}
    if channels == 4 and image.dtype.kind == "u":
        return {"photometric": "rgb", "extrasamples": ["unassalpha"], **together}
    others = ["unspecified"] * (channels - 1)
    return {"photometric": "minisblack", "extrasamples": others, **together}


def _save_deep_png(image: Shaped[np.ndarray, "h w c"], path: Path) -> None:
    """RGB or RGBA of 16 bits, which Pillow can't write."""
    import png  # type: ignore[import-untyped]

    height, width, channels = image.shape
    rows = image.astype(">u2").reshape(height, -1)
    writer = png.Writer(width, height, greyscale=False, alpha=channels == 4, bitdepth=16)
    with replacing(path) as beside, beside.open("wb") as file:
        writer.write_packed(file, (row.tobytes() for row in rows))
